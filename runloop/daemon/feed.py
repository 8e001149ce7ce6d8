"""The records of runs as frames: published as they become durable, kept while a run is at work, read from the ledger afterwards."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from runloop.bus.publishing import Own
from runloop.bus.topic import Facts
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput
from runloop.events import record_of
from runloop.events.runrecord import is_run_record
from runloop.rmp import DEFAULT_MAX_BODY, Envelope, Header, encode_frame
from runloop.rmp.body import surely_shallow
from runloop.rmp.header import write_header
from runloop.rmp.registry import ID_OF

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb import KnowledgeBase

RUN_EVENT = "observation.run.event.v1"
RECORD_TTL_MS = 1000 * 365 * 24 * 3_600_000
"""Of a stored record's frame: what it says stays true, however old the run and whatever the clock of a reader."""
LIVE_TTL_MS = 30_000
_KEPT = 2048
"""Frames of one run in memory; older ones are read from the ledger."""
_ENDED = 256
"""Runs that ended and whose frames are still in memory."""
_CHILD = "run:"
_RECORDS = re.compile(r"rlp/runs/(?:trace|run):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/events")


def topic_of(record: Mapping[str, Any]) -> str:
    """Where the records of this run are published: by trace id for a run, by its own id for a child run."""
    if record["parent_run_id"] is None:
        return run_topic(record["run_id"])
    return f"rlp/runs/{_CHILD}{record['run_id']}/events"


def run_topic(run_id: str) -> str:
    """The topic of a run that nobody spawned."""
    return f"rlp/runs/trace:{run_id}/events"


def run_of_topic(topic: str) -> str | None:
    """The run id that a topic names, or None where it is no topic of records: an id in capitals, or a part of one, is no run's."""
    found = _RECORDS.fullmatch(topic)
    return None if found is None else found[1]


_pack: Final = msgspec.msgpack.Encoder().encode
_BEGIN: Final = b"\x83" + _pack("type") + _pack(RUN_EVENT) + _pack("payload")
_SCHEMA: Final = ID_OF[RUN_EVENT]


class Bus(Protocol):
    """The bus as the feed sees it."""

    def wanted(self, topic: str, frames: int) -> bool:
        """Whether anybody gets frames of this topic; they are counted here where nobody does."""
        ...

    def flush_soon(self) -> None:
        """Call :meth:`RunFeed.flush` at the end of this turn."""
        ...

    def publish_own(self, topic: str, frames: Sequence[Own]) -> None:
        """Publish frames that were encoded here."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """What the frames of one run's records share: their topic, their trace, the beginning of their ``meta``."""

    topic: str
    trace: bytes
    meta: bytes

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Form:
        """The form of the run that a record belongs to."""
        topic = topic_of(record)
        trace = bytes.fromhex(record["trace_id"].removeprefix("trace:").replace("-", ""))
        return cls(topic, trace, _pack("meta") + b"\x82" + _pack("topic") + _pack(topic) + _pack("seq"))

    def frame(self, record: Mapping[str, Any]) -> bytes:
        """The frame of a durable record: the same bytes whenever it is made, identified by the id of its event.

        Byte for byte what :func:`runloop.rmp.encode_frame` makes, and as slowly where that has to look closer.
        """
        seq, event_id, created_ms = record["seq"], record["event_id"], record["ts_ms"]
        payload = _pack(record)
        if not surely_shallow(payload) or len(payload) > DEFAULT_MAX_BODY // 2:
            return self.slowly(record, event_id, created_ms, RECORD_TTL_MS, {"topic": self.topic, "seq": seq})
        body = b"".join((_BEGIN, payload, self.meta, _pack(seq)))
        trace = int.from_bytes(self.trace, "big")
        return write_header(Header(_SCHEMA, len(body), created_ms, RECORD_TTL_MS, trace, event_id)) + body

    def slowly(self, record: Mapping[str, Any], msg_id: int, created_ms: int, ttl_ms: int, meta: dict[str, Any]) -> bytes:
        """A frame of which nothing is known beforehand."""
        trace = int.from_bytes(self.trace, "big")
        return encode_frame(Envelope(RUN_EVENT, record, meta), trace_id=trace, msg_id=msg_id, created_at_ms=created_ms, ttl_ms=ttl_ms)

    def facts(self, msg_id: int, expires_at_ms: int) -> Facts:
        """What the bus has to know of a frame."""
        return Facts(_SCHEMA, expires_at_ms, self.trace + msg_id.to_bytes(8, "big"))


@dataclass(slots=True)
class Tail:
    """The newest records of one run, by their numbers; their frames are made when somebody wants them."""

    first: int
    form: Form
    records: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, seq: int, record: Mapping[str, Any]) -> None:
        """Keep a record; numbers are dense."""
        self.records.append(record)
        if len(self.records) > 2 * _KEPT:
            del self.records[:_KEPT]
            self.first = seq - len(self.records) + 1

    def since(self, from_seq: int, limit: int) -> list[tuple[int, bytes]] | None:
        """Frames from a number on, or None where they are not here any more."""
        if from_seq < self.first:
            return None
        start = from_seq - self.first
        return [(from_seq + number, self.form.frame(record)) for number, record in enumerate(self.records[start : start + limit])]


