from __future__ import annotations

from collections import Counter
from contextlib import closing, suppress
from itertools import islice

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, Ledger, materialise, projections, views
from runloop.kb.derived import artifact_key, contact_key
from runloop.kb.errors import LedgerCorrupt, LedgerIO, SeqTaken
from runloop.kb.runs import read_run
from runloop.kb.search import finding

HASH = "c" * 64
OPENING = "opening:16fd2706-8baf-433b-82eb-8c7fada847da"
RUNS = [
    RunIdentity(f"{digit}f8fad5b-d9cb-469f-a165-70867728950e", f"trace:{digit}c9e6679-7425-40de-944b-e07fc1f90ae7", OPENING, "o")
    for digit in "ab"
]


def dump(kb):
    """Every derived table, and what the search index finds."""
    kb.sync()
    with kb.reading() as db:
        tables = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in views.table_names()}
        index = db.execute("SELECT rowid FROM search WHERE search MATCH 'a OR b OR c OR x*' ORDER BY rowid").fetchall()
    return tables, index


def rows(kb, sql, *values):
    with kb.reading() as db:
        return db.execute(sql, values).fetchall()


def table(kb, name, run, order):
    """The rows of a table that belong to a run, by column."""
    with kb.reading() as db:
        cursor = db.execute(f"SELECT * FROM {name} WHERE run_id = ? ORDER BY {order}", (run.run_id,))
        columns = [column[0] for column in cursor.get_description()]
        return [dict(zip(columns, row, strict=True)) for row in cursor]


def test_the_keys_are_those_of_the_published_vectors():
    assert contact_key(" Alice@Example.com ") == "b0592e381d5b6b5b8e14a53e089e693779525183161310286e48597d54a062b9"
    assert contact_key("john@acme.com") == "5610cea0d283172462e57be79f9bf0e15ae509b791cb274e7599d38aee04d776"
    assert artifact_key("notes.md", None) == "749b9e0af8aba6d0c86c1b0614a2d8eb0edeea678f66d48e69a03c0da0b33719"
    assert artifact_key("notes.md", "AB" * 32) == "ab" * 32


def test_all_that_is_read_at_once_is_of_one_moment_whoever_writes_meanwhile(kb, contact):
    kb.ledger.append([contact()])
    with kb.reading() as db:
        names = [db.execute("SELECT name FROM contacts").fetchall()]
        kb.ledger.append([contact("Ada King")])
        assert rows(kb, "SELECT name FROM contacts") == [("Ada King",)]
        names.append(db.execute("SELECT name FROM contacts").fetchall())
    assert names == [[("Ada Lovelace",)]] * 2
    assert rows(kb, "SELECT name FROM contacts") == [("Ada King",)]


def test_a_search_finds_what_it_ranked_although_a_writer_replaces_it_meanwhile(kb, contact, monkeypatch):
    kb.ledger.append([contact()])
    load = finding.load_documents

    def later(db, wanted):
        kb.ledger.append([contact("Ada King")])
        kb.sync()
        return load(db, wanted)

    monkeypatch.setattr(finding, "load_documents", later)
    assert [hit.title for hit in kb.search("ada")] == ["Ada Lovelace"]


def test_two_upserts_of_one_address_are_one_contact_with_the_latest_values_and_both_events_explain_it(kb, contact):
    kb.ledger.append([contact("Old", "ADA@example.com", org="X"), contact("New", "ada@example.com")])
    key = contact_key("ada@example.com")
    assert rows(kb, "SELECT name, email, org FROM contacts") == [("New", "ada@example.com", None)]
    assert [event.id for event in kb.why(f"contact:{key}")] == [1, 2]
    assert [event.id for event in kb.why(key)] == [1, 2]


