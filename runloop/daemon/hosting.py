"""The runs that the daemon hosts: submitted once, queued within a bound, driven side by side, stopped so that they can be recovered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.daemon.backlog import Backlog
from runloop.daemon.errors import DaemonBusy, DaemonDraining, RequestReused
from runloop.daemon.memory import EVERY, give_back
from runloop.daemon.parking import Parking, Stub
from runloop.daemon.people import Person
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.events.records import OpenQuestion
from runloop.kb.errors import LedgerFull
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.kb.runs import find_run
from runloop.openings import parse_once
from runloop.runs.history import fold
from runloop.runs.manager import Submission, submit_key
from runloop.runs.parking import waits_for
from runloop.runs.pausing import pause, resume
from runloop.runs.results import PAUSED, RunHalted
from runloop.runs.unfinished import unfinished_runs

if TYPE_CHECKING:
    from runloop.daemon.people import People
    from runloop.events import RunIdentity, StoredEvent
    from runloop.kb import KnowledgeBase
    from runloop.openings import Opening
    from runloop.runs.forking import ForkRequest
    from runloop.runs.history import RecordedRun
    from runloop.runs.lookup import OpeningText
    from runloop.runs.manager import RunManager
    from runloop.runs.run import Run
    from runloop.runs.services import Lookup
    from runloop.runs.unfinished import Unfinished

_REMEMBERED = 4096
_FIRST_GUESS_MS = 1_000
_LONGEST_WAIT_MS = 60_000
_LOOK_FOR_ROOM_S = 1.0
_ENDS = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Request:
    """A run that a client wants, under a UUID that becomes the run's; ``digests`` are the agents as the client sees them."""

    run_id: str
    opening: OpeningText
    params: Mapping[str, Any]
    yes: bool = False
    digests: tuple[Mapping[str, Any], ...] = ()
    lookup: Lookup | None = None
    session: str | None = None
    """The connection whose person can be asked about the run."""
    patient: bool = False
    """Approvals wait until somebody answers, although nobody follows the run."""
    workdir: str | None = None
    """Whose names ``lookup`` adds."""

    def parsed(self) -> Opening:
        """The opening with these parameters. Raises OpeningError."""
        return parse_once(self.opening.source, file=self.opening.file, params=self.params)


@dataclass(slots=True, eq=False)
class Hosted:
    """A run of this daemon that has not ended."""

    run: Run
    params: Mapping[str, Any]
    person: Person
    state: str = "queued"
    queued_ms: int = 0
    task: asyncio.Task[None] | None = None

    def shown(self) -> dict[str, Any]:
        """Ids, state, and what it waits for."""
        identity, run = self.run.recorder.identity, self.run
        state, waiting = self.state, None
        if run.paused:
            state = "paused"
        elif state == "running" and run.quiet and (why := waits_for(run)):
            state, waiting = "waiting", why
        return {
            "run_id": identity.run_id,
            "trace_id": identity.trace_id,
            "opening_id": identity.opening_id,
            "opening_name": identity.opening_name,
            "state": state,
            "waiting_for": waiting,
        }


