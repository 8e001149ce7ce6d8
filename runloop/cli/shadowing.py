"""Modules that a person's PYTHONPATH puts before those that Runloop was installed with."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import runloop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType


def shadowing(modules: Mapping[str, ModuleType], env: Mapping[str, str]) -> str | None:
    """The file of a loaded module that PYTHONPATH put before another of its name; None where there is none.

    What lies beside Runloop itself is what it is to use.
    """
    places = {Path(place).absolute() for place in env.get("PYTHONPATH", "").split(os.pathsep) if place}
    places.discard(Path(runloop.__path__[0]).parent)
    others = [place for place in sys.path if Path(place) not in places]
    for name, module in modules.items():
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.origin is None or "." in name:
            continue
        beside = Path(spec.submodule_search_locations[0] if spec.submodule_search_locations else spec.origin).parent
        if beside in places and PathFinder.find_spec(name, others) is not None:
            return str(spec.origin)
    return None
