"""One live crossing on its way: prepared, admitted, requested on disk, performed, its outcome on disk.

A call that a crash left without an outcome is taken up by its class (ADR 5): a read or an idempotent one is made again, a waiting one is
waited for again, an external one goes by evidence or by what a person says, and by nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.effects.catalogue import class_of
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Evidence, Once, Outcome, Witness
from runloop.errors import InvalidInput, RunloopError, exhausted
from runloop.events import value_hash
from runloop.events.records import EffectEnded, EffectRequested, ErrorInfo, OpenQuestion
from runloop.runs.errors import NeedsPerson
from runloop.runs.recorder import Draft
from runloop.runs.results import SPAWNS, RunHalted
from runloop.runs.waits import Wait
from runloop.sandbox.spec import Answer
from runloop.sandbox.spec import CallError as GuestCallError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from runloop.effects.journal import Crossing
    from runloop.effects.types import Performer, Prepared
    from runloop.events import NewEvent
    from runloop.runs.crossings import Crossings
    from runloop.runs.history import RecordedAttempt

_GOES_OUT = frozenset({"model.complete", "model.embed", "http.fetch", "exec.run", "mail.send"})
"""Calls that take their time elsewhere, in which the guest needs no processor."""


def goes_outside(name: str, klass: str) -> bool:
    """Whether a call's answer could be another one the next time, beyond reading what is here."""
    return klass != EffectClass.READ or name == "http.fetch"


