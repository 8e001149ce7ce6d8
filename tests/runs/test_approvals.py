"""Nothing leaves without an approval that policy accepts, and every step of it is in the ledger."""

import asyncio
import contextlib
import gc
import weakref
from types import SimpleNamespace

import pytest

from runloop.effects.perform.ports import PersonAnswer
from runloop.effects.perform.secrets import SecretHandles, SecretsHandle, SecretStore
from runloop.effects.types import CallError, CallErrorKind, Evidence, Outcome
from runloop.openings import parse_opening
from runloop.policy import Scope
from runloop.policy.capabilities import secret_target
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.errors import NeedsPerson
from runloop.runs.operator import ApprovalDecision
from runloop.runs.pausing import pause, resume
from runloop.runs.ports import LedgerSentLog
from runloop.runs.results import RunHalted
from runloop.runs.run import Run
from runloop.runs.services import RunRules
from runloop.runs.submission import Submission
from runloop.runs.used_on import used_on

MAILER = """@agent
def run(to: str = 'a@example.org', times: int = 1, search: bool = False):
    if search:
        kb.search('x')
    for n in range(times):
        mail.send([{'email': to}], subject='hello', text=f'text {n}')
    return {'out': times}
"""
TRIES = """@agent
def run(feedback=None):
    mail.send([{'email': 'a@example.org'}], subject='hello', text='the letter' + (' anew' if feedback else ''))
    return {'out': 'good' if feedback else 'bad'}
"""
REVISED_MAILER = """@agent
def run(revise=''):
    mail.send([{'email': 'a@example.org'}], subject='hello', text='the letter' + (f', {revise}' if revise else ''))
    return {'out': 1}
"""
CAPS = "mail = true\nkb_read = true"


def opening(policy="approve_in_advance: [mail.outbox]", **args):
    with_args = ", ".join(f"{key}: {str(value).lower()}" for key, value in args.items())
    return f'version: 0\nname: post\npolicy: {{{policy}}}\nnodes:\n  - {{id: only, use: "agent:one", with: {{{with_args}}}}}\nedges: []\n'


async def test_an_approved_message_is_sent_and_the_records_show_exactly_what_was_approved(bench, desk):
    operator = desk(True)
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening())

        assert result.status == "succeeded"
        kinds = [kind for kind in b.kinds() if kind.startswith(("effect", "approval"))]
        assert kinds == ["approval.requested", "approval.decided", "effect.requested", "effect.completed"]
        assert b.metas("approval.requested")[0]["what"] == operator.shown[0].what == "to a@example.org: text 0"
        decided = b.metas("approval.decided")[0]
        assert (decided["decision"], decided["by"]["role"], decided["scope"]) == ("approved", "operator", "once")
        assert len(b.outbox.sent) == 1


async def test_a_rejected_message_is_not_sent_and_the_run_fails_as_denied(bench, desk):
    async with bench(desk(False)) as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening())

        assert (result.status, result.code) == ("failed", "approval.rejected")
        assert b.outbox.sent == []
        assert b.metas("effect.failed")[0]["error"]["kind"] == "denied"


async def test_an_agent_may_catch_the_refusal_and_go_on(bench, desk):
    async with bench(desk(False)) as b:
        code = MAILER.replace("        mail.send", "        try:\n            mail.send").replace(
            "    return", "        except CallError as e:\n            return {'out': e.code}\n    return"
        )
        b.agent("one", code, caps=CAPS)

        result = await b.run(opening())

        assert result.status == "succeeded"
        assert b.metas("node.finished")[0]["outputs"] == {"out": ["denied"]}


async def test_without_a_person_and_without_yes_it_is_denied_with_a_hint(bench):
    async with bench() as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening())

        assert result.code == "approval.nobody"
        assert "--yes" in b.metas("effect.failed")[0]["error"]["hint"]
        assert b.outbox.sent == []


async def test_yes_approves_what_the_opening_lists_and_says_so_in_the_record(bench):
    async with bench() as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening(), yes=True)

        assert result.status == "succeeded"
        assert b.metas("approval.decided")[0]["by"]["role"] == "advance"


async def test_yes_does_not_approve_what_the_opening_does_not_list(bench):
    async with bench() as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening("approve_in_advance: [files.write]"), yes=True)

        assert (result.code, b.outbox.sent) == ("approval.nobody", [])


async def test_the_configuration_can_take_an_action_off_what_yes_approves(bench):
    async with bench(rules=RunRules(approve_in_advance=frozenset())) as b:
        b.agent("one", MAILER, caps=CAPS)

        assert (await b.run(opening(), yes=True)).code == "approval.nobody"


