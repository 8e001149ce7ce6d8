"""A run read back from its records: the one fold that recovery, replay, trace and diff start from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.effects.journal import Crossing, Failure
from runloop.effects.types import MICROS_PER_USD, EffectClass, dollars
from runloop.errors import InvalidInput
from runloop.events import ERASED_KEY, NodeResult, RunIdentity, current, outputs_hash
from runloop.events.hashes import content_hash
from runloop.kb.errors import DAMAGED, LedgerCorrupt
from runloop.openings.states import (
    Begin,
    ClockSet,
    Forked,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeResumed,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    TakenUp,
    Told,
)
from runloop.runs.fork import told_events
from runloop.runs.results import SPAWNS, child_id
from runloop.text import GATE, sort_of

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.runs.sources import RunSource


_STOPPED = frozenset(
    {"timeout", "budget", "guest.timeout", "worker.crashed", "pool.restarts", "worker.start", "run.diverged", "output.invalid"}
)
"""Codes of attempts that did not end by themselves, or whose outputs were refused."""
_COMPARED = frozenset(
    {"run.submitted", "node.started", "node.finished", "approval.requested"}
    | {"effect.requested", "effect.completed", "effect.failed", "effect.unknown"}
)
"""Kinds of records that say what was given, asked, answered and put out."""


@dataclass(slots=True)
class Spent:
    """What calls used: tokens, millionths of a dollar where the price is known, and whether it always was."""

    tokens: int = 0
    usd_micros: int = 0
    priced: bool = True

    @property
    def usd(self) -> float | None:
        """US dollars; None where a price was not known."""
        return dollars(self.usd_micros) if self.priced else None

    def add(self, other: Spent) -> None:
        """Sum up."""
        self.tokens += other.tokens
        self.usd_micros += other.usd_micros
        self.priced = self.priced and other.priced


@dataclass(frozen=True, slots=True)
class Asked:
    """An ``approval.requested``: its event, the time in Unix milliseconds for which it was prepared, and its meta."""

    event_id: int
    at_ms: int
    meta: Mapping[str, Any]

    @property
    def what(self) -> Any:
        """Exactly what was shown."""
        return self.meta["what"]


@dataclass(slots=True)
class RecordedAttempt:
    """One attempt as it was recorded; ``status`` is None while it had no end."""

    node: str
    attempt: int
    agent: Mapping[str, Any]
    inputs: Mapping[str, list[Any]]
    start_ms: int
    crossings: list[Crossing] = field(default_factory=list)
    requests: dict[int, int] = field(default_factory=dict)
    """Event ids of the requests, by call."""
    told: list[int] = field(default_factory=list)
    """Event ids of all that its calls put on record."""
    status: str | None = None
    outputs: Mapping[str, list[Any]] | None = None
    outputs_hash: str | None = None
    error: Mapping[str, Any] | None = None
    why: str = ""
    """Why it was stopped."""
    ms: int | None = None
    taint: frozenset[str] = frozenset()
    spent: Spent = field(default_factory=Spent)
    run_id: str = ""
    """The run in which it began: in a fork that may be the run that it was forked from."""
    ended_in: str = ""
    """The run in which it ended."""
    lines: int = 0
    """Lines that it logged since its last answered call."""
    waits_for: set[str] = field(default_factory=set)
    """What the attempt waits for at this place of the record: calls and approvals by their id, ``pause``, ``child``."""

    @property
    def cut(self) -> bool:
        """Whether what the guest gave in the end is not in the record: it did not end by itself, or its outputs were refused."""
        return self.status in {None, "cancelled"} or (self.outputs is None and (self.error or {}).get("code") in _STOPPED)

    def children_of(self, run_id: str) -> list[str]:
        """The child runs that were asked for, by the ids that they have where ``run_id`` asks; a nested opening is one itself."""
        calls = [crossing.call for crossing in self.crossings if crossing.name in SPAWNS]
        own = calls or ([] if self.agent.get("digest") else [0])
        return [child_id(run_id, self.node, self.attempt, call) for call in own]


@dataclass(frozen=True, slots=True)
class RecordedEnd:
    """How a node ended other than with an attempt: at its gate, with its items, skipped, or failed before it started."""

    node: str
    status: str
    why: str
    outputs: Mapping[str, list[Any]] | None
    outputs_hash: str | None
    after: int
    """How many attempts of the run had started."""


@dataclass(slots=True)
class RecordedRun:
    """A run as it was recorded: how it was started, and its attempts in the order in which they started."""

    run_id: str
    opening_name: str
    submitted: Mapping[str, Any] = field(default_factory=dict)
    attempts: list[RecordedAttempt] = field(default_factory=list)
    ends: list[RecordedEnd] = field(default_factory=list)
    """The ends of nodes that no attempt tells of, oldest first."""
    states: dict[str, str] = field(default_factory=dict)
    """Nodes that were heard of, and how they ended; ``running`` where they did not."""
    results: dict[str, NodeResult] = field(default_factory=dict)
    """What the run's final hash is made of, by node."""
    status: str | None = None
    reason: str | None = None
    final_hash: str | None = None
    identity: RunIdentity = field(default_factory=lambda: RunIdentity("", "", "", ""))
    events: list[tuple[int, Told]] = field(default_factory=list)
    """What happened in the plan's terms, with the times in Unix milliseconds."""
    asked: dict[str, Asked] = field(default_factory=dict)
    """What a person was asked, by approval id."""
    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was decided, by approval id."""
    unused: set[str] = field(default_factory=set)
    """What of that was decided in a pause that lasts: nothing has followed from it."""
    outputs: dict[str, Mapping[str, list[Any]]] = field(default_factory=dict)
    """What the nodes that ended well came to, by node."""
    last_seq: int = 0
    last_ms: int = 0
    """When the last record was made that time counts from, by the clock as it was set last; Unix milliseconds."""
    started: bool = False
    """Whether the run's own ``run.started`` is there: what a fork shares began in another run."""
    paused: bool = False
    owner: str | None = None
    cancelled: str | None = None
    """Why somebody cancelled the run, whatever its process came to after that."""
    waiting: Mapping[str, Any] | None = None
    """The meta of ``run.waiting`` where that is the last record."""
    finished: Mapping[str, Any] | None = None
    artifacts: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    """The ``artifact.created``: their events and metas."""
    lost: set[str] = field(default_factory=set)
    """The nodes whose inputs, calls or outputs lost texts; an empty one for what the run was given."""

    @property
    def seed(self) -> bytes:
        """The run's seed."""
        return bytes.fromhex(self.submitted["seed"])

    @property
    def begun(self) -> bool:
        """Whether anything has happened in the run, or in what it shares as a fork."""
        return bool(self.events)

    @property
    def open_attempts(self) -> list[RecordedAttempt]:
        """The attempts that have no end."""
        return [attempt for attempt in self.attempts if attempt.status is None]

    @property
    def awaits_person(self) -> bool:
        """Whether it asked something that is asked only where somebody is there, and nobody has answered."""
        calls = (each for attempt in self.open_attempts for each in attempt.crossings)
        return any(each.name == "ask.person" and not each.answered for each in calls) or any(
            sort_of(each) == "approval" and each not in self.decisions for each in self.asked
        )

    @property
    def open_gates(self) -> dict[str, int]:
        """The attempts about which the gates ask that nobody has answered, by node; of one with items that is none of its own."""
        last = {asked.meta["node"]: (each, asked.meta["attempt"]) for each, asked in self.asked.items() if asked.meta.get("action") == GATE}
        return {node: attempt for node, (each, attempt) in last.items() if each not in self.decisions and self.status is None}

    def set_clock(self, at_ms: int, by_ms: int, set_ms: int) -> None:
        """The clock moved by ``by_ms``, of which it was set by ``set_ms``: how long ago something was asked stays."""
        if self.events:  # before it began no time counted
            self.events.append((at_ms, ClockSet(by_ms, set_ms)))
        for calls in (attempt.crossings for attempt in self.open_attempts):
            if calls and not calls[-1].answered:
                calls[-1] = replace(calls[-1], asked_ms=calls[-1].asked_ms + set_ms)

    def lacking(self, ends: Mapping[str, NodeDone]) -> list[NodeDone]:
        """Of the last ends of nodes those that are not recorded; one before an attempt that was started is."""
        newest = {attempt.node: attempt.attempt for attempt in self.attempts}
        return [end for node, end in ends.items() if self.states.get(node, "running") == "running" and end.attempt >= newest.get(node, 0)]

    def attempt_of(self, node: str, number: int) -> RecordedAttempt | None:
        """One attempt, or None where it was not started."""
        return next((each for each in reversed(self.attempts) if (each.node, each.attempt) == (node, number)), None)


