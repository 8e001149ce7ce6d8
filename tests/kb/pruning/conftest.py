import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # what the tests and the sweep of crashes share

from small_runs import pruned, scratch_dir, signer  # noqa: F401 - fixtures
