"""One life of a process that drives runs: the real run manager on a virtual loop, until the run ends or the process dies."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from runloop.effects.perform.ask import AskPerson
from runloop.effects.perform.emit import CheckpointMark, EmitLog, EmitProgress
from runloop.effects.perform.timer import TimerSleep, WallClock
from runloop.errors import InvalidInput
from runloop.models.budget import Budget
from runloop.openings import parse_once
from runloop.openings.model import OnFailure
from runloop.runs.history import load_run
from runloop.runs.lookup import OpeningText
from runloop.runs.manager import RunManager
from runloop.runs.pausing import resume
from runloop.runs.reports import Reports
from runloop.runs.results import RunHalted
from runloop.runs.services import RunRules, Services
from runloop.runs.spawns import Spawn
from runloop.runs.submission import Submission
from runloop.runs.turns import InTurn, Turns
from runloop.sandbox.spec import Limits
from sim.check import Check
from sim.disk import Disk, SimLedger
from sim.guests import SimGuests
from sim.loop import BusyError, StuckError, VirtualLoop
from sim.outside import PERFORMERS, Outside, Person
from sim.scenario import make_scenario

RUN_ID = "00000000-0000-4000-8000-000000000001"
BEGAN_MS = 1_700_000_000_000


class Dead(BaseException):
    """Code of a process that is gone touched the world."""


class World:
    """All that outlives a process: the disk, the outside, the time."""

    def __init__(self, seed, artifacts_dir, scenario=None):
        self.seed = seed
        self.scenario = scenario or make_scenario(seed)
        self.disk = Disk()
        self.outside = Outside(seed)
        self.artifacts_dir = artifacts_dir
        self.now_ms = BEGAN_MS
        self.ahead_ms = 0
        """By how much somebody set the wall clock ahead."""
        self.check = Check(self)
        self.trace = []
        self.kept = {}
        self.cancelled = False

    @property
    def comparable(self):
        """Whether the end of the run follows from the seed alone, whatever happened when."""
        ends = [event.payload["meta"] for event in self.disk.events if event.kind == "run.finished"]
        spent = any(
            (end.get("error") or {}).get("code") == "budget" for end in ends
        )  # by whom, of several side by side, is a matter of time
        failed = {event.payload["meta"]["node"].partition("[") for event in self._failures}
        items = any(
            among and node in self.scenario.side_by_side for node, among, _ in failed
        )  # what the others come to is a matter of time
        ready = {event.payload["meta"]["node"] for event in self.disk.events if event.kind == "node.ready"}
        never = {end.payload["meta"]["node"] for end in self._ends if not end.payload["meta"]["attempt"]}
        places = self.outside.silent and ready & never  # who had the last place when it was seen that nobody would answer
        races = any(node.on_failure is OnFailure.FAIL for node in parse_once(self.scenario.openings["main"]).nodes) and len(self.failed)
        failures = {event.payload["run_id"] for event in self.disk.events if _failed_child(event)}
        cut = any(
            end.payload["run_id"] in failures and end.payload["meta"]["status"] == "cancelled" for end in self._ends
        )  # what was still at work in a child when another node of it failed may have ended before, and its parent hears of that
        return not (
            self.cancelled
            or cut
            or self.scenario.races
            or self.outside.changed
            or (self.outside.hung and self.scenario.model_turns[0] is not None)
            or items
            or places
            or races
            or spent
        )

    @property
    def run_out(self):
        """The gates whose time decided: of one that would have been answered while no process was there, too, and both are right."""
        ends = [event.payload["meta"] for event in self.disk.events if event.kind == "approval.expired"]
        return {meta["approval_id"] for meta in ends if meta["decision"] != "expired"}

    @property
    def failed(self):
        """The nodes of the run that failed for good."""
        return [event.payload["meta"]["node"] for event in self._failures if event.payload["run_id"] == RUN_ID]

    @property
    def _ends(self):
        """The ends of all attempts, and of nodes that had none."""
        return [event for event in self.disk.events if event.kind == "node.finished"]

    @property
    def _failures(self):
        """The ends of all nodes that failed for good."""
        return [
            event for event in self._ends if event.payload["meta"]["status"] == "error" and event.payload["meta"].get("retry_ms") is None
        ]

    def note(self, now_ms, text):
        self.trace.append((now_ms - BEGAN_MS, text))

    def note_stored(self, events):
        for event in events:
            meta = event.payload.get("meta") or {}
            about = [str(meta[name]) for name in ("node", "attempt", "call", "name", "status") if name in meta]
            about += [str(meta[name]) for name in ("reason", "why", "decision") if meta.get(name)]
            about += [meta["error"]["code"]] if meta.get("error") else []
            self.note(event.ts_ms, f"stored {event.id} {event.kind} {' '.join(about)}")


@dataclass
class Disturbance:
    """What happens to one life: it dies at the ``dies_at``-th point, has ``unsteady`` workers, does ``actions`` (by number of point)."""

    dies_at: int | None = None
    unsteady: bool = False
    actions: dict = field(default_factory=dict)


class Kept:
    """Keeps bundles by their digest."""

    def __init__(self, process):
        self._process = process

    async def keep(self, bundles):
        await asyncio.sleep(0)
        self._process.alive()
        self._process.world.kept.update({bundle.digest: bundle for bundle in bundles})

    def bundle(self, digest):
        self._process.alive()
        return self._process.world.kept[digest]


class Process:
    """One life. ``points`` counts the places where it could have died."""

    def __init__(self, world, life, disturbance):
        self.world, self.life, self.disturbance = world, life, disturbance
        self.chance = random.Random(f"timing {world.seed} {life}")
        self.loop = VirtualLoop(self.chance, world.scenario.moment_s)
        self.points = 0
        self.dead = False
        self.live_guests = 0
        self.run = None
        self.result = None
        self.error = None
        self.background = set()
        self.given_up = False
        self._wake = asyncio.Event()
        self._began_ms = world.now_ms
        self.ledger = SimLedger(self)
        self.manager = self._manager()

    def _manager(self):
        world, scenario = self.world, self.world.scenario
        self.person = person = Person(self)
        services = Services(
            ledger=self.ledger,
            recorded=self._recorded,
            events=self._events,
            kept=Kept(self),
            owner=f"{self.life:032}" if isinstance(self.life, int) else "0" * 32,
            guests=SimGuests(self, unsteady=self.disturbance.unsteady),
            resolve_agent=self._agent,
            resolve_opening=lambda name: OpeningText(scenario.openings[name]),
            limits_of=lambda bundle: Limits(),
            budget=Budget,
            operator=person,
            clock_ms=self.wall_ms,
            steady_ms=self.clock_ms,
            boot_ms=self.clock_ms,
            fresh=self.chance.randbytes,
            runloop_version="sim",
            guest_digest="sim",
            artifacts_dir=str(world.artifacts_dir),
            rules=RunRules(
                max_parallel=scenario.max_parallel, evict_after_ms=scenario.evict_after_ms, park_after_ms=scenario.park_after_ms
            ),
            turns=Turns(*scenario.turns),
        )
        manager = RunManager(services)
        reports = Reports(manager)
        performers = {name: kind(name, self) for name, kind in PERFORMERS.items()}
        performers["model.complete"] = InTurn(performers["model.complete"], Turns(*scenario.model_turns))
        performers |= {
            "ask.person": AskPerson(person),
            "timer.sleep": TimerSleep(WallClock(self.loop.time)),
            "spawn.agent": Spawn(manager, "agent"),
            "spawn.opening": Spawn(manager, "opening"),
            "emit.log": EmitLog(reports),
            "emit.progress": EmitProgress(reports),
            "checkpoint.mark": CheckpointMark(reports),
        }
        services.performers.update(performers)
        manager.watchers.append(world.check.seen)
        return manager

    async def _recorded(self, run_id):
        await asyncio.sleep(self.chance.uniform(0, 0.002))
        return load_run(self.world.disk, run_id)

    async def _events(self, event_ids):
        await asyncio.sleep(self.chance.uniform(0, 0.002))
        return [self.world.disk.full(self.world.disk.get(event_id)) for event_id in event_ids]

    def _agent(self, name, variant):
        try:
            return self.world.scenario.bundles[name]
        except KeyError:
            raise InvalidInput(f"there is no agent {name}", code="bundle.not_found") from None

    # ── what the simulated parts ask ─────────────────────────────────────────────────────────────────────────────────────

    def clock_ms(self):
        return self._began_ms + round(self.loop.time() * 1000)

    def wall_ms(self):
        return self.clock_ms() + self.world.ahead_ms

    def alive(self):
        """Stop code that outlived its process."""
        if self.dead:
            raise Dead

    def point(self, what):
        """A place where the process may die; True when it just did."""
        self.alive()
        self.points += 1
        self.world.note(self.clock_ms(), f"  life {self.life} point {self.points}: {what}")
        if self.points == self.disturbance.dies_at:
            self.world.note(self.clock_ms(), "  DIES")
            self.dead = True
            self.loop.freeze()
            return True
        action = self.disturbance.actions.get(self.points)
        if action is not None:
            task = self.loop.create_task(action(self))
            self.background.add(task)
            task.add_done_callback(self.background.discard)
        return False

    async def gone(self):
        """What code of a dead process does: nothing, ever."""
        await self.loop.create_future()

    async def never(self):
        """What never comes."""
        await self.loop.create_future()

    # ── living ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def live(self):
        """Submit the run, or recover it, and drive it to its end; False when the process died or was stopped before."""
        work = self.loop.create_task(self._work())
        while not work.done() and not self.dead:
            try:
                self.loop.until(work)
            except StuckError:
                if self.given_up:
                    self.world.check.problem("nothing will ever happen, although the run was cancelled")
                    break
                self.world.note(self.clock_ms(), "  nothing will ever happen: cancelled")
                self.given_up = True
                self.world.outside.silent = True
                self._wake.set()
                if self.run is not None:
                    self.run.cancel("nobody answered")
            except BusyError:
                self.world.check.problem("it turns in a circle")
                break
        if not self.dead and work.done():
            self.error = work.exception()
            self.loop.settle()
            self.world.check.left_over(self)
        self.world.now_ms = self.clock_ms()
        self.dead = True
        self.loop.bury()
        return self.error is None and self.result is not None

    async def _work(self):
        if self.world.disk.run_ids():
            if self.world.disk.ended(RUN_ID):
                self.result = load_run(self.world.disk, RUN_ID)
                return
            self.run = await self.manager.recover(RUN_ID, operator=self.person, parks=self._parks)
        else:
            self.run = await self._submit()
        self.background.add(self.loop.create_task(self._resume_later()))
        await self._drive()

    @property
    def _parks(self):
        return self.world.check.parked if self.world.scenario.parks else None

    async def _submit(self):
        opening = parse_once(self.world.scenario.openings["main"])
        seed = random.Random(f"run {self.world.seed}").randbytes(32)
        scenario = self.world.scenario
        return await self.manager.submit(Submission(opening, "daemon", scenario.yes, seed=seed, run_id=RUN_ID, parks=self._parks))

    async def _drive(self):
        while True:
            if self.given_up:
                self.run.cancel("nobody answered")
            try:
                self.result = await self.manager.drive(self.run)
            except RunHalted:
                parked = self.run.parked
                if parked is None:
                    self.world.note(self.clock_ms(), "  HALTED")
                    return
                self.run = None
                self._wake.clear()
                await self._sleep_until(parked)
                self.run = await self.manager.recover(RUN_ID, operator=self.person, parks=self._parks)
            else:
                return

    async def _sleep_until(self, parked):
        """What the daemon keeps of a parked run: wait for its time, for an answer of the person, or to be woken."""
        times = [] if parked.until_ms is None else [parked.until_ms - self.world.ahead_ms]
        times += [at for question in parked.questions if (at := self.world.outside.answers_ms.get(question.approval_id)) is not None]
        self.world.note(self.clock_ms(), f"  PARKED: {parked.why}, until {min(times, default=None)}")
        try:
            async with asyncio.timeout(max(0, min(times) - self.clock_ms()) / 1000 if times else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def change(self, how):
        """A person pauses or resumes the run; one that is parked, or on its way there, is taken up for it."""
        while not self.world.disk.ended(RUN_ID):
            if self.run is not None and self.run.parked is None:
                await how(self.run, "a person wants it")
                return
            self._wake.set()
            await asyncio.sleep(0.004)

    def set_clock(self, by_ms):
        """Somebody sets the wall clock; whoever keeps a parked run looks when to take it up."""
        self.world.ahead_ms += by_ms
        self.world.note(self.clock_ms(), f"  CLOCK SET by {by_ms}")
        self._wake.set()

    async def _resume_later(self):
        """What an earlier life left paused is resumed some time."""
        if self.life:
            await asyncio.sleep(self.chance.choice((1, 100_000)))
            if self.world.disk.paused():
                await self.change(resume)


def _failed_child(event):
    return event.kind == "run.finished" and event.payload["parent_run_id"] is not None and event.payload["meta"]["status"] == "failed"
