"""Cases run in the real sandbox: what they give, what they ask for and what they may."""

from __future__ import annotations

import pytest
import pytest_asyncio

from runloop.bundles import load_bundle
from runloop.bundles.seal import seal
from runloop.sandbox import Limits, WorkerPool
from runloop.testing import read_cases, run_cases

AGENT = """\
from runloop_agent import CallError, agent, emit, kb, mail, model, secrets, timer


@agent
def run(mode: str = "echo", topic: str = ""):
    emit.log("started")
    if mode == "model":
        return {"out": model.complete(topic).text}
    if mode == "search":
        return {"out": [hit.title for hit in kb.search(topic, limit=2)]}
    if mode == "refused":
        try:
            return {"out": kb.search(topic)}
        except CallError as error:
            return {"out": [error.code, error.message, error.hint]}
    if mode == "crash":
        raise ValueError("boom at " + topic)
    if mode == "then":
        import time
        kb.search(topic)
        return {"out": int(time.time() * 1000)}
    if mode == "keep":
        kept = emit.artifact("note.md", "kept")
        return {"out": [kept.path, kept.blake3[:8], kept.sha256[:8], kept.event_id]}
    if mode == "handle":
        return {"out": str(secrets.handle("api-key"))}
    if mode == "denied":
        try:
            mail.send([{"email": "a@example.org"}], subject="s", text="t")
        except CallError as error:
            return {"out": error.message}
    if mode == "clock":
        import random, time
        timer.sleep(5)
        return {"out": [time.time(), random.random()]}
    return {"out": {"topic": topic, "one": 1}}
"""
MANIFEST = """\
[agent]
name = "probe"
version = "0.1.0"
[ports.in]
topic = "string"
[ports.out]
out = "object"
[schemas.with]
type = "object"
[schemas.with.properties.mode]
enum = ["echo", "model", "search", "refused", "crash", "clock", "then", "keep", "handle", "denied"]
"""


@pytest.fixture
def bundle(tmp_path):
    for path, text in {
        "agent.py": AGENT,
        "manifest.toml": MANIFEST,
        "policy.caps": '[capabilities]\nkb_read = ["notes"]\nsecrets = ["api-key"]\n',
    }.items():
        (tmp_path / path).write_text(text)
    seal(tmp_path)
    return load_bundle(tmp_path)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool(guest_cache):
    async with WorkerPool(guest_cache / "runloop", workers=1) as pool:
        yield pool


async def failures_of(pool, bundle, case: str) -> list[str]:
    cases = read_cases("cases:\n- name: it\n" + "\n".join(f"  {line}" for line in case.splitlines()))
    return [failure async for result in run_cases(bundle, cases, pool, Limits()) for failure in result.failures]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "case",
    [
        "with: {topic: tea}\nexpect: {out: {topic: tea, one: 1}}",
        "inputs: {topic: [tea]}\nexpect: {out: {topic: tea, one: 1}}",
        (
            "with: {mode: search, topic: tea}"
            "\nanswers: [{call: kb.search, args: {limit: 2}, answer: {hits: [{domain: notes, key: k, title: T}]}}]\nexpect: {out: [T]}"
        ),
        (
            "with: {mode: refused, topic: tea}"
            "\nanswers: [{call: kb.search, error: {code: timeout, message: slow, hint: wait}}]\nexpect: {out: [timeout, slow, wait]}"
        ),
        "with: {mode: crash, topic: tea}\nexpect_error: {code: guest.exception, contains: boom at tea}",
        "with: {mode: dance}\nexpect_error: {code: agent.with, contains: dance}",
    ],
)
async def test_a_case_that_holds_passes(pool, bundle, case):
    assert await failures_of(pool, bundle, case) == []


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("with: {topic: tea}\nexpect: {out: {topic: milk, one: 1}}", '-    "topic": "milk"\n+    "topic": "tea"'),
        ("with: {topic: tea}\nexpect: {out: {topic: tea, one: true}}", '-    "one": true,\n+    "one": 1,'),
        ("expect: {other: 1}", '-  "other": 1\n+  "out": {'),
        ("with: {mode: crash}\nexpect: {out: 1}", "the agent failed with guest.exception: "),
        ("with: {mode: crash}\nexpect_error: {code: guest.timeout}",
         "expected the error guest.timeout, but the agent failed with guest.exception: "),
        ("with: {mode: crash}\nexpect_error: {code: guest.exception, contains: bang}",
         "expected a message that contains 'bang', but it is "),
        ("expect_error: {code: guest.exception}", "expected the error guest.exception, but the agent returned\n{"),
        ("answers: [{call: kb.get, answer: null}]\nexpect: {out: {topic: '', one: 1}}",
         "the answer to kb.get (line 3) was never asked for"),
        ("with: {mode: refused, topic: tea}\nexpect: {out: [unavailable, the case has no answer for kb.search, add it under answers]}",
         'no answer is given for the call kb.search {"query": "tea"'),
    ],
)  # fmt: skip
async def test_a_case_that_does_not_hold_says_how(pool, bundle, case, expected):
    failures = await failures_of(pool, bundle, case)
    assert len(failures) == 1
    assert expected in failures[0]