def asked_by(crossing: Crossing) -> dict[str, Any]:
    """What a call asked, as replays and diffs compare it."""
    return {"name": crossing.name, "args": crossing.args}


NOT_TOLD = (LookupError, TypeError, ValueError, AttributeError)
"""What :func:`fold` raises where the records of a run do not follow from one another."""


def load_run(ledger: RunSource, run_id: str) -> RecordedRun:
    """Fold the records of one run. Raises InvalidInput ``run.unknown``; LedgerCorrupt where one was changed and nothing can be told."""
    try:
        run = fold(run_id, told_events(ledger, run_id))
    except NOT_TOLD:
        _require_whole(told_events(ledger, run_id))
        raise
    if run is None:
        raise InvalidInput(f"there is no run {run_id}", code="run.unknown", hint="`rlp runs` lists the runs in the ledger")
    return run


def _require_whole(events: Iterable[StoredEvent]) -> None:
    awaited: dict[Any, int] = {}
    for event in events:
        run_id, seq = event.payload.get("run_id"), event.payload.get("seq")
        if isinstance(seq, int):
            if seq != awaited.get(run_id, seq):
                raise LedgerCorrupt(f"record {awaited[run_id]} of run {run_id} is missing", hint=DAMAGED)
            awaited[run_id] = seq + 1
        said = content_hash(event.kind, event.actor, event.scope, event.payload, event.provenance)
        if said != event.content_hash and ERASED_KEY not in event.payload:
            raise LedgerCorrupt(f"event {event.id} does not say what was written", hint=DAMAGED)


