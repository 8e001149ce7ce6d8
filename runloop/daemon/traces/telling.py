"""From the records of runs to spans: each record is taken once, in the order of the ledger, and what it ends comes out.

A span says what happened, when and at what cost; nothing that agents, people or models wrote is in it but the names of things.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runloop.daemon.traces.span import Span, exported, span_id, trace_of
from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.events import record_of
from runloop.events.traceparent import Origin, origin_of
from runloop.runs.results import SPAWNS, child_id

if TYPE_CHECKING:
    from runloop.events import StoredEvent

KINDS: Final = (
    "run.submitted", "run.started", "run.paused", "run.resumed", "run.recovered", "run.cancelling", "run.finished", "node.ready",
    "node.started", "node.finished", "effect.requested", "effect.completed", "effect.failed", "effect.unknown", "approval.requested",
    "approval.decided", "approval.expired",
)  # fmt: skip
"""The records that say something about spans."""

_RUNS: Final = 4096
"""Runs that are remembered; one that is not is read again when something comes of it."""
_EVENTS: Final = 100
"""Events of a span at most."""
_MODELS: Final = {"model.complete": "chat", "model.embed": "embeddings"}
_OUTSIDE: Final = frozenset({*_MODELS, "http.fetch", "exec.run", "mail.send"})


@dataclass(frozen=True, slots=True)
class _Begun:
    """A span that has not ended."""

    name: str
    start_ms: int
    span_id: int
    parent: int
    attributes: dict[str, Any]
    outside: bool = False


@dataclass(slots=True)
class _Run:
    """What is known of a run."""

    trace_id: int
    span_id: int
    parent: int | None
    origin: Origin | None
    start_ms: int
    attributes: dict[str, Any]
    links: tuple[tuple[int, int], ...] = ()
    begun: dict[tuple[Any, ...], _Begun] = field(default_factory=dict)
    asked_by: dict[str, int] = field(default_factory=dict)
    """The span that asked for a child run, by its run id."""
    events: list[tuple[str, int]] = field(default_factory=list)


class Telling:
    """Spans of the traces that ``sampling`` chooses.

    ``past(run id, event id)`` reads the records of a run before an event, ``blob(name)`` a value that a record only names; ``shown`` takes
    out of a name what is not to be seen.
    """

    def __init__(
        self,
        sampling: str,
        past: Callable[[str, int], Iterable[StoredEvent]],
        blob: Callable[[str], bytes],
        shown: Callable[[str], str],
    ) -> None:
        self._sampling, self._past, self._blob, self._shown = sampling, past, blob, shown
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    def take(self, event: StoredEvent) -> list[Span]:
        """What ends with this record."""
        record = record_of(event)
        run = self._run(record)
        spans = self._fold(run, record)
        if record["kind"] == "run.finished":
            del self._runs[record["run_id"]]
        return spans if exported(self._sampling, run.trace_id, run.origin) else []

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, record: Mapping[str, Any]) -> _Run:
        run_id = record["run_id"]
        run = self._runs.get(run_id)
        if run is not None:
            self._runs.move_to_end(run_id)
            return run
        if record["kind"] == "run.submitted":
            return self._begin(record)
        return self._read(run_id, record["event_id"]) or self._begin(record)

    def _read(self, run_id: str, before: int) -> _Run | None:
        """A run by what its records before an event say; None where there are none."""
        run = None
        for event in self._past(run_id, before):
            record = record_of(event)
            run = run or self._begin(record)
            self._fold(run, record)
        return run

    def _begin(self, record: Mapping[str, Any]) -> _Run:
        run_id, parent_id, meta, event_id = record["run_id"], record["parent_run_id"], record["meta"], record["event_id"]
        own = span_id(run_id, "run")
        if parent_id is None:
            origin = origin_of(meta.get("traceparent"))
            trace_id = trace_of(run_id) if origin is None else origin.trace_id
            parent = None if origin is None else origin.span_id
        else:
            above = self._runs.get(parent_id) or self._read(parent_id, event_id)
            origin = None if above is None else above.origin
            trace_id = trace_of(record["trace_id"].removeprefix("trace:")) if above is None else above.trace_id
            parent = span_id(parent_id, "run") if above is None else above.asked_by.get(run_id, above.span_id)
        attributes = {
            "runloop.run_id": run_id,
            "runloop.trace_id": record["trace_id"],
            "runloop.opening.name": self._shown(record["opening_name"]),
            "runloop.opening.id": record["opening_id"],
            "runloop.mode": meta.get("mode"),
        }
        links: tuple[tuple[int, int], ...] = ()
        if (forked := meta.get("forked_from")) is not None:
            attributes |= {"runloop.forked_from.run_id": forked["run_id"], "runloop.forked_from.seq": forked["seq"]}
            other = self._runs.get(forked["run_id"]) or self._read(forked["run_id"], event_id)
            links = () if other is None else ((other.trace_id, other.span_id),)
        run = self._runs[run_id] = _Run(trace_id, own, parent, origin, record["ts_ms"], attributes, links)
        while len(self._runs) > _RUNS:
            self._runs.popitem(last=False)
        return run

    # ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fold(self, run: _Run, record: Mapping[str, Any]) -> list[Span]:
        kind, meta, ts_ms, run_id = record["kind"], record["meta"], record["ts_ms"], record["run_id"]
        if kind == "run.finished":
            return self._finished(run, record)
        if kind.startswith("run."):
            if kind != "run.submitted" and kind in KINDS and len(run.events) < _EVENTS:
                run.events.append((kind, ts_ms))
            return []
        if kind == "node.ready":
            self._node(run, run_id, meta["node"], ts_ms)
        elif kind == "node.started":
            self._started(run, run_id, meta, ts_ms)
        elif kind == "node.finished":
            return self._node_ended(run, run_id, meta, ts_ms)
        elif kind == "effect.requested":
            self._requested(run, run_id, meta, ts_ms)
        elif kind in {"effect.completed", "effect.failed", "effect.unknown"}:
            return self._answered(run, kind, meta, ts_ms)
        elif kind == "approval.requested":
            self._asked(run, run_id, meta, ts_ms)
        elif kind in {"approval.decided", "approval.expired"}:
            return self._decided(run, kind, meta, ts_ms)
        return []

    def _node(self, run: _Run, run_id: str, node: str, ts_ms: int) -> _Begun:
        key = ("node", node)
        if key not in run.begun:
            whole = run.begun.get(("node", node.partition("[")[0]))
            parent = run.span_id if whole is None else whole.span_id
            shown = self._shown(node)
            run.begun[key] = _Begun(f"node {shown}", ts_ms, span_id(run_id, "node", node), parent, {"runloop.node": shown})
        return run.begun[key]

    def _started(self, run: _Run, run_id: str, meta: Mapping[str, Any], ts_ms: int) -> None:
        node, attempt, agent = meta["node"], meta["attempt"], meta.get("agent") or {}
        above = self._node(run, run_id, node, ts_ms)
        attributes = {
            "runloop.node": above.attributes["runloop.node"],
            "runloop.attempt": attempt,
            "runloop.agent.name": self._shown(agent.get("name") or "") or None,
            "runloop.agent.version": agent.get("version"),
            "runloop.agent.digest": agent.get("digest"),
        }
        own = span_id(run_id, "attempt", node, attempt)
        run.begun.setdefault(("attempt", node, attempt), _Begun(f"attempt {attempt}", ts_ms, own, above.span_id, attributes))
        if not agent.get("digest"):  # a nested opening
            run.asked_by[child_id(run_id, node, attempt, 0)] = own

    def _node_ended(self, run: _Run, run_id: str, meta: Mapping[str, Any], ts_ms: int) -> list[Span]:
        node, attempt = meta["node"], meta["attempt"]
        above = self._node(run, run_id, node, run.start_ms if attempt else ts_ms)  # a fork shares the beginning with another run
        told = {"runloop.status": meta["status"], **_costs(meta)}
        failed = _failed(meta)
        spans = [
            self._span(run, run.begun.pop(key), ts_ms, {"runloop.unfinished": True})
            for key in [key for key in run.begun if key[:3] in {("effect", node, attempt), ("approval", node, attempt)}]
        ]
        if (begun := run.begun.pop(("attempt", node, attempt), None)) is not None:
            spans.append(self._span(run, begun, ts_ms, told, failed))
        if meta.get("retry_ms") is None:
            del run.begun["node", node]
            spans.append(self._span(run, above, ts_ms, {**told, "runloop.attempts": attempt}, failed))
        return spans

    def _requested(self, run: _Run, run_id: str, meta: Mapping[str, Any], ts_ms: int) -> None:
        node, attempt, call, name = meta["node"], meta["attempt"], meta["call"], meta["name"]
        own = span_id(run_id, "effect", node, attempt, call)
        attributes = {
            "runloop.node": self._shown(node),
            "runloop.attempt": attempt,
            "runloop.call": call,
            "runloop.effect.name": name,
            "runloop.effect.class": meta["class"],
            **self._of_args(name, meta.get("args")),
        }
        run.begun["effect", node, attempt, call] = _Begun(name, ts_ms, own, self._around(run, node, attempt), attributes, name in _OUTSIDE)
        if name in SPAWNS:
            run.asked_by[child_id(run_id, node, attempt, call)] = own

    def _answered(self, run: _Run, kind: str, meta: Mapping[str, Any], ts_ms: int) -> list[Span]:
        begun = run.begun.pop(("effect", meta["node"], meta["attempt"], meta["call"]), None)
        if begun is None:
            return []
        told = {"runloop.status": kind.partition(".")[2], "runloop.cached": meta.get("cached"), "runloop.usd": _usd(meta)}
        if begun.name in _MODELS:
            told |= self._of_model(meta.get("result"))
            told |= {"gen_ai.usage.input_tokens": meta.get("tokens_in"), "gen_ai.usage.output_tokens": meta.get("tokens_out")}
        failed = _failed(meta) or ("effect.unknown" if kind == "effect.unknown" else None)
        return [self._span(run, begun, ts_ms, told, failed)]

    def _asked(self, run: _Run, run_id: str, meta: Mapping[str, Any], ts_ms: int) -> None:
        node, attempt = meta.get("node"), meta.get("attempt")
        effect = run.begun.get(("effect", node, attempt, meta.get("call")))
        parent = self._around(run, node, attempt) if effect is None else effect.span_id
        attributes = {"runloop.approval_id": meta["approval_id"], "runloop.action": meta.get("action")}
        own = span_id(run_id, "approval", meta["approval_id"])
        run.begun["approval", node, attempt, meta["approval_id"]] = _Begun("approval", ts_ms, own, parent, attributes)

    def _decided(self, run: _Run, kind: str, meta: Mapping[str, Any], ts_ms: int) -> list[Span]:
        key = next((key for key in run.begun if key[0] == "approval" and key[3] == meta["approval_id"]), None)
        if key is None:
            return []
        told = {"runloop.status": kind.partition(".")[2], "runloop.decision": self._shown(meta["decision"])}
        return [self._span(run, run.begun.pop(key), ts_ms, told)]

    def _finished(self, run: _Run, record: Mapping[str, Any]) -> list[Span]:
        meta, ts_ms = record["meta"], record["ts_ms"]
        spans = [self._span(run, each, ts_ms, {"runloop.unfinished": True}) for each in reversed(run.begun.values())]
        attributes = {**run.attributes, "runloop.status": meta["status"], **_costs(meta)}
        remote = run.origin is not None and record["parent_run_id"] is None
        own = Span(
            f"run {run.attributes['runloop.opening.name']}", run.trace_id, run.span_id, run.parent, run.start_ms, ts_ms, _said(attributes),
            _failed(meta), "server" if remote else "internal", tuple(run.events), run.links, remote_parent=remote,
        )  # fmt: skip
        return [*spans, own]

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _around(self, run: _Run, node: str | None, attempt: int | None) -> int:
        """The innermost span that a call of an attempt is part of."""
        found = run.begun.get(("attempt", node, attempt)) or run.begun.get(("node", node))
        return run.span_id if found is None else found.span_id

    def _span(self, run: _Run, begun: _Begun, end_ms: int, told: Mapping[str, Any], failed: str | None = None) -> Span:
        attributes = _said({**begun.attributes, **told})
        name = begun.name
        if (operation := attributes.get("gen_ai.operation.name")) is not None:
            name = f"{operation} {attributes.get('gen_ai.response.model') or attributes.get('gen_ai.request.model') or ''}".strip()
        return Span(
            name, run.trace_id, begun.span_id, begun.parent, begun.start_ms, end_ms, attributes, failed,
            "client" if begun.outside else "internal",
        )  # fmt: skip

    def _of_args(self, name: str, args: Any) -> dict[str, Any]:
        """What of the arguments says where a call goes, and nothing of what it carries."""
        given = args if isinstance(args, Mapping) else {}
        if name in _MODELS:
            model = given.get("model")
            return {"gen_ai.operation.name": _MODELS[name], "gen_ai.request.model": self._shown(model) if isinstance(model, str) else None}
        if name == "http.fetch" and isinstance(url := given.get("url"), str):
            return {"server.address": self._shown(_host(url) or "") or None, "http.request.method": given.get("method") or "GET"}
        return {}

    def _of_model(self, result: Any) -> dict[str, Any]:
        if isinstance(result, Mapping) and isinstance(name := result.get("$blob"), str):
            try:
                result = json.loads(self._blob(name))
            except (RunloopError, ValueError):  # it was erased
                return {}
        if not isinstance(result, Mapping):
            return {}
        names = {"gen_ai.provider.name": "provider", "gen_ai.response.model": "model"}
        return {key: self._shown(value) for key, name in names.items() if isinstance(value := result.get(name), str)}


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _costs(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {"runloop.tokens": meta.get("tokens"), "runloop.usd": _usd(meta)}


def _usd(meta: Mapping[str, Any]) -> float | None:
    """A cost of nothing is a number of the same type as any other: stores of traces give an attribute one type."""
    usd = meta.get("usd")
    return None if usd is None else float(usd)


def _failed(meta: Mapping[str, Any]) -> str | None:
    """The code of what went wrong; of a run that failed without one, that it did."""
    error = meta.get("error")
    if error is not None:
        return str(error["code"])
    return "failed" if meta.get("status") in {"failed", "error"} else None


def _said(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value is not None}
