"""Run records: build them for the ledger, and give the form that is printed, published and attached to."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from msgspec import Struct, to_builtins

from runloop.dataclass import dataclass
from runloop.events.canonical import canonical
from runloop.events.ids import UUID_PATTERN
from runloop.events.kinds import LIVE_KINDS, RUN_KINDS
from runloop.events.model import NewEvent, RunEvent, StoredEvent
from runloop.events.records import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.events.records import RecordMeta

RECORD_VERSION = 1
OUTER_KEYS = (
    *("v", "seq", "ts_ms", "run_id", "trace_id", "opening_id", "opening_name", "parent_run_id"),
    *("kind", "level", "message", "meta", "event_id"),
)
_LEVELS: Final = {level: b'{"level":"%b",' % level.encode() for level in get_args(Level)}
_STORED_KINDS: Final = RUN_KINDS - LIVE_KINDS
_RUN_ID: Final = re.compile(UUID_PATTERN)
_OPENING_ID: Final = re.compile(f"opening:{UUID_PATTERN}")


class _Form(NamedTuple):
    """What all records of a run share, in canonical form: the end of the payload up to the number, and the provenance."""

    tail: bytes
    provenance: dict[str, str]
    provenance_json: bytes


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What every record of a run shares: bare UUIDs for runs, ``trace:`` and ``opening:`` forms for the others."""

    run_id: str
    trace_id: str
    opening_id: str
    opening_name: str
    parent_run_id: str | None = None
    _form: _Form | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def form(self) -> _Form | None:
        """The shared part of the records, made once; None where an id is none, which the schema will say."""
        if self._form is None and self._valid:
            shared = {
                "opening_id": self.opening_id,
                "opening_name": self.opening_name,
                "parent_run_id": self.parent_run_id,
                "run_id": self.run_id,
            }
            provenance = {"trace_id": self.trace_id, "opening_id": self.opening_id}
            made = _Form(b',%b,"seq":' % canonical(shared)[1:-1], provenance, canonical(provenance))
            object.__setattr__(self, "_form", made)
        return self._form

    @property
    def _valid(self) -> bool:
        runs = [self.run_id] if self.parent_run_id is None else [self.run_id, self.parent_run_id]
        return all(map(_RUN_ID.fullmatch, runs)) and _OPENING_ID.fullmatch(self.opening_id) is not None


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
    line, said = one_line(message), meta_dict(meta)
    payload = {
        "v": RECORD_VERSION,
        "seq": seq,
        "run_id": run.run_id,
        "opening_id": run.opening_id,
        "opening_name": run.opening_name,
        "parent_run_id": run.parent_run_id,
        "level": level,
        "message": line,
        "meta": said,
    }
    form, head = run.form, _LEVELS.get(level)
    if form is None or head is None or seq < 1 or kind not in _STORED_KINDS:
        provenance = {"trace_id": run.trace_id, "opening_id": run.opening_id}
        if agent_id is not None:
            provenance["agent_id"] = agent_id
        return NewEvent(kind, payload, actor, "system", provenance, ts_ms, key, blobs)
    own = canonical({"message": line, "meta": said})  # its keys stand between "level" and "opening_id"
    payload_json = b'%b%b%b%d,"v":1}' % (head, own[1:-1], form.tail, seq)
    if agent_id is None:
        return RunEvent(kind, payload, actor, "system", form.provenance, ts_ms, key, blobs, payload_json, form.provenance_json)
    provenance = {**form.provenance, "agent_id": agent_id}
    return RunEvent(kind, payload, actor, "system", provenance, ts_ms, key, blobs, payload_json, canonical(provenance))


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
    """The JSON object of a meta: optional fields that hold their default are left out, bytes stay what :func:`canonical` refuses."""
    return to_builtins(meta, builtin_types=(bytes,)) if isinstance(meta, Struct) else dict(meta)


def one_line(text: str) -> str:
    """The text without line breaks, as ``message`` must be."""
    return " ".join(text.splitlines()) if "\n" in text or "\r" in text else text
