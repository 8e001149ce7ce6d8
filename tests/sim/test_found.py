"""Seeds that once failed for a defect of the core, each with what it was."""

import pytest
from sim.seeds import check_seed

FOUND = {20684: "a child run that had ended gave its parent no outputs of a node of items"}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_holds(tmp_path, seed):
    assert check_seed(seed, tmp_path).problems == []
