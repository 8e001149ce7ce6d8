"""A run whose process ends at any moment is taken up from its records, and ends as if nothing had happened."""

import asyncio
from contextlib import suppress

import pytest

from runloop.effects.perform.ports import PersonAnswer
from runloop.kb import AsyncLedger
from runloop.runs.errors import NeedsPerson
from runloop.runs.history import load_run
from runloop.runs.manager import RunManager
from runloop.runs.operator import ApprovalDecision

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

    def append(self, events):
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


async def recover(b, run_id):
    run = await b.manager.recover(run_id)
    return await b.manager.drive(run)


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
        texts = {text for _, text in b.outbox.sent}
        cut = 1
        while True:
            b.model.prompts.clear()
            b.outbox.sent.clear()
            cut += 1
            if not await crash_at(b, cut, after):
                break
            run_id = b.ledger.run_ids(limit=50)
            unfinished = [each for each in run_id if load_run(b.ledger, each).finished is None]
            roots = [each for each in unfinished if load_run(b.ledger, each).identity.parent_run_id is None]
            assert len(roots) == 1
            in_doubt = any(not crossing.answered and crossing.name == "mail.send"
                           for each in load_run(b.ledger, roots[0]).attempts for crossing in each.crossings)
            b.services.operator.answers = ["it happened" if b.outbox.sent else "do it now"] if in_doubt else []
            b.services.operator.answers = [PersonAnswer(each, "operator") for each in b.services.operator.answers]
            if in_doubt and b.outbox.sent:
                continue_with = "failed"
            else:
                continue_with = "succeeded"
            result = await recover(b, roots[0])
            assert result.status == continue_with, (cut, result.reason)
            assert len(b.outbox.sent) == 1
            assert len(b.model.prompts) <= prompts + 2  # at most what each of two branches had in flight
            if continue_with == "succeeded":
                assert told(b, roots[0]) == expected, cut
                records = [event.payload["seq"] for event in b.ledger.read_run(roots[0])]
                assert records == list(range(1, len(records) + 1))
        assert cut > 12
        assert texts
