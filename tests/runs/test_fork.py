"""A fork shares the history of its parent up to a record, repeats nothing of it, and goes on live as a run of its own."""

import asyncio
from dataclasses import replace

import pytest

from runloop.effects.perform.ports import PersonAnswer
from runloop.effects.perform.secrets import SecretHandles, SecretsHandle, SecretStore
from runloop.errors import InvalidInput, RunloopError
from runloop.runs.forking import ForkRequest
from runloop.runs.history import load_run
from runloop.runs.pausing import pause, resume
from runloop.runs.replay import Replayer
from runloop.runs.results import RunHalted
from runloop.runs.submission import Submission
from runloop.sandbox import guest_digest
from runloop.sandbox.spec import Limits
from tests.support.losing import lose

FIRST = """import random
@agent
def run(topic='tea'):
    said = [model.complete(f'{topic} {n} {random.random()}').text for n in range(3)]
    return {'out': said}
"""
SECOND = """@agent
def run(topic='tea', said=None):
    told = model.complete('sum up ' + str(said)).text
    mail.send([{'email': 'a@example.org'}], subject='s', text=told)
    return {'out': {'told': told, 'topic': topic}}
"""
TEXT = """version: 0
name: chain
params: {topic: tea}
nodes:
  - {id: one, use: "agent:first", with: {topic: "{{params.topic}}"}}
  - {id: two, use: "agent:second", with: {topic: "{{params.topic}}"}}
edges: [{from: one.out, to: two.said}]
"""
CAPS = "model = true\nmail = true"


