"""What is opened from a view, made of what has to be fetched first; where that fails, a sheet with the error."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runloop.errors import RunloopError
from runloop.tui.dialogs import Asking, Sheet, failure
from runloop.tui.draw_run import crossing_lines
from runloop.tui.page import Row, line, paragraphs
from runloop.tui.views import KEYS

if TYPE_CHECKING:
    from runloop.tui.deciding import Decision
    from runloop.tui.model import Crossing
    from runloop.tui.ports import Desk, Feed
    from runloop.tui.signs import Signs

_KEY_COLUMN: Final = 23
_LEAD: Final = re.compile("(?:[│├└ ][─ ] )* *")
"""The branches before a line of a tree."""


async def asking(
    feed: Feed, shown: Mapping[str, Any], send: Callable[[Decision], Awaitable[None]], signs: Signs | None = None
) -> Asking | Sheet:
    """What waits for a person, whole: a content that was too large for its record is fetched."""
    try:
        content = {"what": await feed.whole(shown["what"])} if shown["type"] == "approval" else {}
    except RunloopError as error:
        return Sheet("Approval", failure(error))
    return Asking({**shown, **content}, send, signs)


async def crossing(feed: Feed, run_id: str, each: Crossing) -> Sheet:
    """What was asked and answered, whole."""
    asked, answered = dict(each.asked), None if each.answered is None else dict(each.answered)
    try:
        asked["args"] = await feed.whole(asked.get("args"))
        if answered is not None:
            answered["result"] = await feed.whole(answered.get("result"))
    except RunloopError as error:
        return Sheet(each.name, failure(error))
    whole = replace(each, asked=asked, answered=answered)
    return Sheet(each.name, lambda width: crossing_lines(whole, width), run_id=run_id)


async def why(desk: Desk, key: str) -> Sheet:
    """What made a thing what it is."""
    try:
        lines = await asyncio.to_thread(desk.why, key)
    except RunloopError as error:
        return Sheet("Why", failure(error))
    return Sheet("Why", lambda width: [row for each in lines for row in tree_lines(each, width)], run_id=key)


def tree_lines(text: str, width: int) -> list[Row]:
    """A line of a tree, with what goes on under its text."""
    lead = text[: _LEAD.match(text).end()]  # type: ignore[union-attr] # it matches nothing too
    below = lead.replace("├─", "│ ").replace("└─", "  ")
    first, *more = paragraphs(text[len(lead) :], width - len(lead))
    return [Row(((here, "dim"), row.pieces[1])) for here, row in ((lead, first), *((below, row) for row in more))]


def keys() -> Sheet:
    """The keys, and what they do."""
    return Sheet("agtop: keys", _key_lines)


def _key_lines(width: int) -> list[Row]:
    """In two columns; where that is too narrow, what a key does stands below it."""
    if max(len(what) for _, what in KEYS) + _KEY_COLUMN <= width:  # the panel has one column more than texts are broken for
        return [line(f"{names:<{_KEY_COLUMN}} {what}") for names, what in KEYS]
    return [row for names, what in KEYS for row in (line(names), *paragraphs(what, width, indent="    "))]
