"""The masks of what this invocation of `rlp` prints about what is stored, and the one way to do without them (docs/privacy.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from runloop.kb import KnowledgeBase
    from runloop.kb.redaction import Redactor

UnmaskedOption = Annotated[
    str | None,
    typer.Option("--unmasked", metavar="REASON", help="Show what is stored instead of masks. It has to be allowed, and is recorded."),
]


def redactor() -> Redactor:
    """The masks of this invocation: by the settings, under the salt of the settings or the ledger."""
    current = context.current()
    if current.redactor is None:
        from runloop.kb.redaction import Redactor
        from runloop.runs.places import redaction_rules

        settings = context.settings()
        salt = settings.get("security.redaction.salt")
        current.redactor = Redactor(_salt_of_the_ledger() if salt is None else salt, redaction_rules(settings), _known_locals())
    return current.redactor


def masked(value: Any) -> Any:
    """A JSON value, or a text, as it may be printed."""
    return redactor().value(value)


def masked_text(text: str) -> str:
    """A text as it may be printed."""
    return redactor().text(text)


def unmask(reason: str | None, what: str, subject: str) -> None:
    """From now on nothing is masked, if there is a ``reason``. As :func:`unmask_base`."""
    if reason is None:
        return
    from runloop.cli import stalls
    from runloop.runs.places import open_knowledge

    with open_knowledge(context.settings(), stalls.tell) as kb:
        unmask_base(kb, reason, what, subject)
        context.current().redactor = kb.redactor


def unmask_base(kb: KnowledgeBase, reason: str | None, what: str, subject: str) -> None:
    """As :func:`unmask`, where the knowledge base is open: ``subject`` is what the command ``what`` is about, for the record.

    Raises:
        Denied: ``redaction.denied`` where the settings do not allow it.
        InvalidInput: ``redaction.no_reason``.

    """
    if reason is None:
        return
    from runloop.errors import Denied, InvalidInput, Where

    if not context.settings().get("security.redaction.allow_unredacted_admin"):
        hint = "set security.redaction.allow_unredacted_admin (and see that policy.allow_unredacted_admin does not forbid it)"
        raise Denied("what is stored may not be shown without masks", code="redaction.denied", where=Where(key="--unmasked"), hint=hint)
    if not reason.strip():
        raise InvalidInput("no reason is given", code="redaction.no_reason", where=Where(key="--unmasked"), hint="say why, for the record")
    kb.unmask(what, subject, reason.strip(), os.getuid())


def _known_locals() -> Callable[[str, str], list[str]]:
    """The addresses of contacts, looked up where a mask is met: an agent was shown it, and it is in what that agent said."""
    opened: list[apsw.Connection] = []

    def known(first: str, domain: str) -> list[str]:
        from runloop.errors import RunloopError
        from runloop.kb.addresses import known_locals
        from runloop.kb.database import connect, translated

        settings = context.settings()
        path = settings.directories.pog / settings.get("kb.view_db")
        try:
            if not opened:
                opened.append(connect(path, readonly=True))
            with translated(path):
                return known_locals(opened[0], first, domain)
        except RunloopError:  # there are no such tables yet
            return []

    return known


def _salt_of_the_ledger() -> str:
    """The salt that the ledger was made with; where nothing is recorded yet, or it cannot be read, one for this process."""
    from runloop.cli.finding import perhaps_ledger
    from runloop.errors import RunloopError

    try:
        with perhaps_ledger() as ledger:
            if ledger is not None:
                return str(ledger.meta("mask_salt"))
    except RunloopError:
        pass
    import secrets

    return secrets.token_hex(16)
