"""Taking archived runs back: their records go to the ids that they had, and the chain goes through them again.

What a checkpoint stood for goes back in one transaction with the event ``runs.restored``, after which it carries nothing any more; its
signature stays, for the checkpoints after it are signed over it. A crash in between leaves each run in the archive or in the ledger,
whole; the same command goes on from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events import NewEvent, genesis
from runloop.kb.database import free_in, translated
from runloop.kb.errors import ArchiveDamaged, ArchiveMissing, LedgerFull, PruneRefused
from runloop.kb.keeping.chain import ChainScan
from runloop.kb.keeping.locks import one_keeper
from runloop.kb.pruning.archive import ArchiveReader
from runloop.kb.pruning.checkpoints import Holes, archive_place, back_key, checkpoints, was_taken_back
from runloop.kb.rows import COLUMNS, insert_blobs
from runloop.kb.verify import verify

if TYPE_CHECKING:
    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger
    from runloop.kb.pruning.checkpoints import Checkpoint

KIND = "runs.restored"
_ACTOR = "user"
_SPARE = 16 << 20
_INSERT = f"INSERT INTO events({COLUMNS}) VALUES({', '.join('?' * (COLUMNS.count(',') + 1))})"
_STRETCHES = "SELECT first_id, last_id, chain FROM pruned_stretches WHERE checkpoint = ? ORDER BY first_id"
_RUNS = "SELECT run_id, opening_name, offset FROM archived_runs WHERE checkpoint = ? ORDER BY run_id"


@dataclass(frozen=True, slots=True)
class Restored:
    """What is in the ledger again. ``erasures`` took place since: they could not reach the archive."""

    archive: Path
    runs: int
    events: int
    erasures: int


def restore_archive(ledger: Ledger, named: str) -> Restored:
    """Take back what is in an archive, named by its file or by the number of a checkpoint; nothing where it all is back already.

    Raises:
        PruneRefused: no checkpoint names it.
        ArchiveMissing, ArchiveDamaged: it is not there, or not as it was written; nothing of a portion that cannot be read is taken.
        LedgerCorrupt: the ledger does not verify.
        LedgerFull: there is no room.
        KnowledgeInUse: a prune, a backup or the like is under way.

    """
    with one_keeper(ledger.path.parent):
        with ledger.reading() as db:
            chosen = _chosen(checkpoints(db), named)
            open_ones = [each for each in chosen if not was_taken_back(db, each.number)]
            since = chosen[0].event_id if chosen else 0
            erasures = int(db.execute("SELECT count(*) FROM events WHERE id > ? AND kind = 'events.erased'", (since,)).get)
        if not chosen:
            hint = "`rlp runs --archived` lists what was archived, and where"
            raise PruneRefused(f"no checkpoint names {named}", code="kb.not_archived", where=Where(key="--restore"), hint=hint)
        place = Path(named).absolute() if Path(named).is_file() else archive_place(chosen[0], ledger.path)
        if not open_ones:
            return Restored(place, 0, 0, erasures)
        archive = _checked(place, chosen[0])
        verify(ledger, quick=True).require(str(ledger.path))
        _check_room(ledger, archive)
        took = [_take_back(ledger, archive, each) for each in open_ones]
        return Restored(place, sum(runs for runs, _ in took), sum(events for _, events in took), erasures)


def _chosen(found: list[Checkpoint], named: str) -> list[Checkpoint]:
    """The checkpoints of the archive that is meant; a prune in portions leaves several."""
    if named.isdecimal():
        wanted = {each.digest for each in found if each.number == int(named)}
    else:
        wanted = {each.digest for each in found if Path(each.archive).name == Path(named).name}
        if Path(named).is_file():
            wanted &= {ArchiveReader(Path(named)).digest()}
    return [each for each in found if each.digest in wanted]


def _checked(place: Path, checkpoint: Checkpoint) -> ArchiveReader:
    if not place.is_file():
        hint = "name the file where it is now"
        raise ArchiveMissing(f"the archive {place.name} is gone", where=Where(file=str(place)), hint=hint)
    archive = ArchiveReader(place)
    with translated(place):
        if archive.digest() != checkpoint.digest:
            hint = "get a good copy of the archive from a backup; nothing else has these records"
            raise ArchiveDamaged("is not the archive that the ledger names", where=Where(file=str(place)), hint=hint)
    return archive


def _check_room(ledger: Ledger, archive: ArchiveReader) -> None:
    """The records, and the log of the transaction that puts them in."""
    wanted = 2 * archive.text_bytes() + _SPARE
    free = free_in(ledger.path.parent)
    if free < wanted:
        raise LedgerFull(
            f"to take the archive back may need {wanted >> 20} MiB in {ledger.path.parent}, where {free >> 20} MiB are free",
            where=Where(file=str(ledger.path.parent)),
            hint="make room; until then `rlp show`, trace, replay and export read the runs in the archive",
        )


def _take_back(ledger: Ledger, archive: ArchiveReader, checkpoint: Checkpoint) -> tuple[int, int]:
    """Put in what a checkpoint stands for, together with the event that says so; how many runs and events that were."""
    number = checkpoint.number
    with ledger.reading() as db:
        runs: Any = db.execute(_RUNS, (number,)).fetchall()
        stretches: Any = db.execute(_STRETCHES, (number,)).fetchall()
    payload = {
        "checkpoint": number,
        "archive": checkpoint.archive,
        "digest": checkpoint.digest.hex(),
        "events": sum(last - first + 1 for first, last, _ in stretches),
        "first": min(first for first, _, _ in stretches),
        "runs": [{"run_id": run_id, "opening_name": opening} for run_id, opening, _ in runs],
    }

    def put_back(db: apsw.Connection, _stored: list[StoredEvent]) -> None:
        count = sum(_insert(db, archive, offset) for offset in sorted({offset for *_, offset in runs}))
        if count != payload["events"]:
            raise _other(archive, f"{count} records where {payload['events']} went")
        for first, last, chain in stretches:
            scan = ChainScan(db, ledger.id, start=(first - 1, _chain_at(db, ledger.id, first - 1)), hash_blobs=True)
            broken = scan.first_broken_until(last)
            if broken is not None or (scan.last_id, scan.chain) != (last, chain):
                raise _other(archive, str(broken or f"the records {first} to {last} are not those that went"))
        for table in ("pruned_stretches", "archived_keys", "archived_runs"):
            db.execute(f"DELETE FROM {table} WHERE checkpoint = ?", (number,))  # noqa: S608 - our own names

    ledger.append([NewEvent(KIND, payload, _ACTOR, "user", {}, None, back_key(number))], also=put_back)
    return len(runs), int(payload["events"])


def _insert(db: apsw.Connection, archive: ArchiveReader, offset: int) -> int:
    """Insert the records of a family and what they name; how many."""
    count, known = 0, set[str]()
    for event, line, brought in archive.lines(offset):
        payload = bytes(line.payload).decode()
        said = event.id, event.ts_ms, event.kind, event.actor, event.scope, payload, bytes(line.provenance).decode()
        db.execute(_INSERT, (*said, event.content_hash, event.chain_hash, event.key))
        insert_blobs(db, event.id, ((bytes.fromhex(name), data) for name, data in brought.items()))
        again = sorted(name for name in known - brought.keys() if name in payload)
        db.executemany("INSERT INTO event_blobs VALUES(?, ?)", [(event.id, bytes.fromhex(name)) for name in again])
        known |= brought.keys()
        count += 1
    return count


def _chain_at(db: apsw.Connection, ledger_id: str, event_id: int) -> bytes:
    """The chain value after that event, which is there, or ends a stretch that is not."""
    if event_id == 0:
        return genesis(ledger_id)
    row: Any = db.execute("SELECT chain_blake3 FROM events WHERE id = ?", (event_id,)).get
    hole = Holes(db).around(event_id) if row is None else None
    return bytes(row or (hole[1] if hole else b""))


def _other(archive: ArchiveReader, what: str) -> ArchiveDamaged:
    hint = "nothing of this portion was taken; run `rlp kb verify`"
    return ArchiveDamaged(f"the archive does not fit the ledger: {what}", where=Where(file=str(archive.path)), hint=hint)
