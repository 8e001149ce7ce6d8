"""How a record that was erased is known again when it is read once more, from wherever that is.

What stays of it is a hash under a key of the ledger's own: of what it is (an address, a message, the words of a passage) where all of it
was erased, of what it said where only texts were taken out. Who has the ledger can test a guess by it; nobody else can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.events import canonical
from runloop.kb.derived import account_key, contact_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

_CONTEXT = "runloop 2026-11-20 what was erased"
_PLACES = frozenset({"path", "line", "end_line", "source", "mailbox", "repository", "file_hash", "part", "parts"})
_IDENTITY: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "contact.upserted": lambda data: contact_key(data["email"]),
    "account.upserted": lambda data: account_key(data["service"], data["handle"]),
    "note.imported": lambda data: " ".join(str(data["text"]).split()),
    "message.imported": lambda data: str(data["message"]),
    "appointment.imported": lambda data: str(data["appointment"]),
    "commit.imported": lambda data: str(data["commit"]),
    "command.imported": lambda data: str(data["command"]),
}


def key_of(salt: str) -> bytes:
    """The key of the hashes, out of the ledger's salt."""
    return blake3(salt.encode(), derive_key_context=_CONTEXT).digest()


def whole(key: bytes, kind: str, payload: Mapping[str, Any]) -> str | None:
    """The hash of what a record is; ``payload`` as it was given, without blobs. None for a kind that nobody imports."""
    return _hash(key, [kind, _IDENTITY[kind](payload)]) if kind in _IDENTITY else None


def content(key: bytes, kind: str, payload: Mapping[str, Any]) -> str | None:
    """The hash of what a record says, wherever it was read."""
    if kind not in _IDENTITY:
        return None
    return _hash(key, [kind, {name: value for name, value in payload.items() if name not in _PLACES}])


def names(key: bytes, kind: str, payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Every hash by which a record that is read would be known again; a contact's by each of its addresses, whichever stands first now."""
    forms = [{**payload, "email": each} for each in payload.get("emails") or ()] if kind == "contact.upserted" else []
    said = [*(whole(key, kind, each) for each in (payload, *forms)), content(key, kind, payload)]
    return tuple(dict.fromkeys(each for each in said if each is not None))


def erased_among(db: apsw.Connection, hashes: Iterable[str]) -> dict[str, int]:
    """Those of the hashes that an erasure left, with its event."""
    found: dict[str, int] = {}
    for each in hashes:
        row: Any = db.execute("SELECT event_id FROM erased_records WHERE said = ?", (each,)).fetchone()
        if row is not None:
            found[each] = row[0]
    return found


def _hash(key: bytes, value: Any) -> str:
    return blake3(canonical(value), key=key).hexdigest()
