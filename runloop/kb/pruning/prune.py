"""Pruning a ledger: write the archive, read it back, and only then take the records out, each portion in a transaction with its checkpoint.

At every moment each run is whole in the ledger, or whole in an archive that was verified and synced. What a crash leaves before the
first transaction is an archive that nothing names: the next prune writes it anew. After it, the next prune takes what is still there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events import NewEvent
from runloop.kb.database import create_directory, free_in, sync_directory, translated
from runloop.kb.errors import ArchiveDamaged, LedgerFull, PruneRefused
from runloop.kb.keeping.locks import one_keeper
from runloop.kb.pruning import checkpoints
from runloop.kb.pruning.archive import ArchiveReader, ArchiveWriter
from runloop.kb.pruning.plan import Ids, Plan, changed_since, make_plan
from runloop.kb.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import apsw
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger
    from runloop.kb.pruning.choice import RunSummary

DIRECTORY = "archive"
_ACTOR = "user"
_BY_ID = f"SELECT {COLUMNS} FROM events WHERE id = ?"  # noqa: S608
PORTION = 20_000
"""Events that one transaction takes out, about: others wait for the ledger no longer than that takes, whatever goes in all."""
_SPARE = 16 << 20
"""Bytes that must be free beyond what a prune writes."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken out, and where it is. ``free_bytes`` is room inside the ledger file that new events will take.

    ``checkpoint`` is the first of the ``checkpoints`` that name the archive, one for each portion.
    """

    checkpoint: int
    checkpoints: int
    archive: Path
    digest: str
    archive_bytes: int
    runs: int
    events: int
    held: int
    free_bytes: int


def plan_prune(ledger: Ledger, before_ms: int, *, keep_failed: bool = False) -> Plan:
    """What :func:`prune` would take out."""
    with ledger.reading() as db:
        db.execute("BEGIN")
        try:
            return make_plan(db, before_ms, keep_failed=keep_failed)
        finally:
            db.execute("COMMIT")


def prune(
    ledger: Ledger, before_ms: int, *, key: Ed25519PrivateKey, keep_failed: bool = False, to: Path | None = None
) -> tuple[Plan, Pruned | None]:
    """Take out the runs that ended before that time, in Unix milliseconds; None where there are none. Other processes go on meanwhile.

    A crash in between leaves each run in the ledger or in the archive, whole.

    Raises:
        LedgerCorrupt: the ledger does not verify: nothing is taken out of it.
        PruneRefused: the place of the archive cannot be used, or something was stored meanwhile that rests on what would go.
        LedgerFull: there is no room for the archive and the transaction.
        KnowledgeInUse: another prune, a backup or the like is under way.

    """
    directory = ledger.path.parent / DIRECTORY
    with one_keeper(ledger.path.parent):
        _clean(directory, ledger)
        ledger.verify().require(str(ledger.path))
        plan = plan_prune(ledger, before_ms, keep_failed=keep_failed)
        events = len(plan.ids())
        if not events:
            return plan, None
        with ledger.reading() as db:
            number = len(checkpoints.checkpoints(db)) + 1
        place = (_free_place(directory, f"runs-{number:04}-{ledger.id[:8]}") if to is None else to).absolute()
        _check_room(place, ledger, plan)
        offsets, digest = _write(place, ledger, plan, number)
        name = place.name if to is None else str(place)
        gone = parts = 0
        for portion in plan.portions(PORTION):
            _remove(ledger, portion, key, _Named(number + parts, name, digest, offsets), already=gone)
            gone, parts = gone + len(portion.runs), parts + 1
        with ledger.reading() as db:
            free = int(db.pragma("freelist_count")) * int(db.pragma("page_size"))
        return plan, Pruned(number, parts, place, digest.hex(), place.stat().st_size, len(plan.runs), events, plan.held, free)


class _Named(NamedTuple):
    """A checkpoint to be: its number, the archive's name and digest, and where each run begins in it."""

    number: int
    archive: str
    digest: bytes
    offsets: Mapping[str, int]


def _clean(directory: Path, ledger: Ledger) -> None:
    """Make the directory of archives; what prunes left there that were killed is removed."""
    with translated(directory):
        create_directory(directory)
    for left in directory.glob(".*.part"):
        left.unlink()
    with ledger.reading() as db:
        named = {checkpoints.archive_place(each, ledger.path) for each in checkpoints.checkpoints(db)}
    for path in directory.glob("runs-*.jsonl.gz"):
        if path not in named and _superfluous(path, ledger):
            path.unlink()


def _superfluous(path: Path, ledger: Ledger) -> bool:
    """Whether a file is an archive of events that all are in the ledger still."""
    archive = ArchiveReader(path)
    try:
        if archive.header().ledger_id != ledger.id:
            return False
        events = ((event, ledger.get(event.id)) for event in archive.scan())
        return all(there is not None and there.chain_hash == event.chain_hash for event, there in events)
    except (ArchiveDamaged, OSError):
        return False


def _free_place(directory: Path, stem: str) -> Path:
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 1_000_000))
    return next(path for name in names if not os.path.lexists(path := directory / f"{name}.jsonl.gz"))


