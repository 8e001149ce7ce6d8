"""Records of a run as lines of canonical JSON, and back, every content hash recomputed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

from blake3 import blake3

from runloop.errors import RunloopError, Where
from runloop.events import ERASED_KEY, StoredEvent, canonical, is_run_record, validate
from runloop.events.canonical import NOT_JSON, parse
from runloop.events.hashes import preimage
from runloop.runs.archives.container import ArchiveAltered, brief

_ERASURE = re.compile("[0-9a-f]{32}")
_NO_ERASURE = "0" * 32
_KEYS = frozenset({"id", "ts_ms", "kind", "actor", "scope", "payload", "provenance", "content", "chain", "key"})


def write_lines(events: Iterable[StoredEvent]) -> bytes:
    """One line an event, in order. ``chain`` is its place in the ledger that it came from, which only that ledger can verify."""
    return b"".join(canonical(_form(event)) + b"\n" for event in events)


def read_lines(data: bytes, *, name: str, file: str | None) -> list[StoredEvent]:
    """The events. Raises :class:`ArchiveAltered` ``archive.record`` for a line that is no run record or not what its hash says."""
    if data and not data.endswith(b"\n"):
        raise _spoiled_record("the last line does not end", name, data.count(b"\n") + 1, file)
    return [_event(line.removesuffix(b"\n"), name, number, file) for number, line in enumerate(BytesIO(data), 1)]


def _form(event: StoredEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "ts_ms": event.ts_ms,
        "kind": event.kind,
        "actor": event.actor,
        "scope": event.scope,
        "payload": dict(event.payload),
        "provenance": dict(event.provenance),
        "content": event.content_hash.hex(),
        "chain": event.chain_hash.hex(),
        "key": event.key,
    }


def _event(line: bytes, name: str, number: int, file: str | None) -> StoredEvent:
    try:
        form = parse(line)
        event = _checked(form, line)
    except (*NOT_JSON, RunloopError, ValueError, TypeError, KeyError) as error:
        said = error.message if isinstance(error, RunloopError) else str(error)
        raise _spoiled_record(said, name, number, file) from None
    return event


def _checked(form: Any, line: bytes) -> StoredEvent:
    if canonical(form) != line:
        raise ValueError("it is not canonical JSON")
    if not isinstance(form, dict) or form.keys() != _KEYS:
        raise ValueError(f"it does not have exactly the keys {', '.join(sorted(_KEYS))}")
    texts, numbers = (form["kind"], form["actor"], form["scope"], form["content"], form["chain"]), (form["id"], form["ts_ms"])
    objects = (form["payload"], form["provenance"])
    typed = all(isinstance(each, str) for each in texts) and all(isinstance(each, int) and each >= 0 for each in numbers)
    if not typed or not all(isinstance(each, Mapping) for each in objects) or not isinstance(form["key"], str | None):
        raise ValueError("a field has another type than it should")
    if not all(isinstance(each, str) for each in form["provenance"].values()) or "trace_id" not in form["provenance"]:
        raise ValueError("provenance is not text by name, with a trace_id")
    erasure = form["payload"].get(ERASED_KEY, _NO_ERASURE)
    if not isinstance(erasure, str) or not _ERASURE.fullmatch(erasure):
        raise ValueError(f"{ERASED_KEY} does not name an erasure")
    validate(form["kind"], {name: value for name, value in form["payload"].items() if name != ERASED_KEY})
    content = blake3(preimage(*texts[:3], canonical(form["payload"]), canonical(form["provenance"]))).digest()
    if content.hex() != form["content"]:
        raise ValueError(f"its content has the hash {content.hex()[:12]}…, the record says {form['content'][:12]}…")
    chain = bytes.fromhex(form["chain"])
    event = StoredEvent(*numbers, *texts[:3], *objects, content, chain, form["key"])
    if not is_run_record(event):
        raise ValueError(f"{event.kind} is not a run record")
    return event


def _spoiled_record(said: str, name: str, number: int, file: str | None) -> ArchiveAltered:
    where = Where(file=file, line=number, key=name)
    return ArchiveAltered(
        brief(f"record {number} of {name}: {said}"), code="archive.record", where=where, hint="the archive was damaged or altered"
    )
