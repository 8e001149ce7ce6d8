"""What a hostcall is made of: its class, its context, what it would do, what it did, and how it is refused.

Values only; the table of hostcalls is in :mod:`runloop.effects.catalogue`, the code that acts in ``runloop.effects.perform``.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from runloop.dataclass import dataclass
from runloop.errors import RunloopError, Where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.policy import Capabilities, Denial

MICROS_PER_USD = 1_000_000


def dollars(micros: int) -> float:
    """US dollars; nothing is the whole number 0, whose canonical form is made much faster than that of a fraction."""
    return micros / MICROS_PER_USD if micros else 0


class EffectClass(StrEnum):
    """What repeating a call would mean; contracts section 2."""

    VIRTUAL = "virtual"
    READ = "read"
    IDEMPOTENT = "idempotent"
    EXTERNAL = "external"
    WAITING = "waiting"
    LIVE = "live"


class CallErrorKind(StrEnum):
    """The refusals that a guest can tell apart; ``kind`` of a :class:`CallError`."""

    DENIED = "denied"
    INVALID = "invalid"
    BUDGET = "budget"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"


class CallError(RunloopError):
    """A hostcall was refused or failed; the guest gets ``kind``, ``message`` and ``hint`` and goes on.

    ``code`` is the dotted stable name of the exact reason, for records and people. ``outcome_unknown`` says that the effect
    may have happened: the caller records ``effect.unknown`` and never repeats the call by itself. ``spent`` is what a failed
    call cost all the same, for the record; ``denial`` is the capability's refusal, for the audit. ``taint`` are the labels of what
    decided from outside that it fails, or how, and of what the message repeats.
    """

    code = "call.failed"

    def __init__(
        self,
        kind: CallErrorKind,
        message: str,
        *,
        code: str,
        hint: str = "",
        where: Where | None = None,
        retryable: bool = False,
        outcome_unknown: bool = False,
        spent: Outcome | None = None,
        denial: Denial | None = None,
        taint: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message, code=code, where=where, hint=hint, retryable=retryable)
        self.kind = kind
        self.outcome_unknown = outcome_unknown
        self.spent = spent
        self.denial = denial
        self.taint = taint

    def to_answer(self) -> dict[str, str]:
        """The typed error of the WIT world: code, message, hint."""
        return {"code": self.kind.value, "message": self.message, "hint": self.hint}

    def to_dict(self) -> dict[str, Any]:
        """The error as records hold it: the tree's form and the guest's ``kind``."""
        form = RunloopError.to_dict(self)
        form["kind"] = self.kind.value
        return form


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who asks, in which run, with which rights, and until when. Times are Unix milliseconds.

    ``asked_ms`` is when the call was made first, where a recovered run takes it up again. ``begun_in`` is the run in which the attempt
    began, where that is not ``run_id``: the guest knows itself by that one. ``since`` is the first attempt at this work: retries go on
    with it, and where a gate sends the node back other work begins.
    """

    run_id: str
    node: str
    attempt: int
    call: int
    idempotency_key: str
    agent: str
    caps: Capabilities
    taint: frozenset[str]
    now_ms: int
    deadline_ms: int | None
    asked_ms: int | None = None
    begun_in: str | None = None
    since: int = 1

    @property
    def work_key(self) -> str:
        """What this call does once: the same in every try at the same work, another one where a gate sent the node back."""
        return self.idempotency_key if self.since == 1 else f"{self.idempotency_key}/since-{self.since}"

    @property
    def guest_run_id(self) -> str:
        """The run that the guest knows itself by."""
        return self.begun_in or self.run_id

    @property
    def question_id(self) -> str:
        """What an approval or a question of this call is known by."""
        return f"{self.idempotency_key}/{self.attempt}"

    @property
    def remaining_ms(self) -> int | None:
        """Milliseconds to the deadline, at least 0; None when there is none."""
        return None if self.deadline_ms is None else max(0, self.deadline_ms - self.now_ms)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a call would do, complete before anything is done.

    ``what`` is the exact content that a person approves and that the record keeps. ``data`` is for ``perform`` alone.
    ``external`` changes something outside Runloop; ``leaves_machine`` sends content to another host. ``because`` is why a person is asked
    where that is not plain.
    """

    action: str
    klass: EffectClass
    what: str
    recipients: tuple[str, ...] = ()
    external: bool = False
    reversible: bool = False
    leaves_machine: bool = False
    because: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call did: the JSON answer, what it cost, and the labels of where its content came from.

    Tokens are None where none were used; ``usd_micros`` is None where the price is not known. ``note`` is what a person should know
    of it besides.
    """

    result: Any
    tokens_in: int | None = None
    tokens_out: int | None = None
    usd_micros: int | None = None
    cached: bool = False
    taint: frozenset[str] = frozenset()
    tokens_estimated: bool = False
    note: str = ""

    @property
    def tokens(self) -> int:
        """Those of both ways."""
        return (self.tokens_in or 0) + (self.tokens_out or 0)

    @property
    def usd(self) -> float | None:
        """The cost in US dollars for records and people, or None."""
        return None if self.usd_micros is None else self.usd_micros / MICROS_PER_USD


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be found out about an external call that was begun and has no recorded outcome.

    ``happened`` is None where nobody can know but the person. ``outcome`` is what to answer if it happened, where that can be said;
    ``text`` tells a person what was looked at.
    """

    happened: bool | None
    text: str
    outcome: Outcome | None = None


@runtime_checkable
class Witness(Protocol):
    """A performer of external calls that can look whether one of them happened."""

    async def evidence(self, prepared: Prepared, ctx: CallContext) -> Evidence:
        """Look, and change nothing."""
        ...


@runtime_checkable
class Once(Protocol):
    """A performer of calls that do nothing where the same work was done before, by an earlier try."""

    async def done_before(self, prepared: Prepared, ctx: CallContext) -> bool | None:
        """Look, and change nothing; None where an earlier try was begun and nobody but the person can know what came of it."""
        ...

    async def remember(self, prepared: Prepared, ctx: CallContext) -> None:
        """It was done, says a person: no later try does it again. ``ctx`` is that of a call whose request is on record."""
        ...


class Performer(Protocol):
    """One hostcall's two halves. ``prepare`` has no effect; ``perform`` has exactly what was prepared."""

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check rights and content and say what would happen. Raises :class:`CallError`."""
        ...

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do it. Raises :class:`CallError`."""
        ...


def invalid(message: str, *, key: str, hint: str, code: str = "call.invalid") -> CallError:
    """The arguments cannot be used; ``key`` names which one."""
    return CallError(CallErrorKind.INVALID, message, code=code, hint=hint, where=Where(key=key))


def require(denial: Denial | None) -> None:
    """Turn a capability's refusal into the guest's ``denied``; do nothing when it allows."""
    if denial is not None:
        raise CallError(CallErrorKind.DENIED, denial.message, code=denial.code, hint=denial.hint, denial=denial)
