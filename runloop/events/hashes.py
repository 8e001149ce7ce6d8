"""Hashes that identify events, their order, and what nodes produced. All are BLAKE3, 32 bytes."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from runloop.events.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_CHAIN_TAG = b"runloop.chain.v1"
_ID_AND_TIME = struct.Struct(">Qq")
_GENESIS_TAG = b"runloop.ledger.v1"


class NodeResult(NamedTuple):
    """What the last attempt of a node left: the hash of its outputs, its error text, or both."""

    outputs_hash: str | None = None
    error: str | None = None


_text = functools.lru_cache(1024)(canonical)


def preimage(kind: str, actor: str, scope: str, payload_json: bytes, provenance_json: bytes) -> bytes:
    """The canonical JSON of ``{kind, actor, scope, payload, provenance}`` from canonical parts (spec 15.3); no time in it."""
    return b'{"actor":%b,"kind":%b,"payload":%b,"provenance":%b,"scope":%b}' % (
        _text(actor),
        _text(kind),
        payload_json,
        provenance_json,
        _text(scope),
    )


def content_hash(kind: str, actor: str, scope: str, payload: Mapping[str, Any], provenance: Mapping[str, Any]) -> bytes:
    """The identity of what an event says (spec 15.3, vector in 25.2)."""
    return blake3(preimage(kind, actor, scope, canonical(dict(payload)), canonical(dict(provenance)))).digest()


def genesis(ledger_id: str) -> bytes:
    """The chain value before the first event: two ledgers never share a chain."""
    return blake3(_GENESIS_TAG + ledger_id.encode()).digest()


def chain_hash(previous: bytes, event_id: int, ts_ms: int, content: bytes, key: str | None = None) -> bytes:
    """The value that fixes an event's place: previous value, id, time, content hash, idempotency key."""
    place = (_CHAIN_TAG, previous, _ID_AND_TIME.pack(event_id, ts_ms), content, b"" if key is None else key.encode())
    return blake3(b"".join(place)).digest()


def value_hash(value: Any) -> str:
    """Hex BLAKE3 of a value's canonical form: ``args_hash``, ``result_hash`` and blob names."""
    return blake3(canonical(value)).hexdigest()


def outputs_hash(ports: Mapping[str, Sequence[Any]]) -> str:
    """Hex hash over ports sorted by name: the name's bytes, then each value's canonical JSON, no separators (spec 9.3)."""
    hasher = blake3()
    for port in sorted(ports):
        hasher.update(port.encode())
        for value in ports[port]:
            hasher.update(canonical(value))
    return hasher.hexdigest()


def final_hash(nodes: Iterable[NodeResult]) -> str:
    """Hex hash over the nodes that ran, in declaration order: raw bytes of the outputs hash, then the error text (spec 9.3)."""
    hasher = blake3()
    for node in nodes:
        if node.outputs_hash is not None:
            hasher.update(bytes.fromhex(node.outputs_hash))
        if node.error is not None:
            hasher.update(node.error.encode())
    return hasher.hexdigest()
