"""The broker, pure: received bytes and the time come in, bytes to send come out. No sockets, no clock, no tasks.

:class:`Broker` holds the state and has the words for whoever hosts it. :mod:`~runloop.bus.intake` takes frames in,
:mod:`~runloop.bus.publishing` queues them for those that get them, :mod:`~runloop.bus.dialogue` answers the session frames,
:mod:`~runloop.bus.replay` keeps durable subscriptions in sequence, and :mod:`~runloop.bus.losses` tells what was lost.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final

from runloop.bus import dialogue, frames, intake, losses, publishing, replay
from runloop.bus.acl import DAEMON, DROPS, Acl
from runloop.bus.counters import BusStats, TopicCounts
from runloop.bus.crowd import too_many, who_makes_room
from runloop.bus.drops import NOTICE, NOTICE_TTL_MS, DropNotices
from runloop.bus.errors import LimitExceeded, bad, to_wire
from runloop.bus.limits import BusLimits
from runloop.bus.routing import Routes
from runloop.bus.session import Peer, Session
from runloop.bus.subscription import DURABLE, Lost, Subscription
from runloop.bus.together import Side, relieve
from runloop.bus.topic import Facts
from runloop.bus.window import Window, forget_most
from runloop.errors import RunloopError
from runloop.rmp import Envelope, MessageError, encode_frame
from runloop.rmp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLICE: Final = 64 * 1024
_LOOK_MS: Final = 1000
_NOTICES: Final = 1 << 62
"""Message ids of notices begin here: they have the trace of what was lost, and a run's records have the ids of their events."""


