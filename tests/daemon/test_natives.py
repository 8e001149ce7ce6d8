"""Metrics of native agents: what the bus and the kernel know of each."""

from __future__ import annotations

import asyncio
import os
import uuid

import pytest

from runloop.bus import Message
from runloop.bus.core import Broker
from runloop.bus.server import Request
from runloop.bus.session import Peer
from runloop.daemon.natives import HELLO_TOPIC, Natives, topic_of
from runloop.errors import InvalidInput
from runloop.rmp import Envelope, encode_frame

HELLO = "observation.agent.hello.v1"


def joined(broker, session_id="s1", agent="doubler", pid=0):
    """A connection of an agent that proved its name."""
    session = broker.connect(session_id, Peer(os.getuid(), os.getgid(), pid, "agent", session_id), 0, 0)
    session.role, session.agent = "agent", agent
    return session


def hello(session, agent_id):
    return announced(session, {"agent_id": agent_id})


def announced(session, payload):
    raw = encode_frame(Envelope(HELLO, payload, {"topic": HELLO_TOPIC}), trace_id=1, msg_id=1, created_at_ms=0, ttl_ms=1000)
    return Request(HELLO_TOPIC, Message(raw), session.peer, 1000)


async def test_an_agents_snapshot_tells_its_mailbox_its_messages_and_its_process(running):
    async def double(work):
        return {"out": [2 * number for number in work.inputs["in"]]}

    async with running.client() as link, running.connection(agent="doubler") as agent:
        hellos = await link.client.subscribe(HELLO_TOPIC)
        serving = asyncio.create_task(agent.serve(double))
        agent_id = (await anext(hellos)).payload["agent_id"]
        published = await link.client.subscribe(topic_of(agent_id))
        for number in range(3):
            assert await link.client.call_agent("doubler", {"in": [number]}) == {"out": [2 * number]}
        first = (await anext(published)).payload
        assert ("agent", {"agent_id": f"agent:{agent_id}", "agent": "doubler"}) == (first["scope"], first["labels"])
        gauges, counters = first["gauges"], first["counters"]
        assert (gauges["mailbox_depth"], gauges["mailbox_capacity"] > 0, gauges["rss_bytes"] > 10_000_000) == (0, True, True)
        assert gauges["cpu_total_ms"] > 0
        assert counters == {"msgs_recv_total": 3, "msgs_sent_total": 4, "msgs_dropped_total": 0}  # the announcement and three answers
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await agent.close()
        last = (await anext(published)).payload
        while "rss_bytes" in last["gauges"]:
            last = (await anext(published)).payload
        assert (last["gauges"], last["counters"]["msgs_sent_total"]) == ({"mailbox_depth": 0}, 4)


async def test_who_is_gone_is_told_of_once():
    broker = Broker()
    natives, session, agent_id = Natives(broker), joined(broker), str(uuid.uuid4())
    await natives.hello(hello(session, agent_id))
    assert [topic_of(agent_id)] == [topic for topic, _ in natives.snapshots(1, 1000)]
    broker.disconnect(session)
    assert [[topic_of(agent_id)], []] == [[topic for topic, _ in natives.snapshots(now, 1000)] for now in (2, 3)]


async def test_who_connects_again_goes_on_under_its_id():
    broker = Broker()
    natives, agent_id = Natives(broker), str(uuid.uuid4())
    old, new = joined(broker), joined(broker, "s2")
    await natives.hello(hello(old, agent_id))
    broker.disconnect(old)
    await natives.hello(hello(new, agent_id))
    assert [topic_of(agent_id)] == [topic for topic, _ in natives.snapshots(1, 1000)]


@pytest.mark.parametrize("agent_id", [None, 7, "", "no uuid", ["x"]])
async def test_an_id_that_is_no_uuid_is_refused(agent_id):
    broker = Broker()
    with pytest.raises(InvalidInput) as caught:
        await Natives(broker).hello(hello(joined(broker), agent_id))
    assert (caught.value.code, caught.value.where.key) == ("agent.hello", "agent_id")


@pytest.mark.parametrize("payload", [None, 7, "", []])
async def test_an_announcement_that_is_no_map_is_refused(payload):
    broker = Broker()
    with pytest.raises(InvalidInput) as caught:
        await Natives(broker).hello(announced(joined(broker), payload))
    assert caught.value.code == "agent.hello"


async def test_the_id_of_another_agent_is_refused():
    broker = Broker()
    natives, agent_id = Natives(broker), str(uuid.uuid4())
    await natives.hello(hello(joined(broker), agent_id))
    with pytest.raises(InvalidInput) as caught:
        await natives.hello(hello(joined(broker, "s2", "thief"), agent_id))
    assert caught.value.code == "agent.hello"
    assert [found["labels"]["agent"] for _, found in natives.snapshots(1, 1000)] == ["doubler"]


async def test_who_proved_no_name_has_no_metrics():
    broker = Broker()
    natives = Natives(broker)
    await natives.hello(hello(joined(broker, agent=""), str(uuid.uuid4())))
    assert list(natives.snapshots(1, 1000)) == []
