"""What every importer shares: proposed records go in, in batches, each once, however often and by however many at the same moment.

An importer is a generator of :class:`Found` records, of :class:`Refusal` and of :class:`Whole` sources. A record's events get a key that
follows from what they say and from the event that last said something of the same entity. So a second import finds its records there, two
imports at once write each record once, an interrupted one goes on, and what went back to an earlier form is taken again.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.events import InvalidEvent, NewEvent, canonical
from runloop.events.errors import NotCanonical
from runloop.kb import recognising
from runloop.kb.importers.report import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.report import ImportReport

    Progress = Callable[[ImportReport], None]

_BATCH = 500  # records in one append
_BATCH_BYTES = 4 * 1024 * 1024  # of their text and blobs, roughly
_TELL = 64  # items between two calls of the progress


class Found(NamedTuple):
    """A record of a source, under the key of its entity; ``payloads`` are stored together or not at all.

    ``digest`` is what the record says apart from where it was read, and empty where the key alone tells. No payloads: the entity has
    nothing more to say. ``size`` is about how many bytes it takes, ``scrubbed`` how many secrets were taken out of it.
    """

    key: str
    file: str
    line: int | None
    payloads: tuple[dict[str, Any], ...]
    digest: str = ""
    blobs: tuple[bytes, ...] = ()
    size: int = 0
    scrubbed: int = 0


class Known(NamedTuple):
    """A record that stands there for the second time in this import."""


class Whole(NamedTuple):
    """A source was seen: what was read from it before, or from beneath it, and was not met now, is gone, unless its place had trouble."""

    source: str


class Current(NamedTuple):
    """What the base holds for an entity: the event that says it, and the digest of what it says."""

    event_id: int
    digest: str


Item = Found | Known | Refusal | Whole


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of record: its kinds of event, and how to look up what the base holds.

    ``entity`` is what its keys begin with in the history. ``gone`` makes the removal of a key (with its source); ``held`` gives the keys,
    with their places, that were read from a source or from beneath it (:func:`held_at`).
    """

    what: str
    entity: str
    kind: str
    current: Callable[[apsw.Connection, Sequence[str]], dict[str, Current]]
    gone: Callable[[str, str, str], tuple[str, dict[str, Any]]] | None = None
    held: Callable[[apsw.Connection, str], Iterator[tuple[str, str]]] | None = None


@dataclass(frozen=True, slots=True)
class How:
    """How to import: who says it, whether anything is written, whether what was erased is taken again, and who hears how far it is."""

    actor: str = "user"
    dry_run: bool = False
    take_erased: bool = False
    progress: Progress | None = None


def take_in(kb: KnowledgeBase, sort: Sort, items: Iterable[Item], report: ImportReport, how: How) -> ImportReport:
    """Append what is new or changed, remove what is gone from sources that were seen whole, and note the import itself.

    When a person interrupts it, what was appended stays, and the report says so.
    """
    report.dry_run = how.dry_run
    intake = _Intake(kb, sort, report, how)
    try:
        intake.run(items)
    except KeyboardInterrupt:
        report.interrupted = True
    if report.events:
        intake.finish()
    return report