class Broker:
    """Sessions, subscriptions, queues. Every method takes the time in epoch ms; ``tick`` also a monotonic one, for patience with peers."""

    def __init__(
        self,
        limits: BusLimits | None = None,
        *,
        acl: Acl | None = None,
        token: str | None = None,
        version: str = "",
        durable: bool = False,
        secret: bytes = b"",
    ) -> None:
        """``secret``: random bytes of this broker alone; session keys cannot be guessed, and its notices are not another broker's."""
        self.limits = limits or BusLimits()
        self.acl = acl or Acl()
        self.token = token
        self.version = version
        self.has_ledger = durable
        self._secret = secret
        self.sessions: dict[str, Session] = {}
        self.routes = Routes(self.acl)
        self.windows: dict[tuple[tuple[str, ...], str], Window] = {}
        self.calls: list[publishing.Call] = []
        """Frames for the handlers; whoever hosts the bus takes them."""
        self.dirty: list[Session] = []
        """Sessions that got something to send; whoever hosts the bus takes them."""
        self.reads: list[replay.Read] = []
        """What durable subscriptions want of the ledger; answered with :func:`runloop.bus.replay.supply`."""
        self.batches: dict[Subscription, None] = {}
        self.due_ms: int | None = None
        self._ticked_ms = 0
        self.epoch = 0
        self.refused = 0
        self.buffered = 0
        self.came_bytes = 0
        """Since it was last looked what waits."""
        self._looked_ms = 0
        self.sides = {trusted: Side() for trusted in (False, True)}
        self.notices = DropNotices(self.limits.notices_per_s)
        self.local = Session("", Peer(0, 0, 0, DAEMON), role=DAEMON)
        self._notice_ids = _NOTICES | int.from_bytes(hmac.digest(secret, b"notices", "sha256")[:7])
        self.special = frozenset((*self.acl.restricted_schemas, *range(frames.FIRST_ID, frames.LAST_ID + 1)))
        """Schema ids of frames that are looked at one by one."""

    # -- connections

    def connect(self, session_id: str, peer: Peer, mono_ms: int, now_ms: int) -> Session:
        """A new connection; past the limit one gets a goodbye, now or at a hello: :mod:`~runloop.bus.crowd` says which."""
        key = hmac.new(self._secret, session_id.encode(), hashlib.sha256).hexdigest()
        session = Session(session_id, peer, key, opened_ms=mono_ms, heard_ms=mono_ms)
        most = self.limits.connections
        if len(self.sessions) >= most:
            there = [each for each in self.sessions.values() if not each.closing]
            if len(there) >= most:
                goes = who_makes_room(there, session, most // 16)
                if goes is not None:
                    self.goodbye(goes, too_many(most), now_ms)
        self.sessions[session_id] = session
        return session

    def disconnect(self, session: Session) -> None:
        """The connection is gone: its subscriptions end, and what waited is dropped as ``closed``."""
        if session.closed:
            return
        session.closed = session.closing = True
        for sub in list(session.subs.values()):
            self.end(sub)
        self.sessions.pop(session.id, None)
        self.buffered -= len(session.buffer)
        session.buffer.clear()
        session.control.clear()
        session.control_bytes = 0

    def goodbye(self, session: Session, error: RunloopError, now_ms: int) -> None:
        """Tell a peer why its connection ends; nothing more is read from it."""
        if session.closing:
            return
        session.closing = True
        self.buffered -= len(session.buffer)
        session.buffer.clear()
        for sub in list(session.subs.values()):
            self.end(sub)
        session.sent_ids += 1
        session.control.append(frames.encode(frames.GOODBYE, to_wire(error), msg_id=session.sent_ids, now_ms=now_ms))
        self.touch(session)

    def send(self, session: Session, type_: str, payload: Any, now_ms: int) -> None:
        """Put a session frame on the control lane; who does not read its answers is sent away."""
        session.sent_ids += 1
        raw = frames.encode(type_, payload, msg_id=session.sent_ids, now_ms=now_ms)
        session.control.append(raw)
        session.control_bytes += len(raw)
        self.touch(session)
        if session.control_bytes > self.limits.control_bytes:
            hint = "read what the bus sends, or ask for less"
            error = LimitExceeded(f"{session.control_bytes} bytes of answers wait unread", code="bus.bytes_in_flight", hint=hint)
            self.goodbye(session, error, now_ms)

    def touch(self, session: Session) -> None:
        """There is something to send."""
        if not session.dirty:
            session.dirty = True
            self.dirty.append(session)

    def end(self, sub: Subscription) -> None:
        """Take a subscription out, with what waits in it."""
        del sub.session.subs[sub.sub]
        self.routes.index.remove(sub.pattern, sub)
        sub.session.reserved_bytes -= sub.max_bytes
        self.batches.pop(sub, None)
        for lane in (sub.session.ready, sub.session.ready_control):
            if sub.scheduled and sub in lane:
                lane.remove(sub)
        sub.scheduled = False
        sub.clear()
        self.sides[sub.session.trusted].subscriptions -= 1
        sub.window.users -= 1
        if not sub.window.users:
            del self.windows[sub.pattern, sub.session.party]

    # -- frames in

    def receive(self, session: Session, data: bytes, now_ms: int) -> None:
        """Take bytes that came from a connection. A peer's mistake is answered to that peer; nothing is raised."""
        intake.receive(self, session, data, now_ms)
        while session.left is not None:
            intake.proceed(self, session, now_ms)

    def publish(self, raw: bytes, now_ms: int) -> int:
        """A frame of the hosting process; the number of subscriptions that it matched. Raises what is wrong with it."""
        rows, rest, _, refusal = scan(raw, self.limits.max_body)
        if refusal is not None:
            raise refusal
        if len(rows) != 1 or rest != len(raw):
            raise bad("not exactly one whole frame", key="frame", hint="publish what rmp.encode_frame made")
        _, _, schema_id, expires, seen, meta = rows[0]
        if isinstance(meta, MessageError):
            raise meta
        return publishing.publish_one(self, self.local, raw, Facts(schema_id, expires, seen), self.routes.routing(meta), now_ms)

    def wanted(self, topic: str, frames: int = 1) -> bool:
        """Whether anybody would get ``frames`` of this topic now; those that nobody gets are counted here and need not be made."""
        return publishing.wanted(self, topic, frames)

    def publish_own(self, topic: str, frames: Sequence[publishing.Own], now_ms: int) -> None:
        """Publish frames that the hosting process encoded itself and knows, in order: nothing in them is read again.

        Raises what is wrong with the first that cannot be published.
        """
        publishing.publish_own(self, topic, frames, now_ms)

    # -- frames out

    def outgoing(self, session: Session, now_ms: int, max_bytes: int = 4 * _SLICE) -> list[bytes]:
        """What to send next, control first, then the subscriptions in turn; about ``max_bytes``. Empty when nothing can be sent."""
        ready = session.ready
        if len(ready) == 1 and not session.control and not session.ready_control:
            whole = ready[0].take_whole(max_bytes, now_ms)
            if whole is not None:
                ready.popleft().scheduled = False
                return [whole]
        out: list[bytes] = []
        if session.control:
            out.extend(session.control)
            session.control.clear()
            session.control_bytes = 0
        lost: list[Lost] = []
        for lane in (session.ready_control, session.ready):
            while lane and max_bytes > 0:
                sub = lane.popleft()
                sub.scheduled = False
                for data in sub.take(min(_SLICE, max_bytes) if lane else max_bytes, now_ms, lost):
                    out.append(data)
                    max_bytes -= len(data)
                if sub.sendable:
                    session.schedule(sub)
                elif sub.klass == DURABLE and not sub.live:
                    replay.want(self, sub)
        if lost:
            losses.announce(self, lost)
        return out

    # -- time

    def wake_for_notices(self) -> None:
        """Tick when the rate of notices allows the next one; the time of the last tick is near enough to now."""
        self.wake(self.notices.next_ms(self._ticked_ms) or 0)

    def wake(self, at_ms: int) -> None:
        """Tick at this time, or sooner."""
        if self.due_ms is None or at_ms < self.due_ms:
            self.due_ms = at_ms

    def tick(self, now_ms: int, mono_ms: int) -> int:
        """Do what time asks for; the ms until the next call, which ``due_ms`` may bring forward."""
        self._ticked_ms = now_ms
        for sub in [sub for sub in self.batches if (sub.due_ms or 0) <= now_ms]:
            del self.batches[sub]
            sub.due_ms = None
            if sub.sendable:
                sub.session.schedule(sub)
                self.touch(sub.session)
        for trace_id, payload in self.notices.due(now_ms):
            self._notice_ids += 1
            self.publish(
                encode_frame(
                    Envelope(NOTICE, payload, {"topic": DROPS}),
                    trace_id=trace_id, msg_id=self._notice_ids, created_at_ms=now_ms, ttl_ms=NOTICE_TTL_MS,
                ),
                now_ms,
            )  # fmt: skip
        for session in list(self.sessions.values()):
            dialogue.patience(self, session, now_ms, mono_ms)
        for window in self.windows.values():
            window.turn(now_ms)
        if mono_ms - self._looked_ms >= _LOOK_MS:
            self._looked_ms = mono_ms
            self.look(now_ms)
        waits = [sub.due_ms for sub in self.batches if sub.due_ms is not None]
        notice = self.notices.next_ms(now_ms)
        self.due_ms = min([*waits, *([] if notice is None else [notice])], default=None)
        rest = min(1_000, max(10, self.limits.heartbeat_ms // 4))
        return rest if self.due_ms is None else max(0, min(rest, self.due_ms - now_ms))

    def look(self, now_ms: int) -> None:
        """Hold what the connections hold together within its bounds."""
        self.came_bytes = 0
        forget_most(self.windows.values(), self.limits.window_keys)
        relieve(self, now_ms)

    # -- counts

    def stats(self) -> BusStats:
        """A look at everything that is counted."""
        total = TopicCounts()
        total.add(self.routes.folded)
        for topic in self.routes.topics.values():
            total.add(topic.counts)
        subs = [sub for session in self.sessions.values() for sub in session.subs.values()]
        return BusStats(
            total=total,
            topics={name: topic.counts for name, topic in self.routes.topics.items()},
            refused=self.refused,
            connections=len(self.sessions),
            subscriptions=len(subs),
            queue_depth_max=max((sub.messages for sub in subs), default=None),
            queue_capacity_max=max((sub.max_messages for sub in subs), default=None),
            queued_bytes=sum(sub.size for sub in subs) + sum(session.control_bytes for session in self.sessions.values()),
            queued_frames=sum(sub.messages for sub in subs),
        )
