"""The one error tree. Every error a person or a program can meet derives from :class:`RunloopError`.

An error says what was wrong (``message``), where (``where``), and what to change (``hint``); ``code`` is dotted and stable,
``exit_code`` follows the table in ``docs/cli.md``, and ``retryable`` tells whether the same call may succeed later.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_UNAVAILABLE = 3
EXIT_DENIED = 4
EXIT_VERIFICATION = 5
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


@dataclass(frozen=True, slots=True)
class Where:
    """Where an error lies; every field is optional, lines and columns count from 1."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    node: str | None = None
    port: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
            if self.column is not None:
                place += f":{self.column}"
        named = [f"{label} {value!r}" for label, value in (("node", self.node), ("port", self.port), ("key", self.key)) if value]
        return ", ".join(part for part in (place, *named) if part)

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are known."""
        fields = ("file", "line", "column", "node", "port", "key")
        return {name: getattr(self, name) for name in fields if getattr(self, name) is not None}


class RunloopError(Exception):
    """The work failed; the root of every error that Runloop raises on purpose."""

    code: str = "runloop.failed"
    exit_code: ClassVar[int] = EXIT_FAILED
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: Where | None = None,
        hint: str = "",
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where or Where()
        self.hint = hint
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: code, message, where, hint, retryable."""
        return {
            "code": self.code,
            "message": self.message,
            "where": self.where.to_dict(),
            "hint": self.hint,
            "retryable": self.retryable,
        }


class InvalidInput(RunloopError):  # noqa: N818 - named for what it is, like the rest of the tree
    """What the person or program gave cannot be used: usage, parameters, opening, configuration."""

    code = "input.invalid"
    exit_code = EXIT_INVALID


class SeveralInvalid(InvalidInput):
    """Something cannot be used for more than one reason: the error speaks for the first, and ``others`` are those after it."""

    others: tuple[SeveralInvalid, ...] = ()

    def with_others(self, others: Sequence[SeveralInvalid]) -> Self:
        """The same error, carrying what else was found with it."""
        self.others = tuple(others)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; further problems stand under ``others``."""
        own = super().to_dict()
        return {**own, "others": [other.to_dict() for other in self.others]} if self.others else own


class Unavailable(RunloopError):  # noqa: N818
    """Something needed is not running, busy, or not ready; ``retry_after_ms`` is when to try again, where that is known."""

    code = "runloop.unavailable"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    retry_after_ms: int | None = None


class Denied(RunloopError):  # noqa: N818
    """Policy refused, or an approval was needed and nobody could give it."""

    code = "policy.denied"
    exit_code = EXIT_DENIED


class VerificationFailed(RunloopError):  # noqa: N818
    """A stored record, digest or re-run does not agree with what was recorded."""

    code = "verify.failed"
    exit_code = EXIT_VERIFICATION


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The numbers of errors of the system that say that a disk or a quota is full."""


def exhausted(error: BaseException) -> Unavailable | None:
    """What to say where files, processes, memory or disk space have run out, which no code can repair; None for any other error."""
    if isinstance(error, OSError):
        spent = error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN} | NO_ROOM
    else:
        spent = isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error).startswith("can't start new thread"))
    if not spent:
        return None
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return Unavailable(
            f"what has to be written cannot be: {error.strerror}",
            code="system.disk_full",
            where=Where(file=None if error.filename is None else str(error.filename)),
            hint="make room there, or raise the quota, and try again; `rlp doctor` shows how much is free, and nothing recorded is lost",
        )
    first_line = str(error).strip().split("\n", 1)[0]
    return Unavailable(
        f"the system has no more to give: {first_line or type(error).__name__}",
        code="system.exhausted",
        hint="see `ulimit -a` (open files, processes, memory), and try again",
    )


def unlockable(error: OSError, place: object) -> Unavailable:
    """What to say where a lock of ``place`` was asked for and the file system keeps none: NFS without its lock service, Lustre."""
    return Unavailable(
        f"its file system keeps no locks, which tell processes of each other: {error.strerror}",
        code="system.no_locks",
        where=Where(file=str(place)),
        hint="set RUNLOOP_HOME and XDG_CACHE_HOME to directories on a disk of this machine, or mount that one with locks",
    )
