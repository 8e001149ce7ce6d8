"""What a statement may take: it runs in a process of its own, and nothing that it asks for takes more than that process is given."""

from __future__ import annotations

import resource

import pytest

from runloop.kb.errors import QueryLimit, QueryRefused
from runloop.kb.queries import answering
from runloop.kb.redaction import EVERYTHING, NOTHING, Redactor


@pytest.fixture
def filled(kb, contact):
    kb.ledger.append([contact()])
    return kb


def test_a_statement_is_answered_by_its_process(filled):
    result = filled.query("SELECT name, email FROM contacts")
    assert (result.columns, result.rows) == (["name", "email"], [("Ada Lovelace", filled.redactor.text("ada@example.com"))])


def test_salt_rules_and_the_time_of_the_past_reach_the_process(filled, contact):
    filled.redactor = Redactor("salt", EVERYTHING)
    assert filled.query("SELECT email FROM contacts").rows == [(Redactor("salt").text("ada@example.com"),)]
    filled.redactor = Redactor("salt", NOTHING)
    assert filled.query("SELECT email FROM contacts WHERE email = 'ada@example.com'").rows == [("ada@example.com",)]
    filled.ledger.append([contact("Grace", "grace@example.com")])
    filled.sync()
    with filled.at(1) as past:
        assert past.query("SELECT max(id) FROM events").rows == [(1,)]


def test_the_time_here_is_that_of_the_zone_of_who_asks(filled, monkeypatch):
    monkeypatch.setenv("TZ", "Nowhere-9")
    assert filled.query("SELECT strftime('%H:%M', 0, 'unixepoch', 'localtime') AS here").rows == [("09:00",)]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("DELETE FROM contacts", QueryRefused),
        ("SELEC 1", QueryRefused),
        ("SELECT * FROM nothing", QueryRefused),
        ("SELECT zeroblob(1000000000)", QueryLimit),
    ],
)
def test_what_is_wrong_comes_back_with_its_code_and_hint(filled, sql, error):
    with pytest.raises(error) as caught:
        filled.query(sql)
    assert caught.value.code.startswith("kb.")
    assert caught.value.hint


def test_where_no_proc_is_and_the_limits_are_lower_already_a_statement_is_confined_all_the_same(monkeypatch):
    kept = {resource.RLIMIT_AS: resource.RLIM_INFINITY, resource.RLIMIT_CPU: 3, resource.RLIMIT_CORE: 0}
    made = {}
    monkeypatch.setattr(answering, "STATM", "/nowhere")
    monkeypatch.setattr(answering.apsw, "hard_heap_limit", lambda _bytes: 0)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (kept[what], kept[what]))
    monkeypatch.setattr(resource, "setrlimit", made.__setitem__)
    answering._confine(10)
    most, cpu = made[resource.RLIMIT_AS][1], made[resource.RLIMIT_CPU]
    assert (answering.MAX_MEMORY < most < 2 * answering.MAX_MEMORY, cpu) == (True, (3, 3))


NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "


@pytest.mark.parametrize(
    "sql",
    [
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400) SELECT group_concat(hex(zeroblob(3000))) FROM n a, n b",
        NUMBERS + "SELECT i, printf('%1000000d', i) AS x FROM n ORDER BY x",
        NUMBERS + ", m AS MATERIALIZED (SELECT hex(zeroblob(500000)) AS x FROM n) SELECT count(*) FROM m",
        NUMBERS.replace("FROM n)", "FROM n LIMIT 300)") + "SELECT json_group_array(hex(zeroblob(500000))) FROM n",
        NUMBERS + "SELECT count(DISTINCT hex(zeroblob(500000)) || i) FROM n",
        "SELECT printf('%1000000000d', 1)",
        "SELECT replace(hex(zeroblob(8000000)), '0', 'aaaaaaaaaaaaaaaa')",
        "SELECT hex(hex(hex(zeroblob(8000000))))",
    ],
)
def test_a_statement_that_would_fill_the_memory_is_ended(filled, sql):
    with pytest.raises(QueryLimit):
        filled.query(sql, max_seconds=10)
    assert filled.query("SELECT 1").rows == [(1,)]


def test_a_result_that_would_fill_the_memory_is_cut_and_says_so(filled):
    result = filled.query(NUMBERS + "SELECT hex(zeroblob(1000000)) FROM n", max_rows=10**6, max_seconds=20)
    assert result.truncated
    assert 10 < len(result.rows) < 40


@pytest.mark.parametrize(
    "sql",
    [
        NUMBERS + "SELECT count(*) FROM n",
        "SELECT count(*) FROM " + ", ".join(f"events e{number}, json_each('[1,2,3,4,5,6,7,8,9]') j{number}" for number in range(12)),
        "SELECT instr(hex(zeroblob(8000000)), hex(zeroblob(4000000)) || '1')",  # a function that hears no interrupt
    ],
)
def test_a_statement_that_never_ends_is_ended(filled, sql):
    with pytest.raises(QueryLimit, match="longer than"):
        filled.query(sql, max_seconds=0.2)