@pytest.fixture
def chain(bench, desk):
    """Opens a bench in which such a run has ended, its mail approved: ``async with chain() as (b, run_id)``."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def make(*decisions):
        async with bench(desk(True, *decisions)) as b:
            b.agent("first", FIRST, caps=CAPS)
            b.agent("second", SECOND, ports_in=("said",), caps=CAPS)
            result = await b.run(TEXT)
            assert (result.status, result.reason) == ("succeeded", "")
            b.records.clear()
            yield b, result.run_id

    return make


async def fork(b, parent, at=None, **options):
    run = await b.manager.fork(b.ledger, ForkRequest(parent, at, **options), subscribers=(b.records.append,))
    return await b.manager.drive(run)


def seq_of(b, run_id, kind, **meta):
    for event in map(b.ledger.full, b.ledger.read_run(run_id)):
        if event.kind == kind and all(event.payload["meta"].get(name) == value for name, value in meta.items()):
            return str(event.payload["seq"])
    raise AssertionError(f"no {kind} {meta}")


async def replayed(b, run_id):
    def bundle_of(name, variant, digest):
        return b.services.kept.bundle(digest)

    return await Replayer(b.pool, bundle_of, lambda bundle: Limits(), {}, guest_digest()).replay(b.ledger, run_id)


async def ended_at(b, run, port, name):
    """Drive the run until it asks the port, where its process ends."""
    whole = getattr(port, name)

    async def ends(*_asked):
        run.halt()
        await asyncio.Event().wait()

    setattr(port, name, ends)
    with pytest.raises(RunHalted):
        await b.manager.drive(run)
    setattr(port, name, whole)


async def test_a_fork_before_a_node_repeats_nothing_before_it_and_runs_the_rest(chain):
    async with chain(True) as (b, parent):
        prompts = list(b.model.prompts)

        result = await fork(b, parent, "two")

        assert (result.status, len(b.outbox.sent)) == ("succeeded", 2)
        assert b.model.prompts[len(prompts) :] == [prompts[3]]
        assert b.kinds()[:3] == ["run.submitted", "run.started", "node.ready"] or b.kinds()[:2] == ["run.submitted", "run.started"]
        assert [record["seq"] for record in b.records] == list(range(1, len(b.records) + 1))
        assert b.metas("run.submitted")[0]["forked_from"] == {
            "run_id": parent,
            "seq": int(seq_of(b, parent, "node.started", node="two")) - 1,
        }
        assert b.metas("run.finished")[0]["tokens"] == 15
        assert (await replayed(b, result.run_id)).matches is True


async def test_another_answer_is_given_and_the_rest_follows_from_it(chain):
    async with chain(True) as (b, parent):
        asked = len(b.model.prompts)

        result = await fork(b, parent, answers={"one/1/2": {"text": "changed"}})

        assert result.status == "succeeded"
        assert load_run(b.ledger, result.run_id).attempts[0].outputs == {"out": [["answer 1", "changed", f"answer {asked + 1}"]]}
        assert len(b.model.prompts) == asked + 2  # the third question of the first node, and the second node's
        assert "changed" in b.model.prompts[-1]
        report = await replayed(b, result.run_id)
        assert ([each.verdict for each in report.attempts], report.matches) == (["same", "same"], True)


@pytest.mark.parametrize("answer", [5, "changed", None, [], {}, {"txet": "changed"}])
async def test_an_answer_of_another_shape_is_refused_before_the_agent_breaks_over_it(chain, answer):
    async with chain(True) as (b, parent):
        with pytest.raises(InvalidInput, match=r"the answer to call one/1/2 is an object with .*, text, ") as caught:
            await fork(b, parent, answers={"one/1/2": answer})
        assert (caught.value.code, caught.value.hint) == ("fork.answer", 'for example {"text": …}')


async def test_the_guest_of_an_attempt_that_goes_on_is_the_same_guest(chain):
    async with chain(True) as (b, parent):
        prompts = list(b.model.prompts)
        await fork(b, parent, seq_of(b, parent, "effect.completed", node="one", call=1))
        assert b.model.prompts[4:6] == prompts[1:3]  # the random numbers in them are those of the parent's attempt


async def test_a_fork_from_the_first_record_is_a_run_of_its_own(chain):
    async with chain(True) as (b, parent):
        result = await fork(b, parent, "1")
        assert (result.status, len(b.model.prompts)) == ("succeeded", 8)
        assert b.model.prompts[4:7] == b.model.prompts[:3]
        assert (await replayed(b, result.run_id)).matches is True


async def test_a_fork_of_the_end_ends_at_once_with_the_same_outputs_at_no_cost(chain):
    async with chain() as (b, parent):
        asked = len(b.model.prompts)
        result = await fork(b, parent, seq_of(b, parent, "run.finished"))
        first, again = load_run(b.ledger, parent), load_run(b.ledger, result.run_id)
        assert (again.status, again.final_hash) == (first.status, first.final_hash)
        assert (len(b.model.prompts), len(b.outbox.sent), b.metas("run.finished")[0]["tokens"]) == (asked, 1, 0)


async def test_other_parameters_reach_the_nodes_that_had_not_begun(chain):
    async with chain(True) as (b, parent):
        result = await fork(b, parent, "two", params={"topic": "rum"})
        outputs = {each.node: each.outputs for each in load_run(b.ledger, result.run_id).attempts}
        assert (result.status, outputs["two"]["out"][0]["topic"]) == ("succeeded", "rum")
        assert (await replayed(b, result.run_id)).matches is True


async def test_other_code_follows_the_record_while_it_asks_the_same_and_then_goes_its_own_way(chain):
    async with chain(True) as (b, parent):
        asked = len(b.model.prompts)
        changed = FIRST.replace("range(3)", "range(2)").replace(
            "return {'out': said}", "return {'out': said + [model.complete('more').text]}"
        )
        (b.agents_dir / "first").rename(b.root / "before")
        b.agent("first", changed, caps=CAPS)
        at = seq_of(b, parent, "effect.completed", node="one", call=3)

        result = await fork(b, parent, at, agents={"first": b.services.resolve_agent("first", None)})

        assert (result.status, b.model.prompts[asked]) == ("succeeded", "more")
        assert load_run(b.ledger, result.run_id).attempts[0].outputs == {"out": [["answer 1", "answer 2", f"answer {asked + 1}"]]}
        found = b.metas("divergence.found")
        assert [(meta["node"], meta["call"]) for meta in found] == [("one", 3)]
        report = await replayed(b, result.run_id)
        assert ([each.verdict for each in report.attempts], report.matches) == (["same", "same"], True)


async def test_other_code_goes_its_own_way_also_when_the_process_ended_before_it_did(chain):
    async with chain(True) as (b, parent):
        asked = len(b.model.prompts)
        (b.agents_dir / "first").rename(b.root / "before")
        b.agent(
            "first",
            FIRST.replace("range(3)", "range(2)").replace("return {'out': said}", "return {'out': said + [model.complete('more').text]}"),
            caps=CAPS,
        )
        other = {"first": b.services.resolve_agent("first", None)}
        at = seq_of(b, parent, "effect.completed", node="one", call=3)
        run = await b.manager.fork(b.ledger, ForkRequest(parent, at, agents=other))
        await ended_at(b, run, b.pool, "run")

        result = await b.manager.drive(await b.manager.recover(run.run_id, subscribers=(b.records.append,)))

        assert (result.status, b.model.prompts[asked]) == ("succeeded", "more")


async def test_other_code_that_asks_less_ends_where_it_ends(chain):
    async with chain(True) as (b, parent):
        asked = len(b.model.prompts)
        (b.agents_dir / "first").rename(b.root / "before")
        b.agent("first", FIRST.replace("range(3)", "range(1)"), caps=CAPS)
        at = seq_of(b, parent, "effect.completed", node="one", call=3)

        result = await fork(b, parent, at, agents={"first": b.services.resolve_agent("first", None)})

        assert (result.status, len(b.model.prompts)) == ("succeeded", asked + 1)
        assert (await replayed(b, result.run_id)).matches is True


async def test_code_that_changed_on_disk_is_not_used_unless_asked_for(chain):
    async with chain(True) as (b, parent):
        (b.agents_dir / "second").rename(b.root / "before")
        b.agent("second", "@agent\ndef run(said, topic):\n    return {'out': 'other'}\n", ports_in=("said",), caps=CAPS)
        result = await fork(b, parent, "two")
        assert load_run(b.ledger, result.run_id).attempts[1].outputs["out"][0]["told"].startswith("answer")


async def test_a_fork_of_a_fork_has_all_three_histories(chain):
    async with chain(True, True) as (b, parent):
        first = await fork(b, parent, answers={"one/1/2": {"text": "changed"}})
        at = seq_of(b, first.run_id, "node.started", node="two")
        asked = len(b.model.prompts)

        second = await fork(b, first.run_id, at)

        assert (second.status, len(b.model.prompts) - asked) == ("succeeded", 1)
        assert load_run(b.ledger, second.run_id).attempts[0].outputs == load_run(b.ledger, first.run_id).attempts[0].outputs
        assert (await replayed(b, second.run_id)).matches is True


async def test_a_fork_at_an_approval_asks_anew_and_can_be_decided_otherwise(chain):
    async with chain(False) as (b, parent):
        at = seq_of(b, parent, "approval.requested", node="two")

        result = await fork(b, parent, at)

        assert (result.status, result.code, len(b.outbox.sent)) == ("failed", "approval.rejected", 1)
        assert len(b.services.operator.shown) == 2


async def test_an_effect_that_was_under_way_is_never_done_a_second_time(chain):
    async with chain() as (b, parent):
        at = seq_of(b, parent, "effect.requested", node="two", name="mail.send")
        with pytest.raises(InvalidInput) as caught:
            await fork(b, parent, at)
        assert (caught.value.code, len(b.outbox.sent)) == ("fork.in_effect", 1)


async def test_after_the_mail_there_is_no_second_mail(chain):
    async with chain() as (b, parent):
        result = await fork(b, parent, seq_of(b, parent, "effect.completed", node="two", name="mail.send"))
        assert (result.status, len(b.outbox.sent)) == ("succeeded", 1)


async def test_every_point_of_a_run_can_be_forked_and_ends_with_the_same_outputs(chain):
    async with chain(*[True] * 40) as (b, parent):
        b.model.usage = (0, 0, 0)
        recorded = load_run(b.ledger, parent)
        mail = [int(seq_of(b, parent, kind, node="two", call=2)) for kind in ("effect.requested", "effect.completed")]
        under_way = range(*mail)
        for seq in range(1, recorded.last_seq + 1):
            if seq in under_way:
                with pytest.raises(InvalidInput, match="a second time"):
                    await fork(b, parent, str(seq))
                continue
            result = await fork(b, parent, str(seq))
            assert result.status == "succeeded", (seq, result.reason)
            assert (await replayed(b, result.run_id)).matches is True, seq


async def test_a_child_run_that_was_under_way_is_shared_too(bench, desk):
    async with bench(desk(True, True)) as b:
        b.agent("first", FIRST, caps=CAPS)
        b.agent("second", SECOND, ports_in=("said",), caps=CAPS)
        b.openings["inner"] = TEXT
        result = await b.run('version: 0\nname: outer\nnodes: [{id: below, use: "opening:inner"}]\nedges: []\n')
        (child,) = b.ledger.children(result.run_id)
        asked = len(b.model.prompts)
        until = next(event for event in b.ledger.read_run(child) if event.kind == "node.finished")
        at = max(event.payload["seq"] for event in b.ledger.read_run(result.run_id) if event.id <= until.id)
        b.records.clear()

        again = await fork(b, result.run_id, str(at))  # the parent's last record before the child's end

        assert again.status == "succeeded"
        (second,) = b.ledger.children(again.run_id)
        assert load_run(b.ledger, second).submitted["forked_from"]["run_id"] == child
        assert (len(b.model.prompts), len(b.outbox.sent)) == (asked, 1)  # nothing of the child is done again
        assert (await replayed(b, again.run_id)).matches is True

        of_the_fork = await fork(b, again.run_id, "1")  # where the child that it took over is all that it has

        assert (of_the_fork.status, len(b.model.prompts), len(b.outbox.sent)) == ("succeeded", asked, 1)


async def test_costs_are_counted_once(chain):
    async with chain(True) as (b, parent):
        result = await fork(b, parent, "two")
        ends = [load_run(b.ledger, run_id).finished for run_id in (parent, result.run_id)]
        assert [(end["tokens"], end["usd"]) for end in ends] == [(60, 0.001), (15, 0.00025)]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"at": "three"}, "fork.point"),
        ({"at": "two", "params": {"topik": 1}}, "opening.param"),
        ({"answers": {"one/1/9": 1}}, "fork.call"),
    ],
)
async def test_a_fork_that_cannot_be_made_leaves_no_record(chain, options, code):
    async with chain() as (b, parent):
        before = b.ledger.head()
        with pytest.raises(InvalidInput) as caught:
            await fork(b, parent, **options)
        assert (caught.value.code, b.ledger.head()) == (code, before)


async def test_what_a_run_lost_is_not_gone_on_from(chain):
    async with chain(True) as (b, run_id):
        lose(b.ledger, run_id, "answer 3")
        head = b.ledger.head()
        for options in ({"at": "two"}, {"answers": {"two/1/1": {"text": "other"}}}):
            with pytest.raises(InvalidInput, match="were erased") as caught:
                await b.manager.fork(b.ledger, ForkRequest(run_id, **options))
            assert caught.value.code == "fork.erased"
        assert b.ledger.head() == head
        await b.manager.drive(await b.manager.fork(b.ledger, ForkRequest(run_id, "one")))
        lose(b.ledger, run_id, "tea")
        with pytest.raises(InvalidInput, match="were erased"):
            await b.manager.fork(b.ledger, ForkRequest(run_id, "one"))


async def test_a_name_that_no_node_has_is_refused_as_an_agent(chain):
    async with chain() as (b, parent):
        with pytest.raises(InvalidInput) as caught:
            await fork(b, parent, "two", agents={"third": b.services.resolve_agent("first", None)})
        assert caught.value.code == "fork.agent"


async def test_one_id_is_never_two_forks(chain):
    async with chain(True) as (b, parent):
        wanted = "11111111-2222-4333-8444-555555555555"
        await fork(b, parent, "two", run_id=wanted)
        with pytest.raises(RunloopError) as caught:
            await fork(b, parent, "two", run_id=wanted)
        assert (caught.value.code, len(b.outbox.sent)) == ("ledger.key_conflict", 2)


async def test_a_run_under_way_can_be_forked(bench, desk):
    async with bench(desk(True)) as b:
        b.agent("first", FIRST, caps=CAPS)
        b.agent("second", SECOND, ports_in=("said",), caps=CAPS)
        from runloop.openings import parse_opening

        parent = await b.manager.submit(Submission(parse_opening(TEXT)), (b.records.append,))
        result = await fork(b, parent.run_id, "1")
        assert result.status == "succeeded"


GATED = TEXT.replace('use: "agent:first",', 'use: "agent:first", gate: {ask: "go on?", options: [approve, reject]},')


async def test_a_fork_at_a_gate_asks_anew_and_what_was_decided_before_stays_decided(bench, desk):
    async with bench(desk(True, True, answers=[PersonAnswer("approve", "operator"), PersonAnswer("reject", "operator")])) as b:
        b.agent("first", FIRST, caps=CAPS)
        b.agent("second", SECOND, ports_in=("said",), caps=CAPS)
        parent = await b.run(GATED)
        assert parent.status == "succeeded"
        asked, at = len(b.model.prompts), seq_of(b, parent.run_id, "approval.requested", action="gate")
        b.records.clear()

        rejected = await fork(b, parent.run_id, at)
        later = await fork(b, parent.run_id, seq_of(b, parent.run_id, "approval.decided", decision="approve"))

        assert (rejected.status, rejected.code) == ("failed", "gate.rejected")
        assert (later.status, len(b.model.prompts)) == ("succeeded", asked + 1)
        assert (await replayed(b, later.run_id)).matches is True


async def test_a_fork_whose_process_ends_is_taken_up_like_any_run(chain):
    async with chain(True) as (b, parent):
        begun = await b.manager.fork(b.ledger, ForkRequest(parent, "two"))  # and its process ends here
        run = await b.manager.recover(begun.run_id, subscribers=(b.records.append,))
        await ended_at(b, run, b.model, "perform")
        asked = len(b.model.prompts)

        result = await b.manager.drive(await b.manager.recover(begun.run_id, subscribers=(b.records.append,)))

        assert (result.status, len(b.model.prompts), len(b.outbox.sent)) == ("succeeded", asked + 1, 2)
        assert [record["kind"] for record in b.records].count("run.recovered") == 1
        assert (await replayed(b, result.run_id)).matches is True


async def test_a_node_of_many_items_is_shared_whole(bench):
    head = "version: 0\nname: many\nparams: {items: [a, b]}\nedges: []\n"
    text = head + "nodes: [{id: each, use: 'agent:one', for_each: {in: params.items, as: item}}]\n"
    async with bench() as b:
        b.agent("one", "@agent\ndef run(item=None):\n    return {'out': model.complete(str(item)).text}\n", ports_in=("item",), caps=CAPS)
        parent = await b.run(text)
        last = load_run(b.ledger, parent.run_id)

        end = await fork(b, parent.run_id, str(last.last_seq))
        middle = await fork(b, parent.run_id, seq_of(b, parent.run_id, "node.finished", node="each[0]"))

        assert load_run(b.ledger, end.run_id).final_hash == last.final_hash
        assert (middle.status, (await replayed(b, middle.run_id)).matches) == ("succeeded", True)


async def test_the_handles_of_secrets_in_an_attempt_that_goes_on_are_the_ones_that_it_had(bench):
    code = (
        "@agent\ndef run():\n    key = secrets.handle('key')\n    return {'out': [model.complete(f'{n} {key}').text for n in range(2)]}\n"
    )
    async with bench() as b:
        b.services.performers["secrets.handle"] = SecretsHandle(SecretHandles(SecretStore(()), lambda _: ()))
        b.agent("one", code, caps='model = true\nsecrets = ["key"]')
        parent = await b.run('version: 0\nname: keyed\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n')

        result = await fork(b, parent.run_id, seq_of(b, parent.run_id, "effect.completed", call=1))

        assert (result.status, b.model.prompts[2]) == ("succeeded", b.model.prompts[1])


EACH = """version: 0
name: each
params: {numbers: [1, 2]}
nodes:
  - {id: before, use: "agent:double", with: {n: 7}}
  - {id: each, use: "agent:double", for_each: {in: params.numbers, as: n}}
