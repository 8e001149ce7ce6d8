from __future__ import annotations

import apsw
import pytest

from runloop.events import NewEvent
from runloop.kb.errors import QueryLimit, QueryRefused
from runloop.kb.queries.statement import answer
from runloop.kb.queries.tables import tables_of
from runloop.kb.redaction import Redactor


@pytest.fixture
def filled(kb, contact):
    kb.redactor = Redactor("test")  # with a random one, a mask would look like a secret once in a thousand runs
    text = "Ask ada@example.com or (bob@x.org)."
    note = {"path": "/n.md", "line": 1, "end_line": 1, "text": text, "file_hash": "a" * 64, "part": 0, "parts": 1}
    kb.ledger.append(
        [contact(nicknames=["ada@nick.example"], emails=["ada@example.com", "ada@home.example"]), NewEvent("note.imported", note, "user")]
    )
    return kb


def values(kb, sql, **limits):
    """In this process: what the process of a query does is tested by itself."""
    kb.sync()
    return answer(kb.query_request(sql, **limits)).rows


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM contacts",
        "SELECT email AS x FROM contacts",
        "SELECT lower(email) || upper(emails) || nicknames FROM contacts",
        "SELECT hex(email) FROM contacts",
        "SELECT substr(email, 2) FROM contacts",
        "WITH contacts AS (SELECT email FROM main.contacts AS c) SELECT * FROM contacts",
        "SELECT payload_json FROM events",
        "SELECT payload_json ->> '$.email' FROM events",
        "SELECT value FROM events, json_tree(payload_json)",
        "SELECT group_concat(text) FROM notes",
        "SELECT * FROM contacts NATURAL JOIN (SELECT 'ada@example.com' AS email)",
        "SELECT 1 FROM contacts JOIN (SELECT 'ada@example.com' AS email) USING (email)",
        "SELECT 1 FROM contacts WHERE email = 'ada@example.com'",
        "SELECT 1 FROM contacts WHERE emails LIKE '%ada@home%'",
        "SELECT 1 FROM events WHERE payload_json GLOB '*ada@example.com*'",
        "SELECT (SELECT count(*) FROM contacts WHERE email < 'ada@example.con' AND email > 'ada@example.col')",
    ],
)
def test_no_query_gets_at_an_address_or_can_test_a_guess(filled, sql):
    shown = str(values(filled, sql))
    for secret in ("ada@", "bob@", b"ada@".hex(), "da@example", "ADA@"):
        assert secret.lower() not in shown.lower().replace("'ada@example.com'", "")
    if "1 FROM" in sql or "NATURAL" in sql:
        assert values(filled, sql) == []
    if "count(*)" in sql:
        assert values(filled, sql) == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM contacts",
        "INSERT INTO notes VALUES(1)",
        "UPDATE events SET actor = 'x'",
        "DROP TABLE contacts",
        "CREATE TABLE x(y)",
        "CREATE TEMP TABLE x(y)",
        "CREATE TEMP VIEW contacts2 AS SELECT 1",
        "ATTACH '/tmp/other.sqlite' AS other",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = delete",
        "VACUUM",
        "VACUUM INTO '/tmp/copy.sqlite'",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "ANALYZE",
        "WITH x AS (SELECT 1) DELETE FROM contacts",
        "EXPLAIN DELETE FROM contacts",
        "-- SELECT\nDELETE FROM contacts",
    ],
)
def test_whatever_is_not_reading_is_refused_however_it_is_written(filled, sql):
    with pytest.raises(QueryRefused, match="read-only") as caught:
        values(filled, sql)
    assert caught.value.hint
    assert len(values(filled, "SELECT 1 FROM contacts")) == 1


