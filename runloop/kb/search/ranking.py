"""The full-text half: documents in the order of BM25, at a cost that a frequent word does not raise.

FTS5 has to score every document that matches before it can sort them: 30 ms for a word in 50,000 documents. Of the documents of one
expression only the ``NEWEST`` most recently taken in are scored, which FTS5 can give in that order. A word in more documents than that
says nothing about which is meant, so little is lost; below that number the order is that of BM25 over everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.derived import DOMAINS, domain_mark
from runloop.kb.search.language import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

NEWEST = 1000  # documents that are scored for one expression
_STAGES = 4
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
    """A document found by its words; a larger ``bm25`` is better.

    ``stage`` 0 has all of them, 1 some, 2 words that start so, 3 words that do but for their ending.
    """

    document: int
    stage: int
    bm25: float


def ranked(db: apsw.Connection, query: Query, wanted: Filter, enough: int, *, named: bool = False) -> list[Ranked]:
    """At most ``enough`` documents, the best first within each stage; a further stage is looked at when those before gave fewer.

    Other endings (the last stage) are looked for when nothing else was found. A contact has to have all of the words: somebody who
    shares only some of them is somebody else. With ``named`` the query has an address, which names somebody or nobody.
    """
    found: dict[int, Ranked] = {}
    for stage in range(0 if query.exact is None else _STAGES if query.words else 1):
        expressions = _expressions(query, stage)
        if stage or named:
            expressions = [_without_people(each, wanted) for each in expressions]
        if stage:
            expressions = _telling(db, expressions, wanted)
        for document, score in _best(db, expressions, wanted, enough) if expressions else ():
            found.setdefault(document, Ranked(document, stage, round(-score, 6)))
        if len(found) >= (enough if stage < _STAGES - 2 else 1):
            break
    return list(found.values())[:enough]


def _expressions(query: Query, stage: int) -> list[str]:
    if stage == 0:
        return [] if query.exact is None else [query.exact.expression]
    expressions = query.loose_words if stage == 1 else query.beginnings if stage == 2 else query.stems
    return [query.lacking(each) for each in expressions] if stage > 1 or len(expressions) > 1 else []


def _telling(db: apsw.Connection, expressions: list[str], wanted: Filter) -> list[str]:
    """Those of the expressions that are rare enough to tell documents apart; the first few, where none is."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM search WHERE search MATCH ? LIMIT {NEWEST + 1})"  # noqa: S608
    rare = [each for each in expressions if db.execute(sql, (_within(each, wanted),)).get <= NEWEST]
    return rare or expressions[:COMMON_WORDS]


def _best(db: apsw.Connection, expressions: Sequence[str], wanted: Filter, enough: int) -> list[tuple[int, float]]:
    """Documents and the sum of their scores for each expression (which is what BM25 gives for any of them); the lowest is the best."""
    if wanted.timed:
        one = f"""SELECT * FROM (SELECT search.rowid AS id, bm25(search, {_WEIGHTS}) AS score
                  FROM search CROSS JOIN documents ON documents.id = search.rowid
                  WHERE search MATCH ? AND ts_ms >= ? AND ts_ms < ? ORDER BY search.rowid DESC LIMIT {NEWEST})"""  # noqa: S608
        times: tuple[int, ...] = (wanted.since_ms or 0, 2**62 if wanted.until_ms is None else wanted.until_ms)
    else:
        one = f"""SELECT * FROM (SELECT rowid AS id, bm25(search, {_WEIGHTS}) AS score
                  FROM search WHERE search MATCH ? ORDER BY rowid DESC LIMIT {NEWEST})"""  # noqa: S608
        times = ()
    every = " UNION ALL ".join([one] * len(expressions))
    total = every if len(expressions) == 1 else f"SELECT id, sum(score) AS score FROM ({every}) GROUP BY id"  # noqa: S608
    values = [value for each in expressions for value in (_within(each, wanted), *times)]
    rows: list[Any] = db.execute(f"SELECT id, score FROM ({total}) ORDER BY score, id DESC LIMIT ?", (*values, enough)).fetchall()  # noqa: S608
    return rows


def _without_people(expression: str, wanted: Filter) -> str:
    return f'({expression}) NOT "{domain_mark("contacts")}"' if "contacts" in wanted.domains else expression


def _within(expression: str, wanted: Filter) -> str:
    """The expression, in the documents of the wanted domains only."""
    if set(wanted.domains) >= set(DOMAINS):
        return expression
    marks = " OR ".join(f'"{domain_mark(domain)}"' for domain in wanted.domains)
    return f"({marks}) AND ({expression})"
