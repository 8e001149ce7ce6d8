"""One guest as the pool sees it: who answers its calls, how long it may run, and how it ended."""

from __future__ import annotations

import asyncio
import time
import types
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.sandbox import frames
from runloop.sandbox.remedies import hint_of, place_of
from runloop.sandbox.spec import Answer, GuestError, GuestResult, Hostcall
from runloop.sandbox.tape import Feed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

_MAX_HELD = 64 << 20
"""A window of taped calls is far less, but for calls of megabytes whose handler waits, which a record never does."""


class GivenBack(Enum):
    """Why a guest left its worker as if it had never been there: it did not begin, or its trial was too short for it."""

    QUEUED = "queued"
    LONG = "long"


@dataclass(slots=True)
class Job:
    """One guest in a worker, from the pool's side."""

    number: int
    hostcall: Hostcall
    wall_s: float
    ended: asyncio.Future[GuestResult | GivenBack]
    trial: bool = False
    """Whether it has the worker's place for trials; it is given back where it takes long and nothing was heard of it."""
    ahead: bool = False
    """Whether it was sent to wait in the worker, and has not been heard of since."""
    feed: Feed = field(default_factory=Feed)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    clock_s: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    beside: bool = field(init=False)
    """Whether it began on trial, beside those that wait in line."""
    own: bool = False
    """Whether the time of compiling its files is over, and known."""
    waited_s: float = 0.0
    asked_at: float | None = None
    answered_at: float = 0.0
    asking: asyncio.Future[Any] | None = None
    comparing: bool = False
    """Whether the handler waits while it compares a taped call; meanwhile what the worker says is held."""
    _held: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _held_size: int = 0

    def __post_init__(self) -> None:
        self.began = self.clock_s()
        self.beside = self.trial

    def overdue(self, now: float, grace_s: float) -> bool:
        """Tell whether the guest has run longer than its limit and some grace."""
        return self.asked_at is None and not self.comparing and now - self.began - self.waited_s > self.wall_s + grace_s

    def compiled(self) -> None:
        """Its files were compiled, which is none of its own time: that begins now. Raises ValueError where that is said twice."""
        if self.own:
            raise ValueError("a worker compiled the files of a guest twice")
        self.own, self.began = True, self.clock_s()

    def hold(self, schema: int, payload: dict[str, Any]) -> None:
        """Keep what the worker says until the handler has compared; raises ValueError when it is too much."""
        self._held_size += len(str(payload))
        if self._held_size > _MAX_HELD:
            raise ValueError(f"a worker said more than {_MAX_HELD} characters ahead")
        self._held.append((schema, payload))

    def release(self, rest: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
        """Give back what was held, after the calls that are left to be compared."""
        held, self._held, self._held_size, self.comparing = self._held, [], 0, False
        return [(frames.HOSTCALL, rest), *held]

    def give_back(self, why: GivenBack = GivenBack.QUEUED) -> None:
        """Let the pool find another place for it, unless it has ended."""
        if not self.ended.done():
            self.ended.set_result(why)

    def fail(self, code: str, message: str, *, retryable: bool = False, said: str = "") -> None:
        """End with an error, unless it has ended."""
        hint = hint_of(code, message) or place_of(code, message)
        error = GuestError(message, code=code, hint=hint, retryable=retryable)
        error.said = said
        self.fail_with(error)

    def fail_with(self, error: BaseException) -> None:
        """End with what the handler raised, unless it has ended."""
        if not self.ended.done():
            self.ended.set_exception(error)


def at_once(call: Awaitable[Answer]) -> Answer | Awaitable[Answer]:
    """Run a handler to its first wait, without a task: its answer if it never waits, else the rest of it."""
    steps = call.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    return _rest(steps, waits_for)


@types.coroutine
def _rest(steps: Generator[Any, Any, Answer], waits_for: Any) -> Generator[Any, Any, Answer]:
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - it is the handler's to handle
            thrown: BaseException | None = error
        else:
            thrown = None
        try:
            waits_for = steps.send(sent) if thrown is None else steps.throw(thrown)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
