"""The knowledge base of the settings in force, for one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.cli import context, masking, stalls
from runloop.cli.ledger import require

if TYPE_CHECKING:
    from runloop.kb import KnowledgeBase


def open_kb(unmasked: str | None = None, what: str = "", subject: str = "", *, make: bool = False) -> KnowledgeBase:
    """Open it; the caller closes it. With a reason for it, without masks: see :func:`runloop.cli.masking.unmask_base`.

    Raises InvalidInput ``run.no_ledger`` where there is none yet and the command has nothing to put into a new one (``make``).
    """
    from runloop.runs.places import open_knowledge

    settings = context.settings()
    if not make:
        require(settings.directories.pog / settings.get("kb.events_db"))
    kb = open_knowledge(settings, stalls.tell)
    try:
        masking.unmask_base(kb, unmasked, what, subject)
    except BaseException:
        kb.close()
        raise
    context.current().redactor = kb.redactor  # what it masked is not masked once more
    return kb
