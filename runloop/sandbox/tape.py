"""Answers ahead: a guest that is re-run is answered in its worker from the recorded answers, while the pool compares every call.

The pool sends the recorded answers at most a window ahead of the calls that it has compared; the worker answers from them in order
and tells each call, in batches, without waiting. So neither side holds more than a window, and the worker's word counts for nothing:
what it may say is checked here (:class:`Feed`), what the guest asked by the hostcall handler.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from runloop.sandbox.spec import Answer, CallError, Taped
from runloop.sandbox.world import LIVE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WINDOW_ENTRIES = 512
WINDOW_BYTES = 1 << 20
"""How far the answers may be ahead of the compared calls; one entry may always be, however large."""
CHUNK_BYTES = 1 << 18
"""Most bytes of answers in one frame; a larger answer has a frame of its own."""
BATCH_CALLS = 64
BATCH_BYTES = 1 << 16
"""Size at which the worker sends the calls it has answered."""
LIVE_AHEAD = 64
"""Of so many lines and progress reports in a row one waits for its answer, so that no guest floods the pool."""


def pack(answer: Answer) -> dict[str, Any]:
    """Give an answer the form of frames."""
    if isinstance(answer.value, CallError):
        error = answer.value
        return {"error": {"code": error.code, "message": error.message, "hint": error.hint}, "now_ms": answer.now_ms}
    return {"ok": answer.value, "now_ms": answer.now_ms}


def unpack(payload: dict[str, Any]) -> Answer:
    """Read an answer from a frame."""
    if "error" in payload:
        error = payload["error"]
        return Answer(CallError(error["code"], error["message"], error["hint"]), payload["now_ms"])
    return Answer(payload["ok"], payload["now_ms"])


def _size(entry: Taped) -> int:
    value = entry.answer.value
    return len(value) if isinstance(value, str) else len(value.message) + len(value.hint)


class Feed:
    """The pool's side of one tape: what has been sent, what has been compared, and what the worker may say next."""

    def __init__(self, tape: Sequence[Taped] = ()) -> None:
        self._tape = tape
        self._sent = 0
        self._told = 0
        self._compared = 0
        self._ahead_bytes = 0

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        """Give the entries that are to be sent now, in frames' worth; call it again when calls have been compared."""
        if self._sent - self._compared > WINDOW_ENTRIES // 2:
            return
        chunk: list[dict[str, Any]] = []
        chunk_bytes = 0
        while self._sent < len(self._tape):
            entry = self._tape[self._sent]
            size = _size(entry)
            ahead = self._sent - self._compared
            if ahead >= WINDOW_ENTRIES or (ahead and self._ahead_bytes + size > WINDOW_BYTES):
                break
            if chunk and chunk_bytes + size > CHUNK_BYTES:
                yield chunk
                chunk, chunk_bytes = [], 0
            self._sent += 1
            self._ahead_bytes += size
            chunk.append({"name": entry.name, **pack(entry.answer)})
            chunk_bytes += size
        if chunk:
            yield chunk

    def tell(self, name: str) -> None:
        """Take note of a call that the worker says it answered; raises ValueError for one that it had no answer to.

        The answer to a line or a report is always the same, so a worker has it; while there is a tape it tells of none.
        """
        if name in LIVE_NAMES and self._told == len(self._tape):
            return
        if self._told >= self._sent:
            raise ValueError(f"a worker answered {name!r} from a tape that it does not have")
        expected = self._tape[self._told].name
        if name != expected:
            raise ValueError(f"a worker answered {name!r} with the recorded answer of {expected!r}")
        self._told += 1

    def compared(self) -> None:
        """Take note that the oldest told call has been compared."""
        if self._compared == len(self._tape):
            return  # it was a line or a report
        self._ahead_bytes -= _size(self._tape[self._compared])
        self._compared += 1

    def ask(self, name: str) -> None:
        """Take note of a call that waits for its answer; raises ValueError where the worker had the answer itself."""
        if self._told < len(self._tape) and (name in LIVE_NAMES or name == self._tape[self._told].name):
            raise ValueError(f"a worker asked for {name!r}, whose answer it was given")


class Player:
    """The worker's side of one tape, on the guest's thread.

    ``tell`` sends a batch of answered calls; ``more`` blocks for the next entries, and raises when the guest must unwind.
    """

    def __init__(self, entries: int, tell: Callable[[list[list[str]]], None], more: Callable[[], list[dict[str, Any]]]) -> None:
        self._left = entries
        self._tell = tell
        self._more = more
        self._entries: collections.deque[dict[str, Any]] = collections.deque()
        self._batch: list[list[str]] = []
        self._batch_bytes = 0
        self._lines = 0

    def take(self, entries: list[dict[str, Any]]) -> None:
        """Add entries that have arrived."""
        self._entries.extend(entries)

    def answer(self, name: str, args_json: str) -> Answer | None:
        """Answer a call from the tape, or a line or a report; None for one that the pool must answer (all told calls are sent before)."""
        if not self._left:
            self._lines = self._lines + 1 if name in LIVE_NAMES else 0
            if self._lines % LIVE_AHEAD == 0:
                return None
            self._tell([[name, args_json]])
        if name in LIVE_NAMES:
            return Answer("{}", 0)
        if not self._entries:
            self.flush()
            self.take(self._more())
        if self._entries[0]["name"] != name:
            self.flush()
            return None
        self._left -= 1
        self._batch.append([name, args_json])
        self._batch_bytes += len(args_json)
        if not self._left or len(self._batch) >= BATCH_CALLS or self._batch_bytes >= BATCH_BYTES:
            self.flush()
        return unpack(self._entries.popleft())

    def flush(self) -> None:
        """Send the calls that are not yet told."""
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._tell(batch)
