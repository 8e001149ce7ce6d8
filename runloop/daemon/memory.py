"""Memory of runs that have left it, given back to the system."""

from __future__ import annotations

from typing import Final

EVERY: Final = 256
"""After so many runs that left memory it is worth a look."""


def give_back() -> None:
    """Give back what the C library keeps of freed memory: a parked run leaves holes everywhere, nothing that the collector finds."""
    import ctypes  # most daemons never need it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
