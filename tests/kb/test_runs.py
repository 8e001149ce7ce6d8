"""Runs as people look for them: by the beginning of an id, by state, opening, time and words, with what each waits for."""

import pytest

from runloop.errors import InvalidInput
from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import Ledger
from runloop.kb.runs import RunFilter, find_run, matching

HASH = "c" * 64
OWNER, OTHER = "a" * 32, "b" * 32


def identity(number, *, opening="letter", parent=None):
    run_id = f"{number:08x}-d9cb-469f-a165-70867728950e"
    return RunIdentity(run_id, f"trace:{run_id}", "opening:16fd2706-8baf-433b-82eb-8c7fada847da", opening, parent)


def started(params=None, **over):
    return r.RunStarted("d", params or {}, r.Versions("0"), "local", owner=over.pop("owner", OWNER), **over)


def append(kb, run, *records, first=1):
    """Each record a second after the one before."""
    kb.ledger.append([run_event(run, seq, kind, meta, "m", ts_ms=1000 * seq) for seq, (kind, meta) in enumerate(records, first)])


def ids(kb, **wanted):
    return [int(row["run_id"][:8], 16) for row in kb.runs(RunFilter(**wanted))]


@pytest.fixture
def three(kb):
    """Run 1 succeeded, run 2 is under way and belongs to another opening, run 3 is queued by a process that is gone."""
    end = r.RunFinished("succeeded", 9, HASH, 5, 0.5, reason="Überraschung")
    append(kb, identity(1), ("run.submitted", started({"topic": "Pier repair"})), ("run.started", started()), ("run.finished", end))
    append(kb, identity(2, opening="report"), ("run.submitted", started({"topic": "pier plan"})), ("run.started", started()), first=11)
    append(kb, identity(3), ("run.submitted", started({"who": ["Zoë"]}, owner=OTHER)), first=21)
    return kb


def test_runs_are_listed_newest_first_in_pages(three):
    assert ids(three) == [3, 2, 1]
    assert (ids(three, limit=2), ids(three, limit=2, offset=2)) == ([3, 2], [1])


def test_a_run_after_the_clock_was_set_back_is_still_the_newest(three):
    append(three, identity(4), ("run.submitted", started({"topic": "pier"})))
    assert ids(three) == [4, 3, 2, 1]
    assert ids(three, text="pier", limit=2) == [4, 2]
    assert ids(three, until_ms=11_000) == [4, 1]
    assert matching(three.ledger, "last") == [identity(4).run_id]


def test_the_openings_of_many_runs_are_named_at_once(three):
    one, two = identity(1).run_id, identity(2, opening="report").run_id
    assert three.openings_of([two, one, "unknown"]) == {one: identity(1).opening_name, two: "report"}


def test_a_run_without_an_end_is_unfinished_once_its_owner_is_gone(three):
    living = frozenset({OWNER})
    states = [(row["status"], row["state"]) for row in three.runs(RunFilter(living=living))]
    assert states == [("queued", "unfinished"), ("running", "running"), ("succeeded", "succeeded")]
    assert [row["state"] for row in three.runs()] == ["queued", "running", "succeeded"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"state": "succeeded"}, [1]),
        ({"state": "running"}, [2]),
        ({"state": "unfinished"}, [3]),
        ({"state": "queued"}, []),
        ({"state": "failed"}, []),
        ({"opening": "letter"}, [3, 1]),
        ({"opening": "lett"}, []),
        ({"since_ms": 11_000}, [3, 2]),
        ({"until_ms": 11_000}, [1]),
        ({"since_ms": 1_001, "until_ms": 21_000}, [2]),
        ({"text": "PIER"}, [2, 1]),
        ({"text": "repair pier"}, [1]),
        ({"text": "zoe"}, [3]),
        ({"text": "uberraschung"}, [1]),
        ({"text": "report"}, [2]),
        ({"text": "pier%"}, [2, 1]),
        ({"text": "pier nothing"}, []),
        ({"text": "pier", "opening": "letter", "state": "succeeded"}, [1]),
    ],
)
def test_filters_narrow_the_list(three, wanted, found):
    assert ids(three, living=frozenset({OWNER}), **wanted) == found


def test_what_the_asking_process_knows_of_its_own_runs_counts_before_the_records(three):
    here = {identity(2).run_id: "paused", identity(1).run_id: "running"}
    assert [row["state"] for row in three.runs(RunFilter(here=here))] == ["queued", "paused", "succeeded"]
    assert ids(three, here=here, state="paused") == [2]
    assert ids(three, here=here, state="running") == []


