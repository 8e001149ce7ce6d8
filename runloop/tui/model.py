"""One run as agtop knows it: a fold of its records, whichever way they come, each stored one counted once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from runloop.dataclass import dataclass
from runloop.text import A_TIME, REFUSALS, asked, awaited
from runloop.tui.opening import opening_of

Record = Mapping[str, Any]
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
NODE_ENDED: Final = frozenset({"ok", "error", "skipped", "cancelled"})
_OUTCOMES: Final = {"effect.completed": "ok", "effect.failed": "failed", "effect.unknown": "unknown"}
_RUN_STATES: Final = {
    "run.submitted": "queued",
    "run.started": "running",
    "run.waiting": "waiting",
    "run.paused": "paused",
    "run.resumed": "running",
    "run.recovered": "running",
}
_PAUSE_OUTLIVES: Final = frozenset({"run.waiting", "run.recovered"})
_WAITS_FOR: Final = {
    "model.complete": "model",
    "model.stream": "model",
    "model.embed": "model",
    "ask.person": "answer",
    "timer.sleep": A_TIME,
    "spawn.agent": "agent",
    "spawn.opening": "opening",
    "http.fetch": "network",
    "exec.run": "command",
    "mail.send": "mail",
}
_LONG: Final = frozenset({"ask.person", "timer.sleep"})
"""Calls that wait for a person or a time, not for work."""
LOG_LINES: Final = 5_000
"""Lines that are kept of a run's log: the newest."""
CROSSINGS: Final = 2_000
"""Crossings that are kept of a run: the newest, and what is under way."""
_COMING: Final = 2_000
"""Characters that are kept of an answer that is still coming: the newest."""


@dataclass(slots=True)
class Crossing:
    """One call of a guest and what came of it; ``asked`` and ``answered`` are the records' ``meta``."""

    node: str
    attempt: int
    call: int
    name: str
    seq: int
    asked_ms: int
    asked: Mapping[str, Any]
    state: str = "under way"
    answered: Mapping[str, Any] | None = None
    answered_ms: int | None = None
    coming: str = ""
    """The end of an answer that is still being streamed."""

    def ms(self) -> int | None:
        """How long it took, where that is known."""
        if self.answered is None:
            return None
        told = self.answered.get("ms")
        waited = (self.answered_ms or self.asked_ms) - self.asked_ms
        return int(told) if told is not None else waited if waited >= 0 else None  # the clock was put back meanwhile


@dataclass(slots=True)
class NodeState:
    """One node: its state as in contract 3, and the times between which each of its attempts ran (Unix milliseconds)."""

    name: str
    agent: str = ""
    state: str = "pending"
    attempt: int = 0
    errors: int = 0
    tokens: int = 0
    usd: float | None = None
    unpriced: bool = False
    """Whether a call used tokens whose price is not known."""
    inputs: Any = None
    outputs: Any = None
    note: str = ""
    error: Mapping[str, Any] = field(default_factory=dict)
    """How its newest attempt failed, as the record has it."""
    fraction: float | None = None
    approvals: dict[str, str] = field(default_factory=dict)
    """What of it a person can decide, as :func:`runloop.text.awaited` says it, by id."""
    calls: dict[int, str] = field(default_factory=dict)
    """Calls under way, by number."""
    lanes: list[tuple[int, int | None]] = field(default_factory=list)

    @property
    def waits_for(self) -> str:
        """What it waits for now, empty where it works or ended."""
        if self.approvals:
            return next(iter(self.approvals.values()))
        if self.calls and self.state == "running":
            name = next(reversed(self.calls.values()))
            return _WAITS_FOR.get(name, name)
        return ""

    @property
    def shown_state(self) -> str:
        """Its state, ``waiting`` where it runs and waits."""
        return "waiting" if self.state == "running" and self.waits_for else self.state

    def elapsed_ms(self, now_ms: int) -> int | None:
        """From the first attempt's beginning to the last one's end, or to now."""
        if not self.lanes:
            return None
        end = self.lanes[-1][1]
        return max(0, (now_ms if end is None else end) - self.lanes[0][0])


@dataclass(slots=True)
class LogLine:
    """One line of a run's log; ``node`` is whose agent said it, empty where it was told of the run."""

    seq: int
    ts_ms: int
    level: str
    node: str
    text: str