edges: [{from: before.out, to: each.in}]
"""


async def test_a_fork_before_a_node_of_many_items_starts_all_of_them_with_other_parameters_too(bench):
    async with bench() as b:
        b.agent("double", "@agent\ndef run(n):\n    return {'out': 2 * n}\n", ports_in=("n",))
        parent = await b.run(EACH)
        b.records.clear()

        result = await fork(b, parent.run_id, "each", params={"numbers": [5, 6, 7]})

        assert result.status == "succeeded"
        assert [meta["node"] for meta in b.metas("node.started")] == ["each[0]", "each[1]", "each[2]"]
        assert load_run(b.ledger, result.run_id).ends[-1].outputs == {"out": [[10, 12, 14]]}


STEPS = """version: 0
name: steps
params: {items: [1, 2]}
nodes:
  - {id: each, use: "agent:one", for_each: {in: params.items, as: n}}
  - {id: looked, use: "agent:one", gate: {ask: "good?", options: [approve, reject]}}
  - {id: last, use: "agent:one"}
  - {id: never, use: "agent:one"}
edges:
  - {from: each.out, to: looked.n}
  - {from: looked.out, to: last.n}
  - {from: last.out == 7, to: never.n}
"""


@pytest.mark.parametrize(("said", "status"), [("approve", "succeeded"), ("reject", "failed")])
async def test_a_point_within_a_step_leaves_no_node_without_its_end(bench, desk, said, status):
    async with bench(desk(answers=[PersonAnswer(said, "operator")] * 40)) as b:
        b.agent("one", "@agent\ndef run(n=None):\n    return {'out': n}\n", ports_in=("n",))
        parent = await b.run(STEPS)
        recorded = load_run(b.ledger, parent.run_id)
        assert (parent.status, set(recorded.states)) == (status, {"each", "each[0]", "each[1]", "looked", "last", "never"})

        for seq in range(1, recorded.last_seq + 1):
            result = await fork(b, parent.run_id, str(seq))
            forked = load_run(b.ledger, result.run_id)
            assert (seq, forked.states, forked.final_hash) == (seq, recorded.states, recorded.final_hash)


REVISED = """version: 0
name: revised
nodes:
  - {id: draft, use: "agent:one"}
  - {id: side, use: "agent:one"}
  - {id: look, use: "agent:one", gate: {ask: "good?", revise_to: draft}}
  - {id: last, use: "agent:one"}
