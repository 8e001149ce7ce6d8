"""The client that is written from docs/protocol.md alone, in another language."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from runloop import rmp
from runloop.bus import BusLimits

CLIENT = Path(__file__).parents[2] / "docs" / "examples" / "bus" / "client.mjs"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


ECHO = """
const { Bus } = await import(process.argv[2])
const [path, topic, count] = process.argv.slice(3)
const bus = await Bus.connect(path)
await new Promise(async (end, fail) => {
  await bus.subscribe(topic, ({ envelope: { payload } }) => {
    console.log(JSON.stringify(payload))
    if (payload.n === Number(count)) end()
  })
  for (let n = 1; n <= Number(count); n++) {
    await bus.publish(topic, 'observation.generic.v1', { n, text: 'añb', list: [1.5, -3, null, true, 2 ** 40] }).catch(fail)
  }
}).catch(error => { console.error(error.message); process.exitCode = 1 })
bus.close()
"""


@pytest.fixture
def echo(tmp_path):
    """A program that uses the client."""
    script = tmp_path / "echo.mjs"
    script.write_text(ECHO)
    return script


async def node(*args):
    process = await asyncio.create_subprocess_exec(
        "node", *(str(arg) for arg in args), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    return process.returncode, [json.loads(line) for line in out.splitlines()], errors.decode()


def test_it_has_less_than_150_lines_and_depends_on_nothing_but_node():
    text = CLIENT.read_text()
    assert len(text.splitlines()) < 150
    assert [line for line in text.splitlines() if line.startswith("import ") and "'node:" not in line] == []


@needs_node
async def test_it_publishes_and_gets_back_what_it_published(serve, echo):
    server = await serve()
    status, got, errors = await node(echo, CLIENT, server.path, "a/b", 30)
    assert (status, errors) == (0, "")
    assert got == [{"n": n, "text": "añb", "list": [1.5, -3, None, True, 2**40]} for n in range(1, 31)]


@needs_node
async def test_it_answers_when_the_bus_asks_whether_it_is_there(serve, tmp_path):
    server = await serve(limits=BusLimits(heartbeat_ms=20, missed_heartbeats=1_000_000))  # however slow the machine is
    script = tmp_path / "idle.mjs"
    script.write_text("const { Bus } = await import(process.argv[2])\nawait Bus.connect(process.argv[3])\n")
    process = await asyncio.create_subprocess_exec("node", script, CLIENT, server.path)
    try:
        async with asyncio.timeout(60):
            while server.stats().subscriptions == 0:  # after which it has nothing else to say
                await asyncio.sleep(0.01)
            (session,) = server.broker.sessions.values()
            for _ in range(3):
                for unanswered in (True, False):
                    while (session.pinged > 0) is not unanswered:
                        await asyncio.sleep(0)
    finally:
        process.kill()
        await process.wait()


@needs_node
async def test_a_refusal_reaches_its_user(serve, echo):
    server = await serve()
    status, _, errors = await node(echo, CLIENT, server.path, "rlp/sys/x", 1)
    assert (status, errors.split(":")[0]) == (1, "bus.forbidden")


class Ledger:
    """A run of so many records."""

    async def read(self, topic, from_seq, limit):
        def frame(seq):
            payload = {"seq": seq, "kind": "run.finished" if seq == 100 else "node.log", "run_id": "r", "meta": {"n": 2**60, "blob": None}}
            envelope = rmp.Envelope("observation.run.event.v1", payload, {"topic": topic, "seq": seq})
            return rmp.encode_frame(envelope, trace_id=1, msg_id=seq, created_at_ms=1000)

        return [(seq, frame(seq)) for seq in range(from_seq, min(101, from_seq + limit))]


@needs_node
async def test_it_submits_a_run_as_operator_and_follows_it_to_its_end(serve, tmp_path):
    server = await serve(ledger=Ledger(), limits=BusLimits(queue_messages=7))
    asked = []

    async def control(request):
        asked.append((request.peer.role, request.payload))
        return {"ok": {"run_id": "r", "topic": "rlp/runs/r/events"}}

    server.on_request("rlp/ctrl", control)
    (tmp_path / "token").write_text("f" * 64)
    (tmp_path / "opening.yaml").write_text("version: 0\n")
    status, records, errors = await node(CLIENT, server.path, tmp_path / "token", tmp_path / "opening.yaml", '{"to": "Ada"}')
    assert (status, errors) == (0, "")
    assert records[0]["meta"] == {"n": str(2**60), "blob": None}
    assert [record["seq"] for record in records] == list(range(1, 101))
    ((role, payload),) = asked
    assert (role, payload["verb"], payload["opening_source"], payload["params"]) == ("operator", "submit", "version: 0\n", {"to": "Ada"})