def test_a_run_is_followed_from_its_submission_to_its_end(kb, run):
    started = r.RunStarted("d", {}, r.Versions("0"), "local")
    kinds = [
        ("run.submitted", started, "queued"),
        ("run.started", started, "running"),
        ("run.waiting", r.RunChanged("approval"), "waiting"),
        ("run.resumed", r.RunChanged("decided"), "running"),
        ("run.paused", r.RunChanged("asked"), "paused"),
        ("run.recovered", r.RunChanged("restart"), "paused"),  # a pause outlives the process
        ("run.finished", r.RunFinished("failed", 9, HASH, 5, 0.5, reason="boom"), "failed"),
    ]
    for seq, (kind, meta, status) in enumerate(kinds, 1):
        kb.ledger.append([run_event(run, seq, kind, meta, "m", ts_ms=seq)])
        assert kb.run(run.run_id)["status"] == status
    found = kb.run(run.run_id)
    assert (found["submitted_ms"], found["started_ms"], found["finished_ms"], found["ms"]) == (1, 2, 7, 9)
    assert (found["tokens"], found["usd"], found["final_hash"], found["reason"], found["last_seq"]) == (5, 0.5, HASH, "boom", 7)
    assert [event.payload["seq"] for event in kb.run_events(run.run_id, 5)] == [6, 7]
    assert len(kb.why(f"run:{run.run_id}")) == 7
    assert kb.runs() == [found]


def test_nodes_keep_their_last_attempt_and_the_sum_of_what_they_cost(kb, run):
    error = r.ErrorInfo("guest.timeout", "too slow")
    records = [
        ("node.ready", r.NodeStarted("a", 1)),
        ("node.started", r.NodeStarted("a", 1, r.AgentRef("writer"))),
        ("node.finished", r.NodeFinished("a", 1, "error", error=error, ms=5, tokens=3, usd=0.25, retry_ms=10)),
        ("node.started", r.NodeStarted("a", 2, r.AgentRef("writer"))),
        ("node.finished", r.NodeFinished("a", 2, "ok", {"out": [1]}, HASH, ms=7, tokens=4, usd=0.5)),
        ("node.finished", r.NodeFinished("b", 0, "skipped")),
    ]
    kb.ledger.append([run_event(run, seq, kind, meta, "m", ts_ms=seq) for seq, (kind, meta) in enumerate(records, 1)])
    a, b = table(kb, "run_nodes", run, "node_id")
    assert (a["node_id"], a["status"], a["attempt"], a["agent"], a["started_ms"]) == ("a", "ok", 2, "writer", 2)
    assert (a["outputs_hash"], a["error"], a["tokens"], a["usd"], a["duration_ms"]) == (HASH, None, 7, 0.75, 7)
    assert (b["node_id"], b["status"], b["attempt"]) == ("b", "skipped", 0)
    assert [event.payload["seq"] for event in kb.why(f"node:{run.run_id}#b")] == [6]


def test_crossings_have_their_size_time_and_cost(kb, run):
    big = {"text": "x" * 20_000}
    records = [
        ("effect.requested", r.EffectRequested("a", 1, 0, "model.complete", "idempotent", HASH, big)),
        ("effect.requested", r.EffectRequested("a", 1, 1, "mail.send", "external", HASH, {})),
        ("effect.completed", r.EffectEnded("a", 1, 0, result={"ok": 1}, ms=4, tokens_in=2, tokens_out=3, usd=0.1, cached=True)),
        ("effect.failed", r.EffectEnded("a", 1, 1, error=r.ErrorInfo("denied", "no"))),
    ]
    kb.ledger.append([run_event(run, seq, kind, meta, "m", ts_ms=seq) for seq, (kind, meta) in enumerate(records, 1)])
    model, mail = table(kb, "effects", run, "call")
    assert (model["name"], model["status"], model["args_bytes"], model["result_bytes"]) == ("model.complete", "completed", 20_011, 8)
    assert (model["ms"], model["tokens_in"], model["tokens_out"], model["usd"], model["cached"]) == (4, 2, 3, 0.1, 1)
    assert (mail["status"], mail["error_code"], mail["error"], mail["requested_event"], mail["ended_event"]) == (
        "failed",
        "denied",
        "no",
        2,
        4,
    )


