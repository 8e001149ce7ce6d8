import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the faulty disk and its sweep are modules of a script, too


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """A directory in memory where the machine has one: thousands of small files, none of which must outlive anything."""
    import tempfile

    memory = Path("/dev/shm")
    if memory.is_dir():
        with tempfile.TemporaryDirectory(prefix="runloop-faults-", dir=memory) as name:
            yield Path(name)
    else:
        yield tmp_path_factory.mktemp("faults")
