"""Bundles are not packages: their modules are loaded as the guest loads them, from the bundle's own directory and no other."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENTS = Path(__file__).parents[2] / "agents"
NAMES = ("assistant", "contact_resolver", "context_gatherer", "critic", "mailer", "writer")


class Load(Protocol):
    def __call__(self, bundle: str, module: str = "agent") -> ModuleType: ...


def _own(bundle: Path) -> set[str]:
    return {path.stem for path in bundle.glob("*.py")}


@pytest.fixture(scope="session")
def agents() -> Path:
    """Where the shipped bundles are."""
    return AGENTS


@pytest.fixture
def load() -> Iterator[Load]:
    """Import one module of one bundle; what it imports from its bundle is its own copy."""
    everything = set().union(*(_own(AGENTS / name) for name in NAMES))

    def load_module(bundle: str, module: str = "agent") -> ModuleType:
        for name in everything & sys.modules.keys():
            del sys.modules[name]
        sys.path.insert(0, str(AGENTS / bundle))
        try:
            importlib.invalidate_caches()
            return importlib.import_module(module)
        finally:
            sys.path.remove(str(AGENTS / bundle))

    yield load_module
    for name in everything & sys.modules.keys():
        del sys.modules[name]