def test_approvals_and_artifacts_of_a_run_are_kept(kb, run):
    by = r.Decider("operator", 1000)
    records = [
        ("approval.requested", r.ApprovalRequested("p", {"text": "t"}, "mailer", action="mail.smtp")),
        ("approval.decided", r.ApprovalEnded("p", "allow", by=by)),
        ("artifact.created", r.ArtifactCreated("a", "draft", "/a.md", HASH, "d" * 64, "Draft", [r.Source(1, "/n.md", 2)])),
    ]
    kb.ledger.append([run_event(run, seq, kind, meta, "m", ts_ms=seq) for seq, (kind, meta) in enumerate(records, 1)])
    [approval] = table(kb, "approvals", run, "approval_id")
    assert (approval["status"], approval["decision"], approval["decided_by"], approval["action"]) == (
        "decided",
        "allow",
        "operator",
        "mail.smtp",
    )
    found = kb.get("artifact:" + "d" * 64)
    assert found["data"]["sources"] == [{"event_id": 1, "path": "/n.md", "line": 2}]
    assert (found["domain"], found["title"], found["data"]["run_id"], found["data"]["path"]) == ("artifacts", "a.md", run.run_id, "/a.md")


def test_mail_is_part_of_the_history_of_its_recipients(kb, contact):
    mail = {"to": ["ada@example.com"], "subject": "Hi", "artifact_id": 1, "message_id": "<m>", "status": "outbox"}
    kb.ledger.append([contact(), NewEvent("email.sent", mail, "agent:mailer")])
    assert [event.id for event in kb.why("contact:" + contact_key("ada@example.com"))] == [1, 2]
    assert rows(kb, "SELECT event_id, subject, status, message_id FROM mails") == [(2, "Hi", "outbox", "<m>")]


@pytest.mark.parametrize(("tokens", "usd"), [(5, None), (0, 0.0)])
def test_a_price_that_is_not_known_stands_in_no_record_and_is_not_taken_for_none(kb, run, tokens, usd):
    records = [
        ("run.submitted", r.RunStarted(HASH, {}, r.Versions("0"), "local")),
        ("effect.requested", r.EffectRequested("a", 1, 1, "model.complete", "idempotent", HASH)),
        ("effect.completed", r.EffectEnded("a", 1, 1, result={}, tokens_in=tokens)),
        ("node.finished", r.NodeFinished("a", 1, "ok", tokens=tokens)),
        ("run.finished", r.RunFinished("succeeded", 1, HASH, tokens)),
    ]
    kb.ledger.append([run_event(run, seq, kind, meta, kind) for seq, (kind, meta) in enumerate(records, 1)])
    assert [rows(kb, f"SELECT usd FROM {table}") for table in ("effects", "run_nodes", "runs")] == [[(usd,)]] * 3


def test_an_unknown_price_makes_the_sum_unknown_and_is_no_problem(kb, run):
    metas = [{"node": "a", "attempt": number, "status": "ok", "usd": usd} for number, usd in ((1, 0.5), (2, None), (3, 0.5))]
    kb.ledger.append([run_event(run, seq, "node.finished", meta, "m") for seq, meta in enumerate(metas, 1)])
    assert rows(kb, "SELECT usd FROM run_nodes") == [(None,)]
    assert kb.problems() == []


def test_a_malformed_event_is_set_aside_and_reported_and_stops_nothing(kb, contact):
    poison = NewEvent("contact.upserted", {"name": 5}, "user")
    kb.ledger.append([contact()])
    kb.ledger.append([poison], check=False)
    kb.ledger.append([contact("Grace", "grace@example.com")])
    synced = kb.sync()
    assert (synced.applied, synced.watermark, synced.set_aside) == (3, 3, 1)
    assert [each["event_id"] for each in kb.problems()] == [2]
    assert "email" in kb.problems()[0]["error"]
    assert len(rows(kb, "SELECT 1 FROM contacts")) == 2
    assert kb.rebuild().set_aside == 1