@dataclass(slots=True)
class Call:
    """One live crossing. ``pending`` is its request where that stands in the record already, without an outcome."""

    at: Crossings
    name: str
    args: dict[str, Any] | None
    args_hash: str
    call: int
    pending: Crossing | None = None
    klass: EffectClass = EffectClass.READ
    requested: bool = False
    prepared: bool = field(default=False, init=False)
    left: RecordedAttempt | None = field(default=None, init=False)
    """The attempt as an earlier process left it in the middle of this call."""
    allowed: list[NewEvent] = field(default_factory=list, init=False)
    """What goes on record of its being allowed, beside its first record."""
    taint: tuple[str, ...] = field(init=False)
    """What the guest had seen when it asked, whatever the answer adds."""
    in_doubt: bool = field(init=False)
    """Whether an earlier process began it outside and it is not known yet whether it happened."""

    def __post_init__(self) -> None:
        self.taint = tuple(sorted(self.at.taint))
        self.requested = self.pending is not None
        if self.pending is not None and self.pending.klass:
            self.klass = EffectClass(self.pending.klass)
        self.in_doubt = self.requested and self.klass is EffectClass.EXTERNAL

    async def make(self) -> Answer:
        """Prepare, admit, perform and record; a refusal is recorded and answered like any other outcome."""
        if self.pending is not None:
            self.left = self.at.taken_up()
        began_ms = self.at.steady_ms()
        try:
            if self.pending is not None and self.klass is not EffectClass.WAITING:
                if self.at.held:
                    await self.at.desk.hear(self, self.at.context(self.call, self.pending))
                await self.at.may_go()  # nor is it refused while the run is paused: what it needs may be there by then
            performer, ctx = self.at.performer(self.name), self.at.context(self.call, self.pending)
            prepared = self._prepare(performer, replace(ctx, now_ms=self.at.desk.asked_at(ctx)))
            self.klass, self.prepared = prepared.klass, True
            self.at.asked_outside = self.at.asked_outside or goes_outside(self.name, self.klass)
            known = await self._admit(performer, prepared, ctx) if self.pending is None else None
            if self.klass is EffectClass.WAITING and ctx.asked_ms is not None:
                began_ms -= max(0, ctx.now_ms - ctx.asked_ms)  # it has gone on meanwhile, whoever asked
            if self.pending is None or self.klass is not EffectClass.WAITING:
                await self.at.may_go()  # a person may decide while the run is paused, and what waits may wait; nothing else begins
            if self.pending is None:
                began_ms = self.at.steady_ms()  # what a call took does not include a person's time to approve it
                if self.klass is not EffectClass.READ:
                    await self._request()
            outcome, result_hash = await self._perform(performer, prepared, self.at.context(self.call, self.pending), known)
        except CallError as error:
            return await self.refuse(error, began_ms)
        except asyncio.CancelledError:
            self._abandoned(began_ms)
            raise
        return await self._complete(outcome, result_hash, began_ms)

    async def refuse(self, error: CallError | None, began_ms: int | None = None) -> Answer:
        """Record that the call was refused or failed, and tell the guest; what is refused now may have happened before."""
        assert error is not None  # noqa: S101 - the caller has one
        if not (self.prepared or self.requested):
            self.klass = class_of(self.name, self.args)
        error.outcome_unknown = error.outcome_unknown or self.in_doubt
        self.at.refusal = error
        self.at.taint |= error.taint
        kind = "effect.unknown" if error.outcome_unknown else "effect.failed"
        info = ErrorInfo(error.code, error.message, error.hint or None, error.retryable or None, error.kind.value)
        ms = 0 if began_ms is None else self.at.steady_ms() - began_ms
        spent = error.spent or Outcome(None)
        ended = self._ended(
            error=info,
            ms=ms,
            tokens_in=spent.tokens_in or 0,
            tokens_out=spent.tokens_out or 0,
            usd=spent.usd,
            taint=sorted(error.taint) or None,
        )
        verb = "was refused" if error.kind is CallErrorKind.DENIED else "failed"
        draft = Draft(kind, f"{self.name} {verb}: {error.message}", ended, level="warn", agent_id=self.at.who.agent_id)
        self._count(spent)
        written = await self._write(draft, self.at.desk.audit(self, error))
        self._tell_spent(spent)
        return Answer(GuestCallError(**error.to_answer()), written)

    async def _request(self) -> None:
        written = self.at.recorder.write(self._requested_draft(), beside=self._told_once())
        self.requested = True  # it is on its way, even if this call is stopped before it is there
        stored = await written
        self.at.requests[self.at.who.node, self.at.who.attempt, self.call] = stored[0].id
        self.at.told.append(stored[0].id)

    def _prepare(self, performer: Performer, ctx: CallContext) -> Prepared:
        try:
            return performer.prepare(self.args or {}, ctx)
        except CallError:
            raise
        except RunloopError as error:
            raise _as_call_error(error) from error
        except Exception as error:
            raise _broken(self.name, error) from error

    async def _admit(self, performer: Performer, prepared: Prepared, ctx: CallContext) -> Outcome | None:
        """Have the call allowed, unless an earlier try did it; the outcome where that is known by now."""
        known = None
        if not (before := await _done_before(performer, prepared, ctx)):
            if before is None:
                known = await self._settle(performer, prepared, ctx)
            if known is None:
                await self.at.desk.admit(self, prepared, ctx)
        self.allowed = self.at.desk.audit_allowed(self)
        return known

    async def _perform(self, performer: Performer, prepared: Prepared, ctx: CallContext, known: Outcome | None) -> tuple[Outcome, str]:
        """The outcome and the hash of its result. A performer that trips costs this call, never the run."""
        try:
            outcome = known
            if self.pending is not None and self.klass is EffectClass.EXTERNAL:
                outcome = await self._settle(performer, prepared, ctx)
                await self.at.may_go()
            if outcome is not None and isinstance(performer, Once):
                await performer.remember(prepared, ctx)
            if outcome is None:
                with self._elsewhere(ctx):
                    outcome = await performer.perform(prepared, ctx)
            return outcome, value_hash(outcome.result)
        except (CallError, NeedsPerson, RunHalted):
            raise
        except RunloopError as error:
            raise _as_call_error(error) from error
        except Exception as error:
            raise _broken(self.name, error, outcome_unknown=prepared.klass is EffectClass.EXTERNAL) from error

    def _elsewhere(self, ctx: CallContext) -> AbstractContextManager[None]:
        """What the attempt does meanwhile: waits for somebody, is away, or works."""
        began_ms, args = ctx.asked_ms or ctx.now_ms, self.args or {}
        match self.name:
            case "timer.sleep":
                return self.at.waits(Wait("timer", began_ms + args["ms"]))
            case "ask.person":
                until_ms = None if args.get("timeout_ms") is None else began_ms + args["timeout_ms"]
                event_id = self.at.requests.get((self.at.who.node, self.at.who.attempt, self.call), 0)
                return self.at.waits(Wait("person", until_ms, OpenQuestion(ctx.question_id, event_id, "question")))
            case name if name in SPAWNS:
                return self.at.waits(Wait("child"))
            case name if name in _GOES_OUT:
                return self.at.is_away()
        return nullcontext()

    async def _settle(self, performer: Performer, prepared: Prepared, ctx: CallContext) -> Outcome | None:
        """Of an external call that was begun and has no outcome, or whose earlier try has none that is known: what it came to.

        None where it shall be made now.
        """
        evidence = Evidence(None, "nothing in Runloop can tell")
        if isinstance(performer, Witness):
            evidence = await performer.evidence(prepared, ctx)
        happened = evidence.happened
        if happened is None:
            happened = await self.at.desk.settle(self, prepared, ctx, evidence)
        self.in_doubt = False
        if not happened:
            return None
        if evidence.outcome is None:
            message = f"{self.name} happened, but its answer was lost with the process that asked"
            raise CallError(CallErrorKind.UNAVAILABLE, message, code="effect.answer_lost", hint="look at what it did before going on")
        return evidence.outcome

    async def _complete(self, outcome: Outcome, result_hash: str, began_ms: int) -> Answer:
        self.at.taint |= outcome.taint
        ended = self._ended(
            result=outcome.result,
            result_hash=result_hash,
            ms=self.at.steady_ms() - began_ms,
            tokens_in=outcome.tokens_in or 0,
            tokens_out=outcome.tokens_out or 0,
            usd=outcome.usd,
            cached=outcome.cached,
            estimated=outcome.tokens_estimated or None,
            taint=sorted(outcome.taint) or None,
        )
        said = f"{self.name} answered: {outcome.note}" if outcome.note else f"{self.name} answered"
        self._count(outcome)  # the attempt may be stopped while it waits for the disk
        written = await self._write(Draft("effect.completed", said, ended, agent_id=self.at.who.agent_id))
        self._tell_spent(outcome)
        return Answer(dump(outcome.result), written)

    def _abandoned(self, began_ms: int) -> None:
        """The attempt is being stopped in the middle of this call, whose outcome goes on record with the attempt's end.

        Where the process leaves the run as it is, the call stays open, and a recovery will find it.
        """
        if self.at.recorder.halted:
            return
        unknown = self.requested and self.klass is EffectClass.EXTERNAL
        code = "effect.outcome_unknown" if unknown else "effect.cancelled"
        info = ErrorInfo(code, "the attempt was stopped during this call", kind=CallErrorKind.CANCELLED.value)
        ended = self._ended(error=info, ms=self.at.steady_ms() - began_ms)
        kind = "effect.unknown" if unknown else "effect.failed"
        end = Draft(kind, f"{self.name} was stopped", ended, level="warn", agent_id=self.at.who.agent_id)
        self.at.stopped(*self._with_request(end))

    async def _write(self, end: Draft, beside: Iterable[NewEvent] = ()) -> int:
        """Put the outcome on disk, after the request where that is not there yet; the time of the outcome's record."""
        drafts = self._with_request(end)
        stored = await self.at.recorder.write(*drafts, beside=[*self._told_once(), *beside])
        self.at.told += [event.id for event in stored[: len(drafts)] if event.kind.startswith("effect.")]
        return stored[len(drafts) - 1].ts_ms

    def _told_once(self) -> list[NewEvent]:
        told, self.allowed = self.allowed, []
        return told

    def _with_request(self, end: Draft) -> list[Draft]:
        """The end of the call, after its request where that is not there, and after the ends of what was asked about it before.

        An earlier process may have asked what this one has found out by itself, or was stopped before it could ask again.
        """
        asked = [] if self.left is None else self.at.desk.close(self.left)
        request = [] if self.requested else [self._requested_draft()]
        self.requested = True
        return [*request, *asked, end]

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
            idempotency_key=ctx.work_key if self.prepared and self.klass is not EffectClass.READ else None,
            refused=None if self.prepared else True,
        )
        return Draft("effect.requested", f"{who.node} asks for {self.name}", meta, agent_id=who.agent_id)

    def _ended(self, **over: Any) -> EffectEnded:
        who = self.at.who
        return EffectEnded(who.node, who.attempt, self.call, name=self.name, **over)

    def _count(self, outcome: Outcome) -> None:
        usage = self.at.usage
        if outcome.tokens or outcome.usd_micros:
            usage.tokens += outcome.tokens
            usage.usd_micros += outcome.usd_micros or 0
            usage.priced = usage.priced and outcome.usd_micros is not None

    def _tell_spent(self, outcome: Outcome) -> None:
        if outcome.tokens or outcome.usd_micros:
            self.at.spent(outcome.tokens, outcome.usd_micros or 0)


