"""Nested openings and spawned agents: runs of their own, on their parent's budget and within its approvals."""

import pytest

from runloop.runs.reports import Reports
from runloop.runs.services import RunRules

CHILD = """version: 0
name: child
params: {n: 1}
policy: {approve_in_advance: [mail.outbox]}
nodes: [{id: inner, use: "agent:one", with: {n: "{{params.n}}"}}]
edges: []
artifacts: {save: [inner.out]}
"""
PARENT = """version: 0
name: parent
nodes: [{id: outer, use: "opening:child", with: {n: 41}}]
edges: []
artifacts: {save: [outer.out]}
"""
ONE = "@agent\ndef run(n: int = 1):\n    return {'out': n + 1}\n"


def spawner(call, caps):
    return f"@agent\ndef run():\n    done = {call}\n    return {{'out': [done.status, done.outputs]}}\n", f"spawn = {caps}"


SPAWN = 'version: 0\nname: s\nnodes: [{id: only, use: "agent:spawner"}]\nedges: []\n'


async def test_a_nested_opening_is_a_run_of_its_own_with_its_parent_named(bench):
    async with bench() as b:
        b.openings["child"] = CHILD
        b.agent("one", ONE)

        result = await b.run(PARENT)

        value = result.saved["outer.out"][0]
        assert (result.status, value["status"], value["outputs"]) == ("succeeded", "succeeded", {"inner.out": [42]})
        child = b.ledger.read(run_id=value["run_id"])
        assert child[0].payload["parent_run_id"] == result.run_id
        assert child[0].provenance["trace_id"] == f"trace:{result.run_id}"
        assert child[-1].kind == "run.finished"


async def test_a_failed_child_fails_its_node_with_the_childs_reason(bench):
    async with bench() as b:
        b.openings["child"] = CHILD
        b.agent("one", "@agent\ndef run(n):\n    raise ValueError('inside')\n")

        result = await b.run(PARENT)

        assert result.status == "failed"
        assert "inside" in result.reason


async def test_an_agent_spawns_another_and_gets_its_ports(bench):
    async with bench() as b:
        code, caps = spawner("spawn.agent('one', {'n': 6})", '["agent:one"]')
        b.agent("spawner", code, caps=caps)
        b.agent("one", ONE)

        result = await b.run(SPAWN)

        assert result.status == "succeeded"
        assert b.metas("node.finished")[0]["outputs"] == {"out": [["succeeded", {"out": [7]}]]}


@pytest.mark.parametrize("call", ["spawn.agent('one', {'n': 6})", "spawn.opening('child', {'n': 6})"])
async def test_an_agent_hears_why_what_it_spawned_failed(bench, call):
    async with bench() as b:
        code = f"@agent\ndef run():\n    done = {call}\n    return {{'out': [done.status, done.code, done.reason]}}\n"
        b.agent("spawner", code, caps='spawn = ["agent:one", "opening:child"]')
        b.openings["child"] = CHILD
        b.agent("one", "@agent\ndef run(n):\n    raise ValueError('inside')\n")

        assert (await b.run(SPAWN)).status == "succeeded"

        status, code, reason = b.metas("node.finished")[-1]["outputs"]["out"][0]
        assert (status, code, reason.startswith("node '"), "inside" in reason) == ("failed", "guest.exception", True, True)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("spawn.opening('child', {'m': 6})", "unknown parameter 'm'"),
        ("spawn.opening('child', {'n': 'six'})", "parameter 'n' must be a number, not a string"),
    ],
)
async def test_what_cannot_be_spawned_as_it_was_asked_for_is_invalid_and_not_tried_again(bench, call, said):
    async with bench() as b:
        b.agent("spawner", f"@agent\ndef run():\n    return {{'out': {call}.status}}\n", caps="spawn = true")
        b.openings["child"] = CHILD
        b.agent("one", ONE)

        result = await b.run(SPAWN.replace('spawner"}', 'spawner", retry: {max_attempts: 2, backoff_ms: 10}}'))

        assert result.status == "failed"
        [failed] = b.metas("effect.failed")
        assert (failed["error"]["kind"], failed["error"]["message"]) == ("invalid", said)


async def test_spawning_what_policy_does_not_name_is_denied(bench):
    async with bench() as b:
        code, caps = spawner("spawn.agent('one', {'n': 6})", '["agent:other"]')
        b.agent("spawner", code, caps=caps)
        b.agent("one", ONE)

        assert (await b.run(SPAWN)).code == "denied.spawn.start.target_not_permitted"


async def test_an_opening_that_starts_itself_ends_at_the_depth_limit(bench):
    async with bench() as b:
        nodes = '[{id: more, use: "agent:more"}, {id: outer, use: "opening:child"}]\nedges: [{from: more.out == true, to: outer.in}]'
        endless = f"version: 0\nname: parent\nnodes: {nodes}\n"
        b.agent("more", "@agent\ndef run():\n    return {'out': True}\n")
        b.openings["child"] = endless

        result = await b.run(endless)

        assert (result.status, result.code) == ("failed", "run.too_deep")


async def test_a_child_may_not_approve_in_advance_what_its_parent_may_not(bench):
    async with bench() as b:
        b.openings["child"] = CHILD
        b.agent("one", "@agent\ndef run(n):\n    mail.send([{'email': 'a@example.org'}], subject='s', text='t')\n", caps="mail = true")

        result = await b.run(PARENT, yes=True)

        assert (result.code, b.outbox.sent) == ("approval.nobody", [])


@pytest.mark.parametrize(("parents", "code", "sent"), [("true", "approval.nobody", 0), ("false", "", 1)])
async def test_a_child_asks_where_its_parent_has_to(bench, parents, code, sent):
    async with bench(rules=RunRules(confirm_external_actions=False)) as b:
        b.openings["child"] = 'version: 0\nname: child\npolicy: {confirm_external: false}\nnodes: [{id: n, use: "agent:one"}]\nedges: []\n'
        b.agent("one", "@agent\ndef run():\n    mail.send([{'email': 'a@example.org'}], subject='s', text='t')\n", caps="mail = true")
        policy = f"policy: {{confirm_external: {parents}}}"

        result = await b.run(f'version: 0\nname: parent\n{policy}\nnodes: [{{id: below, use: "opening:child"}}]\nedges: []\n')

        assert (result.code, len(b.outbox.sent)) == (code, sent)


async def test_cancelling_the_parent_ends_the_child_and_both_say_so(bench):
    async with bench() as b:
        b.openings["child"] = CHILD
        b.agent("one", "@agent\ndef run(n):\n    emit.artifact('mark', 'x')\n    while True:\n        pass\n")
        run = await b.submit(PARENT)
        artifact = Reports(b.manager).artifact

        async def cancel_then(ctx, made):
            run.cancel("enough")
            return await artifact(ctx, made)

        b.services.performers["emit.artifact"]._reporter = type("R", (), {"artifact": staticmethod(cancel_then)})

        result = await b.manager.drive(run)

        children = [run_id for run_id in b.ledger.run_ids() if run_id != run.run_id]
        assert result.status == "cancelled"
        assert [b.ledger.read(run_id=run_id)[-1].payload["meta"]["status"] for run_id in children] == ["cancelled"]
