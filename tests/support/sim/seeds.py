"""One seed from beginning to end: the run undisturbed, the run disturbed, and what must be the same."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial

from runloop.runs.pausing import pause, resume
from runloop.runs.replay import Replayer
from sim.check import outcome_of
from sim.forks import forked
from sim.process import RUN_ID, Disturbance, Process, World

MAX_LIVES = 4
FORKED = 4
"""Of so many seeds one is forked, too."""
CLOCKS_MS = (-90_000_000, -3_600_000, -2_000, 2_000, 3_600_000, 90_000_000)


@dataclass
class Report:
    """What came of a seed: problems (none is good), and counts."""

    seed: object
    problems: list = field(default_factory=list)
    lives: int = 0
    events: int = 0
    points: int = 0
    compared: bool = False
    trace: list = field(default_factory=list)


def undisturbed(seed, artifacts_dir):
    """The world after the run of a seed that nobody disturbed, and its one process."""
    world = World(seed, artifacts_dir / "undisturbed")
    process = Process(world, 0, Disturbance())
    process.live()
    world.check.final()
    return world, process


def disturbed(seed, artifacts_dir, points):
    """The same run in a world where processes die and people meddle; ``points`` is about how many places a life has. The lives it took."""
    chance, clocks = random.Random(f"disturbance {seed}"), random.Random(f"clocks {seed}")
    world = World(seed, artifacts_dir / "disturbed")
    lives = 0
    while True:
        last = lives >= MAX_LIVES
        disturbance = Disturbance() if last else _disturbance(chance, points)
        if not last and clocks.random() < 0.1:
            disturbance.actions.setdefault(clocks.randint(1, max(1, points)), partial(set_clock, clocks.choice(CLOCKS_MS)))
        process = Process(world, lives, disturbance)
        lives += 1
        if process.live() or process.error is not None or lives > MAX_LIVES:
            break
        world.now_ms += chance.choice((10, 2_000, 90_000_000))
    world.check.final()
    return world, process, lives


def _disturbance(chance, points):
    dies_at = chance.randint(1, max(1, points)) if chance.random() < 0.7 else None
    actions = {}
    roll = chance.random()
    if roll < 0.2:
        actions[chance.randint(1, max(1, points))] = pause_and_resume
    elif roll < 0.3:
        actions[chance.randint(1, max(1, points))] = halt
    elif roll < 0.35:
        actions[chance.randint(1, max(1, points))] = cancel
    return Disturbance(dies_at, chance.random() < 0.3, actions)


async def pause_and_resume(process):
    """A person pauses the run and its children, and later lets them go on."""
    process.world.note(process.clock_ms(), "  PAUSE")
    await process.change(pause)
    await asyncio.sleep(process.chance.choice((0.01, 5, 100_000)))
    process.world.note(process.clock_ms(), "  RESUME")
    await process.change(resume)


async def set_clock(by_ms, process):
    """Somebody sets the clock."""
    process.set_clock(by_ms)


async def halt(process):
    """The process is told to stop, and leaves the run to be recovered."""
    if process.run is not None:
        process.run.halt()


async def cancel(process):
    """A person cancels the run."""
    process.world.cancelled = True
    if process.run is not None:
        process.run.cancel("a person wants it")


def check_seed(seed, artifacts_dir):
    """Everything about one seed."""
    report = Report(seed)
    world, process = undisturbed(seed, artifacts_dir)
    report.problems += [f"undisturbed: {problem}" for problem in world.check.problems]
    report.events, report.points, report.trace = len(world.disk.events), process.points, world.trace
    if report.problems:
        return report
    again, process, report.lives = disturbed(seed, artifacts_dir, report.points)
    report.events += len(again.disk.events)
    report.points += process.points
    report.problems += again.check.problems
    report.trace = again.trace
    if not report.problems:
        report.problems += replayed(again)
    if again.comparable and world.comparable and again.run_out == world.run_out:
        report.compared = True
        report.problems += differences(outcome_of(world), outcome_of(again))
        if not report.problems and seed % FORKED == 0:
            report.problems += forked(again)
    return report


def replayed(world):
    """Re-run every attempt of every run of a world from its record, with nobody who could act; what differs."""
    process = Process(world, "replay", Disturbance())
    services, disk = process.manager.services, world.disk
    replayer = Replayer(services.guests, lambda name, variant, digest: world.kept[digest], services.limits_of, {}, "sim")
    stored, found = len(disk.events), []

    async def replay_all():
        report = await replayer.replay(disk, RUN_ID)
        found.extend(
            f"replay of {each.node}/{each.attempt}: {each.expected} became {each.actual}: {each.detail}"
            for each in report.attempts
            if each.verdict == "differs"
        )
        if not found and not report.matches:
            found.append(f"replay: the final hash {report.recorded_hash} became {report.final_hash}")

    work = process.loop.create_task(replay_all())
    process.loop.until(work)
    process.dead = True
    process.loop.bury()
    if work.exception() is not None:
        found.append(f"the replay broke off: {work.exception()!r}")
    if len(disk.events) != stored:
        found.append("the replay recorded something")
    return found


def differences(expected, actual):
    """What an interrupted run came to that the undisturbed one did not."""
    found = []
    for node in sorted(expected.get("nodes", {}).keys() | actual.get("nodes", {}).keys()):
        left, right = expected["nodes"].get(node), actual.get("nodes", {}).get(node)
        if left != right:
            found.append(f"node {node} came to {right} instead of {left}")
    if expected.get("end") != actual.get("end"):
        found.append(f"the run came to {actual.get('end')} instead of {expected.get('end')}")
    return found
