"""What may be spent is bounded by the node and the opening that a run was started by, over all its items, attempts and child runs."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from runloop.effects.perform.model import ModelComplete
from runloop.models.budget import Budget
from runloop.models.types import ModelReply, Usage
from runloop.runs.family import spent, spent_below
from runloop.runs.history import load_run
from runloop.runs.reports import Reports
from runloop.runs.services import RunRules

MAY_NEED, USES = 40, 20
LEAF = """version: 0
name: leaf
params: {item: null}
nodes: [{id: ask, use: "agent:asker", with: {item: "{{params.item}}"}}]
edges: []
artifacts: {save: [ask.out]}
"""
ASKER = "@agent\ndef run(item=None):\n    return {'out': model.complete(f'about {item}').text}\n"


class Broker:
    """Sets aside what a call may need, then books half of it. The call of number ``held`` never ends."""

    def __init__(self, held=0):
        self.count, self.held, self.holds = 0, held, asyncio.Event()

    def leaves_machine(self, request):
        return False

    async def complete(self, request, budget, remaining_ms, take):
        aside = await budget.set_aside(MAY_NEED, 0)
        self.count += 1
        if self.count == self.held:
            self.holds.set()
            await asyncio.get_running_loop().create_future()
        usage = Usage(USES, 0, 0, False)
        budget.settle(aside, usage)
        return ModelReply(f"answer {self.count}", "stop", "test", "m", usage)


def paying(b, **options):
    broker = Broker(**options)
    reports = Reports(b.manager)
    b.services.performers["model.complete"] = ModelComplete(broker, reports.budget_of, reports)
    return broker


def of_items(name, use, *, policy="{}", node=""):
    return f"""version: 0
name: {name}
params: {{items: [1, 2, 3, 4]}}
policy: {policy}
nodes:
  - id: each
    use: "{use}"
    for_each: {{in: params.items, as: item}}
    {node}
edges: []
artifacts: {{save: [each.out]}}
"""


async def test_an_opening_without_a_budget_has_the_settings_default_also_where_the_hard_limit_is_higher(bench):
    async with bench(rules=RunRules(max_tokens=500)) as b:
        b.agent("asker", ASKER, ports_in=("item",), caps="model = true")
        paying(b)
        b.services = b.manager.services = replace(b.services, budget=lambda tokens, usd: Budget(60 if tokens is None else tokens, usd))

        assert (await b.run(of_items("top", "agent:asker"))).code == "model.budget_tokens"
        assert (await b.run(of_items("top", "agent:asker", policy="{budget_tokens: 400}"))).status == "succeeded"
        refused = await b.run(of_items("top", "agent:asker", policy="{budget_tokens: 1000000}").replace("4]", "4" + ", 7" * 40 + "]"))
        assert (refused.code, "of 500 are left" in refused.reason) == ("model.budget_tokens", True)


@pytest.mark.parametrize("use", ["agent:asker", "opening:leaf"])
async def test_the_budget_of_a_node_bounds_its_items_whether_they_are_agents_or_openings(bench, use):
    async with bench() as b:
        b.agent("asker", ASKER, ports_in=("item",), caps="model = true")
        b.openings["leaf"] = LEAF
        broker = paying(b)

        result = await b.run(of_items("top", use, node="budget_tokens: 79"))

        assert (result.status, result.code, broker.count) == ("failed", "model.budget_tokens", 2)
        assert "the call may need 40 tokens, 39 of 79 are left of the budget of node each" in result.reason
        assert (await b.run(of_items("top", use, node="budget_tokens: 100"))).status == "succeeded"


async def test_the_budget_of_an_opening_bounds_what_its_own_openings_use_also_where_it_is_one_itself(bench):
    async with bench() as b:
        b.agent("asker", ASKER, ports_in=("item",), caps="model = true")
        b.openings["leaf"] = LEAF
        b.openings["middle"] = of_items("middle", "opening:leaf", policy="{budget_tokens: 79}")
        broker = paying(b)

        result = await b.run('version: 0\nname: top\nnodes: [{id: outer, use: "opening:middle"}]\nedges: []\n')

        assert (result.status, result.code, broker.count) == ("failed", "model.budget_tokens", 2)
        own, below = spent(load_run(b.ledger, result.run_id).attempts), spent_below(b.ledger, result.run_id)
        assert (own.tokens, below.tokens, below.priced) == (0, 40, True)


async def test_the_budget_of_a_node_bounds_the_runs_that_its_agent_starts_and_those_of_its_next_attempt(bench):
    again = "@agent\ndef run():\n    done = spawn.opening('leaf', {})\n    raise RuntimeError(done.status)\n"
    node = '{id: a, use: "agent:again", budget_tokens: 79, retry: {max_attempts: 4, backoff_ms: 10}}'
    text = f"version: 0\nname: top\nnodes: [{node}]\nedges: []\n"
    async with bench() as b:
        b.agent("asker", ASKER, ports_in=("item",), caps="model = true")
        b.agent("again", again, caps="spawn = true")
        b.openings["leaf"] = LEAF
        broker = paying(b)

        result = await b.run(text)

        ends = [record["meta"]["error"]["message"] for record in b.records if record["kind"] == "node.finished"]
        assert (result.status, broker.count, "failed" in ends[-1]) == ("failed", 2, True)


async def test_a_run_that_is_taken_up_goes_on_with_what_its_nodes_and_the_runs_below_them_have_left(bench):
    async with bench() as b:
        b.agent("asker", ASKER, ports_in=("item",), caps="model = true")
        b.openings["leaf"] = LEAF
        b.openings["middle"] = of_items("middle", "opening:leaf", policy="{budget_tokens: 79}").replace("as: item", "as: item, width: 1")
        broker = paying(b, held=2)
        run = await b.submit('version: 0\nname: top\nnodes: [{id: outer, use: "opening:middle", budget_tokens: 99}]\nedges: []\n')
        drive = asyncio.create_task(b.manager.drive(run))
        await broker.holds.wait()
        for each in b.manager.active:
            each.recorder.halted = True
        drive.cancel()
        with suppress(asyncio.CancelledError):
            await drive
        broker.held = 0

        result = await b.manager.drive(await b.manager.recover(run.run_id))

        assert (result.status, result.code, broker.count) == ("failed", "model.budget_tokens", 3)
        assert "the call may need 40 tokens, 39 of 79 are left" in result.reason
