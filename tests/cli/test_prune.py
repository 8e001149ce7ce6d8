"""`rlp kb prune`, and what the other verbs say of a run that it archived."""

from __future__ import annotations

import json

import pytest

from runloop.cli.main import main

AGENT = """from runloop_agent import agent, kb

@agent
def run(topic: str):
    return {"out": {"topic": topic, "found": len(kb.search(topic))}}
"""
OPENING = """version: 0
name: finder
params: {topic: tea}
nodes: [{id: find, use: "agent:finder", with: {topic: "{{params.topic}}"}}]
edges: []
"""


@pytest.fixture
def rlp(tmp_path, monkeypatch, capsys):
    """Runs a command in a home of its own: exit code, stdout, stderr."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(each) for each in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def archived(rlp, tmp_path):
    """The id of a run that was pruned."""
    assert rlp("agent", "scaffold", "finder", "--root", tmp_path / "agents", "--cap-kb-read", "notes")[0] == 0
    (tmp_path / "agents/finder/agent.py").write_text(AGENT)
    (tmp_path / "agents/finder/tests/cases.yaml").unlink()
    assert rlp("agent", "build", tmp_path / "agents/finder")[0] == 0
    (tmp_path / "finder.yaml").write_text(OPENING)
    code, out, err = rlp("run", "finder.yaml", "--local", "--json")
    assert code == 0, err
    run_id = json.loads(out.splitlines()[0])["run_id"]
    code, out, _ = rlp("kb", "prune", "--older-than", "0s", "--dry-run", "--json")
    assert [each["run_id"] for each in json.loads(out)["runs"]] == [run_id]
    first, second, *_ = rlp("kb", "prune", "--older-than", "0s", "--dry-run", "--table")[1].splitlines()
    assert (first.partition(",")[0], " records, " in first, "which ended from " in first, second) == (
        *("would archive 1 run", True, True),
        "  1 of finder succeeded",
    )
    code, out, err = rlp("kb", "prune", "--older-than", "0s", "--json")
    assert (code, json.loads(out)["pruned"]["runs"]) == (0, 1), err
    return run_id


def test_an_archived_run_is_listed_shown_traced_replayed_and_exported_and_never_taken_up(rlp, archived, tmp_path):
    assert json.loads(rlp("runs", "--json")[1]) == []
    (listed,) = json.loads(rlp("runs", "--archived", "--json")[1])
    assert (listed["run_id"], listed["status"], listed["checkpoint"]) == (archived, "succeeded", 1)
    assert listed["archive"].startswith(str(tmp_path / ".runloop/pog/archive/runs-0001-"))
    shown = json.loads(rlp("show", archived[:8], "--json")[1])
    assert (shown["run_id"], shown["origin"], shown["status"]) == (archived, "archived", "succeeded")
    assert [code for code, _, _ in (rlp("trace", archived), rlp("logs", archived), rlp("export", archived, "-o", "run.rlz"))] == [0, 0, 0]
    assert rlp("replay", archived, "--table")[1].endswith("the replay is identical\n")
    for verb in ("resume", "fork", "cancel"):
        code, _, err = rlp(verb, archived)
        assert (code, err.partition("]")[0]) == (2, "error[run.archived") or (verb == "cancel" and code == 3), (verb, err)
    assert rlp("kb", "verify")[0] == 0
    # A checkpoint by a key that is not this installation's does not verify.
    (tmp_path / ".runloop/keys/export-ed25519").write_text("1" * 64)
    code, _, err = rlp("kb", "verify", "--table")
    assert (code, "the signer of checkpoint 1 differs" in err) == (5, True)
    signer = err.partition("found ")[2].split()[0]
    assert rlp("kb", "verify", "--accept-signer", signer[:-1])[0] == 2
    assert [rlp("kb", "verify", *more)[0] for more in (("--accept-signer", signer), ())] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "cli.usage"),
        (("--before", "1d", "--older-than", "1d"), "cli.usage"),
        (("--before", "soon"), "cli.time"),
        (("--before", "2999-01-01"), "cli.time"),
    ],
)
def test_a_time_that_cannot_be_meant_is_refused(rlp, arguments, code):
    exit_code, _, err = rlp("kb", "prune", *arguments)
    assert (exit_code, err.startswith(f"error[{code}]")) == (2, True)


def test_what_would_go_is_counted_whole_and_listed_up_to_a_limit(rlp, tmp_path):
    assert rlp("agent", "scaffold", "finder", "--root", tmp_path / "agents", "--cap-kb-read", "notes")[0] == 0
    (tmp_path / "agents/finder/agent.py").write_text(AGENT)
    (tmp_path / "agents/finder/tests/cases.yaml").unlink()
    assert rlp("agent", "build", tmp_path / "agents/finder")[0] == 0
    (tmp_path / "finder.yaml").write_text(OPENING)
    for _ in range(3):
        assert rlp("run", "finder.yaml", "--local", "--json")[0] == 0

    def planned(*more):
        said = json.loads(rlp("kb", "prune", "--older-than", "0s", "--dry-run", *more)[1])
        return said["count"], said["openings"], len(said["runs"])

    openings = [{"opening_name": "finder", "status": "succeeded", "count": 3}]
    assert [planned(), planned("--limit", "2"), planned("--limit", "0")] == [(3, openings, 3), (3, openings, 2), (3, openings, 0)]
    table = rlp("kb", "prune", "--older-than", "0s", "--dry-run", "--table", "--limit", "1")[1]
    assert (table.count("finder  "), "and 2 more (use --limit to see more than 1)" in table) == (1, True)
    assert "run " not in rlp("kb", "prune", "--older-than", "0s", "--dry-run", "--table", "-n", "0")[1].splitlines()[2]