@dataclass(slots=True)
class RunModel:
    """One run. ``seq`` is the newest stored record that was taken; ``version`` moves with every change."""

    run_id: str
    opening: str = ""
    parent: str | None = None
    state: str = "queued"
    why: str = ""
    hint: str = ""
    """What can be done about the failure that ended it."""
    until_ms: int | None = None
    """When it goes on by itself, where it left memory."""
    first_event: int | None = None
    """The ledger's number of its first record: the order in which runs came, whatever the clock said."""
    submitted_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    set_ms: int = 0
    """By how much the clock was set since it began."""
    ms: int | None = None
    tokens: int | None = None
    usd: float | None = None
    source: str = ""
    """The text of its opening, where that is known."""
    planned: int = 0
    """How many nodes its opening has, as far as known."""
    params: Mapping[str, Any] = field(default_factory=dict)
    nodes: dict[str, NodeState] = field(default_factory=dict)
    crossings: dict[str, Crossing] = field(default_factory=dict)
    gone: int = 0
    """How many older crossings are not kept."""
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    log_gone: int = 0
    """How many older lines of its log are not kept."""
    artifacts: list[str] = field(default_factory=list)
    seq: int = 0
    listed_wait: str = ""
    """What the daemon's list says it waits for; counts while none of its records are known."""
    listed_seq: int = 0
    """The newest record that the daemon's list knew of."""
    version: int = 0

    @property
    def catching_up(self) -> bool:
        """Whether records of what was before are still being taken: what they say is not so any more."""
        return 0 < self.seq < self.listed_seq

    def known_nodes(self) -> list[NodeState]:
        """Its nodes, items of a fan-out left to their node."""
        return [node for node in self.nodes.values() if "[" not in node.name]

    @property
    def progress(self) -> tuple[int, int] | None:
        """How many nodes ended, of how many the opening has, or of those that began; None where nothing is known of them."""
        nodes = self.known_nodes()
        known = max(self.planned, len(nodes))
        return (sum(node.state in NODE_ENDED for node in nodes), known) if known else None

    @property
    def waits_for(self) -> str:
        """What it waits for, ``(+1)`` for each further thing."""
        if self.state in ENDED:
            return ""
        waits = [wait for node in self.nodes.values() if (wait := node.waits_for)]
        if not waits:
            return self.listed_wait if not self.seq else self.why if self.state in {"waiting", "paused"} else ""
        waits.sort(
            key=lambda wait: (not wait.startswith("approval"), not wait.startswith(("answer", "an answer")))
        )  # what waits for a person first
        return waits[0] + (f" (+{len(waits) - 1})" if len(waits) > 1 else "")

    @property
    def shown_state(self) -> str:
        """Its state, ``waiting`` where every node that is at work waits."""
        if self.state == "running":
            split = {node.partition("[")[0] for node in self.nodes if "[" in node}  # their items are at work, not they
            working = [node for node in self.nodes.values() if node.state in {"running", "ready"} and node.name not in split]
            if working and all(node.waits_for for node in working):
                return "waiting"
        return self.state

    def measured(self, ts_ms: int) -> int:
        """A moment as its times are measured: as if nobody had set the clock."""
        return ts_ms - self.set_ms

    def elapsed_ms(self, now_ms: int) -> int | None:
        """How long it has been under way, or took."""
        if self.ms is not None:
            return self.ms
        start = self.started_ms if self.started_ms is not None else self.submitted_ms
        return None if start is None else max(0, (self.ended_ms or self.measured(now_ms)) - start)

    def spent_tokens(self) -> int | None:
        """Tokens as the end says; before that, those of the answers that came."""
        if self.tokens is not None:
            return self.tokens
        return sum(node.tokens for node in self.nodes.values()) if self.seq else None

    def spent_usd(self) -> float | None:
        """What it cost by its end, or by the answers that came. None where that is nothing, or a price is not known."""
        if not self.spent_tokens():
            return None
        if self.usd is not None or any(node.unpriced for node in self.nodes.values()):
            return self.usd
        known = [node.usd for node in self.nodes.values() if node.usd is not None]
        return sum(known) if known else None


