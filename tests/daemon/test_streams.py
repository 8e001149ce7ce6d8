"""Answers that come in pieces through a daemon: seen while they come, never stored, and after a kill asked for once more and no more."""

import asyncio
import importlib.util
import json
import signal
import uuid
from pathlib import Path

import pytest

HEAD = "from runloop_agent import *\nfrom runloop_agent import agent\n\n\n@agent\n"
ASKS = HEAD + (
    "def run():\n"
    "    first = model.complete('one', model='{provider}:thinking')\n"
    "    return {{'out': [first.text, first.reasoning, model.complete('two', model='{provider}:held-once').text]}}\n"
)
CONFIG = """
models:
  broker:
    providers:
      - {{id: openai, kind: http_openai_chat, base_url: "{url}"}}
      - {{id: ollama, kind: http_ollama, base_url: "{url}"}}
      - {{id: anthropic, kind: http_anthropic, base_url: "{url}"}}
    prices:
      - {{model: "*", input: 1.0, output: 1.0}}
"""
TEXT = "This is the model's answer."
THOUGHT = "First this, then that."


def support(name):
    path = Path(__file__).parents[1] / "support" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"support_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server():
    with support("processes").serving("model_server.py", "--port", "0") as served:
        yield served


@pytest.fixture
def asking(daemon, server):
    """The daemon with an agent of a provider, not started yet."""

    def make(provider):
        daemon.configure(CONFIG.format(url=server.url))
        daemon.agent("asks", ASKS.format(provider=provider), "model = true")
        daemon.opening("asks")
        return daemon

    return make


async def second_answer_begins(records):
    """Every record until a piece of the second answer has come."""
    found = []
    async with asyncio.timeout(60):
        async for message in records:
            found.append(message.payload)
            if found[-1]["kind"] == "effect.delta" and found[-1]["meta"]["call"] == 2:
                return found
    raise AssertionError("the records ended")


@pytest.mark.parametrize("provider", ["openai", "ollama", "anthropic"])
async def test_a_kill_in_the_middle_of_an_answer_costs_one_repeated_request_and_nothing_else(provider, asking, server, words):
    daemon = asking(provider)
    daemon.start()
    run_id = str(uuid.uuid4())
    async with daemon.client() as link:
        records = await link.follow(run_id)
        await link.ask("submit", opening="asks", request_id=run_id)
        seen = await second_answer_begins(records)
        daemon.stop(signal.SIGKILL)
    daemon.start()
    async with daemon.client() as link:
        stored = await words.to_end(await link.follow(run_id))

    pieces = [record for record in seen if record["kind"] == "effect.delta"]
    assert [record["event_id"] for record in pieces] == [None] * len(pieces)
    assert all(TEXT[record["meta"]["at"] :].startswith(record["meta"]["text"]) for record in pieces)
    kinds = [record["kind"] for record in stored if record["event_id"] is not None]
    assert (kinds.count("effect.requested"), kinds.count("effect.completed"), kinds.count("run.recovered")) == (2, 2, 1)
    assert [record["seq"] for record in stored if record["event_id"] is not None] == list(range(1, len(kinds) + 1))
    ended = stored[-1]["meta"]
    assert (ended["status"], ended["tokens"], ended["usd"]) == ("succeeded", 36, 0.000036)
    outputs = next(record["meta"]["outputs"] for record in stored if record["kind"] == "node.finished")
    assert outputs == {"out": [[TEXT, THOUGHT, TEXT]]}

    asked = server.requests()
    assert [sent["body"]["model"] for sent in asked] == ["thinking", "held-once", "held-once"]
    assert asked[1]["body"] == asked[2]["body"]
    keys = [sent["headers"].get("Idempotency-Key") for sent in asked]
    assert keys == [None] * 3 if provider == "ollama" else [f"{run_id}/a/1/1", f"{run_id}/a/2/1", f"{run_id}/a/2/1"]

    replayed = daemon.rlp("replay", run_id, "--json")
    assert (replayed.returncode, json.loads(replayed.stdout)["matches"]) == (0, True)
    assert len(server.requests()) == 3


async def test_reasoning_is_in_the_record_of_the_answer_and_no_piece_is_in_the_ledger(asking, server, words):
    daemon = asking("anthropic")
    daemon.start()
    await asyncio.to_thread(server.control, "/_release", {})
    async with daemon.client() as link:
        source = (daemon.state / "openings" / "asks.yaml").read_text()
        await link.run(source, request_id=(run_id := str(uuid.uuid4())))
        stored = await words.to_end(await link.follow(run_id))

    answers = [record["meta"]["result"] for record in stored if record["kind"] == "effect.completed"]
    assert [answer.get("reasoning") for answer in answers] == [THOUGHT, None]
    assert "effect.delta" not in {record["kind"] for record in stored}


async def test_the_command_prints_pieces_alike_in_this_process_and_through_the_daemon(asking, server):
    daemon = asking("ollama")
    await asyncio.to_thread(server.control, "/_release", {})

    def lines(*arguments):
        shown = daemon.rlp("run", "asks", *arguments, "--json")
        assert shown.returncode == 0, shown.stderr
        return [json.loads(line) for line in shown.stdout.splitlines()]

    here = await asyncio.to_thread(lines, "--local")
    daemon.start()
    there = await asyncio.to_thread(lines)

    for printed in (here, there):
        pieces = [line for line in printed if line["kind"] == "effect.delta"]
        assert {(line["event_id"], line["meta"]["node"], line["meta"]["attempt"]) for line in pieces} == {(None, "a", 1)}
        assert {line["meta"]["call"] for line in pieces} == {1, 2}
        for line in pieces:
            number = next(at for at, each in enumerate(printed) if each is line)
            before = [each["seq"] for each in printed[:number] if each["event_id"] is not None]
            assert line["seq"] == before[-1]
            assert set(line) == set(printed[0])
            assert TEXT[line["meta"]["at"] :].startswith(line["meta"]["text"])
    moved = {"node.evicted", "node.rebuilt"}  # on a busy machine an answer may take that long
    kept = [[line["kind"] for line in printed if line["event_id"] is not None] for printed in (here, there)]
    durable = [[kind for kind in kinds if kind not in moved] for kinds in kept]
    assert durable[0] == durable[1]
