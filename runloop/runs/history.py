"""A run read back from its records: the one fold that recovery, replay, trace and diff start from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runloop.effects.journal import Crossing, Failure
from runloop.effects.types import MICROS_PER_USD
from runloop.errors import InvalidInput
from runloop.events import RunIdentity
from runloop.openings.states import Begin, Event, NodeFailed, NodeStarted, NodeSucceeded
from runloop.runs.fork import told_events

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.runs.sources import RunSource


@dataclass(slots=True)
class Spent:
    """What calls used: tokens, millionths of a dollar where the price is known, and whether it always was."""

    tokens: int = 0
    usd_micros: int = 0
    priced: bool = True

    def add(self, other: Spent) -> None:
        """Sum up."""
        self.tokens += other.tokens
        self.usd_micros += other.usd_micros
        self.priced = self.priced and other.priced


@dataclass(frozen=True, slots=True)
class Asked:
    """An ``approval.requested``: its event, its time in Unix milliseconds, and its meta."""

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
    status: str | None = None
    outputs: Mapping[str, list[Any]] | None = None
    outputs_hash: str | None = None
    error: Mapping[str, Any] | None = None
    ms: int | None = None
    taint: frozenset[str] = frozenset()
    spent: Spent = field(default_factory=Spent)
    run_id: str = ""
    """The run in which it began: in a fork that may be the run that it was forked from."""
    ended_in: str = ""
    """The run in which it ended."""


@dataclass(slots=True)
class RecordedRun:
    """A run as it was recorded: how it was started, and its attempts in the order in which they started."""

    run_id: str
    opening_name: str
    submitted: Mapping[str, Any] = field(default_factory=dict)
    attempts: list[RecordedAttempt] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    """Nodes that were heard of, and how they ended; ``running`` where they did not."""
    status: str | None = None
    reason: str | None = None
    final_hash: str | None = None
    identity: RunIdentity = field(default_factory=lambda: RunIdentity("", "", "", ""))
    events: list[tuple[int, Event | NodeStarted]] = field(default_factory=list)
    """What happened in the plan's terms, with the times in Unix milliseconds."""
    asked: dict[str, Asked] = field(default_factory=dict)
    """What a person was asked, by approval id."""
    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was decided, by approval id."""
    last_seq: int = 0
    paused: bool = False
    owner: str | None = None
    waiting: Mapping[str, Any] | None = None
    """The meta of ``run.waiting`` where that is the last record."""
    finished: Mapping[str, Any] | None = None

    @property
    def seed(self) -> bytes:
        """The run's seed."""
        return bytes.fromhex(self.submitted["seed"])

    @property
    def begun(self) -> bool:
        """Whether the run had started."""
        return bool(self.events)

    @property
    def open_attempts(self) -> list[RecordedAttempt]:
        """The attempts that have no end."""
        return [attempt for attempt in self.attempts if attempt.status is None]

    def attempt_of(self, node: str, number: int) -> RecordedAttempt | None:
        """One attempt, or None where it was not started."""
        return next((each for each in reversed(self.attempts) if (each.node, each.attempt) == (node, number)), None)


def asked_by(crossing: Crossing) -> dict[str, Any]:
    """What a call asked, as replays and diffs compare it."""
    return {"name": crossing.name, "args": crossing.args}


def run_events(ledger: RunSource, run_id: str) -> Iterator[StoredEvent]:
    """The run's events in order, blobs loaded; for a fork with those that it shares."""
    return told_events(ledger, run_id)


def load_run(ledger: RunSource, run_id: str) -> RecordedRun:
    """Fold the records of one run. Raises InvalidInput ``run.unknown``."""
    run = fold(run_id, run_events(ledger, run_id))
    if run is None:
        raise InvalidInput(f"there is no run {run_id}", code="run.unknown", hint="`rlp runs` lists the runs in the ledger")
    return run


def fold(run_id: str, events: Iterable[StoredEvent]) -> RecordedRun | None:
    """The run that these records tell, oldest first; None where there is not one record."""
    run: RecordedRun | None = None
    open_attempts: dict[str, RecordedAttempt] = {}
    for event in events:
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
        _take(run, open_attempts, event)
    return run


