"""`rlp runs`, `show` and `logs` on a ledger that the test writes, without a daemon."""

import json
import subprocess
import sys

import pytest

from runloop.cli import agtop, context
from runloop.cli.main import main
from runloop.events import RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase
from runloop.runs.owners import Owner
from runloop.text import GATE

HASH = "c" * 64
NOW = 1_795_000_000_000


def identity(number, opening="letter", parent=None, root=None):
    run_id = f"{number:08x}-d9cb-469f-a165-70867728950e"
    return RunIdentity(run_id, f"trace:{root or parent or run_id}", "opening:16fd2706-8baf-433b-82eb-8c7fada847da", opening, parent)


def started(owner, **over):
    return r.RunStarted("d" * 64, over.pop("params", {}), r.Versions("0"), "local", owner=owner, **over)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Run 1 failed, 2 is a fork of it that this process drives and that waits for an approval, 3 is a child of 2 that nobody drives."""
    for name in ("RUNLOOP_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("time.time_ns", lambda: (NOW + 7_800_000) * 1_000_000)
    pog = tmp_path / "state" / "pog"
    with KnowledgeBase.open(pog) as kb:
        owner = Owner.take(pog)
        one, two, three = identity(1), identity(2), identity(3, "inner", identity(2).run_id)
        forked = r.ForkedFrom(one.run_id, 4)
        node = r.NodeStarted("a", 1, r.AgentRef("writer"))
        append(
            kb, one, 0,
            ("run.submitted", started("f" * 32, params={"topic": "Pier"})), ("run.started", started("f" * 32)),
            ("run.finished", r.RunFinished("failed", 12_340, HASH, 1234, 0.0125, reason="no bolts")),
        )  # fmt: skip
        append(
            kb, two, 1000,
            ("run.submitted", started(owner.id, forked_from=forked)), ("run.started", started(owner.id)), ("node.started", node),
            ("node.log", r.NodeText("a", "first\nsecond\x1b[2J", 1, "info")), ("node.evicted", r.NodeMoved("a", 1)),
            ("node.rebuilt", r.NodeMoved("a", 1, replayed_calls=3)), ("run.waiting", r.RunChanged("person")),
            ("run.recovered", r.RunChanged("it comes back from its wait", effects_answered=3)),
            ("approval.requested", r.ApprovalRequested("p", "t", "a", action="mail.smtp")),
        )  # fmt: skip
        append(kb, three, 2000, ("run.submitted", started("e" * 32)), ("run.started", started("e" * 32)))
        yield tmp_path
        owner.close()


def append(kb, run, after_ms, *records):
    events = [
        run_event(run, seq, kind, meta, f"{kind} was said", ts_ms=NOW + after_ms, level="debug" if kind == "node.evicted" else "info")
        for seq, (kind, meta) in enumerate(records, 1)
    ]
    kb.ledger.append(events)


def rlp(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_the_table_says_what_runs_wait_for_and_how_long_they_took(home, capsys):
    header, _, *rows = rlp(capsys, "runs", "--children", "--table").splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in rows]
    assert [cell.strip() for cell in header.split("|")] == ["run", "opening", "state", "age", "took", "tokens", "usd", "why"]
    assert cells == [
        ["00000003", "inner", "unfinished", "2h09m", "2h09m", "–", "–", "–"],
        ["00000002", "letter", "waiting", "2h09m", "2h09m", "–", "–", "waits for approval of mail.smtp since 2h09m"],
        ["00000001", "letter", "failed", "2h10m", "12.3s", "1234", "0.0125", "no bolts"],
    ]


def test_runs_stand_in_rows_on_a_terminal_of_80_columns_whatever_they_wait_for_and_cost(home, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert len(rlp(capsys, "runs", "--children", "--table").splitlines()) == 5


def test_the_runs_that_others_started_are_listed_on_request_and_by_their_opening(home, capsys):
    def ids(*arguments):
        return [int(each["run_id"][:8], 16) for each in json.loads(rlp(capsys, "runs", *arguments, "--json"))]

    assert (ids(), ids("-n", "1"), ids("--children"), ids("--opening", "inner")) == ([2, 1], [2], [3, 2, 1], [3])


def test_a_run_waits_for_what_those_that_it_started_wait_for(home, capsys):
    owner = "e" * 32
    four, five, six = (
        identity(4, "outer"),
        identity(5, "middle", identity(4).run_id),
        identity(6, "inner", identity(5).run_id, identity(4).run_id),
    )
    with KnowledgeBase.open(home / "state" / "pog") as kb:
        for run in (four, five, six):
            node = r.NodeStarted("n", 1, r.AgentRef("writer"))
            append(kb, run, 3000, ("run.submitted", started(owner)), ("run.started", started(owner)), ("node.started", node))
        asked = r.ApprovalRequested("q", "t", "n", action="mail.smtp")
        kb.ledger.append([run_event(six, 4, "approval.requested", asked, "asked", ts_ms=NOW + 600_000)])
    first, *_ = json.loads(rlp(capsys, "runs", "--json"))
    assert (first["opening_name"], first["waiting_for"], first["waiting_since_ms"]) == (
        "outer",
        "approval of mail.smtp in inner",
        NOW + 600_000,
    )
    assert "waits for approval of mail.smtp in inner since 2h" in rlp(capsys, "runs", "-n", "1", "--table")


def test_the_list_is_narrowed_and_is_json_for_programs(home, capsys):
    def ids(*arguments):
        return [int(each["run_id"][:8], 16) for each in json.loads(rlp(capsys, "runs", *arguments, "--json"))]

    assert (ids("--state", "waiting"), ids("--state", "unfinished", "--children")) == ([2], [3])
    assert (ids("--opening", "letter"), ids("--text", "pier BOLTS"), ids("--since", "1h"), ids("--until", "1h")) == (
        [2, 1],
        [1],
        [],
        [2, 1],
    )
    assert rlp(capsys, "runs", "--state", "queued", "--table") == "no runs match\n"


def test_a_table_says_that_there_are_more_runs_than_it_shows(home, capsys):
    assert rlp(capsys, "runs", "-n", "1", "--table").splitlines()[-1] == "… and more runs (use --limit to see more than 1)"
    assert "more runs" not in rlp(capsys, "runs", "-n", "2", "--table")


@pytest.mark.parametrize("text", ["%", " *** ", "–"])
def test_a_text_without_a_word_lists_nothing_and_says_why(home, capsys, text):
    code = main(["runs", "--text", text])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert f"there is no word to look for in {text!r}" in err


def test_a_run_is_shown_with_its_waits_its_moves_and_its_relations(home, capsys):
    text = rlp(capsys, "show", "00000002", "--table")
    lines = text.splitlines()
    assert lines[2:6] == [
        "state    waiting",
        "waits    for approval of mail.smtp, since 2h09m",
        "evicted  once while it waited, rebuilt once with 3 calls from the record",
        "parked   once",
    ]
    assert lines[6].startswith("taken up once, last ")
    assert lines[6].endswith(": it comes back from its wait, 3 calls answered from the record")
    assert lines[7] == f"forked   from {identity(1).run_id} after record 4"
    assert f"child    {identity(3).run_id}  inner  unfinished\n" in text
    assert f"fork     {identity(2).run_id}  letter  waiting\n" in rlp(capsys, "show", "00000001", "--table")
    assert f"parent   {identity(2).run_id}\n" in rlp(capsys, "show", "00000003", "--table")
    shown = json.loads(rlp(capsys, "show", "00000002", "--json"))
    assert (shown["state"], shown["waiting_for"], shown["evicted"], shown["rebuilt"], shown["parked"]) == (
        "waiting", "approval of mail.smtp", 1, 1, 1,
    )  # fmt: skip
    assert (shown["forked_from"], shown["children"], shown["forks"]) == (
        {"run_id": identity(1).run_id, "seq": 4}, [identity(3).run_id], [],
    )  # fmt: skip


def test_what_a_gate_asks_about_waits_for_a_person_until_somebody_has_answered(home, capsys):
    gate = {"action": GATE, "options": ["approve", "reject"], "outputs": {"out": ["a"]}}
    asks = [("approval.requested", r.ApprovalRequested(f"g{number}", "Good?", "a", number, round=number, **gate)) for number in (1, 2)]
    begins = [("node.started", r.NodeStarted("a", number, r.AgentRef("writer"))) for number in (1, 2)]
    items = ("approval.requested", r.ApprovalRequested("all", "All?", "many", 1, round=1, **gate))
    revised = ("approval.decided", r.ApprovalEnded("g1", "revise", "a", 1, by=r.Decider("operator", 1)))
    with KnowledgeBase.open(home / "state" / "pog") as kb:
        records = [("run.submitted", started("f" * 32)), ("run.started", started("f" * 32))]
        append(kb, identity(4), 5000, *records, begins[0], asks[0], revised, begins[1], asks[1], items)
        kb.sync()
    attempts = json.loads(rlp(capsys, "show", "00000004", "--json"))["attempts"]
    at_gate = "for a person, at its gate"
    assert [(each["status"], each["why"]) for each in attempts] == [("ok", ""), ("waiting", at_gate)]
    rows = [line.split() for line in rlp(capsys, "show", "00000004", "--table").splitlines() if at_gate in line or " ok " in line]
    assert [(row[0], [word for word in row if word in {"ok", "waiting"}]) for row in rows] == [
        ("a", ["ok"]), ("a", ["waiting"]), ("many", ["waiting"])
    ]  # fmt: skip


def test_a_trace_shows_what_happened_to_the_whole_run_where_that_is_asked_for(home, capsys):
    plain = json.loads(rlp(capsys, "trace", "00000002"))["ladder"]
    every = json.loads(rlp(capsys, "trace", "00000002", "--include-control"))["ladder"]
    assert [hop["kind"] for hop in plain] == ["start", "approve mail.smtp?"]
    assert [hop for hop in every if hop in plain] == plain
    assert [(hop["to"], hop["kind"]) for hop in every if hop not in plain] == [
        ("run", "run.submitted"), ("run 00000001", "run.started"), ("run", "run.started"), ("a", "node.log"), ("a", "node.evicted"),
        ("a", "node.rebuilt"), ("run", "run.waiting"), ("run", "run.recovered"),
    ]  # fmt: skip
    shown = rlp(capsys, "trace", "00000002", "--include-control", "--table")
    assert "runloop → run" in shown
    assert "run.recovered" in shown


def test_a_trace_that_was_written_to_a_file_is_shown_from_it(home, capsys):
    made = rlp(capsys, "trace", "00000002", "--table")
    file = home / "kept.json"
    file.write_text(rlp(capsys, "trace", "00000002"))
    assert json.loads(rlp(capsys, "trace", str(file))) == json.loads(file.read_text())
    assert rlp(capsys, "trace", str(file), "--table") == made.replace("of letter", "of letter  (read from a file)", 1)
    (renamed := home / "kept").write_bytes(file.read_bytes())
    assert rlp(capsys, "trace", str(renamed), "--table", "--relative").splitlines()[3].startswith("+0.000s")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[1]", "it lacks what a trace has"),
        ("{}", "it lacks what a trace has"),
        ('{"run_id": "a", "opening_name": "b", "ladder": [{"seq": 1}]}', "it lacks what a trace has"),
        ('{"ladder": ', "it is no JSON"),
        ('{"run_id": "a", "opening_name": "b", "ladder": [], "nodes": ' + "[" * 200_000 + "]" * 200_000 + "}", "it is nested too deeply"),
        ('{"run_id": "a", "opening_name": "b", "ladder": [], "nodes": ' + "[" * 5_000 + "]" * 5_000 + "}", "it is nested too deeply"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_holds_no_trace_is_refused_as_one(home, capsys, content, what):
    file = home / "kept.json"
    if content is not None:
        file.write_text(content)
    assert main(["trace", str(file)]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error[run.trace_file]: no trace of a run can be read from {file}: {what}"


def test_a_narrow_terminal_shows_who_asks_whom_whole_and_leaves_numbers_out(home, capsys, monkeypatch):
    numbers = {"seq": 1, "ts_ms": NOW, "bytes": 1200, "ms": 3, "tokens": 14, "usd": 0.5}
    rung = {**numbers, "from": "review_revised", "to": "knowledge", "kind": "model.complete ok", "note": "from the cache, as before"}
    (file := home / "kept.json").write_text(json.dumps({"run_id": "r", "opening_name": "o", "ladder": [rung]}))

    def shown(columns, *more):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = [line for line in rlp(capsys, "trace", str(file), "--table", "--relative", *more).splitlines()[1:] if "-+-" not in line]
        return [each if " | " not in each else [cell.strip() for cell in each.split(" | ")] for each in lines]

    whole = ["+0.000s", "review_revised → knowledge", "model.complete ok", "1.2 KiB", "3", "14", "0.500000", "from the cache, as before"]
    assert shown(130)[1:] == [whole]
    assert shown(100)[1:] == [[*whole[:6], "from the cache, …"], "left out for want of room: usd; --no-wrap shows all"]
    assert shown(80)[1:] == [[*whole[:3], "3", "from the cache,…"], "left out for want of room: size, tokens, usd; --no-wrap shows all"]
    assert shown(80, "--no-wrap")[1:] == [whole]
    assert len(shown(80, "--max-cols", "7")[1]) == 7


def test_lines_of_a_log_stand_under_each_other_and_drive_no_terminal(home, capsys):
    lines = [line[14:] for line in rlp(capsys, "logs", "00000002", "--node", "a").splitlines()]
    assert lines == [
        "info   node.started was said",
        "info   a: first",
        "       second\\x1b[2J",
        "info   node.rebuilt was said",
        "info   approval.requested was said",
    ]
    assert "debug  node.evicted was said" in rlp(capsys, "logs", "00000002", "--level", "debug")
    assert rlp(capsys, "logs", "00000002", "--level", "warn") == ""


def test_lines_for_people_go_into_a_pipe_where_they_are_asked_for(home, capsys):
    assert rlp(capsys, "logs", "00000001", "--table") == rlp(capsys, "logs", "00000001")
    assert main(["attach", "00000001", "--watch", "--table"]) == 1  # as the run
    assert capsys.readouterr().out.splitlines()[-1] == "    3  run.finished was said"
    assert main(["logs", "00000001", "--table", "--json"]) == 2
    assert "--json and --table exclude each other" in capsys.readouterr().err


def test_a_child_is_taken_up_with_its_parent_only(home, capsys):
    assert main(["resume", "00000003"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error[run.child]: run {identity(3).run_id} belongs to run {identity(2).run_id}"


def left_behind(home):
    """Runs 4, 5 in 4 and 6 in 5, which nobody drives; 6 waits at a gate."""
    four, five, six = identity(4), identity(5, parent=identity(4).run_id), identity(6, "inner", identity(5).run_id, identity(4).run_id)
    with KnowledgeBase.open(home / "state" / "pog") as kb:
        for each in (four, five, six):
            append(kb, each, 3000, ("run.submitted", started("e" * 32)), ("run.started", started("e" * 32)))
        gate = r.ApprovalRequested("g", "t", "a", action="gate", round=1, options=["approve", "reject"])
        kb.ledger.append([run_event(six, 3, "approval.requested", gate, "a gate", ts_ms=NOW + 3000)])
    return four.run_id, six.run_id


@pytest.mark.parametrize("verb", ["resume", "cancel"])
def test_a_run_inside_of_others_is_changed_by_naming_the_one_around_all_of_them(home, capsys, verb):
    outermost, inner = left_behind(home)
    assert main([verb, inner]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error[run.child]: run {inner} belongs to run {outermost}", f"  hint: name that one: {outermost[:8]}",
    ]  # fmt: skip


def test_what_waits_in_a_run_that_nobody_drives_names_the_run_that_can_be_taken_up(home, capsys):
    outermost, inner = left_behind(home)
    (waits,) = (each for each in json.loads(rlp(capsys, "inbox", "--json")) if each["run_id"] == inner)
    assert (waits["root_run_id"], waits["line"].rpartition("; ")[2]) == (
        outermost, f"nothing drives it: `rlp up`, or `rlp resume {outermost[:8]}`",
    )  # fmt: skip

    assert main(["attach", inner]) == 3
    assert f"`rlp resume {outermost[:8]}` does so here" in capsys.readouterr().err


def complete(home, *words):
    done = subprocess.run([sys.executable, "-m", "runloop", "__complete", "bash", *words[1:]], capture_output=True, text=True, check=False)
    return done.stdout.split()[1:]


def test_the_shell_completes_runs_and_states(home):
    assert main(["runs"]) == 0  # the derived tables are as they were left
    ids = [identity(number).run_id for number in (3, 2, 1)]
    assert (complete(home, "rlp", "attach", "0000"), complete(home, "rlp", "cancel", "0000")) == (ids, ids[:2])
    assert complete(home, "rlp", "runs", "--state", "un") == ["unfinished"]
    assert complete(home, "rlp", "logs", "--level", "w") == ["warn"]


def test_logs_of_a_node_that_nothing_is_recorded_of_name_those_that_there_are(home, capsys):
    for node, said in (("a", ""), ("b", "warning[logs.node]: nothing is recorded of a node 'b'; there is something of a\n")):
        assert main(["logs", identity(2).run_id, "--node", node]) == 0
        out, err = capsys.readouterr()
        assert (bool(out), err) == (not said, said)


def test_before_anything_is_recorded_there_are_no_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "empty"))
    for more in ([], ["--archived"], ["--imported"], ["--state", "waiting"]):
        assert json.loads(rlp(capsys, "runs", "--json", *more)) == []
    assert rlp(capsys, "runs", "--table") == "no runs match\n"
    assert not (tmp_path / "empty").exists()


def test_agtop_shows_of_the_past_every_run_that_had_no_end_however_many_are_newer(home, monkeypatch):
    monkeypatch.setattr(agtop, "_PAST_RUNS", 1)
    context.begin()
    feed = agtop._past("14", agtop.KnowledgeDesk())
    assert ([int(row["run_id"][:8], 16) for row in feed.rows], feed.older) == ([3, 2], True)
    monkeypatch.setattr(agtop, "_PAST_RUNS", 4)
    feed = agtop._past("14", agtop.KnowledgeDesk())
    assert ([int(row["run_id"][:8], 16) for row in feed.rows], feed.older) == ([3, 2, 1], False)
