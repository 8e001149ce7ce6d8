"""Somebody sets the clock while a run is under way: time-outs do not notice, records do."""

import asyncio
import time
from dataclasses import replace

import pytest

ASKS = "@agent\ndef run():\n    model.complete('one')\n    return {'out': model.complete('two').text}\n"
ONE = 'version: 0\nname: one\npolicy: {timeout_ms: 60000}\nnodes: [{id: only, use: "agent:one", timeout_ms: 60000}]\nedges: []\n'
DAY_MS = 86_400_000


@pytest.mark.parametrize("by_ms", [DAY_MS, -DAY_MS])
async def test_a_clock_that_is_set_by_a_day_ends_no_time_and_gives_none(bench, by_ms):
    async with bench() as b:
        b.agent("one", ASKS, caps="model = true")
        ahead_ms = 0
        b.manager.services = replace(b.services, clock_ms=lambda: time.time_ns() // 1_000_000 + ahead_ms)
        b.model.gate, b.model.gate_at, b.model.hold_seen = asyncio.Event(), 1, asyncio.Event()
        left = []
        perform = b.model.perform

        async def look(prepared, ctx):
            left.append(ctx.remaining_ms)
            return await perform(prepared, ctx)

        b.model.perform = look
        run = await b.submit(ONE)
        driving = asyncio.create_task(b.manager.drive(run))
        await b.model.hold_seen.wait()
        ahead_ms = by_ms
        b.model.gate.set()

        assert (await driving).status == "succeeded"
        assert 0 < left[1] <= left[0] <= 60_000
        asked = [event.ts_ms for event in b.ledger.read_run(run.run_id) if event.kind == "effect.requested"]
        assert abs(asked[1] - asked[0] - by_ms) < DAY_MS // 2
