"""The pool of worker processes, seen from asyncio: run a guest, answer its hostcalls, stop it, replace a worker that died."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from runloop.errors import RunloopError, Unavailable, exhausted
from runloop.sandbox.cache import CompiledCache, CompileProgress
from runloop.sandbox.configuration import MAX_LIVE
from runloop.sandbox.contents import Contents
from runloop.sandbox.guestfile import guest_code, guest_digest
from runloop.sandbox.job import GivenBack, Job
from runloop.sandbox.kept import kept_code
from runloop.sandbox.peer import READY_S, START_HINT, Peer, StartFailed
from runloop.sandbox.restarts import RestartBudget
from runloop.sandbox.spec import MAX_REQUEST_BYTES, GuestError, GuestResult, GuestSpec, Hostcall, InLine, Taped
from runloop.sandbox.starting import THREADS, Started, cores, start_worker
from runloop.sandbox.tape import Feed
from runloop.tasks import end_tasks, shielded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_Place: TypeAlias = tuple[Peer, bool]
"""A worker, and whether the guest is on trial there."""
_SWEEP_S = 0.5
_TRY_S = 0.02
"""How often to look for a worker that could try a guest, while some wait."""
_GRACE_S = 10.0
"""How much longer than its limit a guest may seem to run (loading and compiling included), or than it was stopped, before its worker is
taken for hung: all guests in there go with it, and a machine that is busy makes a good one wait for seconds."""
_MAX_STARTS_FAILED = 5
"""After so many in a row, those who wait for a worker are told why there is none."""
_MOST_BETWEEN_STARTS_S = 5.0
RESTARTS_PER_MINUTE = 30


class WorkerPool:
    """Runs guests in worker processes, one per core; in each at most ``threads`` guests run at once, while others wait for hostcalls."""

    def __init__(
        self,
        cache_dir: Path,
        *,
        workers: int | None = None,
        threads: int = THREADS,
        progress: Callable[[CompileProgress], None] | None = None,
        restarts_per_minute: int = RESTARTS_PER_MINUTE,
        ready_s: float = READY_S,
        kept: Path | None = None,
        started: list[Started] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``kept`` is the directory of the Python guests that :func:`keep_guest` put aside for runs under way.

        ``started`` are workers that run already; the pool takes them out of the list as it needs them. ``ready_s`` is what each may take.
        How long guests run is measured by ``clock_s``.
        """
        self._started = [] if started is None else started
        self._kept = kept
        self._cache = CompiledCache(cache_dir)
        self._size = workers or cores()
        self._threads = threads
        self._ready_s = ready_s
        self._clock_s = clock_s
        self._progress = progress
        self._peers: list[Peer] = []
        self._waiting: collections.deque[asyncio.Future[_Place]] = collections.deque()
        self._tried: collections.deque[asyncio.Future[_Place]] = collections.deque()
        """Those that were on trial and take longer."""
        self._trying: asyncio.TimerHandle | None = None
        self._compiled: dict[tuple[str, bool], str] = {}
        self._compiling: dict[tuple[str, bool], asyncio.Task[str]] = {}
        self._contents = Contents()
        self._numbers = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._reaping: set[asyncio.Task[None]] = set()
        self._failed_starts = 0
        self._closed = False
        self._restarts = RestartBudget(restarts_per_minute)
        self._delayed = 0
        self.watchers: list[Callable[[int, str], object]] = []
        """Hear of every worker that was lost: its process id and the cause."""

    # -- life

    def launch(self) -> None:
        """Start the processes that are missing, on this thread, which must live as long as the pool; :meth:`start` waits for them."""
        while len(self._started) < self._size:
            self._started.append(start_worker(self._cache.directory, self._threads))

    async def start(self) -> None:
        """Start the workers; returns when all are ready."""
        self.launch()
        await asyncio.gather(*(self._add_peer() for _ in range(self._size)))
        self._sweeper = asyncio.create_task(self._sweep())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop every guest and worker; no process is left when this returns."""
        self._closed = True
        background = [*self._starting, *self._compiling.values(), *([self._sweeper] if self._sweeper else [])]
        await end_tasks(*background)
        if self._trying is not None:
            self._trying.cancel()
        self._refuse_waiting(Unavailable("the pool was closed", code="pool.closed"))
        while self._started:
            self._started.pop().end()
        peers, self._peers = self._peers, []
        await asyncio.gather(*(peer.close() for peer in peers), *self._reaping)

    async def _add_peer(self) -> None:
        self._cache.open()  # a worker may read only what was there when it began
        started = self._started.pop() if self._started else start_worker(self._cache.directory, self._threads)
        peer = await Peer.of(started, self._threads, ready_s=self._ready_s, on_idle=self._give, on_lost=self._lost)
        if self._closed:
            await peer.close()
            return
        self._failed_starts = 0
        self._peers.append(peer)
        self._give()

    def _lost(self, peer: Peer) -> None:
        """Replace a worker that is gone."""
        if peer in self._peers:
            self._peers.remove(peer)
        if peer.reaped is not None:
            self._reaping.add(peer.reaped)
            peer.reaped.add_done_callback(self._reaping.discard)
        if not self._closed:
            wait_s = self._restarts.lost(time.monotonic(), peer.cause)
            for watcher in self.watchers:
                watcher(peer.pid, peer.cause)
            task = asyncio.create_task(self._replace(wait_s))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    def _exhausted(self) -> Unavailable:
        cause = self._restarts.last_cause or "no cause is known"
        return Unavailable(
            f"agent workers died {self._restarts.per_minute} times within a minute; the last one: {cause}",
            code="pool.restarts", hint="the next one starts when the minute is over; `rlp status` shows the workers",
        )  # fmt: skip

    def _refuse_waiting(self, error: RunloopError) -> None:
        for line in (self._tried, self._waiting):
            while (waiter := _first(line)) is not None:
                waiter.set_exception(error)

    async def _replace(self, wait_s: float) -> None:
        while True:
            if wait_s > 0:
                self._delayed += 1
                if not self._peers and len(self._starting) == self._delayed:
                    self._refuse_waiting(self._exhausted())
                try:
                    await asyncio.sleep(wait_s)
                finally:
                    self._delayed -= 1
            try:
                await self._add_peer()
            except (RunloopError, OSError) as error:  # no process, file or memory to be had for it, now
                self._failed_starts += 1
                why = error if isinstance(error, RunloopError) else exhausted(error) or _unstartable(error)
                if self._failed_starts >= _MAX_STARTS_FAILED and not self._peers:
                    self._refuse_waiting(why)
                await asyncio.sleep(min(0.1 * 2 ** min(self._failed_starts, 10), _MOST_BETWEEN_STARTS_S))
                wait_s = self._restarts.lost(time.monotonic(), why.message) if isinstance(error, StartFailed) else 0
            else:
                return

    def _replace_idle(self) -> None:
        """End the workers without guests: they may not read the cache that was made anew."""
        for peer in self._peers:
            if not peer.jobs and not peer.reserved:
                peer.cause = "the cache of compiled guests was removed"
                peer.kill()

    async def _sweep(self) -> None:
        """Kill workers whose guests run on beyond their limits: the wall inside the worker has failed."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = self._clock_s()
            for peer in list(self._peers):
                hung = [job for job in peer.jobs.values() if job.overdue(now, _GRACE_S)]
                for job in hung:
                    job.fail("guest.timeout", f"the agent ran for more than {job.wall_s * 1000:.0f} ms and did not stop")
                if hung:
                    peer.cause = "a guest ran beyond its limit and could not be stopped"
                    peer.kill()

    # -- what is there

    @property
    def live(self) -> int:
        """How many guests are in workers now, running or waiting."""
        return sum(len(peer.jobs) for peer in self._peers)

    @property
    def in_line(self) -> int:
        """How many guests wait for a place."""
        return sum(not waiter.done() for line in (self._tried, self._waiting) for waiter in line)

    @property
    def places(self) -> int:
        """How many guests that do not wait for anybody the workers take now: many quick ones, few that take long and some on trial."""
        return max(self._size * self._threads, sum([peer.places + peer.stuck for peer in self._peers]))

    @property
    def health(self) -> Mapping[str, Any]:
        """Workers here and wanted, how often one was lost, in the last minute and at all, and the cause of the last time."""
        now, restarts = time.monotonic(), self._restarts
        return {
            "workers": len(self._peers), "wanted": self._size, "guests": self.live, "lost_total": restarts.total,
            "lost_last_minute": restarts.last_minute(now), "restarts_per_minute": restarts.per_minute,
            "suspended": self._delayed > 0, "last_cause": restarts.last_cause or None,
        }  # fmt: skip

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [peer.pid for peer in self._peers]

    @property
    def confinement(self) -> list[Mapping[str, Any]]:
        """What each worker gave up: ``no_new_privileges``, ``landlock`` (its version, 0 where there is none), ``seccomp``."""
        return [peer.confinement for peer in self._peers]

    @property
    def prepares_python(self) -> bool:
        """Whether the Python guest is being compiled, with or without the counting of fuel."""
        return any(":" not in digest for digest, _ in self._compiling)

    # -- guests

    async def prepare(self, spec: GuestSpec | None = None) -> None:
        """Compile what ``spec`` needs (None: the Python guest) ahead of its first run."""
        if spec is None:
            await self._python_path(guest_digest(), fuel=False)
        else:
            await self._path_of(spec)

    async def run(self, spec: GuestSpec, hostcall: Hostcall, tape: Sequence[Taped] = (), in_line: InLine | None = None) -> GuestResult:
        """Run one guest to its end; raises GuestError, or what ``hostcall`` raised. Cancelling stops the guest.

        While no worker has a place for it, it waits inside of ``in_line(tried)``. Where all places are taken by guests that take long, it
        is tried beside them; if it takes long itself, it begins once more in its turn (``tried``), unless it was heard of.

        The guest's first recorded calls are answered from ``tape``, without waiting for ``hostcall``, which gets each of them in order
        and raises for one that differs from the record; it must not need a task for that (docs/guest.md, "Answers ahead").
        """
        if self._closed:
            raise Unavailable("the pool was closed", code="pool.closed")
        message = {
            "kind": spec.kind, "digest": spec.digest, "entry": spec.entry, "request": spec.request_json,
            "seed": spec.seed, "start_ms": spec.start_ms, "tape": len(tape),
            "path": await self._path_of(spec), "limits": {name: getattr(spec.limits, name) for name in spec.limits.__slots__},
        }  # fmt: skip
        if spec.kind == "python":
            message["sources"], message["digest"] = self._contents.of_sources(spec.digest, spec.sources or {})
            message["data"] = self._contents.of_data(spec.digest, spec.data)
        _check_size(spec, message)
        given_back, tried = None, False
        while True:
            place = self._free_place() if given_back is None and not self._waiting and not self._tried else None
            if place is None:
                with contextlib.nullcontext() if in_line is None else in_line(tried):
                    place = await self._wait_for_place(self._tried if tried else self._waiting, first=given_back is GivenBack.QUEUED)
            peer, trial = place
            self._numbers += 1
            ended: asyncio.Future[GuestResult | GivenBack] = asyncio.get_running_loop().create_future()
            ahead = not trial and peer.busy > peer.threads
            job = Job(self._numbers, hostcall, spec.limits.wall_ms / 1000, ended, trial, ahead, Feed(tape), clock_s=self._clock_s)
            peer.begin(job, message)
            try:
                try:
                    result = await ended
                finally:
                    if not job.gone.is_set():
                        await self._stop(peer, job)
            finally:  # also where the stopping is stopped
                del job, ended  # what is raised here knows this frame, and they know what is raised
            if not isinstance(result, GivenBack):
                return result
            given_back, tried = result, tried or result is GivenBack.LONG

    async def _stop(self, peer: Peer, job: Job) -> None:
        """Stop a guest whose caller left, and wait until it is out; a worker that does not obey is killed."""
        peer.stop(job, "guest.stopped", "the run was stopped")
        gone = asyncio.ensure_future(job.gone.wait())
        try:  # no asyncio.timeout: in a task that is cancelled it raises CancelledError before Python 3.11.4 (gh-102780)
            if not (await asyncio.wait({gone}, timeout=_GRACE_S))[0]:
                peer.cause = "a guest that was to stop did not"
                peer.kill()
                await gone
        finally:
            gone.cancel()

    async def _path_of(self, spec: GuestSpec) -> str:
        fuel = spec.limits.fuel is not None
        if spec.kind == "python":
            return await self._python_path(spec.guest or guest_digest(), fuel=fuel)
        code = spec.code or b""
        return await self._compiled_path(spec.kind, f"{spec.kind}:{self._contents.of_code(code)}", lambda: code, fuel=fuel, name=spec.entry)

    async def _python_path(self, digest: str, *, fuel: bool) -> str:
        def code() -> bytes:
            return guest_code() if digest == guest_digest() else kept_code(self._kept, digest)

        return await self._compiled_path("python", digest, code, fuel=fuel, name="the Python guest")

    async def _compiled_path(self, kind: str, digest: str, code: Callable[[], bytes], *, fuel: bool, name: str) -> str:
        known = self._compiled.get((digest, fuel))
        if known is not None and os.path.exists(known):  # noqa: ASYNC240, PTH110 - asked for every guest, of a file at hand
            return known
        task = self._compiling.get((digest, fuel))
        if task is None:

            async def compile_once() -> str:
                try:
                    if self._cache.open():
                        self._replace_idle()
                    path = str(await self._cache.ensure(kind, digest, code, fuel=fuel, name=name, progress=self._progress))
                    self._compiled[digest, fuel] = path
                    return path
                finally:
                    self._compiling.pop((digest, fuel), None)

            task = self._compiling[digest, fuel] = asyncio.create_task(compile_once())
        return await shielded(task)

    async def _wait_for_place(self, line: collections.deque[asyncio.Future[_Place]], *, first: bool) -> _Place:
        """A place, which is reserved; ``first`` goes before those that wait already."""
        if not self._peers and self._delayed and len(self._starting) == self._delayed:
            raise self._exhausted()
        waiter: asyncio.Future[_Place] = asyncio.get_running_loop().create_future()
        (line.appendleft if first else line.append)(waiter)
        self._give()
        if not waiter.done() and self._trying is None:
            self._try_later()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                peer, trial = waiter.result()
                if trial:
                    peer.trying = False
                else:
                    peer.reserved -= 1
                self._give()
            with contextlib.suppress(ValueError):
                line.remove(waiter)
            raise

    def _free_place(self) -> _Place | None:
        ready = [peer for peer in self._peers if self._has_place(peer)]
        if not ready:
            return None
        peer = min(ready, key=lambda one: (one.busy, len(one.jobs)))
        peer.reserved += 1
        return peer, False

    def _has_place(self, peer: Peer) -> bool:
        return not peer.lost and peer.busy < peer.places and len(peer.jobs) + peer.reserved < MAX_LIVE

    def _give(self) -> None:
        """Hand free places to those who wait, oldest first, and those before the others that gave theirs up when they had been tried."""
        for line in (self._tried, self._waiting):
            while line and (waiter := _first(line)) is not None:
                place = self._free_place()
                if place is None:
                    line.appendleft(waiter)
                    return
                waiter.set_result(place)

    def _try_later(self) -> None:
        self._trying = asyncio.get_running_loop().call_later(_TRY_S, self._try)

    def _try(self) -> None:
        """Where guests that take long have all places of a worker, have it try the first of those that wait beside them."""
        self._trying = None
        now = self._clock_s()
        for peer in self._peers:
            if not peer.lost and len(peer.jobs) + peer.reserved < MAX_LIVE and peer.is_hogged(now):
                waiter = _first(self._waiting)
                if waiter is None:
                    return
                peer.trying = True
                waiter.set_result((peer, True))
        if self._waiting:
            self._try_later()


def _unstartable(error: OSError) -> Unavailable:
    return Unavailable(f"an agent worker could not start: {error}", code="worker.start", hint=START_HINT)


def _first(line: collections.deque[asyncio.Future[_Place]]) -> asyncio.Future[_Place] | None:
    """Take out the first that still waits."""
    while line:
        waiter = line.popleft()
        if not waiter.done():
            return waiter
    return None


def _check_size(spec: GuestSpec, message: dict[str, Any]) -> None:
    size = len(spec.request_json.encode()) + len(message.get("sources", "").encode()) + len(message.get("data", ""))
    if size > MAX_REQUEST_BYTES:
        raise GuestError(
            f"the files and the input of {spec.entry} have {size} bytes, but at most {MAX_REQUEST_BYTES} can be given to a guest",
            code="guest.request", hint="pass large values as files, and keep large data and what is not imported out of the bundle",
        )  # fmt: skip
