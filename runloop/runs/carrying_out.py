"""What a run's plan says, carried out: the records of one step in one commit, then the attempts that begin and the gates that ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runloop.openings.states import CloseGate, Command, NodeDone, NodeReady, NodeRetrying, NodeWaiting, OpenGate, StartNode, Warn
from runloop.runs.attempting import make_attempt
from runloop.runs.commands import ends_of, portions
from runloop.runs.drafts import warning
from runloop.runs.finishing import finish
from runloop.runs.gates import gate_task
from runloop.runs.recorder import DRAFTS_AT_ONCE, Draft, Ending, pause
from runloop.runs.results import RunHalted
from runloop.runs.stopping import close, stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.events import StoredEvent
    from runloop.runs.results import RunResult
    from runloop.runs.run import Run

_MOST_AHEAD = 8
"""Commits on their way to the disk with which a run goes on; with as many it waits, so a full disk holds it up soon."""


async def carry_out(run: Run, commands: Sequence[Command | Draft], *first: Draft) -> RunResult | None:
    """Carry out what the plan and people said; many starts at once in portions, so that the first work while the others are written.

    What the run came to where that ended it.
    """
    result = None
    for number, portion in enumerate(portions(commands)):
        if number:
            await asyncio.sleep(0)
        result = await _commit(run, portion, *first)
        first = ()
    return result


async def _commit(run: Run, commands: Sequence[Command | Draft], *first: Draft) -> RunResult | None:
    """One commit for ``first`` and what the plan said, then the starts.

    A gate asks, and a nested run begins, only after that is on disk. An agent begins at once: what it does outside, and what anybody
    sees of it, comes after these records on the disk (ADR 5, "Ahead of the disk").
    """
    done, stopped, closed, ended = ends_of(commands)
    run.ending = done is not None
    never = {attempt for attempt in stopped if run.under_way.left(*attempt) is not None}
    nodes = [node for node, _ in stopped]
    if stopped or closed:
        await stop(run, [*nodes, *(gate_task(node) for node, _ in closed)])
        await close(run, nodes)
        if run.recorder.halted:
            raise RunHalted  # meanwhile the process began to leave: what calls came to is for a recovery to say
    others, calls = run.under_way.closing.take([*nodes, *ended])
    drafts, starts, gates = [*first, *calls], list[StartNode](), list[tuple[OpenGate, int | None]]()
    for command in commands:
        if isinstance(command, StartNode):
            attempt = command.node, command.attempt
            if attempt not in stopped:  # else it ends before it begins, or is taken up
                starts.append(command)
            drafts += [] if attempt in never or run.under_way.left(*attempt) else [run.book.start(command)]
        elif isinstance(command, OpenGate):
            asked = run.gates.opens(command, run.labels.of(command.node))
            if (command.node, command.round) not in closed:  # its time may be over when the run is taken up
                gates.append((command, len(drafts) if asked else None))
            drafts += asked
        else:
            drafts += _drafts_of(run, command)
        if done is not None and len(drafts) % DRAFTS_AT_ONCE == 0:
            await pause()  # of many items; nothing else of the run goes on any more
    if done is not None:
        return await finish(run, done, drafts, others)
    now_ms = run.services.clock_ms()
    goes_on = not (gates or stopped or others) and all(_is_agent(run, start.node) for start in starts)
    stored = await _write(run, drafts, others, now_ms, goes_on=goes_on)
    for start in starts:
        _begin_attempt(run, start, now_ms)
    for gate, position in gates:
        run.gates.ask(gate, 0 if position is None else stored[position].id)
    return None


async def _write(run: Run, drafts: list[Draft], others: list[Ending], now_ms: int, *, goes_on: bool) -> list[StoredEvent]:
    """Queue a commit, and wait for it unless the run goes on meanwhile; nothing stored then."""
    if not drafts:
        return []
    goes_on = goes_on and run.recorder.ahead < _MOST_AHEAD
    written = run.recorder.write(*drafts, after=others, at_ms=now_ms, urgent=not goes_on)
    if not goes_on:
        return await written
    written.add_done_callback(run.heed)
    return []


def _begin_attempt(run: Run, start: StartNode, now_ms: int) -> None:
    """Launch it, or hold it while the run is paused. One that an earlier process has begun keeps its time."""
    recorded = run.under_way.left(start.node, start.attempt)
    started_ms = now_ms if recorded is None else recorded.start_ms
    if recorded is None:
        run.book.begins(start.node, run.since.now())
    if run.cancelling is not None and recorded is None:
        return  # it is stopped before it begins
    if run.paused and recorded is None:
        run.under_way.held.append((start, started_ms))
        run.tell(NodeWaiting(start.node, start.attempt))
    else:
        launch(run, start, started_ms)


def _drafts_of(run: Run, command: Command | Draft) -> list[Draft]:
    now_ms = run.services.clock_ms()
    match command:
        case Draft():
            return [command]
        case NodeReady(node):
            return [run.book.ready(node)]
        case NodeRetrying():
            return [run.book.retry(command, now_ms, run.labels.of(command.node))]
        case NodeDone():
            taint = run.labels.of(command.node)
            run.labels.put(command.node, taint)
            return [run.book.done(command, taint)]
        case CloseGate():
            return run.gates.closes(command)
        case Warn(node, message):
            return [warning(node, message)]
    return []


def _is_agent(run: Run, node: str) -> bool:
    return run.opening.node(node).kind == "agent"


def launch(run: Run, command: StartNode, started_ms: int) -> None:
    """Have an attempt go on its way."""
    here = run.under_way
    recorded = here.left(command.node, command.attempt)
    here.tasks[command.node] = asyncio.create_task(make_attempt(run, command, started_ms, recorded))
