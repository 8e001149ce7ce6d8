"""What an attempt of a node is, while its run is driven: an agent's guest, or a child run of a nested opening."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from runloop.effects.journal import Journal
from runloop.effects.types import CallError
from runloop.errors import RunloopError
from runloop.openings.clauses import FEEDBACK_PORT
from runloop.openings.states import NodeFailed, NodeResumed, NodeSpent, NodeSucceeded, NodeWaiting
from runloop.runs.attempt import AttemptSpec
from runloop.runs.budgets import InnerBudget
from runloop.runs.crossings import AttemptIdentity, Crossings
from runloop.runs.errors import NeedsPerson
from runloop.runs.history import Spent, crossings_told
from runloop.runs.judging import judged
from runloop.runs.results import ChildCall
from runloop.runs.waits import Wait
from runloop.runs.working import Working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.bundles import Bundle
    from runloop.effects.journal import Crossing
    from runloop.openings.states import Event, StartNode
    from runloop.runs.history import RecordedAttempt
    from runloop.runs.run import Run

_UNTOLD_MS = 50
_UNTOLD = 0.01
"""So long, and so much of its time, an attempt may wait for its turn without the plan hearing of it."""


async def make_attempt(run: Run, command: StartNode, started_ms: int, recorded: RecordedAttempt | None) -> None:
    """Run one attempt and report its end; never raises."""
    node = command.node
    try:
        if run.opening.node(node).kind == "agent":
            event = await _agent(run, command, started_ms, recorded)
        else:
            event = await _opening(run, command)
        if isinstance(event, NodeSucceeded):
            event = await judged(run.opening, event)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is must reach the run, not die with the task
        run.tell(error)
        return
    here = run.under_way
    if here.tasks.pop(node, None) is not None:  # else it is being stopped; only then can another attempt of the node begin
        here.left_open.pop(node, None)
    run.tell(event)


async def _agent(run: Run, command: StartNode, started_ms: int, recorded: RecordedAttempt | None) -> Event:
    turns = run.services.turns
    if recorded is not None:
        turns.come_back(run.run_id)  # it had its turn; and a paused run may come as far as its record goes
    elif not turns.try_take(run.run_id):
        await _in_line(run, command)
    try:
        return await _guest(run, command, started_ms, recorded)
    finally:
        turns.give_back(run.run_id)


@contextmanager
def _untimed(run: Run, command: StartNode, among: set[str] | None = None) -> Iterator[None]:
    """What does not count against the attempt's time; what is shorter than it could notice is not told. What is told is ``among`` those."""
    told = False

    def tell() -> None:
        nonlocal told
        told = True
        if among is not None:
            among.add(command.node)
        run.tell(NodeWaiting(command.node, command.attempt))

    telling = asyncio.get_running_loop().call_later(min(_UNTOLD_MS, command.timeout_ms * _UNTOLD) / 1000, tell)
    try:
        yield
    finally:
        telling.cancel()
        if among is not None:
            among.discard(command.node)
    if told:
        run.tell(NodeResumed(command.node, command.attempt))


async def _in_line(run: Run, command: StartNode) -> None:
    """Wait for a turn."""
    run.under_way.in_line.add(command.node)
    try:
        with _untimed(run, command):
            await run.services.turns.take(run.run_id)
    finally:
        run.under_way.in_line.discard(command.node)


@contextmanager
def _for_place(run: Run, command: StartNode, again: bool) -> Iterator[None]:
    """Wait for a place in a worker; who was there already lends the turn to those who were not."""
    run.under_way.placeless.add(command.node)
    if again:
        _leave(run, goes=True)
    try:
        with _untimed(run, command):
            yield
    finally:
        run.under_way.placeless.discard(command.node)
        if again:
            _leave(run, goes=False)


