"""Pausing a run and its child runs, and letting them go on: both are on record, and last over the end of the process (ADR 5)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runloop.events.records import RunChanged
from runloop.runs.drafts import first_line
from runloop.runs.recorder import Draft

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from runloop.runs.run import Run

_WITH_PARENT = "as the run that asked for this one"


async def pause(run: Run, why: str) -> None:
    """Begin no node and no call any more, in the run and its children; what is under way goes on to its next call."""
    async with _changing(run):
        family = [each for each in run.family() if not each.ending and not each.paused and _is_here(each, run)]
        for each in family:
            each.hold()
        await _write_of_all(family, _paused(why))


async def resume(run: Run, why: str) -> None:
    """Go on after :func:`pause`; what is about to end, and what it is about to stop, stays as it is."""
    async with _changing(run):
        while family := [each for each in _going_on(run) if each.paused and _is_here(each, run)]:  # one more may have begun meanwhile
            await _write_of_all(family, _resumed(why))
            for each in family:
                each.release()


def _going_on(run: Run) -> Iterator[Run]:
    """The run and its child runs, without those that are ending and what is below them."""
    if not run.ending:
        yield run
        for child in run.children.values():
            yield from _going_on(child)


def _is_here(each: Run, run: Run) -> bool:
    """Whether ``each`` is paused or resumed with ``run``: a child that is yet to begin, or to be taken up, keeps step when it does."""
    return each is run or each.begun


def in_step(child: Run) -> list[Draft]:
    """A child run that begins here is paused while its parent is, whatever either was when it was left; what is to be recorded of that."""
    child.begun = True
    if child.parent is None or child.parent.paused is child.paused:
        return []
    if child.paused:
        child.release()
        return [_resumed(_WITH_PARENT)]
    child.hold()
    return [_paused(_WITH_PARENT)]


@asynccontextmanager
async def _changing(run: Run) -> AsyncIterator[None]:
    """One change at a time, in the order in which they were wanted; until it is on disk the run is not left to the ledger."""
    try:
        async with run.changing:
            yield
    finally:
        run.look()  # it may be quiet now


async def _write_of_all(family: list[Run], draft: Draft) -> None:
    """The same record of each, in one go."""
    await asyncio.gather(*(each.recorder.write(draft) for each in family))


def _paused(why: str) -> Draft:
    return Draft("run.paused", f"run paused: {first_line(why)}", RunChanged(why))


def _resumed(why: str) -> Draft:
    return Draft("run.resumed", f"run resumed: {first_line(why)}", RunChanged(why))
