"""The examples of docs/examples with a real daemon: a client and an agent in Node.js, an agent in Python."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runloop.cli.status import _lines
from runloop.client import AgentFailed

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed (Debian: apt-get install nodejs)")
NOTED = "def run() -> dict:\n    emit.progress('half', 0.5)\n    emit.log('añb')\n    return {'out': [1.5, None, True]}\n"


def node(*arguments):
    return subprocess.run(["node", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


@needs_node
async def test_the_node_client_submits_a_run_and_follows_it_to_its_end(daemon, words):
    daemon.agent("noted", words.head + NOTED)
    path = daemon.opening("noted")
    daemon.start()
    done = node(EXAMPLES / "bus" / "client.mjs", daemon.socket, daemon.state / "token", path)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr, records[-1]["kind"], records[-1]["meta"]["status"]) == (0, "", "run.finished", "succeeded")
    async with daemon.connection() as client:
        recorded = [record async for record in (await client.attach(records[0]["run_id"])).records()]
    durable = [record for record in records if record["event_id"] is not None]
    assert [(each["seq"], each["kind"], each["message"]) for each in durable] == [
        (each["seq"], each["kind"], each["message"]) for each in recorded
    ]


@needs_node
def test_the_node_client_says_what_the_daemon_refuses(daemon, words):
    daemon.start()
    refused = node(EXAMPLES / "bus" / "client.mjs", daemon.socket, daemon.state / "token", daemon.opening("nowhere"))
    assert (refused.returncode, refused.stderr.split(":")[0]) == (1, "bundle.not_found")
    (daemon.root / "wrong").write_text("0" * 64)
    wrong = node(EXAMPLES / "bus" / "client.mjs", daemon.socket, daemon.root / "wrong", daemon.opening("nowhere"))
    assert (wrong.returncode, wrong.stderr.split(":")[0]) == (1, "bus.token")


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-P", EXAMPLES / "agents" / "doubler.py"],
        pytest.param(["node", EXAMPLES / "agents" / "doubler.mjs"], marks=needs_node),
    ],
    ids=["python", "node"],
)
async def test_a_native_agent_gets_work_and_answers(daemon, command):
    daemon.start()
    arguments = [daemon.socket, daemon.state / "token"] if command[0] == "node" else []
    async with daemon.connection() as client:
        announced = await client.subscribe("rlp/runtime/hello")
        agent = subprocess.Popen([*command, *arguments], env=daemon.env)  # noqa: ASYNC220 - a process of its own
        try:
            assert (await asyncio.wait_for(anext(announced), 60)).payload["name"] == "doubler"
            assert await client.call_agent("doubler", {"in": [1, 2.5]}) == {"out": [2, 5]}
            status = await client.status()
            assert (status["native_agents"], "  native agents: doubler" in _lines(status)) == (["doubler"], True)
            with pytest.raises(AgentFailed, match="give numbers"):
                await client.call_agent("doubler", {"in": ["one"]})
        finally:
            agent.terminate()
            agent.wait()
