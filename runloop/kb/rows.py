"""Between events and rows of the ledger: everything that can be computed before the write lock is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from msgspec import Raw, Struct

from runloop.events import (
    INLINE_LIMIT,
    InvalidEvent,
    NewEvent,
    RunEvent,
    StoredEvent,
    canonical,
    externalise,
    kind_of,
    parse,
    validate,
    validate_meta,
)
from runloop.events.canonical import NOT_JSON
from runloop.events.hashes import preimage
from runloop.events.kinds import VERSION_KEY
from runloop.kb.errors import DAMAGED, LedgerCorrupt

if TYPE_CHECKING:
    import apsw

COLUMNS = "id, ts_ms, kind, actor, scope, payload_json, provenance_json, hash_blake3, chain_blake3, idempotency_key"

_SCOPE = re.compile(r"user|system|agent:.+", re.DOTALL)
_TYPES = (int, int, str, str, str, str, str, bytes, bytes)
_ROWS = frozenset({(*_TYPES, str), (*_TYPES, type(None))})


class Told(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What lines of files outside of the ledger say of an event first: payload and provenance as they are stored, byte for byte."""

    id: int
    ts_ms: int
    kind: str
    actor: str
    scope: str
    payload: Raw
    provenance: Raw


class Row(Struct, frozen=True, gc=False):
    """An event ready to be written; only its id, its time and its place in the chain are open."""

    event: NewEvent
    payload: Mapping[str, Any]
    payload_json: str
    provenance_json: str
    content: bytes
    blobs: list[tuple[bytes, bytes]]


def prepare(event: NewEvent, *, check: bool) -> Row:
    """The row of an event; with ``check`` its payload must follow the schema of its kind (:class:`InvalidEvent`)."""
    kind = kind_of(event.kind)
    fields = kind.blob_fields
    payload = event.payload if type(event.payload) is dict else dict(event.payload)
    if kind.version > 1:
        payload = {VERSION_KEY: kind.version, **payload}
    made = isinstance(event, RunEvent) and kind.version == 1
    payload_json, provenance_json = _canonical_parts(event, payload, made=made)
    blobs: list[tuple[bytes, bytes]] = []
    if fields and (len(payload_json) > INLINE_LIMIT or b'"$' in payload_json):  # only then can a field need a blob or an escape
        payload, values = externalise(payload, fields)
        payload_json = canonical(payload)
        blobs = [(bytes.fromhex(name), data) for name, data in values]
    if check:
        if made:
            validate_meta(event.kind, payload)
        else:
            validate(event.kind, payload)
        if not made or not event.actor:
            _check_outer(event)
    if event.blobs:
        blobs += [(blake3(data).digest(), data) for data in event.blobs]
    content = blake3(preimage(event.kind, event.actor, event.scope, payload_json, provenance_json)).digest()
    return Row(event, payload, payload_json.decode(), provenance_json.decode(), content, blobs)


def _canonical_parts(event: NewEvent, payload: dict[str, Any], *, made: bool) -> tuple[bytes, bytes]:
    """Payload and provenance in canonical form; a run record brings both (``made``)."""
    if made and isinstance(event, RunEvent):
        return event.payload_json, event.provenance_json
    return canonical(payload), canonical(event.provenance if type(event.provenance) is dict else dict(event.provenance))


def is_whole(row: tuple[Any, ...]) -> bool:
    """Whether each of the ``COLUMNS`` is of its type: a flipped bit makes NULL of any, whatever the table says."""
    return tuple(map(type, row)) in _ROWS


def stored(row: tuple[Any, ...]) -> StoredEvent:
    """The event of a row selected as ``COLUMNS``. Raises LedgerCorrupt where it cannot be one: other types, texts that are no JSON."""
    event_id, ts_ms, kind, actor, scope, payload, provenance, content, chain, key = row
    if not is_whole(row):
        raise LedgerCorrupt(f"event {event_id} is damaged: a column of it is of another type", hint=DAMAGED)
    try:
        data, about = parse(payload), parse(provenance)
    except NOT_JSON as error:
        raise LedgerCorrupt(f"event {event_id} is damaged: {error}", hint=DAMAGED) from None
    if type(data) is not dict or type(about) is not dict:
        raise LedgerCorrupt(f"event {event_id} is damaged: its payload or provenance is no object", hint=DAMAGED)
    return StoredEvent(event_id, ts_ms, kind, actor, scope, data, about, content, chain, key)


def insert_blobs(db: apsw.Connection, event_id: int, blobs: Iterable[tuple[bytes, bytes]]) -> None:
    """Keep the blobs of an event, each once, by their BLAKE3."""
    for name, data in blobs:
        db.execute("INSERT INTO blobs(hash, data) VALUES(?, ?) ON CONFLICT DO NOTHING", (name, data))
        db.execute("INSERT INTO event_blobs(event_id, hash) VALUES(?, ?) ON CONFLICT DO NOTHING", (event_id, name))


def valid_scope(scope: str) -> bool:
    """Whether the scope is ``user``, ``system`` or ``agent:…`` (spec 15.3)."""
    return scope == "system" or _SCOPE.fullmatch(scope) is not None


def _check_outer(event: NewEvent) -> None:
    if not event.actor:
        raise InvalidEvent("actor is empty", hint="name who says this, such as agent:writer or user")
    if not valid_scope(event.scope):
        raise InvalidEvent(f"invalid scope {event.scope!r}", code="events.invalid_scope", hint="use user, system, or agent:NAME")
    if event.ts_ms is not None and not 0 <= event.ts_ms < 2**53:
        raise InvalidEvent(f"ts_ms {event.ts_ms} is not a time", hint="give Unix milliseconds, or leave it out")
    for name, value in event.provenance.items():
        if not isinstance(value, str):
            raise InvalidEvent(f"provenance {name} is not text", hint="provenance holds trace_id, opening_id, agent_id, … as text")
