"""The runs that the daemon hosts: driven side by side within a bound, out of memory while they wait, stopped so that they can go on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.daemon.errors import DaemonDraining
from runloop.daemon.hosted import Hosted, Stub
from runloop.daemon.memory import EVERY, give_back
from runloop.daemon.parking import Parking
from runloop.daemon.people import Person
from runloop.daemon.roster import Roster
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError
from runloop.events.records import OpenQuestion
from runloop.runs.errors import OF_ANOTHER
from runloop.runs.history import fold
from runloop.runs.results import PAUSED, RunHalted
from runloop.runs.submission import submit_key
from runloop.text import sort_of

if TYPE_CHECKING:
    from runloop.daemon.people import People
    from runloop.events import RunIdentity
    from runloop.kb import KnowledgeBase
    from runloop.runs.grants import StandingGrant
    from runloop.runs.history import RecordedRun
    from runloop.runs.manager import RunManager
    from runloop.runs.run import Run
    from runloop.runs.services import Lookup
    from runloop.runs.unfinished import Unfinished

_FIRST_GUESS_MS = 1_000


@dataclass(slots=True)
class Hosting:
    """Runs at most ``max_runs`` at a time; ``max_queued`` may wait for that. Lives on one event loop.

    ``stranded(run, error)`` is told of a run that stopped without an end: because the daemon stops, or because the ledger cannot write.
    """

    manager: RunManager
    kb: KnowledgeBase
    people: People
    max_runs: int
    max_queued: int
    clock_ms: Callable[[], int]
    stranded: Callable[[Run, BaseException], None]
    lookup_of: Callable[[str | None], Lookup | None]
    """Where a run finds names that was submitted in that working directory."""
    not_recovered: Callable[[RunIdentity, RunloopError], None]
    """Hears of a run that cannot be taken up again."""
    put_away: Callable[[str], object]
    """Hears of a queued run that is left to the ledger until its turn is near."""
    draining: bool = False
    running: int = 0
    """Runs under way, and those that are being taken up to go on."""
    mean_ms: float = _FIRST_GUESS_MS
    """How long runs took lately."""
    finished: dict[str, int] = field(default_factory=lambda: {"succeeded": 0, "failed": 0, "cancelled": 0})
    ending: dict[str, str] = field(default_factory=dict)
    """Why runs that are being taken up are cancelled, by run id."""
    roster: Roster = field(init=False)
    _to_wake: deque[str] = field(default_factory=deque)
    _waking: dict[str, asyncio.Future[Hosted]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _granted: set[str] = field(default_factory=set)
    """Runs that were granted what they ask while they were being parked."""
    _left_memory: int = 0
    """How many runs were parked so far."""

    def __post_init__(self) -> None:
        self.roster = Roster(self.kb, Parking(self.clock_ms, self.wake))
        self.people.wake = self.go_on
        self.people.stalled = self.stalled

    def stalled(self) -> bool:
        """Whether the disk is full, so that nothing comes on record."""
        return self.kb.ledger.stalled is not None

    # ── driving ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def host(self, run: Run, person: Person, session: str | None, *, patient: bool) -> Hosted:
        """Queue a run that is in the ledger; :meth:`pump` begins it. Raises DaemonDraining, and the run stays unfinished then."""
        person.root = run.run_id
        if patient:
            self.people.patient.add(run.run_id)
        if session is not None:
            self.people.follow(run.run_id)
        roster = self.roster
        hosted = roster.hosted[run.run_id] = Hosted(run)
        if self.draining:
            self._strand(hosted, RunHalted())
            raise DaemonDraining("the daemon is stopping; the run is recorded and unfinished", hint="start the daemon again with `rlp up`")
        if roster.queue.full and run.recorder.last_seq == 1:
            del roster.hosted[run.run_id]
            roster.queue.behind[run.run_id] = Stub(hosted.identity, "", self.clock_ms(), None, queued=True)
            self.put_away(run.run_id)
        else:
            roster.queue.ready.append(hosted)
        return hosted

    def allow(self, max_runs: int, max_queued: int) -> None:
        """Change the limits; what was taken in stays."""
        self.max_runs, self.max_queued = max_runs, max_queued
        self.pump()

    def pump(self) -> None:
        """Begin as many runs as there are places."""
        queue = self.roster.queue
        while (queue.ready or self._to_wake) and self.running < self.max_runs and not self.draining:
            if self._to_wake:  # they were here before
                self.running += 1
                self._go(self._take_up(self._to_wake.popleft()))
            else:
                self._start(queue.ready.popleft())
        if (wanted := queue.wanted) is not None and wanted not in self._waking and not self.draining:
            self._make_ready(wanted)

    def start_now(self, hosted: Hosted) -> None:
        """Begin a run that is queued in memory, whatever is before it and however many are under way."""
        if hosted in self.roster.queue.ready:
            self.roster.queue.ready.remove(hosted)
            self._start(hosted)

    def _start(self, hosted: Hosted) -> None:
        hosted.state = "running"
        self.running += 1
        self.people.bring_back(hosted.run.run_id)
        hosted.task = asyncio.create_task(self._drive(hosted))

    async def _drive(self, hosted: Hosted) -> None:
        run_id, began_ms, left = hosted.run.run_id, self.clock_ms(), None
        try:
            result = await self.manager.drive(hosted.run)
        except Exception as error:  # noqa: BLE001 - whatever ends a run must reach its followers, and not the others
            if hosted.run.parked is None:
                self._strand(hosted, error)
                left = _why_left(error)
                if not isinstance(error, RunHalted) and left.code not in OF_ANOTHER:
                    self.roster.left[run_id] = Stub(hosted.identity, "", self.clock_ms(), None), left
        else:
            self.finished[result.status] += 1
            self.mean_ms += 0.1 * (self.clock_ms() - began_ms - self.mean_ms)
            self.roster.end(run_id, result.status)
        finally:
            self.running -= 1
            self.roster.hosted.pop(run_id, None)
            if (parked := hosted.run.parked) is not None:
                self.roster.parking.put(Stub(hosted.identity, parked.why, self.clock_ms(), parked.until_ms, hosted.run.paused))
                self.people.put_aside(run_id, parked.questions)
                if run_id in self._granted and not hosted.run.paused:
                    self.wake(run_id)
                self._left_memory += 1
                if self._left_memory % EVERY == 0:
                    give_back()
            else:
                self.people.done(run_id, left)
            self._granted.discard(run_id)
            self.pump()

    def _strand(self, hosted: Hosted, error: BaseException) -> None:
        self.roster.hosted.pop(hosted.run.run_id, None)
        self.stranded(hosted.run, error)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside everything else; the daemon's end waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── runs that are not in memory ──────────────────────────────────────────────────────────────────────────────────────

    def park(self, run: Run) -> None:
        """The run is about to leave memory: what it asks stays open."""
        self.people.parking.add(run.run_id)

    def wake(self, run_id: str) -> asyncio.Future[Hosted]:
        """Take a parked run up again, as soon as there is a place. Fails with DaemonDraining where there will be none."""
        if self.draining:
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(_draining())
            refused.exception()  # not everybody waits for it
            return refused
        waking = self._waking.get(run_id)
        if waking is None and run_id in self.roster.queue.behind:
            return self._make_ready(run_id)
        if waking is None:
            waking = self._waking[run_id] = asyncio.get_running_loop().create_future()
            left = self.roster.left.pop(run_id, None)
            stub = self.roster.parking.take(run_id) or (left and left[0])
            if stub is not None:
                self.roster.returning[run_id] = stub
            self._to_wake.append(run_id)
            self.pump()
        return waking

    def fetch(self, run_id: str) -> asyncio.Future[Hosted]:
        """As :meth:`wake`, and where there is no place it is queued in memory: who wants to change it does not wait for its turn."""
        waking = self.wake(run_id)
        if run_id in self._to_wake and not self.draining:
            self._to_wake.remove(run_id)
            self._go(self._read_back(run_id, self.roster.returning))
        return waking

    def go_on(self, run_id: str) -> asyncio.Future[Hosted] | None:
        """Have a run go on at once, however many are under way: what somebody answered is to come on record. None where it is here."""
        hosted = self.roster.hosted.get(run_id)
        if hosted is not None:
            self.start_now(hosted)
            return None
        waking = self.fetch(run_id)
        waking.add_done_callback(self._start_fetched)
        return waking

    def _start_fetched(self, waking: asyncio.Future[Hosted]) -> None:
        if not waking.cancelled() and waking.exception() is None:
            self.start_now(waking.result())

    def granted(self, granted: Sequence[StandingGrant]) -> None:
        """Parked runs that ask for what was granted go on as soon as there is a place, and see themselves that it covers that."""
        self._go(self._wake_granted(granted))

    async def _wake_granted(self, granted: Sequence[StandingGrant]) -> None:
        for run_id in await asyncio.to_thread(self._covered, granted):
            stub = self.roster.parking.stubs.get(run_id)
            if stub is not None and not stub.paused:
                self.wake(run_id)
            elif run_id in self.people.parking:
                self._granted.add(run_id)

    def _covered(self, granted: Sequence[StandingGrant]) -> set[str]:
        """The runs, by their roots, that ask for what a grant covers; what cannot be read waits for the person. Blocking."""
        found = set()
        for root, run_id, might in self.people.asking_for(granted):
            with suppress(RunloopError):
                submitted = next(self.kb.read_run(run_id)).payload["meta"]
                if any(each.is_for(submitted) for each in might):
                    found.add(root)
        return found

    def _make_ready(self, run_id: str) -> asyncio.Future[Hosted]:
        """Read a queued run back that was left to the ledger; it is the last then of those that are ready."""
        waking = self._waking[run_id] = asyncio.get_running_loop().create_future()
        self._go(self._read_back(run_id, self.roster.queue.behind))
        return waking

    async def _read_back(self, run_id: str, stubs: dict[str, Stub]) -> None:
        hosted = await self._recovered(run_id, stubs, "queued")
        queue = self.roster.queue
        if hosted is not None and self.draining:
            self._strand(hosted, RunHalted())
        elif hosted is not None and stubs is queue.behind:
            queue.ready.append(hosted)
        elif hosted is not None:
            queue.ready.appendleft(hosted)  # it was here before those
        self.pump()

    async def _take_up(self, run_id: str) -> None:
        hosted = await self._recovered(run_id, self.roster.returning, "running")
        if hosted is None:
            self.running -= 1
            self.pump()
            return
        if self.draining:
            self.running -= 1
            self.roster.hosted.pop(run_id, None)
            return
        hosted.task = asyncio.create_task(self._drive(hosted))

    async def _recovered(self, run_id: str, stubs: dict[str, Stub], state: str) -> Hosted | None:
        """The run of one of these stubs, in memory again; None where that cannot be, which is told."""
        stub = stubs[run_id]
        try:
            run = await self.manager.recover(
                run_id, operator=Person(self.people, run_id), lookup=self.lookup_of, parks=self.park, ending=self.ending.get(run_id),
                recorded=self._submitted(run_id) if stub.queued else None,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs go on
            found = error if isinstance(error, RunloopError) else InvalidInput(f"it cannot be read: {error!r}", code="run.broke")
            del stubs[run_id]
            if found.code in OF_ANOTHER:
                self.people.done(run_id, found)
            else:
                self.roster.left[run_id] = stub, found
            waking = self._waking.pop(run_id)
            waking.set_exception(found)
            waking.exception()
            self.not_recovered(stub.identity, found)
            return None
        if run.patient or (run.recorded is not None and run.recorded.awaits_person and not self.people.wait_ms):
            self.people.patient.add(run_id)  # somebody followed it, maybe before a restart
        if state == "running":
            self.people.bring_back(run_id)
        del stubs[run_id]
        hosted = self.roster.hosted[run_id] = Hosted(run, state)
        self._waking.pop(run_id).set_result(hosted)
        return hosted

    def _submitted(self, run_id: str) -> RecordedRun | None:
        """A run that has done nothing yet, by its only record; None for a fork, which shares what another run has done."""
        event = self.kb.ledger.by_key(submit_key(run_id))
        if event is None or event.payload["meta"].get("forked_from"):
            return None
        return fold(run_id, [self.kb.ledger.full(event)])

    def take_over(self, found: Iterable[Unfinished]) -> tuple[int, int]:
        """Runs that a process which is gone has left: how many go on now, and how many wait and are parked."""
        going = waiting = 0
        for each in found:
            run_id = each.identity.run_id
            if self.roster.has(run_id) or run_id in self.roster.ended:
                continue
            meta = each.waiting or {}
            questions = [OpenQuestion(**question) for question in meta.get("approvals") or ()]
            if each.patient or (not self.people.wait_ms and any(sort_of(asked.approval_id) == "approval" for asked in questions)):
                self.people.patient.add(run_id)
            why = PAUSED if each.paused else meta.get("why", "its recovery")
            stub = Stub(each.identity, why, each.waiting_ms, meta.get("until_ms"), each.paused, each.queued)
            if each.waiting is None:
                self.roster.returning[run_id] = stub
                self.wake(run_id)
                going += 1
            else:
                self.roster.parking.put(stub)
                self.people.put_aside(run_id, questions)
                waiting += 1
        return going, waiting

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def drain(self, grace_s: float, hurry: asyncio.Event) -> int:
        """Take nothing more in, let nodes that work finish for ``grace_s`` or until ``hurry``; then stop the rest recoverably.

        How many runs were left without an end.
        """
        self.draining = True
        self.roster.parking.close()
        turns = self.manager.services.turns
        turns.close()
        queue, hosted = self.roster.queue, self.roster.hosted
        for each in queue.ready:
            self._strand(each, RunHalted())
        left = len(queue)
        queue.ready.clear()
        tasks = [each.task for each in hosted.values() if each.task is not None]
        if tasks and grace_s > 0:
            quiet = asyncio.ensure_future(turns.quiet())
            ended = asyncio.gather(*tasks, return_exceptions=True)
            hurried = asyncio.ensure_future(hurry.wait())
            first: set[asyncio.Future[Any]] = {quiet, ended, hurried}
            await asyncio.wait(first, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            quiet.cancel()
            hurried.cancel()
        for each in list(hosted.values()):
            each.run.halt()
            left += 1
        await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
        return left


def _draining() -> DaemonDraining:
    return DaemonDraining("the daemon is stopping; the run is left as it is", hint="start the daemon again with `rlp up`, and ask again")


def _why_left(error: Exception) -> RunloopError:
    """Why nobody hears an answer to a run that stopped without an end."""
    if isinstance(error, RunHalted):
        return _draining()
    return error if isinstance(error, RunloopError) else InvalidInput(f"the run broke off: {error!r}", code="run.broke")
