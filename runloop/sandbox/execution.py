"""The state of one guest while it runs: its virtual clock and randomness, its counters, and the reason why it must stop."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import blake3

from runloop.sandbox.jsontext import BadJson, check
from runloop.sandbox.said import Said
from runloop.sandbox.spec import MAX_REQUEST_BYTES, Answer, CallError, Limits
from runloop.sandbox.world import LIVE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.sandbox.command import Command

RETURNED = "guest.returned"
"""Why a guest stops that is to begin once more, as if it had never run."""
CALL_OVERHEAD_BYTES = 64
"""What each emit call costs of ``output_bytes`` beside its text, so that empty lines are bounded too."""

_STOOD_STILL_S = 5.0
"""A guest that runs is looked at every 10 ms: where so much passed between two looks, the worker was stopped or frozen."""


class Stopped(Exception):  # noqa: N818 - named for what happened
    """Unwinds a guest: raised inside a host callback, never visible to the guest."""


class Execution:
    """One guest's run on one thread; ``stop`` may be called from any thread."""

    def __init__(
        self, limits: Limits, seed: bytes, start_ms: int, ask: Callable[[str, str], Answer], *, outer: Execution | None = None
    ) -> None:
        """``ask(name, args_json)`` blocks for the answer, or raises Stopped; what stops ``outer`` stops this too."""
        self._outer = outer
        self.limits = limits
        self.hostcalls = 0
        self.output_bytes = 0
        self.waited_s = 0.0
        self.said = Said(self.log)
        self.waits: dict[int, int] = {}
        """What a component waits for, by number: until when, in nanoseconds of its virtual monotonic time."""
        self.start_ms = start_ms
        self.command: Command | None = None
        self._ask = ask
        self._seed = seed
        self._random_at = 0
        self._start_us = self._now_us = start_ms * 1000
        self._began = self._looked = time.monotonic()
        self._reason: tuple[str, str] | None = None
        self._unwound = False
        self._lock = threading.Lock()
        self.closing: list[Callable[[], object]] = []
        """What :meth:`close` is to do."""
        self.at_tick: Callable[[], None] | None = None
        """Called every 10 ms of the guest's running, on its thread."""

    def close(self) -> None:
        """Drop what the guest left behind."""
        while self.closing:
            self.closing.pop()()

    def begin(self) -> None:
        """Start the count of running time: loading and compiling are not the guest's."""
        self._began = self._looked = time.monotonic()
        self._began_cpu = time.thread_time()

    # -- stopping

    @property
    def reason(self) -> tuple[str, str] | None:
        """Why the guest must stop: code and message; the first reason stays."""
        return self._reason

    def stop(self, code: str, message: str) -> None:
        """Ask the guest to stop; it does so at its next tick or hostcall."""
        with self._lock:
            if self._reason is None:
                self._reason = (code, message)

    def halt(self, code: str, message: str) -> Stopped:
        """Stop, from inside a host callback: ``raise execution.halt(...)``."""
        self.stop(code, message)
        return Stopped(code)

    @property
    def ran_s(self) -> float:
        """Seconds in which the guest itself ran."""
        return time.monotonic() - self._began - self.waited_s

    @property
    def computed_s(self) -> float:
        """Seconds of processor that the guest took; only on the thread that runs it."""
        return time.thread_time() - self._began_cpu

    def must_stop(self) -> bool:
        """Look at the clock; called every 10 ms of the guest's running."""
        if self.at_tick is not None:
            self.at_tick()
        if self._outer is not None and self._outer.reason is not None:
            self.stop(*self._outer.reason)
        before, self._looked = self._looked, time.monotonic()
        if self._looked - before >= _STOOD_STILL_S:
            self.waited_s += self._looked - before
        if self._reason is None and self.ran_s * 1000 > self.limits.wall_ms:
            self.stop("guest.timeout", f"the agent ran for more than {self.limits.wall_ms} ms")
        return self._reason is not None

    # -- virtual clock and randomness

    def now_us(self) -> int:
        """Virtual Unix time; every look moves it by 1 µs, so that no loop on the clock stands still."""
        self._now_us += 1
        return self._now_us

    def elapsed_ns(self) -> int:
        """Virtual monotonic time."""
        return (self.now_us() - self._start_us) * 1000

    def move_clock(self, now_ms: int) -> None:
        """Move the clock forward to the time of an answer."""
        self._now_us = max(self._now_us, now_ms * 1000)

    def random_bytes(self, count: int) -> bytes:
        """Give the next bytes of the run's stream: BLAKE3 of the seed, read on."""
        drawn = blake3.blake3(self._seed).digest(count, seek=self._random_at)
        self._random_at += count
        return drawn

    # -- output and calls

    def write(self, count: int) -> None:
        """Count output; raises Stopped beyond the limit."""
        self.output_bytes += count
        if self.output_bytes > self.limits.output_bytes:
            raise self.halt("guest.output", f"the agent put out more than {self.limits.output_bytes} bytes")

    def log(self, level: str, text: str) -> None:
        """Put a line into the run's log; raises Stopped when the guest must unwind."""
        self.call("emit.log", json.dumps({"level": level, "text": text}))

    def last_words(self) -> None:
        """Log what a guest that was stopped, or crashed, had begun to say; nothing more can come of it."""
        self._unwound = self._reason is not None and self._reason[0] != RETURNED
        with suppress(Stopped):
            self.said.finish()

    def sleep(self, wait_ns: int) -> CallError | None:
        """Wait, rounded up to milliseconds; why it may not, if it may not. Raises Stopped when the guest must unwind."""
        answer = self.call("timer.sleep", f'{{"ms":{-(-wait_ns // 1_000_000)}}}')
        return answer if isinstance(answer, CallError) else None

    def call(self, name: str, args_json: str) -> str | CallError:
        """Make one hostcall; raises Stopped when the guest must unwind."""
        if self._reason is not None and not self._unwound:
            raise Stopped(self._reason[0])
        if name in LIVE_NAMES:
            self.write(len(args_json) + CALL_OVERHEAD_BYTES)
        else:
            self.hostcalls += 1
            if self.hostcalls > self.limits.hostcalls:
                raise self.halt("guest.hostcalls", f"the agent made more than {self.limits.hostcalls} hostcalls")
        refused = _refused(args_json)
        if refused is not None:
            return refused
        began = time.monotonic()
        try:
            answer = self._ask(name, args_json)
        finally:
            self._looked = time.monotonic()
            self.waited_s += self._looked - began
        self.move_clock(answer.now_ms)
        return answer.value


def _refused(args_json: str) -> CallError | None:
    """Refuse a request that would trouble those behind the boundary."""
    if len(args_json) > MAX_REQUEST_BYTES or (not args_json.isascii() and len(args_json.encode()) > MAX_REQUEST_BYTES):
        return CallError("invalid", f"the request is larger than {MAX_REQUEST_BYTES} bytes", "send less at once")
    try:
        value: Any = check(args_json)
    except BadJson as wrong:
        return CallError("invalid", f"the request cannot be used: {wrong}")
    if type(value) is not dict:
        return CallError("invalid", "the request is not a JSON object")
    return None


_running = threading.local()


def current() -> Execution:
    """Give the execution of this thread; guests call back on the thread that runs them."""
    execution: Execution | None = getattr(_running, "execution", None)
    if execution is None:
        raise RuntimeError("no guest runs on this thread")
    return execution


def enter(execution: Execution | None) -> None:
    """Set the execution of this thread."""
    _running.execution = execution
