"""What a person approves beyond a run is kept, passes later runs on record, and ends when it is taken back."""

import asyncio
import fcntl
import json
import os
import stat
import threading
from dataclasses import replace

import pytest

from runloop.errors import InvalidInput
from runloop.events.records import ApprovalEnded, Decider
from runloop.policy import Grant, Scope
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.grants import StandingGrant, StandingGrants
from runloop.runs.operator import ApprovalDecision
from runloop.runs.recorder import Draft

from .test_approvals import CAPS, MAILER, opening

GRANT = Grant(Scope.OPENING, "files.write", "d" * 8, frozenset({"/a"}), "o" * 8, "r")
GIVEN = StandingGrant.given(GRANT, agent_name="one", opening_name="post", approval_id="r/a/1/1", given_ms=5)


@pytest.fixture
def kept(tmp_path):
    return StandingGrants(tmp_path / "state" / "grants.json")


def test_a_grant_survives_the_process_and_is_for_this_user_alone(kept):
    kept.keep(GIVEN)
    kept.keep(GIVEN)
    assert StandingGrants(kept.path).all() == (GIVEN,)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert [path.name for path in kept.path.parent.iterdir()] == ["grants.json"]


def test_who_looks_hears_once_of_each_grant_that_another_process_gave(kept):
    told, other = [], StandingGrants(kept.path)
    kept.told.add(lambda given: told.append([each.id for each in given]))
    mine = replace(GIVEN, id="mine")
    theirs = [replace(GIVEN, id=name) for name in ("before", "later", "last")]
    other.keep(theirs[0])
    kept.look()
    kept.keep(mine)
    for given in theirs[1:]:
        other.keep(given)
    kept.look()
    kept.look()
    other.revoke("later")
    kept.look()
    other.keep(theirs[1])
    kept.look()
    assert told == [["before"], ["mine"], ["later", "last"], ["later"]]


SHOWN = {"action": "files.write", "agent": "one", "opening_name": "post", "recipients": ["/a"], "scopes": ["once", "opening", "always"]}


@pytest.mark.parametrize(
    ("differs", "may"),
    [
        ({}, True),
        ({"action": "mail.send"}, False),
        ({"agent": "two"}, False),
        ({"recipients": ["/b"]}, False),
        ({"recipients": []}, False),
        ({"recipients": ["/a", "/b"]}, False),
        ({"scopes": ["once", "always"]}, False),
    ],
)
def test_what_a_grant_may_answer_is_told_by_what_is_shown_of_it(differs, may):
    assert GIVEN.may_answer({**SHOWN, **differs}) is may


@pytest.mark.parametrize(("agent", "opening", "may"), [("d", "o", (True, True)), ("d", "x", (False, True)), ("x", "o", (False, False))])
def test_a_grant_is_for_runs_of_its_agent_and_where_it_is_no_wider_of_its_opening(agent, opening, may):
    submitted = {"opening_digest": opening * 8, "versions": {"runloop": "1", "bundles": {"one": agent * 8, "two": "y"}}}
    assert (GIVEN.is_for(submitted), replace(GIVEN, grant=replace(GRANT, scope=Scope.ALWAYS)).is_for(submitted)) == may
    assert not GIVEN.is_for({"opening_digest": "o" * 8, "versions": {"runloop": "1"}})


def huge(path):
    path.touch()
    os.truncate(path, 1 << 33)


@pytest.mark.parametrize("stand", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), huge])
def test_what_is_no_list_of_grants_is_neither_waited_for_nor_read_to_an_end_that_it_does_not_have(kept, stand):
    kept.path.parent.mkdir()
    stand(kept.path)
    with pytest.raises(InvalidInput, match=r"cannot be read: (not a regular file|it is no list of grants)"):
        kept.all()


def test_another_process_sees_at_once_what_is_taken_back(kept):
    other = StandingGrants(kept.path)
    kept.keep(GIVEN)
    assert other.covering() == (GIVEN,)
    kept.revoke(GIVEN.id)
    assert other.covering() == ()
    with pytest.raises(InvalidInput, match="there is no grant"):
        kept.revoke(GIVEN.id)


