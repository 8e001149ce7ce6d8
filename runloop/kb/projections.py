"""What each kind of event changes in the derived tables. Every function is deterministic: same events, same tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runloop.events import current, is_erased, is_run_record, parse
from runloop.kb.derived import (
    account_key,
    as_json,
    cite,
    contact_key,
    end_node,
    fold,
    history,
    index,
    link,
    put_artifact,
    put_node,
    see_node,
    unindex,
)
from runloop.kb.fact_projections import fact_forgotten, fact_remembered, fact_superseded
from runloop.kb.import_projections import PROJECTIONS as IMPORTED
from runloop.kb.people import name_forms
from runloop.kb.pruning.projection import runs_archived, runs_restored
from runloop.kb.run_projections import project_run_record

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb.tables import Tables

LoadBlob = Callable[[str], bytes]  # the bytes of a blob that the event names, by hexadecimal BLAKE3

ERASING = "events.erased"
DEFAULT_TRUST = 0.5
# Three ranges, each with an index: with `<>` every passage of a file would read all the others.
_OLD_PASSAGES = """SELECT part FROM notes WHERE path = :path AND file_hash < :hash
    UNION SELECT part FROM notes WHERE path = :path AND file_hash > :hash
    UNION SELECT part FROM notes WHERE path = :path AND part >= :parts"""
# By the request to send it, or by the file that was sent: two looks, where `run_events` would be read whole.
_SENT_IN = """SELECT 'run:' || run_id FROM effects WHERE name = 'mail.send' AND requested_event = :event
    UNION ALL SELECT target_key FROM nodes JOIN edges ON source_key = node_key AND relation = 'made_in' WHERE nodes.source_event = :event"""


def apply(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """Bring the tables from before the event to after it; an event of a kind without projection, or an erased one, changes nothing.

    It may use the event, the tables, and the blobs that the event names, which ``load`` gives. Payloads are brought up to their kind's
    version first.
    """
    event = current(event)
    if is_erased(event.payload):
        return
    if is_run_record(event):
        project_run_record(db, event, load)
    elif (project := _PROJECTIONS.get(event.kind)) is not None:
        project(db, event, load)


def _contact(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    data = event.payload
    email = data["email"].strip()
    key = contact_key(email)
    nicknames = list(data.get("nicknames") or ())
    emails = list(dict.fromkeys((email, *(data.get("emails") or ()))))
    phones = list(data.get("phones") or ())
    names = (data["name"], *nicknames)
    name_forms(db, key, names, data.get("org") or "")
    db.execute("DELETE FROM contact_emails WHERE contact_key = ?", (key,))
    db.execute(
        "INSERT OR REPLACE INTO contacts VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(key, data["name"], email, as_json(emails), as_json(nicknames), data.get("org"), as_json(phones)),
            float(DEFAULT_TRUST if data.get("trust") is None else data["trust"]),
            *("\n".join(fold(name) for name in names), data.get("source")),
            *(data.get("path"), data.get("line"), event.id),
        ),
    )
    for address in emails:
        db.execute("INSERT OR IGNORE INTO contact_emails VALUES(?, ?)", (address.lower(), key))
    index(db, event, "contacts", f"contact:{key}", " ".join(names), " ".join((data.get("org") or "", *emails, *phones)), keep=False)
    put_node(db, event, f"contact:{key}", "contact", data["name"])
    cite(db, event, f"contact:{key}", data.get("evidence") or ())
    history(db, event, f"contact:{key}")


def _account(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    data = event.payload
    service, handle = data["service"].strip(), data["handle"].strip()
    key = account_key(service, handle)
    owner = contact_key(data["contact"]) if data.get("contact") else None
    db.execute(
        "INSERT OR REPLACE INTO accounts VALUES(?,?,?,?,?,?,?,?,?)",
        (key, service, handle, owner, data.get("url"), data.get("source"), data.get("path"), data.get("line"), event.id),
    )
    node = f"account:{key}"
    db.execute("DELETE FROM edges WHERE source_key = ?", (node,))
    put_node(db, event, node, "account", f"{service} {handle}")
    history(db, event, node)
    if owner is not None:
        see_node(db, event, f"contact:{owner}", "contact", data["contact"])
        link(db, event, node, "account_of", f"contact:{owner}")
        history(db, event, f"contact:{owner}")
    cite(db, event, node, data.get("evidence") or ())


def _note(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """A passage; the first one of a new version of its file removes the old version's."""
    data = event.payload
    path, part = data["path"], data["part"]
    text = data["text"] if isinstance(data["text"], str) else str(parse(load(data["text"]["$blob"])))
    for (gone,) in db.execute(_OLD_PASSAGES, {"path": path, "hash": data["file_hash"], "parts": data["parts"]}).fetchall():
        _forget_note(db, event, path, gone)
    title = data.get("title")
    db.execute(
        "INSERT OR REPLACE INTO notes VALUES(?,?,?,?,?,?,?,?,?)",
        (path, part, data["line"], data["end_line"], title, text, data["file_hash"], data["parts"], event.id),
    )
    file, passage = f"note:{path}", f"note:{path}#{part}"
    index(db, event, "notes", passage, title or "", text, path=path, line=data["line"], keep=False)
    put_node(db, event, passage, "note", title or path.rpartition("/")[2])
    see_node(db, event, file, "file", path)
    link(db, event, passage, "part_of", file)
    history(db, event, file, passage)


