"""Where runs are read from: this machine's ledger, archives that were imported, or an archive in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from runloop.dataclass import dataclass
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.kb.runs import matching, only_one, run_prefix
from runloop.runs.archives.archive import Archive, open_archive
from runloop.runs.archives.imported import Imported

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb import KnowledgeBase, Ledger

SUFFIX = ".rlz"


class RunSource(Protocol):
    """What the ledger and an archive have in common."""

    def run_ids(self, prefix: str = "", limit: int = 10) -> list[str]:
        """Ids of runs that begin with ``prefix``."""
        ...

    def children(self, run_id: str) -> list[str]:
        """The runs that this run started."""
        ...

    def read_run(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """Its records, oldest first, large values as references."""
        ...

    def full(self, event: StoredEvent) -> StoredEvent:
        """The record with its large values."""
        ...

    def blob(self, name: str) -> bytes:
        """The bytes of a large value."""
        ...


@dataclass(frozen=True, slots=True)
class OwnRuns:
    """The runs of this machine's ledger, read through the index of its derived tables: what a run costs to read is its own length."""

    kb: KnowledgeBase

    def run_ids(self, prefix: str = "", limit: int = 10) -> list[str]:
        """As the ledger does."""
        return self.kb.ledger.run_ids(prefix, limit)

    def children(self, run_id: str) -> list[str]:
        """By the index."""
        return self.kb.children(run_id)

    def read_run(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """By the index."""
        return self.kb.read_run(run_id, after_seq)

    def full(self, event: StoredEvent) -> StoredEvent:
        """As the ledger does."""
        return self.kb.ledger.full(event)

    def blob(self, name: str) -> bytes:
        """As the ledger does."""
        return self.kb.ledger.blob(name)

    def those(self, event_ids: Sequence[int]) -> list[StoredEvent]:
        """The events with these ids, whole, in the order of the ids."""
        return [self.full(event) for event in self.kb.ledger.those(event_ids)]


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, the ledger that recorded it, and where it was found; ``archive`` is set unless it is this machine's own."""

    run_id: str
    source: RunSource
    ledger_id: str
    origin: Literal["own", "archived", "imported", "file"]
    archive: Archive | None = None


def find_source(ref: str, ledger: Ledger | None, imported: Imported) -> FoundRun:
    """The run that ``ref`` names: an id, its first letters or ``last``, among the own, the archived and the imported runs; or a file.

    What holds a ``/`` or ends in ``.rlz`` is a file, whose exported run is meant.

    Raises:
        InvalidInput: ``run.unknown`` or ``run.ambiguous``.

    """
    if is_file(ref):
        archive = open_archive(Path(ref))
        return FoundRun(archive.root, archive, archive.manifest.ledger_id, "file", archive)
    text = run_prefix(ref)
    own = [] if ledger is None else matching(ledger, ref)
    others = {run_id: path for run_id, path in imported.runs().items() if run_id.startswith(text)} if text else {}
    archived = [] if ledger is None or not text else ArchivedRuns(ledger).run_ids(text)
    found = list(dict.fromkeys([*own, *archived, *others]))
    only_one(ref, found, "`rlp runs` lists the runs; the first letters of an id, `last`, or a file of `rlp export` do")
    if own and ledger is not None:
        return FoundRun(found[0], ledger, ledger.id, "own")
    if archived and ledger is not None:
        return FoundRun(found[0], ArchivedRuns(ledger), ledger.id, "archived")
    archive = open_archive(others[found[0]])
    return FoundRun(found[0], archive, archive.manifest.ledger_id, "imported", archive)


def is_file(ref: str) -> bool:
    """Whether a reference names a file and not a run."""
    return "/" in ref or ref.endswith(SUFFIX)
