"""A run as people follow it: the ladder of crossings, and the trace of spec 9.3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runloop.dataclass import dataclass
from runloop.events import canonical, is_blob_ref
from runloop.text import asked

_PEERS = {
    "model": "model",
    "kb": "knowledge",
    "http": "network",
    "files": "files",
    "exec": "programs",
    "mail": "mail",
    "ask": "person",
    "spawn": "runloop",
    "timer": "clock",
    "emit": "runloop",
    "checkpoint": "runloop",
}
NO_RUNG = frozenset({"node.log", "node.progress"})
"""Records that neither a trace nor its ladder tells of, but for a ladder with ``control``: what agents say, which may be most of a run."""
_STATE_WORDS = {"ok": "Succeeded", "skipped": "Skipped", "cancelled": "Cancelled"}


@dataclass(frozen=True, slots=True)
class Hop:
    """One rung of the ladder: who said what to whom. ``bytes`` is the size of the content as canonical JSON, None where there is none."""

    seq: int
    ts_ms: int
    source: str
    target: str
    what: str
    bytes: int | None = None
    ms: int | None = None
    tokens: int | None = None
    usd: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "seq": self.seq,
            "ts_ms": self.ts_ms,
            "from": self.source,
            "to": self.target,
            "kind": self.what,
            "bytes": self.bytes,
            "ms": self.ms,
            "tokens": self.tokens,
            "usd": self.usd,
            "note": self.note,
        }


def ladder(records: Iterable[Mapping[str, Any]], *, control: bool = False) -> list[Hop]:
    """The crossings of a run in order: starts and ends of nodes, calls and their answers, approvals, files.

    With ``control`` the other records too: what happened to the run as a whole, and to a node between its calls.
    """
    kept = list(records)
    own = kept[0]["run_id"] if kept else None
    return [hop for record in kept if (hop := _hop(record) or (_control(record, own) if control else None)) is not None]


def _control(record: Mapping[str, Any], own: str | None) -> Hop:
    """A record that is no crossing: of the run, of one of its nodes, or of the run that it was forked from."""
    meta = record["meta"]
    source = {"operator": "person"}.get((meta.get("by") or {}).get("role", ""), "runloop")
    run = "run" if record["run_id"] == own else f"run {record['run_id'][:8]}"
    return Hop(record["seq"], record["ts_ms"], source, meta.get("node") or run, record["kind"], note=_after_colon(record["message"]))


def _hop(record: Mapping[str, Any]) -> Hop | None:
    kind, meta, at = record["kind"], record["meta"], (record["seq"], record["ts_ms"])
    node = meta.get("node", "")
    match kind:
        case "node.started":
            note = f"attempt {meta['attempt']}" if meta["attempt"] > 1 else ""
            return Hop(*at, "runloop", node, "start", bytes=_size(meta.get("inputs")), note=note)
        case "node.finished":
            if meta["attempt"] == 0:
                return Hop(*at, "runloop", node, meta["status"], note=_after_colon(record["message"]))
            error = meta.get("error")
            note = next(iter(error["message"].strip().splitlines()), "") if error else ""
            tokens = meta.get("tokens") or None
            usd = meta.get("usd") if tokens else None
            return Hop(*at, node, "runloop", meta["status"], _size(meta.get("outputs")), meta.get("ms"), tokens, usd, note)
        case "effect.requested":
            return Hop(*at, node, _peer(meta["name"]), meta["name"], bytes=_size(meta.get("args")), note=_tainted(meta))
        case "effect.completed":
            tokens = (meta.get("tokens_in") or 0) + (meta.get("tokens_out") or 0)
            hop_note = "given in a fork" if meta.get("given") else "cached" if meta.get("cached") else _tainted(meta)
            if meta.get("estimated"):
                hop_note = ", ".join(filter(None, (hop_note, "tokens estimated")))
            size, usd = _size(meta.get("result")), meta.get("usd") if tokens else None
            name = meta.get("name") or ""
            return Hop(*at, _peer(name), node, f"{name} ok", size, meta.get("ms"), tokens or None, usd, hop_note)
        case "effect.failed" | "effect.unknown":
            error, name = meta["error"], meta.get("name") or ""
            word = "unknown" if kind == "effect.unknown" else error.get("kind") or "failed"
            return Hop(*at, _peer(name), node, f"{name} {word}", ms=meta.get("ms"), note=error["message"])
        case "approval.requested":
            what = f"{asked(meta['approval_id'], meta.get('action'))}?"
            return Hop(*at, node, "person", what, bytes=_size(meta.get("what")), note=_list(meta.get("recipients")))
        case "approval.decided" | "approval.expired":
            by = (meta.get("by") or {}).get("role", "")
            return Hop(
                *at,
                "person" if by == "operator" else by or "policy",
                node,
                meta.get("decision", "expired"),
                note=meta.get("rationale") or "",
            )
        case "artifact.created":
            return Hop(*at, node, "artifacts", meta["kind"], bytes=meta.get("bytes"), note=meta["path"])
        case _:
            return None


def run_trace(records: Iterable[Mapping[str, Any]], *, control: bool = False) -> dict[str, Any]:
    """The trace of a run as one JSON object (spec 9.3), nodes in the order in which they ended, the ladder as :func:`ladder` has it."""
    kept = list(records)
    nodes: dict[str, dict[str, Any]] = {}
    inputs: dict[str, Any] = {}
    final: Mapping[str, Any] = {}
    for record in kept:
        meta = record["meta"]
        if record["kind"] == "node.started":
            inputs[meta["node"]] = meta.get("inputs")
        elif record["kind"] == "node.finished":
            nodes.pop(meta["node"], None)  # one that is tried again or brought back ends where it ended last
            nodes[meta["node"]] = _node_trace(meta, inputs.get(meta["node"]))
        elif record["kind"] == "run.finished":
            final = meta
    first = kept[0] if kept else {}
    return {
        "trace_id": first.get("trace_id"),
        "run_id": first.get("run_id"),
        "opening_id": first.get("opening_id"),
        "opening_name": first.get("opening_name"),
        "nodes": list(nodes.values()),
        "ladder": [hop.to_dict() for hop in ladder(kept, control=control)],
        "final_hash": final.get("final_hash"),
        "success": final.get("status") == "succeeded",
    }


def _node_trace(meta: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
    error = meta.get("error")
    state: Any = _STATE_WORDS.get(meta["status"]) or {"Failed": {"reason": error["message"] if error else ""}}
    attempt = None
    if meta["attempt"]:
        outputs = meta.get("outputs")
        attempt = {
            "attempt": meta["attempt"],
            "inputs": {"ports": inputs or {}},
            "outputs": None if outputs is None else {"ports": outputs},
            "output_hash": meta.get("outputs_hash"),
            "error": error["message"] if error else None,
        }
    return {"node_id": meta["node"], "state": state, "final_attempt": attempt}


def _size(value: Any) -> int | None:
    if value is None:
        return None
    return int(value["bytes"]) if is_blob_ref(value) else len(canonical(value))


def _peer(name: str) -> str:
    return _PEERS.get(name.partition(".")[0], "runloop")


def _tainted(meta: Mapping[str, Any]) -> str:
    taint = meta.get("taint")
    return f"from outside: {', '.join(taint)}" if isinstance(taint, list) else ""


def _list(values: Any) -> str:
    return ", ".join(values) if values else ""


def _after_colon(message: str) -> str:
    return message.partition(": ")[2]
