"""What a person sees of a ledger whose derived tables are far behind it."""

from runloop.cli import ledger
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase, materialise

READ = {"what": "notes", "source": "x", "taken": 0, "known": 0, "refused": 0}


def test_who_waits_for_tables_that_are_far_behind_sees_how_far_they_are(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(ledger, "_STEP", 4)
    monkeypatch.setattr(materialise, "BATCH", 2)
    monkeypatch.setattr(ledger.output, "write_over", lambda text="": shown.append(text))
    with KnowledgeBase.open(tmp_path) as kb:
        ledger.follow(kb)
        assert shown == []
        kb.ledger.append([NewEvent("import.finished", READ, "user")] * 12)
        ledger.follow(kb)
        assert shown == [f"bringing the tables up to the ledger: {at} of 12 events" for at in (2, 4, 6)] + [""]
        assert kb.sync().applied == 0
