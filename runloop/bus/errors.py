"""Errors of the bus. Each code stands in docs/protocol.md, with what a peer does about it."""

from __future__ import annotations

from typing import Any

from runloop.errors import (
    EXIT_DENIED,
    EXIT_INVALID,
    EXIT_UNAVAILABLE,
    EXIT_VERIFICATION,
    Denied,
    InvalidInput,
    RunloopError,
    Unavailable,
    VerificationFailed,
    Where,
)
from runloop.rmp.errors import Expired


class BusError(RunloopError):
    """The bus could not do what was asked; the root of what a peer's mistake raises."""

    code = "bus.failed"


class BadFrame(InvalidInput, BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """A session frame, a topic or a pattern breaks a rule of the protocol."""

    code = "bus.invalid"


class NotAllowed(Denied, BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The role of this connection may not do that."""

    code = "bus.forbidden"


class LimitExceeded(BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """A connection asked for more than its share."""

    code = "bus.limit"


class Disconnected(Unavailable, BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """There is no connection, or it ended before the answer came."""

    code = "bus.disconnected"


class DeadlinePassed(Unavailable, BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """No answer came in time."""

    code = "bus.deadline"


class AlreadyRunning(Unavailable, BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """Another daemon serves this socket."""

    code = "bus.already_running"
    retryable = False


class Rejected(BusError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The other side answered with an error; ``code`` is the one that it gave."""


def from_wire(error: Any) -> RunloopError:
    """The error that an ack, a goodbye or a reply carries, as the class that its code or its exit code has; ``bus.failed`` if unreadable.

    The further problems of an opening come with it, as ``others``.
    """
    if not isinstance(error, dict):
        return Rejected("the peer answered with an error that cannot be read")
    code, message, hint, where, exit_code = (error.get(name) for name in ("code", "message", "hint", "where", "exit_code"))
    code = code if isinstance(code, str) and code else "bus.failed"
    kind = _KINDS.get(code) or (_BY_EXIT.get(exit_code, Rejected) if isinstance(exit_code, int) else Rejected)
    found = kind(
        message if isinstance(message, str) else code,
        code=code,
        where=_where(where),
        hint=hint if isinstance(hint, str) else "",
        retryable=error["retryable"] if isinstance(error.get("retryable"), bool) else None,
    )
    after_ms, problems = error.get("retry_after_ms"), error.get("problems")
    if isinstance(found, Unavailable) and isinstance(after_ms, int):
        found.retry_after_ms = after_ms
    if isinstance(problems, list) and len(problems) > 1:
        others = tuple(from_wire({**each, "exit_code": exit_code}) for each in problems[1:] if isinstance(each, dict))
        found.others = others  # type: ignore[attr-defined]  # as OpeningError has it
    return found


def _where(fields: Any) -> Where:
    """A place; what is no place is left out."""
    if not isinstance(fields, dict):
        return Where()
    texts = {key: fields[key] for key in ("file", "node", "port", "key") if isinstance(fields.get(key), str)}
    numbers = {key: fields[key] for key in ("line", "column") if isinstance(fields.get(key), int)}
    return Where(**texts, **numbers)


def to_wire(error: RunloopError) -> dict[str, Any]:
    """The map that :func:`from_wire` reads."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}


def bad(message: str, *, key: str, hint: str, code: str | None = None) -> BadFrame:
    """A BadFrame about one key."""
    return BadFrame(message, code=code, where=Where(key=key), hint=hint)


_ALSO: dict[type[RunloopError], tuple[str, ...]] = {
    DeadlinePassed: (Expired.code,),
    BadFrame: ("bus.topic", "bus.hello", "bus.subscription", "bus.not_durable"),
    NotAllowed: ("bus.token", "bus.uid"),
    LimitExceeded: ("bus.connections", "bus.subscriptions", "bus.queue", "bus.bytes_in_flight", "bus.requests", "bus.request_bytes"),
    Disconnected: ("bus.stopping", "bus.closed", "bus.heartbeat", "bus.frame_timeout", "bus.hello_timeout", "bus.no_responder"),
}
_KINDS: dict[str, type[RunloopError]] = {code: kind for kind, codes in _ALSO.items() for code in (kind.code, *codes)}
_BY_EXIT: dict[int, type[RunloopError]] = {
    EXIT_INVALID: InvalidInput,
    EXIT_UNAVAILABLE: Unavailable,
    EXIT_DENIED: Denied,
    EXIT_VERIFICATION: VerificationFailed,
}
