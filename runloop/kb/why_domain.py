"""Steps of what lies outside runs: people, notes, messages, facts, files, and what an agent proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.kb.derived import contact_key
from runloop.kb.evidence import stated
from runloop.kb.provenance import Link, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.events import StoredEvent
    from runloop.kb.why import Teller

_MOST_PARTS = 50
_MOST_QUOTED = 120


def step(teller: Teller, event: StoredEvent) -> Step | None:
    """The step of an event that is no record of a run; None for a kind without anything special to say."""
    make = _STEPS.get(event.kind)
    if make is None:
        return None
    kind, title, facts, links = make(teller, event)
    made = [*_maker(teller, event), *_taken_by(teller, event)]
    rests = teller.links("rests on", [number for number in stated(event) if number != facts.get("effect_event")])
    return Step(f"event:{event.id}", kind, title, event.id, event.ts_ms, event.actor, facts, (*made, *links, *rests))


def file_step(teller: Teller, path: str) -> Step:
    """A file of notes: its passages as they are now."""
    rows: list[Any] = teller.db.execute(
        "SELECT source_event, line, end_line, file_hash FROM notes WHERE path = ? ORDER BY part", (path,)
    ).fetchall()
    facts = {"path": path, "passages": len(rows), "blake3": rows[0][3] if rows else None}
    links = tuple(Link("passage", f"event:{row[0]}", f"lines {row[1]} to {row[2]}") for row in rows[:_MOST_PARTS])
    return Step(
        f"note:{path}", "file", path, facts=facts, links=links, gone=None if rows else "it was forgotten: the file is empty or gone"
    )


_Parts = tuple[str, str, dict[str, Any], list[Link]]


def _contact(teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    key = f"contact:{contact_key(data['email'])}"
    earlier: list[Any] = teller.db.execute(
        "SELECT event_id FROM entity_history WHERE entity_key = ? AND event_id < ? ORDER BY event_id DESC", (key, event.id)
    ).fetchall()
    facts = {name: data.get(name) for name in ("org", "trust", "source", "path", "line")} | {"key": key}
    before = next((int(row[0]) for row in earlier if _is(teller, int(row[0]), "contact.upserted")), None)
    return "contact", f"{data['name']} <{data['email']}>", facts, [] if before is None else [Link("replaces", f"event:{before}")]


def _note(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    facts = {name: data.get(name) for name in ("path", "line", "end_line", "file_hash")}
    return "note", data.get("title") or data["path"].rpartition("/")[2], facts, []


def _mail(teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    run: Any = teller.db.execute(
        "SELECT target_key FROM edges WHERE source_key = ? AND relation = 'made_in'", (f"mail:{event.id}",)
    ).fetchone()
    if run is not None:
        teller.story(str(run[0]).removeprefix("run:"))  # where the run was archived, its events are known from now on
    asked = teller.event(data["artifact_id"])
    links: list[Link] = []
    if asked is not None and (meta := _meta(asked)).get("call") is not None:
        story = teller.story(asked.payload["run_id"])
        node = story.nodes.get(meta["node"])
        place = (meta["attempt"], meta["call"])
        approvals = () if node is None else node.approvals.values()
        links = [Link("decision", f"event:{each.asked.id}") for each in approvals if _place(each.meta) == place]
        links.insert(0, Link("made by", f"node:{story.run_id}#{meta['node']}"))
    recipients = [*data["to"], *(data.get("cc") or ())]
    for address in recipients:
        row: Any = teller.db.execute(
            "SELECT c.source_event FROM contact_emails e JOIN contacts c USING(contact_key) WHERE e.email = ?", (address.strip().lower(),)
        ).fetchone()
        links += [] if row is None else [Link("sent to", f"event:{row[0]}")]
    facts = {name: data.get(name) for name in ("status", "path", "message_id", "content_hash")}
    return "mail", data["subject"], {"to": recipients, **facts, "effect_event": data["artifact_id"]}, links


def _artifact(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    return "artifact", data.get("summary") or data["path"], {name: data.get(name) for name in ("path", "kind", "sha256")}, []


def _message(teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    sender = ", ".join(each.get("name") or each.get("email") or "" for each in data.get("sender") or ())
    facts = {name: data.get(name) for name in ("path", "line", "mailbox", "sent_ms", "message_id")}
    row: Any = teller.db.execute("SELECT source_event FROM messages WHERE message_id = ?", (data.get("in_reply_to"),)).fetchone()
    return (
        "message",
        data["subject"] or "(no subject)",
        facts | {"from": sender or None},
        [] if row is None else [Link("answers", f"event:{row[0]}")],
    )


def _appointment(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    facts = {name: data.get(name) for name in ("path", "line", "location", "status")}
    return "appointment", data["summary"] or "(no title)", facts | {"starts": (data.get("starts") or {}).get("at")}, []


def _commit(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    author = data["author"].get("name") or data["author"].get("email")
    facts = {"path": data["repository"], "commit": data["commit"], "authored_ms": data["authored_ms"], "from": author}
    return "commit", data["subject"] or data["commit"][:12], facts, []


def _command(teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    row: Any = teller.db.execute("SELECT text FROM commands WHERE command_key = ?", (data["command"],)).fetchone()
    facts = {name: data.get(name) for name in ("path", "line", "shell", "at_ms")}
    return "command line", "(no longer known)" if row is None else str(row[0]).partition("\n")[0], facts, []


def _fact(teller: Teller, event: StoredEvent) -> _Parts:
    """A fact, or the end of one; its value is that of the tables, where it is not when it was forgotten or erased."""
    data = event.payload
    ended = data.get("fact")
    number = ended if event.kind == "fact.forgotten" else event.id
    row: Any = teller.db.execute("SELECT subject, predicate, value, status FROM facts WHERE fact_id = ?", (number,)).fetchone()
    subject, predicate, value, status = row or (data.get("subject", ""), data.get("predicate", ""), "", None)
    said = f"{subject} {predicate} {value}"
    links = [] if ended is None else [Link("ends" if event.kind == "fact.forgotten" else "replaces", f"event:{ended}")]
    links += [Link("rests on", teller.canonical(f"event:{span['event_id']}"), _quoted(span)) for span in data.get("spans") or ()]
    facts = {"status": status, "stamp": (data.get("stamp") or {}).get("by"), "reason": data.get("reason")}
    return "fact", said.strip() or event.kind, facts, links


def _quoted(span: Mapping[str, Any]) -> str:
    line = f"line {span['line']}: " if span.get("line") is not None else ""
    quote = str(span["quote"])
    return line + repr(quote if len(quote) <= _MOST_QUOTED else quote[:_MOST_QUOTED] + "…")


def _taken_by(teller: Teller, event: StoredEvent) -> list[Link]:
    """The import that took the record: the first one to end after it that was about where the record stood."""
    what = _IMPORTS.get(event.kind)
    if what is None or event.provenance.get("trace_id"):
        return []
    for number, about, source in teller.imports_after(event.id):
        if about == what and _covers(source, event.payload):
            return [Link("read by", f"event:{number}")]
    return []


def _covers(source: str, data: Mapping[str, Any]) -> bool:
    """Whether a record that stood there is of the source (or of several): the same, something below it, or a name without its directory."""
    places = [str(data[name]) for name in ("mailbox", "repository", "path", "source") if data.get(name)]
    bases = {each.rstrip("/") for each in (source, *source.split(", "))}
    same = bases | {base.rpartition("/")[2] for base in bases}
    return not places or any(place in same or place.startswith(tuple(f"{base}/" for base in bases)) for place in places)


def _import(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    counts = {name: data.get(name) for name in ("taken", "known", "refused", "files")}
    return "import", f"of {data['what']} from {data['source']}", {"source": data["source"], **counts}, []


def _maker(teller: Teller, event: StoredEvent) -> list[Link]:
    """Who made it, for what an agent proposed: the node whose call it was."""
    trace = str(event.provenance.get("trace_id", ""))
    if not trace or event.kind == "email.sent":
        return []
    for (run_id,) in teller.db.execute("SELECT run_id FROM runs WHERE trace_id = ? ORDER BY first_event", (trace,)).fetchall():
        story = teller.story(str(run_id))
        for node in story.nodes.values():
            if any(call.made == event.id for call in node.calls.values()):
                return [Link("made by", f"node:{run_id}#{node.node}")]
    return []


def _is(teller: Teller, event_id: int, kind: str) -> bool:
    event = teller.ledger.get(event_id)
    return event is not None and event.kind == kind


def _meta(event: StoredEvent) -> Mapping[str, Any]:
    meta = event.payload.get("meta")
    return meta if isinstance(meta, dict) else {}


def _place(meta: Mapping[str, Any]) -> tuple[Any, Any]:
    return meta.get("attempt"), meta.get("call")


_IMPORTS = {
    "contact.upserted": "contacts",
    "note.imported": "notes",
    "message.imported": "mail",
    "appointment.imported": "calendar",
    "commit.imported": "git",
    "command.imported": "shell",
}
_STEPS: dict[str, Callable[[Teller, StoredEvent], _Parts]] = {
    "contact.upserted": _contact,
    "note.imported": _note,
    "email.sent": _mail,
    "artifact.created": _artifact,
    "message.imported": _message,
    "appointment.imported": _appointment,
    "commit.imported": _commit,
    "command.imported": _command,
    "import.finished": _import,
    "fact.remembered": _fact,
    "fact.superseded": _fact,
    "fact.forgotten": _fact,
}
