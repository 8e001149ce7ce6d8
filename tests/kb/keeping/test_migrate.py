"""Every schema that was shipped becomes today's: with a backup, with its contents, by one way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runloop.kb import KnowledgeBase, Ledger
from runloop.kb.errors import KnowledgeInUse, NotALedger
from runloop.kb.keeping.backup import make_backup, read_backup
from runloop.kb.keeping.migrating import migrate_ledger, rehearse
from runloop.kb.keeping.restoring import restore
from runloop.kb.migrations import MIGRATIONS

SHIPPED = Path(__file__).parents[2] / "data" / "ledgers"
OLDER = range(1, len(MIGRATIONS))


@pytest.fixture(params=OLDER, ids=[f"schema {number}" for number in OLDER])
def old(request, home):
    """A home whose ledger is of an older schema; its number."""
    for path in [home.ledger, *home.derived]:
        path.unlink()
    shutil.copy(SHIPPED / f"v{request.param}.sqlite", home.ledger)
    return home, request.param


def test_every_shipped_schema_has_a_ledger_here():
    assert [path.name for path in sorted(SHIPPED.glob("*.sqlite"))][: len(OLDER)] == [f"v{number}.sqlite" for number in OLDER], (
        "make it with tests/data/ledgers/make.py before a step is added"
    )


def test_opening_an_older_ledger_says_what_to_do_and_changes_nothing(old):
    home, schema = old
    before = home.rows()
    with pytest.raises(NotALedger, match=f"schema {schema}") as caught:
        home.open()
    assert (caught.value.code, caught.value.exit_code) == ("ledger.older", 2)
    assert "rlp kb migrate" in caught.value.hint
    assert home.rows() == before
    assert rehearse(home.ledger).before == schema


def test_reading_alone_needs_no_migration(old):
    with Ledger.open(old[0].ledger, writable=False) as ledger:
        assert ledger.verify().ok
        assert ledger.head().id == 9


def test_migrating_keeps_every_row_and_a_backup_of_before(old, contact):
    home, schema = old
    before = home.rows()
    done = migrate_ledger(home.ledger, home.backups / "before", home.beside)
    assert (done.before, done.after, done.done) == (schema, len(MIGRATIONS), True)
    assert [name for name, _ in done.steps] == [step.__name__ for step in MIGRATIONS[schema:]]
    assert all(does for _, does in done.steps)
    assert home.rows() == before
    assert read_backup(done.backup)[0].schema == schema
    with home.open() as kb:
        assert kb.verify(views=True).ok
        assert [run["status"] for run in kb.runs()] == ["running", "succeeded"]
        assert kb.ledger.append([contact()])[0].id == 10
        with kb.ledger.reading() as db:
            steps = db.execute("SELECT version, name FROM migrations ORDER BY version").fetchall()
    assert steps == [(number, step.__name__) for number, step in enumerate(MIGRATIONS, 1)]


def test_a_rehearsal_changes_nothing(old):
    home, schema = old
    before = home.ledger.read_bytes()
    done = rehearse(home.ledger)
    assert (done.before, done.after, done.done, done.backup) == (schema, len(MIGRATIONS), False, None)
    assert home.ledger.read_bytes() == before
    assert home.leftovers() == []


def test_a_backup_of_an_older_schema_is_restored_as_todays(old):
    home, schema = old
    made = make_backup(home.ledger, home.backups / "old", {})
    home.ledger.unlink()
    restore(made.path, home.ledger, home.derived, {}, home.backups / "aside")
    with home.open() as kb:
        assert kb.verify(views=True).ok
    assert read_backup(made.path)[0].schema == schema


def test_a_step_that_fails_leaves_the_ledger_as_it_was(old, monkeypatch):
    from runloop.kb import migrations

    home, schema = old
    before = home.rows()

    def broken(db):
        db.execute("DELETE FROM events")
        raise RuntimeError("no")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS[:-1], broken))
    with pytest.raises(RuntimeError):
        migrate_ledger(home.ledger, home.backups / "before", {})
    assert home.rows() == before
    assert read_backup(home.backups / "before")[0].schema == schema


def test_there_is_nothing_to_do_for_todays_schema(home):
    for done in (migrate_ledger(home.ledger, home.backups / "b", {}), rehearse(home.ledger)):
        assert (done.steps, done.backup) == ((), None)
    assert not home.backups.exists()


def test_nobody_else_may_have_the_base_open(home):
    with KnowledgeBase.open(home.root / "pog"), pytest.raises(KnowledgeInUse):
        migrate_ledger(home.ledger, home.backups / "b", {})
