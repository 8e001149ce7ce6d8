"""What goes into a ledger and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

# gc=False: events hold JSON, which has no cycles; the collector need not walk millions of them.


class NewEvent(Struct, frozen=True, gc=False):
    """An event to append; ``ts_ms`` None means when it is written, ``key`` makes a repeat return the first event.

    ``blobs`` are raw bytes stored with the event under their BLAKE3; the payload names them as it likes.
    """

    kind: str
    payload: Mapping[str, Any]
    actor: str
    scope: str = "system"
    provenance: Mapping[str, Any] = {}
    ts_ms: int | None = None
    key: str | None = None
    blobs: tuple[bytes, ...] = ()


class RunEvent(NewEvent, frozen=True, gc=False):
    """A run record to append, made by :func:`runloop.events.run_event`: its canonical form is there already.

    What all records of a run share was checked against the schema when the run's form was made; ``meta`` still has to be.
    """

    payload_json: bytes = b""
    provenance_json: bytes = b""


class StoredEvent(Struct, frozen=True, gc=False):
    """An event as the ledger holds it: ids count from 1 without gaps, times are Unix milliseconds, hashes are 32 bytes."""

    id: int
    ts_ms: int
    kind: str
    actor: str
    scope: str
    payload: Mapping[str, Any]
    provenance: Mapping[str, Any]
    content_hash: bytes
    chain_hash: bytes
    key: str | None = None
