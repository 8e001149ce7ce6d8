"""Who answers what waits for a person while its run is being put aside: the question stays open, and the answer brings the run back."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from runloop.client import Client
from runloop.daemon import control
from runloop.daemon.people import Answer, People
from runloop.effects.perform.ports import Question
from runloop.errors import InvalidInput
from runloop.events.records import OpenQuestion
from runloop.kb.errors import LedgerFull
from runloop.policy import Scope
from runloop.runs.operator import ApprovalDecision, ApprovalRequest

ASKED = ApprovalRequest("run/a/1/1", "run", "mails", "a", "mails", "mail.send", "To: a@example.org", (), "", (Scope.ONCE,), frozenset())


class Runs:
    """What People sees of the daemon's runs."""

    def __init__(self):
        self.woken, self.announced = [], []
        self.people = People(self.announced.append, lambda run_id: run_id, self.event, wake=self.wake)
        self.people.patient.add("run")

    def event(self, event_id):
        meta = {"node": "a" if event_id == 7 else "b", "action": "mail.send", "what": "To: a@example.org", "options": ["once"]}
        return SimpleNamespace(payload={"opening_name": "mails", "meta": meta}, provenance={}, ts_ms=1)

    def wake(self, root):
        self.woken.append(asyncio.get_running_loop().create_future())
        return self.woken[-1]

    @property
    def states(self):
        return [each["state"] for each in self.announced]

    async def asks(self):
        task = asyncio.create_task(self.people.decide(ASKED))
        await settle()
        return task

    async def parks(self):
        """A run that waits is about to leave memory, and the call that asks has been stopped."""
        task = await self.asks()
        self.people.parking.add("run")
        task.cancel()
        await asyncio.wait({task})


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def runs():
    return Runs()


def question():
    return OpenQuestion(ASKED.approval_id, 7, "approval", None)


async def test_an_answer_that_decides_nothing_leaves_the_approval_open(runs):
    await runs.parks()
    with pytest.raises(InvalidInput, match="does neither") as caught:
        await runs.people.answer(ASKED.approval_id, Answer())
    assert (caught.value.code, runs.people.open_count) == ("approval.answer", 1)


async def test_what_is_asked_stays_open_while_its_run_is_put_aside_and_the_answer_brings_the_run_back(runs):
    await runs.parks()
    assert [each["approval_id"] for each in runs.people.listing()] == [ASKED.approval_id]
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    with pytest.raises(InvalidInput, match="nothing with the id"):
        await runs.people.answer(ASKED.approval_id, Answer(approved=False))
    runs.people.put_aside("run", [question()])
    assert (len(runs.woken), runs.people.open_count, runs.states) == (1, 1, ["open"])
    runs.people.bring_back("run")
    assert await runs.people.decide(ASKED) == ApprovalDecision(approved=True)
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    assert (await answering)["approval_id"] == ASKED.approval_id
    assert (runs.people.open_count, runs.states) == (0, ["open", "closed"])


@pytest.mark.parametrize(("stays_open", "answered"), [(True, "it happened"), (False, None)])
async def test_what_only_a_person_can_say_stays_open_though_nobody_follows_the_run(runs, stays_open, answered):
    runs.people.patient.clear()
    ctx = SimpleNamespace(run_id="run", question_id="run/a/1/1/outcome/1", node="a", agent="mails", asked_ms=None)
    asks = asyncio.create_task(runs.people.ask(Question("Did it?", ("it happened", "give up"), None, "", None, stays_open=stays_open), ctx))
    await settle()
    assert runs.people.open_count == int(stays_open)
    if stays_open:
        runs.people.opened[ctx.question_id].answer.set_result(Answer(text="it happened"))
    said = await asks
    assert (None if said is None else said.answer) == answered


async def test_who_answered_while_a_run_was_put_aside_hears_that_it_cannot_be_taken_up(runs):
    await runs.parks()
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    runs.people.put_aside("run", [question()])
    runs.woken[0].set_exception(InvalidInput("its agents are gone", code="run.not_kept", hint=""))
    with pytest.raises(InvalidInput, match="its agents are gone"):
        await answering
    assert [name for name, _ in runs.people.aside.items()] == [ASKED.approval_id]


async def test_what_a_run_asked_before_can_be_answered_until_it_asks_it_again(runs):
    other = replace(ASKED, approval_id="run/b/1/1", node="b")
    runs.people.put_aside("run", [question(), OpenQuestion(other.approval_id, 8, "approval", None)])
    runs.people.bring_back("run")
    assert [each["approval_id"] for each in runs.people.listing()] == [ASKED.approval_id, other.approval_id]
    answering = asyncio.create_task(runs.people.answer(other.approval_id, Answer(approved=True)))
    await settle()
    assert ([each["approval_id"] for each in runs.people.listing()], runs.woken) == ([ASKED.approval_id], [])
    asks = await runs.asks()
    assert ([name for name, _ in runs.people.aside.items()], list(runs.people.opened)) == ([other.approval_id], [ASKED.approval_id])
    assert (await runs.people.decide(other)).approved
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": other.approval_id}})
    assert (await answering)["node"] == "b"
    runs.people.opened[ASKED.approval_id].answer.set_result(Answer())
    assert not (await asks).approved
    assert runs.people.open_count == 0


