"""The knowledge base: the ledger of events, and what can be derived from it."""

from runloop.kb.aio import AsyncLedger
from runloop.kb.base import KnowledgeBase, StateDelta
from runloop.kb.ledger import Head, Ledger

__all__ = ["AsyncLedger", "Head", "KnowledgeBase", "Ledger", "StateDelta"]
