"""A run whose process ends at any moment is taken up from its records, and ends as if nothing had happened."""

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from runloop.effects.perform.ports import PersonAnswer
from runloop.effects.types import CallError, CallErrorKind, Evidence, Outcome
from runloop.errors import RunloopError
from runloop.events import NewEvent, record_of
from runloop.kb import AsyncLedger
from runloop.runs.errors import NeedsPerson
from runloop.runs.history import load_run
from runloop.runs.manager import RunManager
from runloop.runs.operator import ApprovalDecision
from runloop.runs.pausing import pause, resume
from runloop.runs.resting import kept_s
from runloop.runs.results import RunHalted
from runloop.runs.services import RunRules
from runloop.runs.trace import ladder

WRITER = """
import time

@agent
def run(topic):
    kb.search(topic)
    first = model.complete("first " + topic)
    second = model.complete("second " + first.text)
    return {"out": {"text": second.text, "at": time.time()}}
"""
MAILER = """
@agent
def run(text, go):
    sent = mail.send([{"email": "ada@example.org"}], subject="Hello", text=text["text"])
    return {"out": sent.message_id}
"""
CHILD = """
@agent
def run():
    return {"out": model.complete("child").text}
"""
OPENING = """
version: 0
name: letter
nodes:
  - {id: write, use: "agent:writer", with: {topic: tea}}
  - {id: inner, use: "opening:inner"}
  - {id: send, use: "agent:mailer"}
edges:
  - {from: write.out, to: send.text}
  - {from: inner.out, to: send.go}
artifacts: {save: [send.out]}
"""
INNER = """
version: 0
name: inner
nodes: [{id: only, use: "agent:child"}]
edges: []
artifacts: {save: [only.out]}
"""


class CutLedger:
    """A ledger whose process dies at the ``cut``-th append: before it is on disk, or after, when nobody has seen it yet."""

    def __init__(self, ledger, cut, after):
        self.ledger, self.cut, self.after, self.count = ledger, cut, after, 0
        self.dead = asyncio.Event()

    def append(self, events, *, check=True, urgent=True):
        self.count += 1
        if self.count < self.cut:
            return AsyncLedger(self.ledger).append(events)
        if self.count == self.cut and self.after:
            self.ledger.append(list(events))
        self.dead.set()
        return asyncio.get_running_loop().create_future()


def prepare(b):
    b.agent("writer", WRITER, caps="kb_read = true\nmodel = true")
    b.agent("mailer", MAILER, ports_in=("text", "go"), caps="mail = true")
    b.agent("child", CHILD, caps="model = true")
    b.openings["inner"] = INNER


async def crash_at(b, cut, after, **options):
    """Run until the process dies at an append; False where it came to its end before."""
    alive = b.services.ledger
    dying = CutLedger(b.ledger, cut, after)
    object.__setattr__(b.services, "ledger", dying)
    try:
        run = await asyncio.wait_for(_first(b.submit(OPENING, **options), dying.dead), 10)
        if run is None:
            return True
        drive = asyncio.create_task(b.manager.drive(run))
        dead = asyncio.create_task(dying.dead.wait())
        await asyncio.wait({drive, dead}, return_when=asyncio.FIRST_COMPLETED)
        if drive.done():
            dead.cancel()
            return False
        await kill(b, drive)
        return True
    finally:
        object.__setattr__(b.services, "ledger", alive)


async def _first(submitting, dead):
    task, gone = asyncio.ensure_future(submitting), asyncio.ensure_future(dead.wait())
    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if task.done():
        return task.result()
    task.cancel()
    return None


async def kill(b, drive):
    """What is under way is gone, with nothing more on record."""
    for run in b.manager.active:
        run.recorder.halted = True
    drive.cancel()
    with suppress(asyncio.CancelledError):
        await drive
    if isinstance(b.services.ledger, AsyncLedger):
        b.services.ledger.hand_over()
    # What was on its way to the disk is there now: the process died after that, not in the middle of the test.
    await asyncio.to_thread(
        b.ledger.append, [NewEvent("import.finished", {"what": "notes", "source": "x", "taken": 0, "known": 0, "refused": 0}, "user")]
    )


async def recover(b, run_id):
    run = await b.manager.recover(run_id)
    return await b.manager.drive(run)


def unfinished(b):
    """The one run of nobody that has no end, if there is one."""
    found = [load_run(b.ledger, run_id) for run_id in b.ledger.run_ids(limit=50)]
    roots = [run.run_id for run in found if run.finished is None and run.identity.parent_run_id is None]
    assert len(roots) <= 1
    return roots[0] if roots else None


def told(b, run_id):
    """What a run came to, without what is allowed to differ: how often it was taken up, ids of events and times."""
    recorded = load_run(b.ledger, run_id)
    attempts = [(each.node, each.attempt, each.status, each.outputs_hash and "h", len(each.crossings)) for each in recorded.attempts]
    return recorded.status, sorted(attempts)


