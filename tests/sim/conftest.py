"""The simulation is a package of tests/support; tests are none, so its place is put on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
