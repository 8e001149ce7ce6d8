"""What a run says is to be done where its plan ended a node or all of it: the record has it, and so has what people read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from runloop.openings.remedies import HINTS, RUN_TIMEOUT, SAME_AGAIN

ROOT = Path(__file__).parents[2]
NUMBERS = "version: 0\nname: t\nparams: {numbers: [1, 2, 3]}\n"
EACH = "  - {id: each, use: agent:one, for_each: {in: params.numbers, as: item}}\n"
ENDS = {
    "timeout": "version: 0\nname: t\nnodes: [{id: only, use: agent:loop, timeout_ms: 100}]\nedges: []\n",
    "success": "version: 0\nname: t\nnodes: [{id: only, use: agent:one, with: {item: 1}}]\nedges: []\nsuccess: {any_of: [only.out == 7]}\n",
    "gate.rejected": (
        "version: 0\nname: t\nnodes: [{id: only, use: agent:one, with: {item: 1}, gate: {ask: ok?, timeout: 1ms, on_timeout: reject}}]\n"
        "edges: []\n"
    ),
    "items.too_many": (
        "version: 0\nname: t\nnodes:\n  - {id: a, use: agent:one, with: {item: [1, 2, 3]}}\n"
        "  - {id: each, use: agent:one, for_each: {in: item, max: 2}}\nedges: [{from: a.out, to: each.item}]\n"
    ),
    "output.invalid": (
        "version: 0\nname: t\nnodes: [{id: only, use: agent:one, with: {item: 1}, output: {schema: {type: string}}}]\nedges: []\n"
    ),
    "vote.undecided": f"{NUMBERS}nodes:\n{EACH}  - {{id: v, use: agent:one, merge: {{vote: {{of: item}}}}}}\n"
    "edges: [{from: each.out, to: v.item}]\n",
    "vote.quorum": f"{NUMBERS}nodes:\n{EACH}  - {{id: v, use: agent:one, merge: {{vote: {{of: item, quorum: 4}}}}}}\n"
    "edges: [{from: each.out, to: v.item}]\n",
}  # fmt: skip


def agents(b):
    b.agent("one", "@agent\ndef run(item):\n    return {'out': item}\n", ports_in=("item",))
    b.agent("loop", "@agent\ndef run():\n    while True:\n        pass\n")
    b.agent("wrong", "@agent\ndef run():\n    raise ValueError('no')\n")


@pytest.mark.parametrize("code", ENDS)
async def test_a_failure_that_the_plan_came_to_is_recorded_with_what_to_change(bench, code):
    async with bench() as b:
        agents(b)

        result = await b.run(ENDS[code])

        assert result.code == code
        assert b.metas("run.finished")[0]["error"]["hint"] == HINTS[code]
        failed = [meta["error"] for meta in b.metas("node.finished") if meta["status"] == "error"]
        assert [(error["code"], error["hint"]) for error in failed] == ([] if code == "success" else [(code, HINTS[code])] * len(failed))


async def test_where_the_time_of_the_run_was_over_its_own_clock_is_named(bench):
    async with bench() as b:
        agents(b)

        result = await b.run("version: 0\nname: t\npolicy: {timeout_ms: 100}\nnodes: [{id: only, use: agent:loop}]\nedges: []\n")

        assert result.reason == "opening timed out after 100 ms"
        assert b.metas("run.finished")[0]["error"]["hint"] == RUN_TIMEOUT


async def test_an_exception_that_would_come_again_says_why_retry_did_not_repeat_it(bench):
    async with bench() as b:
        agents(b)

        await b.run("version: 0\nname: t\nnodes: [{id: only, use: agent:wrong, retry: {max_attempts: 3}}]\nedges: []\n")

        [failed] = b.metas("node.finished")
        assert failed["error"]["hint"] == f"look at agent.py, line 5: raise ValueError('no'); {SAME_AGAIN}"
        assert b.metas("run.finished")[0]["error"]["hint"] == failed["error"]["hint"]


def test_the_page_of_errors_says_the_same():
    told = tomllib.loads((ROOT / "scripts/docgen/remedies.toml").read_text(encoding="utf-8"))["do"]

    assert {code: told.get(code, hint) for code, hint in HINTS.items()} == HINTS