edges: [{from: draft.out, to: side.n}, {from: draft.out, to: look.n}, {from: look.out, to: last.n}]
"""


async def test_a_fork_after_a_revision_does_not_tell_the_ends_of_the_round_before_again(bench, desk):
    answers = [PersonAnswer("revise", "operator"), *[PersonAnswer("approve", "operator")] * 60]
    async with bench(desk(answers=answers)) as b:
        b.agent("one", "@agent\ndef run(n=None):\n    return {'out': model.complete('?').text}\n", ports_in=("n",), caps="model = true")
        parent = await b.run(REVISED)
        last_seq = load_run(b.ledger, parent.run_id).last_seq
        assert (parent.status, len(answers)) == ("succeeded", 61)

        for seq in range(1, last_seq + 1):
            result = await fork(b, parent.run_id, str(seq))
            forked = load_run(b.ledger, result.run_id)
            assert (seq, result.status, forked.open_attempts) == (seq, "succeeded", [])
            assert (seq, (await replayed(b, result.run_id)).matches) == (seq, True)


ASKED = """version: 0
name: asked
params: {items: [1]}
nodes:
  - id: look
    use: "agent:one"
    for_each: {in: params.items, as: n}
    gate: {ask: "good?", revise_to: look, timeout: 1s, on_timeout: approve}
