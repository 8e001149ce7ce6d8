"""`rlp replay`, `export`, `import`, `diff` and `agent test --from-run` as people use them: one home that records, another that receives."""

from __future__ import annotations

import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from runloop.cli import diff
from runloop.cli.main import main
from runloop.kb import Ledger
from runloop.runs.archives.signing import KnownSigners
from runloop.runs.diff import NodeDiff

AGENT = """from runloop_agent import agent, kb

@agent
def run(topic: str):
    return {"out": {"topic": topic, "found": len(kb.search(topic))}}
"""
OPENING = """version: 0
name: finder
params: {topic: tea}
nodes:
  - {id: find, use: "agent:finder", with: {topic: "{{params.topic}}"}}
  - {id: again, use: "agent:finder", with: {topic: "{{params.topic}}"}}
edges: [{from: find.out, to: again.in}]
"""


class Home:
    """One person's Runloop in this process."""

    def __init__(self, root, monkeypatch, capsysbinary):
        self.root, self._patch, self._captured = root, monkeypatch, capsysbinary
        self.state = root / ".runloop"
        root.mkdir()

    def rlp(self, *arguments):
        """Exit code, stdout and stderr of one command."""
        self._patch.setenv("HOME", str(self.root))
        self._patch.chdir(self.root)
        code = main([str(each) for each in arguments])
        out, err = self._captured.readouterr()
        return code, out, err.decode()

    def ok(self, *arguments):
        """The JSON that a command which must succeed prints."""
        code, out, err = self.rlp(*arguments)
        assert code == 0, err
        return json.loads(out)

    def agent(self, code=AGENT):
        place = self.root / "agents" / "finder"
        if not place.exists():
            assert self.rlp("agent", "scaffold", "finder", "--root", self.root / "agents", "--cap-kb-read", "notes")[0] == 0
        (place / "agent.py").write_text(code)
        (place / "tests" / "cases.yaml").unlink(missing_ok=True)
        assert self.rlp("agent", "build", place)[0] == 0
        return place

    def run(self, **params):
        (self.root / "finder.yaml").write_text(OPENING)
        given = [word for name, value in params.items() for word in ("-p", f"{name}={value}")]
        code, out, err = self.rlp("run", "./finder.yaml", "--local", "--json", *given)
        assert code == 0, err
        return json.loads(out.splitlines()[-1])["run_id"]

    def ledger(self):
        return Ledger.open(self.state / "pog" / "events.sqlite", writable=False)


