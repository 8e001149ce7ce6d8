"""The records of runs as frames: published as they become durable, kept while a run goes on, read from the ledger afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runloop.errors import InvalidInput
from runloop.events import record_of
from runloop.events.runrecord import is_run_record
from runloop.rmp import Envelope, encode_frame

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb import KnowledgeBase

RUN_EVENT = "observation.run.event.v1"
RECORD_TTL_MS = 24 * 3_600_000
"""Of a stored record's frame: what it says stays true, so only absurdly late copies are dropped."""
LIVE_TTL_MS = 30_000
_KEPT = 2048
"""Frames of one run in memory; older ones are read from the ledger."""
_ENDED = 256
"""Runs that ended and whose frames are still in memory."""
_CHILD = "run:"


def topic_of(record: Mapping[str, Any]) -> str:
    """Where the records of this run are published: by trace id for a run, by its own id for a child run."""
    if record["parent_run_id"] is None:
        return run_topic(record["run_id"])
    return f"rlp/runs/{_CHILD}{record['run_id']}/events"


def run_topic(run_id: str) -> str:
    """The topic of a run that nobody spawned."""
    return f"rlp/runs/trace:{run_id}/events"


def run_of_topic(topic: str) -> str | None:
    """The run id that a topic names, or None where it is no topic of records."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[:2] != ["rlp", "runs"] or parts[3] != "events":
        return None
    for prefix in ("trace:", _CHILD):
        if parts[2].startswith(prefix):
            return parts[2].removeprefix(prefix)
    return None


@dataclass(slots=True)
class Tail:
    """The newest frames of one run, by their numbers."""

    first: int
    frames: list[bytes] = field(default_factory=list)

    def add(self, seq: int, frame: bytes) -> None:
        """Keep a frame; numbers are dense."""
        self.frames.append(frame)
        if len(self.frames) > 2 * _KEPT:
            del self.frames[:_KEPT]
            self.first = seq - len(self.frames) + 1

    def since(self, from_seq: int, limit: int) -> list[tuple[int, bytes]] | None:
        """Frames from a number on, or None where they are not here any more."""
        if from_seq < self.first:
            return None
        start = from_seq - self.first
        return [(from_seq + number, frame) for number, frame in enumerate(self.frames[start : start + limit])]


@dataclass(slots=True)
class RunFeed:
    """Watches every run of the daemon. ``publish`` hands a frame to the bus; this is also the bus' durable source."""

    kb: KnowledgeBase
    publish: Callable[[str, bytes], None]
    _tails: OrderedDict[str, Tail] = field(default_factory=OrderedDict)
    _live: int = 0
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def take(self, record: Mapping[str, Any]) -> None:
        """Publish one record, and keep it where it is a durable one."""
        topic, seq = topic_of(record), record["seq"]
        if record["event_id"] is None:
            self._live += 1
            now_ms = time.time_ns() // 1_000_000
            self.publish(topic, _frame(topic, record, None, (1 << 63) + self._live, now_ms, LIVE_TTL_MS))
            return
        frame = record_frame(topic, record)
        run_id = record["run_id"]
        tail = self._tails.get(run_id)
        if tail is None:
            tail = self._tails[run_id] = Tail(seq)
        tail.add(seq, frame)
        self.publish(topic, frame)
        if record["kind"] == "run.finished":
            self.ended(run_id)

    def ended(self, run_id: str) -> None:
        """Nothing more comes of this run: its frames may be forgotten."""
        self._ended[run_id] = None
        while len(self._ended) > _ENDED:
            self._tails.pop(self._ended.popitem(last=False)[0], None)

    async def read(self, topic: str, from_seq: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """As :class:`runloop.bus.replay.DurableSource`. A run that nobody submitted yet has no records."""
        run_id = run_of_topic(topic)
        if run_id is None:
            hint = "subscribe to rlp/runs/trace:<run id>/events with class durable; anything else is realtime"
            raise InvalidInput(f"the ledger keeps nothing of the topic {topic!r}", code="bus.not_durable", hint=hint)
        tail = self._tails.get(run_id)
        if tail is not None:
            found = tail.since(from_seq, limit)
            if found is not None:
                return found
        return await asyncio.to_thread(self._from_ledger, topic, run_id, from_seq, limit)

    def _from_ledger(self, topic: str, run_id: str, from_seq: int, limit: int) -> list[tuple[int, bytes]]:
        if not self.kb.ledger.run_ids(run_id, limit=1):
            return []
        found: list[tuple[int, bytes]] = []
        for event in self.kb.run_events(run_id, from_seq - 1):
            if is_run_record(event):
                found.append(_stored_frame(topic, event))
                if len(found) == limit:
                    break
        return found


def record_frame(topic: str, record: Mapping[str, Any]) -> bytes:
    """The frame of a durable record: the same bytes whenever it is made, identified by the id of its event."""
    return _frame(topic, record, record["seq"], record["event_id"], record["ts_ms"], RECORD_TTL_MS)


def _stored_frame(topic: str, event: StoredEvent) -> tuple[int, bytes]:
    record = record_of(event)
    return record["seq"], record_frame(topic, record)


def _frame(topic: str, record: Mapping[str, Any], seq: int | None, msg_id: int, created_ms: int, ttl_ms: int) -> bytes:
    meta = {"topic": topic} if seq is None else {"topic": topic, "seq": seq}
    trace = int(record["trace_id"].removeprefix("trace:").replace("-", ""), 16)
    envelope = Envelope(RUN_EVENT, record, meta)
    return encode_frame(envelope, trace_id=trace, msg_id=msg_id, created_at_ms=created_ms, ttl_ms=ttl_ms)
