"""What the contract of a node says of a large output is found beside everything else, and is the same."""

import threading

import pytest

from runloop import schemas
from runloop.openings import parse_opening
from runloop.openings.contract import faults
from runloop.openings.plan import Plan
from runloop.openings.states import Begin, NodeSucceeded
from runloop.runs import judging
from runloop.runs.judging import judged

RECORDS = """version: 0
name: records
nodes:
  - id: a
    use: agent:one
    output:
      schema: {type: array, items: {type: object, required: [name], properties: {name: {type: string}, size: {type: integer}}}}
      attempts: 2
  - {id: b, use: agent:one}
edges: []
"""
ONE = """@agent
def run(feedback=None):
    return {"out": [{"name": "n", "size": i if feedback or i else "x"} for i in reversed(range(2000))]}
"""
TWO = "@agent\ndef run(item=None):\n    mail.send([{'email': 'a@example.org'}], subject='s', text='t')\n    return {'out': 1}\n"
OPENING = parse_opening(RECORDS)
LARGE = [{"name": "n", "size": number} for number in range(2_000)]


@pytest.fixture
def checks(monkeypatch):
    """For each value that was checked: whether by the thread that everything waits for, and the steps that it might take."""
    done = []

    class Work(schemas._Work):
        def __init__(self, most):
            super().__init__(most)
            done.append((threading.current_thread() is threading.main_thread(), most))

    monkeypatch.setattr(schemas, "_Work", Work)
    return done


@pytest.mark.parametrize(
    ("outputs", "checked"),
    [
        ({"out": [LARGE[:9]]}, [(True, judging.QUICK_STEPS)]),
        ({"out": [LARGE]}, [(True, judging.QUICK_STEPS), (False, schemas.MOST_STEPS)]),
        ({"out": [[*LARGE, {"size": "x"}]]}, [(True, judging.QUICK_STEPS), (False, schemas.MOST_STEPS)]),
        ({}, []),
    ],
)
async def test_only_a_quick_check_is_waited_for_by_everybody(checks, outputs, checked):
    found = await judged(OPENING, NodeSucceeded("a", 1, outputs))
    assert checks == checked
    assert found.faults == faults(OPENING.node("a").output, outputs)


@pytest.mark.parametrize("node", ["b", "nowhere"])
async def test_where_there_is_no_contract_nothing_is_said(node):
    assert (await judged(OPENING, NodeSucceeded(node, 1, {}))).faults is None


@pytest.mark.parametrize("outputs", [{"out": [LARGE]}, {"out": [[{}]]}, {}])
async def test_a_plan_that_is_told_the_faults_does_what_one_does_that_looks_for_them(outputs):
    plans = []
    for event in (NodeSucceeded("a", 1, outputs), await judged(OPENING, NodeSucceeded("a", 1, outputs))):
        plan = Plan(OPENING, b"seed")
        plan.step(Begin(), 0)
        plans.append(plan.step(event, 0))
    assert plans[0] == plans[1]


async def test_no_run_checks_a_large_output_while_others_wait_nor_does_one_that_is_taken_up_again(bench, desk, checks):
    asked = desk(True)
    async with bench(asked) as b:
        b.agent("one", ONE, ports_in=("feedback",))
        b.agent("two", TWO, ports_in=("item",), caps="mail = true")
        run = await b.submit(RECORDS.replace("b, use: agent:one}", "b, use: agent:two}").replace("[]", "[{from: a.out, to: b.item}]"))
        await b.left_while_asked(run, asked)
        assert [most for here, most in checks if not here] == [schemas.MOST_STEPS] * 2
        checks.clear()
        run = await b.manager.recover(run.run_id)
        result = await b.manager.drive(run)
    assert result.status == "succeeded"
    assert [most for here, most in checks if here] == [judging.QUICK_STEPS] * 2
    assert [most for here, most in checks if not here] == [schemas.MOST_STEPS] * 2
