import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[1] / "fuzz" / "fuzz_bus.py"


@pytest.mark.slow
def test_a_short_attack_harms_nobody():
    done = subprocess.run([sys.executable, str(FUZZER), "3", "--seed", "1"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "seed 1\n")
    result = json.loads(done.stdout)
    assert (result["wrong_counts"], result["broken"], result["handling"]) == ({}, [], 0)
    assert result["good"] > 0
    assert result["passed_on"] > 0
    assert any(code.startswith("rmp.") for code in result)
