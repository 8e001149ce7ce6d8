"""Finding: people by name, documents by their words and, where vectors are given, by their meaning; the best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError
from runloop.kb.derived import DOMAINS
from runloop.kb.people import find_by_number, find_people, has_address
from runloop.kb.search.excerpts import marks_of
from runloop.kb.search.fusion import K, fuse
from runloop.kb.search.hits import Document, Hit, hit_of, load_documents, person_hit
from runloop.kb.search.language import Query, Remark, parse
from runloop.kb.search.ranking import Filter, Ranked, ranked

if TYPE_CHECKING:
    import apsw

    from runloop.kb.redaction import Redactor

MAX_LIMIT = 200
PEOPLE_WEIGHT, TEXT_WEIGHT = 2.0, 1.0
"""What a place counts in each ranking (``fusion``): a person who was named comes first. The embedder says what the vectors' counts."""
COMPLETE_WEIGHT = 1.0
"""What having all of the words counts beyond their ranking, less what the vectors count: those of no meaning lift nothing above it."""
_STAGE_SCORE = (0.5, 0.3, 0.1, 0.05)  # of the text alone: all of the words, some of them, words that start so, with another ending
_BM25_SHARE = 0.15
_Place = tuple[str, float, Mapping[str, Any]]
"""Key, score and its parts."""
_FUSED = 100  # places of the text's ranking that are fused with the vectors'


@dataclass(frozen=True, slots=True)
class Request:
    """What is looked for; ``domains`` None is all of them, times are Unix milliseconds (``until_ms`` not included)."""

    query: str
    domains: tuple[str, ...] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    limit: int = 8

    def checked(self) -> Request:
        """The request with its defaults, or InvalidInput."""
        chosen = DOMAINS if self.domains is None else tuple(dict.fromkeys(self.domains))
        if unknown := [domain for domain in chosen if domain not in DOMAINS]:
            raise InvalidInput(f"unknown domain {unknown[0]!r}", code="kb.unknown_domain", hint=f"use {', '.join(DOMAINS)}")
        if self.limit < 1:
            raise InvalidInput(f"limit {self.limit} is below 1", code="kb.bad_limit", hint="ask for at least one hit")
        return replace(self, domains=chosen, limit=min(self.limit, MAX_LIMIT))

    @property
    def filter(self) -> Filter:
        """Which documents may be found."""
        return Filter(DOMAINS if self.domains is None else self.domains, self.since_ms, self.until_ms)


@dataclass(frozen=True, slots=True)
class Near:
    """A document that the vectors find near: its id and the cosine likeness, at most 1."""

    document: int
    likeness: float


