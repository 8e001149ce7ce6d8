"""An entity as a page for people: what it is, how it is related, what is known of it, what happened to it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from runloop.kb.facts import select
from runloop.text import in_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runloop.kb.base import KnowledgeBase

_DRIVING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # what a terminal obeys, or hides
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_OF_SEARCH = frozenset({"match", "masked"})  # how it was found, which is nothing of its own
_SHOWN = 200  # characters of a value on a line


def entity_page(kb: KnowledgeBase, key: str, mask: Callable[[Any], Any]) -> str:
    """The Markdown of an entity by its key; ``mask`` gives a JSON value back as it may leave."""
    return "\n".join(_page(kb, key, mask)) + "\n"


def _page(kb: KnowledgeBase, key: str, mask: Callable[[Any], Any]) -> Iterator[str]:
    with kb.reading() as db:
        node = db.execute("SELECT kind, label, source_event, ended_event FROM nodes WHERE node_key = ?", (key,)).fetchone()
        relations = db.execute(
            """SELECT 'to' AS way, relation, target_key AS other, label, e.source_event
               FROM edges e LEFT JOIN nodes ON node_key = target_key WHERE source_key = :key
               UNION ALL SELECT 'from', relation, source_key, label, e.source_event
               FROM edges e LEFT JOIN nodes ON node_key = source_key WHERE target_key = :key ORDER BY 1 DESC, 2, 3""",
            {"key": key},
        ).fetchall()
        facts = select(db, key, ended=True)
        touched = [int(row[0]) for row in db.execute("SELECT event_id FROM entity_history WHERE entity_key = ? ORDER BY 1", (key,))]
    found = kb.get(key, raw_contacts=True)
    title = (found or {}).get("title") or (node[1] if node else None) or key
    yield f"# {_text(mask(title))}"
    yield ""
    name = _DRIVING.sub("\ufffd", mask(key)).replace("`", "\ufffd")
    yield f"`{name}`{f', a {node[0]}' if node else ''}{', ended' if node and node[3] else ''}."
    if found is not None:
        yield from _heading("What is stored")
        yield from _properties(mask(found["data"]))
    if relations:
        yield from _heading("Relations")
        for way, relation, other, label, event in relations:
            arrow = "→" if way == "to" else "←"
            yield f"- {arrow} {_text(str(relation).replace('_', ' '))}: {_text(mask(label or other))} (event {event})"
    if facts:
        yield from _heading("Facts")
        for fact in facts:
            state = "" if fact.status == "current" else f", {fact.status}"
            said = f"said by {_text(mask(fact.said_by))}{state}; event {fact.id}"
            yield f"- {_text(mask(fact.predicate))}: {_text(_short(mask(fact.value)))} ({said})"
    yield from _heading("History")
    for event_id in touched:
        event = kb.ledger.get(event_id)
        if event is not None:
            when = in_utc(event.ts_ms).strftime("%Y-%m-%d %H:%M:%S")
            yield f"- {when} UTC, event {event.id}: {_text(event.kind)} by {_text(mask(event.actor))}"
    if not touched:
        yield "Nothing is noted."


def _heading(text: str) -> tuple[str, ...]:
    return "", f"## {text}", ""


def _properties(data: Mapping[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if value not in (None, [], {}, "") and name not in _OF_SEARCH:
            yield f"- {_text(name.replace('_', ' '))}: {_text(_short(value))}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _text(value: Any) -> str:
    """A text on one line, with what Markdown or a terminal would take for its own made harmless."""
    return _SPECIAL.sub(r"\\\1", _DRIVING.sub("\ufffd", " ".join(str(value).split())))
