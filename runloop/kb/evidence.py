"""What an event rests on: the events that its payload names, wherever in it they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runloop.events import readable
from runloop.events.ids import parse_event_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runloop.events import StoredEvent
    from runloop.kb.base import KnowledgeBase
    from runloop.kb.ledger import Ledger

MAX_CHAIN = 1000  # events in one explanation
MAX_NAMED = 1000  # events that one value may name
_LARGEST = 2**63


class Named(NamedTuple):
    """An event that a value names, and the place in its text."""

    event_id: int
    path: str | None = None
    line: int | None = None


def named_by(payload: Mapping[str, Any]) -> list[int]:
    """The ids of events that a payload names as its evidence, citations, artifact or sources."""
    meta = payload.get("meta")
    body = meta if isinstance(meta, dict) else payload
    named = [*_list(body.get("evidence")), *_list(body.get("citations")), body.get("artifact_id")]
    named += [source.get("event_id") for source in _list(body.get("sources")) if isinstance(source, dict)]
    return [event_id for event_id in named if _is_id(event_id)]


def names_in(value: Any) -> tuple[Named, ...]:
    """The events that a JSON value names in ``event_id`` or ``evidence``, each place once; other numbers may count anything."""
    found: dict[Named, None] = {}
    for each in _names(value):
        found[each] = None
        if len(found) >= MAX_NAMED:
            break
    return tuple(found)


def stated(event: StoredEvent) -> list[int]:
    """The events that an event's payload and provenance name."""
    said = str(event.provenance.get("evidence", ""))
    return list(dict.fromkeys([*named_by(event.payload), *(int(number) for number in said.split(",") if number.isdigit())]))


def chain(ledger: Ledger, event_id: int) -> list[StoredEvent]:
    """The event and everything it rests on, directly or through others, oldest first; empty when there is no such event."""
    found: dict[int, StoredEvent] = {}
    open_ids = [event_id]
    while open_ids and len(found) < MAX_CHAIN:
        current = open_ids.pop()
        event = None if current in found else ledger.get(current)
        if event is not None:
            found[current] = event
            open_ids += stated(event)
    return [found[number] for number in sorted(found)]


def _names(value: Any) -> Iterator[Named]:
    """Without recursion: a value may be nested as deep as JSON allows."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, list):
            waiting.extend(reversed(here))
        elif isinstance(here, dict):
            for name in ("event_id", "last_event_id"):
                if _is_id(here.get(name)):
                    yield Named(here[name], _text(here.get("path")), _line(here.get("line")))
            listed = here.get("evidence")
            yield from (Named(each) for each in (listed if isinstance(listed, list) else ()) if _is_id(each))
            waiting.extend(reversed([each for each in here.values() if isinstance(each, (dict, list))]))


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _line(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def of_entity(kb: KnowledgeBase, key: str) -> list[StoredEvent]:
    """The events that touched an entity, oldest first; of ``event:N`` the event and, before it, what it rests on."""
    if key.startswith("event:"):
        return chain(kb.ledger, parse_event_id(key))
    candidates = [key] if ":" in key else [key, *(f"{prefix}:{key}" for prefix in ("contact", "artifact", "run", "note"))]
    marks = ", ".join("?" * len(candidates))
    sql = f"SELECT DISTINCT event_id FROM entity_history WHERE entity_key IN ({marks}) ORDER BY event_id"  # noqa: S608
    with kb.reading() as db:
        ids = [int(row[0]) for row in db.execute(sql, candidates).fetchall()]  # type: ignore[arg-type] # the column is an integer
    return [readable(event) for event_id in ids if (event := kb.ledger.get(event_id)) is not None]