@pytest.fixture
def homes(tmp_path, monkeypatch, capsysbinary, guest_cache):
    for name in ("RUNLOOP_HOME", "RUNLOOP_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(guest_cache))
    return Home(tmp_path / "one", monkeypatch, capsysbinary), Home(tmp_path / "two", monkeypatch, capsysbinary)


@pytest.fixture
def one(homes):
    homes[0].agent()
    return homes[0]


@pytest.fixture
def two(homes):
    return homes[1]


def exported(home, run_id, *options, name="run.rlz"):
    file = home.root / name
    code, _, err = home.rlp("export", run_id, "-o", file, *options)
    assert code == 0, err
    return file


def test_a_run_is_shown_with_the_files_that_it_made_a_few_of_them_and_how_many_more_there_are(one):
    making = "    for n in range(12):\n        emit.artifact(f'f{n}.txt', 'x', kind='text')\n    return"
    one.agent(AGENT.replace("agent, kb", "agent, emit, kb").replace("    return", making))
    run_id = one.run()

    shown, data = one.rlp("show", run_id, "--table")[1].decode(), one.ok("show", run_id)["artifacts"]

    made = [line for line in shown.splitlines() if line.startswith("made ")]
    assert (len(data), len(made)) == (24, 11)
    assert made[0] == f"made     {data[0]['path']}  (text, node {data[0]['node']})"
    assert made[-1] == f"made     and 14 more files: rlp show {run_id[:8]} --json"
    assert set(data[0]) == {"node", "kind", "path", "bytes", "blake3", "sha256"}


def test_a_run_is_exported_imported_and_replayed_where_its_agents_are_not(one, two):
    run_id = one.run()
    file = exported(one, run_id)

    first, second = two.ok("import", file), two.ok("import", file)
    report = two.ok("replay", run_id)

    assert (first["imported"], first["signer_known"], second["imported"], second["signer_known"]) == (True, False, False, True)
    assert (report["matches"], report["origin"], [each["verdict"] for each in report["attempts"]]) == (True, "imported", ["same", "same"])
    assert "finder" not in [each["name"] for each in two.ok("agent", "list")["agents"]]


def test_imported_runs_are_listed_as_such_and_stand_in_no_chain(one, two):
    run_id = one.run()
    assert two.rlp("import", exported(one, run_id))[0] == 0
    assert two.rlp("replay", run_id)[0] == 0

    with two.ledger() as ledger:
        kinds = [event.kind for event in ledger.read()]
    assert (kinds, two.ok("runs")) == (["archive.imported", "replay.reported"], [])
    assert [each["run_id"] for each in two.ok("runs", "--imported")] == [run_id]
    shown, signer = two.ok("show", run_id), two.ok("import", one.root / "run.rlz")["signer"]
    assert (shown["origin"], shown["signer"]) == ("imported", signer)
    assert two.ok("trace", run_id)["run_id"] == run_id
    named = [each.rlp("trace", run_id, "--table")[1].decode().splitlines()[0] for each in (one, two)]
    assert named == [f"run {run_id} of finder", f"run {run_id} of finder  (imported from another ledger, signed by {signer[:16]}…)"]
    assert two.ok("kb", "verify")["ok"] is True


def test_an_import_that_ended_before_it_was_noted_is_noted_by_the_next_one(one, two, monkeypatch):
    file = exported(one, one.run())
    with monkeypatch.context() as patch:
        patch.setattr(KnownSigners, "remember", lambda *_: 1 / 0)
        assert two.rlp("import", file)[0] != 0
    for _ in range(2):
        assert two.ok("import", file)["imported"] is False
    with two.ledger() as ledger:
        assert [event.kind for event in ledger.read()] == ["archive.imported"]


def test_what_is_piped_is_the_same_as_what_is_written(one, two, monkeypatch, tmp_path):
    run_id = one.run()
    file = exported(one, run_id)

    code, piped, err = one.rlp("export", run_id)

    assert (code, piped, err) == (0, file.read_bytes(), "")
    with file.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert two.ok("import", "-")["run_id"] == run_id


def test_what_shows_a_run_is_written_for_its_owner_alone_and_a_file_that_is_there_keeps_its_rights(one):
    run_id, given = one.run(), one.root / "given.rlz"
    given.touch()
    given.chmod(0o640)
    before = os.umask(0)
    try:
        made = exported(one, run_id)
        exported(one, run_id, name="given.rlz")
        assert one.rlp("run", "./finder.yaml", "--local", "--trace-out", one.root / "trace.json", "-p", "topic=tea")[0] == 0
    finally:
        os.umask(before)

    assert [each.stat().st_mode & 0o777 for each in (made, one.root / "trace.json", given)] == [0o600, 0o600, 0o640]


def test_a_replay_can_insist_on_the_opening_that_a_file_holds(one):
    run_id = one.run(topic="oolong")
    assert one.rlp("replay", run_id, "--opening", "finder.yaml")[0] == 0
    for other in (OPENING.replace("name: finder", "name: other"), "version: 0\nname: else\nnodes: []\n"):
        (one.root / "finder.yaml").write_text(other)
        code, _, err = one.rlp("replay", run_id, "--opening", "finder.yaml", "--table")
        assert code == 5
        assert err.startswith("error[replay.opening]: the run was of another opening (")
    assert one.rlp("replay", run_id, "--opening", "missing.yaml")[0] == 2


def test_a_replay_writes_its_report_and_nothing_else(one):
    run_id = one.run()
    with one.ledger() as ledger:
        before = ledger.head().id

    assert one.rlp("replay", run_id)[0] == 0

    with one.ledger() as ledger:
        (event,) = ledger.read(before)
    assert (event.kind, event.payload["run"], event.payload["matches"], len(event.payload["attempts"])) == (
        "replay.reported",
        run_id,
        True,
        2,
    )


def test_a_replay_shows_what_an_attempt_failed_with_as_a_whole(one):
    one.agent("from runloop_agent import agent\n\n@agent\ndef run(topic: str):\n    raise ValueError(topic)\n")
    (one.root / "finder.yaml").write_text(OPENING)
    assert one.rlp("run", "./finder.yaml", "--local", "--json")[0] == 1

    shown = one.rlp("replay", "last", "--table")[1].decode()

    assert "| error guest.exception\n" in shown


def test_changed_code_is_compared_with_the_record_and_both_values_are_shown(one):
    run_id = one.run()
    changed = one.agent(AGENT.replace("kb.search(topic)", "kb.search(topic + '!')"))

    unchanged = one.rlp("replay", run_id)  # the code that ran is kept
    shutil.rmtree(one.state / "pog" / "kept")
    refused = one.rlp("replay", run_id)
    code, out, _ = one.rlp("replay", run_id, "--with", f"finder={changed}")
    shown = one.rlp("replay", run_id, "--with", f"finder={changed}", "--table")[1].decode()

    assert (unchanged[0], refused[0], "replay.bundle" in refused[2]) == (0, 5, True)
    first = json.loads(out)["attempts"][0]["divergence"]
    assert (code, first) == (5, {"what": "call", "call": 1, "path": "$.args.query", "expected": "tea", "actual": "tea!"})
    assert 'find, attempt 1: call 1 differs at $.args.query: expected "tea", got "tea!"' in shown


@pytest.mark.parametrize(("option", "code"), [("finder", 2), ("=x", 2), ("finder=", 2), ("other=agents/finder", 2), ("finder=nowhere", 2)])
def test_other_code_that_cannot_be_used_is_a_usage_error(one, option, code):
    run_id = one.run()
    assert one.rlp("replay", run_id, "--with", option)[0] == code


def test_the_agents_of_a_directory_are_used_before_those_that_are_installed(one):
    run_id = one.run()
    (one.root / "agents").rename(one.root / "before")
    one.agent(AGENT + "# newer\n")
    shutil.rmtree(one.state / "pog" / "kept")

    assert one.rlp("replay", run_id)[0] == 5
    assert one.rlp("replay", run_id, "--agents-dir", one.root / "before")[0] == 0


def test_a_redacted_archive_can_be_shown_and_says_that_it_cannot_be_replayed(one, two):
    run_id = one.run(topic="a secret")
    file = exported(one, run_id, "--redact")

    code, _, err = two.rlp("replay", file)

    assert b"a secret" not in file.read_bytes()
    assert (code, "archive.redacted" in err) == (5, True)
    assert [each["node"] for each in two.ok("show", file)["attempts"]] == ["find", "again"]
    assert two.ok("import", file)["redacted"] > 0
    code, out, _ = two.rlp("diff", run_id, file)
    assert (code, json.loads(out)["same"], json.loads(out)["lost"]) == (1, False, True)


def test_selected_nodes_replay_alone(one, two):
    file = exported(one, one.run(), "--select", "again")
    report = two.ok("replay", file)
    assert ([each["node"] for each in report["attempts"]], report["matches"], report["recorded_hash"]) == (["again"], True, None)


def test_an_unsigned_archive_is_taken_only_when_asked_for(one, two):
    run_id = one.run()
    file = exported(one, run_id, "--unsigned")
    code, _, err = two.rlp("import", file)
    assert (code, "archive.unsigned" in err) == (4, True)
    assert two.ok("import", file, "--unsigned")["signer"] is None
    assert b"(imported from another ledger, signed by nobody)" in two.rlp("show", run_id, "--table")[1]


def test_another_signer_of_the_same_ledger_is_refused_until_accepted(one, two):
    first, second = one.run(), one.run()
    assert two.rlp("import", exported(one, first))[0] == 0
    (one.state / "keys" / "export-ed25519").unlink()
    file = exported(one, second)

    code, _, err = two.rlp("import", file)

    assert (code, "archive.signer_changed" in err) == (5, True)
    assert len(two.ok("runs", "--imported")) == 1
    assert two.ok("import", file, "--accept-signer")["imported"] is True
    assert two.ok("import", file)["signer_known"] is True


def test_an_imported_run_that_is_in_several_archives_is_listed_once(one, two):
    run_id = one.run()
    code, out, err = one.rlp("fork", run_id, "--at", "again", "--local", "--json")
    assert code == 0, err
    fork = json.loads(out.splitlines()[0])["run_id"]
    for each in (run_id, fork):
        assert two.rlp("import", exported(one, each, name=f"{each}.rlz"))[0] == 0

    listed = two.ok("runs", "--imported")

    assert sorted(each["run_id"] for each in listed) == sorted([run_id, fork])


def test_a_run_of_this_machine_is_not_imported(one):
    file = exported(one, one.run())
    done = one.ok("import", file)
    assert (done["own"], done["imported"], one.ok("runs", "--imported")) == (True, False, [])


def test_an_imported_run_is_passed_on_as_it_came(one, two):
    run_id = one.run()
    file = exported(one, run_id)
    assert two.rlp("import", file)[0] == 0

    assert exported(two, run_id, name="again.rlz").read_bytes() == file.read_bytes()
    code, _, err = two.rlp("export", run_id, "--redact", "-o", two.root / "x.rlz")
    assert (code, "archive.not_own" in err) == (2, True)


def test_an_altered_archive_is_refused(one, two):
    file = exported(one, one.run())
    file.write_bytes(file.read_bytes().replace(b'\\"found\\"', b'\\"fouxd\\"').replace(b'"found"', b'"fouxd"'))
    code, _, err = two.rlp("import", file)
    assert (code, "archive.altered" in err) == (5, True)


def test_two_runs_are_compared(one):
    first, second, other = one.run(), one.run(), one.run(topic="rum")

    assert one.rlp("diff", first, second)[0] == 0
    code, out, _ = one.rlp("diff", first, other)
    found = json.loads(out)

    assert (code, found["same"], [each["path"] for each in found["params"]]) == (1, False, ["$.params.topic"])
    assert [each["first_call"]["path"] for each in found["nodes"]] == ["$.args.query", "$.args.query"]
    table = one.rlp("diff", first, other, "--table")[1].decode()
    assert 'find: attempt 1, call 1 asked something else: $.args.query: "tea" → "rum"' in table
    assert table.endswith("the runs differ (succeeded, succeeded)\n")


@pytest.mark.parametrize(
    ("attempts", "agents", "lines"),
    [((1, 0), ("aa", None), []), ((1, 1), ("aa", "bb"), ["a: the agent's code differs (aa → bb)"]), ((1, 2), ("aa", "aa"), [])],
)
def test_of_a_node_that_did_not_begin_in_one_run_no_other_code_is_told(attempts, agents, lines):
    nothing = {"first_call": None, "outputs": (), "errors": None, "calls": (0, 0), "tokens": (0, 0), "usd": (0, 0), "ms": (0, 0)}
    node = NodeDiff("", "a", ("ok", None), attempts, agents, **nothing)
    states = ("succeeded", "unfinished")
    found = SimpleNamespace(openings=("o", "o"), params=(), nodes=[node], same=False, lost=False, differs=True, states=states)
    assert list(diff._lines(found)) == [*lines, "the runs differ (succeeded, unfinished)"]


def test_of_runs_that_lost_texts_nobody_says_that_they_are_the_same(one):
    first, second = one.run(topic="Maria Quux"), one.run(topic="Jo Ann Quux")
    one.ok("forget", "Maria Quux", "--also", "Jo Ann Quux", "--yes")

    code, out, _ = one.rlp("diff", first, second)
    found = json.loads(out)
    assert (code, found["same"], found["lost"]) == (1, False, True)
    assert [(each["same"], each["lost"]) for each in found["nodes"]] == [(False, True)] * 2
    table = one.rlp("diff", first, second, "--table")[1].decode()
    assert "find | not known" in " ".join(table.split())
    assert table.endswith(
        "what is left of the runs is the same; texts of them were erased or masked, so whether the runs are is not known\n"
    )

    code, out, _ = one.rlp("replay", first)
    report = json.loads(out)
    assert (code, report["matches"], {each["divergence"]["what"] for each in report["attempts"]}) == (5, False, {"erased"})
    table = one.rlp("replay", first, "--table")[1].decode().splitlines()
    assert "find, attempt 1: texts of its record were erased: whether it would be the same is not known" in table
    assert table[-1] == f"run {first}: texts of it were erased: whether the replay is identical is not known"

    code, _, err = one.rlp("fork", first, "--at", "again", "--json")
    assert (code, "fork.erased" in err) == (2, True)
    code, _, err = one.rlp("agent", "test", one.root / "agents" / "finder", "--from-run", f"{first}:find")
    assert (code, "texts of find were erased" in err) == (2, True)


def test_a_run_becomes_a_case_of_its_agent_which_passes_and_then_guards_it(one):
    run_id = one.run()
    place = one.root / "agents" / "finder"

    made = one.ok("agent", "test", place, "--from-run", f"{run_id}:find")
    again = one.ok("agent", "test", place, "--from-run", f"{run_id}:find")
    code, _, err = one.rlp("agent", "test", place, "--from-run", run_id)

    assert (made["passed"], made["failed"], again["passed"]) == (1, 0, 1)
    assert (place / "tests" / "cases.yaml").read_text().count("- name:") == 1
    assert (code, "find, again" in err) == (2, True)
    (place / "agent.py").write_text(AGENT.replace('"found": len', '"found": 1 + len'))
    code, out, _ = one.rlp("agent", "test", place, "--build")
    assert (code, json.loads(out)["failed"]) == (1, 1)


def test_a_case_of_what_a_fork_shares_has_the_parameters_with_which_it_was_asked(one):
    run_id = one.run()
    fork_id = forked(one, run_id, "--at", "again", "-p", "topic=rum")[0]["run_id"]
    place = one.root / "agents" / "finder"

    shared, own = (one.ok("agent", "test", place, "--from-run", f"{fork_id}:{node}") for node in ("find", "again"))

    assert [(each["passed"], each["failed"]) for each in (shared, own)] == [(1, 0), (1, 0)]


def test_the_child_runs_that_a_fork_shares_are_shown_with_it(one):
    (one.root / "outer.yaml").write_text('version: 0\nname: outer\nnodes: [{id: below, use: "opening:finder"}]\nedges: []\n')
    (one.root / "finder.yaml").write_text(OPENING)
    assert one.rlp("run", "./outer.yaml", "--openings-dir", one.root, "--local", "--json")[0] == 0
    run = one.ok("show", "last")
    fork_id = forked(one, run["run_id"], "--at", "6")[0]["run_id"]

    (child,) = run["children"]
    assert one.ok("show", fork_id)["children"] == [child]
    assert f"child    {child}  shared with the run that it was forked from\n" in one.rlp("show", fork_id, "--table")[1].decode()


def test_a_case_of_an_agent_that_only_child_runs_have_names_them(one):
    (one.root / "outer.yaml").write_text('version: 0\nname: outer\nnodes: [{id: below, use: "opening:finder"}]\nedges: []\n')
    (one.root / "finder.yaml").write_text(OPENING)
    assert one.rlp("run", "./outer.yaml", "--openings-dir", one.root, "--local", "--json")[0] == 0
    child = one.ok("show", "last")["children"][0]

    code, _, err = one.rlp("agent", "test", one.root / "agents" / "finder", "--from-run", "last")

    assert (code, f"hint: a child run has it, name that one: --from-run {child[:8]}\n" in err) == (2, True)


def test_a_run_that_nobody_knows_is_an_error_with_and_without_a_ledger(one, two):
    one.run()
    for home, says in ((one, "run.unknown"), (two, "run.no_ledger")):
        for verb in (("replay",), ("export",), ("show",), ("trace",), ("diff", "last")):
            code, _, err = home.rlp(*verb, "0123abcd")
            assert (code, says in err) == (2, True), verb


def forked(home, *arguments):
    """The records of a fork that must succeed."""
    code, out, err = home.rlp("fork", *arguments, "--local", "--json")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_a_run_is_forked_with_another_answer_and_the_fork_is_a_run_like_any_other(one):
    run_id = one.run()

    records = forked(one, run_id, "--answer", 'find/1/1={"hits": [{"domain": "notes", "key": "k", "title": "T"}]}')

    fork_id = records[0]["run_id"]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[0]["meta"]["forked_from"]["run_id"] == run_id
    shown = one.ok("show", fork_id)
    assert [each["outputs"]["out"][0]["found"] for each in shown["attempts"]] == [1, 0]
    assert one.rlp("replay", fork_id)[0] == 0
    code, out, _ = one.rlp("diff", run_id, fork_id)
    assert (code, [each["same"] for each in json.loads(out)["nodes"]]) == (1, [False, True])
    assert json.loads(out)["nodes"][0]["first_call"]["what"] == "told"


def test_what_is_other_in_a_fork_is_told_wherever_it_is_looked_at(one):
    run_id = one.run()
    answer = 'find/1/1={"hits": [{"domain": "notes", "key": "k", "title": "T"}]}'
    fork_id = forked(one, run_id, "--answer", answer, "-p", "topic=rum", "--agent", f"finder={one.root / 'agents' / 'finder'}")[0]["run_id"]
    other = "another answer to find/1/1, another topic, other code for finder"

    assert list(one.ok("show", fork_id)["overrides"]) == ["agents", "answers", "params"]
    _, shown, _ = one.rlp("show", fork_id, "--table")
    assert f"forked   from {run_id} after record 6, with {other}\n" in shown.decode()
    [origin] = [each for each in one.ok("why", fork_id)["links"] if each["relation"] == "forked from"]
    assert origin["note"] == f"after its record 6, with {other}"
    assert "given in a fork" in [hop["note"] for hop in one.ok("trace", fork_id)["ladder"]]


def test_a_fork_takes_another_parameter_and_other_code_for_what_comes(one):
    run_id = one.run()
    changed = one.root / "changed"
    shutil.copytree(one.root / "agents" / "finder", changed)
    (changed / "agent.py").write_text(AGENT.replace('"topic": topic', '"topic": topic.upper()'))
    assert one.rlp("agent", "build", changed)[0] == 0

    records = forked(one, run_id, "--at", "again", "-p", "topic=rum", "--agent", f"finder={changed}")

    shown = one.ok("show", records[0]["run_id"])
    assert [each["outputs"]["out"][0]["topic"] for each in shown["attempts"]] == ["tea", "RUM"]
    assert one.rlp("replay", records[0]["run_id"])[0] == 0


def test_a_fork_is_exported_with_the_run_that_it_was_forked_from_and_replays_elsewhere(one, two):
    run_id = one.run()
    fork_id = forked(one, run_id, "--at", "again")[0]["run_id"]

    file = exported(one, fork_id)

    assert two.ok("import", file)["runs"] == [fork_id, run_id]
    report = two.ok("replay", fork_id)
    assert (report["matches"], [each["verdict"] for each in report["attempts"]]) == (True, ["same", "same"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "fork.point"),
        (("--at", "nowhere"), "at key '--at'"),
        (("--answer", "find/1/1"), "cli.usage"),
        (("--answer", "find/1/1={"), "fork.answer"),
        (("--answer", "find/9/1={}"), "at key '--answer'"),
        (("--at", "again", "--agent", "nobody={finder}"), "at key '--agent'"),
        (("--at", "again", "--agent", "finder"), "cli.usage"),
        (("--at", "again", "-p", "topik=x"), "opening.param"),
        (("--at", "again", "--detach", "--local"), "cli.usage"),
    ],
)
def test_a_fork_that_makes_no_sense_is_refused_and_leaves_nothing(one, options, says):
    run_id = one.run()
    with one.ledger() as ledger:
        before = ledger.head()
    local = () if "--detach" in options else ("--local",)
    given = [each.format(finder=one.root / "agents" / "finder") if "{finder}" in each else each for each in options]
    code, _, err = one.rlp("fork", run_id, *given, *local)
    assert (code, says in err) == (2, True), err
    with one.ledger() as ledger:
        assert ledger.head() == before


def test_an_imported_run_cannot_be_forked(one, two):
    run_id = one.run()
    assert two.rlp("import", exported(one, run_id))[0] == 0
    code, _, err = two.rlp("fork", run_id, "--at", "again", "--local")
    assert (code, "fork.imported" in err) == (2, True)


@pytest.mark.parametrize("verb", ["resume", "cancel", "why"])
def test_an_imported_run_is_called_imported_by_what_drives_or_knows_only_own_runs(one, two, verb):
    run_id = one.run()
    assert two.rlp("import", exported(one, run_id))[0] == 0
    code, _, err = two.rlp(verb, run_id[:8])
    assert (code, [word in err for word in ("run.imported", run_id, f"`rlp show {run_id[:8]}`")]) == (2, [True] * 3), err
    code, _, err = two.rlp(verb, "0123456789")
    assert (code, "kb.unknown_entity" if verb == "why" else "run.unknown") == (2, err.partition("[")[2].partition("]")[0]), err
