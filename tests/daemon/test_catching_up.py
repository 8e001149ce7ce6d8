"""The derived tables are brought up to the ledger in steps, and each is told of."""

import pytest

from runloop.daemon.catching_up import catch_up
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase


@pytest.fixture
def behind(tmp_path):
    """A knowledge base of which the tables have seen nothing of seven events."""
    with KnowledgeBase.open(tmp_path) as kb:
        for number in range(7):
            kb.ledger.append([NewEvent("contact.upserted", {"name": f"N{number}", "email": f"n{number}@x.example"}, "user", "user")])
        yield kb


@pytest.mark.parametrize(("step", "told"), [(3, [(3, 7), (6, 7)]), (7, []), (100, [])])
def test_each_step_but_the_last_is_told_of_and_then_nothing_is_missing(behind, step, told):
    heard = []
    catch_up(behind, lambda *said: heard.append(said), step)
    assert (heard, behind.sync().applied, len(behind.search("N6", ["contacts"]))) == (told, 0, 1)


def test_tables_that_cannot_follow_are_left_where_they_are(behind, monkeypatch):
    heard = []
    behind.sync(2)
    at = behind.sync(0)
    monkeypatch.setattr(type(behind), "sync", lambda _self, _most: at)
    catch_up(behind, lambda *said: heard.append(said), 2)
    assert heard == [(2, 7)]


def test_the_log_of_the_daemon_takes_it(capsys):
    from runloop.daemon.app import _catching_up

    _catching_up(3, 7)
    said = "".join(capsys.readouterr())
    assert ("at=3" in said or '"at": 3' in said, "derived tables" in said) == (True, True)
