"""The derived tables are brought up to the ledger, and who waits hears how far that is."""

from types import SimpleNamespace

import pytest

from runloop.daemon import catching_up
from runloop.daemon.app import Daemon
from runloop.daemon.catching_up import catch_up
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase, materialise, rebuilding


@pytest.fixture
def behind(tmp_path, monkeypatch):
    """A knowledge base of which the tables have seen nothing of seven events; two of them are a batch."""
    monkeypatch.setattr(rebuilding, "BATCH", 2)
    monkeypatch.setattr(materialise, "BATCH", 2)
    with KnowledgeBase.open(tmp_path) as kb:
        for number in range(7):
            kb.ledger.append([NewEvent("contact.upserted", {"name": f"N{number}", "email": f"n{number}@x.example"}, "user", "user")])
        yield kb


def heard(kb, parts, monkeypatch):
    told, said = [], []
    monkeypatch.setattr(catching_up, "PARTS", parts)
    catch_up(kb, lambda *far: told.append(far), lambda *far: said.append(far))
    return told, said


@pytest.mark.parametrize("far", [1, 100])
@pytest.mark.parametrize(("parts", "said"), [(1, [(2, 7)]), (2, [(2, 7), (4, 7)]), (7, [(2, 7), (4, 7), (6, 7)])])
def test_each_batch_but_the_last_is_told_of_and_each_part_said_and_then_nothing_is_missing(behind, far, parts, said, monkeypatch):
    monkeypatch.setattr(rebuilding, "FAR", far)
    told = [(2, 7), (4, 7), (6, 7)]
    assert (heard(behind, parts, monkeypatch), behind.sync().applied) == ((told, said), 0)
    assert len(behind.search("N6", ["contacts"])) == 1


def test_systemd_and_the_log_hear_it(capsys):
    states = []
    notifier = SimpleNamespace(doing="starting", more_time=lambda *said: states.append(said))
    Daemon._catching_up(SimpleNamespace(_notifier=notifier), 3, 7)
    said = "".join(capsys.readouterr())
    assert ("at=3" in said or '"at": 3' in said, "derived tables" in said) == (True, True)
    assert (states, notifier.doing) == (
        [(120.0, "STATUS=bringing the derived tables up to the ledger: 42 %")],
        "bringing the derived tables up to the ledger: 42 %",
    )
