"""A daemon on a machine that is loaded more than its settings allow."""

import json

FOUR = "version: 0\nname: four\nnodes:\n" + "".join(f"  - {{id: n{number}, use: agent:quick}}\n" for number in range(4)) + "edges: []\n"


async def test_a_loaded_machine_is_told_and_runs_come_to_their_end(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.settings["runtime.pressure_threshold.mem_pct"] = 0
    daemon.start()
    async with daemon.client() as link:
        status = await link.ask("status")
        records = await link.run(FOUR)
        snapshot = (await link.ask("metrics"))["snapshot"]
    assert (status["nodes"]["limit"], len(status["pressure"])) == (1, 1)
    assert status["pressure"][0].startswith("mem_pct ")
    assert records[-1]["meta"]["status"] == "succeeded"
    assert snapshot["gauges"]["machine_mem_pct"] > 0
    assert "above 0: agents start one after the other" in daemon.rlp("status", "--table").stdout


async def test_a_threshold_counts_at_once_when_it_changes(daemon):
    daemon.start()
    async with daemon.client() as link:
        before = await link.ask("status")
        daemon.configure("runtime: {pressure_threshold: {mem_pct: 0}}")
        reloaded = await link.ask("reload")
        after = await link.ask("status")
    assert (before["pressure"], len(after["pressure"]), reloaded["needs_restart"]) == ([], 1, [])
    assert json.loads(daemon.rlp("config", "explain", "runtime.pressure_threshold.mem_pct", "--json").stdout)["reload"] is True
