"""Keys, the search index, the graph, the history of entities and artifacts: what several projections write."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.tables import Tables

DOMAINS = ("contacts", "notes", "artifacts", "facts", "messages", "appointments", "commits", "commands", "runs")
"""What can be searched for; each document belongs to one of them."""

# Scripts that write without blanks (Thai to Khmer, kana, ideographs, Hangul): a word is wherever its characters are.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_ONE_UNSPACED = lazy(f"([{_UNSPACED}])")
_GROUPS = ("agent", "event", "file", "opening", "subject")  # kinds of nodes that an event mentions and that are not what it is about
_MADE = f"SELECT node_key FROM nodes WHERE source_event = ? AND kind NOT IN ({', '.join(map(repr, _GROUPS))}) ORDER BY node_key LIMIT 1"  # noqa: S608
_ACCENTS = lazy(  # of letters that stand by themselves: Latin, Greek, Cyrillic, Hebrew and Arabic ones; in other scripts marks are vowels
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc]"
)
_PLAIN = {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ħ": "h", "ŋ": "n", "ŧ": "t"}
_LETTERS = str.maketrans(
    _PLAIN | {letter.upper(): plain for letter, plain in _PLAIN.items()} | {"ß": "ss", "ẞ": "ss", "\u0131": "i", "\u03c2": "\u03c3"}
)
"""Letters that no accent is taken off, and what people write for them."""
_PRIVATE = lazy("[\ue000-\uf8ff\0]")  # marks of the index, which are no words of anybody's text
_WORDS = lazy(r"\w+")
WORD = lazy(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def contact_key(email: str) -> str:
    """The key of a person: BLAKE3 of the lower-cased, trimmed address (spec 15.5, vectors in 25.2)."""
    return blake3(email.strip().lower().encode()).hexdigest()


def account_key(service: str, handle: str) -> str:
    """The key of an account: BLAKE3 of the service's and the account's name, both lower-cased and trimmed."""
    return blake3(f"{service.strip().lower()}\n{handle.strip().lower()}".encode()).hexdigest()


def artifact_key(path: str, sha256: str | None) -> str:
    """The key of a file: its SHA-256, else BLAKE3 of its path."""
    return sha256.lower() if sha256 else blake3(path.encode()).hexdigest()


def fold(text: str) -> str:
    """Lower case without accents, punctuation or repeated blanks: how names are compared."""
    if text.isascii():  # the same, ten times as fast
        return " ".join(_WORDS.findall(text.lower()))
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char))
    return " ".join(_WORDS.findall(plain.translate(_LETTERS)))


def spaced(text: str) -> str:
    """The text as the index takes its words: without accents, and blanks around every character of a script that writes without them."""
    if text.isascii() and "\0" not in text:
        return text
    return _ONE_UNSPACED.sub(r" \1 ", unaccented(_PRIVATE.sub(" ", text)))


def unaccented(text: str) -> str:
    """The text in its letters without accents, as people write it who have no others."""
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)).translate(_LETTERS))


def put_artifact(db: Tables, event: StoredEvent, data: Any, sha256: str | None, run_id: str | None, sources: Sequence[Any]) -> None:
    """Note a file, made by a run or outside one."""
    key = artifact_key(data["path"], sha256)
    db.execute(
        "INSERT OR REPLACE INTO artifacts VALUES(?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(key, data["kind"], data["path"], data.get("summary"), sha256.lower() if sha256 else None, data.get("blake3")),
            *(data.get("bytes"), run_id, data.get("node"), as_json(list(sources)), event.id),
        ),
    )
    words = f"{data['kind']} {data.get('summary') or ''}"
    index(db, event, "artifacts", f"artifact:{key}", data["path"], words, path=data["path"])
    put_node(db, event, f"artifact:{key}", "artifact", data["path"].rpartition("/")[2])
    cite(db, event, f"artifact:{key}", [source["event_id"] for source in sources if source.get("event_id") is not None])
    history(db, event, f"artifact:{key}")


def index(
    db: apsw.Connection,
    event: StoredEvent,
    domain: str,
    key: str,
    title: str,
    body: str,
    *,
    path: str | None = None,
    line: int | None = None,
    ts_ms: int | None = None,
    keep: bool = True,
) -> None:
    """Make a document findable, in place of what it was; ``ts_ms`` is its own time, where that is not the event's.

    ``path`` and ``line`` say where its text lies. Without ``keep`` the text stays out of ``documents``: a table of its own has it.
    """
    if domain not in DOMAINS:
        raise ValueError(f"no domain {domain}")
    unindex(db, domain, key)
    digest = blake3(f"{title}\0{body}".encode()).digest(16)
    db.execute(
        "INSERT INTO documents(domain, key, title, body, path, line, ts_ms, source_event, digest) VALUES(?,?,?,?,?,?,?,?,?)",
        (domain, key, title, body if keep else None, path, line, event.ts_ms if ts_ms is None else ts_ms, event.id, digest),
    )
    values = (db.last_insert_rowid(), spaced(title), spaced(body), domain_mark(domain))
    db.execute("INSERT INTO temp.unwritten VALUES(?, ?, ?, ?)", values)


def unindex(db: apsw.Connection, domain: str, key: str) -> None:
    """Take a document out of the search."""
    rowid: Any = db.execute("SELECT id FROM documents WHERE domain = ? AND key = ?", (domain, key)).get
    if rowid is None:
        return
    db.execute("DELETE FROM documents WHERE id = ?", (rowid,))
    db.execute("DELETE FROM temp.unwritten WHERE id = ?", (rowid,))
    if not db.changes():
        db.execute("DELETE FROM search WHERE rowid = ?", (rowid,))


def domain_mark(domain: str) -> str:
    """The word of the index that stands for a domain; nobody can type it."""
    return f"\ue000{domain}"


def history(db: Tables, event: StoredEvent, *keys: str) -> None:
    """Note that the event touched these entities."""
    for key in keys:
        db.history.append((key, event.id))


def put_node(db: apsw.Connection, event: StoredEvent, key: str, kind: str, label: str) -> None:
    """Note what this event says a thing is; the node of one that was gone lives again."""
    db.execute("INSERT OR REPLACE INTO nodes VALUES(?, ?, ?, ?, NULL)", (key, kind, label, event.id))


def see_node(db: apsw.Connection, event: StoredEvent, key: str, kind: str, label: str) -> None:
    """Note a thing that this event only mentions, unless it is known already."""
    db.execute("INSERT OR IGNORE INTO nodes VALUES(?, ?, ?, ?, NULL)", (key, kind, label, event.id))


def end_node(db: apsw.Connection, event: StoredEvent, key: str) -> None:
    """The thing is no more; its node stays, because others may point to it, and what it pointed to is taken back."""
    db.execute("UPDATE nodes SET ended_event = ? WHERE node_key = ?", (event.id, key))
    db.execute("DELETE FROM edges WHERE source_key = ?", (key,))


def link(db: apsw.Connection, event: StoredEvent, source: str, relation: str, target: str) -> None:
    """Note a relation between two nodes; the first event that says it stays its source."""
    db.execute("INSERT OR IGNORE INTO edges VALUES(?, ?, ?, ?)", (source, relation, target, event.id))


def cite(db: apsw.Connection, event: StoredEvent, source: str, cited: Iterable[int]) -> None:
    """Note that the source rests on these events: on what they made, where that is still as they made it, else on the event itself."""
    for event_id in dict.fromkeys(cited):
        found: Any = db.execute(_MADE, (event_id,)).get
        if found is None:
            found = f"event:{event_id}"
            see_node(db, event, found, "event", "")
        if found != source:
            link(db, event, source, "cites", found)


def as_json(value: Any) -> str:
    """Compact enough, readable JSON text."""
    return json.dumps(value, ensure_ascii=False)