@dataclass(slots=True)
class Hosting:
    """Runs at most ``max_runs`` at a time and queues at most ``max_queued``; lives on one event loop.

    ``stranded(run, error)`` is told of a run that stopped without an end: because the daemon stops, or because the ledger cannot write.
    """

    manager: RunManager
    kb: KnowledgeBase
    people: People
    max_runs: int
    max_queued: int
    clock_ms: Callable[[], int]
    stranded: Callable[[Run, BaseException], None]
    refresh: Callable[[], Awaitable[object]]
    """Looks at the files of agents and openings now."""
    lookup_of: Callable[[str | None], Lookup | None]
    """Where a run finds names that was submitted in that working directory."""
    not_recovered: Callable[[RunIdentity, RunloopError], None]
    """Hears of a run that cannot be taken up again."""
    put_away: Callable[[str], object]
    """Hears of a queued run that is left to the ledger until its turn is near."""
    draining: bool = False
    finished: dict[str, int] = field(default_factory=lambda: {"succeeded": 0, "failed": 0, "cancelled": 0})
    refused: int = 0
    _hosted: dict[str, Hosted] = field(default_factory=dict)
    _taken: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _ended: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _queue: Backlog = field(default_factory=Backlog)
    _running: int = 0
    _coming: int = 0
    _mean_ms: float = _FIRST_GUESS_MS
    _parking: Parking = field(init=False)
    _to_wake: deque[str] = field(default_factory=deque)
    _waking: dict[str, asyncio.Future[Hosted]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stubs: dict[str, Stub] = field(default_factory=dict)
    """Of runs that are to be taken up, until they are."""
    _left: dict[str, tuple[Stub, RunloopError]] = field(default_factory=dict)
    """Runs that could not be taken up: that is tried again when somebody wants something of them."""
    _ending: dict[str, str] = field(default_factory=dict)
    """Why runs that are being taken up are cancelled."""
    _changes: set[asyncio.Future[object]] = field(default_factory=set)
    """Of runs, on their way to the disk."""
    _left_memory: int = 0
    """How many runs were parked so far."""
    _forking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One fork is made at a time, so that a repeated request finds the first."""

    def __post_init__(self) -> None:
        self._parking = Parking(self.clock_ms, self.wake)
        self.people.wake = self.wake

    # ── what is here ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def running(self) -> int:
        """Runs under way."""
        return self._running

    @property
    def queued(self) -> int:
        """Runs that wait to begin."""
        return len(self._queue)

    @property
    def parked(self) -> int:
        """Runs that wait and are not in memory."""
        return len(self._parking.stubs)

    def left(self) -> list[dict[str, Any]]:
        """The runs that could not be taken up, and why."""
        return [
            {"run_id": run_id, "opening_name": stub.identity.opening_name, "error": error.to_dict()}
            for run_id, (stub, error) in self._left.items()
        ]

    def listing(self) -> list[dict[str, Any]]:
        """The runs that have not ended: those in memory, then those that are parked, each oldest first."""
        aside = {**self._queue.behind, **self._parking.stubs, **self._stubs}
        return [*(hosted.shown() for hosted in self._hosted.values()), *(stub.shown() for stub in aside.values())]

    def find(self, ref: str) -> Hosted | None:
        """The run that has not ended of that id, trace id or beginning of an id; raises InvalidInput where there are several."""
        text = ref.strip().removeprefix("trace:").lower()
        if text in self._hosted:
            return self._hosted[text]
        found = [run_id for run_id in self._hosted if run_id.startswith(text)] if len(text) >= 4 else []
        if len(found) > 1:
            raise InvalidInput(f"{ref!r} begins more than one run", code="run.ambiguous", hint="give more letters")
        return self._hosted[found[0]] if found else None

    def has(self, run_id: str) -> bool:
        """Whether the run has not ended and is this daemon's, in memory or parked."""
        return any(run_id in each for each in (self._hosted, self._queue.behind, self._stubs, self._parking.stubs, self._left))

    def run_id_of(self, ref: str) -> str:
        """The id of a run here or in the ledger. Raises InvalidInput ``run.unknown`` or ``run.ambiguous``."""
        hosted = self.find(ref)
        return hosted.run.run_id if hosted is not None else find_run(self.kb.ledger, ref)

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, request: Request) -> dict[str, Any]:
        """Take a run in; its ids and state. The same request again, also after a restart, is answered with the same run.

        Raises:
            DaemonBusy, DaemonDraining: not now.
            RequestReused: the id stands for another opening or other parameters.
            RunloopError: the opening or its agents cannot be used.

        """
        known = self._taken.get(request.run_id)
        if known is not None:
            shown = dict(await asyncio.shield(known))
            self._check_same(request, shown.pop("digest"), shown.pop("params"))
            return {**shown, "state": await self.state_of(shown["run_id"]), "repeated": True}
        if self.kb.ledger.knows(submit_key(request.run_id), request.run_id):
            stored = self.kb.ledger.by_key(submit_key(request.run_id))
            if stored is None:
                raise self._refusal(request.run_id)
            return await self._stored(request, stored)
        self._check_room()
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._taken[request.run_id] = answer
        self._coming += 1
        try:
            hosted = await self._take_in(request)
        except BaseException as error:
            del self._taken[request.run_id]
            answer.set_exception(error if isinstance(error, RunloopError) else DaemonDraining("the daemon is stopping"))
            answer.exception()
            raise
        finally:
            self._coming -= 1
        shown = hosted.shown()
        answer.set_result({**shown, "digest": hosted.run.opening.digest, "params": dict(hosted.run.opening.params)})
        if request.run_id in self._queue.behind:
            del self._taken[request.run_id]  # whoever asks again is answered from the ledger
        self._pump()
        return {**shown, "state": hosted.state, "repeated": False}

    async def fork(self, request: ForkRequest, session: str | None) -> dict[str, Any]:
        """Take in a fork; its ids and state. The same request again is answered with the same run.

        Raises:
            DaemonBusy, DaemonDraining: not now.
            RequestReused: the id stands for another run.
            RunloopError: as :meth:`RunManager.fork`.

        """
        run_id = str(request.run_id)
        async with self._forking:
            if self.kb.ledger.knows(submit_key(run_id), run_id):
                stored = self.kb.ledger.by_key(submit_key(run_id))
                if stored is None or (stored.payload["meta"].get("forked_from") or {}).get("run_id") != request.parent:
                    raise self._refusal(run_id)
                return {**_ids(stored), "state": await self.state_of(run_id), "repeated": True}
            archived = ArchivedRuns(self.kb.ledger)
            if archived.place(request.parent) is not None:
                raise archived.refusal(request.parent)
            self._check_room()
            person = Person(self.people)
            run = await self.manager.fork(self.kb.ledger, request, operator=person, parks=self._park)
            hosted = self._host(run, run.opening.params, person, session, patient=request.patient)
        self._pump()
        return {**hosted.shown(), "state": hosted.state, "repeated": False}

    def _refusal(self, run_id: str) -> RunloopError:
        """Why a request whose id is known starts nothing: its run was archived, or the id is another run's."""
        archived = ArchivedRuns(self.kb.ledger)
        return archived.refusal(run_id) if archived.place(run_id) is not None else _reused(run_id)

    def _check_room(self) -> None:
        if self.draining:
            raise DaemonDraining("the daemon is stopping and takes no new runs", hint="start it again with `rlp up`")
        if self._running + len(self._queue) + self._coming >= self.max_runs + self.max_queued:
            self.refused += 1
            raise DaemonBusy(f"{len(self._queue)} runs are queued already", retry_after_ms=self.retry_after_ms)

    @property
    def retry_after_ms(self) -> int:
        """When a place is likely to be free, from how long runs took lately."""
        ahead = len(self._queue) / max(1, self.max_runs)
        return int(min(_LONGEST_WAIT_MS, max(100, self._mean_ms * max(1.0, ahead) / max(1, self.max_runs) + 100)))

    async def _take_in(self, request: Request) -> Hosted:
        opening = request.parsed()
        person = Person(self.people)
        patient = request.patient or request.session is not None
        submission = Submission(
            opening, "daemon", request.yes, run_id=request.run_id, operator=person, lookup=request.lookup, workdir=request.workdir,
            patient=patient, parks=self._park,
        )  # fmt: skip
        if request.digests:
            try:
                self._check_digests(request, opening)
            except RunloopError:
                await self.refresh()  # the client may have seen a change a moment before the daemon
                self._check_digests(request, opening)
        return self._host(await self.manager.submit(submission), request.params, person, request.session, patient=patient)

    def _host(self, run: Run, params: Mapping[str, Any], person: Person, session: str | None, *, patient: bool) -> Hosted:
        person.root = run.run_id
        if patient:
            self.people.patient.add(run.run_id)
        if session is not None:
            self.people.follow(run.run_id, session)
        hosted = Hosted(run, params, person, queued_ms=self.clock_ms())
        self._hosted[run.run_id] = hosted
        if self.draining:
            self._strand(hosted, RunHalted())
            raise DaemonDraining("the daemon is stopping; the run is recorded and unfinished", hint="start the daemon again with `rlp up`")
        if self._queue.full and run.recorder.last_seq == 1:
            del self._hosted[run.run_id]
            self._queue.behind[run.run_id] = Stub(replace(run.recorder.identity), "", hosted.queued_ms, None, queued=True)
            self.put_away(run.run_id)
        else:
            self._queue.ready.append(hosted)
        return hosted

    def _check_digests(self, request: Request, opening: Opening) -> None:
        """Refuse agents that are not what the client saw (spec 6.2)."""
        resolve = request.lookup.agent if request.lookup else self.manager.services.resolve_agent
        given = {(each["name"], each.get("variant")): each["digest"] for each in request.digests}
        needed = {(node.name, node.variant) for node in opening.nodes if node.kind == "agent"}
        if set(given) != needed:
            raise InvalidInput("agent digest count mismatch between CLI and daemon", code="run.agent_digests", hint="submit it again")
        for (name, variant), digest in given.items():
            here = resolve(name, variant)
            if digest not in (here.digest, here.manifest_digest):
                message = f"agent {here.ref!r} digest mismatch (cli {digest[:12]}, daemon {here.digest[:12]})"
                where = Where(file=str(here.root))
                hint = "`rlp status` shows what the daemon could not load; `rlp agent build` seals a bundle you changed"
                raise InvalidInput(message, code="run.agent_digests", where=where, hint=hint)

    async def _stored(self, request: Request, event: StoredEvent) -> dict[str, Any]:
        """The answer from the ledger: the run was submitted to an earlier daemon, or has ended."""
        meta = self.kb.ledger.full(event).payload["meta"]
        self._check_same(request, meta["opening_digest"], meta["params"])
        return {**_ids(event), "state": await self.state_of(event.payload["run_id"]), "repeated": True}

    def _check_same(self, request: Request, digest: str, params: Mapping[str, Any]) -> None:
        opening = request.parsed()
        if (opening.digest, dict(opening.params)) != (digest, dict(params)):
            raise _reused(request.run_id)

    async def state_of(self, run_id: str) -> str:
        """The state of a run, here or in the ledger; ``unfinished`` where it has no end and does not run here, once that is known."""
        hosted = self._hosted.get(run_id)
        if hosted is not None:
            return str(hosted.shown()["state"])
        stub = self._parking.stubs.get(run_id) or self._stubs.get(run_id) or self._queue.behind.get(run_id)
        if stub is not None:
            return str(stub.shown()["state"])
        if run_id in self._ended:
            return self._ended[run_id]
        row = await asyncio.to_thread(self.kb.run, run_id)
        return str(row["status"]) if row is not None and row["status"] in _ENDS else "unfinished"

    # ── driving ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def allow(self, max_runs: int, max_queued: int) -> None:
        """Change the limits; what was taken in stays."""
        self.max_runs, self.max_queued = max_runs, max_queued
        self._pump()

    def _pump(self) -> None:
        while (self._queue.ready or self._to_wake) and self._running < self.max_runs and not self.draining:
            if self._to_wake:  # they were here before
                self._running += 1
                self._go(self._take_up(self._to_wake.popleft()))
            else:
                self._start(self._queue.ready.popleft())
        if (wanted := self._queue.wanted) is not None and wanted not in self._waking and not self.draining:
            self._make_ready(wanted)

    def _start(self, hosted: Hosted) -> None:
        hosted.state = "running"
        self._running += 1
        hosted.task = asyncio.create_task(self._drive(hosted))

    async def _drive(self, hosted: Hosted) -> None:
        run_id, began_ms = hosted.run.run_id, self.clock_ms()
        try:
            result = await self.manager.drive(hosted.run)
        except Exception as error:  # noqa: BLE001 - whatever ends a run must reach its followers, and not the others
            if hosted.run.parked is None:
                self._strand(hosted, error)
        else:
            self.finished[result.status] += 1
            self._mean_ms += 0.1 * (self.clock_ms() - began_ms - self._mean_ms)
            self._ended[run_id] = result.status
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
        finally:
            self._running -= 1
            self._hosted.pop(run_id, None)
            self._taken.pop(run_id, None)
            if (parked := hosted.run.parked) is not None:
                stub = Stub(replace(hosted.run.recorder.identity), parked.why, self.clock_ms(), parked.until_ms, hosted.run.paused)
                self._parking.put(stub)
                self.people.put_aside(run_id, parked.questions)
                self._left_memory += 1
                if self._left_memory % EVERY == 0:
                    give_back()
            else:
                self.people.done(run_id)
            self._pump()

    # ── runs that are not in memory ──────────────────────────────────────────────────────────────────────────────────────

    def _park(self, run: Run) -> None:
        """The run is about to leave memory: what it asks stays open."""
        self.people.parking.add(run.run_id)

    def wake(self, run_id: str) -> asyncio.Future[Hosted]:
        """Take a parked run up again, as soon as there is a place."""
        waking = self._waking.get(run_id)
        if waking is None and run_id in self._queue.behind:
            return self._make_ready(run_id)
        if waking is None:
            waking = self._waking[run_id] = asyncio.get_running_loop().create_future()
            left = self._left.pop(run_id, None)
            stub = self._parking.take(run_id) or (left and left[0])
            if stub is not None:
                self._stubs[run_id] = stub
            self._to_wake.append(run_id)
            self._pump()
        return waking

    def _make_ready(self, run_id: str) -> asyncio.Future[Hosted]:
        """Read a queued run back that was left to the ledger; it is the last then of those that are ready."""
        waking = self._waking[run_id] = asyncio.get_running_loop().create_future()
        self._go(self._read_back(run_id))
        return waking

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside everything else; the daemon's end waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_back(self, run_id: str) -> None:
        hosted = await self._recovered(run_id, self._queue.behind, "queued")
        if hosted is not None and self.draining:
            self._strand(hosted, RunHalted())
        elif hosted is not None:
            self._queue.ready.append(hosted)
        self._pump()

    async def _recovered(self, run_id: str, stubs: dict[str, Stub], state: str) -> Hosted | None:
        """The run of one of these stubs, in memory again; None where that cannot be, which is told."""
        stub, person = stubs[run_id], Person(self.people, run_id)
        try:
            run = await self.manager.recover(
                run_id, operator=person, lookup=self.lookup_of, parks=self._park, ending=self._ending.get(run_id),
                recorded=self._submitted(run_id) if stub.queued else None,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs go on
            found = error if isinstance(error, RunloopError) else InvalidInput(f"it cannot be read: {error!r}", code="run.broke")
            self._left[run_id] = stubs.pop(run_id), found
            waking = self._waking.pop(run_id)
            waking.set_exception(found)
            waking.exception()
            self.not_recovered(stub.identity, found)
            return None
        if run.patient:
            self.people.patient.add(run_id)
        self.people.bring_back(run_id)
        del stubs[run_id]
        hosted = self._hosted[run_id] = Hosted(run, dict(run.opening.params), person, state, self.clock_ms())
        self._waking.pop(run_id).set_result(hosted)
        return hosted

    def _submitted(self, run_id: str) -> RecordedRun | None:
        """A run that has done nothing yet, by its only record."""
        event = self.kb.ledger.by_key(submit_key(run_id))
        return None if event is None else fold(run_id, [self.kb.ledger.full(event)])

    async def _take_up(self, run_id: str) -> None:
        hosted = await self._recovered(run_id, self._stubs, "running")
        if hosted is None:
            self._running -= 1
            self._pump()
            return
        if self.draining:
            self._running -= 1
            self._hosted.pop(run_id, None)
            return
        hosted.task = asyncio.create_task(self._drive(hosted))

    def take_over(self, found: Iterable[Unfinished]) -> tuple[int, int]:
        """Runs that a process which is gone has left: how many go on now, and how many wait and are parked."""
        going = waiting = 0
        for each in found:
            run_id = each.identity.run_id
            if self.has(run_id) or run_id in self._ended:
                continue
            if each.patient:
                self.people.patient.add(run_id)
            meta = each.waiting or {}
            stub = Stub(each.identity, meta.get("why", "its recovery"), each.waiting_ms, meta.get("until_ms"), meta.get("why") == PAUSED)
            if each.waiting is None:
                self._stubs[run_id] = stub
                self.wake(run_id)
                going += 1
            else:
                self._parking.put(stub)
                self.people.put_aside(run_id, [OpenQuestion(**question) for question in meta.get("approvals") or ()])
                waiting += 1
        return going, waiting

    async def adopt(self, run_id: str | None = None) -> int:
        """Take over the run of that id, or every run, that a process which is gone has left; how many.

        One of this daemon's own that broke off is taken up only by its id; one that is just being submitted is not.
        """
        services = self.manager.services
        coming = run_id is None or run_id in self._taken or self._forking.locked()
        found = await asyncio.to_thread(lambda: list(unfinished_runs(self.kb, run_id)))
        left = [each for each in found if not services.driven(each.owner) and not (coming and each.owner == services.owner)]
        return sum(self.take_over(left))

    def _strand(self, hosted: Hosted, error: BaseException) -> None:
        self._hosted.pop(hosted.run.run_id, None)
        self._taken.pop(hosted.run.run_id, None)
        self.stranded(hosted.run, error)

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, ref: str, reason: str) -> dict[str, Any]:
        """Stop a run, running, waiting or queued. Raises InvalidInput ``run.unknown``, ``run.ended`` or ``run.ambiguous``."""
        run_id = self.run_id_of(ref)
        self._ending[run_id] = reason  # what is not in memory needs nothing but its records to be ended
        try:
            hosted = await self._here(run_id)
        finally:
            del self._ending[run_id]
        cancelling = hosted.run.cancel(reason)
        if hosted in self._queue.ready:
            self._queue.ready.remove(hosted)  # it ends at once, whatever is before it
            self._start(hosted)
        if cancelling is not None:
            await self._on_disk(cancelling)  # from here on it ends, whatever becomes of the daemon
        return {**hosted.shown(), "state": "cancelling"}

    async def pause(self, ref: str, why: str) -> dict[str, Any]:
        """Let a run and its children begin nothing new."""
        hosted = await self._here(ref)
        await self._on_disk(pause(hosted.run, why))
        return hosted.shown()

    async def _on_disk(self, change: Awaitable[object]) -> None:
        """Wait until a change of a run is on record. Raises LedgerFull where it has to wait for room, and happens then."""
        changing = asyncio.ensure_future(change)
        self._changes.add(changing)
        changing.add_done_callback(self._changes.discard)
        while not (await asyncio.wait({changing}, timeout=_LOOK_FOR_ROOM_S))[0]:
            if self.kb.ledger.stalled is not None:
                hint = "make room; what was asked for is forgotten only if the daemon ends before"
                raise LedgerFull("the disk is full: the run does that as soon as there is room", hint=hint)
        changing.result()

    async def pause_all(self, why: str) -> int:
        """Pause every run that has not ended; how many."""
        return await self._each(lambda run_id: self.pause(run_id, why))

    async def resume_all(self, why: str) -> int:
        """Let every run go on; how many."""
        await self.adopt()
        return await self._each(lambda run_id: self.resume(run_id, why))

    async def _each(self, change: Callable[[str], Awaitable[object]]) -> int:
        count = 0
        for run_id in [*self._hosted, *self._queue.behind, *self._stubs, *self._parking.stubs]:
            try:
                await change(run_id)
            except RunloopError:
                continue  # it ended meanwhile, or cannot be taken up, which is reported
            count += 1
        return count

    async def resume(self, ref: str, why: str) -> dict[str, Any]:
        """Let it go on."""
        hosted = await self._here(ref)
        await self._on_disk(resume(hosted.run, why))
        return hosted.shown()

    async def _here(self, ref: str) -> Hosted:
        while (hosted := self.find(ref)) is not None:
            if hosted.run.parked is None or hosted.task is None:
                return hosted
            await asyncio.wait({hosted.task})  # it is leaving memory, and hears of nothing any more
        run_id = find_run(self.kb.ledger, ref)
        if self.has(run_id):
            return await asyncio.shield(self.wake(run_id))
        state = await self.state_of(run_id)
        if state == "unfinished" and await self.adopt(run_id):
            return await asyncio.shield(self.wake(run_id))
        if state == "unfinished":
            message = f"run {run_id} has no end and does not run in this daemon"
            raise InvalidInput(message, code="run.not_here", hint="it runs in another process with --local, or is a child run")
        raise InvalidInput(f"run {run_id} has ended: {state}", code="run.ended", hint=f"`rlp show {run_id[:8]}` shows it")

    async def drain(self, grace_s: float, hurry: asyncio.Event) -> int:
        """Take nothing more in, let nodes that work finish for ``grace_s`` or until ``hurry``; then stop the rest recoverably.

        How many runs were left without an end.
        """
        self.draining = True
        self._parking.close()
        turns = self.manager.services.turns
        turns.close()
        for hosted in self._queue.ready:
            self._strand(hosted, RunHalted())
        left = len(self._queue)
        self._queue.ready.clear()
        tasks = [hosted.task for hosted in self._hosted.values() if hosted.task is not None]
        if tasks and grace_s > 0:
            quiet = asyncio.ensure_future(turns.quiet())
            ended = asyncio.gather(*tasks, return_exceptions=True)
            hurried = asyncio.ensure_future(hurry.wait())
            first: set[asyncio.Future[Any]] = {quiet, ended, hurried}
            await asyncio.wait(first, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            quiet.cancel()
            hurried.cancel()
        for hosted in list(self._hosted.values()):
            hosted.run.halt()
            left += 1
        await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
        return left


def _reused(run_id: str) -> RequestReused:
    message = f"the request id {run_id} stands for another run"
    return RequestReused(message, where=Where(key="request_id"), hint="use a new UUID for a new run")


def _ids(submitted: StoredEvent) -> dict[str, Any]:
    """The ids of the run that a ``run.submitted`` is of."""
    payload = submitted.payload
    return {
        "run_id": payload["run_id"],
        "trace_id": submitted.provenance["trace_id"],
        "opening_id": payload["opening_id"],
        "opening_name": payload["opening_name"],
    }
