"""The one door between an agent and its host: a name, a JSON object in, a JSON object out or a typed refusal."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class CallError(Exception):
    """The host refused a call; ``message`` says why and ``hint`` what to change."""

    code: ClassVar[str] = "invalid"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


class Denied(CallError):  # noqa: N818 - named for what happened
    """Policy, or a person, said no."""

    code = "denied"


class Invalid(CallError):  # noqa: N818
    """The host does not understand the request."""

    code = "invalid"


class BudgetSpent(CallError):  # noqa: N818
    """Tokens, money, calls or bytes are used up."""

    code = "budget"


class TimedOut(CallError):  # noqa: N818
    """The answer did not come in time."""

    code = "timeout"


class Unavailable(CallError):  # noqa: N818
    """What is needed is not configured, not running or not reachable."""

    code = "unavailable"


class Cancelled(CallError):  # noqa: N818
    """The run is being stopped."""

    code = "cancelled"


class OutsideGuest(RuntimeError):  # noqa: N818
    """A hostcall was made where there is no host: outside a Runloop agent."""


ERRORS: dict[str, type[CallError]] = {kind.code: kind for kind in (Denied, Invalid, BudgetSpent, TimedOut, Unavailable, Cancelled)}


def _outside(name: str, _request: str) -> str:
    raise OutsideGuest(
        f"{name} was called outside a Runloop agent, where no host answers; "
        "run the agent with `rlp agent test` or `rlp run`, or answer calls in a test with runloop_agent.testing.answering()"
    )


_dispatch: Callable[[str, str], str] = _outside


def install(dispatch: Callable[[str, str], str]) -> Callable[[str, str], str]:
    """Make ``dispatch(name, request_json) -> answer_json`` answer every call; returns the one that did before."""
    global _dispatch
    previous, _dispatch = _dispatch, dispatch
    return previous


def plain(value: object) -> object:
    """Give the JSON form of a record from this package (or any dataclass); TypeError for anything else."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def carried(text: str) -> str:
    """Make text that UTF-8 can carry: half a surrogate pair becomes a visible escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def call(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the host for ``name``; arguments that are None are left out. Raises a :class:`CallError`."""
    try:
        text = json.dumps({key: value for key, value in request.items() if value is not None}, allow_nan=False, default=plain)
    except (TypeError, ValueError, RecursionError) as wrong:
        raise Invalid(f"the arguments of {name} have no JSON form: {wrong}", "pass strings, numbers, lists and dicts") from None
    answer = json.loads(_dispatch(name, text))
    return answer if isinstance(answer, dict) else {"value": answer}