def listed(run: RunModel, row: Mapping[str, Any]) -> None:
    """Take a row of the daemon's list: it tells what no record told yet."""
    run.version += 1
    run.opening, run.parent = row["opening_name"], row.get("parent_run_id")
    run.listed_wait = row.get("waiting_for") or ""
    run.listed_seq = row.get("last_seq") or 0
    run.first_event = row.get("first_event", run.first_event)
    run.submitted_ms = row.get("submitted_ms", run.submitted_ms)
    run.started_ms = row.get("started_ms") or run.started_ms
    if run.seq and row["state"] not in ENDED:
        return  # the records know better
    run.state, run.why, run.until_ms = row["state"], row.get("reason") or row.get("why") or "", row.get("until_ms")
    run.ended_ms, run.ms = row.get("finished_ms"), row.get("ms")
    if row["state"] in ENDED:
        run.tokens, run.usd = row.get("tokens"), row.get("usd")


def take(run: RunModel, record: Record) -> bool:
    """Take one record; whether it changed anything. Stored ones count once, and only in their order; live ones always.

    A stored record that is not the next one is left: :func:`gap` tells, and what fetches the missing ones brings it again.
    """
    if record["event_id"] is not None:
        if record["seq"] != run.seq + 1:
            return False
        run.seq = record["seq"]
        run.first_event = record["event_id"] if run.seq == 1 else run.first_event
    elif run.state in ENDED:
        return False
    run.version += 1
    run.opening, run.parent = record["opening_name"], record["parent_run_id"]
    kind, meta = record["kind"], record["meta"]
    if kind.startswith("run."):
        run.set_ms += meta.get("set_ms") or 0 if kind == "run.clock_set" else 0
        _take_run(run, kind, meta, run.measured(record["ts_ms"]))
    elif meta.get("node"):
        _take_node(run, run.nodes.setdefault(meta["node"], NodeState(meta["node"])), record)
    if record["event_id"] is not None:
        said = meta.get("text") if kind == "node.log" else None
        node = meta["node"] if kind == "node.log" else ""
        run.log_gone += len(run.log) == LOG_LINES
        run.log.append(LogLine(record["seq"], record["ts_ms"], record["level"], node, said if isinstance(said, str) else record["message"]))
    return True


def gap(run: RunModel, record: Record) -> bool:
    """Whether stored records between what the run knows and this one are missing."""
    return record["event_id"] is not None and record["seq"] > run.seq + 1


def _take_run(run: RunModel, kind: str, meta: Mapping[str, Any], ts_ms: int) -> None:
    if kind == "run.finished":
        run.state, run.ended_ms, run.ms = meta["status"], ts_ms, meta["ms"]
        run.tokens, run.usd = meta.get("tokens"), meta.get("usd")
        run.why = meta.get("reason") or ""
        failed = (node.error for node in run.nodes.values() if node.state == "error" and node.error)
        run.hint = next((each.get("hint") or "" for each in failed if each["message"] in run.why), "")
        for node in run.nodes.values():
            _close(node, ts_ms)
        return
    if run.state == "paused" and kind in _PAUSE_OUTLIVES:
        return
    if kind not in _RUN_STATES:
        return
    run.state = _RUN_STATES[kind]
    run.why, run.until_ms = ("", None) if run.state in {"running", "queued"} else (meta.get("why") or "", meta.get("until_ms"))
    if kind == "run.submitted":
        run.submitted_ms = ts_ms
        run.params = meta["params"] if isinstance(meta.get("params"), Mapping) else {}
        run.source = _source(meta.get("opening"))
        opening = opening_of(run.source)
        run.planned = 0 if opening is None else len(opening.nodes)
    elif kind == "run.started":
        run.started_ms = ts_ms


def _source(opening: Any) -> str:
    """The opening's text out of what was recorded of it."""
    if isinstance(opening, str):
        import json

        try:
            opening = json.loads(opening)
        except ValueError:
            return ""
    source = opening.get("source") if isinstance(opening, Mapping) else None
    return source if isinstance(source, str) else ""


