"""One node attempt's crossings: every hostcall is journaled before its answer is seen (architecture section 7).

Order of one crossing: journal, prepare, admission, approval, ``effect.requested`` on disk, perform, ``effect.completed`` on disk,
answer. A read asks nothing of the outside world, so its request and its answer share one commit.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.catalogue import CATALOGUE, decode_args
from runloop.effects.journal import Crossing, Journal, Live, Recorded
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Performer
from runloop.events import value_hash
from runloop.events.records import DivergenceFound, NodeMoved
from runloop.runs.call import Call, answer_of, dump, goes_outside
from runloop.runs.history import Spent
from runloop.runs.recorder import Draft
from runloop.runs.waits import Wait
from runloop.sandbox.spec import Answer
from runloop.sandbox.spec import CallError as GuestCallError
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.policy import Capabilities
    from runloop.runs.approvals import ApprovalDesk
    from runloop.runs.history import RecordedAttempt
    from runloop.runs.recorder import Recorder
    from runloop.sandbox.spec import InLine


_MOST_SAID = 2000
"""Characters of what stands in place of a line that cannot be shown; progress may have no more."""
_KEPT_S_PER_CALL = 0.002
"""So much longer an agent is kept for each call in its record, about ten times what a call costs when it is rebuilt: else one that looks
at something every few seconds would spend more and more of its life on coming back."""


class Evicted(Exception):  # noqa: N818 - it says what happened
    """Unwinds a guest whose call takes long: the call goes on without it, and a re-run will find the answer in the record."""


class RecordEnded(Exception):  # noqa: N818 - it says what happened, and is an error only to the guest
    """A re-run made a call that the record has no answer to; ``pending`` is its request, where that was recorded."""

    def __init__(self, node: str, attempt: int, call: int, pending: Crossing | None) -> None:
        super().__init__(f"the record of node {node}, attempt {attempt}, ends at call {call}")
        self.node, self.attempt, self.call, self.pending = node, attempt, call, pending


@dataclass(frozen=True, slots=True)
class AttemptIdentity:
    """Which attempt crosses: run, node, attempt, its agent, and the time of the steady clock at which its own is up."""

    run_id: str
    node: str
    attempt: int
    bundle: Bundle
    deadline_ms: int | None
    begun_in: str | None = None
    """The run in which the attempt began, where a fork goes on with it."""
    since: int = 1
    """The first attempt at this work: a later one means that a gate sent the node back."""

    @property
    def agent_id(self) -> str:
        """The actor form of the agent: ``agent:<name>``."""
        return f"agent:{self.bundle.name}"

    @property
    def caps(self) -> Capabilities:
        """What the agent may ask for."""
        return self.bundle.caps


@dataclass(slots=True)
class Crossings:
    """The hostcall handler of one attempt. With ``live`` false a record is re-run: its end is the end, nothing happens outside.

    ``requests`` learns the event ids of the requests that were recorded before something happened. ``waiting(wait)`` tells when the
    attempt begins to wait for a person, a timer or a child run, and with None when that ends; ``away(bool)`` the same of a model or
    another outside. While ``going`` is clear, no new call begins. A call that takes longer than :attr:`kept_s` goes on without its
    guest: the handler raises :class:`Evicted`, :meth:`answered` waits for the outcome, :meth:`rewind` prepares the re-run.
    """

    who: AttemptIdentity
    recorder: Recorder
    journal: Journal
    performers: Mapping[str, Performer]
    desk: ApprovalDesk
    inherited: frozenset[str] = frozenset()
    requests: dict[tuple[str, int, int], int] = field(default_factory=dict)
    live: bool = True
    waiting: Callable[[Wait | None], None] = lambda _: None
    away: Callable[[bool], None] = lambda _: None
    stopped: Callable[..., None] = lambda *_drafts: None
    """Takes the records that end a call in whose middle the attempt is stopped; they are written with the attempt's end."""
    taken_up: Callable[[], RecordedAttempt | None] = lambda: None
    """Called when the call is made again that an earlier process left open; the attempt as it left it, the first time."""
    going: asyncio.Event | None = None
    line: InLine = lambda _again: nullcontext()
    """Entered while the guest waits for a place in a worker."""
    spent: Callable[[int, int], None] = lambda _tokens, _micros: None
    evict_after_s: float | None = None
    steady_ms: Callable[[], int] = lambda: 0
    usage: Spent = field(default_factory=Spent)
    refusal: CallError | None = None
    """The latest call that was refused or failed."""
    asked_outside: bool = False
    """Whether a call was made whose answer could be another one the next time, beyond reading what is here."""
    taint: set[str] = field(init=False)
    """Where all came from that reached the attempt. What the record answers counts from the start: a worker gives that to its guest, and
    may be gone before it has told of it."""
    waited_ms: int = 0
    """How long the attempt waited for others so far: that does not count against its time."""
    told: list[int] = field(default_factory=list)
    """Event ids of all that the attempt's calls put on record."""
    lines: int = 0
    """Lines that the attempt logged since its last answered call; a re-run does not log them again."""
    _inflight: asyncio.Task[Answer] | None = None
    _again: int = field(init=False)
    _rewound_ms: int | None = None
    _waits: int = 0

    def __post_init__(self) -> None:
        self.taint = {*self.inherited, *self.journal.taint}
        self._again = self.lines

    async def __call__(self, name: str, args_json: str) -> Answer:
        """Answer one hostcall of the guest. Raises only what must stop the guest: a divergence, an eviction, a ledger that cannot write."""
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
        match self.journal.ask(name, args_hash, args_json):
            case Recorded(crossing):
                self.taint |= crossing.taint
                self.asked_outside = self.asked_outside or (goes_outside(crossing.name, crossing.klass) and not crossing.refused)
                if (failure := crossing.failure) is not None:
                    kind = CallErrorKind(failure.code)
                    unknown = failure.unknown
                    self.refusal = CallError(kind, failure.message, code=failure.reason, hint=failure.hint, outcome_unknown=unknown)
                return answer_of(crossing)
            case Live(number, pending):
                if not self.live:
                    raise RecordEnded(self.who.node, self.who.attempt, number, pending)
                await self.tell_parted()
                self._caught_up()
                if self.held and pending is None and not self.desk.has_asked(self.context(number)):
                    await self._park()
                call = Call(self, name, args, args_hash, number, pending)
                if args is None and wrong is not None:
                    answer, self.lines = await call.refuse(wrong), 0
                    return answer
                return await self._evictable(call)

    # ── eviction ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _evictable(self, call: Call) -> Answer:
        task = self._inflight = asyncio.ensure_future(call.make())
        # Cancelled, this leaves the call alone: abandon() is for who stops the attempt.
        await asyncio.wait({task}, timeout=self.kept_s)
        if not task.done():
            raise Evicted
        self._inflight, self.lines = None, 0
        return task.result()

    @property
    def kept_s(self) -> float | None:
        """How long the guest is kept while a call is under way; None for as long as it takes."""
        return None if self.evict_after_s is None else max(self.evict_after_s, self.journal.asked * _KEPT_S_PER_CALL)

    async def answered(self) -> None:
        """After the guest is gone: return when its call has an outcome on disk and calls may go on. Raises what the call raised."""
        if self._inflight is not None:
            await asyncio.wait({self._inflight})
            task, self._inflight = self._inflight, None
            task.result()
            self.lines = 0
        await self.may_go()

    def drop(self) -> None:
        """Stop the call that is under way at once, without waiting for that; :meth:`abandon` does."""
        if self._inflight is not None:
            self._inflight.cancel()

    async def abandon(self) -> None:
        """Stop the call that is under way, if there is one; ``stopped`` has its outcome then."""
        task, self._inflight = self._inflight, None
        if task is not None:
            await end_tasks(task)

    def rewind(self, recorded: Iterable[Crossing]) -> None:
        """Begin again from the attempt's start, answered from ``recorded``."""
        self.journal = Journal(self.who.node, self.who.attempt, recorded, lenient=self.journal.lenient)
        self.taint = {*self.inherited, *self.journal.taint}
        self._again = self.lines
        self._rewound_ms = self.steady_ms()

    async def tell_parted(self) -> None:
        """Record where other code than was recorded left the record."""
        found, self.journal.parted = self.journal.parted, None
        if found is not None:
            meta = DivergenceFound(found.node, found.attempt, found.call, found.expected, found.actual)
            message = f"node {found.node} goes its own way from call {found.call}"
            await self.recorder.write(Draft("divergence.found", message, meta, level="warn"))

    def _caught_up(self) -> None:
        """The guest is where it was when it was evicted."""
        if self._rewound_ms is not None:
            took, self._rewound_ms = self.steady_ms() - self._rewound_ms, None
            meta = NodeMoved(self.who.node, self.who.attempt, replayed_calls=self.journal.asked - 1, ms=took)
            self.recorder.note(Draft("node.rebuilt", f"node {self.who.node} is back", meta, level="debug"))

    @property
    def held(self) -> bool:
        """Whether no call may begin."""
        return self.going is not None and not self.going.is_set()

    async def may_go(self) -> None:
        """Return when calls may begin."""
        if self.going is not None and self.held:
            with self.waits(Wait("paused")):
                await self.going.wait()

    async def _park(self) -> None:
        """Wait before a call that has not begun: without the guest, where guests are dropped."""
        if self.evict_after_s is not None:
            raise Evicted
        await self.may_go()

    # ── what calls need ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def waits(self, wait: Wait) -> Iterator[None]:
        """The attempt waits for somebody in here; its deadline moves by as much.

        Where a call that waits for a pause to end is stopped because its worker died, the attempt itself waits for that before the call
        has stopped: it is one wait until both have ended.
        """
        began_ms = self.steady_ms()
        self._waits += 1
        if self._waits == 1:
            self.waiting(wait)
        try:
            yield
        finally:
            self.waited_ms += self.steady_ms() - began_ms
            self._waits -= 1
            if not self._waits:
                self.waiting(None)

    @contextmanager
    def in_line(self, again: bool) -> Iterator[None]:
        """The guest waits for a place in a worker, ``again`` where it was taken out for others; the attempt's deadline moves by as much."""
        began_ms = self.steady_ms()
        with self.line(again):
            try:
                yield
            finally:
                self.waited_ms += self.steady_ms() - began_ms

    def context(self, call: int, pending: Crossing | None = None) -> CallContext:
        """The facts that a performer gets with call number ``call``."""
        self.recorder.look()
        who, now_ms = self.who, self.recorder.clock_ms()
        return CallContext(
            run_id=who.run_id,
            node=who.node,
            attempt=who.attempt,
            call=call,
            idempotency_key=f"{who.run_id}/{who.node}/{call}",
            agent=who.bundle.name,
            caps=who.caps,
            taint=frozenset(self.taint),
            now_ms=now_ms,
            deadline_ms=None if who.deadline_ms is None else now_ms + who.deadline_ms + self.waited_ms - self.steady_ms(),
            asked_ms=None if pending is None else pending.asked_ms,
            begun_in=who.begun_in,
            since=who.since,
        )

    @contextmanager
    def is_away(self) -> Iterator[None]:
        """The attempt waits for an answer from outside in here."""
        self.away(True)
        try:
            yield
        finally:
            self.away(False)

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
            if name == "emit.log":
                if self._again:
                    self._again -= 1  # it stands in the record
                    return Answer("{}", 0)
                self.lines += 1
            try:
                args: Mapping[str, Any] = decode_args(name, args_json)
            except CallError as error:
                said = _text_of(args_json)
                why = f"the agent said something that cannot be shown: {error.message}" + (f": {said}" if said else "")
                args = {"level": "warn", "text": why[:_MOST_SAID]}
            with suppress(CallError):  # a line that cannot be told is not worth the guest's life
                performer, ctx = self.performer(name), self.context(self.journal.asked)
                await performer.perform(performer.prepare(args, ctx), ctx)
        return Answer("{}", 0)

    async def _virtual(self, name: str, args_json: str) -> Answer:
        """Calls whose answer follows from the run itself; they are the same on every run and stand in no record but that of audits."""
        args: dict[str, Any] = {}
        try:
            args, ctx = decode_args(name, args_json), self.context(self.journal.asked)
            performer = self.performer(name)
            outcome = await performer.perform(performer.prepare(args, ctx), ctx)
        except CallError as error:
            self.refusal = error
            await self._audit(name, args, error)
            return Answer(GuestCallError(**error.to_answer()), 0)
        await self._audit(name, args)
        return Answer(dump(outcome.result), 0)

    async def _audit(self, name: str, args: dict[str, Any], error: CallError | None = None) -> None:
        """Record that a call without a record used a capability, or lacked it; not again where a record is re-run."""
        if self.live and not self.journal.replaying:
            call = Call(self, name, args, value_hash(args), self.journal.asked)
            if audited := self.desk.audit_allowed(call) if error is None else self.desk.audit(call, error):
                await self.recorder.write(beside=audited)


def _text_of(args_json: str) -> str:
    """What was to be told, as far as that is text."""
    try:
        text = json.loads(args_json)["text"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return text if isinstance(text, str) else ""
