"""What is in a knowledge base, counted: nothing here is estimated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runloop.kb.database import connected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import apsw

    from runloop.kb.base import KnowledgeBase

_DAY_MS = 86_400_000
_DAYS = 30  # of growth that are shown


def stats(kb: KnowledgeBase, views: Path, vectors: Path, domains: Sequence[str]) -> dict[str, Any]:
    """Counts, and sizes in bytes: events, kinds, days, blobs, runs, tables, the head, how far the derived tables and the vectors are.

    ``domains`` are the kinds of documents that get vectors.
    """
    with kb.ledger.reading() as db:
        events, oldest, newest, size = db.execute(
            "SELECT count(*), min(ts_ms), max(ts_ms), coalesce(sum(length(payload_json) + length(provenance_json)), 0) FROM events"
        ).get
        blobs, blob_bytes = db.execute("SELECT count(*), coalesce(sum(length(data)), 0) FROM blobs").get
        kinds = db.execute(
            "SELECT kind, count(*), sum(length(payload_json) + length(provenance_json)) FROM events GROUP BY kind ORDER BY 2 DESC, 1"
        ).fetchall()
        since = time.time_ns() // 1_000_000 - _DAYS * _DAY_MS
        days = db.execute(
            "SELECT date(ts_ms / 1000, 'unixepoch'), count(*) FROM events WHERE ts_ms >= ? GROUP BY 1 ORDER BY 1", (since,)
        ).fetchall()
        ledger_tables = _tables(db)
        schema, pages, free = int(db.pragma("user_version")), int(db.pragma("page_count")), int(db.pragma("freelist_count"))
        page = int(db.pragma("page_size"))
    head = kb.ledger.head()
    file_bytes = _size(kb.ledger.path)
    with connected(views, readonly=True) as db:
        watermark = int(db.execute("SELECT watermark FROM state").get)
        runs = {str(status): count for status, count in db.execute("SELECT status, count(*) FROM runs GROUP BY status ORDER BY status")}
        aside = int(db.execute("SELECT count(*) FROM problems").get)
        view_tables = _tables(db)
    return {
        "ledger": str(kb.ledger.path),
        "ledger_id": kb.ledger.id,
        "schema": schema,
        "head": {"id": head.id, "chain": head.chain.hex()},
        "events": events,
        "oldest_ms": oldest,
        "newest_ms": newest,
        "payload_bytes": size,
        "bytes_per_event": round(pages * page / events, 1) if events else None,
        "blobs": {"count": blobs, "bytes": blob_bytes},
        "files": {"ledger": file_bytes, "views": _size(views), "vectors": _size(vectors), "free_in_ledger": free * page},
        "runs": runs,
        "views": {"watermark": watermark, "behind": head.id - watermark, "set_aside": aside},
        "vectors": _vectors(kb, domains) if vectors.exists() else None,
        "kinds": [{"kind": kind, "events": count, "bytes": taken} for kind, count, taken in kinds],
        "days": [{"day": day, "events": count} for day, count in days],
        "tables": [{"file": file, **each} for file, listed in (("ledger", ledger_tables), ("views", view_tables)) for each in listed],
    }


def _vectors(kb: KnowledgeBase, domains: Sequence[str]) -> dict[str, Any]:
    """How many documents are to have a vector, and how many of them have a vector of which embedder."""
    status = kb.vectors.status(domains, counted=True)
    return {"embedder": status.embedder, "documents": status.documents, "embedded": status.embedded}


def _tables(db: apsw.Connection) -> list[dict[str, Any]]:
    """Every table and index with the bytes of its pages, largest first."""
    rows = db.execute("SELECT name, pgsize, unused FROM dbstat WHERE aggregate = TRUE ORDER BY 2 DESC, 1").fetchall()
    return [{"name": name, "bytes": size, "unused": unused} for name, size, unused in rows]


def _size(path: Path) -> int | None:
    """Bytes of a file with its log; None where it is not there."""
    if not path.exists():
        return None
    log = path.with_name(path.name + "-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)
