"""A prune beside the daemon that ran the runs: it goes on, knows what went, and starts nothing a second time."""

import json
import uuid

import pytest

from runloop.errors import InvalidInput


async def test_a_daemon_goes_on_beside_a_prune_and_starts_no_archived_run_again(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.start()
    old = str(uuid.uuid4())
    async with daemon.client() as link:
        await link.run(words.one("quick"), request_id=old)
        pruned = daemon.rlp("kb", "prune", "--older-than", "0s", "--json")
        assert json.loads(pruned.stdout)["pruned"]["runs"] == 1, pruned.stderr
        new = (await link.run(words.one("quick")))[0]["run_id"]
        fork = ("fork", {"request_id": str(uuid.uuid4()), "run": old, "at": "a"})
        for verb, fields in (("submit", {"opening_source": words.one("quick"), "request_id": old}), ("cancel", {"run": old}), fork):
            assert (await link.refused(verb, **fields))["code"] == "run.archived"
    daemon.stop()
    daemon.start()
    async with daemon.client() as link:
        assert (await link.refused("submit", opening_source=words.one("quick"), request_id=old))["code"] == "run.archived"
    assert [each["run_id"] for each in json.loads(daemon.rlp("runs", "--json").stdout)] == [new]
    assert json.loads(daemon.rlp("kb", "verify", "--json").stdout)["ok"]


async def test_who_reads_a_run_that_is_archived_meanwhile_is_told_and_gets_no_record_after_a_gap(daemon, words):
    daemon.agent(
        "chatty", words.head + "def run() -> dict:\n    for each in range(40):\n        emit.log(str(each))\n    return {'out': 1}\n"
    )
    daemon.start()
    run = str(uuid.uuid4())
    async with daemon.client() as link:
        await link.run(words.one("chatty"), request_id=run)
    daemon.stop()
    daemon.start()  # nothing of it is in memory any more
    async with daemon.client() as link:
        records = await link.client.subscribe(f"rlp/runs/trace:{run}/events", "durable", max_messages=4)
        got = [(await anext(records)).seq]
        assert daemon.rlp("kb", "prune", "--older-than", "0s", "--json").returncode == 0

        async def read_on():
            async for record in records:
                got.append(record.seq)

        with pytest.raises(InvalidInput) as caught:
            await read_on()
        assert got == list(range(1, len(got) + 1))
        assert (len(got) < 40, caught.value.code, run in caught.value.message) == (True, "run.archived", True)
        with pytest.raises(InvalidInput) as caught:
            await link.client.handle(run).result()
        assert caught.value.code == "run.archived"
