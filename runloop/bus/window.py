"""Which messages were delivered lately, so that a repeated one is delivered once.

Subscriptions with the same pattern match the same frames from the moment they exist, so they share a window: what it holds with a
stamp older than a subscription, that subscription has not seen. Two generations make the window: it remembers at least
``DEDUPE_KEYS`` messages and at most twice as many, none for longer than ``DEDUPE_MS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runloop.bus.limits import DEDUPE_KEYS, DEDUPE_MS

if TYPE_CHECKING:
    from collections.abc import Collection

Stamp = tuple[int, int]
"""Epoch (it counts subscriptions) and time in ms: shared by all frames of one reading, so that remembering one costs one dict entry."""
_NEVER: Final = (-1, 0)


class Window:
    """Keys are the 24 bytes of trace id and message id; ``cur`` and ``old`` may be looked into directly."""

    __slots__ = ("born_ms", "cur", "old", "users")

    def __init__(self, now_ms: int) -> None:
        self.cur: dict[bytes, Stamp] = {}
        self.old: dict[bytes, Stamp] = {}
        self.born_ms = now_ms
        self.users = 0

    def turn(self, now_ms: int) -> None:
        """Forget what is too much or too old; call it after keys were added, and now and then."""
        if len(self.cur) >= DEDUPE_KEYS or now_ms - self.born_ms >= DEDUPE_MS:
            self.old = self.cur
            self.cur = {}
            self.born_ms = now_ms

    def last(self, key: bytes, now_ms: int) -> int:
        """The epoch in which the message was delivered last; -1 if not within the window."""
        epoch, at_ms = self.cur.get(key) or self.old.get(key) or _NEVER
        return epoch if epoch >= 0 and now_ms - at_ms < DEDUPE_MS else -1

    def __len__(self) -> int:
        return len(self.cur) + len(self.old)


def forget_most(windows: Collection[Window], most: int) -> None:
    """Let the largest forget their older half, as long as all remember more messages than that together."""
    total = sum(map(len, windows))
    if total > most:
        for window in sorted(windows, key=len, reverse=True):
            total -= len(window.old)
            window.old = window.cur
            window.cur = {}
            if total <= most:
                break
