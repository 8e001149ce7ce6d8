"""Recorded runs of the shipped openings, which every release replays identically in the real sandbox; `scripts/record-golden` makes them.

The Python guest is built anew on every machine, and not to the same bytes, so its digest is not compared; everything that it does is.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runloop.cli.main import main
from runloop.runs.archives.archive import open_archive

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"
DIVERGES = GOLDEN / "diverges.rlz"
SHIPPED = sorted(path.stem for path in (ROOT / "openings").glob("*.yaml"))


@pytest.fixture
def replayed(tmp_path, monkeypatch, capsys, guest_cache):
    """Replays an archive in a home where nothing is installed: exit code and report."""
    for name in [name for name in os.environ if name.startswith("RUNLOOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(guest_cache))
    monkeypatch.chdir(tmp_path)

    def replay(file):
        code = main(["replay", str(file), "--any-guest", "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else err

    return replay


@pytest.mark.parametrize("opening", SHIPPED)
def test_every_shipped_opening_has_a_golden_run_that_succeeded_and_is_complete(opening):
    manifest = open_archive(GOLDEN / f"{opening}.rlz").manifest
    assert (manifest.runs[0].opening_name, manifest.runs[0].status, manifest.missing, manifest.redacted) == (opening, "succeeded", [], None)


@pytest.mark.parametrize("file", sorted(path for path in GOLDEN.glob("*.rlz") if path != DIVERGES), ids=lambda path: path.stem)
def test_a_golden_run_replays_identically(replayed, file):
    code, report = replayed(file)
    assert (code, {each["verdict"] for each in report["attempts"]} <= {"same", "skipped"}) == (0, True)
    assert (report["matches"], report["final_hash"]) == (True, report["recorded_hash"])
    assert report["recorded_hash"] is not None


def test_a_record_that_diverges_is_caught_in_both_its_places_and_nowhere_else(replayed):
    code, report = replayed(DIVERGES)

    assert (code, report["matches"]) == (5, False)
    found = {each["node"]: each["divergence"] for each in report["attempts"] if each["verdict"] != "same"}
    assert found.keys() == {"context", "draft"}
    assert (found["draft"]["what"], found["draft"]["call"], found["draft"]["path"]) == ("call", 1, "$.args.max_tokens")
    assert found["draft"]["expected"] == found["draft"]["actual"] + 1
    assert (found["context"]["what"], found["context"]["call"]) == ("outputs", None)
    assert ("1 December" in found["context"]["expected"], "2 December" in found["context"]["actual"]) == (True, True)


@pytest.mark.slow
def test_the_script_that_records_them_still_does(replayed, tmp_path, guest_cache):
    """Not byte for byte: a recording has its own ids, times and chance."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "record-golden"), str(tmp_path / "new")],
        env={**os.environ, "XDG_CACHE_HOME": str(guest_cache)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in GOLDEN.iterdir())
    assert replayed(tmp_path / "new" / "compose_email.rlz")[0] == 0