async def test_an_answer_to_what_a_run_did_not_come_to_ask_again_is_refused(runs):
    runs.people.put_aside("run", [question()])
    runs.people.bring_back("run")
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    runs.people.done("run")
    with pytest.raises(InvalidInput, match="the run ended before"):
        await answering
    assert (runs.people.open_count, runs.people._given) == (0, {})


async def test_what_was_decided_otherwise_meanwhile_is_not_open_any_more(runs):
    runs.people.put_aside("run", [question()])
    runs.people.bring_back("run")
    runs.people.take({"kind": "approval.expired", "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    assert (runs.people.open_count, runs.people.aside.some_are_back) == (0, False)


CALL = {"node": "a", "call": 1, "attempt": 1}


@pytest.mark.parametrize(
    ("kind", "meta", "heard"),
    [
        ("approval.decided", {"approval_id": ASKED.approval_id}, True),
        ("approval.expired", {"approval_id": ASKED.approval_id}, False),
        ("effect.completed", {**CALL, "result": {"answer": "yes", "by": "operator"}}, True),
        ("effect.completed", {**CALL, "result": {"answer": "no", "by": "default"}}, False),
        ("effect.failed", {**CALL, "error": {"code": "ask.timeout"}}, False),
    ],
)
async def test_who_answers_while_it_is_closed_hears_whether_the_answer_counted(runs, kind, meta, heard):
    runs.people.put_aside("run", [question()])
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    runs.people.bring_back("run")
    runs.people.take({"kind": kind, "run_id": "run", "meta": meta})
    if heard:
        assert (await answering)["approval_id"] == ASKED.approval_id
    else:
        with pytest.raises(InvalidInput, match="was closed before the answer was heard"):
            await answering
        assert runs.people._given == {}
    assert (runs.people.open_count, runs.people._settled) == (0, {})


async def test_nobody_is_woken_where_nothing_was_answered(runs):
    await runs.parks()
    runs.people.put_aside("run", [question()])
    assert (runs.woken, runs.people.open_count, runs.people.opened) == ([], 1, {})


async def test_what_is_not_in_the_record_of_a_parked_run_is_closed(runs):
    await runs.parks()
    runs.people.put_aside("run", [])
    assert (runs.people.open_count, runs.states) == (0, ["open", "closed"])


async def test_nothing_of_a_wait_is_left_when_its_run_has_left_memory(runs):
    await runs.parks()
    runs.people.put_aside("run", [question()])
    assert runs.people._moved == {}


async def test_an_answer_that_finds_no_room_on_the_disk_is_not_acknowledged_as_recorded(runs):
    asks = await runs.asks()
    runs.people.stalled = lambda: True
    with pytest.raises(LedgerFull):
        await runs.people.answer(ASKED.approval_id, Answer(approved=True))
    assert ((await asks).approved, runs.people._settled) == (True, {})


async def test_what_is_opened_while_all_is_listed_in_another_thread_does_not_break_the_list(runs):
    class Opening:
        """Something open that is looked at as the loop opens more."""

        def __init__(self):
            self.shown = {"asked_ms": 1, "approval_id": "run/a/1/1"}

        @property
        def root(self):
            runs.people.opened[f"later {len(runs.people.opened)}"] = self
            return "run"

    runs.people.opened |= {"one": Opening(), "two": Opening()}
    assert len(runs.people.listing("run")) == 2


async def test_what_waits_is_told_in_parts_that_an_answer_can_hold_each_item_once(monkeypatch):
    monkeypatch.setattr(control, "_OPEN_BYTES", 1000)
    waits = [
        {"run_id": "r", "asked_ms": ms, "approval_id": f"{ms}/{name}", "opening_name": "o", "what": "x" * 300}
        for ms in (1, 2, 3)
        for name in "ab"
    ]
    daemon = SimpleNamespace(people=SimpleNamespace(listing=lambda _root: waits))
    everything, parts, asking = [each["approval_id"] for each in waits], [], Client(name="test")

    async def ask(_verb, **fields):
        assert fields["run"] is None
        parts.append(control._open(daemon, None, control._after(fields.get("after"))))
        waits.remove(parts[-1]["open"][-1])  # it is answered before the next part is asked for
        return parts[-1]

    monkeypatch.setattr(asking, "ask", ask)
    found = [each["approval_id"] for each in await asking.approvals()]
    assert (found, [len(part["open"]) for part in parts]) == (everything, [2, 2, 2])
    with pytest.raises(InvalidInput, match="after cannot be used"):
        control._after("nonsense")
