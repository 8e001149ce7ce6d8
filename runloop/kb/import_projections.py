"""What imported mail, appointments, commits and commands change in the derived tables. Their texts are in ``documents``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.events import canonical, parse
from runloop.events.blobs import is_blob_ref
from runloop.kb.derived import as_json, contact_key, end_node, history, index, link, put_node, see_node, unindex

if TYPE_CHECKING:
    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.tables import Tables

LoadBlob = Callable[[str], bytes]  # as in ``projections``
_PLACE = frozenset({"path", "line"})  # where an appointment was read: not what it says


def digest_of(payload: Mapping[str, Any]) -> str:
    """Hex BLAKE3 of what an appointment says, wherever it was read; ``payload`` as it was given, without blobs."""
    return blake3(canonical({name: value for name, value in payload.items() if name not in _PLACE})).hexdigest()


def _message(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    data = _full(event.payload, load)
    key, own = data["message"], data.get("message_id")
    sender, to = list(data.get("sender") or ()), [*(data.get("to") or ()), *(data.get("cc") or ())]
    attachments = list(data.get("attachments") or ())
    thread = _thread(db, data)
    db.execute(
        "INSERT OR REPLACE INTO messages VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(key, own, thread, data["subject"], _shown(sender), as_json([*sender, *to]), data.get("sent_ms")),
            *(as_json(attachments), int(any(each.get("kept") for each in attachments))),
            *(data["mailbox"], data["path"], data.get("line"), event.id),
        ),
    )
    if own and thread != own:  # answers that came before what they answer
        db.execute("UPDATE messages SET thread = ? WHERE thread = ?", (thread, own))
    names = " ".join(each["name"] for each in attachments if each.get("name"))
    body = "\n".join(part for part in (data["text"], _words([*sender, *to]), names) if part)
    node = f"message:{key}"
    index(db, event, "messages", node, data["subject"], body, path=data["path"], line=data.get("line"), ts_ms=data.get("sent_ms"))
    put_node(db, event, node, "message", data["subject"])
    _relate(db, event, node, {"sent_by": sender, "sent_to": to})


def _thread(db: apsw.Connection, data: Mapping[str, Any]) -> str:
    """The Message-ID that a thread goes by: of its first message, as far as that is known."""
    references = data.get("references") or ()
    first = references[0] if references else data.get("in_reply_to")
    if first is None:
        return str(data.get("message_id") or data["message"])
    known: Any = db.execute("SELECT thread FROM messages WHERE message_id = ? ORDER BY source_event LIMIT 1", (first,)).fetchone()
    return str(known[0] if known else first)


def _message_removed(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    _remove(db, event, "message", event.payload["message"])


def _appointment(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    data = _full(event.payload, load)
    key = data["appointment"]
    starts, ends = data.get("starts") or {}, data.get("ends") or {}
    organizer, attendees = [data["organizer"]] if data.get("organizer") else [], list(data.get("attendees") or ())
    db.execute(
        "INSERT OR REPLACE INTO appointments VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(key, data["uid"], data.get("occurrence"), data["summary"], data.get("location")),
            *(starts.get("at"), starts.get("ms"), ends.get("at"), ends.get("ms"), starts.get("zone"), as_json(data.get("rules") or [])),
            *(as_json([*organizer, *attendees]), data.get("status"), data["path"], data["line"], digest_of(data), event.id),
        ),
    )
    words = (data.get("description"), data.get("location"), " ".join(data.get("categories") or ()), _words([*organizer, *attendees]))
    node = f"appointment:{key}"
    body = "\n".join(part for part in words if part)
    index(db, event, "appointments", node, data["summary"], body, path=data["path"], line=data["line"], ts_ms=starts.get("ms"))
    put_node(db, event, node, "appointment", data["summary"])
    _relate(db, event, node, {"organized_by": organizer, "attended_by": attendees})


def _appointment_removed(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    _remove(db, event, "appointment", event.payload["appointment"])


def _commit(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    data = _full(event.payload, load)
    key, author = data["commit"], data["author"]
    files = list(data.get("files") or ())
    db.execute(
        "INSERT OR REPLACE INTO commits VALUES(?,?,?,?,?,?,?,?,?)",
        (
            *(key, data["repository"], data["subject"], author.get("name"), author.get("email")),
            *(data["authored_ms"], data["committed_ms"], as_json(files), event.id),
        ),
    )
    node = f"commit:{key}"
    body = "\n".join((data["message"], _words([author]), " ".join(each[0] for each in files)))
    index(db, event, "commits", node, data["subject"], body, path=data["repository"], ts_ms=data["authored_ms"])
    put_node(db, event, node, "commit", data["subject"])
    _relate(db, event, node, {"made_by": [author]})


def _commit_removed(db: Tables, event: StoredEvent, _load: LoadBlob) -> None:
    _remove(db, event, "commit", event.payload["commit"])


def _command(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    data = _full(event.payload, load)
    key, text = data["command"], data["text"]
    db.execute(
        "INSERT OR REPLACE INTO commands VALUES(?,?,?,?,?,?,?,?)",
        (key, data["shell"], text, data.get("at_ms"), data.get("seconds"), data["path"], data["line"], event.id),
    )
    index(db, event, "commands", f"command:{key}", "", text, path=data["path"], line=data["line"], ts_ms=data.get("at_ms"))
    history(db, event, f"command:{key}")


def _remove(db: Tables, event: StoredEvent, what: str, key: str) -> None:
    db.execute(f"DELETE FROM {what}s WHERE {what}_key = ?", (key,))  # noqa: S608 - one of our four names
    unindex(db, f"{what}s", f"{what}:{key}")
    end_node(db, event, f"{what}:{key}")
    history(db, event, f"{what}:{key}")


def _full(payload: Mapping[str, Any], load: LoadBlob) -> dict[str, Any]:
    """The payload with what lies in blobs."""
    return {name: parse(load(value["$blob"])) if is_blob_ref(value) else value for name, value in payload.items()}


def _relate(db: Tables, event: StoredEvent, node: str, people: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Note whom the record names, in place of those whom it named before."""
    db.execute("DELETE FROM edges WHERE source_key = ?", (node,))
    history(db, event, node)
    for relation, mentions in people.items():
        for each in mentions:
            if address := each.get("email"):
                person = f"contact:{contact_key(address)}"
                see_node(db, event, person, "contact", each.get("name") or address)
                link(db, event, node, relation, person)
                history(db, event, person)


def _shown(people: Iterable[Mapping[str, Any]]) -> str:
    """The first of them, as a mail program would show it."""
    first = next(iter(people), {})
    name, email = first.get("name"), first.get("email")
    return f"{name} <{email}>" if name and email else str(name or email or "")


def _words(people: Iterable[Mapping[str, Any]]) -> str:
    return " ".join(word for each in people for word in (each.get("name"), each.get("email")) if word)


PROJECTIONS: dict[str, Callable[[Tables, StoredEvent, LoadBlob], None]] = {
    "message.imported": _message,
    "message.removed": _message_removed,
    "appointment.imported": _appointment,
    "appointment.removed": _appointment_removed,
    "commit.imported": _commit,
    "commit.removed": _commit_removed,
    "command.imported": _command,
}
