"""Whether a process may address as much as agents take (`ulimit -v`)."""

from __future__ import annotations

from typing import Final

LIFT: Final = "lift `ulimit -v` where it is started (LimitAS= of a unit), and `rlp down` and `rlp up`: an agent takes some GB of addresses"


def few_addresses(pid: int = 0) -> int | None:
    """How many bytes the process, or this one, may address, where that may be too few for an agent."""
    import resource

    try:
        limit, _ = resource.prlimit(pid, resource.RLIMIT_AS)
    except OSError:  # another user's, or in another container
        return None
    if limit == resource.RLIM_INFINITY:
        return None
    from runloop.sandbox.engine import SLOT_BYTES

    return limit if limit < SLOT_BYTES else None


def too_few(few: int, what: str = "it") -> str:
    """What is said of a process that has no more addresses than that."""
    return f"{what} has addresses for {few / 1e9:.1f} GB only, so agents may not start in it"
