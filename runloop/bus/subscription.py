"""One subscription's queue: bounded in messages and bytes, with the overflow policy of its class.

An entry is a run of frames of one topic as they were received, so that many frames cost one entry and one write, and so that
subscriptions share the bytes. Only who falls behind is taken apart frame by frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import field
from typing import TYPE_CHECKING, Final, NamedTuple

from runloop.bus import counters
from runloop.bus.limits import STALLED_MS
from runloop.dataclass import dataclass
from runloop.rmp.header import PREFIX, PREFIX_LEN, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.bus.session import Session
    from runloop.bus.topic import Topic
    from runloop.bus.window import Window

REALTIME: Final = "realtime"
BATCHED: Final = "batched"
DURABLE: Final = "durable"
CLASSES: Final = (REALTIME, BATCHED, DURABLE)
FOREVER: Final = 2**63
SUB: Final = "sub"
"""The key of ``meta`` that only the bus sets."""


class Run(NamedTuple):
    """``frames`` whole frames of one topic in ``data`` from ``at`` on; none expires before ``soonest`` (epoch ms).

    ``tagged``: each goes with ``meta.sub``, which says for which subscription. That makes other bytes for each subscription, so it is
    done when it goes: a frame that many wait for is in memory once.
    """

    topic: Topic
    data: bytes
    at: int
    frames: int
    soonest: int
    tagged: bool = False


class Lost(NamedTuple):
    """Copies that a full queue or an expiry cost; ``header_at`` is where in ``data`` the first of them begins."""

    topic: Topic
    reason: str
    frames: int
    data: bytes
    header_at: int


def frame_end(data: bytes, at: int) -> int:
    """Where the frame that begins at ``at`` ends."""
    end: int = at + PREFIX_LEN + PREFIX.unpack_from(data, at)[0]
    return end


@dataclass(slots=True, eq=False)
class Subscription:
    """State of one subscription; ``credit`` is what may be sent before the reader grants more, None for the realtime class."""

    sub: int
    session: Session
    pattern: tuple[str, ...]
    klass: str
    max_messages: int
    max_bytes: int
    window: Window
    since: int
    control: bool = False
    queue: deque[Run] = field(default_factory=deque)
    messages: int = 0
    size: int = 0
    """Bytes that wait, of ``max_bytes``."""
    credit_messages: int | None = None
    credit_bytes: int | None = None
    due_ms: int | None = None
    """When a batched subscription sends what it has gathered."""
    taken_ms: int = 0
    """When the reader last took something, or had nothing to take."""
    scheduled: bool = False
    cursor: int = 0
    """Durable: the sequence number that comes next."""
    live: bool = True
    """Durable: whether everything before ``cursor`` has been queued, so that the next live frame may follow."""
    reading: bool = False

    def put(self, run: Run, now_ms: int) -> list[Lost]:
        """Queue frames; what does not fit is dropped by the policy of the class and returned. Counts ``published`` and the drops."""
        topic, data, at, frames, _, _ = run
        topic.counts.published += frames
        queue = self.queue
        if not queue:
            self.taken_ms = now_ms
        size = len(data) - at
        messages, held = self.messages + frames, self.size + size
        if messages <= self.max_messages and held <= self.max_bytes:
            queue.append(run)
            self.messages, self.size = messages, held
            return []
        fits = frames <= self.max_messages and size <= self.max_bytes
        if fits and self.klass != BATCHED and now_ms - self.taken_ms >= STALLED_MS:
            return self._put_stalled(run, size)
        return self._put_tight(run, size, now_ms)

    def _put_stalled(self, run: Run, size: int) -> list[Lost]:
        """For who has not read for a while: room for many runs is made at once, so that the others seldom pay for it."""
        queue = self.queue
        lost: list[Lost] = []
        queue.append(run)
        messages, held = self.messages + run.frames, self.size + size
        most, most_bytes = self.max_messages * 3 // 4, self.max_bytes * 3 // 4
        first, gone = queue[0], 0
        while (messages > most or held > most_bytes) and len(queue) > 1:
            head = queue.popleft()
            if head.topic is not first.topic:
                self._lose(lost, first, gone, counters.BACKPRESSURE, first.at)
                first, gone = head, 0
            gone += head.frames
            messages -= head.frames
            held -= len(head.data) - head.at
        self._lose(lost, first, gone, counters.BACKPRESSURE, first.at)
        self.messages, self.size = messages, held
        return lost

    def _put_tight(self, run: Run, size: int, now_ms: int) -> list[Lost]:
        reason = counters.BACKPRESSURE if now_ms - self.taken_ms >= STALLED_MS else counters.OVERFLOW
        lost: list[Lost] = []
        if self.klass == BATCHED:
            fits, fitting_bytes = 0, 0
            at = run.at
            while fits < run.frames:
                end = frame_end(run.data, at)
                if self.messages + fits + 1 > self.max_messages or (self.messages + fits and self.size + end - run.at > self.max_bytes):
                    break
                fits, fitting_bytes, at = fits + 1, end - run.at, end
            if fits:
                self.queue.append(run._replace(data=run.data[run.at : run.at + fitting_bytes], at=0, frames=fits))
                self.messages += fits
                self.size += fitting_bytes
            if fits < run.frames:
                self._lose(lost, run, run.frames - fits, reason, at)
            return lost
        self.queue.append(run)
        self.messages += run.frames
        self.size += size
        while self._over:
            head = self.queue[0]
            head_bytes = len(head.data) - head.at
            if self.messages - head.frames >= self.max_messages or (self.size - head_bytes >= self.max_bytes and len(self.queue) > 1):
                self.queue.popleft()
                self.messages -= head.frames
                self.size -= head_bytes
                self._lose(lost, head, head.frames, reason, head.at)
                continue
            at, gone = head.at, 0
            while gone < head.frames and self._over:
                end = frame_end(head.data, at)
                self.messages -= 1
                self.size -= end - at
                at, gone = end, gone + 1
            self._lose(lost, head, gone, reason, head.at)
            if gone == head.frames:
                self.queue.popleft()
            else:
                self.queue[0] = head._replace(at=at, frames=head.frames - gone)
        return lost

    @property
    def _over(self) -> bool:
        """Whether the queue is too long; one frame is never too large, or it could not be delivered to anybody."""
        return self.messages > self.max_messages or (self.size > self.max_bytes and self.messages > 1)

    def _lose(self, lost: list[Lost], run: Run, count: int, reason: str, at: int) -> None:
        run.topic.counts.drop(reason, count)
        self.session.lost += count
        lost.append(Lost(run.topic, reason, count, run.data, at))

    def take_whole(self, max_bytes: int, now_ms: int) -> bytes | None:
        """All that waits, where that is a single run which may go as it is: the usual case, at a fifth of the cost of :meth:`take`."""
        queue = self.queue
        if len(queue) != 1 or self.credit_messages is not None:
            return None
        run = queue[0]
        if run.at or run.tagged or run.soonest <= now_ms or self.size > max_bytes:
            return None
        queue.clear()
        self.messages = self.size = 0
        self.taken_ms = now_ms
        run.topic.counts.delivered += run.frames
        self.session.delivered += run.frames
        return run.data

    def take(self, max_bytes: int, now_ms: int, lost: list[Lost]) -> Iterator[bytes]:
        """The bytes that go out next, at least one frame and about ``max_bytes``; expired frames are added to ``lost`` instead."""
        queue = self.queue
        self.taken_ms = now_ms
        while queue and max_bytes > 0:
            run = queue[0]
            size = len(run.data) - run.at
            if run.soonest <= now_ms:
                queue.popleft()
                self._expire(run, now_ms, lost)
                continue
            if self.credit_messages is not None:
                run = self._within_credit(run)
                if not run.frames:
                    return
                size = len(run.data) - run.at
            else:
                queue.popleft()
            data = self._tagged(run) if run.tagged else run.data[run.at :] if run.at else run.data
            if self.credit_messages is not None:
                self.credit_messages -= run.frames
                self.credit_bytes = (self.credit_bytes or 0) - len(data)
            self.messages -= run.frames
            self.size -= size
            run.topic.counts.delivered += run.frames
            self.session.delivered += run.frames
            max_bytes -= size
            yield data

    def _tagged(self, run: Run) -> bytes:
        """The frames of a run as they go to a reader who has several subscriptions that match."""
        from runloop.rmp.scan import with_meta  # it imports msgspec, which takes a client 25 ms

        frames, at = [], run.at
        while at < len(run.data):
            end = frame_end(run.data, at)
            frames.append(with_meta(run.data[at:end], {SUB: self.sub}))
            at = end
        return b"".join(frames)

    def _expire(self, run: Run, now_ms: int, lost: list[Lost]) -> None:
        """Put back what has not expired, as runs of their own."""
        kept: list[Run] = []
        at = run.at
        for _ in range(run.frames):
            end = frame_end(run.data, at)
            expires = read_header(run.data, at)[1].expires_at_ms
            if expires <= now_ms:
                self.messages -= 1
                self.size -= end - at
                self._lose(lost, run, 1, counters.TTL_EXPIRED, at)
            else:
                kept.append(run._replace(data=run.data[at:end], at=0, frames=1, soonest=expires))
            at = end
        self.queue.extendleft(reversed(kept))

    def _within_credit(self, run: Run) -> Run:
        """Cut from the head of the queue what the reader's credit covers; one frame may exceed the bytes, or it would never go."""
        messages, left = self.credit_messages or 0, self.credit_bytes or 0
        if run.frames <= messages and len(run.data) - run.at <= left:
            self.queue.popleft()
            return run
        at, count = run.at, 0
        while count < min(run.frames, messages) and left > 0:
            end = frame_end(run.data, at)
            left -= end - at
            at, count = end, count + 1
        if count == run.frames:
            self.queue.popleft()
            return run
        if count:
            self.queue[0] = run._replace(at=at, frames=run.frames - count)
        return run._replace(data=run.data[run.at : at], at=0, frames=count)

    @property
    def sendable(self) -> bool:
        """Whether something waits that the reader has room for."""
        return bool(self.queue) and (self.credit_messages is None or (self.credit_messages > 0 and (self.credit_bytes or 0) > 0))

    def clear(self) -> None:
        """The reader is gone: what waits is dropped as ``closed``."""
        for run in self.queue:
            run.topic.counts.drop(counters.CLOSED, run.frames)
        self.queue.clear()
        self.messages = self.size = 0
