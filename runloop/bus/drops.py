"""Drop notices: what was lost, told on ``rlp/sys/drops`` at a bounded rate. Nothing that is lost of a notice is told again.

The first loss of a topic and reason is told at once; what follows within a second is gathered into one notice with a ``count``.
"""

from __future__ import annotations

from typing import Any, Final

from runloop.dataclass import dataclass
from runloop.rmp.header import U64_MAX

NOTICE: Final = "error.bus.drop.notice.v1"
NOTICE_TTL_MS: Final = 5_000
EVERY_MS: Final = 1_000
_GATHERED: Final = 256


@dataclass(slots=True)
class _Gathered:
    trace_id: int
    msg_id: int
    expires_at_ms: int | None
    count: int = 0
    told_ms: int = -EVERY_MS


class DropNotices:
    """Gathers losses by topic and reason; at most ``per_second`` notices, and at most 256 topics and reasons at a time."""

    __slots__ = ("_known", "_left", "_per_second", "_refilled_ms")

    def __init__(self, per_second: int) -> None:
        self._known: dict[tuple[str, str], _Gathered] = {}
        self._per_second = per_second
        self._left = per_second
        self._refilled_ms = 0

    def add(self, topic: str, reason: str, count: int, *, trace_id: int, msg_id: int, expires_at_ms: int | None) -> None:
        """Note copies of frames that were lost; the frame named is the first of those that the next notice tells of."""
        known = self._known.get((topic, reason))
        if known is None:
            if len(self._known) >= _GATHERED:
                return
            known = self._known[topic, reason] = _Gathered(trace_id, msg_id, expires_at_ms)
        elif not known.count:
            known.trace_id, known.msg_id, known.expires_at_ms = trace_id, msg_id, expires_at_ms
        known.count += count

    def more(self, topic: str, reason: str, count: int) -> bool:
        """Add to what is being gathered already, which costs little; False where nothing is."""
        known = self._known.get((topic, reason))
        if known is None or not known.count:
            return False
        known.count += count
        return True

    def due(self, now_ms: int) -> list[tuple[int, dict[str, Any]]]:
        """The notices to publish now: trace id and payload."""
        if now_ms - self._refilled_ms >= EVERY_MS or now_ms < self._refilled_ms:
            self._left, self._refilled_ms = self._per_second, now_ms
        told = []
        for (topic, reason), known in list(self._known.items()):
            rested = now_ms - known.told_ms >= EVERY_MS or now_ms < known.told_ms
            if not known.count and rested:
                del self._known[topic, reason]
            elif known.count and rested and self._left > 0:
                self._left -= 1
                told.append((known.trace_id, _payload(topic, reason, known, now_ms)))
                known.count, known.told_ms = 0, now_ms
                self._known[topic, reason] = self._known.pop((topic, reason))  # behind the others, whose turn comes before its next
        return told

    def next_ms(self, now_ms: int) -> int | None:
        """When :meth:`due` may have something, or None."""
        if not self._known:
            return None
        earliest = min(known.told_ms + EVERY_MS for known in self._known.values())
        return max(earliest, now_ms if self._left > 0 else self._refilled_ms + EVERY_MS)


def _payload(topic: str, reason: str, known: _Gathered, now_ms: int) -> dict[str, Any]:
    wide = known.trace_id
    return {
        "v": 1,
        "reason": reason,
        "topic": topic,
        "trace_id": wide if wide <= U64_MAX else wide.to_bytes(16, "big"),
        "msg_id": known.msg_id,
        "expires_at_ms": known.expires_at_ms,
        "observed_at_ms": now_ms,
        "count": known.count,
    }
