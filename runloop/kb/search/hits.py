"""What is found: a hit for each sort of document, with an excerpt, where it comes from and how it got its place."""

from __future__ import annotations

import json
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.derived import DOMAINS
from runloop.kb.people import Person, load_person
from runloop.kb.search.excerpts import excerpt_of

if TYPE_CHECKING:
    import apsw

    from runloop.kb.redaction import Redactor

_DOCUMENT = "id, domain, key, title, body, path, line, ts_ms, source_event"


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found; ``event_id`` is the event that says it, ``path`` and ``line`` where its text lies; scores are 0 to 1.

    ``ts_ms`` is when it was said, sent or made; ``marks`` are the places ``[start, end]`` of the query's words in the excerpt;
    ``parts`` is what the score comes from (see docs/search.md).
    """

    domain: str
    key: str
    title: str
    excerpt: str
    event_id: int
    path: str | None
    line: int | None
    score: float
    data: dict[str, Any]
    ts_ms: int | None = None
    marks: list[list[int]] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)

    def says_the_same(self, other: Hit | None) -> bool:
        """Whether the other hit is the same in all that it shows: nothing in one of them is masked and in the other not."""
        return other is not None and (self.title, {**self.data, "masked": None}) == (other.title, {**other.data, "masked": None})

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that agents get (ADR 1)."""
        names = ("domain", "key", "title", "excerpt", "event_id", "path", "line", "score", "data")
        return {name: getattr(self, name) for name in names}

    def explained(self) -> dict[str, Any]:
        """The JSON form for people: with time, marks and the parts of the score."""
        return {**self.to_dict(), "ts_ms": self.ts_ms, "marks": self.marks, "parts": self.parts}


@dataclass(frozen=True, slots=True)
class Document:
    """A row of ``documents``; ``body`` is None where a table of its own has the text."""

    id: int
    domain: str
    key: str
    title: str
    body: str | None
    path: str | None
    line: int | None
    ts_ms: int
    event_id: int


def load_documents(db: apsw.Connection, ids: list[int]) -> dict[int, Document]:
    """Those of the documents that are there."""
    rows: list[Any] = db.execute(f"SELECT {_DOCUMENT} FROM documents WHERE id IN ({', '.join('?' * len(ids))})", ids).fetchall()  # noqa: S608
    return {row[0]: Document(*row) for row in rows}


def find_document(db: apsw.Connection, key: str) -> Document | None:
    """The document with this key; keys of different domains differ in what they begin with."""
    marks = ", ".join("?" * len(DOMAINS))
    sql = f"SELECT {_DOCUMENT} FROM documents WHERE domain IN ({marks}) AND key = ?"  # noqa: S608 - with the domain, there is an index
    row: Any = db.execute(sql, (*DOMAINS, key)).fetchone()
    return None if row is None else Document(*row)


def hit_of(db: apsw.Connection, redactor: Redactor, document: Document, query: str = "") -> Hit | None:
    """The document as a hit with score 1, masked; None for a contact that is not there."""
    if document.domain == "contacts":
        person = load_person(db, document.key.partition(":")[2])
        return None if person is None else person_hit(person, redactor)
    if document.domain == "notes":
        return note_hit(db, redactor, document.key, 1.0, query)
    if document.domain == "artifacts":
        return artifact_hit(db, redactor, document.key, 1.0)
    return _text_hit(document, redactor, query)


def _text_hit(document: Document, redactor: Redactor, query: str) -> Hit:
    """A document whose text is kept with it, at the line where its record starts."""
    text, title = redactor.text(document.body or ""), redactor.text(document.title)
    excerpt, _ = excerpt_of(text, query)
    data = {"text": text, "masked": redactor.hides_contacts}
    return Hit(document.domain, document.key, title, excerpt, document.event_id, document.path, document.line, 1.0, data)


def person_hit(person: Person, redactor: Redactor) -> Hit:
    """A contact as a hit."""
    name, email = redactor.text(person.name), redactor.text(person.email, "email")
    org = None if person.org is None else redactor.text(person.org)
    data = {
        "name": name,
        "nicknames": redactor.value(person.nicknames),
        "email": email,
        "emails": redactor.value(person.emails, "emails"),
        **({"phones": redactor.value(person.phones, "phones")} if person.phones else {}),
        "org": org,
        "trust": person.trust,
        "match": person.match,
        "masked": redactor.hides_contacts,
    }
    excerpt = f"{name} <{email}>" + (f", {org}" if org else "")
    return Hit("contacts", f"contact:{person.key}", name, excerpt, person.event_id, person.path, person.line, person.score, data)


def note_hit(db: apsw.Connection, redactor: Redactor, key: str, score: float, query: str = "") -> Hit:
    """A passage of a note; the excerpt is an exact part of it, and ``line`` is where the excerpt starts."""
    path, _, part = key.removeprefix("note:").rpartition("#")
    row: Any = db.execute(
        "SELECT line, end_line, title, text, file_hash, source_event FROM notes WHERE path = ? AND part = ?", (path, int(part))
    ).fetchone()
    line, end_line, title, text, file_hash, event_id = row
    title, text = redactor.text(title or path.rpartition("/")[2]), redactor.text(text)
    excerpt, offset = excerpt_of(text, query)
    data = {"path": path, "line": line, "end_line": end_line, "text": text, "file_hash": file_hash}
    return Hit("notes", key, title, excerpt, event_id, path, line + offset, score, data)


def artifact_hit(db: apsw.Connection, redactor: Redactor, key: str, score: float) -> Hit:
    """A file that somebody made."""
    row: Any = db.execute(
        "SELECT kind, path, summary, sha256, blake3, run_id, node, sources, source_event FROM artifacts WHERE artifact_key = ?",
        (key.partition(":")[2],),
    ).fetchone()
    kind, path, summary, sha256, blake3, run_id, node, sources, event_id = row
    data = {"kind": kind, "sha256": sha256, "blake3": blake3, "run_id": run_id, "node": node, "sources": json.loads(sources)}
    return Hit("artifacts", key, redactor.text(path.rpartition("/")[2]), redactor.text(summary or kind), event_id, path, None, score, data)
