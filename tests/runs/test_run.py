"""Runs on real parts: records in order and durable, calls journaled before they are answered, ends that say what happened."""

import asyncio
import gc

import pytest

from runloop.errors import RunloopError
from runloop.events import outputs_hash
from runloop.events.kinds import validate
from runloop.openings.graph import Step
from runloop.runs.fork import told_events
from runloop.runs.history import load_run
from runloop.runs.run import Run

CHAIN = """version: 0
name: chain
nodes:
  - {id: first, use: "agent:one", with: {n: 4}}
  - {id: second, use: "agent:two"}
edges:
  - {from: first.out, to: second.a}
success: {all_of: ["exists(second.out)"]}
artifacts: {save: [second.out]}
"""
ONE = "@agent\ndef run(n: int = 1):\n    return {'out': n + 1}\n"
TWO = "@agent\ndef run(a: int = 0):\n    return {'out': a * 2}\n"


def single(use="agent:one", **keys):
    extra = "".join(f", {key}: {value}" for key, value in keys.items())
    return f'version: 0\nname: single\nnodes:\n  - {{id: only, use: "{use}"{extra}}}\nedges: []\n'


async def test_a_chain_runs_to_its_end_and_hands_values_along(bench):
    async with bench() as b:
        b.agent("one", ONE)
        b.agent("two", TWO, ports_in=("a",))

        result = await b.run(CHAIN)

        assert (result.status, result.saved) == ("succeeded", {"second.out": [10]})
        assert b.kinds() == [
            "run.submitted", "run.started", "node.ready", "node.started", "node.finished", "node.ready", "node.started", "node.finished",
            "artifact.created", "run.finished",
        ]  # fmt: skip
        assert b.metas("node.finished")[1]["outputs_hash"] == outputs_hash({"out": [10]})
        saved = b.metas("run.finished")[0]["artifacts"][0]
        assert (b.root / "artifacts" / result.run_id / saved["path"].rsplit("/", 1)[1]).read_text() == "10\n"


async def test_the_end_of_a_run_says_how_long_it_took(bench):
    now_ms = 90_000
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    kb.search('x')\n    return {'out': 1}\n", caps="kb_read = true")
        object.__setattr__(b.services, "boot_ms", lambda: now_ms)
        object.__setattr__(b.services, "clock_ms", lambda: 1_795_000_000_000)
        prepare = b.services.performers["kb.search"].prepare

        def later(args, ctx):
            nonlocal now_ms
            now_ms += 5_000
            return prepare(args, ctx)

        b.services.performers["kb.search"].prepare = later
        assert (await b.run(single())).status == "succeeded"
        assert b.metas("run.finished")[0]["ms"] == 5_000


async def test_records_are_dense_and_equal_to_what_the_ledger_holds(bench):
    async with bench() as b:
        b.agent("one", ONE)
        b.agent("two", TWO, ports_in=("a",))
        result = await b.run(CHAIN)

        assert [record["seq"] for record in b.records] == list(range(1, len(b.records) + 1))
        stored = list(told_events(b.ledger, result.run_id))
        assert [(e.id, e.kind, e.payload["meta"]) for e in stored] == [(r["event_id"], r["kind"], r["meta"]) for r in b.records]
        for event in stored:
            validate(event.kind, event.payload)
        assert b.ledger.verify().ok


async def test_a_line_that_cannot_be_shown_is_not_lost_without_a_word_and_harms_nobody(bench):
    async with bench() as b:
        b.agent(
            "one",
            "@agent\ndef run():\n    emit.log('boom', 'warning')\n    emit.progress('half', 50)\n"
            "    emit.log(5)\n    emit.log('\\udc80x')\n    return {'out': 1}\n",
        )

        result = await b.run(single())

        assert result.status == "succeeded"
        unshown = "the agent said something that cannot be shown: "
        line, number, half = b.metas("node.log")
        assert (line["text"], b.records[b.kinds().index("node.log")]["level"]) == (
            f"{unshown}emit.log: level: 'warning' is not one of ['debug', 'info', 'warn', 'error']: boom",
            "warn",
        )
        assert (number["text"], half["text"]) == ("5", "\\udc80x")
        [told] = [record["meta"]["text"] for record in b.records if record["kind"] == "node.progress"]
        assert told == f"{unshown}emit.progress: fraction: 50 is greater than the maximum of 1: half"


