"""What benchmarks and scripts take from Runloop is there: they run at the end of all checks, and some only by hand."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").rglob("*.py"), *(ROOT / "tests" / "fuzz").glob("*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_it_imports_of_runloop_is_there(path):
    lacking = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "runloop"
        for alias in node.names
        if not _is_there(str(node.module), alias.name)
    ]
    assert lacking == []


def _is_there(module, name):
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True