async def test_a_denied_action_is_refused_whatever_anybody_approves(bench, desk):
    operator = desk(True)
    async with bench(operator, RunRules(denied_actions=frozenset({"mail.outbox"}))) as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening(), yes=True)

        assert (result.code, operator.shown, b.outbox.sent) == ("policy.denied", [], [])


async def test_an_approval_for_the_run_covers_the_same_recipient_and_no_other_is_asked(bench, desk):
    operator = desk(ApprovalDecision(approved=True, scope=Scope.RUN))
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening(times=3))

        assert (result.status, len(operator.shown), len(b.outbox.sent)) == ("succeeded", 1, 3)


async def test_an_approval_once_covers_one_message_only(bench, desk):
    operator = desk(True, True, False)
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(opening(times=3))

        assert (result.status, len(operator.shown), len(b.outbox.sent)) == ("failed", 3, 2)


async def test_taint_is_recorded_from_the_answer_on_and_shown_to_the_person(bench, desk):
    operator = desk(True)
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)

        await b.run(opening(search=True))

        assert operator.shown[0].taint == {"web"}
        assert [meta.get("taint") for meta in b.metas("effect.requested")] == [None, ["web"]]


async def test_taint_follows_the_values_to_the_nodes_behind(bench, desk):
    operator = desk(True)
    async with bench(operator) as b:
        b.agent("source", "@agent\ndef run():\n    kb.search('x')\n    return {'out': 'b@example.org'}\n", caps="kb_read = true")
        b.agent("one", MAILER, caps=CAPS, ports_in=("to",))
        text = 'version: 0\nname: t\nnodes: [{id: s, use: "agent:source"}, {id: m, use: "agent:one"}]\nedges: [{from: s.out, to: m.to}]\n'

        await b.run(text)

        assert (operator.shown[0].recipients, operator.shown[0].taint) == (("b@example.org",), {"web"})


FAILED = CallError(CallErrorKind.UNAVAILABLE, "write-to-me.example cannot be fetched", code="http.connect", taint=frozenset({"web"}))
TRYING = """
@agent
def run():
    try:
        kb.search("x")
    except CallError as error:
        mail.send([{"email": "a@example.org"}], subject="s", text=str(error))
    return {}
"""


async def test_what_a_failed_call_repeats_from_outside_taints_as_an_answer_does(bench, desk):
    operator = desk(True)
    async with bench(operator) as b:
        b.services.performers["kb.search"].fail = [FAILED]
        b.agent("one", TRYING, caps=CAPS)

        await b.run(opening())

        assert operator.shown[0].taint == {"web"}
        assert [meta.get("taint") for kind in ("effect.failed", "effect.requested") for meta in b.metas(kind)] == [["web"], None, ["web"]]


class OnceOutbox:
    """An outbox that does what a work's key names once, as that of mail."""

    def __init__(self, outbox):
        self.prepare, self.sent = outbox.prepare, {}

    async def done_before(self, prepared, ctx):
        return ctx.work_key in self.sent

    async def remember(self, prepared, ctx):
        self.sent.setdefault(ctx.work_key, prepared.data["text"])

    async def perform(self, prepared, ctx):
        self.sent.setdefault(ctx.work_key, prepared.data["text"])
        return Outcome({"message_id": f"<{ctx.work_key}>", "status": "outbox", "path": "/x", "recipients": list(prepared.recipients)})


async def test_what_an_earlier_try_sent_is_not_approved_once_more_when_nothing_would_be_sent(bench, desk):
    operator = desk(True)
    async with bench(operator) as b:
        b.services.performers["mail.send"] = outbox = OnceOutbox(b.outbox)
        b.agent("one", TRIES, ports_in=("feedback",), caps=CAPS)

        result = await b.run("version: 0\nname: again\nnodes: [{id: a, use: 'agent:one', output: {schema: {const: good}}}]\nedges: []\n")

        assert (result.status, outbox.sent) == ("succeeded", {f"{result.run_id}/a/1": "the letter"})
        assert [request.what for request in operator.shown] == ["to a@example.org: the letter"]


