"""Native programs as agents: their work, their answers, and what hostile ones cannot do."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import pytest

from runloop import rmp
from runloop.bus import Message
from runloop.bus.errors import DeadlinePassed, Disconnected, NotAllowed
from runloop.client import AgentFailed, agent_token
from runloop.client.agents import REQUEST, RESPONSE, BadWork, read_work
from runloop.errors import Denied, InvalidInput, RunloopError, Unavailable

GENERIC = "observation.generic.v1"
TOKEN = "f" * 64


async def double(work):
    return {"out": [2 * number for number in work.inputs["in"]]}


@asynccontextmanager
async def working(bus, name="doubler", handler=double, **options):
    """An agent at work."""
    async with bus.client() as watcher, bus.client(agent=name) as agent:
        announced = await watcher.subscribe("rlp/runtime/hello")
        serving = asyncio.create_task(agent.serve(handler, **options))
        hello = (await anext(announced)).payload
        assert (hello["name"], set(hello)) == (name, {"agent_id", "name", "shim_version", "capabilities"})
        try:
            yield agent
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def test_an_agent_announces_itself_gets_its_work_and_answers(bus):
    seen = []

    async def note(work):
        seen.append(work)
        return await double(work)

    trace, opening = str(uuid.uuid4()), str(uuid.uuid4())
    async with bus.client() as client, working(bus, handler=note):
        assert await client.call_agent("doubler", {"in": [1, 2]}, node="n", trace_id=trace, opening_id=opening, attempt=3) == {
            "out": [2, 4]
        }
        assert await asyncio.gather(*(client.call_agent("doubler", {"in": [number]}) for number in range(50))) == [
            {"out": [2 * number]} for number in range(50)
        ]
        assert client.bus.pending == 0
    (work, *_) = seen
    assert (work.node, work.trace_id, work.opening_id, work.attempt) == ({"id": "n"}, trace, opening, 3)


async def test_failures_are_told_with_their_own_word_on_trying_again_and_without_secrets(bus):
    async def fails(work):
        match work.node["id"]:
            case "later":
                raise Unavailable("the printer is off", code="printer.off")
            case "never":
                raise InvalidInput("no paper", code="printer.paper")
            case "breaks":
                raise ValueError("the password is 1234")
            case "slow":
                raise TimeoutError("of its own")
            case "odd":
                return ["no map"]
            case "unsendable":
                return {"out": [object()]}

    async with bus.client() as client, working(bus, handler=fails):
        told = {}
        for node in ("later", "never", "breaks", "slow", "odd", "unsendable"):
            with pytest.raises(AgentFailed) as caught:
                await client.call_agent("doubler", node=node)
            told[node] = (caught.value.retryable, caught.value.message.split("failed: ", 1)[1].split(":")[0])
    assert told == {
        "later": (True, "printer.off"),
        "never": (False, "printer.paper"),
        "breaks": (False, "the agent broke"),
        "slow": (False, "the agent broke"),
        "odd": (False, "agent.envelope"),
        "unsendable": (False, "rmp.encode_error"),
    }


async def test_nobody_there_late_and_answers_that_are_none_are_errors_of_their_own(bus):
    async def once_never(work):
        if work.inputs:  # which may expire before it is begun
            await asyncio.Event().wait()
        return {"out": ["at last"]}

    async with bus.client() as client:
        with pytest.raises(Disconnected) as caught:
            await client.call_agent("doubler")
        assert caught.value.code == "bus.no_responder"
        with pytest.raises(BadWork):
            await client.call_agent("doubler", {"in": 7})
        with pytest.raises(BadWork):
            await client.call_agent("doubler", trace_id="seven")
        for deadline_s in (0, -1, float("inf"), float("nan"), "5", None):
            with pytest.raises(BadWork, match="deadline_s"):
                await client.call_agent("doubler", deadline_s=deadline_s)
        async with working(bus, handler=once_never, width=1):
            with pytest.raises(DeadlinePassed):
                await client.call_agent("doubler", {"in": [1]}, deadline_s=0.05)
            assert await client.call_agent("doubler") == {"out": ["at last"]}
        assert client.bus._subs == {}


@pytest.mark.parametrize(
    ("answer", "type_", "trace"),
    [
        ({"Completed": {"ports": {"out": 7}}}, RESPONSE, None),
        ({"Completed": 7}, RESPONSE, None),
        ({}, RESPONSE, None),
        (None, RESPONSE, None),
        ({"Completed": {"ports": {"out": []}}}, GENERIC, None),
        ({"Completed": {"ports": {"out": []}}}, RESPONSE, 7),
    ],
)
async def test_an_answer_with_wrong_ids_or_in_no_form_of_the_protocol_is_refused(bus, answer, type_, trace):
    async with bus.client() as client, bus.client(agent="odd") as agent:
        work = await agent.subscribe("agent/odd")
        calling = asyncio.create_task(client.call_agent("odd"))
        asked = await anext(work)
        await agent.bus.publish(asked.payload["reply_topic"], type_, answer, trace_id=asked.trace_id if trace is None else trace, ack=True)
        with pytest.raises(BadWork) as caught:
            await calling
    assert caught.value.code == "agent.envelope"


async def test_a_failure_is_retryable_where_it_says_so_itself_and_its_reason_is_cut(bus):
    async with bus.client() as client, bus.client(agent="odd") as agent:
        work = await agent.subscribe("agent/odd")
        calling = asyncio.create_task(client.call_agent("odd"))
        asked = await anext(work)
        answer = {"Failed": {"retryable": "no", "reason": "x" * 5_000}}
        await agent.bus.publish(asked.payload["reply_topic"], RESPONSE, answer, trace_id=asked.trace_id, ack=True)
        with pytest.raises(AgentFailed) as caught:
            await calling
    assert (caught.value.retryable, caught.value.message) == (False, "the agent 'odd' failed: " + "x" * 2_000)


def request_for(name, **changes):
    trace = str(uuid.uuid4())
    fields = {
        "node": {"id": "n"},
        "inputs": {"ports": {"in": [1]}},
        "trace_id": trace,
        "opening_id": None,
        "attempt": 1,
        "reply_topic": f"rlp/runs/trace:{trace}/agents/{name}/{uuid.uuid4()}",
    }
    return fields | changes


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        request_for("doubler", node={}),
        request_for("doubler", inputs={"ports": [1]}),
        request_for("doubler", inputs=None),
        request_for("doubler", trace_id=7),
        request_for("doubler", opening_id=7),
        request_for("doubler", attempt=True),
        request_for("doubler", attempt=0),
        request_for("doubler", reply_topic=None),
        request_for("doubler", reply_topic="rlp/inbox/x/1"),
        request_for("doubler", reply_topic="rlp/runs/trace:1/agents/doubler"),
        request_for("doubler", reply_topic="rlp/runs/trace:1/agents/doubler/1/more"),
        request_for("other"),
    ],
)
async def test_work_that_makes_no_sense_is_passed_over_and_the_agent_goes_on(bus, bad):
    envelope = rmp.Envelope(REQUEST, bad, {"topic": "agent/doubler"})
    with pytest.raises(RunloopError):
        read_work(Message(rmp.encode_frame(envelope, trace_id=1, msg_id=1, created_at_ms=1)), "doubler")
    async with bus.client() as client, working(bus, width=1):
        await client.publish("agent/doubler", REQUEST, bad)
        await client.publish("agent/doubler", GENERIC, request_for("doubler"))
        assert await client.call_agent("doubler", {"in": [4]}) == {"out": [8]}


async def test_an_agent_cannot_see_or_answer_the_work_of_another(bus):
    seen = []
    async with bus.client() as client, bus.client(agent="hostile") as hostile, working(bus):
        everything = await hostile.subscribe("**", on_message=seen.append)
        for pattern in ("agent/doubler", "rlp/runs/**", "rlp/runs/*/agents/hostile/*", "rlp/ctrl", "action.request"):
            with pytest.raises(NotAllowed):
                await hostile.subscribe(pattern)
        for topic in ("rlp/runs/trace:1/agents/doubler/1", "rlp/runs/trace:1/events", "agent/doubler", "agent/hostile", "rlp/sys/state"):
            with pytest.raises(NotAllowed):
                await hostile.publish(topic, RESPONSE, {"Completed": {"ports": {"out": ["forged"]}}}, ack=True)
        assert await client.call_agent("doubler", {"in": [1]}) == {"out": [2]}
        await hostile.bus.flush()
        assert (seen, everything.waiting) == ([], 0)


async def test_a_program_without_the_token_of_a_name_is_not_that_agent(bus):
    async with bus.client(role="agent", token=None, name="doubler") as poser:
        assert poser.role == "agent"
        with pytest.raises(NotAllowed) as caught:
            await poser.subscribe("agent/doubler")
        assert "token" in caught.value.hint
    with pytest.raises(NotAllowed) as caught:
        await bus.client(agent="doubler", token=agent_token(TOKEN, "other")).connect()
    assert caught.value.code == "bus.token"
    with pytest.raises(Denied) as caught:
        await bus.client(agent="doubler", token=None).connect()
    assert (caught.value.code, "RUNLOOP_AGENT_TOKEN" in caught.value.hint) == ("client.agent_token", True)


async def test_the_token_of_an_agent_may_come_in_its_environment(bus, monkeypatch):
    monkeypatch.setenv("RUNLOOP_AGENT_TOKEN", agent_token(TOKEN, "doubler"))
    async with bus.client(agent="doubler", token=None) as agent:
        assert agent.role == "agent"
        await agent.subscribe("agent/doubler")


async def test_a_flood_of_answers_and_announcements_disturbs_nobody_else(bus):
    async with bus.client() as client, bus.client(agent="hostile") as hostile, working(bus):
        work = await hostile.subscribe("agent/hostile")
        calling = asyncio.create_task(client.call_agent("hostile"))
        asked = await anext(work)
        answers = await client.subscribe("rlp/runtime/hello", max_messages=8)

        async def flood():
            for _ in range(3000):
                await hostile.bus.publish(asked.payload["reply_topic"], RESPONSE, {"Completed": {"ports": {}}}, trace_id=asked.trace_id)
                await hostile.publish("rlp/runtime/hello", "observation.agent.hello.v1", {"name": "doubler"})
                await hostile.publish("agent/doubler", REQUEST, request_for("doubler"))

        flooding = asyncio.create_task(flood())
        results = [await client.call_agent("doubler", {"in": [number]}) for number in range(100)]
        await flooding
        assert (await calling, results) == ({}, [{"out": [2 * number]} for number in range(100)])
        assert (answers.waiting <= 8, client.bus.pending) == (True, 0)


async def test_more_work_than_an_agent_takes_at_a_time_waits_for_it(bus):
    at_work, most = 0, 0
    gate = asyncio.Event()

    async def slow(work):
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await gate.wait()
        at_work -= 1
        return await double(work)

    async with bus.client() as client, working(bus, handler=slow, width=3):
        calls = [asyncio.create_task(client.call_agent("doubler", {"in": [number]})) for number in range(12)]
        while at_work < 3:
            await asyncio.sleep(0)
        gate.set()
        assert [result["out"][0] for result in await asyncio.gather(*calls)] == [2 * number for number in range(12)]
    assert most == 3


async def test_work_that_expires_while_it_waits_for_other_work_is_not_begun(bus):
    begun, gate = [], asyncio.Event()

    async def slow(work):
        begun.append(work.node["id"])
        if work.node["id"] == "first":
            await gate.wait()
        return {}

    async with bus.client() as client, working(bus, handler=slow, width=1):
        first = asyncio.create_task(client.call_agent("doubler", node="first"))
        while not begun:
            await asyncio.sleep(0)
        with pytest.raises(DeadlinePassed):
            await client.call_agent("doubler", node="late", deadline_s=0.05)
        gate.set()
        assert (await first, await client.call_agent("doubler", node="next")) == ({}, {})
    assert begun == ["first", "next"]


async def test_an_agent_comes_back_with_the_bus_and_announces_itself_again(bus):
    async with bus.client() as client, working(bus):
        await bus.stop()
        await bus.start()
        announced = await client.subscribe("rlp/runtime/hello")
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await client.call_agent("doubler", {"in": [5]}) == {"out": [10]}
                    break
                except Disconnected:
                    await asyncio.sleep(0.01)
        await announced.close()


async def test_the_next_bus_hears_who_is_there(bus):
    heard = asyncio.Event()

    async def hello(_request):
        heard.set()

    async with working(bus), asyncio.timeout(30):
        await bus.stop()
        (await bus.start()).on_request("rlp/runtime/hello", hello)
        await heard.wait()


async def test_who_serves_no_more_has_ended_its_work_and_announces_itself_to_nobody(bus):
    begun, ended, heard = asyncio.Event(), asyncio.Event(), []

    async def slow(_work):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def hello(request):
        heard.append(request.payload)

    async with bus.client() as client, bus.client(agent="doubler") as agent:
        announced = await client.subscribe("rlp/runtime/hello")
        serving = asyncio.create_task(agent.serve(slow))
        await anext(announced)
        asking = asyncio.create_task(client.call_agent("doubler"))
        await begun.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert ended.is_set()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await bus.stop()
        (await bus.start()).on_request("rlp/runtime/hello", hello)
        for _ in range(3):  # what it would say is sent when it is connected
            await agent.bus.flush()
    assert heard == []


async def test_a_second_program_of_the_name_takes_over_and_the_first_ends_for_good(bus):
    async with bus.client(agent="doubler") as first:
        serving = asyncio.create_task(first.serve(double))
        await first.bus.flush()
        async with bus.client() as client, working(bus):
            with pytest.raises(Exception, match="connected again"):
                await serving
            assert await client.call_agent("doubler", {"in": [1]}) == {"out": [2]}


async def test_only_an_agent_serves(bus):
    async with bus.client() as client:
        with pytest.raises(InvalidInput) as caught:
            await client.serve(double)
    assert caught.value.code == "client.no_agent"


@pytest.mark.parametrize(
    ("handler", "width", "key"), [(double, 0, "width"), (double, -1, "width"), (double, "2", "width"), (None, 8, "handler")]
)
async def test_an_agent_that_could_do_no_work_does_not_announce_itself(bus, handler, width, key):
    async with bus.client(agent="idle") as agent:
        with pytest.raises(InvalidInput) as caught:
            async with asyncio.timeout(10):
                await agent.serve(handler, width=width)
    assert (caught.value.code, caught.value.where.key, bool(caught.value.hint)) == ("client.serve", key, True)
