"""Leaving a run to the ledger while all of it waits: nothing of it stays in memory but what takes it up again (ADR 5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runloop.events.records import RunChanged
from runloop.runs.recorder import Draft
from runloop.runs.results import PAUSED, Parked, RunHalted

if TYPE_CHECKING:
    from runloop.runs.run import Run


def waits_for(run: Run) -> str:
    """What the run and its children wait for, in a few words."""
    found = {why for each in run.family() for why in each.waits.why.split(", ")}
    return ", ".join(sorted(found - {"", "child"}))


async def park(run: Run) -> None:
    """Leave the run and its children. Returns where something happened meanwhile, else raises RunHalted."""
    family, now_ms, owner = list(run.family()), run.services.clock_ms(), run.services.owner
    await asyncio.gather(*(each.recorder.write(_waiting(each, run, now_ms)) for each in family))  # in one go, while all of it is quiet
    if not run.quiet or run.parks is None:
        meta = RunChanged("something happened while it was put aside", owner=owner)
        draft = Draft("run.recovered", "run goes on", meta)
        await asyncio.gather(*(each.recorder.write(draft) for each in family if not each.ending))
        return
    ends = [each.until_ms for each in family]
    asked = tuple((each.run_id, question) for each in family for question in each.waits.questions)
    run.parks(run)
    run.parked = Parked(
        PAUSED if run.paused else waits_for(run) or "a time", min((end for end in ends if end is not None), default=None), asked
    )
    for each in family:  # in one go: nobody gets an answer in between
        each.recorder.halted = True
        for task in each.tasks.values():
            task.cancel()
    raise RunHalted


def _waiting(each: Run, run: Run, now_ms: int) -> Draft:
    why = PAUSED if run.paused else each.waits.why or "a time"
    meta = RunChanged(why, since=now_ms, until_ms=each.until_ms, owner=run.services.owner, approvals=each.waits.questions or None)
    return Draft("run.waiting", f"run waits for {why}", meta)