class LosingOutbox(OnceOutbox):
    """As that of mail over SMTP: what is handed over has left, and of the first ``lost`` handings nobody hears what came of them."""

    def __init__(self, outbox, *, lost=1, hold=None):
        super().__init__(outbox)
        self.handed, self.lost, self.hold = [], lost, hold

    async def done_before(self, prepared, ctx):
        return True if await super().done_before(prepared, ctx) else None

    async def evidence(self, prepared, ctx):
        outcome = Outcome({"message_id": "<1>", "status": "sent", "path": None, "recipients": list(prepared.recipients)})
        return Evidence(None, "the server may have taken it", outcome)

    async def perform(self, prepared, ctx):
        if ctx.work_key in self.sent:
            return await super().perform(prepared, ctx)
        self.handed.append(prepared.data["text"])
        if len(self.handed) <= self.lost:
            if self.hold is not None:
                await self.hold()
            raise CallError(CallErrorKind.UNAVAILABLE, "the server broke off", code="mail.outcome_unknown", outcome_unknown=True)
        return await super().perform(prepared, ctx)


CATCHES = """@agent
def run(feedback=None):
    try:
        said = mail.send([{'email': 'a@example.org'}], subject='hello', text='the letter').status
    except CallError as error:
        said = error.code
    return {'out': said if feedback else 'bad'}
"""
AGAIN = """version: 0
name: again
policy: {{approve_in_advance: [mail.outbox]}}
nodes: [{{id: a, use: 'agent:one', output: {{schema: {{enum: [sent, outbox, unavailable]}}, attempts: {attempts}}}}}]
edges: []
"""


@pytest.mark.parametrize(("said", "out", "handed"), [("it happened", "sent", 1), ("do it now", "outbox", 2), ("give up", "unavailable", 1)])
async def test_a_message_that_an_earlier_attempt_may_have_sent_is_a_question_before_it_is_sent_again(bench, desk, said, out, handed):
    operator = desk(answers=[PersonAnswer(said, "operator")])
    async with bench(operator) as b:
        b.services.performers["mail.send"] = outbox = LosingOutbox(b.outbox)
        b.agent("one", CATCHES, ports_in=("feedback",), caps=CAPS)

        result = await b.run(AGAIN.format(attempts=2), yes=True)

        assert (result.status, b.metas("node.finished")[-1]["outputs"]["out"], len(outbox.handed)) == ("succeeded", [out], handed)
        (question,) = operator.shown
        assert question.text.startswith("An earlier attempt of node a ended during mail.outbox. Did it happen?\n\nEvidence: the server may")
        assert question.stays_open
        assert f"{result.run_id}/a/1" in outbox.sent or said == "give up"
        assert [event.kind for event in b.ledger.read(kinds=["effect.unknown"])] == ["effect.unknown"] * (2 if said == "give up" else 1)


async def test_a_message_that_was_under_way_when_the_time_of_its_attempt_was_up_is_not_sent_again_unasked(bench, desk):
    operator = desk(answers=[PersonAnswer("it happened", "operator")])
    async with bench(operator) as b:
        b.services.performers["mail.send"] = outbox = LosingOutbox(b.outbox, hold=asyncio.get_running_loop().create_future)
        b.agent("one", MAILER, caps=CAPS)

        result = await b.run(
            "version: 0\nname: slow\npolicy: {approve_in_advance: [mail.outbox]}\n"
            "nodes: [{id: a, use: 'agent:one', timeout_ms: 2000, retry: {max_attempts: 2, initial_ms: 10}}]\nedges: []\n",
            yes=True,
        )

        assert (result.status, outbox.handed, len(operator.shown)) == ("succeeded", ["text 0"], 1)
        log = LedgerSentLog(SimpleNamespace(ledger=b.ledger), b.manager)
        asks = [(2, 1, 1), (1, 1, 1), (2, 2, 1), (2, 1, 2)]  # attempt, since, call
        names = [dict(zip(("attempt", "since", "call"), each, strict=True)) for each in asks]
        found = [await log.unsettled(SimpleNamespace(run_id=result.run_id, node="a", **each)) for each in names]
        assert found == [True, False, False, False]


async def test_what_was_asked_of_an_earlier_attempt_is_answered_in_a_pause_too(bench, desk):
    operator = desk()
    async with bench(operator, RunRules(park_after_ms=0)) as b:
        b.services.performers["mail.send"] = outbox = LosingOutbox(b.outbox)
        b.agent("one", CATCHES, ports_in=("feedback",), caps=CAPS)
        run = await b.submit(AGAIN.format(attempts=2), yes=True)
        with pytest.raises(NeedsPerson):
            await b.manager.drive(run)
        operator.answers = [PersonAnswer("it happened", "operator", uid=1000)]

        again = await b.manager.recover(run.run_id, parks=lambda _: None)
        await pause(again, "lunch")
        with pytest.raises(RunHalted):
            await asyncio.wait_for(b.manager.drive(again), 60)
        await again.recorder.settled(60)
        decided = b.ledger.read(kinds=["approval.decided"])[-1].payload["meta"]
        assert (again.parked.why, decided["decision"]) == ("a resumption", "it happened")
        assert decided["by"] == {"role": "operator", "uid": 1000}

        last = await b.manager.recover(run.run_id)
        await resume(last, "back")
        assert (await b.manager.drive(last)).status == "succeeded"
        assert (outbox.handed, len(operator.shown)) == (["the letter"], 2)


