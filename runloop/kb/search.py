"""Search over contacts, notes and artifacts: SQLite FTS5, ranked by BM25. Whatever a person types is a valid query."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from runloop.errors import InvalidInput
from runloop.kb.derived import WORD, fold, spaced
from runloop.kb.mask import mask_email, mask_text
from runloop.kb.people import Person, find_people, has_address, load_person

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

DOMAINS = ("contacts", "notes", "artifacts")
MAX_LIMIT = 200
EXCERPT_CHARS = 320
MAX_TERMS = 32  # of a query; more words say no more, and the cost grows with each

_TERM = re.compile(r'"([^"]*)"|(\w+)(\*?)')


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found; ``event_id`` is the event that says it, ``path`` and ``line`` where its text lies; scores are 0 to 1."""

    domain: str
    key: str
    title: str
    excerpt: str
    event_id: int
    path: str | None
    line: int | None
    score: float
    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def search(
    db: apsw.Connection, salt: str, query: str, *, domains: Sequence[str] | None = None, limit: int = 8, raw_contacts: bool = False
) -> list[Hit]:
    """The best hits first; words need not all occur, `word*` is a prefix and "some words" a phrase.

    Addresses of contacts are masked unless ``raw_contacts``.
    """
    chosen = tuple(DOMAINS if domains is None else domains)
    if unknown := [domain for domain in chosen if domain not in DOMAINS]:
        raise InvalidInput(f"unknown domain {unknown[0]!r}", code="kb.unknown_domain", hint=f"use {', '.join(DOMAINS)}")
    if limit < 1:
        raise InvalidInput(f"limit {limit} is below 1", code="kb.bad_limit", hint="ask for at least one hit")
    limit = min(limit, MAX_LIMIT)
    hits: dict[str, Hit] = {}
    if "contacts" in chosen:
        for person in find_people(db, query, limit):
            hits[f"contact:{person.key}"] = person_hit(person, salt, raw=raw_contacts)
    for key, domain, score in _text_hits(db, query, chosen, limit):
        if key not in hits:
            hits[key] = _hit(db, salt, domain, key, score, query, raw=raw_contacts)
    return sorted(hits.values(), key=lambda hit: (-hit.score, hit.domain, hit.key))[:limit]


def person_hit(person: Person, salt: str, *, raw: bool) -> Hit:
    """A contact as a hit, with its addresses masked unless ``raw``."""

    def shown(address: str) -> str:
        return address if raw else mask_email(address, salt)

    name = person.name if raw else mask_text(person.name, salt)
    org = person.org if raw or person.org is None else mask_text(person.org, salt)
    data = {
        "name": name,
        "nicknames": person.nicknames if raw else [mask_text(each, salt) for each in person.nicknames],
        "email": shown(person.email),
        "emails": [shown(address) for address in person.emails],
        "org": org,
        "trust": person.trust,
        "match": person.match,
        "masked": not raw,
    }
    excerpt = f"{name} <{shown(person.email)}>" + (f", {org}" if org else "")
    return Hit("contacts", f"contact:{person.key}", name, excerpt, person.event_id, None, None, person.score, data)


def _text_hits(db: apsw.Connection, query: str, domains: Sequence[str], limit: int) -> Iterator[tuple[str, str, float]]:
    """Keys with their domain and score: documents with every term first, then with any, then with words that start so."""
    seen: set[str] = set()
    named = has_address(query)
    for number, (expression, weight) in enumerate(_expressions(query)):
        sql = f"""SELECT key, domain, bm25(search, 4.0, 1.0) AS rank FROM search JOIN documents ON documents.id = search.rowid
                  WHERE search MATCH ? AND domain IN ({", ".join("?" * len(domains))}) ORDER BY rank, key LIMIT ?"""  # noqa: S608
        rows: list[Any] = db.execute(sql, (expression, *domains, limit)).fetchall()
        for key, domain, rank in rows:
            if domain == "contacts" and (named or number):
                continue  # a person who shares only some words with the query is somebody else
            if key not in seen:
                seen.add(key)
                yield key, domain, round(weight + 0.15 * -rank / (1 - rank), 6)
        if len(seen) >= limit:
            return


