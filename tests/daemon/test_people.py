"""Who answers what waits for a person while its run is being put aside: the question stays open, and the answer brings the run back."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from runloop.client import Client
from runloop.daemon import control, people, room
from runloop.daemon.aside import Aside
from runloop.daemon.people import Answer, People, Person
from runloop.effects.perform.ports import PersonAnswer, Question
from runloop.errors import InvalidInput
from runloop.events.records import OpenQuestion
from runloop.kb.errors import LedgerCorrupt, LedgerFull
from runloop.policy import Scope
from runloop.runs.operator import ApprovalDecision, ApprovalRequest
from runloop.text import CHANGED, GATE

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


def question(name=ASKED.approval_id, kind="approval", run_id=None):
    return OpenQuestion(name, 7, kind, run_id)


async def test_an_answer_that_decides_nothing_leaves_the_approval_open(runs):
    await runs.parks()
    with pytest.raises(InvalidInput, match="does neither") as caught:
        await runs.people.answer(ASKED.approval_id, Answer())
    assert (caught.value.code, runs.people.open_count) == ("approval.answer", 1)


@pytest.mark.parametrize(
    ("name", "given", "key"),
    [
        (ASKED.approval_id, Answer(), "approved"),
        (ASKED.approval_id, Answer(approved=True, text="yes"), "answer"),
        (ASKED.approval_id, Answer(approved=True, scope=Scope.ALWAYS), "scope"),
        ("nothing", Answer(approved=True), "approval_id"),
    ],
)
async def test_an_answer_that_does_not_count_names_the_field_that_is_wrong(runs, name, given, key):
    await runs.parks()
    with pytest.raises(InvalidInput) as caught:
        await runs.people.answer(name, given)
    assert caught.value.where.key == key


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


async def test_a_question_that_cannot_be_read_keeps_nobody_from_the_others_and_is_told(runs):
    def event(event_id):
        if event_id == 8:
            raise LedgerCorrupt("gone")
        return runs.event(event_id)

    told = []
    runs.people.event, runs.people.unreadable = event, lambda name, why: told.append((name, why.code))
    runs.people.put_aside("broken", [OpenQuestion("broken/b/1/1", 8, "approval", None)])
    runs.people.put_aside("run", [question()])
    assert [each["approval_id"] for each in runs.people.listing()] == [ASKED.approval_id]
    grants = [SimpleNamespace(may_answer=lambda _asked, may=may: may) for may in (True, False)]
    assert runs.people.asking_for(grants) == [("run", "run", grants[:1])]
    assert runs.people.asking_for(grants[1:]) == []
    assert set(told) == {("broken/b/1/1", "ledger.corrupt")}
    with pytest.raises(LedgerCorrupt):
        runs.people.listing("broken")


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize("approved", [False, True])
async def test_a_no_that_a_grant_came_before_is_said_not_to_be_heard_and_a_yes_is_what_happened(runs, parked, approved):
    await (runs.parks if parked else runs.asks)()
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=approved)))
    await settle()
    meta = {"approval_id": ASKED.approval_id, "decision": "approved", "by": {"role": "grant"}}
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": meta})
    if approved:
        assert (await answering)["approval_id"] == ASKED.approval_id
    else:
        with pytest.raises(InvalidInput, match="closed before the answer was heard"):
            await answering
    assert (runs.people._refused, runs.people._given) == (set(), {})


async def test_a_no_that_a_run_has_yet_to_hear_is_about_its_call_and_about_no_other(runs):
    await runs.parks()
    runs.people.put_aside("run", [question()])
    person = Person(runs.people, "run")
    assert not person.has_said_no(ASKED.approval_id)
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=False)))
    await settle()
    assert (person.has_said_no(ASKED.approval_id), person.has_said_no("run/a/1/2")) == (True, False)
    runs.people.bring_back("run")
    assert not (await runs.people.decide(ASKED)).approved
    assert not person.has_said_no(ASKED.approval_id)
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": ASKED.approval_id, "by": {"role": "operator"}}})
    await answering


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


@pytest.mark.parametrize(
    ("why", "said"), [(None, "the run ended before"), (InvalidInput("another daemon has it", code="run.driven"), "another daemon has it")]
)
async def test_an_answer_to_what_a_run_did_not_come_to_ask_again_is_refused(runs, why, said):
    runs.people.put_aside("run", [question()])
    runs.people.bring_back("run")
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    runs.people.done("run", why)
    with pytest.raises(InvalidInput, match=said):
        await answering
    assert (runs.people.open_count, runs.people._given) == (0, {})


@pytest.mark.parametrize(("why", "said"), [(None, "the run ended before"), (InvalidInput("it broke off", code="run.broke"), "broke off")])
async def test_an_answer_that_a_run_got_and_did_not_record_is_refused_when_the_run_is_gone(runs, why, said):
    asks = await runs.asks()
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    assert asks.done()
    runs.people.done("another", why)
    await settle()
    assert not answering.done()
    runs.people.done("run", why)
    with pytest.raises(InvalidInput, match=said):
        await answering


async def test_the_first_answer_to_what_a_parked_run_asks_counts_though_the_run_has_not_heard_it(runs):
    runs.people.put_aside("run", [question()])
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    with pytest.raises(InvalidInput, match="is open") as caught:
        await runs.people.answer(ASKED.approval_id, Answer(approved=False))
    runs.people.bring_back("run")
    decided = await runs.people.decide(ASKED)
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    assert (caught.value.code, decided.approved, (await answering)["approval_id"]) == ("approval.unknown", True, ASKED.approval_id)


async def test_of_two_who_answer_at_once_each_hears_of_their_own_answer(runs):
    other = replace(ASKED, approval_id="run/b/1/1", node="b")
    asking = [await runs.asks(), asyncio.create_task(runs.people.decide(other))]
    await settle()
    answering = [asyncio.create_task(runs.people.answer(each.approval_id, Answer(approved=True))) for each in (ASKED, other)]
    await settle()
    await asyncio.gather(*asking)
    for kind, each in (("approval.decided", ASKED), ("approval.expired", other)):
        runs.people.take({"kind": kind, "run_id": "run", "meta": {"approval_id": each.approval_id}})
        await settle()
    assert (await answering[0])["node"] == "a"
    with pytest.raises(InvalidInput, match="closed before the answer was heard"):
        await answering[1]


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
    assert len(runs.woken) == 1
    runs.people.bring_back("run")
    runs.people.take({"kind": kind, "run_id": "run", "meta": meta})
    if heard:
        assert (await answering)["approval_id"] == ASKED.approval_id
    else:
        with pytest.raises(InvalidInput, match="was closed before the answer was heard"):
            await answering
        assert runs.people._given == {}
    assert (runs.people.open_count, runs.people._settled) == (0, {})


@pytest.mark.parametrize("kind", ["approval.decided", "approval.expired"])
async def test_what_is_closed_without_an_answer_from_here_is_only_not_asked_any_more(runs, kind):
    runs.people.put_aside("run", [question()])
    runs.people.bring_back("run")
    runs.people.take({"kind": "node.started", "run_id": "run", "meta": {"node": "a"}})
    assert runs.people.open_count == 1
    runs.people.take({"kind": kind, "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    assert runs.people.open_count == 0


CHANGED_ASKED = replace(ASKED, approval_id=f"{ASKED.approval_id}/9", what="To: b@example.org", instead_of=ASKED.approval_id)
EXPIRED = {"kind": "approval.expired", "run_id": "run", "meta": {"approval_id": ASKED.approval_id, "decision": CHANGED}}


async def test_a_no_to_what_has_changed_meanwhile_is_one_to_what_is_asked_in_its_place(runs):
    runs.people.put_aside("run", [question()])
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=False, rationale="never")))
    await settle()
    runs.people.bring_back("run")
    runs.people.take(EXPIRED)
    assert await runs.people.decide(CHANGED_ASKED) == ApprovalDecision(approved=False, rationale="never")
    assert not answering.done()
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": CHANGED_ASKED.approval_id}})
    await settle()
    assert answering.done()
    assert (await answering)["approval_id"] == ASKED.approval_id
    assert (runs.people.open_count, runs.people._given, runs.people._settled) == (0, {}, {})


async def test_a_yes_to_what_has_changed_meanwhile_is_none_to_what_is_asked_in_its_place(runs):
    runs.people.put_aside("run", [question()])
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    runs.people.bring_back("run")
    runs.people.take(EXPIRED)
    with pytest.raises(InvalidInput, match="has changed, so it is asked anew") as caught:
        await answering
    asks = asyncio.create_task(runs.people.decide(CHANGED_ASKED))
    await settle()
    assert (caught.value.code, list(runs.people.opened)) == ("approval.changed", [CHANGED_ASKED.approval_id])
    runs.people.opened[CHANGED_ASKED.approval_id].answer.set_result(Answer(approved=False))
    assert not (await asks).approved


@pytest.mark.parametrize("before", [ASKED.approval_id, f"{ASKED.approval_id}/5"])
async def test_what_changed_is_not_open_beside_what_is_asked_in_its_place(runs, before):
    runs.people.put_aside("run", [question(before)])
    runs.people.bring_back("run")
    asks = asyncio.create_task(runs.people.decide(replace(CHANGED_ASKED, instead_of=before)))
    await settle()
    assert [each["approval_id"] for each in runs.people.listing()] == [CHANGED_ASKED.approval_id]
    asks.cancel()


async def test_a_no_to_what_is_decided_otherwise_meanwhile_is_told_to_have_come_too_late(runs):
    runs.people.put_aside("run", [question()])
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=False)))
    await settle()
    runs.people.bring_back("run")
    runs.people.take({"kind": "approval.expired", "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    with pytest.raises(InvalidInput, match="was closed before the answer was heard"):
        await answering


async def test_a_run_that_is_taken_up_hears_the_answer_when_it_asks(runs):
    runs.people.put_aside("run", [question()])
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    await settle()
    runs.woken[0].set_result(None)
    await settle()
    runs.people.bring_back("run")
    assert (await runs.people.decide(ASKED)).approved
    answering.cancel()


async def test_what_a_run_asks_after_it_was_aside_is_closed_with_its_answer(runs):
    await runs.parks()
    runs.people.put_aside("run", [question()])
    runs.people.bring_back("run")
    asks = await runs.asks()
    runs.people.opened[ASKED.approval_id].answer.set_result(Answer(approved=True))
    assert (await asks).approved
    assert (runs.people.opened, runs.states) == ({}, ["open", "open", "closed"])


async def test_a_run_put_aside_again_asks_what_it_asks_then(runs):
    runs.people.put_aside("run", [question()])
    runs.people.put_aside("run", [OpenQuestion("run/b/1/1", 8, "approval", None)])
    assert [name for name, _ in runs.people.aside.items()] == ["run/b/1/1"]


async def test_what_another_run_asks_stays_open_while_one_is_put_aside(runs):
    runs.people.patient.add("other")
    other = asyncio.create_task(runs.people.decide(replace(ASKED, approval_id="other/a/1/1", run_id="other")))
    await runs.parks()
    runs.people.put_aside("run", [question()])
    assert [each["run_id"] for each in runs.people.listing("other")] == ["other"]
    assert [each["run_id"] for each in runs.people.listing("run")] == ["run"]
    assert len(runs.people.listing()) == 2
    other.cancel()


async def test_what_a_child_asks_is_shown_as_the_child_s_and_listed_with_its_root(runs):
    runs.people.put_aside("run", [question(run_id="child")])
    assert [(each["run_id"], each["root_run_id"]) for each in runs.people.listing("run")] == [("child", "run")]


async def test_an_answer_is_of_the_kind_that_was_asked_for(runs):
    asks = await runs.asks()
    with pytest.raises(InvalidInput, match="this is not a question"):
        await runs.people.answer(ASKED.approval_id, Answer(approved=True, text="yes"))
    asks.cancel()
    await asyncio.wait({asks})
    runs.people.put_aside("run", [question(kind="question")])
    for given in (Answer(approved=True), Answer(text="twice")):
        with pytest.raises(InvalidInput, match="the answer to a question is one of 'once'"):
            await runs.people.answer(ASKED.approval_id, given)
    assert (runs.people.open_count, runs.woken) == (1, [])


async def test_a_question_without_options_takes_any_text_but_no_yes(runs):
    asks = asyncio.create_task(runs.people.ask(Question("Which?", (), None, "", None), CONTEXT))
    await settle()
    with pytest.raises(InvalidInput, match="the answer to a question is a text"):
        await runs.people.answer(CONTEXT.question_id, Answer(approved=True))
    answering = asyncio.create_task(runs.people.answer(CONTEXT.question_id, Answer(text="anything", rationale="why", uid=7)))
    assert await asks == PersonAnswer("anything", "operator", "why", 7)
    answering.cancel()


async def test_a_run_that_asks_nothing_is_not_waited_for_when_it_comes_back(runs):
    runs.people.bring_back("run")
    assert not runs.people.aside.some_are_back


async def test_a_run_that_ended_is_not_waited_for_by_anybody(runs):
    runs.people.follow("run")
    runs.people.put_aside("run", [question()])
    runs.people.done("run")
    assert (runs.people.followed("run"), runs.people.waits_for_answers("run"), runs.people.open_count) == (False, False, 0)


@pytest.mark.parametrize(
    ("wait_ms", "root", "followed", "patient", "present"),
    [
        (0, "run", False, False, False),
        (1, "run", False, False, True),
        (1, None, False, False, True),
        (0, "run", True, False, True),
        (0, "run", False, True, True),
        (0, None, True, True, False),
    ],
)
async def test_an_approval_can_be_given_where_somebody_follows_the_run_or_it_may_wait(runs, wait_ms, root, followed, patient, present):
    runs.people.wait_ms = wait_ms
    runs.people.patient = {"run"} if patient else set()
    if followed:
        runs.people.follow("run")
    assert Person(runs.people, root).present is present


@pytest.mark.parametrize(("wait_ms", "why"), [(0, "nobody follows the run any more"), (1, "nobody answered within 1 ms")])
async def test_an_approval_that_nobody_gives_says_why_it_was_not_given(runs, wait_ms, why):
    runs.people.patient.clear()
    runs.people.wait_ms = wait_ms
    assert await runs.people.decide(ASKED) == ApprovalDecision(approved=False, role="nobody", rationale=why)
    assert runs.states == ["open", "closed"]


async def test_an_approval_stays_open_for_somebody_who_comes_while_it_waits(runs):
    runs.people.patient.clear()
    asks = asyncio.create_task(runs.people.decide(ASKED))
    await asyncio.sleep(0)
    runs.people.follow("run")
    await settle()
    runs.people.opened[ASKED.approval_id].answer.set_result(Answer(approved=True))
    assert (await asks).approved


CONTEXT = SimpleNamespace(run_id="run", question_id="run/a/1/1", node="a", agent="mails", asked_ms=5)


@pytest.mark.parametrize(
    ("wait_ms", "followed", "patient", "asked"),
    [(0, False, False, False), (60_000, False, False, True), (0, True, False, True), (0, False, True, True)],
)
async def test_a_question_is_put_where_somebody_follows_the_run_or_it_may_wait(runs, wait_ms, followed, patient, asked):
    runs.people.wait_ms = wait_ms
    runs.people.patient = {"run"} if patient else set()
    if followed:
        runs.people.follow("run")
    asks = asyncio.create_task(runs.people.ask(Question("Which?", (), "tea", "", None), CONTEXT))
    await settle()
    assert (asks.done(), [each["asked_ms"] for each in runs.people.listing()]) == (not asked, [5] * asked)
    if asked:
        asks.cancel()
    else:
        assert (await asks, runs.announced) == (None, [])


async def test_a_question_that_nobody_comes_for_is_closed_without_an_answer(runs):
    runs.people.patient.clear()
    runs.people.wait_ms = 1
    answer = await runs.people.ask(Question("Which?", (), "tea", "", None), CONTEXT)
    (_, closed) = runs.announced
    named = {"type": "question", "approval_id": CONTEXT.question_id, "run_id": "run", "root_run_id": "run"}
    assert (answer, closed) == (None, {"state": "closed", **named})


async def test_where_the_time_of_a_question_runs_out_its_default_counts(runs):
    answer = await runs.people.ask(Question("Which?", (), "tea", "", 1), CONTEXT)
    assert (answer, runs.states) == (PersonAnswer("tea", "default"), ["open", "closed"])
    with pytest.raises(TimeoutError):
        await runs.people.ask(Question("Which?", (), None, "", 1), CONTEXT)


async def test_what_is_asked_first_now_is_open_since_now(runs, monkeypatch):
    monkeypatch.setattr(people.time, "time_ns", lambda: 7_900_000)
    asks = await runs.asks()
    assert [each["asked_ms"] for each in runs.people.listing()] == [7]
    asks.cancel()


async def test_a_no_has_no_scope_that_could_be_too_wide(runs):
    asks = await runs.asks()
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=False, scope=Scope.ALWAYS)))
    assert not (await asks).approved
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    await answering


@pytest.mark.parametrize(
    ("scopes", "taint", "scope", "why"),
    [
        ((Scope.ONCE,), {"http"}, Scope.RUN, "content from outside leaves this machine"),
        ((Scope.ONCE,), (), Scope.RUN, "the reason"),
        ((Scope.ONCE, Scope.RUN), {"http"}, Scope.OPENING, "the reason"),
        ((Scope.ONCE, Scope.RUN), (), Scope.ALWAYS, "the reason"),
        ((Scope.ONCE, Scope.OPENING), (), Scope.ALWAYS, "never approved for ever"),
        ((Scope.ONCE, Scope.OPENING), (), Scope.RUN, "the reason"),
    ],
)
async def test_why_a_scope_is_too_wide_is_what_policy_has_against_it(runs, scopes, taint, scope, why):
    asking = replace(ASKED, scopes=scopes, taint=frozenset(taint), reason="the reason")
    asks = asyncio.create_task(runs.people.decide(asking))
    await settle()
    with pytest.raises(InvalidInput, match=f"{scope.value}: .*{why}"):
        await runs.people.answer(ASKED.approval_id, Answer(approved=True, scope=scope))
    asks.cancel()


def recorded(provenance=None, **meta):
    return SimpleNamespace(payload={"opening_name": "mails", "meta": {"node": "a", **meta}}, provenance=provenance or {}, ts_ms=3)


PLACE = {"approval_id": "x", "run_id": "child", "root_run_id": "run", "opening_name": "mails", "node": "a", "asked_ms": 3}


def test_an_approval_of_a_parked_run_is_shown_as_its_record_has_it():
    aside = Aside("run", "child", 7, question=False)
    meta = {"action": "mail.send", "what": "To", "reason": "why", "recipients": ["a@b"], "options": ["once"], "taint": ["http"]}
    same = {"action": "mail.send", "what": "To", "reason": "why", "recipients": ["a@b"], "scopes": ["once"], "taint": ["http"]}
    assert aside.shown("x", recorded({"agent_id": "agent:mailer"}, **meta)) == {"type": "approval", "agent": "mailer", **PLACE, **same}
    bare = {"action": "mail.send", "what": "To", "reason": "", "recipients": [], "scopes": [], "taint": []}
    assert aside.shown("x", recorded(action="mail.send", what="To")) == {"type": "approval", "agent": "mails", **PLACE, **bare}


def test_a_question_of_a_parked_run_is_shown_as_its_record_has_it():
    aside = Aside("run", "child", 7, question=True)
    plain = {"type": "question", "agent": "mails", **PLACE, "comment_on": [], "closes_ms": None, "on_timeout": ""}
    args = {"question": "Which?", "options": ["tea", "retry"], "default": "tea", "detail": "d", "timeout_ms": 9}
    assert aside.shown("x", recorded(args=args, deadline=4)) == {**plain, **args, "closes_ms": 3 + 9, "on_timeout": "tea"}
    only = {"question": "Which?", "options": ["tea"], "default": None, "detail": "", "timeout_ms": None}
    assert aside.shown("x", recorded(what="Which?", options=["tea"])) == {**plain, **only}


def test_a_gate_of_a_parked_run_is_shown_with_when_it_closes_and_how():
    aside = Aside("run", "child", 7, question=True)
    meta = {"action": GATE, "what": "Good?", "options": ["approve", "revise"], "deadline": 4, "on_timeout": "approve"}
    shown = aside.shown("x", recorded(**meta))
    assert (shown["comment_on"], shown["closes_ms"], shown["on_timeout"]) == (["revise"], 4, "approve")


async def test_nobody_is_woken_where_nothing_was_answered(runs):
    await runs.parks()
    runs.people.put_aside("run", [question()])
    assert (runs.woken, runs.people.open_count, runs.people.opened) == ([], 1, {})


async def test_what_is_not_in_the_record_of_a_parked_run_is_closed(runs):
    await runs.parks()
    runs.people.put_aside("run", [])
    assert (runs.people.open_count, runs.states) == (0, ["open", "closed"])


async def test_an_answer_is_not_acknowledged_before_it_is_on_record_however_long_the_run_takes_to_ask(runs, monkeypatch):
    monkeypatch.setattr(room, "_LOOK_S", 0)
    runs.people.put_aside("run", [question()])
    runs.people.bring_back("run")
    answering = asyncio.create_task(runs.people.answer(ASKED.approval_id, Answer(approved=True)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not answering.done()
    assert (await runs.people.decide(ASKED)).approved
    runs.people.take({"kind": "approval.decided", "run_id": "run", "meta": {"approval_id": ASKED.approval_id}})
    assert (await answering)["approval_id"] == ASKED.approval_id


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
    for odd in ("nonsense", ":x", "\u0663:x", "9" * 5000 + ":x"):
        with pytest.raises(InvalidInput, match="after cannot be used"):
            control._after(odd)
