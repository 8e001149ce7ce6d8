"""A recorded run runs again from its record: the same bytes, and nothing outside."""

import pytest

from runloop.effects.journal import Crossing
from runloop.errors import VerificationFailed
from runloop.runs.history import find_run, load_run
from runloop.runs.replay import Replayer
from runloop.sandbox import guest_digest
from runloop.sandbox.spec import Limits

NOISY = """import random, time, uuid, os
@agent
def run():
    said = [model.complete(f'prompt {n} {random.random()}').text for n in range(3)]
    try:
        mail.send([{'email': 'a@example.org'}], subject='s', text='t')
    except CallError as refused:
        said.append(refused.message)
    return {'out': [said, random.random(), time.time(), str(uuid.uuid4()), os.urandom(4).hex(), sorted({'a', 'b'}), list({'x', 'y', 'z'})]}
"""
TEXT = 'version: 0\nname: noisy\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n'
CAPS = "model = true\nmail = true"


def replayer(b):
    return Replayer(b.pool, b.services.resolve_agent, lambda bundle: Limits(), {}, guest_digest())


async def test_every_attempt_gives_the_same_bytes_again_and_nothing_is_performed(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        result = await b.run(TEXT)
        asked, events = len(b.model.prompts), b.ledger.head()

        verdicts = await replayer(b).replay(load_run(b.ledger, result.run_id))

        assert [(each.node, each.verdict, each.calls) for each in verdicts] == [("only", "same", 4)]
        assert verdicts[0].actual == b.metas("node.finished")[0]["outputs_hash"]
        assert (len(b.model.prompts), b.ledger.head()) == (asked, events)


async def test_two_runs_of_the_same_seed_differ_and_their_replays_do_not(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        first, second = await b.run(TEXT), await b.run(TEXT)
        hashes = [meta["outputs_hash"] for meta in b.metas("node.finished")]

        again = [(await replayer(b).replay(load_run(b.ledger, run.run_id)))[0].actual for run in (first, second)]

        assert hashes[0] != hashes[1]
        assert again == hashes


async def test_another_answer_in_the_record_is_noticed(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        recorded = load_run(b.ledger, (await b.run(TEXT)).run_id)
        old = recorded.attempts[0].crossings[1]
        recorded.attempts[0].crossings[1] = Crossing(
            2, old.name, old.args_hash, result={**old.result, "text": "forged"}, completed_ms=old.completed_ms
        )

        assert (await replayer(b).replay(recorded))[0].verdict == "differs"


async def test_another_question_than_the_recorded_one_is_named(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        recorded = load_run(b.ledger, (await b.run(TEXT)).run_id)
        old = recorded.attempts[0].crossings[1]
        recorded.attempts[0].crossings[1] = Crossing(2, old.name, "0" * 64, result=old.result, completed_ms=old.completed_ms)

        verdict = (await replayer(b).replay(recorded))[0]

        assert verdict.verdict == "differs"
        assert "call 2" in verdict.detail


async def test_a_failed_attempt_replays_to_the_same_failure(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    mail.send([{'email': 'a@example.org'}], subject='s', text='t')\n", caps=CAPS)
        result = await b.run(TEXT)

        verdict = (await replayer(b).replay(load_run(b.ledger, result.run_id)))[0]

        assert (verdict.verdict, verdict.expected) == ("same", "error approval.nobody")


async def test_a_changed_agent_is_refused_before_anything_runs(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        recorded = load_run(b.ledger, (await b.run(TEXT)).run_id)
        recorded.attempts[0].agent = {**recorded.attempts[0].agent, "digest": "0" * 64}

        with pytest.raises(VerificationFailed) as caught:
            await replayer(b).replay(recorded)

        assert caught.value.code == "replay.bundle"


async def test_a_run_is_found_by_the_beginning_of_its_id_and_as_the_last_one(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        result = await b.run(TEXT)

        found = [find_run(b.ledger, ref) for ref in ("last", result.run_id, f"trace:{result.run_id}", result.run_id[:30])]

        assert found == [result.run_id] * 4
