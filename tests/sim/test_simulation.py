"""Thousands of random runs in a world where everything can go wrong; `scripts/sim` goes on where this ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sim import seeds

ROOT = Path(__file__).parents[2]
SEEDS = 2000


def test_two_thousand_seeds_end_as_their_undisturbed_runs_and_break_no_promise():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # measured below, on fewer
    environment = {**kept, "PYTHONPATH": str(ROOT / "tests" / "support"), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "sim.main", "--seeds", str(SEEDS)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert done.stdout.startswith(f"{SEEDS} seeds from 0: 0 fail")


@pytest.mark.parametrize("first", [10_000, 20_000])
def test_a_few_more_seeds_in_this_process(tmp_path, first):
    failed = {
        seed: report.problems for seed in range(first, first + 15) if (report := seeds.check_seed(seed, tmp_path / str(seed))).problems
    }
    assert failed == {}


def test_a_seed_gives_the_same_trace_every_time(tmp_path):
    first, second = (seeds.check_seed(11, tmp_path / name).trace for name in "ab")
    assert first == second
    assert len(first) > 50
