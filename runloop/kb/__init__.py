"""The knowledge base: the ledger of events, and what can be derived from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.kb.aio import AsyncLedger
    from runloop.kb.base import KnowledgeBase
    from runloop.kb.ledger import Head, Ledger
    from runloop.kb.proposing import StateDelta

__all__ = ["AsyncLedger", "Head", "KnowledgeBase", "Ledger", "StateDelta"]

_HOMES = {"AsyncLedger": "aio", "KnowledgeBase": "base", "StateDelta": "proposing", "Head": "ledger", "Ledger": "ledger"}

__getattr__ = importing(__name__, _HOMES)
