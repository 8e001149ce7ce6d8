"""What each kind of event changes in the derived tables. Every function is deterministic: same events, same tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.events import is_run_record
from runloop.kb.derived import as_json, contact_key, fold, history, index, put_artifact, unindex
from runloop.kb.run_projections import project_run_record

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from runloop.events import StoredEvent

DEFAULT_TRUST = 0.5
# Three ranges, each with an index: with `<>` every passage of a file would read all the others.
_OLD_PASSAGES = """SELECT part FROM notes WHERE path = :path AND file_hash < :hash
    UNION SELECT part FROM notes WHERE path = :path AND file_hash > :hash
    UNION SELECT part FROM notes WHERE path = :path AND part >= :parts"""


def apply(db: apsw.Connection, event: StoredEvent) -> None:
    """Bring the tables from before the event to after it; an event of a kind without projection changes nothing."""
    if is_run_record(event):
        project_run_record(db, event)
    elif (project := _FACTS.get(event.kind)) is not None:
        project(db, event)


def _contact(db: apsw.Connection, event: StoredEvent) -> None:
    data = event.payload
    email = data["email"].strip()
    key = contact_key(email)
    nicknames = list(data.get("nicknames") or ())
    emails = list(dict.fromkeys((email, *(data.get("emails") or ()))))
    db.execute("DELETE FROM contact_emails WHERE contact_key = ?", (key,))
    db.execute(
        "INSERT OR REPLACE INTO contacts VALUES(?,?,?,?,?,?,?,?,?,?)",
        (
            *(key, data["name"], email, as_json(emails), as_json(nicknames), data.get("org")),
            float(DEFAULT_TRUST if data.get("trust") is None else data["trust"]),
            *("\n".join(fold(name) for name in (data["name"], *nicknames)), data.get("source"), event.id),
        ),
    )
    for address in emails:
        db.execute("INSERT OR IGNORE INTO contact_emails VALUES(?, ?)", (address.lower(), key))
    index(db, "contacts", f"contact:{key}", " ".join((data["name"], *nicknames)), " ".join((data.get("org") or "", *emails)))
    history(db, event, f"contact:{key}")


def _note(db: apsw.Connection, event: StoredEvent) -> None:
    """A passage; the first one of a new version of its file removes the old version's."""
    data = event.payload
    path, part = data["path"], data["part"]
    for (gone,) in db.execute(_OLD_PASSAGES, {"path": path, "hash": data["file_hash"], "parts": data["parts"]}).fetchall():
        _forget_note(db, path, gone)
    db.execute(
        "INSERT OR REPLACE INTO notes VALUES(?,?,?,?,?,?,?,?,?)",
        (path, part, data["line"], data["end_line"], data.get("title"), data["text"], data["file_hash"], data["parts"], event.id),
    )
    index(db, "notes", f"note:{path}#{part}", data.get("title") or "", data["text"])
    history(db, event, f"note:{path}", f"note:{path}#{part}")


def _note_removed(db: apsw.Connection, event: StoredEvent) -> None:
    path = event.payload["path"]
    for (part,) in db.execute("SELECT part FROM notes WHERE path = ?", (path,)).fetchall():
        _forget_note(db, path, part)
    history(db, event, f"note:{path}")


def _forget_note(db: apsw.Connection, path: str, part: Any) -> None:
    db.execute("DELETE FROM notes WHERE path = ? AND part = ?", (path, part))
    unindex(db, "notes", f"note:{path}#{part}")


def _artifact_file(db: apsw.Connection, event: StoredEvent) -> None:
    data = event.payload
    sources = [{"event_id": source} for source in data.get("citations") or ()]
    put_artifact(db, event, data, data["sha256"], None, sources)


def _email(db: apsw.Connection, event: StoredEvent) -> None:
    data = event.payload
    recipients = [*data["to"], *(data.get("cc") or ())]
    db.execute(
        "INSERT OR REPLACE INTO mails VALUES(?,?,?,?,?,?,?,?)",
        (
            *(event.id, data["subject"], as_json(recipients), data.get("status"), data.get("message_id"), data.get("path")),
            *(data["artifact_id"], event.ts_ms),
        ),
    )
    history(db, event, f"artifact:event:{data['artifact_id']}", *(f"contact:{contact_key(address)}" for address in recipients))


_FACTS: dict[str, Callable[[apsw.Connection, StoredEvent], None]] = {
    "contact.upserted": _contact,
    "note.imported": _note,
    "note.removed": _note_removed,
    "artifact.created": _artifact_file,
    "email.sent": _email,
}
