"""Erasing: events lose their content for good, and the chain still tells that they were there and who took it.

In one transaction an event ``events.erased`` names them with their hashes, their payloads give way to ``{"$erased": erasure}`` (a record
of a run keeps its form without the texts that were taken out), and the blobs go that nobody else names. Content and chain hashes stay.
A payload that says it was erased counts only where such an event says so too, with the hash of what was left.
"""

from __future__ import annotations

import json
import os
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events import ERASED_KEY, InvalidEvent, NewEvent, canonical, externalise, is_run_record, parse
from runloop.events.kinds import VERSION_KEY, kind_of
from runloop.kb import recognising
from runloop.kb.database import connect, fold
from runloop.kb.errors import BlobMissing, EraseRefused, LedgerError
from runloop.kb.rows import COLUMNS, insert_blobs, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger
    from runloop.kb.pruning.choice import RunSummary

KIND = "events.erased"
NAMED = 500  # events that one erasure names; a larger one is several, in one transaction
_FOLD_MS = 5000  # how long to wait for readers of the log
_KEPT = {"fact.superseded": ("fact",)}  # what an event that is erased as a whole goes on saying: else what it ended would hold again
_KEPT_PROVENANCE = ("trace_id", "opening_id", "agent_id")  # ids, which tell nothing
_STARTED_SINCE = """SELECT id, json_extract(payload_json, '$.run_id'), json_extract(payload_json, '$.parent_run_id'),
    json_extract(payload_json, '$.meta.forked_from.run_id') FROM events WHERE id > ? AND kind = 'run.submitted'"""
_ROW = "SELECT payload_json, provenance_json FROM events WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Left:
    """What stays of an event: its whole payload without what is taken out, or nothing."""

    id: int
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was done: the newest event that says so, the events that lost their content, and what could not be done, in sentences."""

    event_id: int
    events: tuple[int, ...]
    blobs: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"event_id": self.event_id, "events": list(self.events), "blobs": list(self.blobs), "remarks": list(self.remarks)}


@dataclass(frozen=True, slots=True)
class _Change:
    """One row: what it must hold still, and what it holds afterwards."""

    id: int
    content: bytes
    old: tuple[str, str]
    new: tuple[str, str]
    blobs: frozenset[str]
    fresh: tuple[tuple[bytes, bytes], ...]
    said: str | None
    run_id: str | None

    @property
    def named(self) -> dict[str, Any]:
        said = {} if self.said is None else {"said": self.said}
        return {"id": self.id, "hash": self.content.hex(), "left": left_hash(*self.new), **said}


def left_hash(payload_json: str, provenance_json: str) -> str:
    """The hash by which an erasure names what is left of an event."""
    return blake3(f"{payload_json}\n{provenance_json}".encode()).hexdigest()


def erasure_of(payload_json: str) -> str | None:
    """The erasure that a stored payload names; None where it says of itself that it is whole."""
    if f'"{ERASED_KEY}"' not in payload_json:
        return None
    erasure = parse(payload_json).get(ERASED_KEY)
    return erasure if isinstance(erasure, str) else None


class Erasures:
    """What the ledger says about erasures, to one scan; it remembers the last one that was asked for."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._erasure = ""
        self._said: dict[Any, Any] = {}

    def admit(self, row: tuple[Any, ...]) -> bool:
        """Whether a later event says that this row (selected as ``COLUMNS``) lost its content, and left exactly this."""
        event_id, payload, provenance, content = row[0], row[5], row[6], row[7]
        erasure = erasure_of(payload)
        if erasure is None:
            return False
        if erasure != self._erasure:
            self._erasure, self._said = erasure, self._read(erasure)
        named = {"id": event_id, "hash": bytes(content).hex(), "left": left_hash(payload, provenance)}
        return bool(self._said.get("by", 0) > event_id and named.items() <= self._said.get(event_id, {}).items())

    def _read(self, erasure: str) -> dict[Any, Any]:
        found = self._db.execute(f"SELECT {COLUMNS} FROM events WHERE idempotency_key = ?", (_key(erasure),)).fetchone()  # noqa: S608
        said = None if found is None else stored(found)
        if said is None or said.kind != KIND or said.payload.get("erasure") != erasure:
            return {}
        try:
            return {"by": said.id, **{each["id"]: each for each in said.payload["events"]}}
        except (KeyError, TypeError):  # it says nothing that could be read
            return {}


