"""A query by its meaning: which documents are near it, and how far the vectors are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runloop.errors import RunloopError
from runloop.kb.people import has_address
from runloop.kb.search.finding import Nearest, Request
from runloop.kb.search.language import parse
from runloop.kb.vectors.port import EmbedderError, Meaning
from runloop.kb.vectors.store import VectorStore

if TYPE_CHECKING:
    import apsw

NEAREST = 100  # documents that the vectors give into the fusion


def by_meaning(db: apsw.Connection, opened: Callable[[], VectorStore], meaning: Meaning, request: Request) -> Nearest:
    """The documents near the query. Not for a query that says exactly what it wants: with operators, quotes, a star, or an address.

    An embedder or a file that fails, and vectors that another embedder made, are told and not raised: the words still find something.
    """
    query = parse(request.query)
    loose = query.words and not query.without and not any(term.quoted or term.prefix for term in query.words)
    if not loose or has_address(request.query):
        return Nearest(used=False)
    try:
        return _nearest(db, opened(), meaning, request, query.sought)
    except RunloopError as error:
        return Nearest(used=False, why_not=error)


def _nearest(db: apsw.Connection, store: VectorStore, meaning: Meaning, request: Request, sought: str) -> Nearest:
    embedder = meaning.embedder
    status = store.status(meaning.domains)
    if status.embedder is not None and status.embedder != embedder.identity:
        hint = "`rlp kb embed` makes them anew; the daemon does, where it runs"
        raise EmbedderError(f"the vectors are those of {status.embedder}, not of {embedder.identity}", code="kb.other_vectors", hint=hint)
    if not status.embedded:
        return Nearest(used=False, documents=status.documents)
    vector = embedder.embed([sought[: embedder.max_chars]])[0]
    if len(vector) != status.dimensions:
        message = f"{embedder.identity} gives {len(vector)} numbers now, and the vectors have {status.dimensions}"
        raise EmbedderError(message, code="kb.other_vectors", hint="`rlp kb embed` makes them anew; the daemon does, where it runs")
    if not any(vector):
        return Nearest(used=False, embedded=status.embedded, documents=status.documents)
    floor = embedder.floor if meaning.floor is None else meaning.floor
    found = store.nearest(vector, NEAREST, floor, _among(db, request))
    return Nearest(tuple(found), weight=embedder.weight, embedded=status.embedded, documents=status.documents)


def _among(db: apsw.Connection, request: Request) -> list[int] | None:
    """The documents that are wanted at all, where that is not every one."""
    if request.domains is None and not request.filter.timed:
        return None
    sql = "SELECT id FROM documents WHERE domain IN (SELECT value FROM json_each(?)) AND ts_ms >= ? AND ts_ms < ?"
    until = 2**62 if request.until_ms is None else request.until_ms
    rows: list[Any] = db.execute(sql, (json.dumps(request.filter.domains), request.since_ms or 0, until)).fetchall()
    return [number for (number,) in rows]