def _take(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    match event.kind:
        case "approval.requested":
            run.asked[meta["approval_id"]] = Asked(event.id, at_ms, meta)
        case "approval.decided" | "approval.expired":
            run.decisions[meta["approval_id"]] = meta
        case kind if kind.startswith("run."):
            _run_changed(run, kind, meta, at_ms)
        case _:
            _node_changed(run, open_attempts, event)


def _run_changed(run: RecordedRun, kind: str, meta: Mapping[str, Any], at_ms: int) -> None:
    match kind:
        case "run.submitted":
            run.submitted, run.owner = meta, meta.get("owner")
        case "run.started":
            run.events.append((at_ms, Begin()))
        case "run.paused" | "run.resumed":
            run.paused = kind == "run.paused"
        case "run.recovered" | "run.waiting":
            run.owner = meta.get("owner", run.owner)
            run.waiting = meta if kind == "run.waiting" else None
        case "run.finished":
            run.status, run.reason, run.final_hash = meta["status"], meta.get("reason"), meta.get("final_hash")
            run.finished = meta
        case _:
            pass


def _node_changed(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    match event.kind:
        case "node.ready":
            run.states.setdefault(meta["node"], "running")
        case "node.started":
            _begun(run, open_attempts, event)
        case "effect.requested":
            _asked(open_attempts[meta["node"]], event)
        case "effect.completed" | "effect.failed" | "effect.unknown":
            _answer(open_attempts[meta["node"]], meta, at_ms)
        case "node.finished":
            _node_ended(run, open_attempts.pop(meta["node"], None), event)
        case "divergence.found":
            _parted(open_attempts.get(meta["node"]), meta, event.payload["run_id"])
        case _:
            pass


def _begun(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    agent, inputs, begun_in = meta.get("agent") or {}, meta.get("inputs") or {}, event.payload["run_id"]
    attempt = RecordedAttempt(meta["node"], meta["attempt"], agent, inputs, at_ms, run_id=begun_in)
    open_attempts[meta["node"]] = attempt
    run.attempts.append(attempt)
    run.states[meta["node"]] = "running"
    run.events.append((at_ms, NodeStarted(meta["node"])))


def _asked(attempt: RecordedAttempt, event: StoredEvent) -> None:
    meta = event.payload["meta"]
    crossing = Crossing(
        meta["call"], meta["name"], meta["args_hash"], answered=False, asked_ms=event.ts_ms, args=meta.get("args"), klass=meta["class"]
    )
    attempt.crossings.append(crossing)
    attempt.requests[meta["call"]] = event.id


def _parted(attempt: RecordedAttempt | None, meta: Mapping[str, Any], run_id: str) -> None:
    """A fork with other code left what it shares: of the attempt that began elsewhere it has no more than what was before."""
    if attempt is not None and attempt.run_id != run_id:
        del attempt.crossings[meta["call"] - 1 :]


def _answer(attempt: RecordedAttempt, meta: Mapping[str, Any], at_ms: int) -> None:
    error = meta.get("error")
    failure = (
        None if error is None else Failure(error.get("kind") or "unavailable", error["message"], error.get("hint") or "", error["code"])
    )
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


def _node_ended(run: RecordedRun, attempt: RecordedAttempt | None, event: StoredEvent) -> None:
    meta, at_ms = event.payload["meta"], event.ts_ms
    if meta.get("retry_ms") is None:
        run.states[meta["node"]] = meta["status"]
    if attempt is None:
        return
    attempt.status, attempt.outputs, attempt.error = meta["status"], meta.get("outputs"), meta.get("error")
    attempt.outputs_hash, attempt.ms, attempt.ended_in = meta.get("outputs_hash"), meta.get("ms"), event.payload["run_id"]
    attempt.taint = frozenset(meta.get("taint") or ())
    node, number, spent = attempt.node, attempt.attempt, attempt.spent
    if attempt.status == "ok":
        run.events.append((at_ms, NodeSucceeded(node, number, attempt.outputs or {}, spent.tokens, spent.usd_micros)))
    elif attempt.status == "error" and attempt.error is not None:
        error, retried = attempt.error, meta.get("retry_ms") is not None
        run.events.append((at_ms, NodeFailed(node, number, error["message"], error["code"], retried, spent.tokens, spent.usd_micros)))
