"""Seeds that once failed for a defect of the core, each with what it was."""

import pytest
from sim.seeds import check_seed

FOUND = {
    1361: "an agent went on behind the end of its own call, where the process died before the end of the attempt",
    20684: "a child run that had ended gave its parent no outputs of a node of items",
}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_holds(tmp_path, seed):
    assert check_seed(seed, tmp_path).problems == []
