"""What an event rests on: the events that its payload names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger

MAX_CHAIN = 1000  # events in one explanation


def named_by(payload: Mapping[str, Any]) -> list[int]:
    """The ids of events that a payload names as its evidence, citations, artifact or sources."""
    meta = payload.get("meta")
    body = meta if isinstance(meta, dict) else payload
    named = [*(body.get("evidence") or ()), *(body.get("citations") or ()), body.get("artifact_id")]
    named += [source.get("event_id") for source in body.get("sources") or () if isinstance(source, dict)]
    return [event_id for event_id in named if isinstance(event_id, int) and not isinstance(event_id, bool)]


def chain(ledger: Ledger, event_id: int) -> list[StoredEvent]:
    """The event and everything it rests on, directly or through others, oldest first; empty when there is no such event."""
    found: dict[int, StoredEvent] = {}
    open_ids = [event_id]
    while open_ids and len(found) < MAX_CHAIN:
        current = open_ids.pop()
        event = None if current in found else ledger.get(current)
        if event is not None:
            found[current] = event
            stated = str(event.provenance.get("evidence", ""))
            open_ids += [*named_by(event.payload), *(int(number) for number in stated.split(",") if number.isdigit())]
    return [found[number] for number in sorted(found)]
