"""One node attempt's crossings: every hostcall is journaled before its answer is seen (architecture section 7).

Order of one crossing: journal, prepare, admission, approval, ``effect.requested`` on disk, perform, ``effect.completed`` on disk,
answer. A read asks nothing of the outside world, so its request and its answer share one commit.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.catalogue import CATALOGUE, decode_args
from runloop.effects.journal import Crossing, Journal, Live, Recorded
from runloop.effects.types import MICROS_PER_USD, CallContext, CallError, CallErrorKind, EffectClass, Outcome, Performer, Prepared
from runloop.errors import RunloopError
from runloop.events import value_hash
from runloop.events.records import EffectEnded, EffectRequested, ErrorInfo
from runloop.runs.recorder import Draft
from runloop.sandbox.spec import Answer
from runloop.sandbox.spec import CallError as GuestCallError

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.events import NewEvent
    from runloop.policy import Capabilities
    from runloop.runs.approvals import ApprovalDesk
    from runloop.runs.recorder import Recorder

_WAITS_FOR_SOMEBODY = frozenset({"ask.person", "timer.sleep", "spawn.agent", "spawn.opening"})
_GOES_OUT = frozenset({"model.complete", "model.embed", "http.fetch", "exec.run", "mail.send"})
"""Calls that take their time elsewhere, in which the guest needs no processor."""


class RecordEnded(Exception):  # noqa: N818 - it says what happened, and is an error only to the guest
    """A re-run made a call that the record has no answer to; ``pending`` is its request, where that was recorded."""

    def __init__(self, node: str, attempt: int, call: int, pending: Crossing | None) -> None:
        super().__init__(f"the record of node {node}, attempt {attempt}, ends at call {call}")
        self.node, self.attempt, self.call, self.pending = node, attempt, call, pending


@dataclass(frozen=True, slots=True)
class AttemptIdentity:
    """Which attempt crosses: run, node, attempt, its agent, and the wall clock at which its time is up."""

    run_id: str
    node: str
    attempt: int
    bundle: Bundle
    deadline_ms: int | None

    @property
    def agent_id(self) -> str:
        """The actor form of the agent: ``agent:<name>``."""
        return f"agent:{self.bundle.name}"

    @property
    def caps(self) -> Capabilities:
        """What the agent may ask for."""
        return self.bundle.caps


def dollars(micros: int) -> float:
    """US dollars; nothing is the whole number 0, whose canonical form is made much faster than that of a fraction."""
    return micros / MICROS_PER_USD if micros else 0


@dataclass(slots=True)
class Usage:
    """What an attempt used so far; ``usd_micros`` counts the calls whose price is known, ``priced`` says whether that is all."""

    tokens: int = 0
    usd_micros: int = 0
    priced: bool = True

    @property
    def usd(self) -> float | None:
        """The cost in US dollars, or None where it is not known."""
        return dollars(self.usd_micros) if self.priced else None


@dataclass(slots=True)
class Crossings:
    """The hostcall handler of one attempt. With ``live`` false a record is re-run: its end is the end, nothing happens outside.

    ``requests`` learns the event ids of the requests that were recorded before something happened. ``waiting(bool)`` tells when the
    attempt begins and ends to wait for a person, a timer or a child run, ``away(bool)`` the same of a model or another outside.
    While ``going`` is clear, no new call begins.
    """

    who: AttemptIdentity
    recorder: Recorder
    journal: Journal
    performers: Mapping[str, Performer]
    desk: ApprovalDesk
    taint: set[str]
    requests: dict[tuple[str, int, int], int] = field(default_factory=dict)
    live: bool = True
    waiting: Callable[[bool], None] = lambda _: None
    away: Callable[[bool], None] = lambda _: None
    going: asyncio.Event | None = None
    spent: Callable[[int, int], None] = lambda _tokens, _micros: None
    usage: Usage = field(default_factory=Usage)
    refusal: CallError | None = None
    """The latest call that was refused or failed."""
    asked_outside: bool = False
    """Whether a call was made whose answer could be another one the next time, beyond reading what is here."""

    async def __call__(self, name: str, args_json: str) -> Answer:
        """Answer one hostcall of the guest. Raises only what must stop the guest: a divergence, a ledger that cannot write."""
        effect = CATALOGUE.get(name)
        if effect is not None and effect.live:
            return await self._tell(name, args_json)
        if effect is not None and effect.klass is EffectClass.VIRTUAL:
            return await self._virtual(name, args_json)
        try:
            args: dict[str, Any] | None = decode_args(name, args_json)
            wrong = None
        except CallError as error:
            args, wrong = None, error
        args_hash = value_hash(args) if args is not None else blake3(args_json.encode("utf-8", "surrogatepass")).hexdigest()
        match self.journal.ask(name, args_hash):
            case Recorded(crossing):
                self.taint |= crossing.taint
                if (failure := crossing.failure) is not None:
                    kind = CallErrorKind(failure.code)
                    self.refusal = CallError(kind, failure.message, code=failure.reason, hint=failure.hint)
                return _recorded_answer(crossing)
            case Live(call, pending):
                if not self.live:
                    raise RecordEnded(self.who.node, self.who.attempt, call, pending)
                if self.going is not None and not self.going.is_set():
                    await self._paused(self.going)
                live = _Call(self, name, args, args_hash, call)
                return await (live.refuse(wrong) if args is None and wrong is not None else live.make())

    async def _paused(self, going: asyncio.Event) -> None:
        self.waiting(True)
        try:
            await going.wait()
        finally:
            self.waiting(False)

    def context(self, call: int) -> CallContext:
        """The facts that a performer gets with call number ``call``."""
        who = self.who
        return CallContext(
            run_id=who.run_id,
            node=who.node,
            attempt=who.attempt,
            call=call,
            idempotency_key=f"{who.run_id}/{who.node}/{call}",
            agent=who.bundle.name,
            caps=who.caps,
            taint=frozenset(self.taint),
            now_ms=self.recorder.clock_ms(),
            deadline_ms=who.deadline_ms,
        )

    def performer(self, name: str) -> Performer:
        """Who performs that call; raises :class:`CallError` where this Runloop has nobody for it."""
        found = self.performers.get(name)
        if found is None:
            hint = "the call exists, but nothing in this installation performs it"
            raise CallError(CallErrorKind.UNAVAILABLE, f"{name} is not available here", code="call.unavailable", hint=hint)
        return found

    async def _tell(self, name: str, args_json: str) -> Answer:
        """Progress and log lines: never an error for the guest, and nothing at all while a record is re-run."""
        if self.live and not self.journal.replaying:
            try:
                performer, ctx = self.performer(name), self.context(self.journal.asked)
                await performer.perform(performer.prepare(decode_args(name, args_json), ctx), ctx)
            except CallError:
                pass  # a log line that cannot be used is not worth the guest's life
        return Answer("{}", 0)

    async def _virtual(self, name: str, args_json: str) -> Answer:
        """Calls whose answer follows from the run itself; they are the same on every run and stand in no record."""
        try:
            args, ctx = decode_args(name, args_json), self.context(self.journal.asked)
            performer = self.performer(name)
            outcome = await performer.perform(performer.prepare(args, ctx), ctx)
        except CallError as error:
            return Answer(GuestCallError(**error.to_answer()), 0)
        return Answer(_dump(outcome.result), 0)


@dataclass(slots=True)
class _Call:
    """One live crossing on its way."""

    at: Crossings
    name: str
    args: dict[str, Any] | None
    args_hash: str
    call: int
    klass: EffectClass = EffectClass.READ
    requested: bool = False
    taint: tuple[str, ...] = field(init=False)
    """What the guest had seen when it asked, whatever the answer adds."""

    def __post_init__(self) -> None:
        self.taint = tuple(sorted(self.at.taint))

    async def make(self) -> Answer:
        """Prepare, admit, perform and record; a refusal is recorded and answered like any other outcome."""
        began_ms = self.at.recorder.clock_ms()
        prepared: Prepared | None = None
        try:
            performer, ctx = self.at.performer(self.name), self.at.context(self.call)
            prepared = self._prepare(performer, ctx)
            self.klass = prepared.klass
            self.at.asked_outside = self.at.asked_outside or self.klass is not EffectClass.READ or self.name == "http.fetch"
            await self.at.desk.admit(self, prepared, ctx)
            began_ms = self.at.recorder.clock_ms()  # what a call took does not include a person's time to approve it
            if self.klass is not EffectClass.READ:
                await self._request()
            outcome, result_hash = await self._perform(performer, prepared, self.at.context(self.call))
        except CallError as error:
            return await self.refuse(error, began_ms)
        except asyncio.CancelledError:
            await self._abandoned(prepared, began_ms)
            raise
        return await self._complete(outcome, result_hash, began_ms)

    async def refuse(self, error: CallError | None, began_ms: int | None = None) -> Answer:
        """Record that the call was refused or failed, and tell the guest."""
        assert error is not None  # noqa: S101 - the caller has one
        self.at.refusal = error
        kind = "effect.unknown" if error.outcome_unknown else "effect.failed"
        info = ErrorInfo(error.code, error.message, error.hint or None, error.retryable or None, error.kind.value)
        ms = 0 if began_ms is None else max(0, self.at.recorder.clock_ms() - began_ms)
        spent = error.spent or Outcome(None)
        ended = self._ended(error=info, ms=ms, tokens_in=spent.tokens_in or 0, tokens_out=spent.tokens_out or 0, usd=spent.usd)
        verb = "was refused" if error.kind is CallErrorKind.DENIED else "failed"
        draft = Draft(kind, f"{self.name} {verb}: {error.message}", ended, level="warn", agent_id=self.at.who.agent_id)
        written = await self._write(draft, self.at.desk.audit(self, error))
        self._count(spent)
        return Answer(GuestCallError(**error.to_answer()), written)

    async def _request(self) -> None:
        stored = await self.at.recorder.write(self._requested_draft())
        self.at.requests[self.at.who.node, self.at.who.attempt, self.call] = stored[0].id
        self.requested = True

    def _prepare(self, performer: Performer, ctx: CallContext) -> Prepared:
        try:
            return performer.prepare(self.args or {}, ctx)
        except CallError:
            raise
        except RunloopError as error:
            raise _as_call_error(error) from error
        except Exception as error:
            raise _defect(self.name, error) from error

    async def _perform(self, performer: Performer, prepared: Prepared, ctx: CallContext) -> tuple[Outcome, str]:
        """The outcome and the hash of its result. A performer that trips costs this call, never the run."""
        leave = self.at.waiting if self.name in _WAITS_FOR_SOMEBODY else self.at.away if self.name in _GOES_OUT else None
        if leave is not None:
            leave(True)
        try:
            outcome = await performer.perform(prepared, ctx)
            return outcome, value_hash(outcome.result)
        except CallError:
            raise
        except RunloopError as error:
            raise _as_call_error(error) from error
        except Exception as error:
            raise _defect(self.name, error, outcome_unknown=prepared.klass is EffectClass.EXTERNAL) from error
        finally:
            if leave is not None:
                leave(False)

    async def _complete(self, outcome: Outcome, result_hash: str, began_ms: int) -> Answer:
        self.at.taint |= outcome.taint
        ended = self._ended(
            result=outcome.result,
            result_hash=result_hash,
            ms=max(0, self.at.recorder.clock_ms() - began_ms),
            tokens_in=outcome.tokens_in or 0,
            tokens_out=outcome.tokens_out or 0,
            usd=outcome.usd,
            cached=outcome.cached,
            taint=sorted(outcome.taint) or None,
        )
        written = await self._write(Draft("effect.completed", f"{self.name} answered", ended, agent_id=self.at.who.agent_id))
        self._count(outcome)
        return Answer(_dump(outcome.result), written)

    async def _abandoned(self, prepared: Prepared | None, began_ms: int) -> None:
        """The attempt is being stopped in the middle of this call: its record must have an outcome, unless a recovery will find it."""
        if self.at.recorder.halted:
            return
        unknown = self.requested and prepared is not None and prepared.klass is EffectClass.EXTERNAL
        code = "effect.outcome_unknown" if unknown else "effect.cancelled"
        info = ErrorInfo(code, "the attempt was stopped during this call", kind=CallErrorKind.CANCELLED.value)
        ended = self._ended(error=info, ms=max(0, self.at.recorder.clock_ms() - began_ms))
        kind = "effect.unknown" if unknown else "effect.failed"
        await self._write(Draft(kind, f"{self.name} was stopped", ended, level="warn", agent_id=self.at.who.agent_id))

    async def _write(self, end: Draft, beside: Iterable[NewEvent] = ()) -> int:
        """Put the outcome on disk, after the request where that is not there yet; the time of the outcome's record."""
        drafts = [end] if self.requested else [self._requested_draft(), end]
        self.requested = True
        stored = await self.at.recorder.write(*drafts, beside=beside)
        return stored[len(drafts) - 1].ts_ms

    def _requested_draft(self) -> Draft:
        who, ctx = self.at.who, self.at.context(self.call)
        meta = EffectRequested(
            who.node,
            who.attempt,
            self.call,
            self.name,
            self.klass.value,
            self.args_hash,
            args=self.args,
            taint=list(self.taint) or None,
            idempotency_key=None if self.klass is EffectClass.READ else ctx.idempotency_key,
        )
        return Draft("effect.requested", f"{who.node} asks for {self.name}", meta, agent_id=who.agent_id)

    def _ended(self, **over: Any) -> EffectEnded:
        who = self.at.who
        return EffectEnded(who.node, who.attempt, self.call, name=self.name, **over)

    def _count(self, outcome: Outcome) -> None:
        tokens, usage = (outcome.tokens_in or 0) + (outcome.tokens_out or 0), self.at.usage
        if tokens or outcome.usd_micros:
            usage.tokens += tokens
            usage.usd_micros += outcome.usd_micros or 0
            usage.priced = usage.priced and outcome.usd_micros is not None
            self.at.spent(tokens, outcome.usd_micros or 0)


def _as_call_error(error: RunloopError) -> CallError:
    return CallError(CallErrorKind.UNAVAILABLE, error.message, code=error.code, hint=error.hint, retryable=error.retryable)


def _defect(name: str, error: Exception, *, outcome_unknown: bool = False) -> CallError:
    said = f"{name} failed inside Runloop ({type(error).__name__}: {error})"
    hint = "this is a defect in Runloop; please report it"
    return CallError(CallErrorKind.UNAVAILABLE, said, code="call.internal", hint=hint, outcome_unknown=outcome_unknown)


def _recorded_answer(crossing: Crossing) -> Answer:
    failure = crossing.failure
    if failure is not None:
        return Answer(GuestCallError(failure.code, failure.message, failure.hint), crossing.completed_ms)
    return Answer(_dump(crossing.result), crossing.completed_ms)


def _dump(value: Any) -> str:
    """The answer as the guest reads it: the same text for the same value, live or from the record."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