@dataclass(slots=True)
class RunFeed:
    """Watches every run of the daemon, and is the bus' durable source; ``bus`` is there before the first run."""

    kb: KnowledgeBase
    bus: Bus = field(init=False)
    _tails: OrderedDict[str, Tail] = field(default_factory=OrderedDict)
    _live: int = field(default_factory=partial(secrets.randbits, 62))
    """The last live record's number: one of another life of the daemon is not the same message."""
    _fresh: dict[str, tuple[Form, list[Mapping[str, Any]]]] = field(default_factory=dict)
    """Records of this turn, by topic."""
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _erasures: int = 0
    """How many the ledger had when frames of an ended run were last read from memory."""

    def take(self, record: Mapping[str, Any]) -> None:
        """Keep one record where it is a durable one; it is published at the end of this turn, where somebody follows."""
        run_id = record["run_id"]
        tail = self._tails.get(run_id)
        if record["event_id"] is None:
            form = Form.of(record) if tail is None else tail.form
        else:
            seq = record["seq"]
            if tail is None:
                tail = self._tails[run_id] = Tail(seq, Form.of(record))
            tail.add(seq, record)
            form = tail.form
            if record["kind"] == "run.finished":
                self.ended(run_id)
            elif record["kind"] == "run.waiting":
                del self._tails[run_id]  # it may wait for days: until it goes on, its records are read from the ledger
        if not self._fresh:
            self.bus.flush_soon()
        known = self._fresh.get(form.topic)
        if known is None:
            known = self._fresh[form.topic] = (form, [])
        known[1].append(record)

    def flush(self) -> None:
        """Publish what was taken: the records of a run together, and none of which nobody would hear."""
        fresh, self._fresh = self._fresh, {}
        for topic, (form, records) in fresh.items():
            if self.bus.wanted(topic, len(records)):
                self.bus.publish_own(topic, [self._own(form, record) for record in records])

    def _own(self, form: Form, record: Mapping[str, Any]) -> Own:
        event_id = record["event_id"]
        if event_id is not None:
            return Own(form.frame(record), form.facts(event_id, record["ts_ms"] + RECORD_TTL_MS), record["seq"])
        self._live += 1
        msg_id, now_ms = (1 << 63) + self._live, time.time_ns() // 1_000_000
        raw = form.slowly(record, msg_id, now_ms, LIVE_TTL_MS, {"topic": form.topic})
        return Own(raw, form.facts(msg_id, now_ms + LIVE_TTL_MS), None)

    def ended(self, run_id: str) -> None:
        """Nothing more comes of this run: its frames may be forgotten."""
        self._ended[run_id] = None
        while len(self._ended) > _ENDED:
            self._tails.pop(self._ended.popitem(last=False)[0], None)

    def put_away(self, run_id: str) -> None:
        """Keep nothing of a run that has not begun: until it does, its record is read from the ledger."""
        self._tails.pop(run_id, None)

    async def read(self, topic: str, from_seq: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """As :class:`runloop.bus.replay.DurableSource`. A run that nobody submitted yet has no records, one that was archived none here."""
        run_id = run_of_topic(topic)
        if run_id is None:
            hint = "subscribe to rlp/runs/trace:<run id>/events with class durable, the id in lower case; anything else is realtime"
            raise InvalidInput(f"the ledger keeps nothing of the topic {topic!r}", code="bus.not_durable", hint=hint)
        if run_id in self._ended:
            await self._forget_erased()
        tail = self._tails.get(run_id)
        if tail is not None:
            _check_topic(topic, tail.form)
            found = tail.since(from_seq, limit)
            if found is not None:
                return found
        return await asyncio.to_thread(self._from_ledger, topic, run_id, from_seq, limit)

    async def _forget_erased(self) -> None:
        """Drop the frames of runs that ended where the ledger has lost texts since: they may be theirs."""
        there = await asyncio.to_thread(self._count_erasures)
        if there != self._erasures:
            self._erasures = there
            for ended in self._ended:
                self._tails.pop(ended, None)

    def _count_erasures(self) -> int:
        from runloop.kb.erasing import count_erasures

        return count_erasures(self.kb.ledger)

    def _from_ledger(self, topic: str, run_id: str, from_seq: int, limit: int) -> list[tuple[int, bytes]]:
        from runloop.kb.pruning.archived import ArchivedRuns

        found: list[tuple[int, bytes]] = []
        if self.kb.ledger.run_ids(run_id, limit=1):
            for event in self.kb.read_run(run_id, from_seq - 1):
                if is_run_record(event):
                    found.append(_stored_frame(topic, event))
                    if len(found) == limit:
                        break
        archived = ArchivedRuns(self.kb.ledger)
        if archived.run_ids(run_id, limit=1):  # asked last: what went while it was read has left a gap
            raise archived.refusal(run_id)
        return found


def _stored_frame(topic: str, event: StoredEvent) -> tuple[int, bytes]:
    record = record_of(event)
    form = Form.of(record)
    _check_topic(topic, form)
    return record["seq"], form.frame(record)


def _check_topic(topic: str, form: Form) -> None:
    """Refuse a child run's records under the topic of a run, and the other way round: what comes later would not come there."""
    if topic != form.topic:
        hint = f"subscribe to {form.topic}; the verb `attach` names the topic of any run"
        raise InvalidInput(f"the records of this run are not published on {topic!r}", code="bus.not_durable", hint=hint)
