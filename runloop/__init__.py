"""Runloop: an agent operating layer for the terminal."""

from __future__ import annotations

TYPE_CHECKING = False  # known to type checkers; importing `typing` would cost a third of the time that `rlp route` has
if TYPE_CHECKING:
    from typing import Any

    from runloop.client import Client, SyncClient

__version__ = "0.1.0"
__all__ = ["Client", "SyncClient", "__version__"]


def __getattr__(name: str) -> Any:
    """The client library is imported when it is used: `rlp` and the parts of the daemon need none of it."""
    if name not in ("Client", "SyncClient"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("runloop.client"), name)