async def test_an_answer_serves_one_call_and_only_with_arguments_that_match(pool, bundle):
    case = "with: {mode: refused, topic: tea}\nanswers: [{call: kb.search, args: {query: milk}, answer: {hits: []}}]\nexpect: {out: 1}"
    failures = await failures_of(pool, bundle, case)
    assert failures[1].startswith("no answer is given for the call kb.search")
    assert failures[2] == "the answer to kb.search (line 4) was never asked for"


async def test_a_call_that_the_policy_does_not_grant_is_denied_whatever_the_case_answers(pool, bundle):
    case = "with: {mode: model, topic: tea}\nanswers: [{call: model.complete, answer: {text: hi}}]\nexpect: {out: hi}"
    failures = await failures_of(pool, bundle, case)
    assert "capability denied: model.use (cap_missing)" in failures[0]


async def test_arguments_that_no_host_would_take_are_refused(pool, bundle):
    failures = await failures_of(pool, bundle, "with: {mode: refused, topic: ''}\nexpect: {out: []}")
    assert '+    "invalid"' in failures[0]


async def test_clock_and_chance_are_the_same_every_time(pool, bundle):
    case = "with: {mode: clock}\nexpect: {out: []}"
    first = await failures_of(pool, bundle, case)
    assert "1767225605" in first[0]
    assert await failures_of(pool, bundle, case) == first


async def test_who_sleeps_finds_the_clock_moved_by_that_also_where_the_case_answers(pool, bundle):
    answered = "with: {mode: clock}\nanswers: [{call: timer.sleep, answer: {}}]\nexpect: {out: []}"
    assert "1767225605" in (await failures_of(pool, bundle, answered))[0]


RECORDED = "recorded: {run_id: 68dcb06b-2fb1-4130-aaf1-8c41edfde38f, node: one, attempt: 1, seed: %s, start_ms: 5000}\n"


async def test_a_recorded_case_has_the_clock_of_its_run(pool, bundle):
    case = "with: {mode: then, topic: tea}\nanswers: [{call: kb.search, at_ms: 7250, answer: {hits: []}}]\nexpect: {out: 7250}"
    assert await failures_of(pool, bundle, RECORDED % ("ab" * 32) + case) == []


async def test_a_recorded_case_has_the_chance_of_its_run(pool, bundle):
    first, again, other = [
        await failures_of(pool, bundle, RECORDED % seed + "with: {mode: clock}\nexpect: {out: []}")
        for seed in ("ab" * 32, "ab" * 32, "cd" * 32)
    ]
    assert first == again
    assert first != other


async def test_a_document_that_is_kept_needs_no_answer_and_may_have_one(pool, bundle):
    alone = "with: {mode: keep}\nexpect: {out: [note-5e6f1a1a18575bd6.md, 5e6f1a1a, 79f076ab, null]}"
    answer = "{path: here, blake3: one, sha256: two, event_id: 7}"
    given = f"with: {{mode: keep}}\nanswers: [{{call: emit.artifact, answer: {answer}}}]\nexpect: {{out: [here, one, two, 7]}}"

    assert (await failures_of(pool, bundle, alone), await failures_of(pool, bundle, given)) == ([], [])


async def test_a_handle_follows_from_the_run_and_needs_no_answer(pool, bundle):
    from runloop.effects.perform.secrets import handle_of

    handle = handle_of("68dcb06b-2fb1-4130-aaf1-8c41edfde38f", "api-key")
    case = f"with: {{mode: handle}}\nexpect: {{out: {handle}}}"
    assert await failures_of(pool, bundle, RECORDED % ("ab" * 32) + case) == []


async def test_a_recorded_refusal_is_given_where_the_policy_would_refuse_as_well(pool, bundle):
    case = (
        "with: {mode: denied}\nanswers: [{call: mail.send, error: {code: denied, message: in other words}}]\nexpect: {out: in other words}"
    )
    assert await failures_of(pool, bundle, case) == []