async def test_what_a_person_said_of_an_earlier_attempt_holds_for_all_later_ones(bench, desk):
    operator = desk(answers=[PersonAnswer("it happened", "operator")])
    async with bench(operator) as b:
        b.services.performers["mail.send"] = outbox = LosingOutbox(b.outbox)
        b.agent("one", CATCHES.replace("said if feedback else 'bad'", "'bad'"), ports_in=("feedback",), caps=CAPS)

        await b.run(AGAIN.format(attempts=4), yes=True)

        assert (outbox.handed, len(operator.shown)) == (["the letter"], 1)
        assert [meta["attempt"] for meta in b.metas("effect.completed")] == [2, 3, 4]


async def test_a_message_of_a_node_that_a_gate_sent_back_is_another_one(bench, desk):
    operator = desk(True, True, answers=[PersonAnswer("revise", "operator", "shorter", 1000), PersonAnswer("approve", "operator")])
    async with bench(operator) as b:
        b.services.performers["mail.send"] = outbox = OnceOutbox(b.outbox)
        b.agent("one", REVISED_MAILER, ports_in=("revise",), caps=CAPS)

        result = await b.run("version: 0\nname: again\nnodes: [{id: a, use: 'agent:one', gate: {ask: good?, revise_to: a}}]\nedges: []\n")

        gates = [meta["by"] for meta in b.metas("approval.decided") if "/gate/" in meta["approval_id"]]
        assert gates == [{"role": "operator", "uid": 1000}, {"role": "operator"}]
        work = f"{result.run_id}/a/1"
        assert (result.status, outbox.sent) == ("succeeded", {work: "the letter", f"{work}/since-2": "the letter, shorter"})
        assert [meta["idempotency_key"] for meta in b.metas("effect.requested")] == [work, f"{work}/since-2"]


async def test_a_missing_capability_is_denied_and_audited(bench):
    async with bench() as b:
        b.agent("one", MAILER, caps="")

        result = await b.run(opening(), yes=True)

        assert result.code == "denied.mail.send.cap_missing"
        audits = b.ledger.read(kinds=["cap.audit"])
        assert [(event.payload["cap"], event.payload["decision"], event.payload["agent"]) for event in audits] == [
            ("mail.send", "deny", "agent:one")
        ]


async def test_a_missing_capability_is_audited_only_where_the_settings_want_it(bench):
    async with bench(rules=RunRules(audit_on_deny=False)) as b:
        b.agent("one", MAILER, caps="")

        assert (await b.run(opening(), yes=True)).code == "denied.mail.send.cap_missing"
        assert b.ledger.read(kinds=["cap.audit"]) == []


async def test_an_allowed_use_of_a_capability_is_audited_where_the_settings_want_it(bench):
    async with bench(rules=RunRules(audit_on_allow=True)) as b:
        b.agent(
            "one",
            "@agent\ndef run():\n    emit.log('x')\n    kb.search('ada')\n    return {'out': model.complete('x').text}\n",
            caps='model = true\nkb_read = ["contacts"]',
        )

        assert (await b.run(opening())).status == "succeeded"

        told = [
            (event.payload["cap"], event.payload["op"], event.payload["target"], event.payload["decision"])
            for event in b.ledger.read(kinds=["cap.audit"])
        ]
        assert told == [("kb_read", "kb.search", "", "allow"), ("model", "model.complete", "", "allow")]


SECRETS = {
    "allowed": ("allow", "secrets", "secrets.handle", "granted"),
    "denied": ("deny", "secrets.get", "resolve_secret", "secret_not_permitted"),
}


