"""What a person approves beyond a run is kept, passes later runs on record, and ends when it is taken back."""

import json
import stat

import pytest

from runloop.errors import InvalidInput
from runloop.policy import Grant, Scope
from runloop.runs.grants import StandingGrant, StandingGrants
from runloop.runs.operator import ApprovalDecision

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


def test_another_process_sees_at_once_what_is_taken_back(kept):
    other = StandingGrants(kept.path)
    kept.keep(GIVEN)
    assert other.covering() == (GIVEN,)
    kept.revoke(GIVEN.id)
    assert other.covering() == ()
    with pytest.raises(InvalidInput, match="there is no grant"):
        kept.revoke(GIVEN.id)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"v": 2, "grants": []}', '{"v": 1, "grants": [{}]}', '{"v": 1, "grants": 3}']
    + [json.dumps({"v": 1, "grants": [{**GIVEN.to_dict(), **wrong}]}) for wrong in ({"scope": "run"}, {"targets": "/a"}, {"agent": 3})],
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


async def test_a_grant_that_cannot_be_written_lets_the_run_go_on(bench, desk, tmp_path):
    (tmp_path / "file").write_text("")
    async with bench(desk(ApprovalDecision(approved=True, scope=Scope.OPENING))) as b:
        b.services.grants.path = tmp_path / "file" / "grants.json"
        b.agent("one", MAILER, caps=CAPS)
        assert (await b.run(opening())).status == "succeeded"
