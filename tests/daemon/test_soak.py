"""Ten seconds of `just soak`: everything at once against one daemon, and the accounts add up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[1] / "fuzz" / "soak.py"


@pytest.mark.slow
def test_a_short_soak_loses_nothing_and_leaves_nothing_behind(guest_cache):
    command, env = [sys.executable, str(SOAK), "10", "--seed", "1"], {**os.environ, "XDG_CACHE_HOME": str(guest_cache)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "seed 1\n"
    result = json.loads(done.stdout)
    bus, runs = result["bus"], result["runs"]
    assert bus["published"] == bus["delivered"] + bus["dropped"] + bus["queued"]
    assert runs.pop("submitted") == sum(runs.values()) == result["clients"]["runs"] > 0
    assert result["workers_lost"] == 0