def _expressions(query: str) -> list[tuple[str, float]]:
    """FTS5 expressions from strict to lenient, each with the score that its hits start from; every term is quoted.

    A word of a script without blanks is a phrase of its characters; the most lenient expression takes each two of them.
    """
    terms: list[str] = []
    prefixes: list[str] = []
    for phrase, word, star in _TERM.findall(query):
        if phrase.strip() and re.search(r"\w", phrase):
            terms.append(_quote(phrase))
        elif word:
            terms.append(_quote(word) + star)
            parts = spaced(word).split()
            if len(parts) > 1:
                prefixes += [_quote("".join(pair)) for pair in itertools.pairwise(parts)]
            elif len(word) >= 3:
                prefixes.append(_quote(word) + "*")
    terms = list(dict.fromkeys(terms))[:MAX_TERMS]
    if not terms:
        return []
    expressions = [(" AND ".join(terms), 0.5), (" OR ".join(terms), 0.3)]
    if prefixes:
        expressions.append((" OR ".join(list(dict.fromkeys(prefixes))[:MAX_TERMS]), 0.1))
    return expressions


def _quote(text: str) -> str:
    return '"' + spaced(text).replace('"', '""').replace("\0", " ") + '"'


def _hit(db: apsw.Connection, salt: str, domain: str, key: str, score: float, query: str, *, raw: bool) -> Hit:
    if domain == "contacts":
        person = load_person(db, key.partition(":")[2])
        if person is None:
            raise LookupError(key)
        hit = person_hit(person, salt, raw=raw)
        return Hit(*(hit.domain, hit.key, hit.title, hit.excerpt, hit.event_id, None, None), score, {**hit.data, "match": "text"})
    if domain == "notes":
        return note_hit(db, key, score, query)
    return artifact_hit(db, key, score)


def note_hit(db: apsw.Connection, key: str, score: float, query: str = "") -> Hit:
    """A passage of a note; the excerpt is an exact part of it, and ``line`` is where the excerpt starts."""
    path, _, part = key.removeprefix("note:").rpartition("#")
    row: Any = db.execute(
        "SELECT line, end_line, title, text, file_hash, source_event FROM notes WHERE path = ? AND part = ?", (path, int(part))
    ).fetchone()
    line, end_line, title, text, file_hash, event_id = row
    excerpt, offset = excerpt_of(text, query)
    data = {"path": path, "line": line, "end_line": end_line, "text": text, "file_hash": file_hash}
    return Hit("notes", key, title or path.rpartition("/")[2], excerpt, event_id, path, line + offset, score, data)


def artifact_hit(db: apsw.Connection, key: str, score: float) -> Hit:
    """A file that somebody made."""
    row: Any = db.execute(
        "SELECT kind, path, summary, sha256, blake3, run_id, node, sources, source_event FROM artifacts WHERE artifact_key = ?",
        (key.partition(":")[2],),
    ).fetchone()
    kind, path, summary, sha256, blake3, run_id, node, sources, event_id = row
    data = {"kind": kind, "sha256": sha256, "blake3": blake3, "run_id": run_id, "node": node, "sources": json.loads(sources)}
    return Hit("artifacts", key, path.rpartition("/")[2], summary or kind, event_id, path, None, score, data)


def excerpt_of(text: str, query: str) -> tuple[str, int]:
    """The lines of the text, up to ``EXCERPT_CHARS``, that hold most of the query's words, and the number of lines before them."""
    lines = text.split("\n")
    wanted = set(WORD.findall(fold(query)))
    found = [len(wanted.intersection(WORD.findall(fold(line)))) for line in lines]
    best = max(range(len(lines)), key=lambda number: (found[number], -number))
    start = end = best
    size = len(lines[best])
    while end + 1 < len(lines) and size + len(lines[end + 1]) < EXCERPT_CHARS:
        end += 1
        size += len(lines[end]) + 1
    while start > 0 and size + len(lines[start - 1]) < EXCERPT_CHARS:
        start -= 1
        size += len(lines[start]) + 1
    while start < best and not lines[start].strip():
        start += 1
    excerpt = "\n".join(lines[start : end + 1]).rstrip()
    return (excerpt if len(excerpt) <= EXCERPT_CHARS else _window(excerpt, wanted)), start


def _window(line: str, wanted: set[str]) -> str:
    """An exact part of one long line, around the first wanted word, cut at blanks where there are any."""
    at = next((match.start() for match in WORD.finditer(line) if fold(match[0]) in wanted), 0)
    start = max(0, at - EXCERPT_CHARS // 3)
    if start:
        start = line.find(" ", start, at) + 1 or start
    piece = line[start : start + EXCERPT_CHARS]
    return piece[: piece.rfind(" ")] if start + EXCERPT_CHARS < len(line) and " " in piece[EXCERPT_CHARS // 2 :] else piece