edges: []
"""


async def test_items_that_were_sent_back_and_then_let_pass_by_time_have_their_end_in_a_fork_from_there(bench, desk):
    async with bench(desk(answers=[PersonAnswer("revise", "operator")])) as b:
        b.agent("one", "@agent\ndef run(n, revise=''):\n    return {'out': n}\n", ports_in=("n", "revise"))
        parent = await b.run(ASKED)
        result = await fork(b, parent.run_id, seq_of(b, parent.run_id, "approval.expired"))
        assert (parent.status, result.status) == ("succeeded", "succeeded")
        assert load_run(b.ledger, result.run_id).states == {"look": "ok", "look[0]": "ok"}


FAN = """version: 0
name: fan
params: {items: [1, 2, 3]}
nodes:
  - {id: each, use: "agent:echo", for_each: {in: params.items, as: v}}
  - {id: last, use: "agent:echo"}
edges: [{from: each.out, to: last.v}]
artifacts: {save: [last.out]}
"""


@pytest.mark.parametrize(("at", "items", "said"), [("each", [5], [[5]]), ("last", [5], None), ("each[1]", [1, 2, 3, 4], None)])
async def test_other_items_are_for_a_node_that_has_not_begun(bench, at, items, said):
    async with bench() as b:
        b.agent("echo", "@agent\ndef run(v):\n    return {'out': v}\n", ports_in=("v",))
        parent = (await b.run(FAN)).run_id
        before = b.ledger.read()[-1].id

        if said is not None:
            run = await b.manager.fork(b.ledger, ForkRequest(parent, at, params={"items": items}))
            assert (await b.manager.drive(run)).saved["last.out"] == said
            return
        with pytest.raises(InvalidInput) as caught:
            await b.manager.fork(b.ledger, ForkRequest(parent, at, params={"items": items}))
        assert (caught.value.code, caught.value.where.node, caught.value.hint) == (
            "fork.items",
            "each",
            "fork at each, or leave the parameter as it was",
        )
        assert b.ledger.read(before) == []


async def test_a_place_that_is_none_is_answered_with_the_nodes_and_items_that_are(bench):
    async with bench() as b:
        b.agent("echo", "@agent\ndef run(v):\n    return {'out': v}\n", ports_in=("v",))
        parent = (await b.run(FAN, params={"items": list(range(12))})).run_id
        with pytest.raises(InvalidInput) as caught:
            await b.manager.fork(b.ledger, ForkRequest(parent, "each[12]"))
        assert (caught.value.code, caught.value.hint) == ("fork.point", "these did: each (items [0] to [11]), last")


@pytest.mark.parametrize(("cancelled", "end"), [(None, ("failed", "fork.items")), ("enough", ("cancelled", "cancelled"))])
@pytest.mark.parametrize("at", ["last", "each[2]", None])
async def test_a_fork_with_other_items_that_an_older_version_recorded_comes_to_an_end(bench, monkeypatch, at, cancelled, end):
    async with bench() as b:
        b.agent("echo", "@agent\ndef run(v):\n    return {'out': v}\n", ports_in=("v",))
        parent = (await b.run(FAN)).run_id
        point = at or seq_of(b, parent, "node.started", node="each[2]")  # with all three under way
        monkeypatch.setattr("runloop.runs.forking._check_items", lambda *_: None)

        run = await b.manager.fork(b.ledger, ForkRequest(parent, point, params={"items": [5]}), subscribers=(b.records.append,))
        if cancelled is not None:
            run.cancel(cancelled)
        result = await b.manager.drive(run)

        assert (result.status, result.code) == end
        assert result.reason == (cancelled or "each[1] began, and the parameters of the fork give 'each' other items")
        recorded = load_run(b.ledger, run.run_id)
        assert ([state for state in recorded.states.values() if state == "running"], recorded.open_attempts) == ([], [])
        assert b.kinds()[-1] == "run.finished"
        assert {each.verdict for each in (await replayed(b, run.run_id)).attempts} <= {"same", "cut"}


WAITS = """version: 0
name: waits
policy: {timeout_ms: 60000}
nodes:
  - {id: one, use: "agent:says"}
  - {id: look, use: "agent:says", gate: {ask: Good?, timeout: 30s, on_timeout: approve}}
  - {id: last, use: "agent:says"}
