"""One worker process as the pool sees it: its socket, the guests in it, and its end."""

from __future__ import annotations

import asyncio
import functools
import os
from typing import TYPE_CHECKING, Any, cast

from runloop.errors import RunloopError, Unavailable
from runloop.sandbox import frames
from runloop.sandbox.job import GivenBack, Job, at_once
from runloop.sandbox.spec import Answer, GuestResult
from runloop.sandbox.tape import pack
from runloop.sandbox.world import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.sandbox.starting import Started

READY_S = 30.0
START_HINT = "look at the load and the memory of the machine, and at its limits (`ulimit -a`); then try again"
_AHEAD_MS = 12.0
"""For about so long the guests that wait in a worker keep it at work, so that it never waits for the next and nobody waits for long."""
_LEAST_AHEAD, _MOST_AHEAD = 2, 30
_FIRST_PACE_MS = 2.0
_NEWEST = 1 / 8
"""What the newest guest counts of the pace."""
TRIAL_MS = 50
"""So much of a processor a guest on trial may take before it is heard of."""
_HOGGED_S = 0.5
"""A worker in which for so long no guest has begun or ended takes one more, on trial."""


class StartFailed(Unavailable):
    """A worker process was started, and never came to take a guest."""

    code = "worker.start"


class Peer(asyncio.Protocol):
    """The parent side of one worker."""

    def __init__(self, started: Started, threads: int, on_idle: Callable[[], None], on_lost: Callable[[Peer], None]) -> None:
        self.threads = threads
        self.jobs: dict[int, Job] = {}
        self.reserved = 0
        self.trying = False
        """Whether a guest is on trial, or about to be."""
        self.lost = False
        self.stuck = False
        """Whether it gave guests back since the last one ended: those that run there take long."""
        self.cause = ""
        """Why the worker is gone, as far as it is known."""
        self.confinement: Mapping[str, Any] = {}
        self._process = started.process
        self._errors = started.errors
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._frames = frames.from_worker()
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reaped: asyncio.Task[None] | None = None
        self._waiting = 0
        self._on_trial = 0
        self._moved_at = 0.0
        """When a guest last began here or ended, but for those that began on trial: they are beside those that wait in line."""
        self._pace_ms = _FIRST_PACE_MS
        self._ahead = int(_AHEAD_MS / _FIRST_PACE_MS)
        self._unsent: list[bytes] = []

    @classmethod
    async def of(
        cls, started: Started, threads: int, *, on_idle: Callable[[], None], on_lost: Callable[[Peer], None], ready_s: float = READY_S
    ) -> Peer:
        """Take up a worker and wait until it has given up its privileges, for ``ready_s`` at most."""
        peer = cls(started, threads, on_idle, on_lost)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: peer, sock=started.channel)
            async with asyncio.timeout(ready_s):
                await peer.ready
        except TimeoutError:
            await peer.close()
            raise StartFailed("an agent worker did not start in time", hint=START_HINT) from None
        except BaseException:
            await peer.close()
            raise
        return peer

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    @property
    def busy(self) -> int:
        """Guests that run or are about to; those that wait for a hostcall, or are on trial, do not count."""
        return len(self.jobs) - self._waiting + self.reserved - self._on_trial

    @property
    def places(self) -> int:
        """How many guests may be :attr:`busy`: those that run, and what the latest ones would do ahead in some milliseconds."""
        return self.threads if self.stuck else self.threads + self._ahead

    def is_hogged(self, now: float) -> bool:
        """Whether those that are here take long, computing or asking, so that one more had better be tried."""
        return not self.trying and now - self._moved_at > _HOGGED_S

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        """Handle what the worker says; a worker that does not speak our frames is killed."""
        try:
            for schema, payload in self._frames.feed(data):
                self._handle(schema, payload)
        except Exception:  # noqa: BLE001 - whatever a worker sends, this process goes on
            self.kill()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the guests that were in the worker, and let the pool replace it."""
        self._process.kill()
        self.lost = True
        last = self._last_words()
        self.cause = self.cause or last or "the process died without a word (killed, or out of memory)"
        for job in list(self.jobs.values()):
            if job.ahead:
                job.give_back()
            job.fail("worker.crashed", "the worker process died while the agent ran" + (f": {last}" if last else ""), retryable=True)
            self._drop(job)
        if not self.ready.done():
            message = f"an agent worker could not start: {last or 'it ended at once'}"
            self.ready.set_exception(StartFailed(message, hint=START_HINT))
        elif self.reaped is None:
            self.reaped = asyncio.ensure_future(self._reap())
            self._on_lost(self)

    def _last_words(self) -> str:
        size = os.fstat(self._errors).st_size
        return os.pread(self._errors, 1000, max(0, size - 1000)).decode(errors="replace").strip()

    async def _reap(self) -> None:
        await asyncio.to_thread(self._process.wait)
        os.close(self._errors)

    def kill(self) -> None:
        """End the worker at once; from now on no guest goes to it, though its end is only heard of later."""
        self.lost = True
        self._process.kill()

    async def close(self) -> None:
        """End the worker; its guests fail."""
        self.lost = True
        self.ready.cancel()
        self._process.kill()
        if self._transport is not None:
            self._transport.close()
        for job in list(self.jobs.values()):
            job.fail("worker.crashed", "the pool was closed", retryable=True)
            self._drop(job)
        if self.reaped is None:
            self.reaped = asyncio.ensure_future(self._reap())
        await self.reaped

    # -- guests

    def begin(self, job: Job, message: Mapping[str, Any]) -> None:
        """Send a guest to the worker; its place was reserved, by ``trying`` for a trial."""
        if job.trial:
            self._on_trial = 1
        else:
            self.reserved -= 1
            if not job.ahead:
                self._moved_at = job.clock_s()
        self.jobs[job.number] = job
        if self._transport is None or self._transport.is_closing():
            job.fail("worker.crashed", "the worker process died before the agent ran", retryable=True)
            self._drop(job)
            return
        payload = {"run": job.number, **message}
        if job.trial:
            payload["trial_ms"] = TRIAL_MS
        self._send(frames.encode(frames.RUN, payload))
        self._feed(job)

    def _send(self, data: bytes) -> None:
        """Send at the end of this turn of the loop, together with what else begins in it: each write wakes the worker."""
        self._unsent.append(data)
        if len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def stop(self, job: Job, code: str, message: str) -> None:
        """Ask the worker to stop a guest."""
        if job.asking is not None:
            job.asking.cancel()
        if self._transport is not None:
            self._send(frames.encode(frames.CONTROL, {"verb": "stop", "run": job.number, "code": code, "message": message}))

    def _end_trial(self, job: Job) -> None:
        job.trial = self.trying = False
        self._on_trial = 0

    def _drop(self, job: Job) -> None:
        if self.jobs.pop(job.number, None) is None:
            return
        if job.trial:
            self._end_trial(job)
        if job.asked_at is not None:
            job.asked_at = None
            self._waiting -= 1
        if job.asking is not None:
            job.asking.cancel()
            job.asking = None  # how it was stopped leads back to here: the whole run would wait for the collector
        job.gone.set()
        self._on_idle()

    def _handle(self, schema: int, payload: dict[str, Any]) -> None:
        if schema == frames.CONTROL and payload["verb"] == "ready":
            self.confinement = {key: value for key, value in payload.items() if key != "verb"}
            if not self.ready.done():
                self.ready.set_result(None)
            return
        job = self.jobs.get(payload["run"])
        if job is None:
            return
        if job.comparing:
            job.hold(schema, payload)
        else:
            self._heard(job, schema, payload)

    def _heard(self, job: Job, schema: int, payload: dict[str, Any]) -> None:
        if schema == frames.ENDED:
            self._finish(job, payload)
        elif schema == frames.CONTROL:
            job.compiled()
        elif schema == frames.HOSTCALL and not job.ended.done():
            if job.ahead:
                job.ahead, self._moved_at = False, job.clock_s()
            if job.trial:
                self._end_trial(job)
            if "taped" in payload:
                self._compare(job, payload["taped"])
            else:
                self._ask(job, payload["call"], payload["name"], payload["args"])

    def _ask(self, job: Job, call: int, name: str, args: str) -> None:
        if job.asked_at is not None:
            return
        if name not in NAMES or type(args) is not str:
            raise ValueError(f"a worker asked for {name!r}")
        job.feed.ask(name)
        job.asked_at = job.clock_s()
        self._waiting += 1
        job.asking = asyncio.ensure_future(self._answer(job, call, name, args))
        self._on_idle()

    async def _answer(self, job: Job, call: int, name: str, args: str) -> None:
        try:
            answer = await job.hostcall(name, args)
            data = frames.encode(frames.ANSWER, {"run": job.number, "call": call, **pack(answer)})
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it comes out of WorkerPool.run, where the caller is
            job.fail_with(error)
            del job  # the error knows this frame, and the job the error
            return
        if job.asked_at is not None and self._transport is not None and job.number in self.jobs:
            job.answered_at = job.clock_s()
            job.waited_s += job.answered_at - job.asked_at
            job.asked_at = None
            self._waiting -= 1
            self._send(data)

    def _compare(self, job: Job, calls: list[list[str]]) -> None:
        """Let the handler compare calls that the worker has answered from the tape, in order; its answers are of no use."""
        began = job.clock_s()
        for at, (name, args) in enumerate(calls):
            if type(args) is not str:
                raise ValueError(f"a worker told of {name!r} without its arguments")
            job.feed.tell(name)
            try:
                compared = at_once(job.hostcall(name, args))
            except BaseException as error:  # noqa: BLE001 - as in _answer
                job.fail_with(error)
                return
            if not isinstance(compared, Answer):
                job.comparing = True
                job.asking = asyncio.ensure_future(compared)
                job.asking.add_done_callback(functools.partial(self._compared, job, calls[at + 1 :], began))
                return
            job.feed.compared()
        job.waited_s += job.clock_s() - began
        self._feed(job)

    def _compared(self, job: Job, left: list[list[str]], began: float, done: asyncio.Future[Answer]) -> None:
        """Go on where the handler waited, then with what the worker said meanwhile."""
        if not done.cancelled() and (error := done.exception()) is not None:
            job.fail_with(error)
        job.feed.compared()
        job.waited_s += job.clock_s() - began
        job.asking = None
        try:
            for schema, payload in job.release({"run": job.number, "taped": left}):
                self._handle(schema, payload)
        except Exception:  # noqa: BLE001 - as in data_received
            self.kill()

    def _feed(self, job: Job) -> None:
        """Send the worker the recorded answers that it may have now."""
        if self._transport is None:
            return
        try:
            for chunk in job.feed.chunks():
                self._send(frames.encode(frames.ANSWER, {"run": job.number, "tape": chunk}))
        except RunloopError as error:
            job.fail_with(error)

    def _finish(self, job: Job, payload: dict[str, Any]) -> None:
        returned = payload.get("Returned")
        if returned is None:
            self.stuck = self.stuck and job.trial
            if not job.beside:
                self._moved_at = job.clock_s()
        elif returned["long"]:
            if not job.trial:
                raise ValueError("a worker gave a guest back that was not on trial")
            job.give_back(GivenBack.LONG)
        else:
            self.stuck = True
            job.give_back()
        if not job.ended.done():
            if "Completed" in payload:
                done = payload["Completed"]
                self._pace_ms += (max(done["running_ms"], 0.01) - self._pace_ms) * _NEWEST
                self._ahead = min(_MOST_AHEAD, max(_LEAST_AHEAD, int(_AHEAD_MS / self._pace_ms)))
                job.ended.set_result(
                    GuestResult(done["result"], done["running_ms"], done["waiting_ms"], done["hostcalls"], done["output_bytes"], self.pid)
                )
            else:
                failed = payload["Failed"]
                job.fail(failed["code"], failed["reason"], retryable=failed["retryable"], said=failed["said"])
        self._drop(job)