def erase(ledger: Ledger, lefts: Iterable[Left], *, actor: str = "user", reason: str | None = None) -> Erasure:
    """Take the content of these events, down to what is left of them; returns when it is out of the file and its log.

    Raises EraseRefused for events that are not there, erasures themselves, and records that a run may go on from. What was erased
    before stays so and is not named again.
    """
    wanted = list(lefts)
    parts: list[list[_Change]] = []
    events: list[NewEvent] = []
    for start in range(0, len(wanted), NAMED):
        erasure = os.urandom(16).hex()
        part = [change for left in wanted[start : start + NAMED] if (change := _change(ledger, left, erasure)) is not None]
        if part:
            parts.append(part)
            events.append(_said(part, erasure, actor, reason))
    if not parts:
        raise EraseRefused("there is nothing to erase", code="kb.nothing_to_erase", hint="what was named has no content any more")
    changes = [change for part in parts for change in part]
    blobs = tuple(sorted(frozenset().union(*(change.blobs for change in changes))))
    kept: list[str] = []
    head = ledger.head().id
    runs = _refuse_in_use(ledger, changes)

    def take(db: apsw.Connection, _events: list[StoredEvent]) -> None:
        _refuse_started(db, head, runs, ledger.path)
        kept[:] = _take(db, changes, blobs, ledger.path)

    said = ledger.append(events, also=take)[-1]
    remarks = [f"blob {name[:16]}… is named by other events and stays" for name in kept]
    if not emptied(ledger.path):
        remarks.append("a reader holds the log of the ledger: what was erased leaves it when that reader ends and `rlp kb vacuum` is run")
    return Erasure(said.id, tuple(change.id for change in changes), tuple(name for name in blobs if name not in kept), tuple(remarks))


def count_erasures(ledger: Ledger) -> int:
    """How many events of the ledger say that others lost their content."""
    with ledger.reading() as db:
        return int(db.execute("SELECT count(*) FROM events WHERE idempotency_key >= ? AND idempotency_key < ?", (_key(""), "erasure;")).get)


def emptied(path: Path) -> bool:
    """Fold the log of an SQLite file in and empty it; whether that went."""
    db = connect(path)
    try:
        return fold(db, wait_ms=_FOLD_MS)
    finally:
        db.close()


def without_texts(value: Any, taken: Callable[[str], str]) -> Any:
    """A JSON value with every text and key as ``taken`` leaves it."""
    if isinstance(value, str):
        return taken(value)
    if isinstance(value, list):
        return [without_texts(item, taken) for item in value]
    if isinstance(value, dict):
        return {taken(key): without_texts(item, taken) for key, item in value.items()}
    return value


def _said(part: list[_Change], erasure: str, actor: str, reason: str | None) -> NewEvent:
    blobs = sorted(frozenset().union(*(change.blobs for change in part)))
    payload: dict[str, Any] = {"erasure": erasure, "events": [change.named for change in part]}
    payload |= {"blobs": blobs} if blobs else {}
    payload |= {"reason": reason} if reason else {}
    return NewEvent(KIND, payload, actor, "user", {}, None, _key(erasure))


def _key(erasure: str) -> str:
    return f"erasure:{erasure}"


def _change(ledger: Ledger, left: Left, erasure: str) -> _Change | None:
    with ledger.reading() as db:
        row = db.execute(f"SELECT {COLUMNS} FROM events WHERE id = ?", (left.id,)).fetchone()  # noqa: S608
        named = {bytes(name).hex() for (name,) in db.execute("SELECT hash FROM event_blobs WHERE event_id = ?", (left.id,))}
    where = Where(file=str(ledger.path))
    if row is None:
        raise EraseRefused(f"there is no event {left.id}", where=where, hint="an event that was pruned is in its archive; delete that")
    event = stored(row)
    if event.kind == KIND:
        raise EraseRefused(f"event {left.id} is an erasure", where=where, hint="erasures cannot be erased; they hold no content")
    if event.payload.keys() <= {ERASED_KEY, *_KEPT.get(event.kind, ())}:
        return None
    run_id = event.payload["run_id"] if is_run_record(event) else None
    if run_id is not None and not left.payload:
        raise EraseRefused(f"event {left.id} is a record of run {run_id}", where=where, hint="only texts in it can be erased")
    kept = left.payload or {name: event.payload[name] for name in _KEPT.get(event.kind, ())}
    kind = kind_of(event.kind)
    version = {VERSION_KEY: kind.version} if left.payload and kind.version > 1 else {}
    payload, fresh = externalise({**version, **kept, ERASED_KEY: erasure}, kind.blob_fields)
    provenance = {name: event.provenance[name] for name in _KEPT_PROVENANCE if name in event.provenance}
    new = canonical(payload).decode(), canonical(provenance).decode()
    gone = frozenset(name for name in named if name not in new[0])
    blobs = tuple((bytes.fromhex(name), data) for name, data in fresh)
    return _Change(left.id, event.content_hash, (row[5], row[6]), new, gone, blobs, _said_by(ledger, event, whole=not left.payload), run_id)


