"""What code a guest really is: hashes of contents, kept so that a run pays for them once.

Compiled code and bytecode are found by these hashes and never by the digest that a caller names: a wrong digest costs time, not safety.
"""

from __future__ import annotations

import base64
import collections
import json
from typing import TYPE_CHECKING

import blake3

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT = 128


class Contents:
    """The latest sources and codes with their hashes."""

    def __init__(self) -> None:
        self._sources: collections.OrderedDict[str, tuple[dict[str, str], str, str]] = collections.OrderedDict()
        self._data: collections.OrderedDict[str, tuple[dict[str, bytes], str]] = collections.OrderedDict()
        self._codes: collections.OrderedDict[int, tuple[bytes, str]] = collections.OrderedDict()

    def of_sources(self, digest: str, sources: Mapping[str, str]) -> tuple[str, str]:
        """Give the sources as JSON text and its hash; kept under the caller's digest, and compared before use."""
        known = self._sources.get(digest)
        if known is None or known[0] != sources:
            text = json.dumps(dict(sources), sort_keys=True)
            known = self._sources[digest] = (dict(sources), text, blake3.blake3(text.encode()).hexdigest())
            while len(self._sources) > _KEPT:
                self._sources.popitem(last=False)
        return known[1], known[2]

    def of_data(self, digest: str, data: Mapping[str, bytes]) -> str:
        """Give files as JSON text, each in base64; kept and compared like sources."""
        if not data:
            return "{}"
        known = self._data.get(digest)
        if known is None or known[0] != data:
            text = json.dumps({path: base64.b64encode(content).decode() for path, content in data.items()}, sort_keys=True)
            known = self._data[digest] = (dict(data), text)
            while len(self._data) > _KEPT:
                self._data.popitem(last=False)
        return known[1]

    def of_code(self, code: bytes) -> str:
        """Give the hash of WebAssembly; the object is kept, so that its identity stays its own."""
        known = self._codes.get(id(code))
        if known is None:
            known = self._codes[id(code)] = (code, blake3.blake3(code).hexdigest())
            while len(self._codes) > _KEPT:
                self._codes.popitem(last=False)
        return known[1]
