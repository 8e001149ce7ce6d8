"""``timer.sleep``: waiting, as a recorded call, so that a replay does not wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.perform.ports import Clock


class WallClock:
    """Waits in real time."""

    async def sleep(self, ms: int) -> None:
        """Return after that many milliseconds."""
        await asyncio.sleep(ms / 1000)


class TimerSleep:
    """Waits; a sleep that would outlast the deadline of the node is refused at once."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or WallClock()

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        require(ctx.caps.check_time())
        ms, remaining = args["ms"], ctx.remaining_ms
        if remaining is not None and ms > remaining:
            raise CallError(
                CallErrorKind.TIMEOUT,
                f"a sleep of {ms} ms would outlast the {remaining} ms that the node has left",
                code="timer.deadline",
                hint="raise the node's timeout_ms in the opening, or sleep less",
            )
        return Prepared("timer.sleep", EffectClass.WAITING, f"wait {ms} ms", data={"ms": ms})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        await self._clock.sleep(prepared.data["ms"])
        return Outcome({})