class _Intake:
    def __init__(self, kb: KnowledgeBase, sort: Sort, report: ImportReport, how: How) -> None:
        self._kb, self._sort, self._report, self._how = kb, sort, report, how
        self._batch: list[Found] = []
        self._bytes = 0
        self._seen: dict[bytes, bytes] = {}  # digests of keys, with the digest of what they say
        self._whole: list[str] = []
        self._key = recognising.key_of(kb.ledger.meta("mask_salt"))

    def run(self, items: Iterable[Item]) -> None:
        report = self._report
        for number, item in enumerate(items, 1):
            if isinstance(item, Found):
                self._add(item)
            elif isinstance(item, Refusal):
                report.refuse(*item)
            elif isinstance(item, Whole):
                self._whole.append(item.source)
            else:
                report.known += 1
            if self._how.progress is not None and number % _TELL == 0:
                self._how.progress(report)
        self._flush()
        for source in self._whole:
            self._forget(source)
        if self._how.progress is not None:
            self._how.progress(report)

    def finish(self) -> None:
        """Note that the import took place."""
        report = self._report
        counts = {name: getattr(report, name) for name in ("what", "source", "taken", "known", "removed", "files")}
        counts |= {name: value for name in ("changed", "scrubbed") if (value := getattr(report, name))}
        self._kb.ledger.append([NewEvent("import.finished", {**counts, "refused": report.refusals}, self._how.actor, "user")])

    def _add(self, found: Found) -> None:
        key, digest = short(found.key), short(found.digest)
        before = self._seen.setdefault(key, digest)
        if before is not digest:
            if before == digest:
                self._report.known += 1
            else:
                reason = "stands in this import already, with other content; the first one counts"
                self._report.refuse(found.file, found.line, reason, read=True)
            return
        self._batch.append(found)
        self._bytes += found.size
        if len(self._batch) >= _BATCH or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        if not batch:
            return
        with self._kb.reading() as db, db:  # one state of the tables, also while another import writes
            current = self._sort.current(db, [found.key for found in batch])
            touched = _last_touched(db, self._sort.entity, [found.key for found in batch if found.key not in current])
            erased = self._erased(db, batch)
        fresh: list[tuple[Found, list[NewEvent]]] = []
        for each, by in zip(batch, erased, strict=True):
            now = current.get(each.key)
            if now is None and not each.payloads:
                continue  # it has nothing to say and never had
            known = now is not None and now.digest == each.digest
            found, again = self._parted(each, by, known=known)
            if known and not again:
                self._report.known += max(1, len(each.payloads))
                continue
            if each.payloads and not found.payloads:
                continue
            after = again if known else max(again, now.event_id if now else touched.get(found.key, 0))
            try:
                events = self._events(found, after)
            except (InvalidEvent, NotCanonical) as error:
                self._report.refuse(found.file, found.line, error.message)
                continue
            fresh.append((found, events))
            self._report.changed += len(found.payloads) if now is not None else 0
        self._append(fresh)

    def _said(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """By what a record would be known again, had it been erased, or had something been taken out of it."""
        return recognising.names(self._key, self._sort.kind, payload)

    def _erased(self, db: apsw.Connection, batch: Sequence[Found]) -> list[list[int]]:
        """For each record the events by which its payloads were erased before, 0 for those that were not; empty where nothing was."""
        if db.execute("SELECT 1 FROM erased_records LIMIT 1").get is None:
            return [[] for _ in batch]
        said = [[self._said(payload) for payload in found.payloads] for found in batch]
        erased = recognising.erased_among(db, (each for payloads in said for names in payloads for each in names))
        return [[max((erased.get(each, 0) for each in names), default=0) for names in payloads] for payloads in said]

    def _parted(self, found: Found, by: Sequence[int], *, known: bool) -> tuple[Found, int]:
        """The record without what was erased before (``by`` which events), which is refused by its place, and 0.

        Where that is to be taken again, the whole record (what was erased alone, of one that is ``known`` otherwise), and the newest
        erasure: its event's key follows from that, or it would be the key of the event that was erased.
        """
        if not any(by) or (known and not self._how.take_erased):
            return found, 0
        taken = tuple(payload for payload, event in zip(found.payloads, by, strict=True) if not event)
        if self._how.take_erased:
            gone = tuple(payload for payload, event in zip(found.payloads, by, strict=True) if event)
            return found._replace(payloads=gone) if known else found, max(by)
        for payload, event in zip(found.payloads, by, strict=True):
            if event:
                reason = f"was erased (event {event}); --take-erased takes it again"
                self._report.refuse(found.file, payload.get("line", found.line), reason, read=True)
        return found._replace(payloads=taken), 0

    def _events(self, found: Found, after: int) -> list[NewEvent]:
        """The events of a record that is new or changed."""
        if not found.payloads:
            assert self._sort.gone is not None  # noqa: S101 - only sorts that have it propose nothing
            return [self._event(*self._sort.gone(found.key, found.file, "empty"), after)]
        return [self._event(self._sort.kind, payload, after, found.blobs) for payload in found.payloads]

    def _event(self, kind: str, payload: Mapping[str, Any], after: int, blobs: tuple[bytes, ...] = ()) -> NewEvent:
        actor = self._how.actor
        said = blake3(canonical([kind, actor, payload, after])).hexdigest()
        return NewEvent(kind, payload, actor, "user", {}, None, f"import:{said}", blobs)

    def _append(self, fresh: list[tuple[Found, list[NewEvent]]]) -> None:
        """Store the records; what the ledger refuses is refused with its place, and alone."""
        report = self._report
        events = [event for _, its in fresh for event in its]
        if not events:
            return
        try:
            fresh_ids = None if self._how.dry_run else self._kb.ledger.append_new(events)
        except (InvalidEvent, NotCanonical) as error:
            if len(fresh) == 1:
                report.refuse(fresh[0][0].file, fresh[0][0].line, error.message)
                return
            for each in fresh:
                self._append([each])
            return
        for found, its in fresh:
            written = len(its) if fresh_ids is None else sum(event.key in fresh_ids for event in its)
            report.scrubbed += found.scrubbed if written else 0
            if found.payloads:
                report.taken += written
                report.known += len(its) - written
            else:
                report.removed += written
        for event_id in (fresh_ids or {}).values():
            report.wrote(event_id)

    def _forget(self, source: str) -> None:
        """Remove what was read from the source before and is not in it any more."""
        sort, report = self._sort, self._report
        if sort.held is None or sort.gone is None:
            return
        above = {str(parent) for file in report.troubled for parent in (PurePosixPath(file), *PurePosixPath(file).parents)}
        with self._kb.reading() as db, db:
            gone = [
                (key, place)
                for key, place in sort.held(db, source)
                if short(key) not in self._seen and not _troubled(place, report.troubled, above)
            ]
            current = sort.current(db, [key for key, _ in gone])
        for start in range(0, len(gone), _BATCH):
            events = [
                self._event(*sort.gone(key, held, "gone"), current[key].event_id)
                for key, held in gone[start : start + _BATCH]
                if key in current
            ]
            ids = {event.key: 0 for event in events} if self._how.dry_run else self._kb.ledger.append_new(events)
            report.removed += len(ids)
            if not self._how.dry_run:
                for event_id in ids.values():
                    report.wrote(event_id)


def _troubled(place: str, files: set[str], above: set[str]) -> bool:
    """Whether something of the place, beneath it or above it could not be read; ``above`` are those files and all that hold them."""
    return place in above or any(str(parent) in files for parent in PurePosixPath(place).parents)


def short(text: str) -> bytes:
    """What stands for a text where many are held."""
    return blake3(text.encode("utf-8", "surrogatepass")).digest(16)


def _last_touched(db: apsw.Connection, entity: str, keys: Sequence[str]) -> dict[str, int]:
    """The last event in the history of entities that the base holds no more."""
    found: dict[str, int] = {}
    for key in keys:
        row: Any = db.execute("SELECT max(event_id) FROM entity_history WHERE entity_key = ?", (f"{entity}:{key}",)).fetchone()
        if row[0] is not None:
            found[key] = row[0]
    return found


def look_up(db: apsw.Connection, sql: str, keys: Sequence[str]) -> dict[str, Current]:
    """Rows ``key, event, digest`` of a statement that ends in ``IN``, for these keys."""
    found: dict[str, Current] = {}
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        rows: Any = db.execute(f"{sql} ({', '.join('?' * len(some))})", tuple(some))
        found.update((key, Current(event_id, digest)) for key, event_id, digest in rows)
    return found


def held_at(db: apsw.Connection, table: str, key: str, place: str, source: str) -> Iterator[tuple[str, str]]:
    """Keys of a table, with their places, whose place is the source or lies beneath it; the names are ours."""
    sql = f"SELECT DISTINCT {key}, {place} FROM {table} WHERE {place} = ?1 OR ({place} >= ?2 || '/' AND {place} < ?2 || '0')"  # noqa: S608
    rows: Any = db.execute(sql, (source, source.rstrip("/")))
    yield from rows