@pytest.mark.parametrize(("asked", "audited"), list(SECRETS.items()))
async def test_a_secret_that_is_asked_for_is_audited_though_the_call_stands_in_no_record(bench, asked, audited):
    async with bench(rules=RunRules(audit_on_allow=True)) as b:
        b.services.performers["secrets.handle"] = SecretsHandle(SecretHandles(SecretStore([]), lambda _secret: []))
        b.agent("one", f"@agent\ndef run():\n    return {{'out': secrets.handle('{asked}')}}\n", caps='secrets = ["allowed"]')

        result = await b.run(opening())

        [event] = b.ledger.read(kinds=["cap.audit"])
        assert tuple(event.payload[key] for key in ("decision", "cap", "op", "reason")) == audited
        assert event.payload["target"] == secret_target(asked)
        assert result.code == ("" if asked == "allowed" else "denied.secrets.get.secret_not_permitted")


async def test_a_secret_is_audited_once_though_its_guest_is_made_anew(bench):
    """The guest is dropped while it waits, and asks for the secret again when it is rebuilt from the record."""
    async with bench(rules=RunRules(audit_on_allow=True, evict_after_ms=0)) as b:
        b.services.performers["secrets.handle"] = SecretsHandle(SecretHandles(SecretStore([]), lambda _secret: []))
        code = "@agent\ndef run():\n    secrets.handle('allowed')\n    timer.sleep(0.02)\n    return {'out': 1}\n"
        b.agent("one", code, caps='secrets = ["allowed"]\ntime = true')

        assert (await b.run(opening())).status == "succeeded"

        assert len(b.metas("node.evicted")) == 1
        assert [event.payload["cap"] for event in b.ledger.read(kinds=["cap.audit"])] == ["secrets", "time"]


async def test_by_default_an_allowed_use_is_not_audited(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': model.complete('x').text}\n", caps="model = true")

        assert (await b.run(opening())).status == "succeeded"
        assert b.ledger.read(kinds=["cap.audit"]) == []


@pytest.mark.parametrize(
    ("name", "args", "target"),
    [
        ("http.fetch", {"url": "https://ada:pw@example.org:8443/private?token=x"}, "example.org:8443"),
        ("exec.run", {"argv": ["git", "push", "secret"]}, "git"),
        ("exec.run", {"argv": []}, ""),
        ("files.write", {"path": "/a", "content": "secret"}, "/a"),
        ("mail.send", {"subject": "secret"}, ""),
        ("model.complete", {"prompt": "secret", "model": "m"}, "m"),
    ],
)
def test_an_audit_event_names_what_a_call_was_about_and_nothing_that_it_carried(name, args, target):
    assert used_on(name, args) == target


async def test_a_question_reaches_the_person_and_its_answer_the_agent(bench, desk):
    async with bench(desk(answers=[PersonAnswer("blue", "operator")])) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': ask.person('Which?', options=['red', 'blue']).answer}\n", caps="ask = true")

        result = await b.run(opening())

        assert result.status == "succeeded"
        assert b.metas("node.finished")[0]["outputs"] == {"out": ["blue"]}


async def test_time_spent_waiting_for_a_person_does_not_count_against_the_node(bench, desk):
    operator = desk(True)
    decide = operator.decide

    async def slowly(request):
        await asyncio.sleep(1.6)
        return await decide(request)

    operator.decide = slowly
    async with bench(operator) as b:
        b.agent("one", MAILER, caps=CAPS)
        text = opening().replace('use: "agent:one"', 'use: "agent:one", timeout_ms: 1500')

        assert (await b.run(text)).status == "succeeded"


def of_runs():
    """How many runs, and what asks for them, are in memory."""
    return sum(isinstance(each, (Run, ApprovalDesk)) for each in gc.get_objects())


async def test_of_a_parked_run_nothing_that_it_asked_stays_in_memory_without_the_collector(bench, desk):
    class Shown:
        """What a person has before her."""

    shown = []

    async def decide(_):
        mine = Shown()
        shown.append(weakref.ref(mine))
        await asyncio.get_running_loop().create_future()

    operator = desk()
    operator.decide = decide
    async with bench(operator, RunRules(evict_after_ms=0, park_after_ms=0)) as b:
        b.agent("one", MAILER, caps=CAPS)
        gc.collect()
        gc.disable()
        try:
            others = of_runs()
            run = await b.manager.submit(Submission(parse_opening(opening()), parks=lambda _: None))
            with contextlib.suppress(RunHalted):
                await b.manager.drive(run)
            parked = run.parked
            del run
            for _turn in range(500):  # what was cancelled ends soon; what only the collector would find never does
                kept = of_runs() - others + (shown[0]() is not None)
                if not kept:
                    break
                await asyncio.sleep(0.01)
            assert (parked.why, kept) == ("a person", 0)
        finally:
            gc.enable()