async def test_a_line_that_nobody_here_can_tell_harms_nobody(bench):
    async with bench() as b:
        del b.services.performers["emit.log"], b.services.performers["emit.progress"]
        b.agent("one", "@agent\ndef run():\n    emit.log('in')\n    emit.progress('half', 0.5)\n    return {'out': 1}\n")

        result = await b.run(single())

        assert (result.status, b.metas("node.log")) == ("succeeded", [])


async def test_a_call_is_requested_before_it_is_performed_and_completed_before_it_is_answered(bench):
    async with bench() as b:
        b.agent(
            "one",
            "@agent\ndef run():\n    a = model.complete('p')\n    emit.log('heard ' + a.text)\n    return {'out': a.text}\n",
            caps="model = true",
        )

        result = await b.run(single())

        assert result.status == "succeeded"
        kinds = [kind for kind in b.kinds() if kind.startswith(("effect", "node.log"))]
        assert kinds == ["effect.requested", "effect.completed", "node.log"]
        requested, completed = b.metas("effect.requested")[0], b.metas("effect.completed")[0]
        assert (requested["name"], requested["call"], requested["class"], requested["args"]) == (
            "model.complete",
            1,
            "idempotent",
            {"prompt": "p"},
        )
        assert requested["idempotency_key"] == f"{result.run_id}/only/1"
        assert (completed["tokens_in"], completed["tokens_out"], completed["usd"]) == (10, 5, 0.00025)
        assert b.metas("run.finished")[0]["tokens"] == 15


async def test_what_has_no_price_is_not_told_to_have_cost_nothing(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('p').text}\n", caps="model = true")
        b.model.usage = (10, 5, None)

        assert (await b.run(single())).status == "succeeded"
        ends = [b.metas(kind)[0] for kind in ("effect.completed", "node.finished", "run.finished")]
        assert ["usd" in meta for meta in ends] == [False, False, False]
        assert (ends[1]["tokens"], ends[2]["tokens"]) == (15, 15)


