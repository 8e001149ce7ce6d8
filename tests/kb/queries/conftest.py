from __future__ import annotations

import json

import apsw
import pytest

from runloop.events import NewEvent
from runloop.kb import KnowledgeBase
from runloop.kb.queries.statement import answer
from runloop.kb.queries.tables import HIDDEN, is_plain

ADDRESS = "adalovelace@example.com"
PHONE = "+49 170 1234567"
CARD = "4111 1111 1111 1111"
KEY = "sk-proj-abcdefghij0123456789ABCD"
SECRETS = ("adalovelace", "170 1234567", "1701234567", "1111 1111", "411111111111", "abcdefghij0123456789", "hunter2")
TEXT = f"Ask {ADDRESS} or {PHONE}, card {CARD}, {KEY}, https://x.example/?token=hunter2, password=hunter2"
VALUES = {"email": ADDRESS, "emails": f'["{ADDRESS}"]', "payload_json": json.dumps({"to": [ADDRESS], "text": TEXT})}


@pytest.fixture(scope="module")
def laden(tmp_path_factory):
    """A base with what is to be masked in every table and column that may hold a text, whatever a projection would put there."""
    with KnowledgeBase.open(tmp_path_factory.mktemp("pog"), salt="test") as kb:
        _load(kb)
        yield kb


def _load(kb):
    note = {"path": "/n.md", "line": 1, "end_line": 1, "text": TEXT, "file_hash": "a" * 64, "part": 0, "parts": 1}
    person = {"name": TEXT, "email": ADDRESS, "nicknames": [TEXT]}
    kb.ledger.append([NewEvent("contact.upserted", person, "user"), NewEvent("note.imported", note, f"user {ADDRESS}")])
    kb.ledger.append([NewEvent("contact.upserted", {"name": 5, "why": TEXT}, "user")], check=False)
    kb.sync()
    db = apsw.Connection(str(kb._views.path))
    for name, kind in tables(db):
        if name == "state" or name.startswith("search") or kind != "table":
            continue
        columns = db.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
        values = [
            "ab" * 32 if is_plain(name, column)
            else VALUES.get(str(column), TEXT if not pk else f"{number} {TEXT}") if declared in {"TEXT", "ANY"}
            else TEXT.encode() if declared == "BLOB" else 77
            for number, (column, declared, pk) in enumerate(columns)
        ]  # fmt: skip
        db.execute(f"INSERT OR REPLACE INTO {name} VALUES({', '.join('?' * len(values))})", values)
    db.close()


def tables(db, schema="main"):
    sql = "SELECT name, type FROM pragma_table_list WHERE schema = ? AND name NOT LIKE 'sqlite_%'"
    return [(str(name), str(kind)) for name, kind in db.execute(sql, (schema,)).fetchall()]


@pytest.fixture(scope="module")
def asked(laden):
    """Asks in this process, over masked tables."""

    def ask(sql, **limits):
        return answer(laden.query_request(sql, **limits))

    return ask


@pytest.fixture(scope="module")
def shown(laden):
    """The names of the tables that hold something and are shown."""
    db = apsw.Connection(str(laden._views.path))
    try:
        return [name for name, kind in tables(db) if kind == "table" and name not in HIDDEN and not name.startswith("search")] + ["events"]
    finally:
        db.close()