edges: [{from: one.out, to: look.in}, {from: look.out, to: last.in}]
"""


@pytest.fixture
def days_later(bench, monkeypatch):
    """A bench in which such a run has ended, and a function that lets a day pass."""
    from contextlib import asynccontextmanager

    passed_ms = 0

    @asynccontextmanager
    async def make(desk):
        async with bench(desk) as b:
            b.agent("says", "@agent\ndef run():\n    return {'out': 'x'}\n")
            started = b.services.clock_ms

            def pass_a_day():
                nonlocal passed_ms
                passed_ms += 86_400_000

            clocks = {"clock_ms": lambda: started() + passed_ms, "steady_ms": lambda: started() + passed_ms}
            b.manager.services = replace(b.services, **clocks)
            result = await b.run(WAITS)
            assert result.status == "succeeded", result.reason
            yield b, result.run_id, pass_a_day

    return make


async def test_a_fork_of_a_fork_has_the_whole_time_of_its_opening(days_later, desk):
    answers = [PersonAnswer("approve", "operator") for _ in range(3)]
    async with days_later(desk(answers=answers)) as (b, run_id, pass_a_day):
        runs = [run_id]
        for _ in range(3):
            pass_a_day()
            result = await fork(b, runs[-1], "last")
            assert (result.status, result.reason) == ("succeeded", "")
            runs.append(result.run_id)


async def test_a_fork_whose_process_ended_has_no_less_time_than_it_began_with(days_later, desk):
    async with days_later(desk(answers=[PersonAnswer("approve", "operator")])) as (b, parent, pass_a_day):
        pass_a_day()
        run = await b.manager.fork(b.ledger, ForkRequest(parent, "last"))
        guests = b.pool.run

        async def ends(_spec, _hostcalls, _tape, _in_line):
            run.halt()
            await asyncio.Event().wait()

        b.pool.run = ends
        with pytest.raises(RunHalted):
            await b.manager.drive(run)
        b.pool.run = guests

        pass_a_day()
        result = await b.manager.drive(await b.manager.recover(run.run_id))
        assert (result.status, result.reason) == ("succeeded", "")


async def test_a_gate_that_was_open_at_the_point_is_asked_with_its_whole_time(days_later, desk):
    answers = [PersonAnswer("approve", "operator"), PersonAnswer("reject", "operator")]
    async with days_later(desk(answers=answers)) as (b, parent, pass_a_day):
        pass_a_day()
        result = await fork(b, parent, seq_of(b, parent, "approval.requested", node="look"))
        assert (result.status, result.code) == ("failed", "gate.rejected")
        _, asked = b.metas("approval.requested")
        assert asked["deadline"] > b.metas("run.submitted")[-1]["start_ms"]


@pytest.mark.parametrize("said", ["taken up", "paused"])
async def test_a_fork_that_was_left_before_it_began_begins_with_its_whole_time(days_later, desk, said):
    async with days_later(desk(answers=[PersonAnswer("approve", "operator")])) as (b, parent, pass_a_day):
        pass_a_day()
        run = await b.manager.fork(b.ledger, ForkRequest(parent, "last"))
        if said == "paused":
            await pause(run, "later")
        else:
            b.manager.services = replace(b.manager.services, owner="another")
            await b.manager.recover(run.run_id)
        pass_a_day()
        run = await b.manager.recover(run.run_id)
        if said == "paused":
            await resume(run, "now")
        result = await b.manager.drive(run)
        assert (result.status, result.reason) == ("succeeded", "")
        kinds = [event.kind for event in b.ledger.read_run(run.run_id)]
        assert kinds.count("run.started") == 1
        assert kinds.index("run.started") < kinds.index("node.started")
        assert (await replayed(b, run.run_id)).matches is True


async def test_a_child_of_a_fork_that_is_paused_before_it_begins_waits_with_it(bench):
    async with bench() as b:
        b.agent("slow", "@agent\ndef run():\n    return {'out': model.complete('one').text}\n", caps="model = true")
        b.agent("last", "@agent\ndef run(said):\n    return {'out': model.complete('two').text}\n", ports_in=("said",), caps="model = true")
        nodes = '{id: one, use: "agent:slow"}, {id: two, use: "agent:last"}'
        b.openings["inner"] = f"version: 0\nname: inner\nnodes: [{nodes}]\nedges: [{{from: one.out, to: two.said}}]\n"
        b.model.gate, b.model.gate_at, b.model.hold_seen = asyncio.Event(), 1, asyncio.Event()
        parent = await b.submit('version: 0\nname: outer\nnodes: [{id: below, use: "opening:inner"}]\nedges: []\n')
        first = asyncio.create_task(b.manager.drive(parent))
        await b.model.hold_seen.wait()
        run = await b.manager.fork(b.ledger, ForkRequest(parent.run_id, "4"))
        b.model.gate.set()
        assert (await first).status == "succeeded"

        await pause(run, "later")
        driving = asyncio.create_task(b.manager.drive(run))
        async with asyncio.timeout(20):
            while not driving.done() and not (run.children and run.quiet):
                await asyncio.sleep(0)
        assert (driving.done(), len(b.model.prompts)) == (False, 2)
        (child,) = run.children.values()
        await resume(run, "now")
        assert ((await driving).status, len(b.model.prompts)) == ("succeeded", 4)
        assert [event.kind for event in b.ledger.read_run(child.run_id)][1:3] == ["run.started", "run.paused"]


async def test_what_was_approved_in_advance_for_a_run_is_not_for_the_children_of_its_fork(bench, desk):
    asked = desk(True)
    async with bench(asked) as b:
        mails = "    model.complete('one')\n    mail.send([{'email': 'a@b.org'}], subject='s', text='t')\n"
        b.agent("mails", f"@agent\ndef run():\n{mails}", caps=CAPS)
        policy = "policy: {approve_in_advance: [mail.outbox]}\n"
        b.openings["inner"] = f'version: 0\nname: inner\n{policy}nodes: [{{id: one, use: "agent:mails"}}]\nedges: []\n'
        outer = f'version: 0\nname: outer\n{policy}nodes: [{{id: below, use: "opening:inner"}}]\nedges: []\n'
        b.model.gate, b.model.gate_at, b.model.hold_seen = asyncio.Event(), 1, asyncio.Event()
        parent = await b.submit(outer, yes=True)
        first = asyncio.create_task(b.manager.drive(parent))
        await b.model.hold_seen.wait()
        run = await b.manager.fork(b.ledger, ForkRequest(parent.run_id, "4"))
        b.model.gate.set()
        assert ((await first).status, len(b.outbox.sent), asked.shown) == ("succeeded", 1, [])

        result = await b.manager.drive(run)

        assert (len(asked.shown), result.status, len(b.outbox.sent)) == (1, "succeeded", 2)
