"""What a question is about, and the time that it speaks of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # a Friday; Saturday where the person is
NOW_MS = round(NOW.timestamp() * 1000)
EAST = 3600


def local(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) - EAST * 1000


@pytest.mark.parametrize(
    ("question", "since", "until"),
    [
        ("what failed today?", "2026-11-21", None),
        ("what failed yesterday?", "2026-11-20", "2026-11-21"),
        ("what failed since yesterday", "2026-11-20", None),
        ("the day before yesterday", "2026-11-19", "2026-11-20"),
        ("what ran this week", "2026-11-16", None),
        ("what ran last week", "2026-11-09", "2026-11-16"),
        ("costs this month", "2026-11-01", None),
        ("costs last month", "2026-10-01", "2026-11-01"),
        ("costs last year", "2025-01-01", "2026-01-01"),
        ("what ran on 2026-11-02?", "2026-11-02", "2026-11-03"),
        ("what ran since 2026-11-02?", "2026-11-02", None),
        ("what ran three days ago", "2026-11-18", "2026-11-19"),
        ("what failed on monday", "2026-11-16", "2026-11-17"),
        ("what failed since Monday", "2026-11-16", None),
        ("what failed on saturday", "2026-11-14", "2026-11-15"),
        ("what did I spend in march", "2026-03-01", "2026-04-01"),
        ("what did I spend in december", "2025-12-01", "2026-01-01"),
    ],
)
def test_days_begin_at_midnight_where_the_person_is(question, since, until, load):
    span = load("assistant", "when").span_of(question, NOW_MS, EAST)

    assert (span.since_ms, span.until_ms) == (local(since), NOW_MS + 1 if until is None else local(until))


def test_the_last_hours_are_counted_from_now(load):
    span = load("assistant", "when").span_of("what ran in the last 3 hours", NOW_MS, EAST)

    assert (span.since_ms, span.until_ms, span.words) == (NOW_MS - 3 * 3_600_000, NOW_MS + 1, "in the last 3 hours")


@pytest.mark.parametrize("question", ["what is known of Maria", "on 2026-13-45", "", "the lastness of weeks"])
def test_a_question_without_a_time_has_none(question, load):
    assert load("assistant", "when").span_of(question, NOW_MS, EAST) is None


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("what failed yesterday?", "failures"),
        ("why did the last run fail", "failures"),
        ("how much did I spend this week", "costs"),
        ("how many tokens did compose_email use", "costs"),
        ("what waits for me?", "approvals"),
        ("what needs to be approved", "approvals"),
        ("what did I approve today", "decisions"),
        ("what should I approve?", "approvals"),
        ("which mails were denied last week", "decisions"),
        ("what is running", "unfinished"),
        ("which e-mails did I send last month", "mails"),
        ("who did I write to today", "mails"),
        ("list artifacts", "files"),
        ("what ran today", "runs"),
        ("what happened last night", "runs"),
        ("what did Maria say about the launch?", None),
        ("who is Maria Lee", None),
        ("summarise my notes on error handling in Go", None),
        ("where did I put the keys", None),
    ],
)
def test_a_question_is_about_what_most_of_its_words_speak_for(question, subject, load):
    when, asking = load("assistant", "when"), load("assistant", "asking")
    asked = asking.asked_of(question, when.span_of(question, NOW_MS, EAST), NOW_MS, ["compose_email"])

    found = asking.subject_of(asked)

    assert (None if found is None else found[0].name) == subject


def test_an_opening_that_is_named_narrows_the_query_and_cannot_leave_its_quotes(load):
    asking = load("assistant", "asking")
    asked = asking.asked_of("what did it's cost", None, NOW_MS, ["it's", "other"])

    assert asked.opening == "it's"
    assert "opening_name = 'it''s'" in asking.subject_of(asked)[0].query(asked)


def test_runs_that_answer_questions_are_left_out_unless_they_are_asked_for(load):
    asking = load("assistant", "asking")

    def sql(question):
        asked = asking.asked_of(question, None, NOW_MS, ["assistant"])
        return asking.subject_of(asked)[0].query(asked)

    assert "opening_name <> 'assistant'" in sql("what ran")
    assert "opening_name = 'assistant'" in sql("what ran of assistant")


def test_every_subject_is_a_query_that_the_masked_tables_answer(load, tmp_path):
    from runloop.kb import KnowledgeBase

    asking = load("assistant", "asking")
    asked = asking.asked_of("x", None, NOW_MS, [])
    with KnowledgeBase.open(tmp_path) as kb:
        assert [kb.query(subject.query(asked)).rows for subject in asking.SUBJECTS] == [[] for _ in asking.SUBJECTS]


def test_what_runs_cost_counts_those_without_an_end_and_does_not_take_an_unknown_price_for_none(load, tmp_path):
    from runloop.events import RunIdentity, run_event
    from runloop.events import records as r
    from runloop.kb import KnowledgeBase

    asking = load("assistant", "asking")
    started = r.RunStarted("d" * 64, {}, r.Versions("0"), "local")

    def called(usd):
        return r.EffectEnded("a", 1, 1, "model.complete", tokens_in=30, tokens_out=12, usd=usd)

    def ended(usd):
        return r.RunFinished("succeeded", 1, "c" * 64, 42, usd)

    runs = [("paid", 0.25, True), ("paid", 0.5, False), ("unpriced", None, True), ("unpriced", None, False), ("idle", None, None)]
    with KnowledgeBase.open(tmp_path) as kb:
        for number, (opening, usd, whole) in enumerate(runs):
            run_id = f"{number:08x}-d9cb-469f-a165-70867728950e"
            run = RunIdentity(run_id, f"trace:{run_id}", "opening:16fd2706-8baf-433b-82eb-8c7fada847da", opening)
            records = [("run.submitted", started), ("run.started", started)]
            if whole is not None:
                asks = r.EffectRequested("a", 1, 1, "model.complete", "idempotent", "e" * 64)
                records += [("effect.requested", asks), ("effect.completed", called(usd))]
            if whole:
                records.append(("run.finished", ended(usd)))
            kb.ledger.append([run_event(run, seq, kind, meta, kind, ts_ms=NOW_MS) for seq, (kind, meta) in enumerate(records, 1)])
        rows = kb.query(asking._costs(asking.asked_of("costs", None, NOW_MS, []))).rows

    assert [tuple(row) for row in rows] == [("paid", 2, 84, 0.75), ("idle", 1, 0, 0.0), ("unpriced", 2, 84, None)]


@pytest.mark.parametrize(
    ("question", "words"),
    [("who is Maria Lee?", "Maria Lee?"), ("summarise my notes on error handling", "error handling"), ("what is it", "what is it")],
)
def test_the_search_is_for_the_words_that_say_something(question, words, load):
    assert load("assistant", "asking").wanted(question) == words


def test_a_table_is_no_wider_than_a_line_and_its_widest_columns_give_way(load):
    telling = load("assistant", "telling")
    row = {"at_ms": 0, "opening": "compose_email", "node": "contacts", "reason": "LookupError: " + "x" * 100, "run_id": "c88f8ff8-6a9a"}
    _head, line = telling.table(list(row), [row], 0).splitlines()
    assert (len(line), line.endswith("…  c88f8ff8"), "compose_email  contacts  LookupError: x" in line) == (80, True, True)
    long = dict.fromkeys("abcdefghijkl", "y" * 30)
    assert {len(cell) for cell in telling.table(list(long), [long], 0).splitlines()[1].split("  ")} == {8}
