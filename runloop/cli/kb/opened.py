"""The knowledge base of the settings in force, for one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.cli import context, stalls

if TYPE_CHECKING:
    from runloop.kb import KnowledgeBase


def open_kb() -> KnowledgeBase:
    """Open it; the caller closes it."""
    from runloop.runs.places import open_knowledge

    return open_knowledge(context.settings(), stalls.tell)
