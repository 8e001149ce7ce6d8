"""Verification: whether the ledger is as it was written, and what is derived from it is what it says."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events.canonical import NOT_JSON
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.keeping.chain import UNREADABLE, Broken, ChainScan
from runloop.kb.keeping.checks import CHECKS, Check, Checked
from runloop.kb.keeping.progress import silent
from runloop.kb.pruning.checkpoints import Holes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import apsw

    from runloop.kb.keeping.anchor import Anchor
    from runloop.kb.keeping.progress import Progress
    from runloop.kb.ledger import Ledger

__all__ = ["Broken", "CheckReport", "VerifyReport", "first_broken_after", "verify"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One check: ``state`` is ``ok``, ``broken`` or, after a break that makes it pointless, ``skipped``; how long it took."""

    name: str
    what: str
    state: str
    ms: int
    broken: Broken | None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, the newest event, the first thing that is broken, if any, and what is odd without being wrong.

    ``bytes`` are those of the ledger that were hashed.
    """

    ledger_id: str
    events: int
    blobs: int
    bytes: int
    head_id: int
    head_chain: str
    broken: Broken | None
    checks: tuple[CheckReport, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return self.broken is None

    @property
    def ms(self) -> int:
        """How long all checks took."""
        return sum(check.ms for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"ok": self.ok, **asdict(self), "ms": self.ms}

    def require(self, file: str) -> None:
        """Raise :class:`LedgerCorrupt` (exit code 5) when something is broken."""
        if self.broken is None:
            return
        of_views = any(check.name == "views" and check.broken is self.broken for check in self.checks)
        before = "everything before that event is intact; " if self.broken.event_id else ""
        hint = "the ledger is intact; `rlp kb rebuild` makes the derived tables anew" if of_views else f"{before}restore a backup"
        code = "kb.views_differ" if of_views else "ledger.broken"
        raise LedgerCorrupt(str(self.broken), code=code, where=Where(file=file), hint=hint)


def verify(
    ledger: Ledger,
    *,
    anchors: Sequence[Anchor] = (),
    views: Path | None = None,
    quick: bool = False,
    progress: Progress = silent,
    signers: Collection[str] | None = None,
) -> VerifyReport:
    """Run the checks in one consistent view of the ledger and in constant memory; with ``views`` also that file against a fresh rebuild.

    ``quick`` leaves out what reads more than every event once: the contents of blobs, the indexes, the derived tables. ``signers`` are the
    public keys, in hexadecimal, whose checkpoints count; None for any.
    """
    wanted = [check for check in CHECKS if (check.quick or not quick) and not (check.of_views and views is None)]
    with ledger.reading() as db:
        db.execute("BEGIN")
        at = Checked(db, ledger, anchors, views, progress, signers=signers)
        try:
            done: list[CheckReport] = []
            for check in wanted:
                done.append(_run(check, at, skip=check.of_views and any(each.broken for each in done)))
        finally:
            with suppress(*UNREADABLE):  # it ends, and tells once more what the checks have met
                db.execute("COMMIT")
    broken = next((each.broken for each in done if each.broken is not None), None)
    return VerifyReport(ledger.id, at.events, at.blobs, at.hashed, at.head[0], at.head[1].hex(), broken, tuple(done), tuple(at.remarks))


def _run(check: Check, at: Checked, *, skip: bool) -> CheckReport:
    if skip:
        return CheckReport(check.name, check.what, "skipped", 0, None)
    start = time.monotonic()
    try:
        broken = next(check.look(at), None)
    except (*UNREADABLE, *NOT_JSON, LookupError, TypeError, ValueError, AttributeError) as error:  # what it reads may be anything
        broken = Broken(0, "the stored bytes", "readable", str(error))
    ms = round((time.monotonic() - start) * 1000)
    return CheckReport(check.name, check.what, "ok" if broken is None else "broken", ms, broken)


def first_broken_after(db: apsw.Connection, event_id: int, chain: bytes) -> Broken | None:
    """Check that an event is there with this chain value, and everything after it; 0 stands for the beginning."""
    ledger_id = str(db.execute("SELECT value FROM meta WHERE key = 'ledger_id'").get)
    if event_id:
        row = db.execute("SELECT chain_blake3 FROM events WHERE id = ?", (event_id,)).fetchone()
        hole = Holes(db).around(event_id) if row is None else None
        if hole is not None:
            event_id, chain = hole
        elif row is None or row[0] != chain:
            return Broken(event_id, "the event", chain.hex(), "missing" if row is None else bytes(row[0]).hex())
    return ChainScan(db, ledger_id, start=(event_id, chain), hash_blobs=True).first_broken()
