"""Where the content of events came from: the labels of what an agent had seen when it said them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from runloop.events import canonical, parse
from runloop.kb.runs import places_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runloop.events import StoredEvent
    from runloop.kb.base import KnowledgeBase

_TAINT = "taint"


def provenance_of(labels: frozenset[str]) -> dict[str, str]:
    """What the provenance of an event says of the labels: nothing where there are none."""
    return {_TAINT: canonical(sorted(labels)).decode()} if labels else {}


def labels_of(kb: KnowledgeBase, event_ids: Iterable[int]) -> frozenset[str]:
    """The labels of what these events say.

    Of an event outside a run and of an artifact, those of its maker at that moment; of any other record of a run, those of everything
    that reached the run: a record does not say which of it stands in it.
    """
    found: set[str] = set()
    runs: set[str] = set()
    for event_id in dict.fromkeys(event_ids):
        event = kb.ledger.get(event_id)
        if event is None:
            continue
        found.update(_stated(event.provenance))
        if event.kind == "artifact.created":
            found.update(_recorded(event.payload))
        elif (run_id := _run_of(event)) is not None:
            runs.add(run_id)
    return frozenset(found.union(*(_of_run(kb, run_id) for run_id in runs)))


def labels_of_people(kb: KnowledgeBase) -> frozenset[str]:
    """The labels of what is said of anybody in the tables of contacts and accounts."""
    with kb.reading() as db:
        places = [row[0] for row in db.execute("SELECT source_event FROM contacts UNION SELECT source_event FROM accounts")]
    return frozenset(label for provenance in _labelled(kb, "provenance_json", places) for label in _stated(provenance))


def _stated(provenance: Mapping[str, Any]) -> list[str]:
    labels: list[str] = parse(str(provenance.get(_TAINT, "[]")))
    return labels


def _run_of(event: StoredEvent) -> str | None:
    return event.payload.get("run_id") if "meta" in event.payload else None


def _recorded(payload: Any) -> list[str]:
    labels = (payload.get("meta") or {}).get(_TAINT)
    return labels if isinstance(labels, list) else []


def _of_run(kb: KnowledgeBase, run_id: str) -> set[str]:
    """Every label in the records of a run; of those that have one only these are read."""
    with kb.reading() as db:
        places = [event_id for event_id, _ in places_of(db, run_id, 0)]
    return {label for payload in _labelled(kb, "payload_json", places) for label in _recorded(payload)}


def _labelled(kb: KnowledgeBase, column: Literal["payload_json", "provenance_json"], event_ids: list[int]) -> Iterator[Any]:
    """What a column has of those of these events that have labels there."""
    sql = f"SELECT {column} FROM events WHERE id IN (SELECT value FROM json_each(?)) AND instr({column}, '\"{_TAINT}\"')"  # noqa: S608 - ours
    with kb.ledger.reading() as db:
        rows: list[Any] = db.execute(sql, (canonical(event_ids).decode(),)).fetchall()
    return (parse(text) for (text,) in rows)