def fold(run_id: str, events: Iterable[StoredEvent]) -> RecordedRun | None:
    """The run that these records tell, oldest first; None where there is not one record."""
    run: RecordedRun | None = None
    open_attempts: dict[str, RecordedAttempt] = {}
    for event in map(current, events):
        payload = event.payload
        if "v" not in payload:
            continue
        if run is None:
            identity = RunIdentity(
                run_id, event.provenance["trace_id"], payload["opening_id"], payload["opening_name"], payload["parent_run_id"]
            )
            run = RecordedRun(run_id, payload["opening_name"], identity=identity)
        if payload["run_id"] == run_id:
            run.last_seq = payload["seq"]
        run.waiting = None
        if ERASED_KEY in payload and event.kind in _COMPARED:
            run.lost.add(payload["meta"].get("node", ""))
        _take(run, open_attempts, event)
        run.last_ms = run.last_ms + payload["meta"]["by_ms"] if event.kind == "run.clock_set" else event.ts_ms
    return run


def _take(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    group = event.kind.partition(".")[0]
    if group == "run":
        _take_run(run, open_attempts, event)
    elif group == "node":
        _take_node(run, open_attempts, event)
    elif group == "approval":
        _take_approval(run, open_attempts, event)
    elif group == "divergence":
        _parted(open_attempts.get(event.payload["meta"]["node"]), event)
    elif group == "artifact":
        run.artifacts.append((event.id, event.payload["meta"]))
    elif group == "effect":
        meta = event.payload["meta"]
        attempt = open_attempts[meta["node"]]
        _take_call(attempt, event)
        if event.kind != "effect.requested":
            _goes_on(run, attempt, f"call {meta['call']}", event.ts_ms)
        elif meta["class"] == EffectClass.WAITING.value and not meta.get("refused"):
            _waits(run, attempt, f"call {meta['call']}", event.ts_ms)


def crossings_told(events: Iterable[StoredEvent]) -> list[Crossing]:
    """The crossings of one attempt by what its calls put on record."""
    attempt = RecordedAttempt("", 0, {}, {}, 0)
    for event in map(current, events):
        _take_call(attempt, event)
    return attempt.crossings


def _take_call(attempt: RecordedAttempt, event: StoredEvent) -> None:
    meta = event.payload["meta"]
    attempt.told.append(event.id)
    if event.kind == "effect.requested":
        call, args = meta["call"], meta.get("args")
        asked = Crossing(
            call, meta["name"], meta["args_hash"], answered=False, asked_ms=event.ts_ms, args=args, klass=meta["class"],
            refused=bool(meta.get("refused")),
        )  # fmt: skip
        attempt.crossings.append(asked)
        attempt.requests[call] = event.id
    else:
        _answer(attempt, meta, event.ts_ms, unknown=event.kind == "effect.unknown")


def _take_run(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta = event.payload["meta"]
    match event.kind:
        case "run.submitted":
            run.submitted, run.owner = meta, meta.get("owner")
        case "run.started":
            run.started = event.payload["run_id"] == run.run_id
            run.events.append((event.ts_ms, Forked() if run.events else Begin()))
        case "run.paused" | "run.resumed":
            run.paused = event.kind == "run.paused"
            run.unused.clear()
            for attempt in open_attempts.values():
                (_waits if run.paused else _goes_on)(run, attempt, "pause", event.ts_ms)
        case "run.clock_set":
            run.set_clock(event.ts_ms, meta["by_ms"], meta.get("set_ms") or 0)
        case "run.cancelling":
            if event.payload["run_id"] == run.run_id:  # not a fork's parent
                run.cancelled = meta["why"]
        case "run.recovered" | "run.waiting":
            run.owner = meta.get("owner", run.owner)
            run.waiting = meta if event.kind == "run.waiting" else None
            if event.kind == "run.recovered" and run.begun:
                run.events.append((event.ts_ms, TakenUp(run.last_ms)))
        case "run.finished":
            run.status, run.reason, run.final_hash = meta["status"], meta.get("reason"), meta.get("final_hash")
            run.finished = meta


def _take_node(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    match event.kind:
        case "node.ready":
            run.events.append((at_ms, NodeReady(meta["node"])))
            run.states[meta["node"]] = "running"  # an earlier round of it may have ended
        case "node.started":
            agent, inputs, begun_in = meta.get("agent") or {}, meta.get("inputs") or {}, event.payload["run_id"]
            attempt = RecordedAttempt(meta["node"], meta["attempt"], agent, inputs, at_ms, run_id=begun_in)
            run.states[meta["node"]] = "running"
            open_attempts[meta["node"]] = attempt
            run.attempts.append(attempt)
            run.events.append((at_ms, NodeStarted(meta["node"])))
            if not attempt.agent.get("digest"):
                _waits(run, attempt, "child", at_ms)  # a nested opening has its own time-out, and records of its own that tell of its waits
            if run.paused:
                _waits(run, attempt, "pause", at_ms)
        case "node.log" if (logging := open_attempts.get(meta["node"])) is not None and logging.attempt == meta.get("attempt"):
            if not logging.crossings or logging.crossings[-1].answered:  # else it is a mark: the guest waits for the call's answer
                logging.lines += 1
        case "node.finished":
            ended = open_attempts.get(meta["node"])
            if ended is not None and ended.attempt != meta["attempt"]:
                ended = None  # the end of an earlier round, as forks had it once more
            _node_ended(run, ended and open_attempts.pop(meta["node"]), event)


def _take_approval(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    approval_id = meta["approval_id"]
    if event.kind == "approval.requested":
        run.asked[approval_id] = Asked(event.id, meta.get("prepared_ms") or at_ms, meta)
        if meta.get("action") == GATE:
            _at_gate(run, open_attempts.pop(meta["node"], None), event)
        elif meta.get("node") in open_attempts:
            _waits(run, open_attempts[meta["node"]], approval_id, at_ms)
        return
    run.decisions[approval_id] = meta
    if run.paused:
        run.unused.add(approval_id)
    if meta.get("node") in open_attempts:
        _goes_on(run, open_attempts[meta["node"]], approval_id, at_ms)
    asked = run.asked.get(approval_id)
    if asked is not None and asked.meta.get("action") == GATE and meta["decision"] in asked.meta["options"]:
        answered = GateAnswered(meta["node"], asked.meta["round"], meta["decision"], meta.get("rationale") or "")
        run.events.append((at_ms, answered))


def _parted(attempt: RecordedAttempt | None, event: StoredEvent) -> None:
    """A fork with other code left what it shares: of the attempt that began elsewhere it has no more than what was before."""
    if attempt is not None and attempt.run_id != event.payload["run_id"]:
        del attempt.crossings[event.payload["meta"]["call"] - 1 :]


def _waits(run: RecordedRun, attempt: RecordedAttempt, what: str, at_ms: int) -> None:
    """The attempt waits for something from here on: its time does not count."""
    if not attempt.waits_for:
        run.events.append((at_ms, NodeWaiting(attempt.node, attempt.attempt)))
    attempt.waits_for.add(what)


def _goes_on(run: RecordedRun, attempt: RecordedAttempt, what: str, at_ms: int) -> None:
    if what in attempt.waits_for:
        attempt.waits_for.discard(what)
        if not attempt.waits_for:
            run.events.append((at_ms, NodeResumed(attempt.node, attempt.attempt)))


def _answer(attempt: RecordedAttempt, meta: Mapping[str, Any], at_ms: int, *, unknown: bool) -> None:
    failure = None
    if (error := meta.get("error")) is not None:
        failure = Failure(error.get("kind") or "unavailable", error["message"], error.get("hint") or "", error["code"], unknown)
    attempt.lines = 0
    attempt.crossings[meta["call"] - 1] = replace(
        attempt.crossings[meta["call"] - 1],
        result=meta.get("result"),
        failure=failure,
        completed_ms=at_ms,
        taint=frozenset(meta.get("taint") or ()),
        answered=True,
    )
    spent = spent_of(meta)
    if spent.tokens or spent.usd_micros:
        attempt.spent.add(spent)


def spent_of(meta: Mapping[str, Any]) -> Spent:
    """What the outcome of one call says that it used."""
    tokens, usd = meta.get("tokens_in", 0) + meta.get("tokens_out", 0), meta.get("usd")
    micros = 0 if usd is None else round(usd * MICROS_PER_USD)
    return Spent(tokens, micros, priced=usd is not None or not tokens)


def _at_gate(run: RecordedRun, attempt: RecordedAttempt | None, event: StoredEvent) -> None:
    """The attempt has ended well; whether the node has, a person says."""
    if attempt is not None:
        meta, attempt.ended_in = event.payload["meta"], event.payload["run_id"]
        attempt.status, attempt.outputs, attempt.outputs_hash = "ok", meta["outputs"], outputs_hash(meta["outputs"])
        attempt.taint = frozenset(meta.get("taint") or ())
        run.results[attempt.node] = NodeResult(attempt.outputs_hash)
        _succeeded(run, attempt, event.ts_ms)


def _succeeded(run: RecordedRun, attempt: RecordedAttempt, at_ms: int) -> None:
    spent = attempt.spent
    done = NodeSucceeded(attempt.node, attempt.attempt, attempt.outputs or {}, spent.tokens, spent.usd_micros)
    run.events.append((at_ms, done))


def _node_ended(run: RecordedRun, attempt: RecordedAttempt | None, event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    if meta.get("retry_ms") is None:
        run.states[meta["node"]] = meta["status"]
        run.outputs[meta["node"]] = (meta.get("outputs") or {}) if meta["status"] == "ok" else {}
        if meta["attempt"] or meta["status"] == "ok":
            error = meta.get("error")
            run.results[meta["node"]] = NodeResult(meta.get("outputs_hash"), None if error is None else error["message"])
        else:
            run.results.pop(meta["node"], None)
    why = event.payload["message"].partition(": ")[2]
    if attempt is None:  # of many items, decided at its gate, or never started: to the plan that follows from what is known
        run.ends.append(RecordedEnd(meta["node"], meta["status"], why, meta.get("outputs"), meta.get("outputs_hash"), len(run.attempts)))
        return
    attempt.status, attempt.outputs, attempt.error = meta["status"], meta.get("outputs"), meta.get("error")
    attempt.outputs_hash, attempt.ms, attempt.ended_in = meta.get("outputs_hash"), meta.get("ms"), event.payload["run_id"]
    attempt.taint = frozenset(meta.get("taint") or ())
    attempt.why = why if attempt.status == "cancelled" else ""
    retried = meta.get("retry_ms") is not None
    if attempt.status == "ok" or attempt.outputs is not None:
        _succeeded(run, attempt, at_ms)  # also where what it gave broke its contract
    elif attempt.status == "error" and attempt.error is not None:
        error, spent = attempt.error, attempt.spent
        failed = NodeFailed(attempt.node, attempt.attempt, error["message"], error["code"], retried, spent.tokens, spent.usd_micros)
        run.events.append((at_ms, failed))
