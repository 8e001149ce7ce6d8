from __future__ import annotations

import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from runloop.bundles import inspect_bundle, load_bundle
from runloop.bundles.lint import lint
from runloop.bundles.scaffold import Grants, scaffold
from runloop.config.registry import lookup
from runloop.errors import InvalidInput
from runloop.models.types import ModelRequest, estimate_tokens
from runloop.openings import parse_opening
from runloop.testing import read_cases
from runloop_agent import kb, model


def test_a_new_agent_is_sound_as_it_is(tmp_path):
    done = scaffold("note_reader", tmp_path / "agents")
    inspection = inspect_bundle(done.bundle)
    assert (inspection.problems, lint(inspection)) == ((), [])
    bundle = load_bundle(done.bundle)
    assert (bundle.ref, list(bundle.ports_in), list(bundle.ports_out)) == ("note_reader", ["topic"], ["out"])
    assert sorted(bundle.files) == ["README.md", "agent.py", "manifest.toml", "policy.caps", "tests/cases.yaml"]
    assert len(read_cases(bundle.files["tests/cases.yaml"].decode())) == 4
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["note_reader"]


def test_its_policy_grants_what_was_asked_for_and_nothing_more(tmp_path):
    grants = Grants(fs=["~/notes"], net=["api.example:443"], kb_read=["contacts"], kb_write=["artifacts"])
    caps = load_bundle(scaffold("a", tmp_path, grants=grants, home="/home/ada").bundle, home="/home/ada").caps.to_dict()
    assert {key: value for key, value in caps.items() if value} == {
        "fs_ro": ["/home/ada/notes"],
        "net": {"hosts": ["api.example:443"], "allow_http": False, "allow_private": False},
        "exec": {"commands": [], "read_only": []},
        "kb_read": ["contacts"],
        "kb_write": ["artifacts"],
        "model": True,
    }


def test_what_it_asks_of_a_model_fits_into_one_request_however_long_the_notes_are(tmp_path, monkeypatch):
    asked = []

    def complete(prompt, *, context, max_tokens):
        asked.append(estimate_tokens(ModelRequest(prompt, context=context).text) + max_tokens)
        return SimpleNamespace(text="x")

    monkeypatch.setattr(kb, "search", lambda _topic, limit: [kb.Hit("notes", "n", "題" * 200, "語" * 5_000, event_id=7)] * limit)
    monkeypatch.setattr(model, "complete", complete)
    space = {}
    exec(scaffold("a", tmp_path).bundle.joinpath("agent.py").read_text(), space)
    assert space["run"]("茶")["out"]["mode"] == "model"
    assert asked[0] <= int(lookup("models.broker.budgets.per_request_tokens_cap").default)


def test_its_opening_runs_it(tmp_path):
    done = scaffold("a_b", tmp_path / "agents", description='It says "hi": {done}', opening=tmp_path / "openings" / "a_b.yaml")
    opening = parse_opening(done.opening.read_text(), params={"topic": "x"})
    assert (opening.name, [node.id for node in opening.nodes]) == ("a_b", ["a_b_node"])
    assert load_bundle(done.bundle).description == 'It says "hi": {done}'


def test_a_description_with_quotes_and_backslashes_stays_what_it_is(tmp_path):
    text = 'Ends in quotes """ and \\N{oops} \\'
    assert load_bundle(scaffold("a", tmp_path, description=text).bundle).description == text


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a/b", "../a", "ä", "a\n"])
def test_a_name_that_is_no_agents_name_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput) as caught:
        scaffold(name, tmp_path)
    expected = f"invalid agent name {name!r} (use lowercase letters, digits, and underscores; must start with a letter)"
    assert caught.value.message == expected


@pytest.mark.parametrize("description", ["", "  ", "two\nlines", "\x1b[31m"])
def test_a_description_is_one_printable_line(tmp_path, description):
    with pytest.raises(InvalidInput) as caught:
        scaffold("a", tmp_path, description=description)
    assert caught.value.code == "agent.description"


def test_a_grant_that_is_no_grant_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="invalid network host entry"):
        scaffold("a", tmp_path, grants=Grants(net=["*.example"]))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_scaffold_left_goes_with_the_next_one(tmp_path):
    killed = (
        "import os, pathlib, signal, sys; from runloop.bundles import scaffold; "
        "scaffold.seal = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL); scaffold.scaffold('a', pathlib.Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    scaffold("b", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("taken", ["agents/a", "openings/a.yaml"])
def test_nothing_that_is_there_is_overwritten_unless_forced(tmp_path, taken):
    (tmp_path / taken).parent.mkdir()
    (tmp_path / taken).mkdir() if taken == "agents/a" else (tmp_path / taken).write_text("mine")
    with pytest.raises(InvalidInput) as caught:
        scaffold("a", tmp_path / "agents", opening=tmp_path / "openings" / "a.yaml")
    assert caught.value.message == f"path already exists: {tmp_path / taken}"
    done = scaffold("a", tmp_path / "agents", opening=tmp_path / "openings" / "a.yaml", force=True)
    assert load_bundle(done.bundle).name == "a"


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput) as caught:
        scaffold("a", tmp_path / "file")
    assert caught.value.code == "agent.unwritable"
