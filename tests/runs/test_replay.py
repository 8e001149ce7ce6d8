"""A recorded run runs again from its record: the same bytes, nothing outside, and the first difference by name with both values."""

import dataclasses

import pytest
from msgspec import structs

from runloop.errors import InvalidInput, Unavailable, VerificationFailed
from runloop.openings import OpeningError
from runloop.runs.forking import ForkRequest
from runloop.runs.history import load_run
from runloop.runs.jsondiff import MISSING, Difference
from runloop.runs.replay import Replayer
from runloop.runs.submitted import opening_of
from runloop.sandbox import guest_digest
from runloop.sandbox.spec import GuestError, Limits
from tests.support.losing import lose

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
RELAY = """@agent
def run():
    said = model.complete('first').text
    return {'out': {'said': said, 'echo': model.complete('about ' + said).text}}
"""
TEXT = 'version: 0\nname: noisy\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n'
CAPS = "model = true\nmail = true"


def replayer(b, **options):
    def bundle_of(name, variant, _digest):
        return b.services.resolve_agent(name, variant)

    return Replayer(b.pool, bundle_of, lambda bundle: Limits(), {}, guest_digest(), **options)


class Forged:
    """A ledger whose records of one kind say something else in their meta."""

    def __init__(self, ledger, kind, change, call=None):
        self.ledger, self.kind, self.change, self.call = ledger, kind, change, call
        self.read_run, self.children = ledger.read_run, ledger.children

    def full(self, event):
        event = self.ledger.full(event)
        meta = event.payload["meta"]
        if event.kind != self.kind or (self.call is not None and meta["call"] != self.call):
            return event
        return structs.replace(event, payload={**event.payload, "meta": self.change(meta)})


def places(report):
    return [
        (each.node, each.verdict, each.divergence and (each.divergence.what, each.divergence.call, each.divergence.difference))
        for each in report.attempts
    ]