def _note_removed(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    path = event.payload["path"]
    for (part,) in db.execute("SELECT part FROM notes WHERE path = ?", (path,)).fetchall():
        _forget_note(db, event, path, part)
    history(db, event, f"note:{path}")


def _forget_note(db: Tables, event: StoredEvent, path: str, part: Any) -> None:
    db.execute("DELETE FROM notes WHERE path = ? AND part = ?", (path, part))
    unindex(db, "notes", f"note:{path}#{part}")
    end_node(db, event, f"note:{path}#{part}")


def _artifact_file(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    data = event.payload
    sources = [{"event_id": source} for source in data.get("citations") or ()]
    put_artifact(db, event, data, data["sha256"], None, sources)


def _email(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    data = event.payload
    recipients = [*data["to"], *(data.get("cc") or ())]
    db.execute(
        "INSERT OR REPLACE INTO mails VALUES(?,?,?,?,?,?,?,?)",
        (
            *(event.id, data["subject"], as_json(recipients), data.get("status"), data.get("message_id"), data.get("path")),
            *(data["artifact_id"], event.ts_ms),
        ),
    )
    mail = f"mail:{event.id}"
    index(db, event, "messages", mail, data["subject"], " ".join(recipients), path=data.get("path"))
    put_node(db, event, mail, "mail", data["subject"])
    cite(db, event, mail, (data["artifact_id"],))
    if event.actor.startswith("agent:"):
        see_node(db, event, event.actor, "agent", event.actor.partition(":")[2])
        link(db, event, mail, "made_by", event.actor)
        history(db, event, event.actor)
    run: Any = db.execute(_SENT_IN, {"event": data["artifact_id"]}).fetchone()
    if run is not None:
        link(db, event, mail, "made_in", run[0])
    for address in recipients:
        person = f"contact:{contact_key(address)}"
        see_node(db, event, person, "contact", address)
        link(db, event, mail, "sent_to", person)
        history(db, event, person)
    history(db, event, mail, f"artifact:event:{data['artifact_id']}")


def erased(event: StoredEvent) -> list[int]:
    """The events that an erasure names."""
    return [int(each["id"]) for each in current(event).payload["events"]]


def _erased(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    """Nothing is there any more of what it took, but by what it is known again; it has to say what that was."""
    erased(event)
    for each in event.payload["events"]:
        if said := each.get("said"):
            db.execute("INSERT OR REPLACE INTO erased_records VALUES(?, ?)", (said, event.id))


_PROJECTIONS: dict[str, Callable[[Tables, StoredEvent, LoadBlob], None]] = {
    "contact.upserted": _contact,
    "account.upserted": _account,
    "fact.remembered": fact_remembered,
    "fact.superseded": fact_superseded,
    "fact.forgotten": fact_forgotten,
    "note.imported": _note,
    "note.removed": _note_removed,
    "artifact.created": _artifact_file,
    "email.sent": _email,
    "runs.archived": runs_archived,
    "runs.restored": runs_restored,
    ERASING: _erased,
    **IMPORTED,
}