def test_what_two_processes_give_at_the_same_time_is_both_kept(kept):
    kept.path.parent.mkdir(mode=0o700)
    second = replace(GIVEN, id="second")
    here = os.open(kept.path.parent, os.O_RDONLY)
    fcntl.flock(here, fcntl.LOCK_EX)
    giving = threading.Thread(target=StandingGrants(kept.path).keep, args=(GIVEN,))
    giving.start()
    giving.join(0.2)  # without the lock it would be done by now, and what follows would be lost with it
    assert kept.all() == ()
    kept.path.write_text(json.dumps({"v": 1, "grants": [second.to_dict()]}))
    os.close(here)
    giving.join()
    assert {each.id for each in kept.all()} == {GIVEN.id, "second"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100_000, '{"v": 2, "grants": []}', '{"v": 1, "grants": [{}]}', '{"v": 1, "grants": 3}']
    + [
        json.dumps({"v": 1, "grants": [{**GIVEN.to_dict(), **wrong}]})
        for wrong in ({"scope": "run"}, {"targets": "/a"}, {"agent": 3}, {"given_ms": float("inf")}, {"agent_name": "\ud800"})
    ],
)
def test_a_file_that_is_no_list_of_grants_grants_nothing_and_is_named(kept, text):
    kept.keep(GIVEN)
    kept.path.write_text(text)
    assert kept.covering() == ()
    with pytest.raises(InvalidInput) as raised:
        kept.all()
    assert (raised.value.code, str(kept.path) in raised.value.hint) == ("grants.file", True)


async def test_what_was_approved_for_the_opening_passes_its_next_run_and_the_record_names_the_grant(bench, desk):
    operator = desk(ApprovalDecision(approved=True, scope=Scope.OPENING))
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)

        assert (await b.run(opening(times=2))).status == "succeeded"
        (granted,) = b.services.grants.all()
        b.records.clear()
        assert (await b.run(opening(times=2))).status == "succeeded"

        assert (len(operator.shown), len(b.outbox.sent)) == (1, 4)
        roles = [(meta["by"]["role"], granted.id in meta["rationale"]) for meta in b.metas("approval.decided")]
        assert roles == [("grant", True), ("grant", True)]
        assert granted.to_dict()["targets"] == ["a@example.org"]


async def test_a_grant_covers_no_other_recipient_and_no_other_opening_and_nothing_once_it_is_taken_back(bench, desk):
    operator = desk(ApprovalDecision(approved=True, scope=Scope.OPENING), False, False, False)
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)
        await b.run(opening())
        (granted,) = b.services.grants.all()

        assert (await b.run(opening(to="b@example.org"))).code == "approval.rejected"
        assert (await b.run(opening(times=1))).code == "approval.rejected"  # another text, so another opening
        b.services.grants.revoke(granted.id)
        assert (await b.run(opening())).code == "approval.rejected"
        assert len(b.outbox.sent) == 1


async def test_what_is_taken_back_while_the_run_goes_on_is_asked_about_again(bench, desk):
    operator = desk(ApprovalDecision(approved=True, scope=Scope.OPENING), False)
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)
        perform = b.outbox.perform

        async def revoking(prepared, ctx):
            for each in b.services.grants.all():
                b.services.grants.revoke(each.id)
            return await perform(prepared, ctx)

        b.outbox.perform = revoking
        assert (await b.run(opening(times=2))).code == "approval.rejected"
        assert (len(operator.shown), len(b.outbox.sent)) == (2, 1)


async def test_a_message_that_cannot_be_taken_back_is_never_offered_for_always(bench, desk):
    operator = desk(ApprovalDecision(approved=True, scope=Scope.ALWAYS))
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)
        await b.run(opening())
        assert Scope.ALWAYS not in operator.shown[0].scopes
        assert b.services.grants.all() == ()


async def test_without_anybody_there_a_grant_answers_and_tainted_content_is_still_denied(bench, desk):
    async with bench(desk(ApprovalDecision(approved=True, scope=Scope.OPENING))) as b:
        b.agent("one", MAILER, caps=CAPS)
        await b.run(opening())
        b.services.operator.present = False
        assert (await b.run(opening())).status == "succeeded"
        b.services.grants.keep(
            StandingGrant.given(
                Grant(Scope.OPENING, "mail.outbox", "x", frozenset({"a@example.org"}), "y"),
                agent_name="one",
                opening_name="post",
                approval_id="z",
                given_ms=1,
            )
        )
        assert (await b.run(opening(search=True))).code == "approval.nobody"


