"""Names of a package that are imported when they are used: whoever needs one of them pays for no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def importing(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package: ``homes`` has the module, as seen from there, that each public name is in."""

    def named(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f".{homes[name]}", package), name)

    return named