def _said_by(ledger: Ledger, event: StoredEvent, *, whole: bool) -> str | None:
    """By what an importer will know the record again; nothing where more is taken out of it, or it is none that an importer makes."""
    if ERASED_KEY in event.payload and not whole:
        return None
    recognise = recognising.whole if whole else recognising.content
    try:
        return recognise(recognising.key_of(ledger.meta("mask_salt")), event.kind, ledger.full(event).payload)
    except (KeyError, TypeError, AttributeError, ValueError, InvalidEvent, BlobMissing):  # it can be erased nevertheless
        return None


def in_use(db: apsw.Connection) -> dict[str, str]:
    """The runs whose records a run may go on from, with that run: those without an end, and all of their families."""
    return _in_use(db, _families(db))


def _families(db: apsw.Connection) -> list[list[RunSummary]]:
    from runloop.kb.pruning.choice import families  # verbs load this module that erase nothing
    from runloop.kb.pruning.plan import runs_of

    return families(runs_of(db))


def _in_use(db: apsw.Connection, every: Iterable[list[RunSummary]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for family in every:
        going = [run.run_id for run in family if run.finished_ms is None and not _is_archived(db, run.run_id)]
        found |= {run.run_id: run.run_id if run.run_id in going else going[0] for run in family if going}
    return found


def _is_archived(db: apsw.Connection, run_id: str) -> bool:
    """Whether the run ended and its end went to an archive; of its records some stay here."""
    return db.execute("SELECT 1 FROM archived_runs WHERE run_id = ?", (run_id,)).fetchone() is not None


def _refuse_in_use(ledger: Ledger, changes: Iterable[_Change]) -> frozenset[str]:
    """Refuse records that a run may go on from; else the runs of the families whose records are erased."""
    runs = {change.run_id: change.id for change in changes if change.run_id is not None}
    if not runs:
        return frozenset()
    with ledger.reading() as db:
        every = _families(db)
        using = _in_use(db, every)
    for run_id, event_id in runs.items():
        if run_id in using:
            raise _goes_on(ledger.path, using[run_id], run_id, event_id)
    return frozenset(run.run_id for family in every if any(run.run_id in runs for run in family) for run in family)


def _refuse_started(db: apsw.Connection, head: int, runs: frozenset[str], path: Path) -> None:
    """Refuse, within the transaction, where a run was started from one of ``runs`` after event ``head``."""
    for event_id, started, *others in db.execute(_STARTED_SINCE, (head,)) if runs else ():
        if not runs.isdisjoint(others):
            raise _goes_on(path, started, next(each for each in others if each in runs), event_id)


def _goes_on(path: Path, going: str, run_id: str, event_id: int) -> EraseRefused:
    who = f"run {going}" if going == run_id else f"run {going}, which goes on from run {run_id[:8]},"
    message = f"{who} has not ended: nothing was erased"
    return EraseRefused(message, where=Where(file=str(path), key=f"event:{event_id}"), hint=f"`rlp cancel {going[:8]}`, then again")


def _take(db: apsw.Connection, changes: list[_Change], blobs: Iterable[str], path: Path) -> list[str]:
    """Overwrite the rows, within the transaction of the event that names them; the blobs that others still name."""
    for change in changes:
        if db.execute(_ROW, (change.id,)).fetchone() != change.old:
            message = f"event {change.id} was erased by somebody else meanwhile"
            raise LedgerError(message, code="kb.erase_raced", where=Where(file=str(path)), hint="try again")
        db.execute("UPDATE events SET payload_json = ?, provenance_json = ? WHERE id = ?", (*change.new, change.id))
        insert_blobs(db, change.id, change.fresh)
        for name in change.blobs:
            db.execute("DELETE FROM event_blobs WHERE event_id = ? AND hash = ?", (change.id, bytes.fromhex(name)))
    wanted = json.dumps(list(blobs))
    sql = "SELECT DISTINCT lower(hex(hash)) FROM event_blobs WHERE lower(hex(hash)) IN (SELECT value FROM json_each(?))"
    kept = {str(name) for (name,) in db.execute(sql, (wanted,))}
    for name in blobs:
        if name not in kept:
            db.execute("DELETE FROM blobs WHERE hash = ?", (bytes.fromhex(name),))
    return sorted(kept)
