"""Checkpoints: what stands in the ledger for the events that went, under the installation's Ed25519 key.

A checkpoint vouches for the chain value at the end of every stretch that it took out, so that the chain goes on behind it; for the runs and
idempotency keys that are remembered; and for the archive. It names the checkpoint before it, so that none can be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.events import canonical

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import apsw
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA = 3  # ledger files of an earlier schema have none
_CONTEXT = b"runloop checkpoint v1\n"
_COLUMNS = "number, event_id, archive, digest, carried, public_key, signature"
_CARRIED = (
    "SELECT 'stretch', first_id, last_id, hex(chain) FROM pruned_stretches WHERE checkpoint = ? ORDER BY first_id",
    """SELECT 'run', run_id, opening_name, parent_run_id, status, submitted_ms, finished_ms, records, offset FROM archived_runs
       WHERE checkpoint = ? ORDER BY run_id""",
    "SELECT 'key', key, event_id FROM archived_keys WHERE checkpoint = ? ORDER BY key",
)


class Checkpoint(NamedTuple):
    """A row of the table; ``event_id`` is the ``runs.archived`` that says the same in the chain."""

    number: int
    event_id: int
    archive: str
    digest: bytes
    carried: bytes
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a checkpoint, and at which event it shows."""

    event_id: int
    what: str
    expected: str
    actual: str


