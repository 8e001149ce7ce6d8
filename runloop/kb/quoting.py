"""What records of runs quote of other events: objects that name one as ``event_id``, such as hits of a search and sources of a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from runloop.kb.ledger import Ledger

_NAMED = re.compile(rb'"event_id":(\d+)')  # in canonical JSON, as events and blobs are stored
_PLACES = frozenset({"domain", "file_hash", "key", "kind", "path", "source"})  # of a quote: where it stands, and not what it says
_BATCH = 1000


def records_that_may_quote(ledger: Ledger, events: Collection[int]) -> Iterator[int]:
    """The events, oldest first, in whose stored form, or in a blob of which, one of ``events`` is named."""
    if not events:
        return
    with ledger.reading() as db:
        blobs = [name for name, data in db.execute("SELECT hash, data FROM blobs") if _names(bytes(data), events)]
        naming = {int(row[0]) for name in blobs for row in db.execute("SELECT event_id FROM event_blobs WHERE hash = ?", (name,))}
    after = 0
    while True:
        with ledger.reading() as db:
            rows: Any = db.execute("SELECT id, payload_json FROM events WHERE id > ? ORDER BY id LIMIT ?", (after, _BATCH)).fetchall()
        if not rows:
            return
        yield from (int(number) for number, payload in rows if number in naming or _names(str(payload).encode(), events))
        after = int(rows[-1][0])


def without_quotes(value: Any, events: Collection[int], taken: Callable[[str], str]) -> Any:
    """A JSON value in which every text of an object that quotes one of ``events`` is as ``taken`` leaves it, but for where it stands."""
    if isinstance(value, list):
        return [without_quotes(item, events, taken) for item in value]
    if isinstance(value, dict):
        if value.get("event_id") in events:
            return {name: item if name in _PLACES else _without_texts(item, taken) for name, item in value.items()}
        return {name: without_quotes(item, events, taken) for name, item in value.items()}
    return value


def _without_texts(value: Any, taken: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return taken(value) if value else value
    if isinstance(value, list):
        return [_without_texts(item, taken) for item in value]
    if isinstance(value, dict):
        return {name: item if name in _PLACES else _without_texts(item, taken) for name, item in value.items()}
    return value


def _names(data: bytes, events: Collection[int]) -> bool:
    return b'"event_id":' in data and any(int(found) in events for found in _NAMED.findall(data))
