"""The lines of an export: a header, the other tables of the ledger, blobs, events, and an end with a digest of all of it.

Every line is one JSON object with one member. Payload and provenance stand as the ledger stores them, byte for byte.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from runloop.kb.rows import Told

FORMAT = 1
WRITERS_OWN = frozenset({"migrations", "run_numbers"})  # tables and facts that a file makes for itself
KEPT_APART = frozenset({"events", "blobs", "event_blobs", "head", "meta"})  # tables that lines of their own stand for


class At(Struct, frozen=True, forbid_unknown_fields=True):
    """An event and the chain value after it, in hexadecimal; 0 stands for the beginning."""

    id: int
    chain: str


class Header(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which ledger, after which event up to which; an export that is ``masked`` or ``selected`` is for reading only.

    ``meta`` are facts of the file, such as the salt of its masks.
    """

    version: int
    ledger_id: str
    schema: int
    after: At
    head: At
    masked: bool = False
    selected: str | None = None
    meta: dict[str, str] = {}


class TableRow(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of another table; bytes are ``{"hex": …}``."""

    table: str
    values: list[Any]


class Blob(Struct, frozen=True, forbid_unknown_fields=True):
    """A blob: its BLAKE3 in hexadecimal, its bytes in base64."""

    hash: str
    data: str

    def content(self) -> bytes:
        """The bytes. Raises ValueError."""
        return b64decode(self.data, validate=True)


class Event(Told, frozen=True):
    """A row of the ledger; ``blobs`` are the names of those that it brought."""

    hash: str
    chain: str
    key: str | None = None
    blobs: list[str] = field(default_factory=list)


class End(Struct, frozen=True, forbid_unknown_fields=True):
    """How many lines, events and blobs came before, and the BLAKE3 of all their bytes."""

    lines: int
    events: int
    blobs: int
    blake3: str


class Line(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line; exactly one member is there."""

    export: Header | UnsetType = UNSET
    row: TableRow | UnsetType = UNSET
    blob: Blob | UnsetType = UNSET
    event: Event | UnsetType = UNSET
    end: End | UnsetType = UNSET


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Line, strict=True).decode


def blob(name: bytes, data: bytes) -> Blob:
    """The line of a blob."""
    return Blob(name.hex(), b64encode(data).decode())


def to_json(value: Any) -> Any:
    """A value of SQLite as JSON has it."""
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def from_json(value: Any) -> Any:
    """The reverse of :func:`to_json`. Raises ValueError."""
    if isinstance(value, dict):
        if value.keys() != {"hex"} or not isinstance(value["hex"], str):
            raise ValueError("an object is no value of a table")
        return bytes.fromhex(value["hex"])
    if isinstance(value, (list, bool)):
        raise ValueError("a list is no value of a table")  # noqa: TRY004 - a wrong value, whatever its type
    return value