def test_an_event_that_fails_half_way_leaves_nothing_behind(kb, run):
    whole = run_event(run, 1, "node.finished", r.NodeFinished("a", 1, "ok"), "m")
    kb.ledger.append([whole, run_event(run, 2, "node.finished", {"node": "b"}, "m")], check=False)
    assert [each["event_id"] for each in kb.problems()] == [2]
    assert rows(kb, "SELECT node_id FROM run_nodes") == [("a",)]
    assert [event.id for event in kb.run_events(run.run_id)] == [1]


def test_a_run_is_read_by_its_index_and_from_the_ledger_where_that_may_lack_a_record(kb, run):
    started = run_event(run, 1, "run.started", {"opening_digest": "d", "params": {}, "versions": {"runloop": "1"}, "mode": "local"}, "m")
    kb.ledger.append([started, run_event(run, 2, "node.finished", r.NodeFinished("a", 1, "ok"), "m")], check=False)
    other = "00000000-0000-4000-8000-00000000dead"
    assert [event.payload["seq"] for event in kb.read_run(run.run_id)] == [1, 2]
    assert [event.payload["seq"] for event in kb.read_run(run.run_id, 1)] == [2]
    assert list(kb.read_run(other)) == []

    kb.ledger.append([run_event(run, 3, "node.finished", {"node": "b"}, "m")], check=False)  # it cannot be applied

    assert [event.payload["seq"] for event in kb.run_events(run.run_id)] == [1, 2]
    assert [event.payload["seq"] for event in kb.read_run(run.run_id)] == [1, 2, 3]


@pytest.fixture
def looked(kb, monkeypatch):
    """How many events of the ledger were read by their ids."""
    ids, those, get = [], kb.ledger.those, kb.ledger.get
    monkeypatch.setattr(kb.ledger, "those", lambda wanted: (ids.extend(wanted), those(wanted))[1])
    monkeypatch.setattr(kb.ledger, "get", lambda wanted: (ids.append(wanted), get(wanted))[1])
    return ids


def long_run(kb, run, records):
    lines = [run_event(run, seq, "node.log", r.NodeText("a", "line", 1), "m") for seq in range(2, records)]
    started = run_event(run, 1, "run.started", {"opening_digest": "d", "params": {}, "versions": {"runloop": "1"}, "mode": "local"}, "m")
    kb.ledger.append([started, *lines])
    kb.sync()
    kb.ledger.append([run_event(run, records, "node.finished", r.NodeFinished("a", 1, "ok"), "m")])  # the tables are one behind


def test_of_a_long_run_no_more_is_read_than_is_asked_for(kb, run, looked):
    long_run(kb, run, 3000)
    assert next(kb.read_run(run.run_id)).payload["seq"] == 1
    assert len(looked) < 20
    assert [event.payload["seq"] for event in kb.read_run(run.run_id)] == [*range(1, 3001)]


def test_a_long_run_that_is_read_in_pages_is_read_once(kb, run, looked):
    long_run(kb, run, 3000)
    at = 0
    while page := list(islice(kb.read_run(run.run_id, at), 100)):
        assert page[0].payload["seq"] == at + 1
        at = page[-1].payload["seq"]
    assert at == 3000
    assert len(looked) < 2 * 3000


def test_records_that_go_while_a_run_is_read_are_no_gap_in_it(kb, run, monkeypatch):
    long_run(kb, run, 100)
    those = kb.ledger.those
    monkeypatch.setattr(kb.ledger, "those", lambda ids: [event for event in those(ids) if event.id != 50])  # as if it had just been pruned
    assert [event.payload["seq"] for event in kb.read_run(run.run_id)] == [*range(1, 101)]  # what the ledger itself has