async def test_every_attempt_gives_the_same_bytes_again_and_nothing_is_performed(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        result = await b.run(TEXT)
        asked, events = len(b.model.prompts), b.ledger.head()

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert [(each.node, each.verdict, each.calls) for each in report.attempts] == [("only", "same", 4)]
        assert report.attempts[0].actual == b.metas("node.finished")[0]["outputs_hash"]
        assert (report.matches, report.final_hash) == (True, b.metas("run.finished")[0]["final_hash"])
        assert (len(b.model.prompts), b.ledger.head()) == (asked, events)


async def test_two_runs_of_the_same_opening_differ_and_their_replays_do_not(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        first, second = await b.run(TEXT), await b.run(TEXT)
        hashes = [meta["outputs_hash"] for meta in b.metas("node.finished")]

        again = [(await replayer(b).replay(b.ledger, run.run_id)).attempts[0].actual for run in (first, second)]

        assert hashes[0] != hashes[1]
        assert again == hashes


async def test_another_answer_in_the_record_is_noticed_where_it_changes_a_question(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        forged = Forged(b.ledger, "effect.completed", lambda meta: {**meta, "result": {**meta["result"], "text": "forged"}}, call=1)

        report = await replayer(b).replay(forged, result.run_id)

        assert places(report) == [("only", "differs", ("call", 2, Difference("$.args.prompt", "about answer 1", "about forged")))]
        assert report.matches is False


async def test_another_answer_in_the_record_is_noticed_where_it_changes_the_outputs(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        forged = Forged(b.ledger, "effect.completed", lambda meta: {**meta, "result": {**meta["result"], "text": "forged"}}, call=2)

        report = await replayer(b).replay(forged, result.run_id)

        assert places(report) == [("only", "differs", ("outputs", None, Difference("$.outputs.out[0].echo", "answer 2", "forged")))]
        assert report.final_hash != report.recorded_hash


@pytest.mark.parametrize(("lost", "verdict"), [("answer 1", "differs"), ("answer 2", "differs"), ("node only ok", "same")])
async def test_of_an_attempt_that_lost_texts_nobody_says_that_it_does_something_else(bench, lost, verdict):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        assert lose(b.ledger, result.run_id, lost)

        report = await replayer(b).replay(b.ledger, result.run_id)

        [attempt] = report.attempts
        assert (attempt.verdict, report.matches, report.unknown) == (verdict, verdict == "same", verdict != "same")
        if attempt.divergence is not None:
            assert attempt.divergence.to_dict()["what"] == "erased"
            assert attempt.detail == "texts of its record were erased: whether it would be the same is not known"


async def test_outputs_in_the_record_that_are_not_what_their_hash_says_are_the_records_fault(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        forged = Forged(b.ledger, "node.finished", lambda meta: {**meta, "outputs": {"out": ["forged"]}})

        report = await replayer(b).replay(forged, result.run_id)

        assert [each.divergence.what for each in report.attempts] == ["record"]


async def test_a_recorded_call_that_the_guest_does_not_make_is_named(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        b.agent("changed", "@agent\ndef run():\n    return {'out': model.complete('first').text}\n", caps=CAPS)
        result = await b.run(TEXT)
        other = {"one": b.services.resolve_agent("changed", None)}

        report = await replayer(b, replaced=other).replay(b.ledger, result.run_id)

        wanted = {"name": "model.complete", "args": {"prompt": "about answer 1"}}
        assert places(report) == [("only", "differs", ("call", 2, Difference("$", wanted, MISSING)))]


async def test_a_call_beyond_the_record_is_named_and_not_performed(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('first').text}\n", caps=CAPS)
        b.agent("changed", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        other = {"one": b.services.resolve_agent("changed", None)}

        report = await replayer(b, replaced=other).replay(b.ledger, result.run_id)

        made = {"name": "model.complete", "args": {"prompt": "about answer 1"}}
        assert places(report) == [("only", "differs", ("call", 2, Difference("$", MISSING, made)))]
        assert b.model.prompts == ["first"]


async def test_changed_code_that_asks_and_gives_the_same_is_the_same(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        b.agent("changed", RELAY + "# tidied\n", caps=CAPS)
        result = await b.run(TEXT)
        other = {"one": b.services.resolve_agent("changed", None)}

        assert (await replayer(b, replaced=other).replay(b.ledger, result.run_id)).matches is True


async def test_other_code_for_an_agent_that_no_node_is_is_refused(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)

        with pytest.raises(InvalidInput) as caught:
            await replayer(b, replaced={"two": b.services.resolve_agent("one", None)}).replay(b.ledger, result.run_id)

        assert (caught.value.code, caught.value.hint) == ("replay.agent", "its agents: one")


async def test_a_failed_attempt_replays_to_the_same_failure(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    mail.send([{'email': 'a@example.org'}], subject='s', text='t')\n", caps=CAPS)
        result = await b.run(TEXT)

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert (report.attempts[0].verdict, report.attempts[0].expected, report.matches) == ("same", "error approval.nobody", True)


class NoWorker:
    """A pool that has no workers."""

    def __init__(self, pool):
        self.prepare = pool.prepare

    async def run(self, *_given):
        raise Unavailable("no worker", code="pool.restarts")


async def test_an_attempt_that_no_worker_took_did_not_end_by_itself(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        object.__setattr__(b.services, "guests", NoWorker(b.pool))
        result = await b.run(TEXT)
        assert result.code == "pool.restarts"

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert [(each.verdict, each.calls) for each in report.attempts] == [("cut", 0)]


async def test_a_replay_that_no_worker_takes_is_no_difference(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        without = dataclasses.replace(replayer(b), guests=NoWorker(b.pool))

        with pytest.raises(Unavailable) as caught:
            await without.replay(b.ledger, result.run_id)

        assert caught.value.code == "pool.restarts"


class LosesWorkers:
    """Guests whose worker dies so many times after their first call."""

    def __init__(self, pool, times):
        self.pool, self.times = pool, times

    async def run(self, spec, crossings, tape=(), in_line=None):
        if self.times:
            self.times -= 1
            await crossings("model.complete", '{"prompt": "first"}')
            raise GuestError("the worker process died while the agent ran", code="worker.crashed", retryable=True)
        return await self.pool.run(spec, crossings, tape)


@pytest.mark.parametrize(("times", "verdict"), [(3, "same"), (4, "differs")])
async def test_a_replay_that_loses_its_worker_begins_again_as_a_run_would(bench, times, verdict):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)

        report = await dataclasses.replace(replayer(b), guests=LosesWorkers(b.pool, times)).replay(b.ledger, result.run_id)

        assert [each.verdict for each in report.attempts] == [verdict]


async def test_a_call_whose_arguments_cannot_be_read_is_compared_as_the_guest_wrote_it(bench):
    asks = "@agent\ndef run():\n    try:\n        model.complete({})\n    except CallError:\n        return {{'out': 'refused'}}\n"
    async with bench() as b:
        b.agent("one", asks.format("7"), caps=CAPS)
        b.agent("changed", asks.format("8"), caps=CAPS)
        result = await b.run(TEXT)
        other = {"one": b.services.resolve_agent("changed", None)}

        same = await replayer(b).replay(b.ledger, result.run_id)
        report = await replayer(b, replaced=other).replay(b.ledger, result.run_id)

        assert (result.status, same.matches, b.model.prompts) == ("succeeded", True, [])
        [(_, verdict, (what, call, difference))] = places(report)
        assert (verdict, what, call, difference) == ("differs", "call", 1, Difference("$.args", None, '{"prompt": 8}'))


async def test_an_attempt_that_was_stopped_is_followed_to_its_last_call(bench):
    code = "@agent\ndef run():\n    said = [model.complete(f'{n}').text for n in range(3)]\n    while True: pass\n"
    async with bench() as b:
        b.agent("one", code, caps=CAPS)
        result = await b.run(TEXT.replace('use: "agent:one"', 'use: "agent:one", timeout_ms: 3000'))
        assert result.code == "timeout"

        report = await replayer(b).replay(b.ledger, result.run_id)
        forged = Forged(b.ledger, "effect.requested", lambda meta: {**meta, "args_hash": "0" * 64}, call=3)
        other = await replayer(b).replay(forged, result.run_id)

        assert [(each.verdict, each.calls) for each in report.attempts] == [("cut", 3)]
        assert (other.attempts[0].verdict, other.attempts[0].divergence.call) == ("differs", 3)


@pytest.mark.parametrize(
    ("ends", "found"),
    [
        ("return {'out': said}", {"outputs": {"out": [["answer 1"]]}}),
        ("raise RuntimeError('no')", {"error": {"code": "guest.exception", "message": "RuntimeError: no"}}),
    ],
)
async def test_other_code_that_ends_before_a_call_of_an_attempt_that_was_left_is_named(bench, ends, found):
    asks = "@agent\ndef run():\n    said = [model.complete(str(n)).text for n in range({})]\n    {}\n"
    async with bench() as b:
        b.agent("one", asks.format(2, "return {'out': said}"), caps=CAPS)
        b.agent("changed", asks.format(1, ends), caps=CAPS)
        b.model.hold_at = 2
        run = await b.submit(TEXT)
        await b.left_at_the_model(run)
        other = {"one": b.services.resolve_agent("changed", None)}

        same = await replayer(b).replay(b.ledger, run.run_id)
        report = await replayer(b, replaced=other).replay(b.ledger, run.run_id)

        assert [(each.verdict, each.calls) for each in same.attempts] == [("cut", 2)]
        left = {"name": "model.complete", "args": {"prompt": "1"}}
        assert places(report) == [("only", "differs", ("end", 2, Difference("$", left, found)))]


async def test_child_runs_are_replayed_with_their_parent(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        b.openings["inner"] = TEXT
        result = await b.run('version: 0\nname: outer\nnodes: [{id: below, use: "opening:inner"}]\nedges: []\n')

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert [(each.node, each.verdict) for each in report.attempts] == [("below", "skipped"), ("only", "same")]
        assert [each.run_id for each in report.attempts] == [result.run_id, *b.ledger.children(result.run_id)]


async def test_a_changed_agent_is_refused_before_anything_runs(bench):
    async with bench() as b:
        b.agent("one", NOISY, caps=CAPS)
        result = await b.run(TEXT)
        forged = Forged(b.ledger, "node.started", lambda meta: {**meta, "agent": {**meta["agent"], "digest": "0" * 64}})

        with pytest.raises(VerificationFailed) as caught:
            await replayer(b).replay(forged, result.run_id)

        assert caught.value.code == "replay.bundle"


async def test_another_guest_is_refused_unless_any_will_do(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        forged = Forged(b.ledger, "run.submitted", lambda meta: {**meta, "versions": {**meta["versions"], "guest": "0" * 64}})

        with pytest.raises(VerificationFailed) as caught:
            await replayer(b).replay(forged, result.run_id)

        assert caught.value.code == "replay.guest"
        assert (await replayer(b, any_guest=True).replay(forged, result.run_id)).matches is True


CONTRACT = """version: 0
name: strict
nodes:
  - id: only
    use: "agent:one"
    output: {port: out, schema: {type: object, required: [more]}, retry: fresh, attempts: 2, on_exhausted: fail}
edges: []
"""
MANY = """version: 0
name: many
params: {items: [a, b, c]}
nodes:
  - {id: each, use: "agent:one", for_each: {in: params.items, as: item, width: 2}}
edges: []
"""


async def test_outputs_that_broke_their_contract_are_compared_where_they_are_in_the_record(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(CONTRACT)
        assert result.code == "output.invalid"

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert [(each.verdict, each.calls) for each in report.attempts] == [("same", 2), ("same", 2)]
        assert report.matches is True


async def test_the_last_output_that_broke_its_contract_is_on_record_and_counts_for_nothing(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(CONTRACT)

        ends, run = b.metas("node.finished"), load_run(b.ledger, result.run_id)

        assert [(end["status"], end["outputs"], end.get("outputs_hash")) for end in ends] == [
            ("error", each.outputs, None) for each in run.attempts
        ]
        assert run.attempts[1].outputs["out"]
        assert (run.outputs["only"], run.results["only"].outputs_hash) == ({}, None)


async def test_a_node_of_many_items_replays_item_by_item(bench):
    async with bench() as b:
        b.agent(
            "one",
            "@agent\ndef run(item=None):\n    return {'out': [item, model.complete(str(item)).text]}\n",
            ports_in=("item",),
            caps=CAPS,
        )
        result = await b.run(MANY)
        assert result.status == "succeeded", result.reason

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert ({each.node for each in report.attempts}, report.matches) == ({"each[0]", "each[1]", "each[2]"}, True)


async def test_grandchildren_are_replayed_too(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        b.openings["inner"] = TEXT
        b.openings["middle"] = 'version: 0\nname: middle\nnodes: [{id: below, use: "opening:inner"}]\nedges: []\n'
        result = await b.run('version: 0\nname: outer\nnodes: [{id: below, use: "opening:middle"}]\nedges: []\n')

        report = await replayer(b).replay(b.ledger, result.run_id)

        assert [(each.node, each.verdict) for each in report.attempts] == [("below", "skipped"), ("below", "skipped"), ("only", "same")]


async def test_child_runs_that_a_fork_shares_are_replayed_with_it(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        b.agent("changed", RELAY.replace("about", "of"), caps=CAPS)
        b.openings["inner"] = TEXT
        parent = (await b.run('version: 0\nname: outer\nnodes: [{id: below, use: "opening:inner"}]\nedges: []\n')).run_id
        fork = await b.manager.fork(b.ledger, ForkRequest(parent, str(load_run(b.ledger, parent).last_seq)))
        await b.manager.drive(fork)

        report = await replayer(b).replay(b.ledger, fork.run_id)
        other = await replayer(b, replaced={"one": b.services.resolve_agent("changed", None)}).replay(b.ledger, fork.run_id)

        assert [(each.node, each.verdict) for each in report.attempts] == [("below", "skipped"), ("only", "same")]
        assert [(each.node, each.verdict) for each in other.attempts] == [("below", "skipped"), ("only", "differs")]


class AskedFor:
    """The pool, and which Python guest it was asked to run."""

    def __init__(self, pool):
        self.pool, self.guests = pool, []

    async def run(self, spec, hostcall, tape=(), in_line=None):
        self.guests.append(spec.guest)
        return await self.pool.run(dataclasses.replace(spec, guest=None), hostcall, tape)


async def test_a_run_is_replayed_with_the_guest_that_it_had_where_that_is_kept(bench):
    async with bench() as b:
        b.agent("one", RELAY, caps=CAPS)
        result = await b.run(TEXT)
        forged = Forged(b.ledger, "run.submitted", lambda meta: {**meta, "versions": {**meta["versions"], "guest": "0" * 64}})
        asked = AskedFor(b.pool)

        kept = dataclasses.replace(replayer(b), guests=asked, kept_guest=lambda digest: digest == "0" * 64)
        report = await kept.replay(forged, result.run_id)

        assert (asked.guests, report.matches) == (["0" * 64], True)


def test_an_opening_that_was_erased_from_the_record_is_told_as_that():
    with pytest.raises(OpeningError) as caught:
        opening_of({"opening": {"source": "[erased]", "file": "letter.yaml"}, "params": None})
    assert (caught.value.code, caught.value.where.file) == ("opening.erased", None)
