"""How often Python's collector looks for cycles in processes that live long."""

from __future__ import annotations

import gc
import sys


def collect_seldom() -> None:
    """Imports and runs leave few cycles, and Python's 700 objects would be a look for every second run.

    What survived a first look is looked at once more after 40,000 objects, not after 400,000 together: that many at once would hold the
    loop for 0.1 s. From Python 3.14 on the second number says how slowly the old ones are looked through.
    """
    gc.set_threshold(20_000, *((20, 20) if sys.version_info >= (3, 14) else (2, 200)))
