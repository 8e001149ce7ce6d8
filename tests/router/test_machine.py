import os
from pathlib import Path

import pytest

from runloop.errors import InvalidInput
from runloop.router import machine, shells
from runloop.router.values import RouterSettings


@pytest.fixture
def programs(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, mode in (("tool", 0o755), ("data", 0o644)):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(mode)
    (folder / "sub").mkdir()
    return folder


def test_programs_are_executable_files_of_the_path(programs, tmp_path):
    facts = machine.facts({"PATH": f"/nowhere:{programs}", "SHELL": "/bin/zsh"}, {"cwd": str(tmp_path)})
    assert facts.shell == "zsh"
    assert [facts.kind_of(name) for name in ("tool", "data", "sub", "none", "", "a\0b", "x" * 5000, "\ud800")] == ["command"] + [None] * 7
    assert [facts.kind_of(name) for name in ("./bin/tool", "bin/data", str(programs / "tool"))] == ["command", None, "command"]


def test_a_program_that_arrives_is_found_after_the_directory_changed(programs):
    found = machine.Programs(str(programs), "/")
    found.refresh()
    assert not found("later")
    (programs / "later").write_text("")
    (programs / "later").chmod(0o755)
    assert not found("later")
    os.utime(programs, ns=(1, 1))
    found.refresh()
    assert found("later")
    found.refresh()
    assert found("later")


def test_a_directory_of_the_path_may_come_later_and_go_again(programs, tmp_path):
    found = machine.Programs(f"{tmp_path / 'gone'}:/nowhere", "/")
    found.refresh()
    assert not found("tool")
    programs.rename(tmp_path / "gone")
    found.refresh()
    assert found("tool")
    (tmp_path / "gone").rename(programs)
    found.refresh()
    assert not found("tool")


def test_an_empty_part_of_the_path_is_the_working_directory(programs):
    assert machine.Programs("", str(programs))("tool")


def test_files_are_those_of_the_working_directory(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    files = machine.Files(str(tmp_path))
    assert [files(name) for name in ("notes.txt", "other", "", "a\0", "/", "é" * 300)] == [True, False, False, False, True, False]


def test_what_the_shell_says_comes_before_what_is_looked_up(tmp_path):
    said = {
        "shell": "fish",
        "aliases": {"gs": "git status"},
        "functions": ["up"],
        "builtins": ["b"],
        "keywords": ["k"],
        "commands": ["c"],
        "files": ["f"],
    }
    facts = machine.facts({}, said)
    assert [facts.kind_of(name) for name in ("gs", "up", "b", "k", "c", "cd")] == [
        "alias",
        "function",
        "builtin",
        "keyword",
        "command",
        None,
    ]
    assert (facts.shell, facts.has_file("f"), facts.has_file("g")) == ("fish", True, False)


@pytest.mark.parametrize(("shell", "name"), [("bash", "shopt"), ("zsh", "autoload"), ("fish", "funced"), ("dash", "cd")])
def test_builtins_are_those_of_the_shell(shell, name):
    assert name in shells.builtins(shell)
    assert "if" in shells.keywords(shell)
    assert machine.facts({}, {"shell": shell}).kind_of(name) == "builtin"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"alias": {}}, "the shell's facts have no member 'alias'"),
        ({"aliases": []}, "aliases in the shell's facts has the wrong type"),
        ({"aliases": {"a": 1}}, "aliases in the shell's facts has the wrong type"),
        ({"functions": [1]}, "functions in the shell's facts has the wrong type"),
        ({"path": 1}, "path in the shell's facts has the wrong type"),
    ],
)
def test_facts_that_are_none_are_refused(said, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        machine.facts({}, said)
    assert caught.value.code == "route.facts"
    assert caught.value.hint


def test_a_working_directory_that_is_gone_is_no_error(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert machine.facts({}).has_file("etc")


def test_the_settings_are_those_of_the_configuration():
    values = {
        "sigil": "@",
        "sentences": "agent",
        "fastpath_shell": False,
        "allowlist": ("a",),
        "denylist": ("b",),
        "known_commands": ("d", "c"),
    }
    settings = machine.settings_of({**{f"router.{key}": value for key, value in values.items()}, "openings.search_dirs": (Path("/o"),)})
    lists = {"allowlist": ["a"], "denylist": ["b"], "known_commands": ["c", "d"], "opening_dirs": ["/o"]}
    assert settings.to_dict() == values | lists
    assert RouterSettings(**settings.to_dict()).to_dict() == settings.to_dict()
