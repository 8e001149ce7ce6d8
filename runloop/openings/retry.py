"""The pause before a retry: exponential, capped, jittered from the run's seed (spec 9.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from runloop.openings.model import Retry

MIN_PAUSE_MS = 10
MAX_PAUSE_MS = 24 * 60 * 60 * 1000
"""No pause is longer than a day, whatever the exponent says."""


def pause_ms(retry: Retry, seed: bytes, node: str, failed_attempt: int) -> int:
    """Milliseconds from ``failed_attempt`` (from 1) to the next: ``initial * multiplier^(n-1)``, at most ``max_ms``, ``± jitter``."""
    try:
        pause = retry.initial_ms * retry.multiplier ** (failed_attempt - 1)
    except OverflowError:
        pause = MAX_PAUSE_MS
    pause = max(float(MIN_PAUSE_MS), pause)
    if retry.max_ms is not None:
        pause = min(pause, retry.max_ms)
    pause = min(pause, MAX_PAUSE_MS) * (1 + retry.jitter * (2 * fraction(seed, node, failed_attempt) - 1))
    return max(MIN_PAUSE_MS, round(pause))


def fraction(seed: bytes, node: str, attempt: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments: the top 53 bits of a BLAKE3 hash."""
    name = node.encode()
    digest = blake3(
        b"runloop retry\0" + len(seed).to_bytes(4, "big") + seed + len(name).to_bytes(4, "big") + name + attempt.to_bytes(8, "big")
    ).digest(length=8)
    return (int.from_bytes(digest, "big") >> 11) / 2**53
