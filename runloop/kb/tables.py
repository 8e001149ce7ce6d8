"""The write connection of derived tables, with what gathers there over a batch of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from runloop.kb.database import connect

if TYPE_CHECKING:
    from pathlib import Path


class Tables(apsw.Connection):
    """The write connection of derived tables. What no projection reads gathers here over a batch, and is written together, in order.

    A million events are a million rows of each of the first two, and as many changes of a few rows of the third.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.history: list[tuple[str, int]] = []
        """Rows of ``entity_history``; some may be there already."""
        self.records: list[tuple[str, int, int]] = []
        """Rows of ``run_events``; one that is there already is an error."""
        self.runs: dict[str, tuple[int, int, object]] = {}
        """``last_seq`` and ``source_event`` of runs that have a row, and what their records say of what they are."""

    def begin(self) -> None:
        """Make the place where words gather; once, before the first batch."""
        self.execute("CREATE TEMP TABLE unwritten(id INTEGER PRIMARY KEY, title TEXT, body TEXT, domain TEXT)")

    def write(self) -> None:
        """Write what was gathered; before anything reads those tables, and before the transaction ends."""
        self.executemany("INSERT INTO run_events VALUES(?, ?, ?)", sorted(self.records))
        self.executemany("INSERT OR IGNORE INTO entity_history VALUES(?, ?)", sorted(self.history))
        rows = [(seq, event_id, run_id) for run_id, (seq, event_id, _) in sorted(self.runs.items())]
        self.executemany("UPDATE runs SET last_seq = max(last_seq, ?), source_event = ? WHERE run_id = ?", rows)
        self.drop()

    def drop(self) -> None:
        """Let go of what was gathered but words: it is written, or what it came from was undone."""
        self.history.clear()
        self.records.clear()
        self.runs.clear()

    def write_words(self) -> None:
        """Write the texts that were gathered into the search index; before the transaction ends. One that changed twice is written once."""
        self.execute("INSERT INTO search(rowid, title, body, domain) SELECT id, title, body, domain FROM temp.unwritten ORDER BY id")
        self.execute("DELETE FROM temp.unwritten")


def open_tables(path: Path, **options: Any) -> Tables:
    """As :func:`runloop.kb.database.connect`."""
    db = connect(path, of=Tables, **options)
    assert isinstance(db, Tables)  # noqa: S101 - as asked for
    return db
