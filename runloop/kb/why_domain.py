"""Steps of what lies outside runs: people, notes, messages, facts, files, and what an agent proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.kb.derived import contact_key
from runloop.kb.evidence import names_in, stated
from runloop.kb.provenance import Link, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.events import StoredEvent
    from runloop.kb.why import Teller

_MOST_PARTS = 50


def step(teller: Teller, event: StoredEvent) -> Step | None:
    """The step of an event that is no record of a run; None for a kind without anything special to say."""
    make = _STEPS.get(event.kind)
    if make is None and event.kind.startswith("fact."):
        make = _fact
    if make is None:
        return None
    kind, title, facts, links = make(teller, event)
    made = _maker(teller, event)
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
    facts = {"org": data.get("org"), "trust": data.get("trust"), "source": data.get("source"), "line": data.get("line"), "key": key}
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


def _message(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    return (
        "message",
        data.get("subject") or "(no subject)",
        _where(data) | {"from": data.get("from"), "message_id": data.get("message_id")},
        [],
    )


def _dated(_teller: Teller, event: StoredEvent) -> _Parts:
    data = event.payload
    title = next(
        (str(data[name]).partition("\n")[0] for name in ("summary", "subject", "message", "command", "title") if data.get(name)), ""
    )
    return event.kind.partition(".")[0], title or event.kind, _where(data), []


def _fact(teller: Teller, event: StoredEvent) -> _Parts:
    data = teller.ledger.full(event).payload if _whole(teller, event) else event.payload
    said = " ".join(str(data[name]) for name in ("subject", "predicate", "value") if isinstance(data.get(name), (str, int, float)))
    named = [Link("rests on", teller.canonical(f"event:{each.event_id}"), _line(each.path, each.line)) for each in names_in(dict(data))]
    return "fact", said or event.kind, {}, named


def _whole(teller: Teller, event: StoredEvent) -> bool:
    from runloop.errors import RunloopError

    try:
        teller.ledger.full(event)
    except RunloopError:
        return False
    return True


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


def _where(data: Mapping[str, Any]) -> dict[str, Any]:
    """File and line that an import read it from, and when it says it happened."""
    return {name: data.get(name) for name in ("path", "line", "source", "repository", "commit", "sent_ms", "start_ms", "ts_ms")}


def _line(path: str | None, line: int | None) -> str | None:
    return None if line is None else f"line {line}" if path is None else f"{path}:{line}"


_STEPS: dict[str, Callable[[Teller, StoredEvent], _Parts]] = {
    "contact.upserted": _contact,
    "note.imported": _note,
    "email.sent": _mail,
    "artifact.created": _artifact,
    "message.imported": _message,
    "appointment.imported": _dated,
    "commit.imported": _dated,
    "command.imported": _dated,
}
