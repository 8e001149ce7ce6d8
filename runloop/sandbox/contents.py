"""What code a guest really is: hashes of contents, kept so that a run pays for them once.

Compiled code and bytecode are found by these hashes and never by the digest that a caller names: a wrong digest costs time, not safety.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

import blake3

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT = 128
_K = TypeVar("_K")
_V = TypeVar("_V")
_M = TypeVar("_M")


class Contents:
    """The latest sources and codes with their hashes."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[dict[str, str], tuple[str, str]]] = OrderedDict()
        self._data: OrderedDict[str, tuple[dict[str, bytes], str]] = OrderedDict()
        self._codes: OrderedDict[int, tuple[bytes, str]] = OrderedDict()

    def of_sources(self, digest: str, sources: Mapping[str, str]) -> tuple[str, str]:
        """Give the sources as JSON text and its hash; kept under the caller's digest, and compared before use."""
        known = self._sources.get(digest)
        if known is not None and known[0] == sources:
            return known[1]
        text = json.dumps(dict(sources), sort_keys=True)
        return _keep(self._sources, digest, dict(sources), (text, blake3.blake3(text.encode()).hexdigest()))

    def of_data(self, digest: str, data: Mapping[str, bytes]) -> str:
        """Give files as JSON text, each in base64; kept and compared like sources."""
        if not data:
            return "{}"
        known = self._data.get(digest)
        if known is not None and known[0] == data:
            return known[1]
        text = json.dumps({path: base64.b64encode(content).decode() for path, content in data.items()}, sort_keys=True)
        return _keep(self._data, digest, dict(data), text)

    def of_code(self, code: bytes) -> str:
        """Give the hash of WebAssembly; the object is kept, so that its identity stays its own."""
        known = self._codes.get(id(code))
        return known[1] if known is not None else _keep(self._codes, id(code), code, blake3.blake3(code).hexdigest())


def _keep(kept: OrderedDict[_K, tuple[_V, _M]], key: _K, value: _V, made: _M) -> _M:
    """Keep what was made of a value, and drop the oldest."""
    kept[key] = (value, made)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return made