def checkpoints(db: apsw.Connection) -> list[Checkpoint]:
    """The checkpoints of a ledger, oldest first."""
    if int(db.pragma("user_version")) < SCHEMA:
        return []
    return [Checkpoint(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM checkpoints ORDER BY number")]  # noqa: S608


def carried(db: apsw.Connection, number: int) -> bytes:
    """The BLAKE3 of all rows that a checkpoint vouches for."""
    hasher = blake3()
    for sql in _CARRIED:
        for row in db.execute(sql, (number,)):
            hasher.update(canonical(list(row)) + b"\n")
    return hasher.digest()


def signed_text(ledger_id: str, checkpoint: Checkpoint, previous: bytes) -> bytes:
    """What the signature is over; ``previous`` is the signature of the checkpoint before, empty for the first."""
    said = {
        "ledger_id": ledger_id,
        "number": checkpoint.number,
        "event_id": checkpoint.event_id,
        "archive": checkpoint.archive,
        "digest": checkpoint.digest.hex(),
        "carried": checkpoint.carried.hex(),
        "previous": previous.hex(),
    }
    return _CONTEXT + canonical(said)


def put(db: apsw.Connection, ledger_id: str, key: Ed25519PrivateKey, number: int, event_id: int, archive: str, digest: bytes) -> None:
    """Sign and store the checkpoint of that number, whose other rows are stored."""
    before = checkpoints(db)
    new = Checkpoint(number, event_id, archive, digest, carried(db, number), key.public_key().public_bytes_raw(), b"")
    signature = key.sign(signed_text(ledger_id, new, before[-1].signature if before else b""))
    db.execute(f"INSERT INTO checkpoints({_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?)", new._replace(signature=signature))


def back_key(number: int) -> str:
    """The idempotency key of the event that says that what a checkpoint stood for is in the ledger again."""
    return f"runs.restored:{number}"


def was_taken_back(db: apsw.Connection, number: int) -> bool:
    """Whether the records that a checkpoint stood for are in the ledger again: it carries nothing any more."""
    sql = "SELECT json_extract(payload_json, '$.checkpoint') FROM events WHERE idempotency_key = ? AND kind = 'runs.restored'"
    return bool(db.execute(sql, (back_key(number),)).get == number)


class Holes:
    """Where events are missing from a ledger by right, for a scan that goes through it."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._any = bool(checkpoints(db))

    def over(self, event_id: int) -> tuple[int, bytes] | None:
        """The last event and the chain value of the stretch that begins with that event."""
        if not self._any:
            return None
        return self._db.execute("SELECT last_id, chain FROM pruned_stretches WHERE first_id = ?", (event_id,)).fetchone()

    def around(self, event_id: int) -> tuple[int, bytes] | None:
        """The last event and the chain value of the stretch in which that event was."""
        if not self._any:
            return None
        sql = "SELECT last_id, chain FROM pruned_stretches WHERE first_id <= ? ORDER BY first_id DESC LIMIT 1"
        found: tuple[int, bytes] | None = self._db.execute(sql, (event_id,)).fetchone()
        return found if found is not None and event_id <= found[0] else None


def troubles(db: apsw.Connection, ledger_id: str, signers: Collection[str] | None = None) -> Iterator[Trouble]:
    """What is wrong with the checkpoints, in their order; ``signers`` are the public keys in hexadecimal that count, None for any."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    previous = b""
    expected = 1
    found = checkpoints(db)
    for each in found:
        if each.number != expected:
            yield Trouble(each.event_id, "checkpoint", f"number {expected}", f"number {each.number}")
        expected = each.number + 1
        back = was_taken_back(db, each.number)
        if (now := carried(db, each.number)) != (blake3().digest() if back else each.carried):
            yield Trouble(each.event_id, f"what checkpoint {each.number} carries", each.carried.hex(), now.hex())
        if signers is not None and each.public_key.hex() not in signers:
            known = ", ".join(f"{signer[:16]}…" for signer in sorted(signers)) or "a key of this installation"
            yield Trouble(each.event_id, f"the signer of checkpoint {each.number}", known, each.public_key.hex())
        try:
            Ed25519PublicKey.from_public_bytes(each.public_key).verify(each.signature, signed_text(ledger_id, each, previous))
        except (InvalidSignature, ValueError):
            yield Trouble(each.event_id, f"the signature of checkpoint {each.number}", "made over what it says", "of something else")
        yield from _event(db, each)
        previous = each.signature
    if int(db.pragma("user_version")) >= SCHEMA:
        yield from _stray(db, len(found))


def archive_place(checkpoint: Checkpoint, ledger: Path) -> Path:
    """Where the archive is, or where it was put: a file by that name beside the ledger counts where the named one is gone."""
    named = Path(checkpoint.archive)
    beside = ledger.parent / "archive" / named.name
    return named if named.is_absolute() and (named.exists() or not beside.exists()) else beside


def _event(db: apsw.Connection, checkpoint: Checkpoint) -> Iterator[Trouble]:
    """The event in the chain says the same as the checkpoint, which then cannot be exchanged for a later one by the same key."""
    said = (checkpoint.number, checkpoint.archive, checkpoint.digest.hex())
    row = db.execute(
        """SELECT CASE kind WHEN 'runs.archived' THEN json_extract(payload_json, '$.checkpoint') END,
               json_extract(payload_json, '$.archive'), json_extract(payload_json, '$.digest') FROM events WHERE id = ?""",
        (checkpoint.event_id,),
    ).fetchone()
    if row != said:
        yield Trouble(checkpoint.event_id, f"the event of checkpoint {checkpoint.number}", str(said), str(row))


def _stray(db: apsw.Connection, count: int) -> Iterator[Trouble]:
    """Rows that belong to no checkpoint, and events that tell of one that is gone."""
    for table in ("pruned_stretches", "archived_runs", "archived_keys"):
        stray = db.execute(f"SELECT count(*) FROM {table} WHERE checkpoint NOT IN (SELECT number FROM checkpoints)").get  # noqa: S608
        if stray:
            yield Trouble(1, f"the table {table}", "rows of checkpoints", f"{stray} of none")
    sql = "SELECT id, json_extract(payload_json, '$.checkpoint') FROM events WHERE kind = 'runs.archived' ORDER BY id"
    for event_id, number in db.execute(sql):
        if not isinstance(number, int) or number > count:
            yield Trouble(event_id, "checkpoint", f"number {number}", "missing")
