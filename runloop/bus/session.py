"""One connection as the broker sees it: who it is, its subscriptions, and what waits to be sent to it, control first."""

from __future__ import annotations

from collections import deque
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.bus.acl import DAEMON, OPERATOR
from runloop.bus.limits import DEDUPE_CALLS
from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.bus.subscription import Subscription
    from runloop.rmp import FramingError
    from runloop.rmp.scan import Row


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other end, as the kernel says; the role is what the hello was granted. ``session`` is unguessable."""

    uid: int
    gid: int
    pid: int
    role: str = ""
    session: str = ""
    name: str = ""
    version: str = ""


@dataclass(slots=True, eq=False)
class Session:
    """State of one connection. ``buffer`` holds the beginning of a frame, ``needed`` how long that frame is as far as known."""

    id: str
    """The name of its inbox: who was asked something knows it."""
    peer: Peer
    key: str = ""
    """What the client alone is told: with it a later connection takes over from this one."""
    role: str = ""
    agent: str = ""
    """The name that a connection of the role agent has proved."""
    subs: dict[int, Subscription] = field(default_factory=dict)
    buffer: bytearray = field(default_factory=bytearray)
    needed: int = 0
    left: tuple[bytes, list[Row], int, FramingError | None] | None = None
    """Frames that came and wait for the next turn: what :func:`runloop.bus.intake.proceed` goes on with."""
    control: deque[bytes] = field(default_factory=deque)
    control_bytes: int = 0
    ready_control: deque[Subscription] = field(default_factory=deque)
    ready: deque[Subscription] = field(default_factory=deque)
    dirty: bool = False
    closing: bool = False
    """The goodbye is queued: nothing more is read, and the connection ends once it is sent."""
    closed: bool = False
    reserved_bytes: int = 0
    """What the subscriptions may hold together."""
    requests: int = 0
    """Calls that handlers have not answered."""
    answer_bytes: int = 0
    """Answers of handlers that wait until there is room for them."""
    asked: dict[bytes, None] = field(default_factory=dict)
    """The dedupe keys of its latest calls."""
    published: int = 0
    """Messages from the peer that were published."""
    delivered: int = 0
    """Messages that went to the peer, in copies, as in the counts of topics."""
    lost: int = 0
    """Copies for the peer that a full queue or an expiry cost."""
    sent_ids: int = 0
    opened_ms: int = 0
    heard: bool = True
    heard_ms: int = 0
    pinged: int = 0
    frame_since_ms: int | None = None
    owner: Any = None
    """Whatever the server attaches: its connection."""
    direct: Callable[[bytes], None] | None = None
    """Takes bytes for the peer at once; None while it does not read, when everything waits in the queues."""

    @property
    def greeted(self) -> bool:
        """Whether the hello was accepted."""
        return bool(self.role)

    @property
    def trusted(self) -> bool:
        """Whether it showed a token, the operator's or that of an agent, or is the daemon itself."""
        return self.role in {OPERATOR, DAEMON} or bool(self.agent)

    @property
    def party(self) -> str:
        """Connections of one party may receive the same."""
        return f"{self.role}/{self.agent}" if self.agent else self.role

    @property
    def pending(self) -> bool:
        """Whether something can be sent now."""
        return bool(self.control or self.ready_control or self.ready)

    def asks(self, seen: bytes) -> bool:
        """Remember a call; False where it is one of the latest already."""
        if seen in self.asked:
            return False
        if len(self.asked) == DEDUPE_CALLS:
            del self.asked[next(iter(self.asked))]
        self.asked[seen] = None
        return True

    def crowded(self, size: int = 0) -> bool:
        """Whether the next answer, of ``size`` bytes, could cost one that waits: an inbox is over half full, or would be over full."""
        return any(
            sub.size * 2 > sub.max_bytes or sub.messages * 2 > sub.max_messages or 0 < sub.size > sub.max_bytes - size
            for sub in self.ready_control
        )

    def schedule(self, sub: Subscription) -> None:
        """Let a subscription with frames take its turn."""
        if not sub.scheduled:
            sub.scheduled = True
            (self.ready_control if sub.control else self.ready).append(sub)