def asked(call, name, klass):
    return "effect.requested", r.EffectRequested("a", 1, call, name, klass, HASH, {})


def answered(call):
    return "effect.completed", r.EffectEnded("a", 1, call, result={}, ms=4, tokens_in=2, tokens_out=3, usd=0.25)


@pytest.mark.parametrize(
    ("records", "state", "waiting_for", "since_ms"),
    [
        ([], "running", None, None),
        ([asked(1, "model.complete", "idempotent")], "running", "a model", 4000),
        ([asked(1, "mail.send", "external")], "running", "mail.send", 4000),
        ([asked(1, "timer.sleep", "waiting")], "waiting", "a time", 4000),
        ([asked(1, "ask.person", "waiting")], "waiting", "an answer", 4000),
        ([asked(1, "spawn.agent", "waiting"), answered(1)], "running", None, None),
        ([("approval.requested", r.ApprovalRequested("p", "t", "a", action="mail.smtp"))], "waiting", "approval of mail.smtp", 4000),
        (
            [("approval.requested", r.ApprovalRequested("r/a/1/1/outcome/1", "t", "a", 1, 1, action="mail.smtp"))],
            "waiting",
            "an answer whether mail.smtp happened",
            4000,
        ),
        (
            [("approval.requested", r.ApprovalRequested("r/a/gate/1/1", "t", "a", 1, action="gate", round=1))],
            "waiting",
            "an answer at a gate",
            4000,
        ),
        (
            [asked(1, "model.complete", "idempotent"), ("approval.requested", r.ApprovalRequested("p", "t", "b", action="mail.smtp"))],
            "running",
            "approval of mail.smtp (+1)",
            5000,
        ),
        (
            [asked(1, "mail.send", "external"), ("approval.requested", r.ApprovalRequested("p", "t", "a", 1, 1, action="mail.smtp"))],
            "waiting",
            "approval of mail.smtp",
            5000,
        ),
        ([asked(1, "timer.sleep", "waiting"), ("node.started", r.NodeStarted("a", 2, r.AgentRef("w")))], "running", "a time", 4000),
        ([("run.waiting", r.RunChanged("timer", until_ms=9))], "waiting", "timer", 4000),
        ([("run.waiting", r.RunChanged("timer")), ("run.recovered", r.RunChanged("over", owner=OTHER))], "running", None, None),
        ([("run.paused", r.RunChanged("lunch"))], "paused", "a resumption", 4000),
        ([("run.paused", r.RunChanged("lunch")), ("run.resumed", r.RunChanged("back"))], "running", None, None),
        (
            [("run.paused", r.RunChanged("lunch")), ("run.recovered", r.RunChanged("died")), ("run.waiting", r.RunChanged("timer"))],
            "paused",
            "a resumption",
            4000,
        ),
        ([("run.paused", r.RunChanged("lunch")), ("run.cancelling", r.RunChanged("enough"))], "running", None, None),
    ],
)
def test_a_run_without_an_end_says_what_it_waits_for(kb, records, state, waiting_for, since_ms):
    node = ("node.started", r.NodeStarted("a", 1, r.AgentRef("writer")))
    append(kb, identity(1), ("run.submitted", started()), ("run.started", started()), node, *records)
    row = kb.run(identity(1).run_id)
    assert (row["state"], row["waiting_for"], row["waiting_since_ms"]) == (state, waiting_for, since_ms)


def test_a_run_is_under_way_while_one_of_its_nodes_is(kb):
    nodes = [("node.started", r.NodeStarted(node, 1, r.AgentRef("writer"))) for node in "ab"]
    append(kb, identity(1), ("run.submitted", started()), ("run.started", started()), *nodes, asked(1, "timer.sleep", "waiting"))
    assert kb.run(identity(1).run_id)["state"] == "running"


def test_a_run_without_an_end_says_what_it_has_used(kb):
    append(kb, identity(1), ("run.submitted", started()), asked(1, "model.complete", "idempotent"), answered(1))
    row = kb.run(identity(1).run_id)
    assert (row["tokens"], row["usd"]) == (5, 0.25)


def test_a_recovered_run_belongs_to_the_process_that_took_it_up(kb):
    append(kb, identity(1), ("run.submitted", started()), ("run.recovered", r.RunChanged("its process ended", owner=OTHER)))
    assert kb.run(identity(1).run_id)["owner"] == OTHER


def test_a_queued_run_that_was_taken_up_belongs_to_the_process_that_starts_it(kb):
    taken_up = ("run.recovered", r.RunChanged("its process ended", owner=OWNER))
    append(kb, identity(1), ("run.submitted", started(owner=OTHER)), taken_up, ("run.started", started(owner=OTHER)))
    (row,) = kb.runs(RunFilter(living=frozenset({OWNER})))
    assert (row["owner"], row["state"]) == (OWNER, "running")


