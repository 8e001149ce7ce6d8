"""What `rlp kb verify` looks at, a check for each promise; a new promise is a new entry of ``CHECKS``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.events import parse
from runloop.kb.evidence import named_by
from runloop.kb.keeping.anchor import Anchor
from runloop.kb.keeping.chain import Broken, ChainScan, hash_blob
from runloop.kb.keeping.progress import Progress, silent
from runloop.kb.pruning.archive import ArchiveReader
from runloop.kb.pruning.checkpoints import archive_place, checkpoints, troubles, was_taken_back

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from runloop.kb.ledger import Ledger

_NAMING = " OR ".join(f"instr(payload_json, '\"{name}\"')" for name in ("evidence", "citations", "artifact_id", "sources"))


@dataclass(slots=True)
class Checked:
    """What the checks share: one consistent view of the ledger, and what they have found out about it."""

    db: apsw.Connection
    ledger: Ledger
    anchors: Sequence[Anchor] = ()
    views: Path | None = None
    progress: Progress = silent
    events: int = 0
    blobs: int = 0
    hashed: int = 0
    head: tuple[int, bytes] = (0, b"")
    remarks: list[str] = field(default_factory=list)
    signers: Collection[str] | None = None
    """The public keys, in hexadecimal, whose checkpoints count; None for any."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise. ``look`` yields what breaks it; ``quick`` says whether ``--quick`` looks too."""

    name: str
    what: str
    look: Callable[[Checked], Iterator[Broken]]
    quick: bool = False
    of_views: bool = False


def _chain(at: Checked) -> Iterator[Broken]:
    total = int(at.db.execute("SELECT coalesce(max(last_id), 0) FROM head").get)
    scan = ChainScan(at.db, at.ledger.id, at.anchors, tick=lambda done: at.progress("chain", done, total))
    broken = scan.first_broken()
    at.events += scan.events
    at.hashed += scan.bytes
    at.head = scan.last_id, scan.chain
    if broken is not None:
        yield broken


def _references(at: Checked) -> Iterator[Broken]:
    """Every event that another one rests on was there before it. What an agent cites in an artifact is its own word: a remark."""
    dangling = 0
    sql = (
        f"SELECT id, kind, payload_json, provenance_json FROM events WHERE {_NAMING} OR instr(provenance_json, '\"evidence\"') ORDER BY id"  # noqa: S608
    )
    for event_id, kind, payload_json, provenance_json in at.db.execute(sql):
        payload = parse(payload_json)
        stated = str(parse(provenance_json).get("evidence", ""))
        named = [*named_by(payload), *(int(number) for number in stated.split(",") if number.isdecimal())]
        for number in named:
            if 0 < number < event_id:
                continue
            if "run_id" in payload:
                dangling += 1
            else:
                yield Broken(event_id, f"what this {kind} rests on", f"an event before {event_id}", f"event {number}")
    if dangling:
        at.remarks.append(f"agents cited {dangling} events that did not exist then")


def _blobs(at: Checked) -> Iterator[Broken]:
    total = int(at.db.execute("SELECT count(*) FROM blobs").get)
    for rowid, name, size in at.db.execute("SELECT rowid, hash, length(data) FROM blobs ORDER BY rowid"):
        found = hash_blob(at.db, int(rowid))
        at.blobs += 1
        at.hashed += int(size)
        if found != name:
            named_in = at.db.execute("SELECT coalesce(min(event_id), 0) FROM event_blobs WHERE hash = ?", (name,)).get
            yield Broken(int(named_in), "blob", bytes(name).hex(), found.hex())
        if at.blobs % 256 == 0:
            at.progress("blobs", at.blobs, total)
    lonely, size = at.db.execute(
        "SELECT count(*), coalesce(sum(length(data)), 0) FROM blobs WHERE hash NOT IN (SELECT hash FROM event_blobs)"
    ).get
    if lonely:
        at.remarks.append(f"{lonely} blobs of {size:,} bytes belong to no event")


def _file(at: Checked) -> Iterator[Broken]:
    for (said,) in at.db.execute("PRAGMA integrity_check(1)"):
        if said != "ok":
            yield Broken(0, "the file of the ledger", "whole", str(said))
    for kind, name in at.db.execute("SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view')"):
        yield Broken(0, "the file of the ledger", "tables and indexes alone", f"a {kind} {name!r}, which would act on what is written")


def _checkpoints(at: Checked) -> Iterator[Broken]:
    for trouble in troubles(at.db, at.ledger.id, at.signers):
        yield Broken(trouble.event_id, trouble.what, trouble.expected, trouble.actual)


def _archives(at: Checked) -> Iterator[Broken]:
    """An archive that was put elsewhere is a remark: a person may keep it where he likes. One that was taken back is not needed."""
    for each in (each for each in checkpoints(at.db) if not was_taken_back(at.db, each.number)):
        place = archive_place(each, at.ledger.path)
        if not place.exists():
            at.remarks.append(f"the archive of checkpoint {each.number} is not at {place}")
        elif (found := ArchiveReader(place).digest()) != each.digest:
            yield Broken(each.event_id, f"the archive {place}", each.digest.hex(), found.hex())


def _views(at: Checked) -> Iterator[Broken]:
    from runloop.kb.keeping.comparing import differences

    assert at.views is not None  # noqa: S101 - the check is left out where there are none
    yield from differences(at.views, at.ledger, lambda done, of: at.progress("views", done, of))


CHECKS: tuple[Check, ...] = (
    Check("chain", "content and chain hash of every event, their order, the head", _chain, quick=True),
    Check("checkpoints", "what stands for pruned events is signed, whole, and told of in the chain", _checkpoints, quick=True),
    Check("archives", "the archives of pruned events are those that the checkpoints name", _archives),
    Check("references", "every event that another one rests on was there before it", _references, quick=True),
    Check("blobs", "every blob has the content that its name says", _blobs),
    Check("file", "the pages and indexes of the ledger's file", _file),
    Check("views", "the derived tables and the search index against a fresh rebuild", _views, of_views=True),
)
