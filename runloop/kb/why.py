"""`rlp why`: from an entity back to the events, runs, nodes, agents, calls, approvals and texts that it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.events import is_erased, is_run_record, readable
from runloop.kb import why_domain, why_runs
from runloop.kb.evidence import stated
from runloop.kb.limits import MAX_DEPTH, MAX_STEPS
from runloop.kb.provenance import Explanation, Link, Step, walk
from runloop.kb.stories import RunStory, story_of

if TYPE_CHECKING:
    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger
    from runloop.kb.stories import Telling

_KEYED = frozenset({"contact", "account", "artifact", "message", "appointment", "commit", "command"})
_FAR = 20_000  # events that an import may take before it ends, for its records to name it
_IMPORTS = """SELECT id, json_extract(payload_json, '$.what'), json_extract(payload_json, '$.source') FROM events
    WHERE id > ? AND id <= ? AND kind = 'import.finished' ORDER BY id"""
_KEPT_STORIES = 32  # runs whose records are folded and at hand


def explain(
    key: str, ledger: Ledger, db: apsw.Connection, telling: Telling, *, max_steps: int = MAX_STEPS, max_depth: int = MAX_DEPTH
) -> Explanation:
    """What the step with this key rests on; ``db`` are the derived tables. Nothing in it is masked."""
    teller = Teller(ledger, db, telling)
    return walk(teller.canonical(key), teller.step, max_steps=max_steps, max_depth=max_depth)


class Teller:
    """Makes steps out of the ledger, the derived tables and the stories of runs."""

    def __init__(self, ledger: Ledger, db: apsw.Connection, telling: Telling) -> None:
        self.ledger, self.db, self._telling = ledger, db, telling
        self._stories: dict[str, RunStory] = {}
        self._imports: dict[int, list[tuple[int, str, str]]] = {}
        self._archived: dict[int, StoredEvent] = {}

    def canonical(self, key: str) -> str:
        """The key under which a step is known: contacts and artifacts are the event that says them, records of a run its parts."""
        sort, _, rest = key.partition(":")
        if sort in _KEYED:
            return self._source(f"SELECT source_event FROM {sort}s WHERE {sort}_key = ?", rest) or key  # noqa: S608 - our own names
        if sort in {"mail", "fact"}:
            return f"event:{rest}"
        if sort == "note" and "#" in rest:
            path, _, part = rest.rpartition("#")
            return self._source("SELECT source_event FROM notes WHERE path = ? AND part = ?", path, part) or key
        event = self.event(int(rest)) if sort == "event" and rest.isdigit() else None
        return key if event is None or not is_run_record(event) else why_runs.key_of(self, event)

    def step(self, key: str, whole: bool) -> Step:
        """The step of a canonical key; of a run that did more than it is asked for here, only itself unless ``whole``."""
        sort, _, rest = key.partition(":")
        if sort == "run":
            return why_runs.run_step(self, rest, whole=whole)
        if sort == "node":
            run_id, _, node = rest.partition("#")
            return why_runs.node_step(self, run_id, node)
        if sort == "note":
            return why_domain.file_step(self, rest)
        event = self.event(int(rest)) if rest.isdigit() else None
        if event is None:
            pruned = rest.isdigit() and self.ledger.was_pruned(int(rest))
            return Step(key, "event", key, gone="it was archived with its run" if pruned else "it is not in the ledger, and never was")
        return self._event_step(readable(event))

    def story(self, run_id: str) -> RunStory:
        """The run as its records tell it."""
        found = self._stories.get(run_id)
        if found is None:
            if len(self._stories) >= _KEPT_STORIES:
                del self._stories[next(iter(self._stories))]
            found = self._stories[run_id] = story_of(run_id, self._telling)
            if found.archive is not None:
                self._archived |= {event.id: event for event in found.steps()}
        return found

    def event(self, event_id: int) -> StoredEvent | None:
        """The event of the ledger, or of the archived runs that were told so far."""
        return self.ledger.get(event_id) or self._archived.get(event_id)

    def imports_after(self, event_id: int) -> list[tuple[int, str, str]]:
        """The next imports that ended after an event, not too far from it: event, what, source."""
        block = event_id // _FAR
        if block not in self._imports:
            with self.ledger.reading() as db:
                rows: list[Any] = db.execute(_IMPORTS, (block * _FAR, (block + 2) * _FAR)).fetchall()
            self._imports[block] = [(int(number), str(what), str(source)) for number, what, source in rows]
        return [each for each in self._imports[block] if event_id < each[0] <= event_id + _FAR]

    def links(self, relation: str, ids: list[int], note: str | None = None) -> list[Link]:
        """Links to events, by their canonical keys."""
        return [Link(relation, self.canonical(f"event:{number}"), note) for number in ids]

    def _event_step(self, event: StoredEvent) -> Step:
        if is_erased(event.payload):
            title = f"event {event.id}, {event.kind}"
            return Step(f"event:{event.id}", "event", title, event.id, event.ts_ms, event.actor, gone="its content was erased")
        try:
            step = why_runs.record_step(self, event) if is_run_record(event) else why_domain.step(self, event)
        except (KeyError, TypeError, AttributeError):  # it was set aside by the projections, too
            step = None
        return step if step is not None else self._plain(event)

    def _plain(self, event: StoredEvent) -> Step:
        title = _title(event)
        return Step(
            *(f"event:{event.id}", event.kind, title, event.id, event.ts_ms, event.actor),
            links=tuple(self.links("rests on", stated(event))),
        )

    def _source(self, sql: str, *values: Any) -> str | None:
        row = self.db.execute(sql, values).fetchone()
        return None if row is None else f"event:{row[0]}"


def _title(event: StoredEvent) -> str:
    for name in ("title", "subject", "summary", "message", "name", "path", "source"):
        value = event.payload.get(name)
        if isinstance(value, str) and value:
            return value
    return event.kind