@pytest.mark.parametrize("after", [False, True], ids=["before it is on disk", "after it is on disk"])
async def test_a_run_that_dies_at_any_append_ends_as_if_nothing_had_happened(bench, desk, after):
    async with bench(operator=desk(*[True] * 200)) as b:
        prepare(b)
        whole = await b.run(OPENING)
        assert whole.status == "succeeded", whole.reason
        expected, prompts = told(b, whole.run_id), len(b.model.prompts)
        cut = 1
        while True:
            b.model.prompts.clear()
            b.outbox.sent.clear()
            cut += 1
            if not await crash_at(b, cut, after):
                break
            root = unfinished(b)
            if root is None:
                assert after  # it died with its end on disk
                break
            attempts = load_run(b.ledger, root).attempts
            doubt = any(not call.answered and call.name == "mail.send" for attempt in attempts for call in attempt.crossings)
            b.services.operator.answers = [PersonAnswer("it happened" if b.outbox.sent else "do it now", "operator")] if doubt else []
            lost = doubt and bool(b.outbox.sent)  # this outbox cannot say what its answer was
            result = await recover(b, root)
            assert result.status == ("failed" if lost else "succeeded"), (cut, result.reason)
            assert len(b.outbox.sent) == 1
            assert len(b.model.prompts) <= prompts + 2  # at most what each of two branches had in flight
            if not lost:
                assert told(b, root) == expected, cut
                records = [event.payload["seq"] for event in b.ledger.read_run(root)]
                assert records == list(range(1, len(records) + 1))
        assert cut > 12


# ── what a recovery finds ────────────────────────────────────────────────────────────────────────────────────────────────────

ONE = 'version: 0\nname: one\nnodes: [{id: only, use: "agent:one"}]\nedges: []\nartifacts: {save: [only.out]}\n'
ITEMS = """
version: 0
name: items
params: {each: [1, 2]}
nodes: [{id: read, use: "agent:reader", for_each: {in: params.each, as: item}}, {id: only, use: "agent:one"}]
edges: [{from: read.out, to: only.seen}]
"""
SENDS = """
@agent
def run():
    return {"out": mail.send([{"email": "ada@example.org"}], subject="s", text="t").message_id}
"""


async def interrupted(b, held, text=ONE):
    """Submit and drive a run until ``held`` is set, then let the process die."""
    run = await b.submit(text)
    drive = asyncio.create_task(b.manager.drive(run))
    await held.wait()
    await kill(b, drive)
    return run.run_id


async def interrupted_while_it_sends(b):
    """A run whose process died when nobody could know whether its message is out."""
    b.agent("one", SENDS, caps="mail = true")
    held = asyncio.Event()
    b.outbox.hold = _for_ever(held)
    run_id = await interrupted(b, held)
    b.outbox.hold = None
    return run_id


async def test_the_record_of_a_recovery_names_the_version_that_took_the_run_up_where_that_is_another(bench, desk):
    async with bench(operator=desk(True, answers=[PersonAnswer("give up", "operator")])) as b:
        b.agent("one", SENDS, caps="mail = true")
        for version in ("test", "newer"):
            held = asyncio.Event()
            b.outbox.hold = _for_ever(held)
            run_id = await interrupted(b, held)
            b.services.operator.decisions.append(True)
            b.services.operator.answers = [PersonAnswer("give up", "operator")]
            object.__setattr__(b.services, "runloop_version", version)
            await recover(b, run_id)

        recovered = [event.payload["meta"] for event in b.ledger.read(kinds=["run.recovered"])]
        assert [meta.get("runloop") for meta in recovered] == [None, "newer"]


@pytest.mark.parametrize(
    ("said", "status", "sent"), [("do it now", "succeeded", 1), ("it happened", "failed", 0), ("give up", "failed", 0)]
)
async def test_a_message_that_may_be_out_is_a_question_and_never_a_guess(bench, desk, said, status, sent):
    async with bench(operator=desk(True, answers=[PersonAnswer(said, "operator")])) as b:
        run_id = await interrupted_while_it_sends(b)

        result = await recover(b, run_id)

        assert (result.status, len(b.outbox.sent)) == (status, sent)
        question = b.services.operator.shown[-1]
        assert "Did it happen?" in question.text
        assert ("ada@example.org" in question.text, question.stays_open) == (True, True)
        recorded = load_run(b.ledger, run_id)
        assert [crossing.answered for crossing in recorded.attempts[0].crossings] == [True]
        assert list(recorded.decisions.values())[-1]["decision"] == said
        kinds = [event.kind for event in b.ledger.read_run(run_id)]
        assert ("effect.unknown" in kinds) is (said == "give up")
        hops = ladder(map(record_of, b.ledger.read_run(run_id)))
        assert [hop.what for hop in hops if hop.target == "person"][-1] == "mail.outbox happened?"


async def test_where_nobody_can_be_asked_the_run_stays_and_can_be_taken_up_later(bench, desk):
    async with bench(operator=desk(True)) as b:
        run_id = await interrupted_while_it_sends(b)

        with pytest.raises(NeedsPerson, match=r"only a person can say whether mail\.outbox of node only happened"):
            await recover(b, run_id)
        b.services.operator.answers = [PersonAnswer("do it now", "operator")]

        assert (await recover(b, run_id)).status == "succeeded"
        assert [event.kind for event in b.ledger.read_run(run_id)].count("approval.requested") == 2


