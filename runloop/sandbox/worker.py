"""The worker process: runs guests, forwards their hostcalls to the pool, and holds nothing else.

Started by the pool as ``python -m runloop.sandbox.worker FD PARENT CACHE_DIR THREADS`` with a socketpair, an empty environment and no
other files.
"""

from __future__ import annotations

import gc
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import field
from functools import partial
from typing import Any

from runloop.collecting import collect_seldom
from runloop.dataclass import dataclass
from runloop.oom import go_first
from runloop.sandbox import confine, frames, seccomp
from runloop.sandbox.crew import LOOK_S, Crew
from runloop.sandbox.execution import RETURNED, Execution, Stopped
from runloop.sandbox.guests import Guests
from runloop.sandbox.outcome import Outcome
from runloop.sandbox.spec import Answer, Limits
from runloop.sandbox.stack import THREAD_STACK_BYTES, give_back
from runloop.sandbox.tape import Player, unpack

_HOLD_S = 0.001
"""The end of a guest is not held longer than this, to go with the next."""


@dataclass(slots=True, eq=False)
class _Run:
    """One guest that is queued or running here."""

    number: int
    message: dict[str, Any]
    arrived: queue.SimpleQueue[Answer | list[dict[str, Any]] | None] = field(default_factory=queue.SimpleQueue)
    """Answers, entries of the tape, and None: the guest must stop."""
    execution: Execution | None = None
    stopped: tuple[str, str] | None = None
    calls: int = 0
    heard: bool = False
    """Whether the pool heard of it."""


