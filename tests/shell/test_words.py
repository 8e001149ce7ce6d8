"""What zsh tells the daemon of a line's words: the decision must be that of a process which looks for itself."""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from runloop.router.classify import classify
from runloop.router.machine import facts
from runloop.router.values import RouterSettings

ROOT = Path(__file__).resolve().parents[2]
SNIPPET = ROOT / "runloop" / "data" / "shell" / "runloop.zsh"
CORPUS = ROOT / "tests" / "data" / "router"
MADE = (
    "git status `own --now`",
    "own it now please",
    "'a b' is what",
    "cat ~/.own",
    "see $(./tool --x) | nice tool",
    "sub/../note.txt .",
    "café x",
)
ASKING = r"""
source $1; _runloop_bytes
asked() { emulate -L zsh; setopt no_multibyte extended_glob; _runloop_found $1; print -rn -- $'\x82'$REPLY$'\1\1' }
while IFS= read -r -d $'\1' line; do asked $line; done
"""

pytestmark = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")


def seen(line, said):
    found = classify(line, facts({}, said), RouterSettings())
    return line, found.route, found.rule, [str(feature) for feature in found.features]


def test_zsh_names_the_words_that_are_programs_and_files_as_the_router_would_find_them(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "sub").mkdir()
    for name in ("a b", "note.txt", "home/.own", "café", "-x"):
        (tmp_path / name).touch()
    for name in ("tool", "sub/own"):
        (tmp_path / name).touch(0o755)
    lines = [line.split("\t")[1] for name in ("commands.tsv", "requests.tsv") for line in (CORPUS / name).read_text().splitlines()]
    lines = [*MADE, *lines[::7]]
    script = tmp_path / "asking.zsh"
    script.write_text(ASKING)
    path = f"{tmp_path / 'sub'}:{os.environ['PATH']}"
    told = subprocess.run(
        ["zsh", "-f", "-i", script, SNIPPET],
        input="".join(f"{line}\1" for line in lines).encode(),
        env={"PATH": path, "HOME": str(tmp_path / "home"), "TERM": "xterm"},
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    said = [msgspec.msgpack.decode(each) for each in told.stdout.split(b"\1\1")[:-1]]
    assert said[0] == {"commands": ["git", "own"], "files": []}
    assert said[3]["files"] == ["~/.own"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    decided = [seen(line, {"shell": "zsh", **each}) for line, each in zip(lines, said, strict=True)]
    assert decided == [seen(line, {"shell": "zsh", "path": path}) for line in lines]