async def left_asking(b):
    """A run that was left while it asked whether its message is out."""
    run_id = await interrupted_while_it_sends(b)
    with pytest.raises(NeedsPerson):
        await recover(b, run_id)
    return run_id


async def paused_and_put_aside(b, run_id):
    """Take the run up paused, and drive it until all that is left is to wait for its resumption."""
    run = await b.manager.recover(run_id, parks=lambda _: None)
    await pause(run, "lunch")
    with pytest.raises(RunHalted):
        await asyncio.wait_for(b.manager.drive(run), 60)
    await run.recorder.settled(60)
    return run


@pytest.mark.parametrize(
    ("said", "status", "sent"), [("do it now", "succeeded", 1), ("it happened", "failed", 0), ("give up", "failed", 0)]
)
async def test_what_is_said_of_a_call_that_may_have_happened_comes_on_record_in_a_pause_and_counts_after_it(
    bench, desk, said, status, sent
):
    async with bench(operator=desk(True), rules=RunRules(park_after_ms=0)) as b:
        run_id = await left_asking(b)
        b.services.operator.answers = [PersonAnswer(said, "operator")]

        run = await paused_and_put_aside(b, run_id)
        decided = [event.payload["meta"]["decision"] for event in b.ledger.read_run(run_id) if event.kind == "approval.decided"]
        assert (run.parked.why, run.paused, decided, b.outbox.sent) == ("a resumption", True, ["approved", said], [])

        last = await b.manager.recover(run_id)
        await resume(last, "back")
        result = await asyncio.wait_for(b.manager.drive(last), 60)
        assert (result.status, len(b.outbox.sent)) == (status, sent)
        kinds = [event.kind for event in b.ledger.read_run(run_id)]
        assert (kinds.count("approval.requested"), kinds.count("approval.decided")) == (2, 2)


async def test_an_approval_that_was_given_is_not_asked_for_again_and_an_open_one_is_asked_under_its_id(bench, desk):
    operator = desk()
    async with bench(operator=operator) as b:
        b.agent("one", SENDS, caps="mail = true")
        held = asyncio.Event()
        operator.decide = _never(held, operator)
        run_id = await interrupted(b, held, ONE.replace('agent:one"', 'agent:one", timeout_ms: 600000'))
        first = operator.shown[-1]
        operator.decide = type(operator).decide.__get__(operator)
        operator.decisions = [ApprovalDecision(approved=True)]

        result = await recover(b, run_id)

        assert result.status == "succeeded"
        assert operator.shown[-1] == first
        asked = [event for event in b.ledger.read_run(run_id) if event.kind == "approval.requested"]
        assert len(asked) == 1


async def test_what_was_asked_is_asked_again_word_for_word_however_long_recording_it_took(bench, desk):
    operator = desk()
    async with bench(operator=operator) as b:
        b.agent("one", SENDS, caps="mail = true")
        held, looks, began_ms = asyncio.Event(), count(), 1_795_000_000_000
        ahead_ms = 0

        def clock_ms():
            nonlocal ahead_ms
            ahead_ms = 700 * next(looks)
            return began_ms + ahead_ms

        b.manager.services = replace(b.services, clock_ms=clock_ms, steady_ms=lambda: ahead_ms)
        prepare = b.outbox.prepare
        b.outbox.prepare = lambda args, ctx: replace(prepare(args, ctx), what=f"Date: {ctx.now_ms // 1000}")
        operator.decide = _never(held, operator)
        run_id = await interrupted(b, held, ONE.replace('agent:one"', 'agent:one", timeout_ms: 600000'))
        first = operator.shown[-1]
        operator.decide = type(operator).decide.__get__(operator)
        operator.decisions = [ApprovalDecision(approved=True)]

        result = await recover(b, run_id)

        assert result.status == "succeeded"
        assert operator.shown[-1] == first


async def test_what_was_asked_anew_because_it_changed_is_found_again_under_its_new_id(bench, desk):
    operator = desk()
    async with bench(operator=operator) as b:
        b.agent("one", SENDS, caps="mail = true")
        held = asyncio.Event()
        operator.decide = _never(held, operator)
        run_id = await interrupted(b, held)
        for changes in ("another sender", None):  # the second time nothing has changed
            held.clear()
            run = await b.manager.recover(run_id)
            if changes:
                run.desk.asked = {name: replace(each, meta={**each.meta, "what": changes}) for name, each in run.desk.asked.items()}
            driving = asyncio.create_task(b.manager.drive(run))
            await held.wait()
            await kill(b, driving)

        asked = [event.payload["meta"]["approval_id"] for event in b.ledger.read_run(run_id) if event.kind == "approval.requested"]
        assert len(asked) == 2
        assert [shown.approval_id for shown in operator.shown] == [asked[0], asked[1], asked[1]]
        ended = [event.payload["meta"] for event in b.ledger.read_run(run_id) if event.kind == "approval.expired"]
        assert [(each["approval_id"], each["decision"]) for each in ended] == [(asked[0], "changed")]


