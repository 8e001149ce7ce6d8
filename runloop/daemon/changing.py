"""What people want of runs that have not ended: cancel, pause, go on. A run that is not in memory is taken up for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.daemon.room import on_record
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError
from runloop.kb.runs import root_of
from runloop.runs.errors import RunEnded, child_of
from runloop.runs.pausing import pause, resume
from runloop.runs.unfinished import unfinished_runs
from runloop.tasks import shielded

if TYPE_CHECKING:
    from runloop.daemon.hosted import Hosted
    from runloop.daemon.hosting import Hosting
    from runloop.daemon.submitting import Submitting

_LOOKS = 5
"""So often, a second apart, it is looked whether a run has ended by itself; one that waits for room on the disk may take long."""


@dataclass(slots=True)
class Changing:
    """Every change is on record before it is answered. Lives on the event loop of ``hosting``."""

    hosting: Hosting
    submitting: Submitting
    _changes: set[asyncio.Future[object]] = field(default_factory=set)
    """On their way to the disk."""

    async def cancel(self, ref: str, reason: str) -> dict[str, Any]:
        """Stop a run, running, waiting or queued; one that has ended so is told to be ``cancelled``.

        Raises InvalidInput ``run.unknown``, ``run.ended`` or ``run.ambiguous``.
        """
        hosting = self.hosting
        run_id = hosting.roster.run_id_of(ref)
        hosting.ending.setdefault(run_id, reason)  # what is not in memory needs nothing but its records to be ended
        try:
            hosted = await self._to_end(run_id)
        except RunEnded as ended:
            if ended.status != "cancelled" or (row := await asyncio.to_thread(hosting.kb.run, run_id)) is None:
                raise
            return {name: row[name] for name in ("run_id", "trace_id", "opening_id", "opening_name")} | {"state": ended.status}
        finally:
            hosting.ending.pop(run_id, None)  # several may have wanted it at once
        cancelling = hosted.run.cancel(reason)
        hosting.start_now(hosted)  # it ends at once, whatever is before it
        if cancelling is not None:
            await self._on_disk(cancelling)  # from here on it ends, whatever becomes of the daemon
            return {**hosted.shown(), "state": "cancelling"}
        return {**hosted.shown(), "state": await self._own_end(hosted)}

    async def _to_end(self, run_id: str) -> Hosted:
        """As :meth:`_here`, also where it was just being taken up to go on, which needs more than to end, and could not be."""
        try:
            return await self._here(run_id)
        except RunloopError:
            if run_id not in self.hosting.roster.left:
                raise
            return await self._here(run_id)

    async def _own_end(self, hosted: Hosted) -> str:
        """What becomes of a run whose end was on its way before somebody cancelled it. Raises InvalidInput ``run.ended``."""
        run_id = hosted.run.run_id
        if hosted.task is not None:
            await on_record(asyncio.ensure_future(asyncio.wait({hosted.task})), self.hosting.stalled, _LOOKS)
        state = await self.hosting.roster.state_of(run_id)
        if state in {"succeeded", "failed"}:
            raise RunEnded(run_id, state)
        return "cancelling" if state == "cancelled" else "ending"

    async def pause(self, ref: str, why: str) -> dict[str, Any]:
        """Let a run and its children begin nothing new."""
        hosted = await self._here(ref)
        await self._on_disk(pause(hosted.run, why))
        return hosted.shown()

    async def resume(self, ref: str, why: str) -> dict[str, Any]:
        """Let it go on."""
        hosted = await self._here(ref)
        await self._on_disk(resume(hosted.run, why))
        return hosted.shown()

    async def pause_all(self, why: str) -> int:
        """Pause every run that has not ended; how many."""
        return await self._each(lambda run_id: self.pause(run_id, why))

    async def resume_all(self, why: str) -> int:
        """Let every run go on, also those that a process which is gone has left; how many."""
        await self._adopt()
        return await self._each(lambda run_id: self.resume(run_id, why))

    async def _each(self, change: Callable[[str], Awaitable[object]]) -> int:
        count = 0
        for run_id in self.hosting.roster.ids():
            try:
                await change(run_id)
            except RunloopError:
                continue  # it ended meanwhile, or cannot be taken up, which is reported
            count += 1
        return count

    async def _on_disk(self, change: Awaitable[object]) -> None:
        """Wait until a change of a run is on record. Raises LedgerFull where it has to wait for room, and happens then."""
        changing = asyncio.ensure_future(change)
        self._changes.add(changing)
        changing.add_done_callback(self._changes.discard)
        await on_record(changing, self.hosting.stalled)

    async def _here(self, ref: str) -> Hosted:
        """The run, in memory. Raises InvalidInput ``run.unknown``, ``run.ambiguous``, ``run.ended``, ``run.not_here``, or why it is not."""
        hosting = self.hosting
        run_id = hosting.roster.run_id_of(ref)
        await self.submitting.arrival(run_id)
        while (hosted := hosting.roster.hosted.get(run_id)) is not None:
            if hosted.run.parked is None or hosted.task is None:
                return hosted
            await asyncio.wait({hosted.task})  # it is leaving memory, and hears of nothing any more
        if hosting.roster.has(run_id):
            return await shielded(hosting.fetch(run_id))
        state = await hosting.roster.state_of(run_id)
        if state == "unfinished":
            await self._adopt(run_id)
            if hosting.roster.has(run_id):  # also where another request took it over in the same moment
                return await self._here(run_id)
            state = hosting.roster.ended.get(run_id, state)
        row = await asyncio.to_thread(hosting.kb.run, run_id) if state == "unfinished" else None
        if row is not None and row["parent_run_id"] is not None:
            raise child_of(run_id, root_of(row))
        if state == "unfinished":
            message = f"run {run_id} has no end and does not run in this daemon"
            raise InvalidInput(message, code="run.not_here", hint="it runs in another process with --local")
        raise RunEnded(run_id, state)

    async def _adopt(self, run_id: str | None = None) -> int:
        """Take over the run of that id, or every run, that a process which is gone has left; how many.

        One of this daemon's own that broke off is taken up only by its id; one that is just being submitted is not.
        """
        services = self.hosting.manager.services
        coming = run_id is None or self.submitting.under_way(run_id)
        found = await asyncio.to_thread(lambda: list(unfinished_runs(self.hosting.kb, run_id)))
        left = [each for each in found if not services.driven(each.owner) and not (coming and each.owner == services.owner)]
        return sum(self.hosting.take_over(left))
