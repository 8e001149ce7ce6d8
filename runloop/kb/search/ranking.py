"""The full-text half: documents in the order of BM25, at a cost that a frequent word does not raise.

FTS5 has to score every document that matches before it can sort them: 30 ms for a word in 50,000 documents. Of the documents of one
expression only the ``NEWEST`` most recently taken in are scored, which FTS5 can give in that order. A word in more documents than that
says nothing about which is meant, so little is lost; below that number the order is that of BM25 over everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runloop.kb.derived import DOMAINS, domain_mark
from runloop.kb.search.language import Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

NEWEST = 1000  # documents that are scored for one expression
COMMON_WORDS = 3  # words in more documents than that, where a query has no others
_WEIGHTS = "4.0, 1.0, 0.0"  # title, body, domain


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents may be found; times in Unix milliseconds, ``until_ms`` not included."""

    domains: tuple[str, ...] = DOMAINS
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def timed(self) -> bool:
        """Whether the time of a document matters."""
        return self.since_ms is not None or self.until_ms is not None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document found by its words: ``stage`` 0 has all of them, 1 some, 2 words that start so; a larger ``bm25`` is better."""

    document: int
    stage: int
    bm25: float


def ranked(db: apsw.Connection, query: Query, wanted: Filter, enough: int) -> Iterator[Ranked]:
    """Every document once, the best first within each stage; a further stage is looked at when those before gave fewer than ``enough``."""
    if query.exact is None:
        return
    seen: set[int] = set()
    for stage in range(3 if query.words else 1):
        scores = _stage(db, query, wanted, stage)
        for document, score in sorted(scores.items(), key=lambda item: (-item[1], -item[0])):
            if document not in seen:
                seen.add(document)
                yield Ranked(document, stage, round(score, 6))
        if len(seen) >= enough:
            return


def _stage(db: apsw.Connection, query: Query, wanted: Filter, stage: int) -> dict[int, float]:
    if stage == 0:
        return _scores(db, query.exact.expression, wanted) if query.exact is not None else {}
    expressions = query.loose_words if stage == 1 else query.beginnings
    if stage == 1 and len(expressions) < 2:
        return {}
    return _any_of(db, [query.lacking(each) for each in expressions], wanted)


def _any_of(db: apsw.Connection, expressions: Sequence[str], wanted: Filter) -> dict[int, float]:
    """The sum of the scores of each expression, which is what BM25 gives for any of them; the rare ones decide."""
    common = {each for each in expressions if _is_common(db, each, wanted)}
    chosen = [each for each in expressions if each not in common] or expressions[:COMMON_WORDS]
    total: dict[int, float] = {}
    for each in chosen:
        for document, score in _scores(db, each, wanted).items():
            total[document] = total.get(document, 0.0) + score
    return total


def _is_common(db: apsw.Connection, expression: str, wanted: Filter) -> bool:
    sql = f"SELECT count(*) FROM (SELECT 1 FROM search WHERE search MATCH ? LIMIT {NEWEST + 1})"  # noqa: S608
    return bool(db.execute(sql, (_within(expression, wanted),)).get > NEWEST)


def _scores(db: apsw.Connection, expression: str, wanted: Filter) -> dict[int, float]:
    match = _within(expression, wanted)
    if wanted.timed:
        sql = f"""SELECT search.rowid, bm25(search, {_WEIGHTS}) FROM search CROSS JOIN documents ON documents.id = search.rowid
                  WHERE search MATCH ? AND ts_ms >= ? AND ts_ms < ? ORDER BY search.rowid DESC LIMIT {NEWEST}"""  # noqa: S608
        values: tuple[Any, ...] = (match, wanted.since_ms or 0, 2**62 if wanted.until_ms is None else wanted.until_ms)
    else:
        sql = f"SELECT rowid, bm25(search, {_WEIGHTS}) FROM search WHERE search MATCH ? ORDER BY rowid DESC LIMIT {NEWEST}"  # noqa: S608
        values = (match,)
    rows: list[Any] = db.execute(sql, values).fetchall()
    return {document: -score for document, score in rows}


def _within(expression: str, wanted: Filter) -> str:
    """The expression, in the documents of the wanted domains only."""
    if set(wanted.domains) >= set(DOMAINS):
        return expression
    marks = " OR ".join(f'"{domain_mark(domain)}"' for domain in wanted.domains)
    return f"({marks}) AND ({expression})"
