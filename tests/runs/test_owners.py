"""Which process has a run: a lock that ends with the process, however it ends."""

import os
import subprocess
import sys

from runloop.runs.owners import Owner, living_owners

HOLDS = """import sys
from pathlib import Path
from runloop.runs.owners import Owner
print(Owner.take(Path(sys.argv[1])).id, flush=True)
sys.stdin.read()
"""


def test_an_owner_lives_as_long_as_its_process_and_is_named_by_it(tmp_path):
    mine = Owner.take(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        other = process.stdout.readline().strip()
        assert living_owners(tmp_path) == {mine.id: str(os.getpid()), other: str(process.pid)}
        assert (mine.alive(other), mine.alive(mine.id), mine.alive(None), mine.alive("../x")) == (True, False, False, False)
        process.kill()
        process.wait()
    assert living_owners(tmp_path) == {mine.id: str(os.getpid())}
    assert mine.alive(other) is False
    mine.close()
    assert (living_owners(tmp_path), list((tmp_path / "owners").iterdir())) == ({}, [])


def test_where_nothing_ever_ran_nobody_owns_anything(tmp_path):
    assert living_owners(tmp_path) == {}


def test_what_is_no_owners_lock_is_left_alone(tmp_path):
    (tmp_path / "owners").mkdir()
    (tmp_path / "owners" / "readme").write_text("mine")
    assert (living_owners(tmp_path), (tmp_path / "owners" / "readme").exists()) == ({}, True)