class Worker:
    """Reads frames and runs guests, on at most ``threads`` threads at a time beside those that wait for answers.

    One thread reads. While no guest waits here for an answer, it runs them itself, one after the other, and looks at the socket in
    between: a guest that is done in a millisecond costs no change of threads. One that runs longer than a tick, or waits, leaves the
    reading to another thread.
    """

    def __init__(self, channel: socket.socket, threads: int) -> None:
        self._channel = channel
        self._sending = threading.Lock()  # guards what is held
        self._held: list[bytes] = []
        self._held_since = 0.0
        self._frames = frames.from_parent()
        self._readable = select.poll()
        self._readable.register(channel, select.POLLIN)
        self._reader = 0
        """The thread that reads."""
        self._begun = 0
        """Guests that have begun and not ended."""
        self._guests = Guests()
        self._runs: dict[int, _Run] = {}
        self._crew = Crew(self._work, threads)
        self._lock = threading.Lock()

    def send(self, schema: int, payload: dict[str, Any]) -> None:
        """Send one frame; the end of a guest behind which another begins at once is held for a moment, to go with the next."""
        data, now = frames.encode(schema, payload), time.monotonic()
        with self._sending:
            if not self._held:
                self._held_since = now
            self._held.append(data)
            if schema != frames.ENDED or not self._crew.behind or now - self._held_since > _HOLD_S:
                self._flush()

    def _flush(self) -> None:
        """Send what is held; when nobody reads any more, this process has no purpose."""
        held, self._held = self._held, []
        try:
            self._channel.sendall(b"".join(held))
        except OSError:
            os._exit(0)

    def serve(self) -> None:
        """Handle frames and run guests until the pool closes the socket; then the process ends."""
        self._crew.lend(self._read)
        threading.Event().wait()

    def _read(self) -> None:
        """Be the thread that reads, until :meth:`_hand_over`; without one this process has no purpose."""
        try:
            self._serve()
        except BaseException:  # noqa: BLE001 - the pool shows the last words of a worker
            traceback.print_exc()
            os._exit(1)

    def _serve(self) -> None:
        self._reader = threading.get_ident()
        while True:
            run = None if self._begun else self._crew.take()
            if run is None:
                self._crew.call()
                while self._is_busy() and not self._readable.poll(LOOK_S * 1000):
                    self._give_back(self._crew.look())
                    with self._sending:
                        self._flush()
                self._receive()
                continue
            self._work(run)
            if self._reader != threading.get_ident():
                self._crew.go_on()
                return
            self._crew.rest()
            if self._readable.poll(0):
                self._receive()

    def _receive(self) -> None:
        data = self._channel.recv(1 << 18)
        if not data:
            os._exit(0)
        for schema, payload in self._frames.feed(data):
            self._handle(schema, payload)

    def _hand_over(self) -> None:
        """If this thread reads, another one does from now on: this one's guest takes its time."""
        if self._reader == threading.get_ident():
            self._reader = 0
            self._crew.lend(self._read)

    def _is_busy(self) -> bool:
        with self._sending:
            return self._crew.behind or bool(self._held)

    def _handle(self, schema: int, payload: dict[str, Any]) -> None:
        if schema == frames.RUN:
            run = _Run(payload["run"], payload)
            self._runs[run.number] = run
            (self._crew.begin if "trial_ms" in payload else self._crew.add)(run)
            return
        run_or_none = self._runs.get(payload["run"])
        if run_or_none is None:
            return
        if schema == frames.ANSWER:
            run_or_none.arrived.put(payload["tape"] if "tape" in payload else unpack(payload))
        elif payload["verb"] == "stop":
            self._stop(run_or_none, payload["code"], payload["message"])

    def _give_back(self, runs: list[_Run]) -> None:
        """Tell the pool of guests that have not begun and will not soon; the last first, since each goes before those that wait there."""
        for run in reversed(runs):
            self._return(run, long=False)

    def _end_trial(self, run: _Run, execution: Execution) -> None:
        if not run.heard and execution.computed_s * 1000 > run.message["trial_ms"]:
            execution.stop(RETURNED, "its trial is over")

    def _return(self, run: _Run, *, long: bool) -> None:
        del self._runs[run.number]
        self.send(frames.ENDED, {"run": run.number, "Returned": {"long": long}})

    def _stop(self, run: _Run, code: str, message: str) -> None:
        if self._crew.take_out(run):
            self._end(run, Outcome.failed(code, message), 0.0, None)
            return
        with self._lock:
            run.stopped = (code, message)
            execution = run.execution
        if execution is not None:
            execution.stop(code, message)
        run.arrived.put(None)

    def _work(self, run: _Run) -> None:
        with self._lock:
            self._begun += 1
        try:
            self._perform(run)
        except BaseException as error:  # noqa: BLE001 - a thread that died would leave its run without an end
            self._end(run, Outcome.failed("guest.trap", f"the worker failed: {type(error).__name__}: {error}"), 0.0, None)
        finally:
            give_back()
            with self._lock:
                self._begun -= 1

    def _perform(self, run: _Run) -> None:
        message = run.message

        def arrived() -> Answer | list[dict[str, Any]]:
            try:
                item = run.arrived.get_nowait()
            except queue.Empty:
                self._hand_over()
                self._crew.leave()
                item = run.arrived.get()
                self._crew.come_back()
            if item is None:
                raise Stopped("the pool stopped this guest")
            return item

        def ask(name: str, args_json: str) -> Answer:
            answer = player.answer(name, args_json)
            if answer is not None:
                return answer
            call, run.calls, run.heard = run.calls, run.calls + 1, True
            self.send(frames.HOSTCALL, {"run": run.number, "call": call, "name": name, "args": args_json})
            while not isinstance(item := arrived(), Answer):
                player.take(item)
            return item

        def tell(calls: list[list[str]]) -> None:
            run.heard = True
            self.send(frames.HOSTCALL, {"run": run.number, "taped": calls})

        def more() -> list[dict[str, Any]]:
            item = arrived()
            assert not isinstance(item, Answer)  # noqa: S101 - no call waits for one
            return item

        player = Player(message["tape"], tell, more)

        began = time.monotonic()
        execution = Execution(Limits(**message["limits"]), message["seed"], message["start_ms"], ask)
        execution.at_tick = partial(self._end_trial, run, execution) if "trial_ms" in message else self._hand_over
        with self._lock:
            run.execution = execution
            stopped = run.stopped
        if stopped is not None:
            execution.stop(*stopped)
        try:
            outcome = self._guests.run(execution, message, partial(self.send, frames.CONTROL, {"verb": "compiled", "run": run.number}))
            if outcome.code is not None:
                execution.close()  # who stopped it hears that it is gone
            if outcome.code == RETURNED:
                self._return(run, long=True)
                return
            player.flush()
            self._end(run, outcome, time.monotonic() - began, execution)
        finally:
            self._guests.clear_up(execution, message, idle=not self._crew.behind)

    def _end(self, run: _Run, outcome: Outcome, took_s: float, execution: Execution | None) -> None:
        self._runs.pop(run.number, None)
        waited_s = execution.waited_s if execution else 0.0
        used = {
            "running_ms": max(took_s - waited_s, 0.0) * 1000,
            "waiting_ms": waited_s * 1000,
            "hostcalls": execution.hostcalls if execution else 0,
            "output_bytes": execution.output_bytes if execution else 0,
        }
        if outcome.code is None:
            self.send(frames.ENDED, {"run": run.number, "Completed": {"result": outcome.text, **used}})
        else:
            failed = {"retryable": False, "reason": outcome.text, "said": outcome.said, "code": outcome.code, **used}
            self.send(frames.ENDED, {"run": run.number, "Failed": failed})


def main() -> None:
    """Give up privileges, say so, and serve."""
    descriptor, parent, cache_dir, threads = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    confine.die_with_parent(parent)
    confine.stay_behind()
    go_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.stack_size(THREAD_STACK_BYTES)
    channel = socket.socket(fileno=descriptor)
    confine.limit()
    given_up = {"no_new_privileges": confine.no_new_privileges(), "landlock": confine.landlock([cache_dir]), "seccomp": seccomp.refuse()}
    gc.freeze()  # what is here now stays, and a guest leaves few cycles
    collect_seldom()
    worker = Worker(channel, threads)  # after that: threads have the privileges of the thread that starts them
    worker.send(frames.CONTROL, {"verb": "ready", "pid": os.getpid(), **given_up})
    worker.serve()


if __name__ == "__main__":
    main()
