"""``timer.sleep``: waiting, as a recorded call, so that a replay does not wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runloop.effects.types import CallContext, EffectClass, Outcome, Prepared, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.perform.ports import Clock


class WallClock:
    """Waits in real time."""

    async def sleep(self, ms: int) -> None:
        """Return after that many milliseconds."""
        await asyncio.sleep(ms / 1000)


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