def _check_room(place: Path, ledger: Ledger, plan: Plan) -> None:
    """The archive, uncompressed in the worst case, and the log of a transaction, which holds every page that changes."""
    portion = plan.payload_bytes * min(1.0, 2 * PORTION / len(plan.ids()))
    for directory, wanted in ((place.parent, plan.payload_bytes), (ledger.path.parent, 2 * int(portion))):
        if not directory.is_dir():
            hint = "make the directory, or name another file with --to"
            raise PruneRefused(f"there is no directory {directory}", where=Where(key="--to"), hint=hint)
        free = free_in(directory)
        if free < wanted + _SPARE:
            raise LedgerFull(
                f"a prune of {len(plan.runs)} runs may need {(wanted + _SPARE) >> 20} MiB in {directory}, where {free >> 20} MiB are free",
                where=Where(file=str(directory)),
                hint="make room, put the archive elsewhere with --to, or take less with an earlier --before",
            )


def _write(place: Path, ledger: Ledger, plan: Plan, number: int) -> tuple[dict[str, int], bytes]:
    """The archive, verified, on disk, and under its name: where each run begins in it, and its digest."""
    if os.path.lexists(place) and not _superfluous(place, ledger):
        raise PruneRefused(f"{place} is there already", where=Where(file=str(place), key="--to"), hint="name a file that is not there yet")
    part = place.with_name(f".{place.name}.part")
    offsets: dict[str, int] = {}
    try:
        with translated(place):
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                digest = _fill(ArchiveWriter(file, ledger.id, number), ledger, plan, offsets)
                file.flush()
                os.fsync(file.fileno())
            _read_back(ArchiveReader(part), plan, digest)
            part.rename(place)
            sync_directory(place.parent)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return offsets, digest


def _fill(writer: ArchiveWriter, ledger: Ledger, plan: Plan, offsets: dict[str, int]) -> bytes:
    with ledger.reading() as db:
        for family in plan.families:
            ids = sorted(event_id for going in family for event_id in going.ids)
            offset = writer.family((db.execute(_BY_ID, (event_id,)).get for event_id in ids), db)
            offsets.update((going.run.run_id, offset) for going in family)
    return writer.end()


def _read_back(archive: ArchiveReader, plan: Plan, digest: bytes) -> None:
    """Every event of the plan is in the file, as its hash says."""
    wanted = Ids(plan.ids())
    for event in archive.scan():
        wanted.meet(event.id)
    if not wanted.all_met or archive.digest() != digest:
        raise ArchiveDamaged(
            "what was written cannot be read back: nothing was removed",
            where=Where(file=str(archive.path)),
            hint="look at the disk's health, or put the archive elsewhere with --to",
        )


def _remove(ledger: Ledger, plan: Plan, key: Ed25519PrivateKey, named: _Named, *, already: int) -> None:
    """Take the events out and put the checkpoint in, together or not at all; returns when that is on disk."""
    number, name, digest, offsets = named
    gone = plan.stretches()
    payload = {
        "checkpoint": number,
        "archive": name,
        "digest": digest.hex(),
        "events": sum(stretch.last - stretch.first + 1 for stretch in gone),
        "runs": [{"run_id": going.run.run_id, "opening_name": going.run.opening_name} for going in plan.runs],
        "stretches": [list(stretch) for stretch in gone],
    }

    def refused(why: str) -> PruneRefused:
        what = f"{already:,} runs were archived and no more" if already else "nothing was removed"
        return PruneRefused(f"{what}: {why}", code="kb.prune_changed", hint="run it again")

    def take_out(db: apsw.Connection, stored: list[StoredEvent]) -> None:
        if (why := changed_since(db, plan)) is not None:
            raise refused(f"{why} meanwhile")
        if len(checkpoints.checkpoints(db)) + 1 != number:
            raise refused("another prune was faster")
        db.execute("CREATE TEMP TABLE IF NOT EXISTS going(hash BLOB PRIMARY KEY) WITHOUT ROWID")
        db.execute("DELETE FROM going")
        db.executemany("INSERT OR IGNORE INTO going SELECT hash FROM event_blobs WHERE event_id BETWEEN ? AND ?", gone)
        db.executemany(
            "INSERT INTO pruned_stretches SELECT ?1, ?2, chain_blake3, ?3 FROM events WHERE id = ?2", ((*each, number) for each in gone)
        )
        db.executemany(
            "INSERT INTO archived_keys SELECT idempotency_key, id, ?3 FROM events WHERE id BETWEEN ?1 AND ?2 AND idempotency_key NOT NULL",
            ((*each, number) for each in gone),
        )
        runs = ((*_summary(going.run), len(going.ids), offsets[going.run.run_id], number) for going in plan.runs)
        db.executemany("INSERT INTO archived_runs VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", runs)
        before = db.total_changes()
        db.executemany("DELETE FROM events WHERE id BETWEEN ? AND ?", gone)
        if db.total_changes() - before != payload["events"]:
            raise refused("the records are not those of the plan")
        db.executemany("DELETE FROM event_blobs WHERE event_id BETWEEN ? AND ?", gone)
        db.execute("DELETE FROM blobs WHERE hash IN (SELECT hash FROM going) AND hash NOT IN (SELECT hash FROM event_blobs)")
        db.execute("DROP TABLE going")
        checkpoints.put(db, ledger.id, key, number, stored[0].id, name, digest)

    ledger.append([NewEvent("runs.archived", payload, _ACTOR, "user")], also=take_out)


def _summary(run: RunSummary) -> tuple[str | int | None, ...]:
    return (run.run_id, run.opening_name, run.parent_run_id, run.status, run.submitted_ms, run.finished_ms)