def _take_node(run: RunModel, node: NodeState, record: Record) -> None:
    kind, meta, ts_ms = record["kind"], record["meta"], run.measured(record["ts_ms"])
    agent = meta.get("agent")
    if isinstance(agent, Mapping):
        node.agent = agent["name"]
    if kind.startswith("effect."):
        _take_effect(run, node, record)
    elif kind == "node.ready":
        node.state = "ready"
    elif kind == "node.started":
        node.state, node.attempt, node.inputs, node.fraction = "running", meta["attempt"], meta.get("inputs"), None
        node.lanes.append((ts_ms, None))
        whole = run.nodes.get(node.name.partition("[")[0])
        if whole is not None and whole is not node and whole.state != "running":  # it begins with the first of its items
            whole.state, whole.attempt = "running", whole.attempt + 1
            whole.lanes.append((ts_ms, None))
    elif kind in {"node.progress", "node.log"}:
        node.note = _first_line(meta.get("text")) or node.note
        node.fraction = meta.get("fraction", node.fraction)
    elif kind == "node.finished":
        _finish(node, meta, ts_ms)
    elif kind.startswith("approval."):
        _take_approval(run, node, record)
    elif kind == "artifact.created":
        run.artifacts.append(meta["path"])


def _finish(node: NodeState, meta: Mapping[str, Any], ts_ms: int) -> None:
    error = meta.get("error")
    node.state = "ready" if meta.get("retry_ms") is not None else meta["status"]
    node.outputs = meta.get("outputs")
    if meta["status"] == "error":
        node.errors += 1
    if error:
        node.note, node.error = _first_line(error["message"]), error
    _close(node, ts_ms)


def _close(node: NodeState, ts_ms: int) -> None:
    node.calls.clear()
    node.approvals.clear()
    if node.lanes and node.lanes[-1][1] is None:
        node.lanes[-1] = (node.lanes[-1][0], ts_ms)


def _take_effect(run: RunModel, node: NodeState, record: Record) -> None:
    kind, meta, ts_ms = record["kind"], record["meta"], record["ts_ms"]
    key = f"{node.name}/{meta.get('attempt') or node.attempt}/{meta['call']}"
    found = run.crossings.get(key)
    if kind == "effect.requested":
        state = "waiting" if meta["name"] in _LONG else "under way"
        _keep(run, key, Crossing(node.name, meta["attempt"], meta["call"], meta["name"], record["seq"], ts_ms, meta, state))
        node.calls[meta["call"]] = meta["name"]
    elif kind == "effect.delta":
        if found is not None:
            found.coming = ((found.coming if meta.get("at") else "") + meta["text"])[-_COMING:]
    else:
        node.calls.pop(meta["call"], None)
        node.tokens += (meta.get("tokens_in") or 0) + (meta.get("tokens_out") or 0)
        if meta.get("usd") is not None:
            node.usd = (node.usd or 0.0) + meta["usd"]
        elif meta.get("tokens_in") or meta.get("tokens_out"):
            node.unpriced = True
        if found is None:  # an answer out of a record that asked in another run, as in a fork
            found = Crossing(node.name, meta["attempt"], meta["call"], meta.get("name") or "", record["seq"], ts_ms, meta)
            _keep(run, key, found)
        found.state, found.coming = _OUTCOMES[kind], ""
        found.answered, found.answered_ms = meta, ts_ms


def _keep(run: RunModel, key: str, crossing: Crossing) -> None:
    """Keep one more; of too many the oldest goes that has been answered."""
    if len(run.crossings) >= CROSSINGS:
        oldest = next((name for name, each in run.crossings.items() if each.answered is not None), None)
        if oldest is not None:
            del run.crossings[oldest]
            run.gone += 1
    run.crossings[key] = crossing


def _take_approval(run: RunModel, node: NodeState, record: Record) -> None:
    """What a person is asked crosses the boundary too."""
    meta, ts_ms, approval_id = record["meta"], record["ts_ms"], record["meta"]["approval_id"]
    if record["kind"] == "approval.requested":
        node.approvals[approval_id] = awaited(approval_id, meta.get("action"))
        attempt, call = meta.get("attempt") or node.attempt, meta.get("call") or 0
        told = {"args": meta["what"], "taint": meta.get("taint")}
        name = asked(approval_id, meta.get("action"))
        _keep(run, f"approval {approval_id}", Crossing(node.name, attempt, call, name, record["seq"], ts_ms, told, "waiting"))
        return
    node.approvals.pop(approval_id, None)
    found = run.crossings.get(f"approval {approval_id}")
    if found is not None:
        result = {name: meta[name] for name in ("decision", "scope", "by", "rationale") if meta.get(name) is not None}
        found.state = "failed" if meta.get("decision") in REFUSALS else "ok"
        found.answered, found.answered_ms = {"result": result}, ts_ms


def _first_line(text: object) -> str:
    return next((line for line in str(text or "").splitlines() if line.strip()), "")
