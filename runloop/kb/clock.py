"""When events were recorded: the table ``clock``, and the state of the ledger at a time.

Clocks are set back, and a run's records may wait while others are written, so times in a ledger can go back a little. What was known at
a time is therefore defined by the order of events, which never changes: the longest beginning of the ledger in which no event is later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger

BLOCK = 512  # events in a row of the table


def note_times(db: apsw.Connection, events: Sequence[StoredEvent]) -> None:
    """Note of each block of events the latest time in it."""
    latest: dict[int, int] = {}
    for event in events:
        block = event.id // BLOCK
        latest[block] = max(event.ts_ms, latest.get(block, event.ts_ms))
    for block, ts_ms in latest.items():
        db.execute(
            "INSERT INTO clock VALUES(?, ?) ON CONFLICT(block) DO UPDATE SET latest_ms = max(latest_ms, excluded.latest_ms)", (block, ts_ms)
        )


def last_until(db: apsw.Connection, ledger: Ledger, ts_ms: int) -> int:
    """The last event before the first one that is later than ``ts_ms`` (Unix milliseconds): the state at that time; 0 is none."""
    block = db.execute("SELECT min(block) FROM clock WHERE latest_ms > ?", (ts_ms,)).get
    if block is None:
        return int(db.execute("SELECT watermark FROM state").get)
    last = int(block) * BLOCK - 1
    with ledger.reading() as events:
        later = events.execute("SELECT min(id) FROM events WHERE id > ? AND id <= ? AND ts_ms > ?", (last, last + BLOCK, ts_ms)).get
        before = events.execute("SELECT max(id) FROM events WHERE id < ?", (last + BLOCK if later is None else later,)).get
    return 0 if before is None else int(before)
