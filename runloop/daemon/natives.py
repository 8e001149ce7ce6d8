"""Native programs that joined as agents: what each announced, and a snapshot of each beside the daemon's own (spec 22)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runloop.daemon import metrics
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.bus.core import Broker
    from runloop.bus.server import Request
    from runloop.bus.session import Session

HELLO_TOPIC = "rlp/runtime/hello"


def topic_of(agent_id: str) -> str:
    """Where the snapshots of one agent are published."""
    return f"rlp/agents/agent:{agent_id}/metrics"


@dataclass(frozen=True, slots=True)
class Native:
    """A connection that proved an agent's name, with the id that it announced."""

    agent_id: str
    name: str
    session: Session

    def snapshot(self, now_ms: int, interval_ms: int) -> dict[str, Any]:
        """How it is; of one that is gone its last counts, and an empty mailbox."""
        session = self.session
        mailbox = [sub for sub in session.subs.values() if sub.pattern == ("agent", self.name)]
        pids = [] if session.closed or session.peer.pid <= 0 else [session.peer.pid]
        seconds = metrics.cpu_of(pids)
        gauges = {
            "mailbox_depth": sum(sub.messages for sub in mailbox),
            "mailbox_capacity": sum(sub.max_messages for sub in mailbox) or None,
            "rss_bytes": metrics.memory_of(pids),
            "cpu_total_ms": None if seconds is None else round(seconds * 1000),
        }
        counters = {"msgs_recv_total": session.delivered, "msgs_sent_total": session.published, "msgs_dropped_total": session.lost}
        labels = {"agent_id": f"agent:{self.agent_id}", "agent": self.name}
        return metrics.snapshot("agent", labels, now_ms, interval_ms, gauges, counters)


class Natives:
    """The native agents of a bus."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: dict[str, Native] = {}
        """By session."""

    async def hello(self, request: Request) -> dict[str, Any]:
        """Take an announcement in. Raises what is wrong with it; one that proved no name is nobody's."""
        session = self._broker.sessions.get(request.peer.session)
        if session is None or not session.agent:
            return {"ok": {}}
        payload = request.payload
        try:
            agent_id = str(uuid.UUID(payload.get("agent_id")))
        except (ValueError, TypeError, AttributeError):
            raise InvalidInput(
                "an agent announces itself with a UUID",
                code="agent.hello",
                where=Where(key="agent_id"),
                hint="make one when the program starts",
            ) from None
        before = [native for native in self._known.values() if native.agent_id == agent_id]
        if any(native.name != session.agent for native in before):
            raise InvalidInput(
                f"{agent_id} is another agent", code="agent.hello", where=Where(key="agent_id"), hint="make a UUID of your own"
            )
        for native in before:
            del self._known[native.session.id]
        self._known[session.id] = Native(agent_id, session.agent, session)
        return {"ok": {}}

    def snapshots(self, now_ms: int, interval_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """A snapshot of each agent with its topic; of one that is gone a last one."""
        for session_id, native in list(self._known.items()):
            yield topic_of(native.agent_id), native.snapshot(now_ms, interval_ms)
            if native.session.closed:
                del self._known[session_id]
