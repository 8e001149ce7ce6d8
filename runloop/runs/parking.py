"""Leaving a run to the ledger while all of it waits: nothing of it stays in memory but what takes it up again (ADR 5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from runloop.events.records import OpenQuestion, RunChanged
from runloop.runs.recorder import Draft
from runloop.runs.results import PAUSED, Parked, RunHalted
from runloop.text import A_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.runs.run import Run
    from runloop.runs.waits import Why

_WORDS: Final[Mapping[Why, str]] = {"person": "a person", "timer": A_TIME, "paused": PAUSED}


def waits_for(run: Run) -> str:
    """What the run and its children wait for, in a few words."""
    found = {_WORDS[why] for each in run.family() for why in each.under_way.waits.whys if why != "child"}
    found |= {A_TIME for each in run.family() if each.waits_for_time}
    return ", ".join(sorted(found))


async def park(run: Run) -> None:
    """Leave the run and its children. Returns where something happened meanwhile, else raises RunHalted."""
    family, now_ms, owner = list(run.family()), run.services.clock_ms(), run.services.owner
    for each in family:
        each.look_at_clock()
    await asyncio.gather(*(each.recorder.write(_waiting(each, now_ms)) for each in family))  # in one go, while all of it is quiet
    if not run.quiet or run.parks is None:
        meta = RunChanged("something happened while it was put aside", owner=owner)
        draft = Draft("run.recovered", "run goes on", meta)
        await asyncio.gather(*(each.recorder.write(draft) for each in family if not each.ending))
        return
    run.parks(run)
    for each in family:
        each.remember_clock()
    run.parked = Parked(_why(run), _until_ms(run), tuple(_asked(run)))
    for each in family:  # in one go: nobody gets an answer in between
        each.recorder.halted = True
        for attempt in each.under_way.crossings.values():
            attempt.drop()  # by itself it would end only once its guest is gone
        for task in each.under_way.tasks.values():
            task.cancel()
    raise RunHalted


def _why(run: Run) -> str:
    return PAUSED if run.paused else waits_for(run) or A_TIME


def _until_ms(run: Run) -> int | None:
    return min((until_ms for each in run.family() if (until_ms := each.until_ms) is not None), default=None)


def _asked(run: Run) -> list[OpenQuestion]:
    """What the run and its children ask."""
    family = [(None if each is run else each.run_id, each.under_way.waits.questions) for each in run.family()]
    return [OpenQuestion(asked.approval_id, asked.event_id, asked.type, run_id) for run_id, questions in family for asked in questions]


def _waiting(run: Run, now_ms: int) -> Draft:
    """What alone tells a later process what the run waits for."""
    why = _why(run)
    meta = RunChanged(why, since=now_ms, until_ms=_until_ms(run), owner=run.services.owner, approvals=_asked(run) or None)
    return Draft("run.waiting", f"run waits for {why}", meta)
