"""Runs that were archived: what the ledger still says of them, and their records, read from the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, Any

from msgspec import structs

from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events import StoredEvent, kind_of, restore
from runloop.kb.errors import ArchiveDamaged, ArchiveMissing, RunArchived
from runloop.kb.pruning.archive import ArchiveReader
from runloop.kb.pruning.checkpoints import SCHEMA, archive_place, checkpoints

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.kb.ledger import Ledger
    from runloop.kb.pruning.checkpoints import Checkpoint

_COLUMNS = ("run_id", "opening_name", "parent_run_id", "status", "submitted_ms", "finished_ms", "records", "checkpoint")
_LISTED = f"SELECT {', '.join(_COLUMNS)} FROM archived_runs"  # noqa: S608


@dataclass(slots=True)
class ArchivedRuns:
    """The archived runs of a ledger, as a source of runs. An archive is compared with its checkpoint before anything in it is used.

    Reading raises ArchiveMissing and ArchiveDamaged.
    """

    ledger: Ledger
    _checked: dict[int, Path] = field(default_factory=dict)
    _family: tuple[tuple[int, int], list[StoredEvent], dict[str, bytes]] | None = None

    def run_ids(self, prefix: str = "", limit: int = 10) -> list[str]:
        """Ids of archived runs that begin with ``prefix``, newest first."""
        sql = "SELECT run_id FROM archived_runs WHERE run_id >= ? AND run_id < ? ORDER BY submitted_ms DESC, run_id LIMIT ?"
        return [row[0] for row in self._rows(sql, prefix, prefix + "\U0010ffff", limit)]

    def children(self, run_id: str) -> list[str]:
        """The runs that this run started, oldest first."""
        sql = "SELECT run_id FROM archived_runs WHERE parent_run_id = ? ORDER BY submitted_ms, run_id"
        return [row[0] for row in self._rows(sql, run_id)]

    def listed(self, *, state: str | None = None, opening: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """What is known of them without their archives, newest first; ``archive`` is where each is."""
        places = self._places()
        sql = f"""{_LISTED} WHERE status = coalesce(?, status) AND opening_name = coalesce(?, opening_name)
                  ORDER BY submitted_ms DESC, run_id LIMIT ?"""
        rows = [dict(zip(_COLUMNS, row, strict=True)) for row in self._rows(sql, state, opening, limit)]
        return [{**row, "archive": str(places[row["checkpoint"]])} for row in rows]

    def place(self, run_id: str) -> Path | None:
        """The archive of a run, or None where the run was not archived."""
        row = next(iter(self._rows("SELECT checkpoint FROM archived_runs WHERE run_id = ?", run_id)), None)
        return None if row is None else self._places()[row[0]]

    def refusal(self, run_id: str) -> RunArchived:
        """What to say where an archived run cannot be used."""
        hint = f"`rlp show {run_id[:8]}`, trace, replay and export read it there; it cannot be taken up or forked"
        return RunArchived(f"run {run_id} was archived by `rlp kb prune`", where=Where(file=str(self.place(run_id))), hint=hint)

    def read_run(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """Its records after ``after_seq``, oldest first, with those that are still in the ledger; none for a run that was not archived."""
        row = next(iter(self._rows("SELECT checkpoint, offset FROM archived_runs WHERE run_id = ?", run_id)), None)
        if row is None:
            return
        events, _ = self._load(*row)
        mine = [event for event in events if event.payload["run_id"] == run_id]
        there = {event.payload["seq"] for event in mine}
        last = max((event.id for event in events), default=0)
        sql = "SELECT id FROM events WHERE run_id = ? AND id <= ? AND seq IS NOT NULL"
        held = [event for (event_id,) in self._rows(sql, run_id, last) if (event := self.ledger.get(event_id)) is not None]
        mine += [event for event in held if event.payload["seq"] not in there]
        yield from sorted((event for event in mine if event.payload["seq"] > after_seq), key=lambda event: event.id)

    def full(self, event: StoredEvent) -> StoredEvent:
        """The record with its large values."""
        return structs.replace(event, payload=restore(event.payload, kind_of(event.kind).blob_fields, self.blob))

    def blob(self, name: str) -> bytes:
        """The bytes of a large value of the family that was read last, or of the ledger. Raises BlobMissing."""
        data = self._family[2].get(name) if self._family is not None else None
        return self.ledger.blob(name) if data is None else data

    def _load(self, number: int, offset: int) -> tuple[list[StoredEvent], dict[str, bytes]]:
        if self._family is None or self._family[0] != (number, offset):
            events, blobs = ArchiveReader(self._archive(number)).family(offset)
            self._family = (number, offset), events, blobs
        return self._family[1:]

    def _archive(self, number: int) -> Path:
        if number not in self._checked:
            place = self._places()[number]
            digest = next(each.digest for each in self._all() if each.number == number)
            if not place.is_file():
                hint = f"put it back there, or into {self.ledger.path.parent / 'archive'}"
                raise ArchiveMissing(f"the archive {place.name} is gone", where=Where(file=str(place)), hint=hint)
            if ArchiveReader(place).digest() != digest:
                hint = "get a good copy of the archive from a backup; nothing else has these records"
                raise ArchiveDamaged("is not the archive that the ledger names", where=Where(file=str(place)), hint=hint)
            self._checked[number] = place
        return self._checked[number]

    def _places(self) -> dict[int, Path]:
        return {each.number: archive_place(each, self.ledger.path) for each in self._all()}

    def _all(self) -> list[Checkpoint]:
        with self.ledger.reading() as db:
            return checkpoints(db)

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.ledger.reading() as db:
            return db.execute(sql, values).fetchall() if int(db.pragma("user_version")) >= SCHEMA else []
