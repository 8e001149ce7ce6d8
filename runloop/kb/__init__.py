"""The knowledge base: the ledger of events, and what can be derived from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runloop.kb.aio import AsyncLedger
    from runloop.kb.base import KnowledgeBase, StateDelta
    from runloop.kb.ledger import Head, Ledger

__all__ = ["AsyncLedger", "Head", "KnowledgeBase", "Ledger", "StateDelta"]

_PLACES = {"AsyncLedger": "aio", "KnowledgeBase": "base", "StateDelta": "base", "Head": "ledger", "Ledger": "ledger"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a query's own process needs little of this package, and starts in a quarter of the time."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{place}"), name)