def test_a_run_that_its_agents_began_others_from_waits_for_what_those_wait_for(kb):
    root = identity(1)
    below = [
        RunIdentity(identity(number).run_id, root.trace_id, root.opening_id, name, root.run_id)
        for number, name in ((2, "two"), (3, "three"))
    ]
    for run, call in ((root, "spawn.opening"), (below[0], "spawn.agent"), (below[1], "ask.person")):
        node = ("node.started", r.NodeStarted("a", 1, r.AgentRef("writer")))
        append(kb, run, ("run.submitted", started()), ("run.started", started()), node, asked(1, call, "waiting"))
    (row,) = kb.runs(RunFilter(roots=True))
    assert (row["waiting_for"], row["waiting_since_ms"]) == ("an answer in three", 4000)


def test_children_and_forks_are_related(kb):
    append(kb, identity(1), ("run.submitted", started()))
    append(kb, identity(2, parent=identity(1).run_id), ("run.submitted", started()))
    append(kb, identity(3), ("run.submitted", started(forked_from=r.ForkedFrom(identity(1).run_id, 4))))
    append(kb, identity(4), ("run.submitted", started()))
    assert sorted(ids(kb, related_to=identity(1).run_id)) == [2, 3]


def test_children_are_found_by_the_index_and_in_the_ledger_where_it_may_lack_one(kb, monkeypatch):
    append(kb, identity(1), ("run.submitted", started()))
    for number, parent in ((2, 1), (3, None), (4, 1)):
        append(kb, identity(number, parent=parent and identity(parent).run_id), ("run.submitted", started()))
    expected = [identity(2).run_id, identity(4).run_id]
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "children", lambda *_: pytest.fail("the ledger is looked through"))
        assert (kb.children(identity(1).run_id), kb.children(identity(3).run_id)) == (expected, [])
    append(kb, identity(5, parent=identity(1).run_id), ("run.submitted", started()))
    kb.ledger.append([NewEvent("run.started", {"v": 1, "run_id": "5", "seq": 1}, "runtime")], check=False)
    assert kb.problems()
    assert kb.children(identity(1).run_id) == [*expected, identity(5).run_id]


@pytest.mark.parametrize(
    "ref",
    [
        "0000", "00000001-d9", "run:00000001", " trace:00000001-d9cb ", identity(1).run_id.upper(), "last",
        "00000001d", "trace:00000001d9cb469", identity(1).run_id.replace("-", ""),
    ],
)  # fmt: skip
def test_a_run_is_found_by_the_beginning_of_its_id_and_as_the_last_one(kb, ref):
    append(kb, identity(1), ("run.submitted", started()))
    assert find_run(kb.ledger, ref) == identity(1).run_id
    assert kb.get(f"run:{ref}")["data"]["status"] == "queued"


@pytest.mark.parametrize("ref", ["000", "ffff", "zzzz", "", "%", "00000001e", identity(1).run_id.replace("-", "") + "0"])
def test_what_names_no_run_is_refused(kb, ref):
    append(kb, identity(1), ("run.submitted", started()))
    assert matching(kb.ledger, ref) == []
    assert kb.get(f"run:{ref}") is None
    with pytest.raises(InvalidInput, match="there is no run"):
        find_run(kb.ledger, ref)


def test_an_ambiguous_beginning_of_an_id_is_an_error(kb):
    for number in (1, 2):
        append(kb, identity(number), ("run.submitted", started()))
    for find in (lambda: find_run(kb.ledger, "0000"), lambda: kb.get("run:0000")):
        with pytest.raises(InvalidInput, match="begins more than one run: 00000002-d9cb, 00000001-d9cb") as caught:
            find()
        assert caught.value.code == "run.ambiguous"


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "runs_newest"),
        ({"since_ms": 5, "until_ms": 9}, "runs_started (submitted_ms>? AND submitted_ms<?)"),
        ({"state": "unfinished", "living": frozenset({OWNER})}, "runs_open"),
        ({"related_to": "x"}, "runs_parent (parent_run_id=?)"),
        ({"here": {"x": "waiting"}}, "SEARCH h USING AUTOMATIC"),
    ],
)
def test_lists_use_an_index(kb, wanted, index):
    from runloop.kb.runs import _statement

    sql, values = _statement(RunFilter(**wanted))
    with kb.reading() as db:
        plan = " / ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    assert index in plan, plan
