"""``timer.sleep``: waiting, as a recorded call, so that a replay does not wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from runloop.effects.types import CallContext, EffectClass, Outcome, Prepared, require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.effects.perform.ports import Clock


_LOOK_S = 30.0
"""How long at most until the clock is looked at again: timers stand still while the machine sleeps."""


def _since_boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """Waits in real time, to which the time counts in which the machine sleeps."""

    def __init__(self, boot_s: Callable[[], float] = _since_boot_s) -> None:
        self._boot_s = boot_s

    async def sleep(self, ms: int) -> None:
        """Return after that many milliseconds."""
        until = self._boot_s() + ms / 1000
        while (left := until - self._boot_s()) > 0:  # noqa: ASYNC110 - what is waited for is the time
            await asyncio.sleep(min(left, _LOOK_S))


class TimerSleep:
    """Waits. That does not count against the node's time-out, so a sleep may last longer than it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or WallClock()

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        require(ctx.caps.check_time())
        ms = args["ms"]
        return Prepared("timer.sleep", EffectClass.WAITING, f"wait {ms} ms", data={"ms": ms})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Wait for what is left: the time counts from the first asking, whatever happened to this process meanwhile."""
        passed = 0 if ctx.asked_ms is None else max(0, ctx.now_ms - ctx.asked_ms)
        await self._clock.sleep(max(0, prepared.data["ms"] - passed))
        return Outcome({})
