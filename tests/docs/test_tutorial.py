"""The tutorial, typed line by line into a real terminal of a new home; what the page shows must be what the screen shows."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INTO = re.compile(r"`(~/[^`]+)`:\n\n\Z")  # the words before a block that belongs into a file
ASKS = re.compile(r"^(.*(?:\[e\]dit|\[n\] no|Number):? )(\S+)$")  # a question of ours, and what the person types
SCREENS = {"agtop": ("plan", "q")}  # a program that takes the whole screen: what it must show, and the key that ends it
CHANGES = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<run>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<digest>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?Z?)?"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|min)\b"), "<duration>"),
    (re.compile(r"[ ─]+"), " "),
)

ALONE = """
import runpy
from runloop.cli import detecting
detecting.detect.__defaults__ = (9, ())
runpy.run_module("runloop", run_name="__main__", alter_sys=True)
"""
"""`rlp` on a machine where no server has a model, whatever runs on this one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line that a person types, or a file that they write; what is answered and what is seen after it."""

    typed: str
    shown: tuple[str, ...] = ()
    path: str = ""


def steps(text):
    """The steps of a page, in their order."""
    for block in BLOCK.finditer(text):
        language, body = block.groups()
        if into := INTO.search(text[: block.start()]):
            yield Step(body, path=into[1])
        elif language == "console":
            for command in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                typed, *shown = command.rstrip("\n").split("\n")
                yield Step(typed, tuple(shown))


def plain(line):
    """The line without what is another at every run: ids, digests, times."""
    for pattern, instead in CHANGES:
        line = pattern.sub(instead, line)
    return line.rstrip()


def agrees(shown, seen):
    """Whether a screen is what the page shows: line by line; a line … stands for any lines, and … in a line for anything."""
    pattern = ""
    for line in shown:
        pattern += r"(?:.*\n)*?" if line.strip() == "…" else ".*".join(map(re.escape, plain(line).split("…"))) + r"\n"
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in seen)) is not None


@pytest.fixture
def terminal(tmp_path, guest_cache):
    spec = importlib.util.spec_from_file_location("support_shells", ROOT / "tests/support/shells.py")
    shells = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shells)
    programs, runtime = tmp_path / "bin", tmp_path / "run"
    programs.mkdir()
    runtime.mkdir(mode=0o700)
    (tmp_path / "rlp.py").write_text(ALONE)
    for name, how in (("rlp", tmp_path / "rlp.py"), ("agtop", "-m runloop.cli.agtop")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -P {how} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / ".bashrc").write_text("PS1='$ '\n")
    env = {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(guest_cache),
        "XDG_RUNTIME_DIR": str(runtime),
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "SHELL": "/bin/bash",
        "PAGER": "cat",
    }
    opened = shells.Terminal(SimpleNamespace(root=tmp_path, command=["bash"], prompt="$", env=env), rows=120)
    yield opened

    opened.close()
    subprocess.run([programs / "rlp", "down"], env=env, cwd=tmp_path, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_every_line_of_the_tutorial_shows_what_the_page_shows(terminal):
    differing = []
    for step in steps(PAGE.read_text(encoding="utf-8")):
        if step.path:
            path = Path(step.path.replace("~", str(terminal.home.root), 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.typed)
            continue
        seen = typed(terminal, step)
        until = time.monotonic() + 30
        while step.typed == "rlp inbox" and not agrees(step.shown, seen) and time.monotonic() < until:
            seen = typed(terminal, step)  # what a run asks comes a moment after it began
        if not agrees(step.shown, seen):
            differing.append("\n".join(["the page:", f"$ {step.typed}", *step.shown, "the screen:", *seen]))
    assert "\n\n".join(differing) == ""


def typed(terminal, step):
    """What the screen shows after the line was typed, its questions answered and the prompt back."""
    terminal.clear()
    terminal.enter(step.typed)
    for line in step.shown:
        if asked := ASKS.match(line):
            terminal.expect(asked[1].split("…")[-1].rstrip(), seconds=300)  # the first run compiles the guest
            terminal.quiet()
            terminal.type(asked[2])
            terminal.key("Enter")
    if step.typed in SCREENS:
        words, key = SCREENS[step.typed]
        terminal.until(lambda screen: f"$ {step.typed}" not in screen and words in screen, what=words)
        terminal.type(key)
    terminal.prompted(seconds=300)
    lines = terminal.screen(back=0).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("$ "))
    return [line.replace(str(terminal.home.root), "~") for line in lines[first + 1 : -1]]


@pytest.mark.parametrize(
    ("shown", "seen", "same"),
    [
        (("a  b",), ["a b"], True),
        (("a",), ["a", "b"], False),
        (("a", "…"), ["a", "b", "c"], True),
        (("…", "c"), ["a", "b"], False),
        (("run … succeeded",), ["run 3f2a91c0 succeeded"], True),
        (("run 3f2a91c0 took 5 ms",), ["run 88aa01ff took 7.25 ms"], True),
        (("2 new",), ["3 new"], False),
    ],
)
def test_a_screen_is_compared_line_by_line_but_for_ids_and_times(shown, seen, same):
    assert agrees(shown, seen) is same


def test_every_block_of_the_tutorial_is_typed_or_written_to_a_file():
    text = PAGE.read_text(encoding="utf-8")
    done = list(steps(text))
    assert text.count("\n```") == 2 * (len([step for step in done if step.path]) + text.count("\n```console\n"))
    assert {step.path for step in done if step.path} >= {"~/.runloop/openings/plan.yaml", "~/notes/launch.md"}
