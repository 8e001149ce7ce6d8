"""What `scripts/test` asks of whoever may not install packages."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
TOOLS = ("basename", "bash", "cat", "dirname", "env")


@pytest.fixture
def checkout(tmp_path):
    """The scripts of a clean checkout, and a PATH where a user who is not root finds little more than a shell."""
    (tmp_path / "scripts").mkdir()
    for name in ("env.sh", "test"):
        shutil.copy(SCRIPTS / name, tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return tmp_path


def program(checkout, name, code):
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)


def run(checkout):
    done = subprocess.run(
        [checkout / "scripts" / "test"], env={"PATH": str(checkout / "bin"), "LANG": os.environ.get("LANG", "C")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.strip()


def test_everything_that_an_administrator_has_to_install_is_named_at_once_and_before_anything_is_made(checkout):
    program(checkout, "id", "echo 1000")
    program(checkout, "git", "exit 0")
    program(checkout, "python3", "exit 1")  # one without venv
    said = (
        "test: needs tmux zsh fish chromium node. On Debian and Ubuntu: apt-get install python3 python3-venv tmux zsh fish chromium nodejs"
    )
    assert run(checkout) == (1, "", said)
    assert not (checkout / ".venv").exists()


def test_root_installs_what_is_missing_the_python_that_makes_environments_included(checkout):
    program(checkout, "id", "echo 0")
    program(checkout, "python3", "exit 1")
    program(checkout, "apt-get", f'echo "$@" >>{checkout}/asked')
    returncode, stdout, _ = run(checkout)
    packages = "python3 python3-venv git tmux zsh fish chromium nodejs"
    assert (returncode, stdout) == (1, f"== Debian packages: {packages}\n")
    assert (checkout / "asked").read_text().splitlines() == ["update -qq", f"install -y -qq --no-install-recommends {packages}"]
