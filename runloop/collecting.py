"""How often Python's collector looks for cycles in processes that live long."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """Imports and runs leave few cycles, and Python's 700 objects would be a look for every second run."""
    gc.set_threshold(20_000, 20, 20)
