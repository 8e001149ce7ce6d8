from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.search.language import MAX_REMARKS, MAX_TERMS, parse

ROWS = {
    1: "launch plan draft",
    2: "launch budget",
    3: "plan budget draft",
    4: "e-mail launchpad",
    5: "Zoë plans",
}


@pytest.fixture(scope="module")
def index():
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE search USING fts5(body, tokenize='unicode61 remove_diacritics 2')")
    db.executemany("INSERT INTO search(rowid, body) VALUES(?, ?)", list(ROWS.items()))
    return db


def matching(db, text):
    query = parse(text)
    if query.exact is None:
        return []
    return sorted(row for (row,) in db.execute("SELECT rowid FROM search WHERE search MATCH ?", (query.exact.expression,)))


@pytest.mark.parametrize(
    ("typed", "rows"),
    [
        ("launch", [1, 2]),
        ("launch plan", [1]),
        ("launch AND plan", [1]),
        ("launch OR plan", [1, 2, 3]),
        ("launch OR plan AND budget", [1, 2, 3]),
        ("(launch OR plan) AND budget", [2, 3]),
        ("(launch OR plan) budget", [2, 3]),
        ("launch NOT plan", [2]),
        ("launch -plan", [2]),
        ("-plan launch", [2]),
        ("launch -(plan OR budget)", []),
        ("budget -launch -draft", []),
        ("(launch -plan) OR zoe", [2, 5]),
        ("launch*", [1, 2, 4]),
        ('"plan budget"', [3]),
        ('"budget plan"', []),
        ('"plan bud"*', [3]),
        ("e-mail", [4]),
        ("e - mail", [4]),
        ("zoe", [5]),
        ("ZOË plan*", [5]),
        ("and", []),
        ("launch and plan", []),
    ],
)
def test_words_phrases_prefixes_and_operators_mean_what_they_say(index, typed, rows):
    assert matching(index, typed) == rows


@pytest.mark.parametrize(
    ("typed", "rows", "at", "message"),
    [
        ("(launch plan", [1], 0, "this ( is never closed"),
        ("launch) plan", [1], 6, "nothing was opened that ) could close"),
        ("launch AND", [1, 2], 7, "AND wants something on both sides"),
        ("OR launch", [1, 2], 0, "OR wants something on both sides"),
        ("launch OR OR plan", [1, 2, 3], 7, "OR wants something on both sides"),
        ("launch NOT", [1, 2], 7, "nothing follows that could be left out"),
        ("-launch", [], 0, "what is left out has to be left out of something: name a word to look for"),
        ('"launch plan', [1], 0, 'the phrase has no closing "'),
        ("", [], 0, "there is no word to look for"),
        ("*** ?!", [], 0, "there is no word to look for"),
        ("(" * 20 + "launch", [1, 2], 16, "parentheses go 16 deep at most"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_rest_is_looked_for(index, typed, rows, at, message):
    assert (at, message) in [(remark.at, remark.message) for remark in parse(typed).remarks]
    assert matching(index, typed) == rows


def test_a_query_that_is_all_right_has_no_remarks():
    for typed in ("a b", '"a b" c*', "a AND (b OR c) -d", "src/app.py", "ada@home.example", "it's 50%"):
        assert parse(typed).remarks == (), typed


def test_only_plain_words_may_be_missing_from_a_hit():
    assert [term.text for term in parse("launch plan -draft").words] == ["launch", "plan"]
    for exact in ("launch AND plan", "launch OR plan", "launch (plan OR budget)"):
        assert parse(exact).words == ()


def test_what_is_left_out_stays_out_however_few_of_the_words_a_hit_has(index):
    query = parse("launch plan -draft")
    expressions = [query.lacking(each) for each in (*query.loose_words, *query.beginnings)]
    found = {row for each in expressions for (row,) in index.execute("SELECT rowid FROM search WHERE search MATCH ?", (each,))}
    assert found == {2, 4, 5}


def test_words_beyond_the_limit_are_left_out_and_that_is_said():
    query = parse(" ".join(f"w{number}" for number in range(MAX_TERMS + 5)))
    assert len(query.words) == MAX_TERMS
    assert [remark.message for remark in query.remarks] == [f"only the first {MAX_TERMS} words count"]


def test_thousands_of_faults_are_remarked_on_a_few_times():
    assert len(parse("(a OR " * 2000).remarks) == MAX_REMARKS


def test_words_that_are_left_out_are_not_shown_in_an_excerpt():
    assert parse("launch OR plan -draft").sought == "launch plan"


SYNTAX = st.lists(
    st.sampled_from([*'"()*-^:+{} ;\0\ue000@a_', "AND ", "OR ", "NOT ", " b ", "NEAR(", "a.b", '""', "计划", "é", "²"]), max_size=25
)


@given(SYNTAX.map("".join) | st.text(max_size=40))
def test_whatever_is_typed_becomes_an_expression_that_fts5_takes(index, typed):
    query = parse(typed)
    expressions = [*query.loose_words, *query.beginnings]
    if query.exact is not None:
        expressions.append(query.exact.expression)
    for each in expressions:
        index.execute("SELECT count(*) FROM search WHERE search MATCH ?", (query.lacking(each),)).get  # noqa: B018
    assert query.exact is not None or query.remarks
