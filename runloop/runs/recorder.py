"""Records of one run: numbered densely, durable before visible, published in order.

A durable record is appended to the ledger and reaches the subscribers only when its event is on disk; a live record
(progress, deltas) goes to the subscribers alone and takes no number (contracts section 1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct

from runloop.dataclass import dataclass
from runloop.events import NewEvent, RunIdentity, StoredEvent, live_record, record_of, run_event
from runloop.events.records import RecordMeta

if TYPE_CHECKING:
    import asyncio

Subscriber = Callable[[Mapping[str, Any]], None]


class Appender(Protocol):
    """The ledger as a run sees it: resolves in order, once the events are durable."""

    def append(self, events: Iterable[NewEvent], *, check: bool = True, urgent: bool = True) -> asyncio.Future[list[StoredEvent]]: ...


class Draft(Struct, frozen=True):
    """A record about to be written: its kind, the line for people, and what belongs to the kind."""

    kind: str
    message: str
    meta: RecordMeta | Mapping[str, Any]
    level: str = "info"
    actor: str = "agent:runloop"
    agent_id: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """The last records of a run that another one stops: they belong in the commit that says so of the other one."""

    recorder: Recorder
    drafts: Sequence[Draft]


DRAFTS_AT_ONCE = 256
"""Drafts of a long end that are made, or become events, while everything else waits: some 2 ms."""


async def pause() -> None:
    """Let the loop do what else there is to do."""
    from asyncio import sleep  # slow to import, and the command line never waits for it

    await sleep(0)


class Recorder:
    """Writes one run's records. Not thread-safe: it lives on the event loop of its run.

    ``lost`` is what happened to the first record that could not be stored. ``halted`` says that the process leaves the run as it is, to
    be recovered: what is stopped because of it gets no outcome. ``first`` is called before anything is recorded.
    """

    def __init__(self, identity: RunIdentity, ledger: Appender, clock_ms: Callable[[], int], last_seq: int = 0) -> None:
        self.identity = identity
        self.clock_ms = clock_ms
        self._ledger = ledger
        self.last_seq = last_seq
        self._subscribers: list[Subscriber] = []
        self.lost: BaseException | None = None
        self.halted = False
        self.first: Callable[[], object] | None = None
        self._queued = 0  # commits so far
        self._shown = 0  # of these, decided
        self._latest: asyncio.Future[list[StoredEvent]] | None = None
        self._behind: deque[tuple[int, Mapping[str, Any]]] = deque()  # live records, and how many commits come before

    @property
    def ahead(self) -> int:
        """How many commits are on their way to the disk."""
        return self._queued - self._shown

    async def settled(self, seconds: float) -> None:
        """Return when everything that was written is on disk and shown, or never will be; after so many seconds anyway."""
        from asyncio import wait  # slow to import, and the command line never waits for it

        if self.ahead and self._latest is not None:
            await wait({self._latest}, timeout=seconds)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every record from now on, in order; it must not raise and must not block."""
        self._subscribers.append(subscriber)

    def write(
        self,
        *drafts: Draft,
        beside: Iterable[NewEvent] = (),
        after: Sequence[Ending] = (),
        at_ms: int | None = None,
        urgent: bool = True,
        made: _Made | None = None,
    ) -> asyncio.Future[list[StoredEvent]]:
        """Append ``drafts`` as one commit; done when they are on disk, with their stored events in order.

        ``beside`` are events of other kinds (an audit entry) that belong in the same commit, after the records; ``after`` are the last
        records of other runs, before them. ``at_ms`` is the time that all of them bear (None: now). Where nobody waits for the commit it is
        not ``urgent``, and may come with the next. ``made`` are the events of all of them where no number was taken since.

        The numbers are taken at once, so the order of calls is the order of the records. Once a record could not be stored, its number
        is missing for good: every later write raises what happened then, so that no run with a gap is ever brought to an end.
        """
        for recorder in (self, *(ending.recorder for ending in after)):
            if recorder.lost is not None:
                raise recorder.lost
        return self._append([*after, Ending(self, drafts)], beside, self.clock_ms() if at_ms is None else at_ms, urgent=urgent, made=made)

    async def write_long(self, drafts: Sequence[Draft], after: Sequence[Ending] = ()) -> list[StoredEvent]:
        """As :meth:`write`, for an end of any length: what else the loop has to do is done in between."""
        parts, now_ms = [*after, Ending(self, drafts)], self.clock_ms()
        if sum(len(part.drafts) for part in parts) <= DRAFTS_AT_ONCE:
            return await self.write(*drafts, after=after, at_ms=now_ms)
        last_seqs, events = _last_seqs(parts), list[NewEvent]()
        numbers = dict(last_seqs)
        for part in parts:
            for draft in part.drafts:
                numbers[part.recorder] += 1
                events.append(part.recorder.event(draft, numbers[part.recorder], now_ms))
                if len(events) % DRAFTS_AT_ONCE == 0:
                    await pause()
        return await self.write(*drafts, after=after, at_ms=now_ms, made=(last_seqs, events))

    def look(self) -> None:
        """Before anything bears a time: where the clock was set, the record says so first."""
        if self.first is not None:
            self.first()

    def note(self, *drafts: Draft) -> None:
        """Append without waiting: for lines whose loss with the process would lose nothing that anybody acted on."""
        if self.lost is None:
            self._append([Ending(self, drafts)], (), self.clock_ms())

    def live(self, kind: str, message: str, meta: RecordMeta | Mapping[str, Any]) -> None:
        """Tell the subscribers something that is not kept, after the numbered records before it; its ``seq`` is that of the last one."""
        record = live_record(self.identity, self.last_seq, kind, meta, message, ts_ms=self.clock_ms())
        if self.ahead:
            self._behind.append((self._queued, record))
        else:
            self.tell(record)

    def _append(
        self, parts: Sequence[Ending], beside: Iterable[NewEvent], now_ms: int, *, urgent: bool = True, made: _Made | None = None
    ) -> asyncio.Future[list[StoredEvent]]:
        """The caller gets a future of its own: that it stops waiting must not lose the record."""
        self.look()
        before = _last_seqs(parts)
        try:
            if made is not None and made[0] == before:
                events = made[1]
                for part in parts:
                    part.recorder.last_seq += len(part.drafts)
            else:
                events = [part.recorder.numbered(draft, now_ms) for part in parts for draft in part.drafts]
            typed = not beside and all(isinstance(draft.meta, Struct) for part in parts for draft in part.drafts)
            written = self._ledger.append([*events, *beside], check=not typed, urgent=urgent)
        except BaseException:
            for recorder, last_seq in before.items():
                recorder.last_seq = last_seq  # nothing was queued under these numbers
            raise
        for part in parts:
            part.recorder.queued(written)
        counts, seen = [(part.recorder, len(part.drafts)) for part in parts], written.get_loop().create_future()
        written.add_done_callback(lambda done: self._publish(done, counts, seen))
        return seen

    def numbered(self, draft: Draft, now_ms: int) -> NewEvent:
        """The draft as an event, under the next number."""
        self.last_seq += 1
        return self.event(draft, self.last_seq, now_ms)

    def event(self, draft: Draft, seq: int, now_ms: int) -> NewEvent:
        """The draft as the event of that number."""
        return run_event(
            self.identity,
            seq,
            draft.kind,
            draft.meta,
            draft.message,
            level=draft.level,
            actor=draft.actor,
            agent_id=draft.agent_id,
            ts_ms=now_ms,
            key=draft.key,
        )

    def _publish(
        self, written: asyncio.Future[list[StoredEvent]], counts: list[tuple[Recorder, int]], seen: asyncio.Future[list[StoredEvent]]
    ) -> None:
        """Show what is on disk, then let the caller go on; what is not on disk is never shown."""
        if written.cancelled():
            for recorder, _ in counts:
                recorder.decided(show=False)
            seen.cancel()
            return
        if (error := written.exception()) is not None:
            for recorder, _ in counts:
                recorder.lost = recorder.lost or error
                recorder.decided(show=False)
            if not seen.cancelled():
                seen.set_exception(error)
                seen.exception()  # a note has nobody who asks
            return
        stored, first = written.result(), 0
        own = sum(count for recorder, count in counts if recorder is not self)
        try:
            for recorder, count in counts:
                for event in stored[first : first + count]:
                    recorder.tell(record_of(event))
                recorder.decided()
                first += count
        finally:
            if not seen.cancelled():
                seen.set_result(stored[own:])

    def queued(self, written: asyncio.Future[list[StoredEvent]]) -> None:
        """One more commit is on its way."""
        self._queued += 1
        self._latest = written

    def decided(self, *, show: bool = True) -> None:
        """One more commit is on disk, or never will be (``show`` false): what waited behind it is shown now, or not at all."""
        self._shown += 1
        while self._behind and self._behind[0][0] <= self._shown:
            record = self._behind.popleft()[1]
            if show:
                self.tell(record)

    def tell(self, record: Mapping[str, Any]) -> None:
        """Show a record to the subscribers."""
        for subscriber in self._subscribers:
            subscriber(record)


_Made: TypeAlias = tuple[dict[Recorder, int], list[NewEvent]]
"""The last numbers of recorders, and events that follow these."""


def _last_seqs(parts: Sequence[Ending]) -> dict[Recorder, int]:
    return {part.recorder: part.recorder.last_seq for part in parts}
