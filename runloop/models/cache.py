"""Answers that are still good: least recently used, with a time to live, under a key that cannot be ambiguous."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.models.settings import ProviderSettings
    from runloop.models.types import ModelReply, ModelRequest


def cache_key(provider: ProviderSettings, model: str, request: ModelRequest, max_tokens: int) -> str:
    """BLAKE3 of one JSON document with every field that can change the answer, each under its name."""
    document = {
        "provider": provider.id,
        "base_url": provider.base_url,
        "num_ctx": provider.num_ctx,
        "model": model,
        "prompt": request.prompt,
        "system": request.system,
        "context": request.context,
        "max_tokens": max_tokens,
        "temperature": request.temperature,
        "stop": list(request.stop),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return blake3(text.encode()).hexdigest()


class ReplyCache:
    """A bounded map from key to reply. Capacity 0 or a time to live of 0 keeps nothing; ``now`` gives seconds."""

    def __init__(self, capacity: int, ttl_ms: int, now: Callable[[], float]) -> None:
        self._capacity = capacity if ttl_ms > 0 else 0
        self._ttl_s = ttl_ms / 1000
        self._now = now
        self._entries: OrderedDict[str, tuple[float, ModelReply]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> ModelReply | None:
        """The reply, when there is one that has not expired."""
        found = self._entries.get(key)
        if found is None:
            return None
        expires, reply = found
        if self._now() >= expires:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return reply

    def put(self, key: str, reply: ModelReply) -> None:
        """Keep a reply; the least recently used one makes room."""
        if self._capacity <= 0:
            return
        self._entries[key] = (self._now() + self._ttl_s, reply)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