def test_a_run_is_read_whole_without_waiting_for_tables_that_are_behind(kb, run, monkeypatch):
    started = run_event(run, 1, "run.started", r.RunStarted("d", {}, r.Versions("0"), "local"), "m")
    records = [started, *(run_event(run, seq, "node.finished", r.NodeFinished("a", seq, "ok"), "m") for seq in range(2, 5))]
    kb.ledger.append(records[:2])
    kb.sync()
    kb.ledger.append(records[2:])
    monkeypatch.setattr(type(kb), "sync", lambda *_: pytest.fail("it was brought up to date"))
    assert [event.payload["seq"] for event in kb.read_run(run.run_id)] == [1, 2, 3, 4]
    assert [event.payload["seq"] for event in kb.read_run(run.run_id, 3)] == [4]


def test_only_what_a_run_can_have_is_looked_through_where_the_tables_are_behind(kb, run, monkeypatch):
    looked, records = [], Ledger._records

    def counted(ledger, run_id, after_seq, at):
        looked.append((run_id, at))
        return records(ledger, run_id, after_seq, at)

    monkeypatch.setattr(Ledger, "_records", counted)
    started, ended = r.RunStarted("d", {}, r.Versions("0"), "local"), r.RunFinished("succeeded", ms=1)
    others = [RunIdentity(f"{number:08}-0000-4000-8000-000000000000", run.trace_id, OPENING, "o") for number in range(50)]
    for other in others:
        kb.ledger.append([run_event(other, 1, "run.started", started, "m"), run_event(other, 2, "run.finished", ended, "m")])

    assert list(read_run(kb, run.run_id, 0)) == []
    assert looked == []
    assert [event.payload["seq"] for event in read_run(kb, others[40].run_id, 0)] == [1, 2]
    assert looked == [(others[40].run_id, 81)]
    kb.sync()
    assert [event.payload["seq"] for event in read_run(kb, others[40].run_id, 0)] == [1, 2]
    assert len(looked) == 1


def test_trouble_with_the_file_is_not_blamed_on_the_event(kb, contact, monkeypatch):
    from runloop.kb import materialise

    def broken(*_):
        raise apsw.IOError("disk I/O error")

    kb.ledger.append([contact()])
    monkeypatch.setattr(materialise, "apply", broken)
    with pytest.raises(LedgerIO, match="the device failed"):
        kb.sync()
    monkeypatch.undo()
    assert kb.problems() == []
    assert len(kb.search("Ada")) == 1


def test_the_derived_file_can_be_deleted_at_any_time(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])
        before = dump(kb)
    (tmp_path / "pog.sqlite").unlink()
    with KnowledgeBase.open(tmp_path) as kb:
        assert dump(kb) == before


def test_a_derived_file_of_another_version_is_rebuilt(tmp_path, contact, behind):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A", "a@x")])
        before = dump(kb)
    behind(tmp_path / "pog.sqlite", "UPDATE state SET version = 0")
    behind(tmp_path / "pog.sqlite", "DELETE FROM contacts")
    with KnowledgeBase.open(tmp_path) as kb:
        assert dump(kb) == before


def test_a_derived_file_of_another_ledger_is_refused(tmp_path, contact):
    for name in "ab":
        with KnowledgeBase.open(tmp_path / name) as kb:
            kb.ledger.append([contact()])
            kb.sync()
    (tmp_path / "a" / "events.sqlite").replace(tmp_path / "b" / "events.sqlite")
    with KnowledgeBase.open(tmp_path / "b") as kb, pytest.raises(LedgerCorrupt, match="another ledger"):
        kb.sync()


