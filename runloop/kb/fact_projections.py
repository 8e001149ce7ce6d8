"""What events about facts change in the derived tables. A fact is named by the event that said it: ``fact:N``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.events import canonical, parse
from runloop.kb.derived import as_json, cite, contact_key, end_node, fold, history, index, link, put_node, see_node, unindex

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb.projections import LoadBlob
    from runloop.kb.tables import Tables

_ENTITIES = frozenset(
    (
        "account",
        "agent",
        "appointment",
        "artifact",
        "command",
        "commit",
        "contact",
        "event",
        "fact",
        "mail",
        "message",
        "note",
        "opening",
        "run",
    )
)


NAMING = ("subject", "predicate")
"""What an erased fact goes on saying where later values are of the same."""


def fact_remembered(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """A new fact."""
    data = event.payload
    _insert(db, event, data["subject"], data["predicate"], load, None)


def fact_superseded(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """A new value in place of that of an earlier fact; nothing, where that one was erased as a whole."""
    old = event.payload["fact"]
    row: Any = db.execute("SELECT subject, predicate FROM facts WHERE fact_id = ?", (old,)).fetchone()
    if row is None:
        return
    _end(db, event, old, "superseded")
    subject, predicate = row
    _insert(db, event, subject, predicate, load, old)


def fact_forgotten(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    """A fact that holds no more: its value goes out of the tables and of the search, and stays in the ledger until it is erased."""
    _end(db, event, event.payload["fact"], "forgotten")


def subject_key(subject: str) -> str:
    """The node that a fact is about: an entity's own key, the contact of an address, else the subject in plain letters."""
    kind, _, rest = subject.partition(":")
    if rest and kind in _ENTITIES:
        return subject
    if "@" in subject and " " not in subject.strip():
        return f"contact:{contact_key(subject)}"
    return f"subject:{fold(subject)}"


def _insert(db: Tables, event: StoredEvent, subject: str, predicate: str, load: LoadBlob, supersedes: int | None) -> None:
    data = event.payload
    key, about = f"fact:{event.id}", subject_key(subject)
    put_node(db, event, key, "fact", f"{subject} {predicate}")
    if "value" not in data:  # it was erased; what came after it is of its subject
        db.execute(
            "INSERT INTO facts VALUES(?, ?, ?, '', 'erased', ?, '', '[]', ?, NULL, ?)",
            (event.id, subject, predicate, event.actor, supersedes, event.ts_ms),
        )
        end_node(db, event, key)
        history(db, event, key, about)
        return
    value = shown(parse(load(data["value"]))["value"])
    spans = data.get("spans") or []
    db.execute(
        "INSERT INTO facts VALUES(?, ?, ?, ?, 'current', ?, ?, ?, ?, NULL, ?)",
        (event.id, subject, predicate, value, event.actor, data["stamp"]["by"], as_json(spans), supersedes, event.ts_ms),
    )
    index(db, event, "facts", key, f"{subject} {predicate}", value)
    see_node(db, event, about, about.partition(":")[0], subject)
    link(db, event, key, "about", about)
    if supersedes is not None:
        link(db, event, key, "supersedes", f"fact:{supersedes}")
    cite(db, event, key, [*(span["event_id"] for span in spans), *(data.get("evidence") or ())])
    history(db, event, key, about)


def _end(db: Tables, event: StoredEvent, fact_id: int, status: str) -> None:
    found = db.execute("SELECT subject FROM facts WHERE fact_id = ? AND status = 'current'", (fact_id,)).fetchone()
    if found is None:
        return
    value = "" if status == "forgotten" else None
    db.execute(
        "UPDATE facts SET status = ?, value = coalesce(?, value), ended_event = ? WHERE fact_id = ?", (status, value, event.id, fact_id)
    )
    unindex(db, "facts", f"fact:{fact_id}")
    end_node(db, event, f"fact:{fact_id}")
    history(db, event, f"fact:{fact_id}", subject_key(str(found[0])))


def shown(value: Any) -> str:
    """A fact's value as text: texts as they are, anything else as JSON."""
    return value if isinstance(value, str) else canonical(value).decode()
