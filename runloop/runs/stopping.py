"""Stopping the attempts of a run: nothing of them goes on afterwards, and each call that they had open has an outcome (ADR 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.runs.call import close_open_calls
from runloop.runs.results import SPAWNS, ChildCall
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from runloop.runs.history import RecordedAttempt
    from runloop.runs.run import Run


async def stop(run: Run, nodes: list[str]) -> None:
    """Cancel the attempts of ``nodes`` and wait until it is known what their calls came to."""
    here = run.under_way
    here.held = [(command, started_ms) for command, started_ms in here.held if command.node not in nodes]
    tasks = [task for node in nodes if (task := here.tasks.pop(node, None)) is not None]
    await end_tasks(*tasks)
    for node in nodes:
        here.waits.end(node)


async def close(run: Run, nodes: list[str]) -> None:
    """Have an outcome and an end for the calls and children that an earlier process left open, and no guest came to again."""
    for node in nodes:
        left = run.under_way.left_open.pop(node, None)
        if left is not None:
            await _end_children(run, left)
            run.under_way.closing.call(node, *run.desk.close(left), *close_open_calls(left))


async def _end_children(run: Run, left: RecordedAttempt) -> None:
    calls = [crossing.call for crossing in left.crossings if not crossing.answered and crossing.name in SPAWNS]
    for call in calls if run.opening.node(left.node).kind == "agent" else [0]:
        asked = ChildCall("", {}, frozenset(), left.node, left.attempt, call)
        await run.child_runs.end(run, asked, "the run that asked for this one was stopped")