async def _done_before(performer: Performer, prepared: Prepared, ctx: CallContext) -> bool | None:
    """Whether an earlier try at the same work did it, so that performing it does nothing that needs to be approved; None: nobody knows."""
    return ctx.attempt > ctx.since and isinstance(performer, Once) and await performer.done_before(prepared, ctx)


def _as_call_error(error: RunloopError) -> CallError:
    kind = CallErrorKind.INVALID if isinstance(error, InvalidInput) else CallErrorKind.UNAVAILABLE
    return CallError(kind, error.message, code=error.code, hint=error.hint, retryable=error.retryable)


def _broken(name: str, error: Exception, *, outcome_unknown: bool = False) -> CallError:
    if (lacks := exhausted(error)) is not None:
        return CallError(
            CallErrorKind.UNAVAILABLE,
            f"{name} failed: {lacks.message}",
            code=lacks.code,
            hint=lacks.hint,
            retryable=not outcome_unknown,
            outcome_unknown=outcome_unknown,
        )
    said = f"{name} failed inside Runloop ({type(error).__name__}: {error})"
    hint = "this is a defect in Runloop; please report it"
    return CallError(CallErrorKind.UNAVAILABLE, said, code="call.internal", hint=hint, outcome_unknown=outcome_unknown)


def close_open_calls(attempt: RecordedAttempt) -> list[Draft]:
    """The outcomes of calls that an earlier process left open, for an attempt that is stopped before it is taken up again."""
    drafts = []
    for crossing in attempt.crossings:
        if not crossing.answered:
            unknown = crossing.klass == EffectClass.EXTERNAL.value
            code = "effect.outcome_unknown" if unknown else "effect.cancelled"
            info = ErrorInfo(code, "the attempt was stopped during this call", kind=CallErrorKind.CANCELLED.value)
            meta = EffectEnded(attempt.node, attempt.attempt, crossing.call, name=crossing.name, error=info, ms=0)
            drafts.append(Draft("effect.unknown" if unknown else "effect.failed", f"{crossing.name} was stopped", meta, level="warn"))
    return drafts


def answer_of(crossing: Crossing) -> Answer:
    """What the guest is told of a recorded crossing."""
    failure = crossing.failure
    if failure is not None:
        return Answer(GuestCallError(failure.code, failure.message, failure.hint), crossing.completed_ms)
    return Answer(dump(crossing.result), crossing.completed_ms)


def dump(value: Any) -> str:
    """The answer as the guest reads it: the same text for the same value, live or from the record."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