@pytest.mark.parametrize(
    ("sql", "match"),
    [
        ("SELECT load_extension('x')", "load_extension"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELECT 1; DELETE FROM contacts", "read-only|more than one"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM contact_emails", "no such table"),
        ("SELECT * FROM main.search", "no such table"),
        ("SELECT * FROM ledger.events", "no such table"),
        ("SELECT secret FROM contacts", "no such column"),
        ("SELECT ?", "binding|Incorrect number"),
        ("SELECT 'open", "unrecognized token|syntax"),
        ("SELECT json_extract('{', '$')", "malformed JSON"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(filled, sql, match):
    with pytest.raises(QueryRefused, match=match):
        values(filled, sql)


def test_a_query_that_never_ends_is_stopped(filled):
    with pytest.raises(QueryLimit, match=r"longer than 0\.05 s"):
        values(filled, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", max_seconds=0.05)


def test_a_join_that_never_ends_is_stopped(filled, contact):
    filled.ledger.append([contact(f"N{number}", f"n{number}@x") for number in range(60)])
    with pytest.raises(QueryLimit):
        values(filled, "SELECT count(*) FROM events a, events b, events c, events d, events e", max_seconds=0.05)


def test_values_that_would_fill_the_memory_are_refused(filled):
    with pytest.raises(QueryLimit, match="larger than"):
        values(filled, "SELECT zeroblob(1000000000)")


def test_rows_are_limited_and_the_result_says_so(filled):
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 50) SELECT x FROM c"
    result = filled.query(numbers, max_rows=10)
    assert (len(result.rows), result.truncated) == (10, True)
    assert not filled.query(numbers, max_rows=50).truncated


def test_the_result_is_json_whatever_the_values_are(filled):
    result = filled.query("SELECT x'ff00' AS b, 9e999 AS inf, 1 AS n, NULL AS none, 2 AS n")
    assert result.to_dict() == {
        "columns": ["b", "inf", "n", "none", "n_2"],
        "rows": [{"b": "ff00", "inf": "inf", "n": 1, "none": None, "n_2": 2}],
        "truncated": False,
    }


def test_no_rows_still_have_their_columns(filled):
    nobody = filled.query("SELECT name, email, email FROM contacts WHERE 0")
    assert (nobody.columns, nobody.rows) == (["name", "email", "email_2"], [])
    assert filled.query("-- nothing").to_dict() == {"columns": [], "rows": [], "truncated": False}


def shown_tables(kb):
    kb.sync()
    source = apsw.Connection(str(kb._views.path))
    source.execute("ATTACH ? AS ledger", (str(kb.ledger.path),))
    try:
        return tables_of(source)
    finally:
        source.close()


def test_every_table_can_be_read_whole_and_by_each_column(filled):
    for name, table in shown_tables(filled).items():
        everything = values(filled, f"SELECT * FROM {name}")
        assert all(len(row) == len(table.columns) for row in everything)
        for row in everything:
            for column, value in zip(table.columns, row, strict=True):
                if value is not None:
                    literal = str(value) if not isinstance(value, str) else "'" + value.replace("'", "''") + "'"
                    assert row in values(filled, f'SELECT * FROM {name} WHERE "{column.name}" = {literal}'), (name, column)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("id = 2", [2]),
        ("id = '2'", [2]),
        ("id > 1", [2]),
        ("id > 1.5", [2]),
        ("id <= 1", [1]),
        ("id BETWEEN 1 AND 2", [1, 2]),
        ("id IN (2, 9)", [2]),
        ("id = NULL", []),
        ("kind = 'note.imported'", [2]),
        ("kind = 'NOTE.imported'", []),
        ("kind = 'NOTE.imported' COLLATE NOCASE", [2]),
    ],
)
def test_conditions_select_what_they_say(filled, condition, ids):
    assert values(filled, f"SELECT id FROM events WHERE {condition} ORDER BY id") == [(number,) for number in ids]


def test_tables_join(filled):
    sql = """SELECT e.kind FROM entity_history h JOIN events e ON e.id = h.event_id
             JOIN contacts c ON h.entity_key = 'contact:' || c.contact_key"""
    assert values(filled, sql) == [("contact.upserted",)]
