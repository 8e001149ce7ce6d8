from __future__ import annotations

from pathlib import Path

import pytest

SHARED = {
    "wording.py": ("context_gatherer", "critic", "writer"),
    "disclosure.py": ("context_gatherer", "critic"),
    "claims.py": ("critic", "writer"),
}


@pytest.mark.parametrize("file", SHARED)
def test_bundles_that_carry_the_same_file_carry_the_same_text(file: str, agents: Path) -> None:
    texts = {name: (agents / name / file).read_text() for name in SHARED[file]}
    assert texts == dict.fromkeys(SHARED[file], next(iter(texts.values())))


def test_no_other_module_stands_in_two_bundles_but_the_entry(agents: Path) -> None:
    modules = [path.name for path in agents.glob("*/*.py") if path.name != "agent.py"]
    assert {module for module in modules if modules.count(module) > 1} == set(SHARED)