async def test_what_came_from_outside_through_a_node_of_items_counts_as_such_for_the_next_process_too(bench, desk):
    operator = desk()
    async with bench(operator=operator) as b:
        b.agent("one", SENDS.replace("run()", "run(seen)"), ports_in=["seen"], caps="mail = true")
        b.agent("reader", "@agent\ndef run(item):\n    return {'out': len(kb.search('tea'))}\n", ports_in=["item"], caps="kb_read = true")
        held = asyncio.Event()
        operator.decide = _never(held, operator)
        run_id = await interrupted(b, held, text=ITEMS)
        operator.decide = type(operator).decide.__get__(operator)
        operator.decisions = [ApprovalDecision(approved=True)]

        assert (await recover(b, run_id)).status == "succeeded"
        assert [shown.taint for shown in operator.shown] == [{"web"}, {"web"}]


async def test_a_pause_lasts_over_the_end_of_the_process(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('p').text}\n", caps="model = true")
        run = await b.submit(ONE)
        held = asyncio.Event()
        b.model.hold = held
        drive = asyncio.create_task(b.manager.drive(run))
        await held.wait()
        await pause(run, "lunch")
        await kill(b, drive)
        b.model.hold = None

        again = await b.manager.recover(run.run_id)
        driving = asyncio.create_task(b.manager.drive(again))
        await _kind(b, run.run_id, "run.recovered")
        assert again.paused
        assert len(b.model.prompts) == 1
        await resume(again, "back")

        assert (await driving).status == "succeeded"
        assert len(b.model.prompts) == 2


async def test_what_a_paused_run_asks_can_be_answered_in_the_next_process_too(bench, desk):
    operator, asked = desk(), asyncio.Event()
    operator.decide = _never(asked, operator)
    async with bench(operator=operator) as b:
        b.agent("one", SENDS, caps="mail = true")
        run = await b.submit(ONE)
        drive = asyncio.create_task(b.manager.drive(run))
        await asked.wait()
        await pause(run, "lunch")
        await kill(b, drive)
        asked.clear()

        again = await b.manager.recover(run.run_id)
        driving = asyncio.create_task(b.manager.drive(again))
        async with asyncio.timeout(30):
            await asked.wait()

        assert (again.paused, len(operator.shown)) == (True, 2)
        await kill(b, driving)


async def test_what_happened_and_whose_answer_is_lost_is_not_done_again_by_a_retry(bench, desk):
    async with bench(operator=desk(True, answers=[PersonAnswer("it happened", "operator")])) as b:
        b.agent("one", SENDS, caps="mail = true")
        held = asyncio.Event()
        b.outbox.hold = _for_ever(held)
        run_id = await interrupted(b, held, ONE.replace('"}]', '", retry: {max_attempts: 3, backoff_ms: 1}}]'))
        b.outbox.hold = None

        assert (await recover(b, run_id)).code == "effect.answer_lost"
        attempts = [event.payload["meta"]["attempt"] for event in b.ledger.read_run(run_id) if event.kind == "node.finished"]
        assert (attempts, b.outbox.sent) == ([1], [])


async def test_what_was_begun_and_is_refused_when_it_is_taken_up_may_have_happened_and_is_not_tried_again(bench, desk):
    async with bench(operator=desk(True)) as b:
        b.agent("one", SENDS, caps="mail = true")
        held = asyncio.Event()
        b.outbox.hold = _for_ever(held)
        run_id = await interrupted(b, held, ONE.replace('"}]', '", retry: {max_attempts: 3, backoff_ms: 1}}]'))
        b.outbox.hold = None

        def prepare(_args, _ctx):
            raise CallError(CallErrorKind.UNAVAILABLE, "no server is set any more", code="mail.none")

        b.outbox.prepare = prepare

        assert (await recover(b, run_id)).status == "failed"
        events = list(b.ledger.read_run(run_id))
        assert [event.kind for event in events if event.kind.startswith("effect.")] == ["effect.requested", "effect.unknown"]
        assert [event.payload["meta"]["attempt"] for event in events if event.kind == "node.finished"] == [1]


@pytest.mark.parametrize(("end", "code"), [("wrong", "mail.outcome_unknown"), ("RuntimeError('no') from wrong", "guest.exception")])
async def test_what_may_have_happened_is_not_tried_again_by_an_agent_that_left_memory_since(bench, desk, end, code):
    async with bench(operator=desk(True), rules=RunRules(evict_after_ms=20)) as b:
        b.outbox.fail = [CallError(CallErrorKind.UNAVAILABLE, "it broke off", code="mail.outcome_unknown", outcome_unknown=True)]
        source = """
@agent
def run():
    try:
        mail.send([{"email": "ada@example.org"}], subject="s", text="t")
    except Exception as error:
        wrong = error
    model.complete("what now?")
    raise """
        b.agent("one", f"{source}{end}\n", caps="mail = true\nmodel = true")
        release = asyncio.Event()
        b.model.gate, b.model.gate_at = release, 1
        run = await b.submit(ONE.replace('"}]', '", retry: {max_attempts: 3, backoff_ms: 1}}]'))
        drive = asyncio.create_task(b.manager.drive(run))
        await _kind(b, run.run_id, "node.evicted")
        release.set()

        assert (await drive).code == code
        assert [meta["attempt"] for meta in b.metas("node.finished")] == [1]


