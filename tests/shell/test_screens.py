"""The screens of docs/screens: they can be made, and the page of every shell has every step."""

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = (
    ("git status", "nothing added to commit but untracked files present"),
    ("zap-everything", "runloop: not run: it would start 'zap-everything --now'"),
    ("the same from rlp route", "exit 14"),
    ("a request", "this reads like a request, but begins with a command."),
    ("`a` hands it over", "recipient    Maria Lee  (from: write an e-mail to {recipient} about {topic})"),
    ("it runs", "Approval needed: mail.outbox"),
    ("the mail is in the outbox", "Subject: The Q4 launch plan"),
    ("? what failed yesterday", "No run failed (yesterday)."),
    ("two lines are pasted", "second"),
    ("Ctrl-C", "after"),
    ("the history afterwards", "echo after"),
)


@pytest.fixture(scope="module")
def recorder():
    spec = spec_from_file_location("record_shell", ROOT / "scripts/record_shell.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["zsh", "bash", "fish"])
def test_the_page_of_a_shell_has_every_step_with_and_without_a_daemon(recorder, name):
    page = (recorder.SCREENS / f"shell-{name}.txt").read_text(encoding="utf-8")
    pieces = page.split(f"\n{recorder.RULE}\n")[1:]

    steps = list(zip(pieces[::2], pieces[1::2], strict=True))
    assert len(steps) == len(recorder.HOW) * len(SHOWN)
    for number, (caption, screen) in enumerate(steps):
        begins, shown = SHOWN[number % len(SHOWN)]
        how = list(recorder.HOW)[number // len(SHOWN)]
        assert caption.startswith(f"{name}, {how}, {number % len(SHOWN) + 1}: {begins}")
        assert shown in screen


@pytest.mark.skipif(not (shutil.which("zsh") and shutil.which("tmux")), reason="zsh or tmux is not installed")
def test_the_screens_can_be_made(recorder, guest_cache):
    steps = recorder.recorded("zsh", daemon=True, cache=guest_cache)

    assert len(steps) == len(SHOWN)
    for (caption, screen), (begins, shown) in zip(steps, SHOWN, strict=True):
        assert caption.startswith(begins)
        assert shown in screen
