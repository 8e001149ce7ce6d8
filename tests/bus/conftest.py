"""A broker with peers around it, without sockets; and a server with clients on one."""

import itertools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runloop import rmp
from runloop.bus import BusLimits, BusServer, frames
from runloop.bus.acl import agent_token
from runloop.bus.core import Broker
from runloop.bus.session import Peer

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves it out
from tests_bus_helpers import TOKEN

NOW = 1_000_000


@dataclass
class Rig:
    """A broker whose clock stands until it is moved. Peers are named; what is sent to them is collected when asked for."""

    broker: Broker
    now: int = NOW
    mono: int = 0
    ids: itertools.count = field(default_factory=lambda: itertools.count(1))

    def connect(self, name: str, role: str = "client", token: str | None = None, pid: int = 1):
        session = self.broker.connect(name, Peer(1000, 1000, pid), self.mono, self.now)
        self.say(session, frames.HELLO, frames.Hello(role, name, "1", token).payload())
        return session

    def joined(self, name: str, role: str = "client", pid: int = 1):
        """A connected peer whose welcome has been read."""
        session = self.connect(name, role, TOKEN if role == "operator" else None, pid)
        assert [frame.type for frame in self.read(session)] == [frames.WELCOME]
        return session

    def agent(self, name: str):
        """A connected agent that has proved its name."""
        session = self.broker.connect(f"session of {name}", Peer(1000, 1000, 1), self.mono, self.now)
        self.say(session, frames.HELLO, frames.Hello("agent", name, "1", agent_token(TOKEN, name)).payload())
        assert [frame.type for frame in self.read(session)] == [frames.WELCOME]
        return session

    def say(self, session, type_, payload, *, meta=None, msg_id=None, ttl_ms=30_000, trace_id=7):
        """Send one frame as the peer; its message id."""
        number = next(self.ids) if msg_id is None else msg_id
        self.raw(session, self.frame(type_, payload, meta=meta, msg_id=number, ttl_ms=ttl_ms, trace_id=trace_id))
        return number

    def frame(self, type_, payload, *, meta=None, msg_id=None, ttl_ms=30_000, trace_id=7):
        number = next(self.ids) if msg_id is None else msg_id
        return rmp.encode_frame(rmp.Envelope(type_, payload, meta), trace_id=trace_id, msg_id=number, created_at_ms=self.now, ttl_ms=ttl_ms)

    def raw(self, session, data):
        self.broker.receive(session, data, self.now)

    def publish(self, session, topic, payload=None, type_="observation.generic.v1", **options):
        meta = {"topic": topic, **options.pop("meta", {})}
        return self.say(session, type_, payload, meta=meta, **options)

    def subscribe(self, session, pattern, sub=1, klass="realtime", **options):
        self.say(session, frames.SUBSCRIBE, frames.Subscribe(sub, pattern, klass, **options).payload())
        answer = self.read(session)[-1]
        assert answer.envelope.payload["ok"], answer.envelope.payload
        return session.subs[sub]

    def read(self, session, max_bytes=1 << 30):
        """The frames that the broker has for a peer now, as its connection would send them."""
        decoder = rmp.FrameDecoder()
        while chunks := self.broker.outgoing(session, self.now, max_bytes):
            decoder.feed(b"".join(chunks))
            if max_bytes < 1 << 30:
                break
        found = list(decoder.frames())
        decoder.finish()
        return found

    def payloads(self, session):
        return [frame.envelope.payload for frame in self.read(session)]

    def tick(self, ms=0):
        self.now += ms
        self.mono += ms
        return self.broker.tick(self.now, self.mono)


@pytest.fixture(scope="session")
def make_rig():
    def make(*, durable=False, acl=None, secret=b"", **limits):
        return Rig(Broker(BusLimits(**limits), token=TOKEN, version="test", durable=durable, acl=acl, secret=secret))

    return make


@pytest.fixture
def rig(make_rig):
    return make_rig()


@pytest.fixture
def now_ms():
    return lambda: time.time_ns() // 1_000_000


@pytest.fixture
async def serve(tmp_path):
    """Start servers that end with the test."""
    started = []

    async def start(name="rmp.sock", **options):
        limits = options.pop("limits", None)
        server = BusServer(limits=limits, token=TOKEN, **options)
        await server.start(tmp_path / "bus" / name)
        started.append(server)
        return server

    yield start
    for server in started:
        await server.close()