async def test_a_run_that_is_cancelled_before_it_is_taken_up_gets_an_outcome_for_every_request(bench, desk):
    async with bench(operator=desk(True)) as b:
        run_id = await interrupted_while_it_sends(b)

        result = await b.manager.drive(await b.manager.recover(run_id, ending="not any more"))

        assert (result.status, result.reason) == ("cancelled", "not any more")
        events = list(b.ledger.read_run(run_id))
        assert [each.payload["meta"]["why"] for each in events if each.kind == "run.recovered"] == ["it is to end"]
        kinds = [event.kind for event in events]
        assert kinds[-4:] == ["run.recovered", "effect.unknown", "node.finished", "run.finished"]


@pytest.mark.parametrize("cancelled", ["before it is taken up", "as it is taken up"])
async def test_a_run_that_had_overdrawn_its_budget_when_its_process_died_is_cancelled_where_somebody_cancelled_it(bench, cancelled):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('p').text}\n", caps="model = true")
        run = await b.submit(ONE.replace("nodes:", "policy: {budget_tokens: 10}\nnodes:"))
        run.recorder.subscribe(lambda record: run.halt() if record["kind"] == "effect.completed" else None)
        with pytest.raises(RunHalted):
            await b.manager.drive(run)
        if cancelled == "before it is taken up":
            await run.cancel("enough")
        await run.recorder.settled(60)

        result = await b.manager.drive(await b.manager.recover(run.run_id, ending="enough"))

        assert (result.status, result.reason) == ("cancelled", "enough")


async def test_what_was_asked_has_its_end_also_where_this_process_finds_it_out_by_itself(bench, desk):
    async with bench(operator=desk(True), rules=RunRules(evict_after_ms=0)) as b:
        run_id = await interrupted_while_it_sends(b)
        with pytest.raises(NeedsPerson):
            await recover(b, run_id)

        async def evidence(_prepared, _ctx):
            return Evidence(True, "it lies there", Outcome({"message_id": "<1>", "status": "outbox", "path": "/x", "recipients": []}))

        b.outbox.evidence = evidence

        assert (await recover(b, run_id)).status == "succeeded"
        kinds = [event.kind for event in b.ledger.read_run(run_id)]
        ends = [kind for kind in kinds if kind not in {"node.evicted", "node.rebuilt"}]
        assert ends[-5:] == ["approval.expired", "effect.completed", "node.finished", "artifact.created", "run.finished"]


async def test_what_was_asked_has_its_end_also_where_a_pause_keeps_it_from_being_asked_again(bench, desk):
    async with bench(operator=desk(True)) as b:
        run_id = await interrupted_while_it_sends(b)
        with pytest.raises(NeedsPerson):
            await recover(b, run_id)  # it asks whether the message is out, and is left
        run = await b.manager.recover(run_id)
        run.hold()
        driving = asyncio.create_task(b.manager.drive(run))
        async with asyncio.timeout(30):
            while not run.under_way.waits.covers({"only"}):
                await asyncio.sleep(0)
        run.cancel("not any more")

        assert (await driving).status == "cancelled"
        ends = [event.payload["meta"] for event in b.ledger.read_run(run_id) if event.kind.startswith("approval.")]
        assert [(each["approval_id"].rpartition("/outcome")[1:], each.get("decision")) for each in ends[2:]] == [
            (("/outcome", "/1"), None),
            (("/outcome", "/1"), "expired"),
        ]


async def test_a_process_that_ends_before_it_takes_a_run_up_leaves_it_as_it_was(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('p').text}\n", caps="model = true")
        b.model.hold = asyncio.Event()
        run_id = await interrupted(b, b.model.hold)
        b.model.hold = None
        run = await b.manager.recover(run_id)
        before = [event.kind for event in b.ledger.read_run(run_id)]
        run.halt()

        with pytest.raises(RunHalted):
            await b.manager.drive(run)

        assert ([event.kind for event in b.ledger.read_run(run_id)], len(b.model.prompts)) == (before, 1)
        result = await b.manager.drive(await b.manager.recover(run_id))
        assert (result.status, len(b.model.prompts)) == ("succeeded", 2)


def two_processes(b):
    """Processes that live side by side and know of each other."""
    alive = {letter * 32 for letter in "ab"}
    return [RunManager(replace(b.services, owner=owner, driven=alive.__contains__)) for owner in alive]


async def test_of_two_processes_that_take_up_a_run_at_once_one_has_it_and_the_other_is_told(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('p').text}\n", caps="model = true")
        held = asyncio.Event()
        b.model.hold = held
        run_id = await interrupted(b, held)
        b.model.hold = None
        others = two_processes(b)

        found = await asyncio.gather(*(each.recover(run_id) for each in others), return_exceptions=True)

        (won,) = [run for run in found if not isinstance(run, Exception)]
        (lost,) = [error for error in found if isinstance(error, Exception)]
        assert (lost.code, lost.retryable) == ("run.driven", False)
        assert (await others[found.index(won)].drive(won)).status == "succeeded"
        assert (len(b.model.prompts), b.ledger.read(run_id=run_id)[-1].payload["meta"]["status"]) == (2, "succeeded")
        assert [event.kind for event in b.ledger.read_run(run_id)].count("run.recovered") == 1


