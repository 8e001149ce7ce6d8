"""Derived files that another version of Runloop made: opening them makes the tables anew, whatever they hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runloop.kb import KnowledgeBase, views
from runloop.kb.keeping.migrating import migrate_ledger

DATA = Path(__file__).parents[1] / "data"
MADE = sorted((DATA / "derived").glob("v*.sqlite"))
"""`pog.sqlite` as those versions made it from `ledgers/v2.sqlite`."""


def contents(root):
    with KnowledgeBase.open(root) as kb, kb.reading() as db:
        tables = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in (*views.table_names(), *views.view_names())}
        left = db.execute("SELECT type, name FROM sqlite_schema ORDER BY type, name").fetchall()
        return tables, left, [hit.key for hit in kb.search("launch ada")]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "pog"
    root.mkdir()
    shutil.copy(DATA / "ledgers" / "v2.sqlite", root / "events.sqlite")
    migrate_ledger(root / "events.sqlite", tmp_path / "backup", {})
    return root


@pytest.mark.parametrize("old", MADE, ids=[path.stem for path in MADE])
def test_a_file_of_an_older_version_becomes_what_this_one_makes(root, old):
    fresh = contents(root)
    (root / "pog.sqlite").unlink()
    shutil.copy(old, root / "pog.sqlite")
    assert contents(root) == fresh


def test_a_file_of_a_later_version_with_tables_that_nobody_knows_is_made_anew(root, behind):
    fresh = contents(root)
    for sql in (
        "DROP VIEW embeddings",
        "CREATE TABLE embeddings(a)",
        "DROP TABLE notes",
        "CREATE VIEW notes AS SELECT 1 AS path",
        'CREATE TABLE "odd "" name"(a)',
        "ALTER TABLE state ADD COLUMN more TEXT",
        "ANALYZE",
        "UPDATE state SET version = version + 1",
    ):
        behind(root / "pog.sqlite", sql)
    tables, left, found = contents(root)
    assert (tables, found) == (fresh[0], fresh[2])
    assert [each for each in left if not each[1].startswith("sqlite_stat")] == fresh[1]