@dataclass(frozen=True, slots=True)
class Nearest:
    """What the vectors say: documents, the nearest first, or why they say nothing; ``embedded`` of ``documents`` have a vector."""

    near: tuple[Near, ...] = ()
    used: bool = True
    why_not: RunloopError | None = None
    weight: float = 1.0
    embedded: int = 0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The hits, the best first, what in the query was not taken as it stands, and what vectors had to do with it (None: not asked)."""

    hits: list[Hit]
    remarks: tuple[Remark, ...] = ()
    vectors: Nearest | None = None


@dataclass(slots=True)
class _Candidates:
    """Everything that may become a hit, by ``id`` of its document or key of its person."""

    people: dict[str, Hit] = field(default_factory=dict)
    text: dict[str, tuple[Document, Ranked]] = field(default_factory=dict)
    near: dict[str, tuple[Document, Near]] = field(default_factory=dict)


def find(db: apsw.Connection, redactor: Redactor, request: Request, nearest: Nearest | None = None) -> Found:
    """The best hits first. With ``nearest`` the rankings are fused, else the text decides."""
    request = request.checked()
    query = parse(request.query)
    wanted = _Candidates(_people(db, redactor, request, query))
    fused = nearest is not None and nearest.used
    enough = max(request.limit, _FUSED) if fused else request.limit
    places = ranked(db, query, request.filter, enough, named=has_address(request.query))
    documents = load_documents(db, [place.document for place in places])
    wanted.text = {documents[place.document].key: (documents[place.document], place) for place in places if place.document in documents}
    if nearest is not None and fused:
        known = load_documents(db, [each.document for each in nearest.near])
        wanted.near = {known[each.document].key: (known[each.document], each) for each in nearest.near if each.document in known}
        scored = _by_fusion(wanted, nearest.weight, request.limit)
    else:
        scored = _by_text(wanted, request.limit)
    hits = [hit for each in scored if (hit := _hit(db, redactor, wanted, query.sought, each)) is not None]
    return Found(hits, query.remarks, nearest)


def _people(db: apsw.Connection, redactor: Redactor, request: Request, query: Query) -> dict[str, Hit]:
    """The people that the query names; one with operators names nobody, and a person has no time."""
    if "contacts" not in request.filter.domains or request.filter.timed:
        return {}
    found = find_by_number(db, request.query, request.limit)
    if not found and ((query.exact is not None and not query.words) or query.without):
        return {}
    found = found or find_people(db, request.query, request.limit)
    return {f"contact:{person.key}": person_hit(person, redactor) for person in found}


def _by_text(wanted: _Candidates, limit: int) -> list[_Place]:
    """People by how sure they are meant, documents by stage and BM25; ties by place, which is that of the newer document."""
    scored: list[tuple[float, int, str, Mapping[str, Any]]] = [
        (hit.score, 0, key, {"person": hit.data["match"]}) for key, hit in wanted.people.items()
    ]
    for number, (key, (_, place)) in enumerate(wanted.text.items(), 1):
        if key not in wanted.people:
            score = round(_STAGE_SCORE[place.stage] + _BM25_SHARE * place.bm25 / (1 + place.bm25), 6)
            scored.append((score, number, key, {"text_place": number, "stage": place.stage, "bm25": place.bm25}))
    scored.sort(key=lambda each: (-each[0], each[1], each[2]))
    return [(key, score, parts) for score, _, key, parts in scored[:limit]]


def _by_fusion(wanted: _Candidates, weight: float, limit: int) -> list[_Place]:
    """As ``fuse`` orders them; the score is the sum in parts of the most that a document could get."""
    complete = [key for key, (_, place) in wanted.text.items() if place.stage == 0]
    rankings = {"people": list(wanted.people), "text": list(wanted.text), "vectors": list(wanted.near), "complete": complete}
    scored: list[_Place] = []
    weights = {"people": PEOPLE_WEIGHT, "text": TEXT_WEIGHT, "vectors": weight, "complete": COMPLETE_WEIGHT - weight}
    best = sum(weights.values()) / (K + 1)
    for each in fuse(rankings, weights)[:limit]:
        parts: dict[str, Any] = {f"{name}_place": place for name, place in each.places.items() if name != "complete"}
        if each.item in wanted.people:
            parts["person"] = wanted.people[each.item].data["match"]
        if each.item in wanted.text:
            place = wanted.text[each.item][1]
            parts |= {"stage": place.stage, "bm25": place.bm25}
        if each.item in wanted.near:
            parts["likeness"] = wanted.near[each.item][1].likeness
        scored.append((each.item, round(each.score / best, 6), parts | {"rrf": each.score}))
    return scored


def _hit(db: apsw.Connection, redactor: Redactor, wanted: _Candidates, sought: str, place: _Place) -> Hit | None:
    key, score, parts = place
    person = wanted.people.get(key)
    if person is not None:
        return replace(person, score=score, marks=marks_of(person.excerpt, sought), parts=dict(parts))
    document = (wanted.text.get(key) or wanted.near[key])[0]
    hit = hit_of(db, redactor, document, sought)
    if hit is None:
        return None
    data = {**hit.data, "match": "text"} if hit.domain == "contacts" else hit.data
    return replace(hit, score=score, data=data, ts_ms=document.ts_ms, marks=marks_of(hit.excerpt, sought), parts=dict(parts))
