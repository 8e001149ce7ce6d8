"""What the client asks the daemon for, as whom, and what it says where it may not."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.client import Client
from runloop.config import load
from runloop.errors import Denied, RunloopError, Unavailable

RUN = "00000000-0000-4000-8000-000000000001"
STARTED = {
    "run_id": RUN,
    "topic": f"rlp/runs/trace:{RUN}/events",
    "opening_name": "o",
    "state": "running",
    "from_seq": 1,
    "last_seq": 9,
    "runs": [],
}


@pytest.fixture
def asked(bus):
    """What the daemon's place on the bus was asked; its answers are those of this list, the last one again and again."""
    answers, heard = [STARTED], []

    async def control(request):
        heard.append(request.payload)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return {"error": answer} if "code" in answer else {"ok": answer}

    bus.server.on_request("rlp/ctrl", control)
    return answers, heard


async def test_a_run_gets_nothing_that_nobody_asked_for(bus, asked):
    async with bus.client() as client:
        await client.submit("hello", {"a": 1}, request_id=RUN)
        await client.attach(RUN)
        await client.runs()
    assert asked[1] == [
        {"verb": "submit", "request_id": RUN, "params": {"a": 1}, "opening": "hello"},
        {"verb": "attach", "run": RUN, "from_seq": 1},
        {"verb": "list", "limit": 50, "roots": False},
    ]


@pytest.mark.parametrize("named", ["yes", "attended", "patient"])
async def test_what_is_asked_for_with_a_run_reaches_the_daemon(bus, asked, named):
    async with bus.client() as client:
        await client.submit("hello", request_id=RUN, **{named: True})
    assert asked[1][0] == {"verb": "submit", "request_id": RUN, "opening": "hello", named: True}


async def test_a_person_who_attaches_to_be_asked_is_announced(bus, asked):
    async with bus.client() as client:
        await client.attach(RUN, 3, attended=True)
    assert asked[1] == [{"verb": "attach", "run": RUN, "from_seq": 3, "attended": True}]


async def test_every_page_of_what_waits_is_asked_for(bus, asked):
    asked[0][:] = [{"open": [1, 2], "next": "b"}, {"open": [3], "next": "c"}, {"open": [], "next": None}]
    async with bus.client() as client:
        found = await client.approvals("last")
    assert found == [1, 2, 3]
    assert [each.get("after") for each in asked[1]] == [None, "b", "c"]


async def test_agents_are_named_with_and_without_their_variant(bus, asked):
    asked[0][:] = [{"agents": []}]
    async with bus.client() as client:
        await client.describe_agents(["a", "b@c"])
    assert asked[1][0]["agents"] == [{"name": "a"}, {"name": "b", "variant": "c"}]


@given(st.data(), st.integers(1, 7))
async def test_a_large_value_is_put_together_from_parts_of_any_size(data, most):
    value = data.draw(st.text(max_size=20))
    whole = json.dumps(value, ensure_ascii=False).encode()

    class Parts(Client):
        async def ask(self, verb, /, **fields):
            assert verb == "blob"
            size = data.draw(st.integers(1, most))
            return {"data": whole[fields["offset"] : fields["offset"] + size], "bytes": len(whole)}

    assert await Parts(settings=load(env={"HOME": "/nowhere"})).blob("x") == value


def with_token(bus, text):
    token = bus.settings.directories.token
    token.parent.mkdir(parents=True, exist_ok=True)
    token.write_text(text)
    token.chmod(0o600)
    return token


async def test_an_operator_is_who_can_read_the_token_whether_asked_for_or_not(bus):
    with_token(bus, "f" * 64)
    for wanted, role in ((None, "operator"), ("operator", "operator"), ("client", "client")):
        async with bus.client(token=None, role=wanted) as client:
            assert client.role == role


async def test_the_token_of_another_daemon_makes_a_client_that_is_told_so_only_where_that_is_what_is_missing(bus, asked):
    token = with_token(bus, "0" * 64)
    asked[0][:] = [
        {"code": "daemon.needs_operator", "message": "no", "hint": "", "exit_code": 4},
        {"code": "run.unknown", "message": "there is none", "hint": "`rlp runs` lists them"},
    ]
    async with bus.client(token=None) as client:
        with pytest.raises(Denied) as refused:
            await client.attach(RUN)
        with pytest.raises(RunloopError) as unknown:
            await client.attach(RUN)
        assert client.role == "client"
    assert f"the token in {token} is not that of the daemon at {bus.path}" in str(refused.value.hint)
    assert (unknown.value.code, unknown.value.hint) == ("run.unknown", "`rlp runs` lists them")


async def test_a_bus_without_a_daemon_is_asked_once_and_not_for_ever(bus):
    async with bus.client() as client:
        with pytest.raises(RunloopError) as caught:
            await client.status()
    assert caught.value.code == "bus.no_responder"


async def test_a_daemon_that_does_not_come_back_ends_what_may_be_asked_again(bus):
    begun = asyncio.Event()

    async def control(_request):
        begun.set()
        await asyncio.get_running_loop().create_future()

    bus.server.on_request("rlp/ctrl", control)
    async with bus.client(reconnect_s=0.05) as client:
        asking = asyncio.create_task(client.status())
        await begun.wait()
        await bus.stop()
        with pytest.raises(Unavailable):
            await asking
        with pytest.raises(Unavailable):
            await client.status()
