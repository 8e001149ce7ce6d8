"""The typed graph, accounts, costs and traces: what events make of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from runloop.events import NewEvent, run_event
from runloop.events import records as r
from runloop.kb.derived import account_key, contact_key
from runloop.kb.projections import _SENT_IN
from tests.kb.test_histories import RUNS

HASH = "c" * 64
ADA = f"contact:{contact_key('ada@example.com')}"


def edges(kb, source=None):
    with kb.reading() as db:
        where = "" if source is None else f"WHERE source_key = '{source}'"
        return db.execute(f"SELECT source_key, relation, target_key, source_event FROM edges {where} ORDER BY 1, 2, 3").fetchall()


def nodes(kb):
    with kb.reading() as db:
        return {row[0]: row[1:] for row in db.execute("SELECT node_key, kind, label, source_event, ended_event FROM nodes")}


def note(text, part=0, parts=1, version="a"):
    said = {"path": "/n.md", "line": 1, "end_line": 1, "text": text, "file_hash": version * 64, "part": part, "parts": parts}
    return NewEvent("note.imported", said, "user")


def records(run, *parts):
    return [run_event(run, seq, kind, meta, "m", ts_ms=1_700_000_000_000) for seq, (kind, meta) in enumerate(parts, 1)]


@pytest.fixture
def made(kb, contact):
    """A run that made a file out of a note, and a mail that left with it."""
    kb.ledger.append([contact(ts_ms=1), note("x")])
    parent, child = RUNS
    kb.ledger.append(records(parent, ("run.started", r.RunStarted("d", {}, r.Versions("0"), "local"))))
    kb.ledger.append(
        records(
            child,
            ("run.started", r.RunStarted("d", {}, r.Versions("0"), "local", forked_from=r.ForkedFrom(parent.run_id, 1))),
            ("node.started", r.NodeStarted("n", 1, r.AgentRef("writer"))),
            ("effect.requested", r.EffectRequested("n", 1, 1, "model.complete", "idempotent", HASH)),
            ("effect.completed", r.EffectEnded("n", 1, 1, result={"provider": "p", "model": "m"}, tokens_in=3, tokens_out=4, usd=0.5)),
            ("artifact.created", r.ArtifactCreated("n", "mail", "/out/a.eml", HASH, HASH, sources=[r.Source(2), r.Source(99)])),
            ("approval.requested", r.ApprovalRequested("q", "text", "n", action="mail.send")),
            ("node.finished", r.NodeFinished("n", 1, "ok", {})),
            ("run.finished", r.RunFinished("succeeded", 9, final_hash=HASH)),
        )
    )
    sent = {"to": ["ada@example.com", "new@example.com"], "subject": "Hi", "artifact_id": 8}
    kb.ledger.append([NewEvent("email.sent", sent, "agent:mailer")])
    return kb


def test_a_run_and_what_it_made_are_related_to_what_they_came_from(made):
    parent, child = (f"run:{run.run_id}" for run in RUNS)
    artifact = f"artifact:{HASH}"
    assert edges(made) == sorted(
        [
            (parent, "follows", "opening:o", 3),
            (child, "follows", "opening:o", 4),
            (child, "child_of", parent, 4),
            (child, "forked_from", parent, 4),
            (child, "used", "agent:writer", 5),
            (artifact, "made_in", child, 8),
            (artifact, "made_by", "agent:writer", 8),
            (artifact, "cites", "note:/n.md#0", 8),
            (artifact, "cites", "event:99", 8),
            ("approval:q", "asked_in", child, 9),
            ("note:/n.md#0", "part_of", "note:/n.md", 2),
            ("mail:12", "made_by", "agent:mailer", 12),
            ("mail:12", "made_in", child, 12),
            ("mail:12", "cites", artifact, 12),
            ("mail:12", "sent_to", ADA, 12),
            ("mail:12", "sent_to", f"contact:{contact_key('new@example.com')}", 12),
        ]
    )


def test_both_ends_of_every_relation_are_nodes(made):
    known = nodes(made)
    assert {key for source, _, target, _ in edges(made) for key in (source, target)} <= set(known)
    assert known[ADA] == ("contact", "Ada Lovelace", 1, None)
    assert known["agent:writer"][0] == "agent"


def test_every_entity_has_its_history(made):
    for key, expected in (("agent:writer", [5]), ("agent:mailer", [12]), ("opening:o", [3, 4]), ("approval:q", [9]), ("mail:12", [12])):
        assert (key, [event.id for event in made.why(key)]) == (key, expected)


def test_a_passage_that_is_gone_keeps_its_node_and_loses_its_relations(kb):
    kb.ledger.append([note("one", 0, 2), note("two", 1, 2), note("new", 0, 1, "b")])
    known = nodes(kb)
    assert known["note:/n.md#1"][3] == 3
    assert known["note:/n.md#0"][3] is None
    assert edges(kb) == [("note:/n.md#0", "part_of", "note:/n.md", 3)]


def test_an_account_belongs_to_its_newest_contact(kb):
    for address in ("a@example.com", "ada@example.com"):
        kb.ledger.append([NewEvent("account.upserted", {"service": "Matrix ", "handle": "Ada", "contact": address}, "user")])
    key = account_key("matrix", "ada")
    assert edges(kb) == [(f"account:{key}", "account_of", ADA, 2)]
    with kb.reading() as db:
        assert db.execute("SELECT account_key, service, handle, source_event FROM accounts").fetchall() == [(key, "Matrix", "Ada", 2)]
    assert [event.id for event in kb.why(f"account:{key}")] == [1, 2]


def test_costs_are_told_by_run_node_model_and_day(made):
    with made.reading() as db:
        assert db.execute("SELECT node_id, provider, model, day, calls, tokens_in, tokens_out, usd FROM costs").fetchall() == [
            ("n", "p", "m", "2023-11-14", 1, 3, 4, 0.5)
        ]


def test_a_price_that_is_not_known_makes_the_cost_unknown_and_a_large_answer_is_read_from_its_blob(kb, run):
    calls = [(1, {"model": "m", "text": "x" * 20_000}, 0.5), (2, {"model": "m"}, None), (3, {"model": "other"}, 0.25)]
    for number, result, usd in calls:
        asked = r.EffectRequested("n", 1, number, "model.complete", "idempotent", HASH)
        answered = {"node": "n", "attempt": 1, "call": number, "result": result, "tokens_in": 1, "usd": usd}
        kb.ledger.append(
            [run_event(run, 2 * number - 1, "effect.requested", asked, "m"), run_event(run, 2 * number, "effect.completed", answered, "m")]
        )
    with kb.reading() as db:
        assert db.execute("SELECT model, calls, usd FROM costs ORDER BY model").fetchall() == [("m", 2, None), ("other", 1, 0.25)]


def test_a_trace_tells_the_nodes_of_a_run_that_ended(made):
    with made.reading() as db:
        [(run_id, trace, final, success)] = db.execute("SELECT run_id, trace_json, final_hash, success FROM run_traces").fetchall()
    assert (run_id, final, success) == (RUNS[1].run_id, HASH, 1)
    assert json.loads(trace) == [{"node": "n", "status": "ok", "attempt": 1, "agent": "writer", "outputs_hash": None, "error": None}]


def test_a_trace_has_its_nodes_in_the_order_of_their_ends(kb, run):
    ends = [(2, "b", 30), (3, "c", 10), (4, "a", 10)]
    kb.ledger.append(
        [
            run_event(run, 1, "run.started", r.RunStarted("d", {}, r.Versions("0"), "local"), "m", ts_ms=1),
            *(run_event(run, seq, "node.finished", r.NodeFinished(node, 1, "ok"), "m", ts_ms=at) for seq, node, at in ends),
            run_event(run, 5, "run.finished", r.RunFinished("succeeded", 5), "m", ts_ms=40),
        ]
    )
    with kb.reading() as db:
        [(trace,)] = db.execute("SELECT trace_json FROM run_traces").fetchall()
    assert [each["node"] for each in json.loads(trace)] == ["a", "c", "b"]


def test_an_older_sqlite_reads_the_tables(made):
    """That of Python itself, 3.40 on Debian 12: one statement of the schema that it cannot parse would take every table along."""
    made.sync()
    with closing(sqlite3.connect(made.root / "pog.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM run_traces").fetchall() == [(1,)]


def test_the_tables_say_of_which_ledger_and_how_far_they_are(made):
    with made.reading() as db:
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    assert (meta["ledger_id"], meta["watermark"]) == (made.ledger.id, "12")


def test_every_document_names_the_text_that_its_vector_belongs_to(kb, contact):
    kb.ledger.append([contact(), note("x"), note("x", version="b")])
    with kb.reading() as db:
        rows = db.execute("SELECT domain, length(digest), source_event FROM embeddings ORDER BY domain").fetchall()
    assert rows == [("contacts", 16, 1), ("notes", 16, 3)]


def test_walks_over_the_graph_use_its_indexes(kb):
    with kb.reading() as db:
        for sql in (
            "SELECT * FROM edges WHERE target_key = ?",
            "SELECT * FROM nodes WHERE source_event = ?",
            "SELECT * FROM edges WHERE source_key = ?",
        ):
            plan = db.execute(f"EXPLAIN QUERY PLAN {sql}", ("",)).fetchall()
            assert [step[3].split(" ")[0] for step in plan] == ["SEARCH"], sql


def test_the_run_that_a_mail_was_sent_in_is_found_without_reading_a_table_whole(kb):
    with kb.reading() as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {_SENT_IN}", {"event": 1})]
    assert plan
    assert [step for step in plan if step.startswith("SCAN")] == []
