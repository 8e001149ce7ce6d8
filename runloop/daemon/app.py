"""The daemon's life: everything opened in order, ready said once all of it is, drained and closed."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop import __version__
from runloop.bus.errors import AlreadyRunning
from runloop.bus.limits import BusLimits
from runloop.bus.listen import Listener, activated, listen
from runloop.bus.publishing import Own
from runloop.bus.server import BusServer
from runloop.bus.token import ensure_token
from runloop.config import ensure
from runloop.daemon import metrics, overview
from runloop.daemon.catching_up import catch_up
from runloop.daemon.changing import Changing
from runloop.daemon.control import TOPIC, Control
from runloop.daemon.embedding import Embedding
from runloop.daemon.feed import RunFeed, run_topic
from runloop.daemon.hosting import Hosting
from runloop.daemon.library import Library, WithWorkdir
from runloop.daemon.logs import Log, logger
from runloop.daemon.natives import HELLO_TOPIC, Natives
from runloop.daemon.people import People
from runloop.daemon.reachable import Reachable
from runloop.daemon.reloading import Reloading
from runloop.daemon.room import full
from runloop.daemon.submitting import Submitting
from runloop.daemon.traces.exporting import Exporting
from runloop.daemon.watching import Watcher
from runloop.dataclass import dataclass
from runloop.effects import catalogue
from runloop.errors import RunloopError, VerificationFailed
from runloop.runs.clock import clock_ms, since_boot_ms
from runloop.runs.compose import Session, session
from runloop.runs.errors import OF_ANOTHER
from runloop.runs.results import RunHalted
from runloop.runs.unfinished import Unfinished, unfinished_runs
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.config import Settings
    from runloop.daemon.notify import Notifier
    from runloop.events import RunIdentity, StoredEvent
    from runloop.kb import KnowledgeBase
    from runloop.kb.errors import LedgerFull
    from runloop.runs.run import Run
    from runloop.runs.services import Lookup
    from runloop.sandbox.starting import Started

STATE_TOPIC = "rlp/sys/state"
METRICS_TOPIC = "rlp/sys/metrics"
APPROVALS_TOPIC = "action.request"
_HELLO = "observation.runtime.hello.v1"
_METRICS = "observation.metrics.snapshot.v1"
_ASKED = "intent.action.request.v1"
_TROUBLE = "error.report.v1"
_STOP_S = 10.0
"""What the end takes after the grace of nodes that work."""
_PART_S = 120.0
"""What systemd waits for the next word of a start that goes on: where another process makes the tables, this one uses no processor."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the daemon was started. ``load`` reads the settings, again at every reload; ``group`` shares the socket with a group.

    ``workers`` run already, for the pool to take.
    """

    load: Callable[[], Settings]
    system: bool = False
    group: int | None = None
    workers: list[Started] = field(default_factory=list)


class _Bus(BusServer):
    """The bus, which a run does not fail by."""

    stalled: Callable[[], bool]

    def late(self, within_s: float) -> RunloopError:
        """As the bus does, but for what waits for room on the disk: that happens all the same, later."""
        return full("what was asked for happens") if self.stalled() else super().late(within_s)

    def publish_own(self, topic: str, frames: Sequence[Own]) -> None:
        """As the bus does; the records are in the ledger before: that copies cannot be sent must not stop the run."""
        try:
            super().publish_own(topic, frames)
        except RunloopError as error:
            logger().error("a record cannot be published", code=error.code, why=error.message)


def _limits(settings: Settings) -> BusLimits:
    """Connections take at most half of the files that this process may open: the ledger, agents and openings need theirs."""
    connections = min(BusLimits().connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    return BusLimits(connections=connections, waiting_bytes=settings.get("runtime.max_waiting_bytes"))


class Daemon:
    """One daemon. :meth:`run` is its whole life and returns when it has stopped."""

    def __init__(self, settings: Settings, options: Options, log: Log, notifier: Notifier) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.options = options
        self._log = log
        self._notifier = notifier
        self._state = "starting"
        self.started_ms = clock_ms()
        self._began = since_boot_ms()
        self._stopping: asyncio.Event = asyncio.Event()
        self._hurry: asyncio.Event = asyncio.Event()
        self._grace_ms: int | None = None
        self.session: Session
        self._listeners: list[Listener] = []
        self.bus: _Bus
        self.hosting: Hosting
        self.submitting: Submitting
        self.changing: Changing
        self.people: People
        self.natives: Natives
        self.traces: Exporting
        self.library = Library(settings, clock_ms)
        self.counters = metrics.RunCounters()
        self.reloading = Reloading(self, options.load, log, notifier)
        self.reachable = Reachable(self, log)
        self.guest = "unknown"
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def kb(self) -> KnowledgeBase:
        """The knowledge base."""
        return self.session.kb

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Start, serve until told to stop, drain, close. Raises what keeps it from starting."""
        log = logger()
        async with AsyncExitStack() as stack:
            started = stack.enter_context(self._notifier.starting())
            self._listen(stack)
            token = ensure_token(self.settings.directories.token)
            self._log.hide(token)
            loading = asyncio.create_task(asyncio.to_thread(self.library.rescan))  # while the workers start
            self.session = await stack.enter_async_context(
                session(self.settings, self._make_people(), lookup=self.library, on_stall=self._stalled, started=self.options.workers)
            )
            self._log.mask(self.kb.redactor)
            await loading
            self._compose(token)
            for watcher in self.reloading.watch():
                stack.push_async_callback(watcher.close)
            self._on_signals()
            left = await self._take_over()
            await self.bus.start(*self._listeners)
            self._tell(0, 0)
            stack.push_async_callback(self.bus.close)
            self.reachable.watch()
            stack.push_async_callback(self.reachable.close)
            stack.push_async_callback(self._watch_grants().close)
            self.traces.start()
            stack.push_async_callback(self.traces.close)
            vectors = Embedding(self.kb, lambda: self.settings)
            works = (
                self._publish_metrics(),
                self._watchdog(),
                self._prepare_guest(),
                self._tidy(left),
                vectors.run(),
                self.reachable.patrol(),
            )
            background = [self.keep(work) for work in works]
            stack.push_async_callback(end_tasks, *background)
            started()
            self._ready()
            await self._stopping.wait()
            await self._drain()
        log.info("stopped", pid=self.pid)

    def stop(self, why: str, *, grace_ms: int | None = None) -> None:
        """Begin to stop; a second time ends the grace."""
        if self._stopping.is_set():
            self._hurry.set()
            return
        logger().info("stopping", why=why)
        self._grace_ms = grace_ms
        self._stopping.set()

    def _listen(self, stack: AsyncExitStack) -> None:
        """Take the sockets, before anything else: what is told of a start is told there, and they are one daemon's alone.

        One of two is enough: the runtime directory may be another user's (``su``), or the state directory's name too long for a socket.
        The machine's daemon needs both: one is for its group, the other keeps a second daemon from its state.
        """
        for given in activated(os.environ):
            self._listeners.append(given)
            stack.callback(given.close)
        taken = {os.path.realpath(given.path) for given in self._listeners if given.path is not None}
        refused: list[tuple[Path, RunloopError]] = []
        for path in self.settings.sockets:
            if os.path.realpath(path) in taken:  # one directory may have two names
                continue
            try:
                alone = self.options.system and path.is_relative_to(self.settings.base.state)
                if alone or not self.options.system:
                    ensure(path.parent)
                listener = listen(path, group=None if alone else self.options.group)
            except AlreadyRunning:
                raise
            except RunloopError as error:
                refused.append((path, error))
            else:
                self._listeners.append(listener)
                stack.callback(listener.close)
                taken.add(os.path.realpath(path))
        if refused and (self.options.system or not self._listeners):
            raise refused[0][1]
        for path, why in refused:
            said = "one of two sockets cannot be made; the other one serves"
            logger().warning(said, socket=str(path), code=why.code, why=why.message, hint=why.hint)

    def _tell(self, done: int, of: int) -> None:
        for listener in self._listeners:
            listener.tell(done, of)

    def _make_people(self) -> People:
        self.people = People(
            self._announce, self._root_of, self._event, self.settings.get("security.approval_wait_ms"), unreadable=self._unreadable
        )
        return self.people

    def _watch_grants(self) -> Watcher:
        """Hear of the grants that other processes give, and gave while there was no daemon."""
        watcher = Watcher(lambda _paths: self.session.manager.services.grants.look(), self._unwatched, recursive=False)
        watcher.watch([self.settings.base.state])
        return watcher

    def _unwatched(self, error: Exception) -> None:
        logger().error("grants that other processes give are not heard by parked runs: their file is not watched", why=str(error))

    def _unreadable(self, approval_id: str, error: RunloopError) -> None:
        logger().error("what waits for a person cannot be read", approval_id=approval_id, code=error.code, why=error.message)

    def _stalled(self, full: LedgerFull | None) -> None:
        """A full disk holds every run where it is, or there is room again."""
        if full is None:
            logger().info("there is room on the disk again: runs go on")
        else:
            logger().error("the disk is full: runs wait for room, nothing is lost", code=full.code, why=full.message, hint=full.hint)
        if self._state != "starting":
            state = {"v": 1, "state": self.state, "pid": self.pid, "version": __version__}
            self.bus.publish(STATE_TOPIC, _HELLO, state if full is None else {**state, "error": full.to_dict()})

    @property
    def state(self) -> str:
        """``starting``, ``ready``, ``stalled`` (a full disk holds the runs) or ``draining``."""
        return "stalled" if self._state == "ready" and self.kb.ledger.stalled else self._state

    def _event(self, event_id: int) -> StoredEvent:
        """One event of the ledger, blobs loaded."""
        event = self.kb.ledger.get(event_id)
        if event is None:
            raise VerificationFailed(f"event {event_id} is not in the ledger", code="kb.event_missing", hint="run `rlp kb verify`")
        return self.kb.ledger.full(event)

    def _lookup_of(self, workdir: str | None) -> Lookup | None:
        return None if workdir is None else WithWorkdir(self.library, Path(workdir))

    def _compose(self, token: str) -> None:
        feed = self._feed = RunFeed(self.kb)
        self.bus = _Bus(
            limits=_limits(self.settings), token=token, ledger=feed, any_uid=self.options.group is not None, on_error=self._handler_broke
        )
        feed.bus = self.bus
        self.bus.before_flush = feed.flush
        self.bus.on_request(TOPIC, Control(self).handle, answered=True)
        self.natives = Natives(self.bus.broker)
        self.bus.on_request(HELLO_TOPIC, self.natives.hello)
        manager = self.session.manager
        manager.watchers += [feed.take, self.counters.take, self.people.take, self._note]
        self.session.pool.watchers.append(_worker_lost)
        self.hosting = Hosting(
            manager,
            self.kb,
            self.people,
            self.settings.get("runtime.max_runs"),
            self.settings.get("runtime.max_queued_runs"),
            clock_ms,
            self._stranded,
            self._lookup_of,
            self._not_recovered,
            self._feed.put_away,
        )
        manager.services.grants.told.add(self.hosting.granted)
        self.bus.stalled = self.hosting.stalled
        self.traces = Exporting(self.kb, self.settings)
        self.submitting = Submitting(self.hosting, self.reloading.rescan)
        self.changing = Changing(self.hosting, self.submitting)

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self.reloading.soon, "SIGHUP")

    @property
    def uptime_ms(self) -> int:
        """How long it runs, by a clock that nobody sets and that goes on while the machine sleeps."""
        return since_boot_ms() - self._began

    def _ready(self) -> None:
        self._state = "ready"
        gc.freeze()  # what is here now stays: the collector need not walk it again
        path = str(self.bus.path)
        self._notifier.systemd("READY=1", f"STATUS=serving {path}")
        self._notifier.starter({"ready": True, "pid": self.pid, "socket": path})
        logger().info("ready", pid=self.pid, socket=path, ms=self.uptime_ms, **self.library.counts)
        for problem in self.library.problems():
            logger().warning("not loaded", what=problem.what, name=problem.name, code=problem.error.code, why=problem.error.message)

    async def _drain(self) -> None:
        self._state = "draining"
        grace_ms = self.settings.get("runtime.drain_grace_ms") if self._grace_ms is None else self._grace_ms
        self._notifier.more_time(grace_ms / 1000 + _STOP_S, "STOPPING=1", "STATUS=draining")
        self.bus.publish(STATE_TOPIC, _HELLO, {"v": 1, "state": "draining", "pid": self.pid, "version": __version__})
        draining = asyncio.ensure_future(self.hosting.drain(grace_ms / 1000, self._hurry))
        left = await draining
        if left:
            logger().warning("runs left unfinished", runs=left)
        self._feed.flush()
        self.bus.pump()  # the last records go out before the goodbye

    async def _prepare_guest(self) -> None:
        """Have ready what runs that wait will need; above all the Python guest, where this machine has not compiled it yet."""
        self.guest = "preparing"
        try:
            await self.session.pool.prepare()
        except RunloopError as error:
            self.guest = f"not prepared: {error.message}"
            logger().error("the Python guest cannot be prepared", code=error.code, why=error.message)
        else:
            self.guest = "ready"
        if self.hosting.roster.parking.stubs:  # the first answer goes as fast as the next
            await asyncio.to_thread(catalogue.prepare)

    async def _take_over(self) -> list[Unfinished]:
        """Go on with the runs that a process which is gone has left: nobody is told that they are unfinished. All that have no end."""
        owner = self.session.owner
        try:
            await asyncio.to_thread(catch_up, self.kb, self._tell, self._catching_up)
            found = await asyncio.to_thread(lambda: list(unfinished_runs(self.kb)))
            going, waiting = self.hosting.take_over(each for each in found if not owner.alive(each.owner))
        except RunloopError as error:
            logger().error("unfinished runs cannot be read", code=error.code, why=error.message)
            return []
        if found:
            logger().info("runs taken over", going=going, waiting=waiting, of_others=len(found) - going - waiting)
        return found

    def _catching_up(self, at: int, newest: int) -> None:
        """Tell systemd and the log."""
        logger().info("the derived tables are brought up to the ledger", at=at, of=newest)
        self._notifier.doing = f"bringing the derived tables up to the ledger: {at * 100 // newest} %"
        self._notifier.more_time(_PART_S, f"STATUS={self._notifier.doing}")

    async def _tidy(self, unfinished: list[Unfinished]) -> None:
        """Forget what no run needs any more."""
        await asyncio.to_thread(self.session.forget_guests, unfinished)

    def _not_recovered(self, identity: RunIdentity, error: RunloopError) -> None:
        """A run stays unfinished, or is another process's: who follows it is told, the log says why."""
        about = {"trace_id": identity.trace_id, "run_id": identity.run_id, "code": error.code, "why": error.message}
        if error.code in OF_ANOTHER:
            logger().info("a run is left to another process", **about)
        else:
            logger().error("a run cannot be taken up", **about)
        shown = {"run_id": identity.run_id, "error": {**error.to_dict(), "retryable": False}}
        self.bus.publish(run_topic(identity.run_id), _TROUBLE, shown)

    async def _watchdog(self) -> None:
        """Tell systemd that the loop turns, twice in the time that it allows."""
        if self._notifier.watchdog_s is not None:
            while True:
                self._notifier.systemd("WATCHDOG=1")
                await asyncio.sleep(self._notifier.watchdog_s / 2)

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _announce(self, shown: dict[str, Any]) -> None:
        self.bus.publish(APPROVALS_TOPIC, _ASKED, {"v": 1, **shown})
        if shown["state"] == "open":
            logger().info("waiting for a person", trace_id=f"trace:{shown['root_run_id']}", approval_id=shown["approval_id"])

    def _root_of(self, run_id: str) -> str:
        found = next((run for run in self.session.manager.active if run.run_id == run_id), None)
        while found is not None and found.parent is not None:
            found = found.parent
        return run_id if found is None else found.run_id

    def _note(self, record: Mapping[str, Any]) -> None:
        """Runs in the log: their ends for everybody, the rest for those who look closely."""
        kind = record["kind"]
        if not kind.startswith("run.") or not self._log.wants("info" if kind == "run.finished" else "debug"):
            return
        about = {"trace_id": record["trace_id"], "run_id": record["run_id"], "opening": record["opening_name"]}
        if kind == "run.finished":
            meta = record["meta"]
            logger().info(kind, **about, status=meta["status"], ms=meta["ms"], code=(meta.get("error") or {}).get("code"))
        else:
            logger().debug(kind, **about)

    def _stranded(self, run: Run, error: BaseException) -> None:
        """A run stopped without an end: who follows it is told on its topic, since no record will say so."""
        halted = isinstance(error, RunHalted)
        message = "the daemon stopped; the run is unfinished in the ledger" if halted else f"the run broke off: {error}"
        code = "daemon.stopped" if halted else getattr(error, "code", "run.broke")
        short = run.run_id[:8]
        hint = f"after `rlp up` it goes on, and `rlp attach {short}` follows it; `rlp resume {short}` goes on without a daemon"
        if not halted:
            hint = f"`rlp resume {short}` goes on with it once that is repaired"
            logger().error("a run broke off", trace_id=run.recorder.identity.trace_id, run_id=run.run_id, why=str(error), exc_info=error)
        self._feed.flush()  # its records come before
        shown = {"run_id": run.run_id, "error": {"code": code, "message": message, "hint": hint, "retryable": halted}}
        self.bus.publish(run_topic(run.run_id), _TROUBLE, shown)
        self._feed.ended(run.run_id)

    def _handler_broke(self, error: BaseException, topic: str) -> None:
        logger().error("a request could not be answered", topic=topic, exc_info=error)

    def keep(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that nobody waits for; what breaks in it is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("something in the background broke", why=str(error), exc_info=error)

    async def _publish_metrics(self) -> None:
        """A snapshot each interval; the interval may change while it runs."""
        while True:
            interval_ms = self.settings.get("observability.metrics_interval_ms")
            await asyncio.sleep(interval_ms / 1000)
            ttl_ms = max(2 * interval_ms, interval_ms + 250)
            self.bus.publish(METRICS_TOPIC, _METRICS, overview.snapshot(self), ttl_ms=ttl_ms)
            for topic, snapshot in self.natives.snapshots(clock_ms(), interval_ms):
                self.bus.publish(topic, _METRICS, snapshot, ttl_ms=ttl_ms)


def _worker_lost(pid: int, cause: str) -> None:
    logger().warning("a worker was lost: another one takes its place", worker=pid, why=cause)
