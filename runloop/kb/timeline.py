"""`rlp kb timeline`: what happened, to one entity or in the whole base, an entry for each event."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.events import is_erased, is_run_record, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger

DEFAULT_LIMIT = 200
_BATCH = 500
_DETAIL = (  # what only a look at its run needs
    *(
        "run.started",
        "run.waiting",
        "run.resumed",
        "run.clock_set",
        "node.ready",
        "node.started",
        "node.evicted",
        "node.rebuilt",
        "node.log",
        "node.finished",
    ),
    *("effect.requested", "effect.completed", "effect.failed", "approval.requested"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as a line: ``what`` happened, ``who`` did it, and the ``source`` that it was read from or the run it is of."""

    event_id: int
    ts_ms: int
    kind: str
    who: str
    what: str
    source: str | None = None

    def masked(self, mask: Callable[[str], str]) -> Entry:
        """With its texts as they may leave."""
        source = None if self.source is None else mask(self.source)
        return replace(self, who=mask(self.who), what=mask(self.what), source=source)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Span:
    """Which entries: ``since_ms <= time < until_ms``, not after event ``last``, the newest ``limit``; ``detail``: all records of runs."""

    since_ms: int | None = None
    until_ms: int | None = None
    last: int | None = None
    limit: int = DEFAULT_LIMIT
    detail: bool = False

    def has(self, event: StoredEvent) -> bool:
        """Whether the event's own time is within."""
        return (self.since_ms is None or event.ts_ms >= self.since_ms) and (self.until_ms is None or event.ts_ms < self.until_ms)


def timeline(ledger: Ledger, db: apsw.Connection, key: str | None, span: Span) -> tuple[list[Entry], bool]:
    """The entries of an entity, or of everything, in the order of the ledger; and whether there are older ones."""
    events = _everything(ledger, span) if key is None else _of_entity(ledger, db, key, span)
    found: list[Entry] = []
    for event in events:
        if span.has(event):
            if len(found) == span.limit:
                return found[::-1], True
            found.append(_entry(event))
    return found[::-1], False


def _of_entity(ledger: Ledger, db: apsw.Connection, key: str, span: Span) -> Iterator[StoredEvent]:
    """Newest first."""
    sql = "SELECT event_id FROM entity_history WHERE entity_key = ? AND event_id <= ? ORDER BY event_id DESC"
    detail = span.detail or key.startswith(("node:", "approval:"))
    for (event_id,) in db.execute(sql, (key, _last(span))).fetchall():
        event = ledger.get(int(event_id))  # type: ignore[arg-type] # the column is an integer
        if event is not None and (detail or event.kind not in _DETAIL):
            yield event


def _everything(ledger: Ledger, span: Span) -> Iterator[StoredEvent]:
    left_out = () if span.detail else _DETAIL
    before = _last(span) + 1
    while events := ledger.read_back(before, _BATCH, without=left_out):
        yield from events
        before = events[-1].id


def _last(span: Span) -> int:
    return 2**62 if span.last is None else span.last


def _entry(event: StoredEvent) -> Entry:
    if is_erased(event.payload):
        return Entry(event.id, event.ts_ms, event.kind, event.actor, "its content was erased")
    try:
        return _record(event) if is_run_record(event) else _other(event, _SAY.get(event.kind, _plain))
    except (KeyError, TypeError, AttributeError):  # it was set aside by the projections, too
        return _other(event, _plain)


def _other(event: StoredEvent, say: Callable[[Mapping[str, Any]], str]) -> Entry:
    data = readable(event).payload
    source = data.get("path") or data.get("repository") or data.get("source")
    place = None if source is None else f"{source}:{data['line']}" if data.get("line") is not None else str(source)
    return Entry(event.id, event.ts_ms, event.kind, event.actor, say(data) or event.kind, place)


def _record(event: StoredEvent) -> Entry:
    payload = event.payload
    meta = payload["meta"]
    by = meta.get("by") or {}
    agent = (meta.get("agent") or {}).get("name") or event.provenance.get("agent_id")
    who = by.get("role") or (str(agent) if agent else event.actor)
    run = f"run:{payload['run_id'][:8]}" + (f"#{meta['node']}" if meta.get("node") is not None else "")
    name = payload["opening_name"]
    what = f"{name}: {payload['message']}" if event.kind.startswith("run.") and name not in payload["message"] else payload["message"]
    return Entry(event.id, event.ts_ms, event.kind, who, what, run)


def _plain(data: Mapping[str, Any]) -> str:
    for name in ("summary", "title", "subject", "message", "command", "name", "path", "source", "reason"):
        if isinstance(data.get(name), str) and data[name]:
            return str(data[name]).partition("\n")[0]
    return ""


def _mail(data: Mapping[str, Any]) -> str:
    done = {"sent": "sent", "outbox": "put into the outbox"}.get(data.get("status") or "", "put out")
    return f"mail {data['subject']!r} to {', '.join([*data['to'], *(data.get('cc') or ())])} {done}"


def _imported(data: Mapping[str, Any]) -> str:
    return f"import of {data['what']}: {data['taken']} new, {data['known']} known, {data['refused']} refused"


_SAY: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "contact.upserted": lambda data: f"contact {data['name']} <{data['email']}> noted",
    "account.upserted": lambda data: f"account {data['handle']} at {data['service']} noted",
    "note.imported": lambda data: f"read lines {data['line']} to {data['end_line']}: {data.get('title') or 'without a title'}",
    "note.removed": lambda data: f"forgotten: the file is {data['reason']}",
    "artifact.created": lambda data: f"{data['kind']} made: {data.get('summary') or data['path']}",
    "email.sent": _mail,
    "cap.audit": lambda data: f"{data['decision']} {data['agent']} {data['cap']} {data['op']} {data['target']}",
    "import.finished": _imported,
    "fact.remembered": lambda data: f"fact remembered: {data['subject']} {data['predicate']}",
    "fact.superseded": lambda data: f"fact {data['fact']} got a new value",
    "fact.forgotten": lambda data: f"fact {data['fact']} forgotten",
    "message.imported": lambda data: f"mail {data['subject']!r} read" + (f", sent {data['date']}" if data.get("date") else ""),
    "message.removed": lambda data: f"a message forgotten: it is gone from {data['mailbox']}",
    "appointment.imported": lambda data: f"appointment {data['summary']!r} read",
    "appointment.removed": lambda data: f"an appointment forgotten: it is gone from {data['path']}",
    "commit.imported": lambda data: f"commit {data['commit'][:12]} read: {data['subject']}",
    "commit.removed": lambda data: f"commit {data['commit'][:12]} forgotten: it is gone from {data['repository']}",
    "command.imported": lambda data: f"command line of {data['shell']} read",
    "runs.archived": lambda data: f"{data['events']} records of runs archived in {data['archive']}",
    "runs.restored": lambda data: f"{data['events']} records of runs taken back from {data['archive']}",
    "events.erased": lambda data: f"content of {len(data['events'])} events erased",
    "files.putting_back": lambda data: f"{len(data['files'])} writings of run {data['run'][:8]} are to be put back",
    "files.put_back": lambda data: f"files of run {data['run'][:8]} put back: {', '.join(each['path'] for each in data['files'])}",
    "replay.reported": lambda data: f"run {data['run'][:8]} replayed: {'as recorded' if data['matches'] else 'it diverged'}",
    "archive.imported": lambda data: f"archive with {len(data['runs'])} runs imported",
    "privileged.read": lambda data: f"read without masks by {data['what']}: {data['subject']} ({data['reason']})",
}
