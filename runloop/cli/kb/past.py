"""`--at TIME|SEQ`: a command over the base as it was."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.times import date_clock, moment
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.kb import KnowledgeBase

AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME|SEQ", help="As it was then: a time (2d, 09:30, a date) or the number of the last event."),
]


@contextmanager
def opened_at(at: str | None, unmasked: str | None = None, what: str = "", subject: str = "") -> Iterator[KnowledgeBase]:
    """The knowledge base, now or as it was. As :func:`open_kb`. Raises InvalidInput ``cli.time``, ``kb.no_past``."""
    with open_kb(unmasked, what, subject) as kb:
        if at is None:
            yield kb
            return
        with kb.at(event_of(kb, at), _Progress().tick) as past:
            yield past


def event_of(kb: KnowledgeBase, at: str) -> int:
    """The last event of the wanted state."""
    word = at.strip().removeprefix("event:")
    head = kb.ledger.head().id
    if word.isascii() and word.isdigit():
        wanted = int(word)
        if wanted > head:
            raise _no_past(f"event {word} has not happened: the newest is event {head}", "leave --at out for the base as it is now")
    else:
        ts_ms = moment(word, time.time_ns() // 1_000_000, "--at")
        wanted = 0 if ts_ms is None else kb.event_at(ts_ms)
    if wanted < 1:
        first = kb.ledger.read(limit=1)
        when = f"the first event is of {date_clock(first[0].ts_ms)}" if first else "nothing has been recorded yet"
        raise _no_past(f"at {at} there was nothing", when)
    return wanted


def _no_past(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="kb.no_past", where=Where(key="--at"), hint=hint)


class _Progress:
    """A line on stderr while a state is made, where a person reads it."""

    def __init__(self) -> None:
        self._shown = output.shows_progress()

    def tick(self, done: int, of: int) -> None:
        """Say how far it is; at the end the line goes."""
        if self._shown:
            output.write_over("" if done >= of else f"Making the state at event {of}: {100 * done // of} %")
