"""Large values leave the event and stand in it as ``{"$blob": hash, "bytes": n}``; data that looks so is escaped.

Only the fields that a kind declares are looked at, so a ``$blob`` key anywhere else is ordinary data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blake3 import blake3

from runloop.events.canonical import canonical, parse

INLINE_LIMIT = 16 * 1024  # bytes of canonical JSON; larger values become blobs
Path = tuple[str, ...]


def externalise(payload: Mapping[str, Any], fields: Sequence[Path]) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """The payload in its stored form, and the blobs ``(hex BLAKE3, canonical JSON)`` that it names."""
    stored = dict(payload)
    blobs: list[tuple[str, bytes]] = []
    for path in fields:
        holder = _holder(stored, path)
        if holder is None:
            continue
        value = holder[path[-1]]
        if _small(value):
            continue
        data = canonical(value)
        if len(data) > INLINE_LIMIT:
            name = blake3(data).hexdigest()
            blobs.append((name, data))
            replacement: Any = {"$blob": name, "bytes": len(data)}
        elif isinstance(value, dict) and ("$blob" in value or "$data" in value):
            replacement = {"$data": value}
        else:
            continue
        _replace(stored, path, replacement)
    return stored, blobs


def blob_names(payload: Mapping[str, Any], fields: Sequence[Path]) -> list[str]:
    """The blobs that a stored payload needs."""
    names = []
    for path in fields:
        holder = _holder(payload, path)
        if holder is not None and is_blob_ref(holder[path[-1]]):
            names.append(holder[path[-1]]["$blob"])
    return names


def restore(payload: Mapping[str, Any], fields: Sequence[Path], load: Callable[[str], bytes]) -> dict[str, Any]:
    """The payload as it was given: blobs loaded, escapes undone."""
    full = dict(payload)
    for path in fields:
        holder = _holder(full, path)
        if holder is None:
            continue
        value = holder[path[-1]]
        if is_blob_ref(value):
            _replace(full, path, parse(load(value["$blob"])))
        elif isinstance(value, dict) and value.keys() == {"$data"}:
            _replace(full, path, value["$data"])
    return full


def is_blob_ref(value: Any) -> bool:
    """Whether a stored value stands for a blob."""
    return isinstance(value, dict) and value.keys() == {"$blob", "bytes"}


def _small(value: Any) -> bool:
    """Whether the value plainly fits and needs no escape, without encoding it."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, str):
        return len(value) * 6 < INLINE_LIMIT  # the longest escape of one character is six bytes
    return isinstance(value, (dict, list)) and not value


def _holder(payload: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    """The object that holds the field, or None where the payload has no such field."""
    here: Any = payload
    for name in path[:-1]:
        here = here.get(name)
        if not isinstance(here, Mapping):
            return None
    return here if path[-1] in here else None


def _replace(payload: dict[str, Any], path: Path, value: Any) -> None:
    """Set the field, copying the objects on the way so that the caller's stay as they were."""
    here = payload
    for name in path[:-1]:
        here[name] = dict(here[name])
        here = here[name]
    here[path[-1]] = value
