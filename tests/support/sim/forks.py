"""A fork in which nothing is other than in its run comes to the same, wherever in the run it begins."""

from __future__ import annotations

import json
import random

from runloop.errors import RunloopError
from runloop.runs.forking import ForkRequest, fork_events, plan_fork
from runloop.runs.history import load_run
from sim.guests import RUN
from sim.loop import StuckError
from sim.process import RUN_ID, Disturbance, Process


def forked(world):
    """Fork the run of a world, which has ended, at a place that its seed decides; how the fork ended otherwise."""
    disk, problems = world.disk, []
    records = [event for event in disk.events if event.payload.get("run_id") == RUN_ID]
    at = random.Random(f"fork {world.seed}").randint(1, len(records))
    if _approved_for_another_attempt(disk.events) or any(_code(event) in ("timeout", "cancelled") for event in records):
        return []  # a fork has its own approvals and its own time, and nobody cancels it
    expected, seen = _outcome(disk, RUN_ID), len(world.check.problems)
    process = Process(world, "fork", Disturbance())
    work = process.loop.create_task(_fork(process, at))
    try:
        process.loop.until(work)
        process.loop.settle()
    except StuckError:
        return []  # nobody ever answers
    finally:
        process.dead = True
        process.loop.bury()
    if isinstance(error := work.exception(), RunloopError) and error.code == "fork.in_effect":
        return []
    if error is not None:
        return [f"the fork at {at} broke off: {error!r}"]
    problems += [f"the fork at {at}: {problem}" for problem in world.check.problems[seen:]]
    if not world.outside.changed and (actual := _outcome(disk, work.result())) != expected:
        problems.append(f"the fork at {at} came to {actual} instead of {expected}")
    return problems


async def _fork(process, at):
    services, disk = process.manager.services, process.world.disk
    planned = plan_fork(services, disk, ForkRequest(RUN_ID, str(at), yes=process.world.scenario.yes))
    await services.ledger.append(fork_events(services, disk, planned, None))
    process.run = await process.manager.recover(planned.run_id, operator=process.person)
    process.result = await process.manager.drive(process.run)
    return planned.run_id


def _approved_for_another_attempt(events):
    """Whether a call was made on what a person had approved when an earlier attempt made it, in the run or below it."""
    asked, made = set(), set()
    for event in events:
        meta = event.payload.get("meta", {})
        if "call" in meta:
            place = event.payload["run_id"], meta["node"], meta["attempt"], meta["call"]
            (asked if event.kind == "approval.requested" else made if event.kind == "effect.requested" else set()).add(place)
    return any((*before, attempt, call) not in asked and (*before, attempt - 1, call) in asked for *before, attempt, call in made)


def _code(event):
    return (event.payload["meta"].get("error") or {}).get("code")


def _outcome(disk, run_id):
    run = load_run(disk, run_id)
    outputs = {node: RUN.sub("", json.dumps(ports, sort_keys=True)) for node, ports in run.outputs.items()}
    return dict(run.states), outputs, run.status, ((run.finished or {}).get("error") or {}).get("code")