async def test_a_no_that_is_on_record_is_not_outvoted_by_a_grant_when_the_run_is_taken_up(bench, desk):
    operator = desk(ApprovalDecision(approved=True, scope=Scope.OPENING))
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)
        run = await b.submit(opening())
        await b.left_while_asked(run, operator)
        asked = next(event.payload["meta"] for event in b.ledger.read_run(run.run_id) if event.kind == "approval.requested")
        place = {name: asked[name] for name in ("node", "attempt", "call")}
        said_no = ApprovalEnded(asked["approval_id"], "rejected", by=Decider("operator"), **place)
        await run.recorder.write(Draft("approval.decided", "rejected", said_no))  # and the process dies
        assert (await b.run(opening())).status == "succeeded"

        result = await b.manager.drive(await b.manager.recover(run.run_id))

        assert (result.code, len(b.outbox.sent)) == ("approval.rejected", 1)


async def test_a_grant_that_cannot_be_written_lets_the_run_go_on(bench, desk, tmp_path):
    (tmp_path / "file").write_text("")
    async with bench(desk(ApprovalDecision(approved=True, scope=Scope.OPENING))) as b:
        b.services.grants.path = tmp_path / "file" / "grants.json"
        b.agent("one", MAILER, caps=CAPS)
        assert (await b.run(opening())).status == "succeeded"


class Both:
    """A person who answers the question of that number, the second where nothing is said, and never another."""

    present = True

    def __init__(self, scope, answers=2):
        self.scope, self.answers, self.shown, self.withdrawn, self.both = scope, answers, [], [], asyncio.Event()

    def has_said_no(self, _question_id):
        return False

    async def decide(self, request):
        self.shown.append(request)
        if len(self.shown) == self.answers:
            self.both.set()
            return ApprovalDecision(approved=True, scope=self.scope)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.withdrawn.append(request.approval_id)


TWO = opening().replace("edges", '  - {id: other, use: "agent:one"}\nedges')


async def test_a_question_that_another_answer_covers_is_answered_with_it(bench):
    person = Both(Scope.RUN)
    async with bench(person) as b:
        b.agent("one", MAILER, caps=CAPS)

        async with asyncio.timeout(20):
            result = await b.run(TWO)

        assert (result.status, len(b.outbox.sent)) == ("succeeded", 2)
        said = {meta["approval_id"]: (meta["decision"], meta["by"]["role"]) for meta in b.metas("approval.decided")}
        first, second = (request.approval_id for request in person.shown)
        assert said == {second: ("approved", "operator"), first: ("approved", "grant")}
        assert person.withdrawn == [first]
        assert b.services.grants.told == set()


async def test_a_question_that_another_answer_does_not_cover_stays(bench):
    person = Both(Scope.ONCE)
    async with bench(person) as b:
        b.agent("one", MAILER, caps=CAPS)
        run = await b.submit(TWO)
        driven = asyncio.ensure_future(b.manager.drive(run))
        await person.both.wait()
        while len(b.outbox.sent) < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

        assert (len(b.metas("approval.decided")), person.withdrawn) == (1, [])
        run.cancel("enough")
        assert (await driven).status == "cancelled"
        assert [meta["decision"] for meta in b.metas("approval.expired")] == ["expired"]
        assert b.services.grants.told == set()


@pytest.mark.parametrize("scope", [Scope.RUN, Scope.OPENING])
async def test_what_is_approved_while_the_same_is_being_recorded_as_asked_answers_that_too(bench, monkeypatch, scope):
    person, requested, asked = Both(scope, answers=1), ApprovalDesk._requested, []

    async def recorded(desk, *args):
        asked.append(args)
        second, event_id = len(asked) == 2, await requested(desk, *args)
        while not (desk.grants if second else len(asked) == 2):
            await asyncio.sleep(0)
        return event_id

    monkeypatch.setattr(ApprovalDesk, "_requested", recorded)
    async with bench(person) as b:
        b.agent("one", MAILER, caps=CAPS)

        async with asyncio.timeout(20):
            result = await b.run(TWO)

        assert (result.status, len(b.outbox.sent)) == ("succeeded", 2)
        assert sorted(meta["by"]["role"] for meta in b.metas("approval.decided")) == ["grant", "operator"]
        assert b.services.grants.told == set()


async def test_what_is_approved_for_the_opening_answers_what_another_run_of_it_asks(bench):
    person = Both(Scope.OPENING)
    async with bench(person) as b:
        b.agent("one", MAILER, caps=CAPS)

        async with asyncio.timeout(20):
            results = await asyncio.gather(b.run(opening()), b.run(opening()))

        assert ([result.status for result in results], len(b.outbox.sent)) == (["succeeded"] * 2, 2)
        (granted,) = b.services.grants.all()
        by = {meta["by"]["role"]: meta.get("rationale") or "" for meta in b.metas("approval.decided")}
        assert granted.id in by["grant"]
