"""Memory of runs that have left it, given back to the system."""

from __future__ import annotations

import gc
from typing import Final

EVERY: Final = 256
"""After so many runs that left memory it is worth a look: 10 to 20 ms of the loop."""


def give_back() -> None:
    """Free the cycles that runs leave behind, which the collector would find much later, and what the C library keeps of them."""
    import ctypes  # most daemons never need it

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
