"""Run records: build them for the ledger, and give the form that is printed, published and attached to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runloop.events.kinds import LIVE_KINDS, RUN_KINDS
from runloop.events.model import NewEvent, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.events.records import RecordMeta

RECORD_VERSION = 1
OUTER_KEYS = (
    *("v", "seq", "ts_ms", "run_id", "trace_id", "opening_id", "opening_name", "parent_run_id"),
    *("kind", "level", "message", "meta", "event_id"),
)


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What every record of a run shares: bare UUIDs for runs, ``trace:`` and ``opening:`` forms for the others."""

    run_id: str
    trace_id: str
    opening_id: str
    opening_name: str
    parent_run_id: str | None = None


def run_event(
    run: RunIdentity,
    seq: int,
    kind: str,
    meta: RecordMeta | Mapping[str, Any],
    message: str,
    *,
    level: str = "info",
    actor: str = "agent:runloop",
    agent_id: str | None = None,
    ts_ms: int | None = None,
    key: str | None = None,
    blobs: tuple[bytes, ...] = (),
) -> NewEvent:
    """The ledger event of a stored run record; ``seq`` counts from 1 without gaps per run."""
    payload = {
        "v": RECORD_VERSION,
        "seq": seq,
        "run_id": run.run_id,
        "opening_id": run.opening_id,
        "opening_name": run.opening_name,
        "parent_run_id": run.parent_run_id,
        "level": level,
        "message": one_line(message),
        "meta": meta_dict(meta),
    }
    provenance = {"trace_id": run.trace_id, "opening_id": run.opening_id}
    if agent_id is not None:
        provenance["agent_id"] = agent_id
    return NewEvent(kind, payload, actor, "system", provenance, ts_ms, key, blobs)


def live_record(
    run: RunIdentity, last_seq: int, kind: str, meta: RecordMeta | Mapping[str, Any], message: str, *, ts_ms: int, level: str = "info"
) -> dict[str, Any]:
    """A record that is shown and never stored; ``last_seq`` is that of the last stored record, 0 before the first."""
    if kind not in LIVE_KINDS:
        raise ValueError(f"{kind} is stored, not live")
    return {
        "v": RECORD_VERSION,
        "seq": last_seq,
        "ts_ms": ts_ms,
        "run_id": run.run_id,
        "trace_id": run.trace_id,
        "opening_id": run.opening_id,
        "opening_name": run.opening_name,
        "parent_run_id": run.parent_run_id,
        "kind": kind,
        "level": level,
        "message": one_line(message),
        "meta": meta_dict(meta),
        "event_id": None,
    }


def record_of(event: StoredEvent) -> dict[str, Any]:
    """The run record that a stored event holds: exactly the outer keys, blobs as references."""
    payload = event.payload
    if event.kind not in RUN_KINDS or "v" not in payload:
        raise ValueError(f"event {event.id} ({event.kind}) is not a run record")
    return {
        "v": payload["v"],
        "seq": payload["seq"],
        "ts_ms": event.ts_ms,
        "run_id": payload["run_id"],
        "trace_id": event.provenance["trace_id"],
        "opening_id": payload["opening_id"],
        "opening_name": payload["opening_name"],
        "parent_run_id": payload["parent_run_id"],
        "kind": event.kind,
        "level": payload["level"],
        "message": payload["message"],
        "meta": payload["meta"],
        "event_id": event.id,
    }


def is_run_record(event: StoredEvent) -> bool:
    """Whether :func:`record_of` applies."""
    return event.kind in RUN_KINDS and "v" in event.payload


def meta_dict(meta: RecordMeta | Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of a meta: optional fields that hold their default are left out, values are not copied."""
    return _plain(meta) if isinstance(meta, Struct) else dict(meta)


def one_line(text: str) -> str:
    """The text without line breaks, as ``message`` must be."""
    return " ".join(text.splitlines()) if "\n" in text or "\r" in text else text


def _plain(struct: Struct) -> dict[str, Any]:
    out: dict[str, Any] = {}
    required = len(struct.__struct_fields__) - len(struct.__struct_defaults__)
    for position, (name, shown) in enumerate(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)):
        value = getattr(struct, name)
        if value is None and position >= required:
            continue
        if isinstance(value, Struct):
            value = _plain(value)
        elif type(value) is list and value and isinstance(value[0], Struct):
            value = [_plain(item) for item in value]
        out[shown] = value
    return out