def test_two_knowledge_bases_on_the_same_files_see_each_other(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as one, KnowledgeBase.open(tmp_path) as two:
        one.ledger.append([contact("A", "a@x")])
        two.ledger.append([contact("B", "b@x")])
        assert dump(one) == dump(two)
        assert len(rows(one, "SELECT 1 FROM contacts")) == 2


PEOPLE = st.tuples(st.sampled_from(["a", "b c", "x y"]), st.sampled_from(["a@x", "B@x", "c@y"]), st.sampled_from([None, "X", "Y Z"]))
NOTES = st.tuples(st.sampled_from(["/a.md", "/b.md"]), st.sampled_from(["1", "2"]), st.integers(0, 2), st.sampled_from(["a b", "x"]))
STEPS = st.one_of(
    PEOPLE.map(lambda each: ("contact", each)),
    NOTES.map(lambda each: ("note", each)),
    st.sampled_from(["/a.md", "/b.md"]).map(lambda path: ("gone", path)),
    st.tuples(st.sampled_from([0, 1]), st.sampled_from(["started", "finished", "node", "ask", "answer"])).map(lambda each: ("run", each)),
    st.just(("poison", None)),
    st.just(("sync", None)),
)


def event_of(step, last):
    """The event of a step; ``last`` has the number of the last record of each run."""
    sort, value = step
    if sort == "contact":
        name, email, org = value
        return NewEvent("contact.upserted", {"name": name, "email": email, **({"org": org} if org else {})}, "user")
    if sort == "note":
        path, digit, part, text = value
        return NewEvent(
            "note.imported",
            {"path": path, "line": 1, "end_line": 1, "text": text, "file_hash": digit * 64, "part": part, "parts": 3},
            "user",
        )
    if sort == "gone":
        return NewEvent("note.removed", {"path": value, "reason": "gone"}, "user")
    if sort == "poison":
        return NewEvent("note.imported", {"path": None}, "user")
    index, what = value
    last[index] += 1
    metas = {
        "started": ("run.started", r.RunStarted("d", {}, r.Versions("0"), "local")),
        "finished": ("run.finished", r.RunFinished("succeeded", 1)),
        "node": ("node.finished", r.NodeFinished("n", 1, "ok", usd=0.5)),
        "ask": ("effect.requested", r.EffectRequested("n", 1, 0, "x", "read", HASH)),
        "answer": ("effect.completed", r.EffectEnded("n", 1, 0)),
    }
    return run_event(RUNS[index], last[index], *metas[what], "m", ts_ms=last[index])


@given(st.lists(STEPS, max_size=25))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_tables_that_grew_with_the_events_equal_tables_made_at_once(tmp_path_factory, steps):
    last = Counter()
    with KnowledgeBase.open(tmp_path_factory.mktemp("pog")) as kb:
        for step in steps:
            if step[0] == "sync":
                kb.sync()
            else:
                with suppress(SeqTaken):  # after the run's end
                    kb.ledger.append([event_of(step, last)], check=False)
        live = dump(kb)
        kb.rebuild()
        assert dump(kb) == live


def test_taking_a_contact_reads_no_other_contact(kb, contact):
    kb.ledger.append([contact()])
    with kb.reading() as db:
        plan = db.execute("EXPLAIN QUERY PLAN DELETE FROM contact_emails WHERE contact_key = ?", ("",)).fetchall()
    assert [step[3].partition(" USING")[0] for step in plan] == ["SEARCH contact_emails"]


def test_a_passage_reads_no_other_passage_of_its_version(kb):
    values = {"path": "a", "hash": "b", "parts": 1}
    with kb.reading() as db:
        plan = [step[3] for step in db.execute(f"EXPLAIN QUERY PLAN {projections._OLD_PASSAGES}", values)]
    searches = [step for step in plan if "notes" in step]
    assert len(searches) == 3
    assert all(step.startswith("SEARCH") and ("file_hash" in step or "part>" in step) for step in searches), plan


def test_a_derived_table_that_is_gone_says_what_makes_the_file_anew(kb, contact, behind):
    kb.ledger.append([contact()])
    kb.sync()
    behind(kb.root / "pog.sqlite", "DROP TABLE contacts")
    with pytest.raises(LedgerCorrupt, match="no such table: contacts") as caught:
        kb.search("Ada")
    assert "`rlp kb rebuild` makes pog.sqlite anew" in caught.value.hint


def test_a_damaged_derived_file_says_that_it_can_be_deleted(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A", "a@x")])
    (tmp_path / "pog.sqlite").write_bytes(b"no database " * 900)
    with pytest.raises(LedgerCorrupt, match="damaged") as failed:
        KnowledgeBase.open(tmp_path)
    assert failed.value.hint.startswith("`rlp kb rebuild` makes pog.sqlite anew")
    (tmp_path / "pog.sqlite").unlink()
    with KnowledgeBase.open(tmp_path) as kb:
        assert [hit.title for hit in kb.search("A")] == ["A"]


def test_a_reader_does_not_wait_for_writers_that_never_pause(kb, contact):
    kb.ledger.append([contact(f"N{number}", f"{number}@example.com") for number in range(3)])
    applied = []

    def while_it_is_read(done):
        applied.append(done)
        if len(applied) < 100:
            kb.ledger.append([contact(f"M{done}", f"m{done}@example.com")])

    materialise.sync(kb._views.db, kb._views.path, kb.ledger, tick=while_it_is_read)
    assert applied == [3]
    kb.sync()
    assert len(rows(kb, "SELECT 1 FROM contacts")) == 4


@pytest.mark.parametrize(
    ("since", "code"), [(0, "ledger.rolled_back"), (1, "ledger.rewritten"), (3, "ledger.rewritten")], ids=["nothing", "one", "more"]
)
def test_a_ledger_that_lost_what_the_tables_have_seen_is_named_whatever_it_got_since(tmp_path, contact, since, code):
    root, older = tmp_path / "pog", tmp_path / "older.sqlite"
    with KnowledgeBase.open(root) as kb:
        kb.ledger.append([contact("A", "a@x")])
        with closing(apsw.Connection(str(older))) as copy, kb.ledger.reading() as db, copy.backup("main", db, "main") as backup:
            backup.step()
        kb.ledger.append([contact("B", "b@x")])
        kb.sync()
    older.replace(root / "events.sqlite")

    with Ledger.open(root / "events.sqlite") as ledger:
        ledger.append([contact(f"C{number}", f"c{number}@x") for number in range(since)])
    with pytest.raises(LedgerCorrupt) as caught, KnowledgeBase.open(root) as kb:
        dump(kb)
    assert (caught.value.code, "delete pog.sqlite" in caught.value.hint) == (code, True)


def test_a_record_that_does_not_say_what_its_run_is_is_set_aside_wherever_it_stands_in_a_batch(kb):
    run = RunIdentity("0f8fad5b-d9cb-469f-a165-70867728950e", "trace:t", "opening:o", "o")
    started = run_event(run, 1, "run.started", r.RunStarted("d", {}, r.Versions("0"), "local"), "")
    second = run_event(run, 2, "node.started", r.NodeStarted("n", 1), "")
    third = run_event(run, 3, "node.started", r.NodeStarted("n", 2), "")
    kb.ledger.append([started, structs.replace(second, provenance={}), third], check=False)
    assert [each["event_id"] for each in kb.problems()] == [2]
    with kb.reading() as db:
        rows = db.execute("SELECT last_seq, source_event FROM runs").fetchall(), db.execute("SELECT seq FROM run_events").fetchall()
    assert rows == ([(3, 3)], [(1,), (3,)])


@pytest.mark.parametrize("own", [False, True])
def test_an_event_that_was_set_aside_sends_only_readers_of_its_own_run_to_the_ledger(kb, contact, own, monkeypatch):
    run, other = (RunIdentity(f"0f8fad5b-d9cb-469f-a165-70867728950{end}", f"trace:{end}", "opening:o", "o") for end in "ab")
    started = r.RunStarted("d", {}, r.Versions("0"), "local")
    kb.ledger.append([run_event(each, 1, "run.started", started, "") for each in (run, other)], check=False)
    bad = structs.replace(run_event(run if own else other, 2, "node.started", r.NodeStarted("n", 1), ""), provenance={})
    kb.ledger.append([bad], check=False)
    assert [each["event_id"] for each in kb.problems()] == [3]
    read, real = [], Ledger.read_run
    monkeypatch.setattr(Ledger, "read_run", lambda self, run_id, after_seq=0: read.append(run_id) or real(self, run_id, after_seq))
    seen = [event.payload["seq"] for event in kb.read_run(run.run_id)]
    assert (seen, read) == (([1, 2], [run.run_id]) if own else ([1], []))