async def test_a_traceback_of_the_agent_is_the_error_and_the_run_fails(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    raise ValueError('no such thing')\n")

        result = await b.run(single())

        assert (result.status, result.code) == ("failed", "guest.exception")
        error = b.metas("node.finished")[0]["error"]
        assert error["message"] == "ValueError: no such thing"
        assert error["detail"].rstrip().endswith("ValueError: no such thing")
        assert 'File "agent.py", line 5, in run' in error["detail"]


async def test_what_the_author_can_do_about_a_failure_is_on_record_with_it(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    open('notes.md')\n")

        await b.run(single())

        error = b.metas("node.finished")[0]["error"]
        assert (error["code"], "runloop_agent.files" in error["hint"]) == ("guest.exception", True)


async def test_a_group_of_exceptions_is_named_by_itself_and_not_by_the_frame_around_it(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    raise ExceptionGroup('both', [ValueError('a'), TypeError('b')])\n")

        result = await b.run(single())

        assert result.reason == "node 'only' failed: ExceptionGroup: both (2 sub-exceptions)"
        assert "TypeError: b" in b.metas("node.finished")[0]["error"]["detail"]


async def test_a_deterministic_failure_on_local_facts_alone_is_not_repeated(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    kb.search('x')\n    raise LookupError('nobody')\n", caps="kb_read = true")

        await b.run(single(retry="{max_attempts: 3, backoff_ms: 10}"))

        assert [meta["attempt"] for meta in b.metas("node.finished")] == [1]


async def test_a_failing_attempt_is_repeated_as_the_opening_says_and_each_attempt_has_its_own_records(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    model.complete('p')\n    raise ValueError('again')\n", caps="model = true")

        result = await b.run(single(retry="{max_attempts: 3, backoff_ms: 10}"))

        assert result.status == "failed"
        assert [(meta["attempt"], "retry_ms" in meta) for meta in b.metas("node.finished")] == [(1, True), (2, True), (3, False)]
        assert [(meta["attempt"], meta["call"]) for meta in b.metas("effect.requested")] == [(1, 1), (2, 1), (3, 1)]


async def test_a_guest_that_never_ends_is_stopped_by_the_node_time_out(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    while True:\n        pass\n")

        result = await b.run(single(timeout_ms=300))

        assert (result.status, result.code) == ("failed", "timeout")
        assert b.pool.live == 0


async def test_cancelling_stops_a_guest_in_an_endless_loop_and_records_it(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    emit.log('in')\n    while True:\n        pass\n")
        run = await b.submit(single(timeout_ms=60000))
        run.recorder.subscribe(lambda record: run.cancel("enough") if record["kind"] == "node.log" else None)

        result = await b.manager.drive(run)

        assert (result.status, result.reason) == ("cancelled", "enough")
        assert b.metas("node.finished")[0]["status"] == "cancelled"
        assert b.kinds()[-1] == "run.finished"


async def test_cancelling_in_the_middle_of_an_external_call_records_that_its_outcome_is_unknown(bench):
    async with bench(rules=None, operator=None) as b:
        started, never = asyncio.Event(), asyncio.Event()

        async def hold():
            started.set()
            await never.wait()

        b.outbox.hold = hold
        b.services.performers["mail.send"] = b.outbox
        b.agent("one", MAILER, caps="mail = true")
        run = await b.submit(mail_opening(), yes=True)

        async def cancel_when_started():
            await started.wait()
            run.cancel("now")

        result, _ = await asyncio.gather(b.manager.drive(run), cancel_when_started())

        assert result.status == "cancelled"
        assert [kind for kind in b.kinds() if kind.startswith("effect")] == ["effect.requested", "effect.unknown"]
        assert b.metas("effect.unknown")[0]["error"]["code"] == "effect.outcome_unknown"


MAILER = """@agent
def run(to: str = 'a@example.org'):
    sent = mail.send([{'email': to}], subject='hello', text='text')
    return {'out': sent.message_id}
"""


def mail_opening(policy="approve_in_advance: [mail.outbox]"):
    return f'version: 0\nname: post\npolicy: {{{policy}}}\nnodes:\n  - {{id: only, use: "agent:one"}}\nedges: []\n'


async def test_a_ledger_that_cannot_write_stops_the_run_and_nothing_more_happens(bench):
    async with bench() as b:
        b.agent(
            "one",
            "@agent\ndef run():\n    for n in range(50):\n        model.complete(str(n))\n    return {'out': 1}\n",
            caps="model = true",
        )
        run = await b.submit(single())
        append, calls = b.services.ledger.append, []

        def failing(events, **options):
            calls.append(1)
            if len(calls) > 5:
                future = asyncio.get_running_loop().create_future()
                future.set_exception(RunloopError("disk full", code="ledger.full"))
                return future
            return append(events, **options)

        b.services.ledger.append = failing
        with pytest.raises(RunloopError) as caught:
            await b.manager.drive(run)

        assert caught.value.code == "ledger.full"
        assert len(b.model.prompts) < 5
        assert b.pool.live == 0


async def test_results_that_are_not_declared_ports_go_to_out(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'body': 'x', 'other': 2}\n", ports_out=("out",))
        await b.run(single())
        assert b.metas("node.finished")[0]["outputs"] == {"out": [{"body": "x", "other": 2}]}


async def test_a_large_value_is_a_blob_in_the_record_and_whole_in_the_history(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 'é' * 20000}\n")
        result = await b.run(single())
        assert set(b.metas("node.finished")[0]["outputs"]) == {"$blob", "bytes"}
        assert load_run(b.ledger, result.run_id).attempts[0].outputs == {"out": ["é" * 20000]}


async def test_parallel_nodes_run_side_by_side_and_fan_in_keeps_the_order_of_the_edges(bench):
    async with bench() as b:
        b.agent("slow", "@agent\ndef run():\n    timer.sleep(0.2)\n    return {'out': 'slow'}\n", caps="time = true")
        b.agent("fast", "@agent\ndef run():\n    return {'out': 'fast'}\n")
        b.agent("join", "@agent\ndef run(a):\n    return {'out': a}\n", ports_in=("a",))
        text = """version: 0
name: fan
nodes: [{id: s, use: "agent:slow"}, {id: f, use: "agent:fast"}, {id: j, use: "agent:join"}]
edges: [{from: s.out, to: j.a}, {from: f.out, to: j.a}]
artifacts: {save: [j.out]}
"""
        result = await b.run(text)
        assert result.saved == {"j.out": [["slow", "fast"]]}
        ended = [meta["node"] for meta in b.metas("node.finished")]
        assert ended == ["f", "s", "j"]


async def test_the_record_of_an_answer_says_where_its_tokens_are_estimated(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('a').text}\n", caps="model = true")
        for b.model.estimated in (False, True):
            await b.run('version: 0\nname: o\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n')

        assert [meta.get("estimated") for meta in b.metas("effect.completed")] == [None, True]


async def test_a_performer_that_trips_costs_its_call_and_not_the_run(bench):
    async with bench() as b:
        b.agent(
            "one",
            """@agent
def run():
    try:
        model.complete('p')
    except CallError as refused:
        return {'out': [refused.code, refused.message]}
""",
            caps="model = true",
        )
        b.model.usage = None  # makes the performer raise a TypeError

        result = await b.run(single())

        assert result.status == "succeeded"
        assert b.metas("effect.failed")[0]["error"]["code"] == "call.internal"
        assert "TypeError" in b.metas("node.finished")[0]["outputs"]["out"][0][1]


@pytest.mark.parametrize(
    ("error", "code"),
    [(RuntimeError("can't start new thread"), "system.exhausted"), (OSError(28, "No space left on device", "/srv/x"), "system.disk_full")],
)
async def test_a_performer_that_lacks_threads_or_room_is_no_defect_and_may_be_tried_again(bench, error, code):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('p').text}\n", caps="model = true")
        perform, lacking = b.model.perform, [error]

        async def trips(prepared, ctx):
            if lacking:
                raise lacking.pop()
            return await perform(prepared, ctx)

        b.model.perform = trips

        result = await b.run(single(retry="{max_attempts: 2, backoff_ms: 1}"))

        assert result.status == "succeeded"
        [failed] = b.metas("effect.failed")
        assert (failed["error"]["code"], "defect" in failed["error"]["hint"]) == (code, False)


async def test_an_external_call_that_trips_has_an_unknown_outcome_and_is_not_repeated(bench):
    async with bench() as b:
        b.agent("one", MAILER, caps="mail = true")
        b.outbox.fail = [ValueError("half done")]

        result = await b.run(mail_opening().replace('use: "agent:one"', 'use: "agent:one", retry: {max_attempts: 3}'), yes=True)

        assert result.status == "failed"
        assert len(b.metas("effect.unknown")) == 1
        assert [meta["attempt"] for meta in b.metas("node.finished")] == [1]


ENDS = """version: 0
name: ends
params: {items: [1, 2]}
nodes:
  - {id: each, use: "agent:one", for_each: {in: params.items, as: n}}
  - {id: skipped, use: "agent:two"}
  - {id: voted, use: "agent:two", merge: {vote: {of: a, quorum: 9}}, on_failure: skip}
edges:
  - {from: each.out, to: skipped.in}
  - {from: each.out == 7, to: skipped.a}
  - {from: each.out, to: voted.a}
"""


async def test_ends_that_no_attempt_tells_of_are_kept_beside_the_attempts(bench):
    async with bench() as b:
        b.agent("one", ONE, ports_in=("n",))
        b.agent("two", TWO, ports_in=("a",))

        recorded = load_run(b.ledger, (await b.run(ENDS)).run_id)

        assert [(each.node, each.status, each.outputs, each.after) for each in recorded.ends] == [
            ("each", "ok", {"out": [[2, 3]]}, 2),
            ("skipped", "skipped", None, 2),
            ("voted", "error", None, 2),
        ]
        assert [each.why for each in recorded.ends] == ["", "guard each.out == 7 did not hold", "2 of 9 votes needed were cast"]


EACH = """version: 0
name: each
params: {numbers: [1, 2, 3]}
nodes:
  - {id: first, use: "agent:one", for_each: {in: params.numbers, as: n}}
  - {id: second, use: "agent:two"}
edges:
  - {from: first.out, to: second.in}
"""


@pytest.mark.parametrize("opening", [single(), CHAIN, EACH])
async def test_a_run_that_ended_is_gone_from_memory_without_the_collector(bench, opening):
    async with bench() as b:
        b.agent("one", ONE, ports_in=("n",))
        b.agent("two", TWO, ports_in=("a",))
        gc.collect()
        held = {id(each) for each in gc.get_objects() if isinstance(each, Run | Step)}  # by tests that failed or left something behind

        def left():
            return [each for each in gc.get_objects() if isinstance(each, Run | Step) and id(each) not in held]

        gc.disable()
        try:
            assert (await b.run(opening)).status == "succeeded"
            for _turn in range(500):  # what ends it may still be ending; what only the collector would find never goes
                if not left():
                    break
                await asyncio.sleep(0.01)
            assert left() == []
        finally:
            gc.enable()


async def test_a_gate_at_which_nobody_can_answer_cancels_the_run_and_says_so(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 'x'}\n")

        result = await b.run('version: 0\nname: g\nnodes: [{id: only, use: "agent:one", gate: {ask: "Good?"}}]\nedges: []\n')

        assert (result.status, result.code) == ("cancelled", "approval.nobody")
        assert result.reason == "nobody is there to answer at the gate of node only"
        (asked,), (closed,) = b.metas("approval.requested"), b.metas("approval.expired")
        assert (closed["approval_id"], closed["rationale"]) == (asked["approval_id"], result.reason)
