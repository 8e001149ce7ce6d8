"""A process that is killed, or a disk that is full, at any step of any operation: the old state or the new one, and nothing half."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sweep.py")
STRIDES = {
    "backup": 7,
    "restore": 17,
    "restore broken": 11,
    "restore to nothing": 11,
    "migrate": 11,
    "vacuum": 31,
    "export": 1,
    "import": 13,
    "continue": 7,
    "prune": 11,
    "take back": 13,
    "import notes": 41,
    "verify": 53,
    "rebuild": 79,
}


@pytest.mark.parametrize("how", ["kill", "full"])
@pytest.mark.parametrize("operation", STRIDES)
def test_nothing_is_lost_and_the_next_call_does_it(operation, how):
    words = [sys.executable, str(SCRIPT), operation, how, str(STRIDES[operation]), "2" if operation != "export" else "0"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4
