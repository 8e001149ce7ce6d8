from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from runloop.kb import KnowledgeBase

sys.path.insert(0, str(Path(__file__).parents[1]))  # the random histories of tests/kb serve here, too


@dataclass(frozen=True)
class Home:
    """The places that backups and restores are told of."""

    root: Path

    @property
    def ledger(self):
        return self.root / "pog" / "events.sqlite"

    @property
    def derived(self):
        return [self.root / "pog" / "pog.sqlite"]

    @property
    def beside(self):
        return {"kept": self.root / "pog" / "kept", "artifacts": self.root / "artifacts"}

    @property
    def backups(self):
        return self.root / "backups"

    def open(self):
        return KnowledgeBase.open(self.root / "pog")

    def rows(self, path=None):
        """Everything in a ledger file, table by table, but what writers keep for themselves."""
        import apsw

        db = apsw.Connection(str(path or self.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return {
                "events": db.execute("SELECT * FROM events ORDER BY id").fetchall(),
                "blobs": db.execute("SELECT * FROM blobs ORDER BY hash").fetchall(),
                "event_blobs": db.execute("SELECT * FROM event_blobs ORDER BY 1, 2").fetchall(),
                "head": db.execute("SELECT * FROM head").fetchall(),
                "meta": db.execute("SELECT * FROM meta WHERE key != 'run_numbers_at' ORDER BY key").fetchall(),
            }
        finally:
            db.close()

    def leftovers(self):
        """Names of unfinished work, wherever it may lie."""
        return [path for path in self.root.rglob(".*") if path.name.endswith(".part")]


@pytest.fixture
def home(tmp_path, contact, finished):
    """A base with six events, a blob, a kept agent and an artifact."""
    from msgspec import structs

    from runloop.events import INLINE_LIMIT

    made = Home(tmp_path / "home")
    with made.open() as kb:
        kb.ledger.append([contact(), contact("Bo", "bo@example.com", evidence=[1], key="k"), finished(1, {"out": ["x" * INLINE_LIMIT]})])
        kb.ledger.append([structs.replace(contact("C", "c@example.com"), blobs=(b"raw",)), contact("D"), contact("E")])
        kb.sync()
    for name in ("pog/kept/bundles/abc/agent.py", "artifacts/letter.txt"):
        path = made.root / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    return made
