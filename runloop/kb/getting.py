"""One entity by its key, in the form that hits have: what agents get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.events import readable
from runloop.kb.runs import matching, only_one

if TYPE_CHECKING:
    from runloop.kb.base import KnowledgeBase
    from runloop.kb.redaction import Redactor


def get(kb: KnowledgeBase, key: str, redactor: Redactor) -> dict[str, Any] | None:
    """The entity ``{domain, key, title, data, event_id}`` of a key: as hits have it, ``event:N`` or ``run:UUID``; else None."""
    domain, _, rest = key.partition(":")
    with kb.reading() as db:
        if domain == "event":
            return _event(kb, rest, redactor)
        if domain == "run":
            return _run(kb, rest, redactor)
        from runloop.kb.search import find_document, hit_of

        document = find_document(db, key)
        hit = None if document is None else hit_of(db, redactor, document)
    if hit is None:
        return None
    data = {**hit.data, "path": hit.path} if hit.path is not None else hit.data
    return {"domain": hit.domain, "key": hit.key, "title": hit.title, "data": data, "event_id": hit.event_id}


def _event(kb: KnowledgeBase, number: str, redactor: Redactor) -> dict[str, Any] | None:
    event = kb.ledger.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None
    if event is None or (kb.until is not None and event.id > kb.until):
        return None
    data = {
        "kind": event.kind,
        "actor": event.actor,
        "scope": event.scope,
        "ts_ms": event.ts_ms,
        "payload": dict(readable(event).payload),
    }
    return {"domain": "events", "key": f"event:{event.id}", "title": event.kind, "data": redactor.value(data), "event_id": event.id}


def _run(kb: KnowledgeBase, run: str, redactor: Redactor) -> dict[str, Any] | None:
    found = matching(kb.ledger, run)
    row = kb.run(only_one(run, found)) if found else None
    if row is None:
        return None
    return {
        "domain": "runs",
        "key": f"run:{row['run_id']}",
        "title": row["opening_name"],
        "data": redactor.value(row),
        "event_id": row["source_event"],
    }