async def _guest(run: Run, command: StartNode, started_ms: int, recorded: RecordedAttempt | None) -> Event:
    node, attempt, services = command.node, command.attempt, run.services
    declared = run.opening.node(node)
    bundle = run.bundles[declared.id]
    begun_in = run.run_id if recorded is None else recorded.run_id
    spec = AttemptSpec(begun_in, node, attempt, declared.with_args, command.inputs, run.seed, started_ms)
    record = [] if recorded is None else recorded.crossings
    spent = Spent() if recorded is None else recorded.spent
    crossings = Crossings(
        AttemptIdentity(run.run_id, node, attempt, bundle, services.steady_ms() + command.timeout_ms, begun_in, command.since),
        run.recorder,
        Journal(node, attempt, record, lenient=begun_in != run.run_id and _changed(run, bundle)),
        services.performers,
        run.desk,
        _labels(run, command),
        requests=run.requests,
        waiting=partial(_wait, run, node, attempt),
        away=lambda goes: _leave(run, goes=goes, outside=True),
        going=run.going,
        line=partial(_for_place, run, command),
        spent=lambda tokens, micros: run.tell(NodeSpent(node, attempt, tokens, micros)),
        stopped=partial(run.under_way.closing.call, node),
        taken_up=lambda: run.under_way.left_open.pop(node, None),
        evict_after_s=None if services.rules.evict_after_ms is None else services.rules.evict_after_ms / 1000,
        usage=spent,
        told=[] if recorded is None else recorded.told,
        lines=0 if recorded is None else recorded.lines,
        steady_ms=services.steady_ms,
    )
    run.under_way.budgets[node] = InnerBudget(
        run.node_budget(node), bundle.limits.tokens, bundle.limits.usd_micros, ("agent", bundle.name), spent
    )
    if recorded is None:
        run.book.spend(node, spent)
    guest = spec.guest(bundle, services.limits_of(bundle), run.guest)
    working = Working(
        services.guests,
        guest,
        bundle,
        crossings,
        partial(_crossings_of, run, crossings),
        partial(run.book.failures.__setitem__, node),
    )
    run.under_way.crossings[node] = crossings
    try:
        return await working.run(record)
    finally:
        del run.under_way.crossings[node]
        run.labels.put(node, frozenset(crossings.taint))  # also of one that failed or was stopped: others are told why


def _labels(run: Run, command: StartNode) -> frozenset[str]:
    """Where what an attempt begins with came from; the feedback that it gets holds what the one before put out."""
    inherited = run.labels.inherited(run.opening.node(command.node).id)
    return inherited | run.labels.of(command.node) if FEEDBACK_PORT in command.inputs else inherited


def _changed(run: Run, bundle: Bundle) -> bool:
    """Whether this fork runs its agent with other code or other parameters than the run that it was forked from."""
    return bool(run.overrides.get("params")) or bundle.name in (run.overrides.get("agents") or {})


async def _crossings_of(run: Run, crossings: Crossings) -> list[Crossing]:
    """What the ledger has of an attempt by now: what it itself put there is read, not the rest of the run."""
    who = crossings.who
    if who.begun_in == who.run_id:
        return crossings_told(await run.services.events(crossings.told))
    recorded = await run.services.recorded(run.run_id)  # a fork has the first part of it from another run, with its own answers
    found = recorded.attempt_of(who.node, who.attempt)
    return [] if found is None else found.crossings


def _wait(run: Run, node: str, attempt: int, wait: Wait | None) -> None:
    if wait is None:
        run.under_way.waits.end(node)
    else:
        run.under_way.waits.begin(node, wait)
    run.tell(NodeResumed(node, attempt) if wait is None else NodeWaiting(node, attempt))
    _leave(run, goes=wait is not None)


def _leave(run: Run, *, goes: bool, outside: bool = False) -> None:
    turns = run.services.turns
    (turns.leave if goes else turns.come_back)(run.run_id, outside=outside)


async def _opening(run: Run, command: StartNode) -> Event:
    node, attempt = run.opening.node(command.node), command.attempt
    params = {**node.with_args, **{port: values[-1] for port, values in command.inputs.items() if port != "in" and values}}
    run.under_way.waits.begin(command.node, Wait("child"))
    try:
        call = ChildCall(node.name, params, _labels(run, command), command.node, attempt)
        run.under_way.left_open.pop(command.node, None)
        child = await run.child_runs.run(run, call, _untimed(run, command, run.under_way.unmade))
    except NeedsPerson:
        raise
    except CallError as error:
        return NodeFailed(command.node, attempt, error.message, error.code)
    except RunloopError as error:
        return NodeFailed(command.node, attempt, str(error), error.code)
    finally:
        run.under_way.waits.end(command.node)
    run.labels.put(command.node, child.taint)
    if child.status != "succeeded":
        return NodeFailed(command.node, attempt, f"run {child.run_id} {child.status}: {child.reason}", child.code or "child.failed")
    result = {"run_id": child.run_id, "status": child.status, "outputs": dict(child.outputs)}
    return NodeSucceeded(command.node, attempt, {"out": [result]})