async def test_a_run_that_never_began_belongs_to_who_takes_it_up(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        run = await b.submit(ONE)
        others = two_processes(b)

        found = await asyncio.gather(*(each.recover(run.run_id) for each in others), return_exceptions=True)

        assert sorted(getattr(each, "code", "") for each in found) == ["", "run.driven"]
        owner = next(each.services.owner for each in found if not isinstance(each, Exception))
        assert load_run(b.ledger, run.run_id).owner == owner


async def test_an_agent_that_asks_for_something_else_than_the_record_says_stops_with_both_calls_named(bench):
    async with bench() as b:
        code = "@agent\ndef run():\n    a = model.complete('one')\n    return {'out': model.complete('two').text}\n"
        b.agent("one", code, caps="model = true")
        held = asyncio.Event()
        b.model.hold, b.model.hold_at = held, 2
        run_id = await interrupted(b, held)
        b.model.hold = None
        digest = load_run(b.ledger, run_id).attempts[0].agent["digest"]
        (b.root / "kept" / "bundles" / digest / "agent.py").write_text("changed")

        with pytest.raises(RunloopError) as altered:
            await recover(b, run_id)
        assert altered.value.code == "bundle.digest_mismatch"

        b.agent("other", code.replace("'one'", "'another'"), caps="model = true")
        other = b.services.resolve_agent("other", None)
        object.__setattr__(b.services, "kept", _Always(other))
        result = await recover(b, run_id)

        assert (result.status, result.code) == ("failed", "run.diverged")
        (found,) = [event.payload["meta"] for event in b.ledger.read_run(run_id) if event.kind == "divergence.found"]
        assert "one" in found["expected"]
        assert "another" in found["actual"]
        assert len(b.model.prompts) == 2
        assert [crossing.args["prompt"] for crossing in load_run(b.ledger, run_id).attempts[0].crossings] == ["one", "two"]


async def test_a_guest_that_waits_is_dropped_and_comes_back_to_the_same_place(bench):
    async with bench(rules=RunRules(evict_after_ms=20)) as b:
        code = "@agent\ndef run():\n    a = model.complete('one').text\n    b = model.complete('two').text\n    return {'out': a + b}\n"
        b.agent("one", code, caps="model = true")
        release = asyncio.Event()
        b.model.gate, b.model.gate_at = release, 2
        run = await b.submit(ONE)
        drive = asyncio.create_task(b.manager.drive(run))
        await _kind(b, run.run_id, "node.evicted")
        while b.pool.live:
            await asyncio.sleep(0)
        release.set()
        result = await drive

        assert result.saved["only.out"] == ["answer 1answer 2"]
        assert len(b.model.prompts) == 2
        rebuilt = b.metas("node.rebuilt")
        assert [meta["replayed_calls"] for meta in rebuilt] in ([], [1])  # it had no live call after that


async def test_an_agent_comes_back_by_what_its_own_calls_put_on_record_and_the_run_is_not_read(bench):
    async with bench(rules=RunRules(evict_after_ms=20)) as b:
        code = "@agent\ndef run(item):\n    a = kb.search('tea')\n    return {'out': model.complete('one').text}\n"
        b.agent("reader", code, ports_in=["item"], caps="model = true\nkb_read = ['notes']")
        b.agent("one", "@agent\ndef run(seen):\n    return {'out': len(seen[0])}\n", ports_in=["seen"])
        whole, own, recorded, events = [], [], b.services.recorded, b.services.events
        object.__setattr__(b.services, "recorded", lambda run_id: (whole.append(run_id), recorded(run_id))[1])
        object.__setattr__(b.services, "events", lambda ids: (own.append(len(ids)), events(ids))[1])
        release = asyncio.Event()
        b.model.gate, b.model.gate_at = release, 2
        run = await b.submit(ITEMS.replace("each: [1, 2]", "each: [1, 2, 3, 4, 5, 6]"))
        drive = asyncio.create_task(b.manager.drive(run))
        await _kind(b, run.run_id, "node.evicted")
        release.set()
        result = await drive

        assert result.status == "succeeded"
        assert (whole, 0 < max(own) <= 4) == ([], True)  # request and answer of two calls at most


async def test_the_longer_an_agents_record_the_longer_it_is_kept_while_it_waits(bench):
    async with bench(rules=RunRules(evict_after_ms=50, park_after_ms=100)) as b:
        code = "@agent\ndef run():\n    for n in range(99):\n        kb.search('tea')\n    return {'out': model.complete('one').text}\n"
        b.agent("one", code, caps="model = true\nkb_read = ['notes']")
        release, held = asyncio.Event(), asyncio.Event()
        b.model.gate, b.model.gate_at, b.model.hold_seen = release, 1, held
        run = await b.submit(ONE)
        driving = asyncio.create_task(b.manager.drive(run))
        await asyncio.wait_for(held.wait(), 20)
        (crossings,) = run.under_way.crossings.values()
        records, agent_s, run_s = run.recorder.last_seq, crossings.kept_s, kept_s(run)
        release.set()
        await driving

        assert records > 200
        assert (agent_s, run_s) == (0.2, records / 1000)  # 2 ms for each of 100 calls, 1 ms for each record


async def test_a_worker_that_dies_costs_no_call_and_no_attempt(bench):
    async with bench() as b:
        code = "@agent\ndef run():\n    a = model.complete('one').text\n    b = model.complete('two').text\n    return {'out': a + b}\n"
        b.agent("one", code, caps="model = true")
        release, held = asyncio.Event(), asyncio.Event()
        b.model.gate, b.model.gate_at, b.model.hold_seen = release, 2, held
        run = await b.submit(ONE)
        drive = asyncio.create_task(b.manager.drive(run))
        await held.wait()
        os.kill(b.pool.pids[0], signal.SIGKILL)
        await _kind(b, run.run_id, "node.evicted")
        release.set()
        result = await drive

        assert (result.status, result.saved["only.out"]) == ("succeeded", ["answer 1answer 2"])
        assert len(b.model.prompts) == 2
        assert [attempt.attempt for attempt in load_run(b.ledger, run.run_id).attempts] == [1]


async def test_child_runs_that_had_ended_are_read_once_however_often_their_parent_is_taken_up(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run(n):\n    return {'out': model.complete(str(n)).text}\n", caps="model = true")
        loop = "@agent\ndef run():\n    for n in range(5):\n        spawn.agent('one', {'n': n})\n    return str(model.complete('last'))\n"
        b.agent("keeper", loop, caps="model = true\nspawn = ['agent:one']")
        read, recorded = [], b.services.recorded
        object.__setattr__(b.services, "recorded", lambda run_id: (read.append(run_id), recorded(run_id))[1])
        b.model.hold, b.model.hold_at = asyncio.Event(), 6
        run_id = await interrupted(b, b.model.hold, ONE.replace("agent:one", "agent:keeper"))

        children = []
        for _ in range(2):
            read.clear()
            again = await b.manager.recover(run_id)
            assert again.budget.spent_tokens == 5 * 15
            children.append([each for each in read if each != run_id])
            b.model.hold = asyncio.Event()
            driving = asyncio.create_task(b.manager.drive(again))
            await asyncio.wait_for(b.model.hold.wait(), 20)
            await kill(b, driving)
        assert [len(each) for each in children] == [5, 0]


async def test_an_agent_that_changed_meanwhile_is_not_what_a_run_goes_on_with(bench):
    async with bench() as b:
        code = "@agent\ndef run():\n    a = model.complete('one').text\n    return {'out': model.complete('two').text + ' of the old'}\n"
        b.agent("one", code, caps="model = true")
        held = asyncio.Event()
        b.model.hold, b.model.hold_at = held, 2
        run_id = await interrupted(b, held)
        b.model.hold = None
        shutil.rmtree(b.agents_dir / "one")
        b.agent("one", "@agent\ndef run():\n    return {'out': 'new'}\n")

        result = await recover(b, run_id)

        assert result.saved["only.out"] == ["answer 3 of the old"]
        assert (await b.run(ONE)).saved["only.out"] == ["new"]


async def test_lines_that_stand_in_the_record_are_not_logged_again(bench, desk):
    operator = desk()
    async with bench(operator=operator, rules=RunRules(evict_after_ms=10)) as b:
        lines = "    emit.log('{}')\n    emit.log('{}')\n"
        code = (
            "@agent\ndef run():\n    emit.log('no', 'warning')\n"
            + lines.format("a", "b")
            + "    model.complete('one')\n"
            + lines.format("c", "d")
        )
        b.agent("one", code + SENDS.split("run():\n")[1], caps="model = true\nmail = true")
        for _ in range(2):
            held = asyncio.Event()
            operator.decide = _never(held, operator)
            run_id = await interrupted(b, held)
            operator.decide = type(operator).decide.__get__(operator)
            operator.decisions = [ApprovalDecision(approved=True)]

            await recover(b, run_id)

            logged = [event.payload["meta"]["text"] for event in b.ledger.read_run(run_id) if event.kind == "node.log"]
            assert logged[0].startswith("the agent said something that cannot be shown: ")
            assert logged[1:] == ["a", "b", "c", "d"]


async def test_an_artifact_that_was_recorded_before_the_process_died_is_recorded_once(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': emit.artifact('a.txt', 'text').event_id}\n")
        alive = b.services.ledger
        dying = CutLedger(b.ledger, 4, after=True)  # submitted, started, requested, and the artifact itself
        object.__setattr__(b.services, "ledger", dying)
        run = await b.submit(ONE)
        drive = asyncio.create_task(b.manager.drive(run))
        await dying.dead.wait()
        await kill(b, drive)
        object.__setattr__(b.services, "ledger", alive)
        made = [event for event in b.ledger.read_run(run.run_id) if event.kind == "artifact.created"]
        assert len(made) == 1

        result = await recover(b, run.run_id)

        again = [event for event in b.ledger.read_run(run.run_id) if event.kind == "artifact.created" and event.payload["meta"].get("kind")]
        assert result.saved["only.out"] == [made[0].id]
        assert [event.id for event in again][:1] == [made[0].id]
        assert sum(event.payload["meta"]["path"] == made[0].payload["meta"]["path"] for event in again) == 1


class _Always:
    """Keeps one bundle under every digest."""

    def __init__(self, bundle):
        self._bundle = bundle

    async def keep(self, bundles):
        pass

    def bundle(self, digest):
        return self._bundle


def _for_ever(held):
    async def hold():
        held.set()
        await asyncio.get_running_loop().create_future()

    return hold


def _never(held, operator):
    async def decide(request):
        operator.shown.append(request)
        held.set()
        await asyncio.get_running_loop().create_future()

    return decide


async def _kind(b, run_id, kind):
    """Wait until the run has such a record."""
    while not any(event.kind == kind for event in b.ledger.read_run(run_id)):
        await asyncio.sleep(0)


async def test_how_long_somebody_took_to_answer_counts_from_the_question_over_the_end_of_the_process(bench, desk):
    operator = desk(answers=[PersonAnswer("blue", "operator")])
    async with bench(operator=operator) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': ask.person('Which?').answer}\n", caps="ask = true")
        held, answers = asyncio.Event(), operator.ask

        async def never(question, ctx):
            held.set()
            await asyncio.Event().wait()

        operator.ask = never
        run = await b.submit("version: 0\nname: asks\nnodes: [{id: a, use: 'agent:one'}]\nedges: []\n")
        drive = asyncio.create_task(b.manager.drive(run))
        await held.wait()
        await kill(b, drive)
        operator.ask, before = answers, b.services.clock_ms
        b.manager.services = replace(b.services, clock_ms=lambda: before() + 90_000)

        result = await recover(b, run.run_id)

        assert result.status == "succeeded"
        (answered,) = [event for event in b.ledger.read_run(run.run_id) if event.kind == "effect.completed"]
        assert answered.payload["meta"]["ms"] >= 90_000


SWALLOWS = """@agent
def run():
    try:
        {call}
    except CallError:
        pass
    raise ValueError('it was refused')
"""


@pytest.mark.parametrize("dies", [False, True], ids=["undisturbed", "killed after the refusal"])
@pytest.mark.parametrize(
    ("call", "klass"),
    [
        ("http.fetch('https://example.org/')", "read"),
        ("http.fetch('https://example.org/', method='POST')", "external"),
        ("mail.send([{'email': 'a@example.org'}], subject='s', text='t')", "external"),
        ("mail.send([], subject='s', text='t')", "external"),
        ("ask.person('Well?')", "waiting"),
        ("kb.get('x')", "read"),
    ],
)
async def test_what_was_refused_before_it_was_prepared_has_its_class_and_is_no_reason_to_try_again(bench, call, klass, dies):
    async with bench() as b:
        b.agent("one", SWALLOWS.format(call=call))
        run = await b.submit('version: 0\nname: once\nnodes: [{id: only, use: "agent:one", retry: {max_attempts: 3}}]\nedges: []\n')
        if dies:
            begin, refused = b.pool.run, asyncio.Event()

            async def dying(spec, hostcall, *rest):
                async def heard_by_nobody(name, args):
                    await hostcall(name, args)
                    refused.set()
                    await asyncio.Event().wait()

                return await begin(spec, heard_by_nobody, *rest)

            b.pool.run = dying
            drive = asyncio.create_task(b.manager.drive(run))
            await refused.wait()
            await kill(b, drive)
            b.pool.run = begin
            result = await recover(b, run.run_id)
        else:
            result = await b.manager.drive(run)
        asked = [(meta["name"], meta["class"], meta.get("refused"), "idempotency_key" in meta) for meta in b.metas("effect.requested")]
        assert asked == [(call.partition("(")[0], klass, True, False)]
        assert (result.status, result.code, len(load_run(b.ledger, run.run_id).attempts)) == ("failed", "guest.exception", 1)


async def test_a_run_that_is_taken_up_to_be_cancelled_counts_what_its_open_attempts_had_spent(bench):
    async with bench() as b:
        b.agent(
            "one",
            "@agent\ndef run():\n    model.complete('x')\n    timer.sleep(600)\n    return {'out': 1}\n",
            caps="model = true\ntime = true",
        )
        run = await b.submit('version: 0\nname: once\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n')
        drive = asyncio.create_task(b.manager.drive(run))
        while len(b.metas("effect.requested")) < 2:
            await asyncio.sleep(0.01)
        await kill(b, drive)
        (spent,) = [meta["tokens_in"] + meta["tokens_out"] for meta in b.metas("effect.completed")]
        taken_up = await b.manager.recover(run.run_id, ending="enough")
        assert (await b.manager.drive(taken_up)).status == "cancelled"
        assert (spent > 0, load_run(b.ledger, run.run_id).finished["tokens"]) == (True, spent)
