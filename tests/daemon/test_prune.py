"""A prune beside the daemon that ran the runs: it goes on, knows what went, and starts nothing a second time."""

import json
import uuid


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
