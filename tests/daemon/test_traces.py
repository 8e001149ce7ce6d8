"""Traces as a receiver of OTLP over HTTP sees them: a real one, a real daemon, and the same spans whatever happens to either."""

import errno
import importlib.util
import json
import os
import signal
import socket
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from runloop.config import load
from runloop.daemon.traces import exporting
from runloop.daemon.traces.exporting import FILE, Exporting
from runloop.daemon.traces.otlp import Otlp
from runloop.daemon.traces.span import Span, exported
from runloop.errors import InvalidInput, Unavailable
from runloop.events.traceparent import Origin, origin_of

SECRET = "sk-nobody-may-see-this-0123456789"
CONFIG = """
observability: {{traces: {{enabled: true, otlp_endpoint: "{traces}"{more}}}}}
models:
  broker:
    providers: [{{id: local, kind: http_openai_chat, base_url: "{models}"}}]
"""
ASKS = (
    "def run():\n    model.complete('my address is ada@example.org, my key "
    + SECRET
    + "', model='local:good')\n    return {'out': 'done'}\n"
)
MAILS = "def run():\n    return {'out': mail.send([{'email': 'ada@example.org'}], subject='s', text='t').status}\n"
FAILS = "def run():\n    raise ValueError('ada@example.org cannot be')\n"
SPAWNS = "def run():\n    done = spawn.agent('asks', {})\n    return {'out': done.status}\n"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FAILING = """
version: 0
name: failing
nodes:
  - {id: second, use: agent:loops, timeout_ms: 500, retry: {max_attempts: 2, backoff_ms: 1}}
edges: []
"""


def support(name):
    path = Path(__file__).parents[1] / "support" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"support_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


serving = support("processes").serving


@pytest.fixture
def models():
    with serving("model_server.py", "--port", "0") as served:
        yield served


@pytest.fixture
def receiver():
    with serving("otlp_server.py") as served:
        yield served


@pytest.fixture
def traced(daemon, models, words):
    """The daemon with agents and where its traces go, not started yet."""

    def make(url, more=""):
        daemon.configure(CONFIG.format(traces=url, models=models.url, more=more))
        daemon.agent("asks", words.head + ASKS, "model = true")
        daemon.agent("fails", words.head + FAILS)
        daemon.agent("spawns", words.head + SPAWNS, 'spawn = ["agent:asks"]')
        daemon.agent("loops", words.loop)
        daemon.agent("quick", words.quick)
        for name in ("asks", "quick"):
            daemon.opening(name)
        return daemon

    return make


@pytest.fixture
def unused_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def spans(receiver, least):
    return receiver.control(f"/_spans?least={least}")


def by_name(found):
    return {span["name"]: span for span in found}


async def test_a_run_comes_as_spans_of_its_nodes_attempts_model_calls_and_child_runs(traced, receiver, words):
    daemon = traced(receiver.url)
    daemon.start()
    run_id, other = str(uuid.uuid4()), str(uuid.uuid4())
    async with daemon.client() as link:
        await link.run(words.one("spawns"), request_id=run_id)
        await link.run(FAILING, request_id=other)
        await link.run(words.one("fails"))
    told = spans(receiver, 15)
    found = [span for span in told if span["trace_id"] == run_id.replace("-", "")]
    failing = by_name(span for span in told if span["trace_id"] == other.replace("-", ""))
    known = {span["span_id"]: span for span in found}
    assert len({span["span_id"] for span in told}) == len(told) == 15

    def path(span):
        return [span["name"], *(path(known[span["parent"]]) if span["parent"] else [])]

    named = by_name(found)
    child = ["attempt 1", "node agent", "run agent-asks", "spawn.agent", "attempt 1", "node a", "run spawns"]
    assert path(named["chat good"]) == ["chat good", *child]
    assert [span["name"] for span in found if not span["parent"]] == ["run spawns"]
    chat = named["chat good"]["attributes"]
    assert (chat["gen_ai.request.model"], chat["gen_ai.provider.name"], named["chat good"]["kind"]) == ("local:good", "local", 3)
    assert min(chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) > 0
    assert named["run spawns"]["attributes"]["runloop.run_id"] == run_id
    assert {span["resource"]["service.name"] for span in told} == {"runloop"}
    assert sorted(failing) == ["attempt 1", "attempt 2", "node second", "run failing"]
    assert {name: span["status"] for name, span in failing.items()} == {name: [2, "timeout"] for name in failing}
    assert failing["node second"]["attributes"]["runloop.attempts"] == 2
    assert {type(span["attributes"].get("runloop.usd", 0.0)) for span in told} == {float}
    assert [span["name"] for span in told if span["start"] > span["end"]] == []
    assert [text for text in (SECRET, "example.org", "cannot be") if text in json.dumps(told)] == []


async def test_a_run_is_part_of_its_submitters_span_and_obeys_its_choice(traced, receiver):
    daemon = traced(receiver.url)
    daemon.start()
    daemon.env["TRACEPARENT"] = f"00-{TRACE}-{SPAN}-00"
    assert daemon.rlp("run", "quick").returncode == 0
    daemon.env["TRACEPARENT"] = f"00-{TRACE}-{SPAN}-01"
    done = daemon.rlp("run", "quick", "--json")
    found = spans(receiver, 3)
    run_id = json.loads(done.stdout.splitlines()[0])["run_id"]
    assert {span["trace_id"] for span in found} == {TRACE}
    root = by_name(found)["run quick"]
    assert (len(found), root["parent"], root["kind"], root["attributes"]["runloop.run_id"]) == (3, SPAN, 2, run_id)
    async with daemon.client() as link:
        error = await link.refused("submit", opening="quick", request_id=str(uuid.uuid4()), traceparent="mine")
    assert (error["code"], error["where"]["key"]) == ("ctrl.invalid", "traceparent")


async def test_a_variable_that_is_no_traceparent_counts_for_nothing(traced, receiver):
    daemon = traced(receiver.url)
    daemon.start()
    daemon.env["TRACEPARENT"] = "what"
    assert daemon.rlp("run", "quick").returncode == 0
    assert by_name(spans(receiver, 3))["run quick"]["parent"] == ""


async def test_what_happened_while_nobody_took_spans_comes_later_and_once_also_after_a_crash(traced, unused_port):
    daemon = traced(f"http://127.0.0.1:{unused_port}")
    daemon.start()
    async with daemon.client() as link:
        await link.ask("submit", opening="quick", request_id=(first := str(uuid.uuid4())))
        await link.raw({"verb": "attach", "run": first})
    ended = daemon.rlp("attach", first, "--json")
    assert json.loads(ended.stdout.splitlines()[-1])["kind"] == "run.finished"
    daemon.stop(signal.SIGKILL)
    assert daemon.rlp("run", "quick", "--local").returncode == 0
    with serving("otlp_server.py", "--port", str(unused_port)) as receiver:
        daemon.start()
        found = spans(receiver, 6)
        assert daemon.rlp("run", "quick").returncode == 0
        assert daemon.stop() == 0
        found = spans(receiver, 9)
    assert (len(found), len({span["span_id"] for span in found})) == (9, 9)
    assert len({span["trace_id"] for span in found}) == 3
    assert first.replace("-", "") in {span["trace_id"] for span in found}


async def test_a_run_that_goes_on_after_a_crash_is_one_run_with_its_first_beginning(traced, receiver, words):
    daemon = traced(receiver.url)
    daemon.agent("waits", words.head + "def run():\n    return {'out': ask.person('go on?', options=['yes']).answer}\n", "ask = true")
    daemon.opening("waits")
    daemon.start()
    run_id = str(uuid.uuid4())
    async with daemon.client() as link:
        records = await link.follow(run_id)
        await link.ask("submit", opening="waits", request_id=run_id, patient=True)
        began_ms = (await words.until(records, "run.waiting"))[0]["ts_ms"]
    daemon.stop(signal.SIGKILL)
    daemon.start()
    async with daemon.client() as link:
        open_ = (await link.ask("approvals"))["open"]
        await link.ask("answer", approval_id=open_[0]["approval_id"], answer="yes")
    named = by_name(spans(receiver, 4))
    assert sorted(named) == ["ask.person", "attempt 1", "node a", "run waits"]
    assert (named["run waits"]["start"] // 1_000_000, named["run waits"]["trace_id"]) == (began_ms, run_id.replace("-", ""))
    assert "run.recovered" in named["run waits"]["events"]


async def test_what_a_person_is_asked_before_an_action_is_a_span_of_it(traced, receiver, words):
    daemon = traced(receiver.url)
    daemon.agent("mails", words.head + MAILS, "mail = true")
    daemon.opening("mails")
    daemon.start()
    run_id = str(uuid.uuid4())
    async with daemon.client() as link:
        records = await link.follow(run_id)
        await link.ask("submit", opening="mails", request_id=run_id, patient=True)
        asked = (await words.until(records, "approval.requested"))[-1]["meta"]["approval_id"]
        await link.ask("answer", approval_id=asked, approved=False)
    named = by_name(spans(receiver, 5))
    assert named["approval"]["parent"] in {named[each]["span_id"] for each in ("mail.send", "attempt 1") if each in named}
    assert named["approval"]["attributes"]["runloop.status"] == "decided"


async def test_a_receiver_in_trouble_is_told_and_gets_everything_afterwards(traced, receiver):
    daemon = traced(receiver.url)
    receiver.control("/_answer", {"status": 401})
    daemon.start()
    assert daemon.rlp("run", "quick").returncode == 0
    receiver.control("/_refused?least=1")
    while not (problems := json.loads(daemon.rlp("status", "--json").stdout)["problems"]):
        pass
    assert (problems[0]["what"], problems[0]["error"]["code"]) == ("traces", "traces.unreachable")
    assert "status 401" in problems[0]["error"]["message"]
    assert "[traces.unreachable]\n" in daemon.rlp("status", "--table").stdout
    async with daemon.client() as link:
        assert (await link.ask("metrics"))["snapshot"]["gauges"]["traces_events_behind"] > 0
    receiver.control("/_answer", {"status": 200})
    assert len(spans(receiver, 3)) == 3


async def test_spans_that_are_refused_for_good_do_not_hold_up_the_others(traced, receiver):
    daemon = traced(receiver.url)
    receiver.control("/_answer", {"status": 400})
    daemon.start()
    assert daemon.rlp("run", "quick").returncode == 0
    receiver.control("/_refused?least=1")
    receiver.control("/_answer", {"status": 200})
    assert daemon.rlp("run", "quick").returncode == 0
    found = spans(receiver, 1)
    assert "run quick" in by_name(found)
    async with daemon.client() as link:
        counters = (await link.ask("metrics"))["snapshot"]["counters"]
    assert counters["traces_spans_dropped_total"] > 0


@pytest.mark.parametrize(
    ("answer", "sent", "rejected", "why"),
    [
        ({"status": 200}, "taken", 0, ""),
        ({"status": 200, "rejects": 2}, "taken", 2, "the receiver says 'too many'"),
        ({"status": 200, "rejects": 99}, "taken", 3, "the receiver says 'too many'"),
        ({"status": 302}, "later", 0, "the receiver answers with status 302"),
        ({"status": 400}, "refused", 0, "the receiver answers with status 400"),
    ],
)
def test_what_a_receiver_says_of_the_spans_counts(receiver, answer, sent, rejected, why):
    receiver.control("/_answer", answer)
    otlp = Otlp(receiver.url, "a ledger", "0")
    assert otlp.send([Span(f"span {number}", 1, number, None, 0, 1, {}) for number in (1, 2, 3)]) == sent
    assert (otlp.rejected, otlp.why) == (rejected, why)


@pytest.mark.parametrize(("after", "wait_s"), [(None, 0), ("60", 60), ("never", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("9" * 30, 3600)])
def test_a_receiver_is_left_alone_for_as_long_as_it_asks(receiver, after, wait_s):
    receiver.control("/_answer", {"status": 429 if after == "60" else 403, "after": after})
    otlp = Otlp(receiver.url, "a ledger", "0")
    span = Span("span", 1, 1, None, 0, 1, {})
    assert (otlp.send([span]), otlp.wait_s) == ("later", wait_s)
    receiver.control("/_answer", {"status": 200})
    assert (otlp.send([span]), otlp.wait_s) == ("taken", 0)


@pytest.mark.parametrize(("asked_s", "wait_s"), [(None, 10), (5, 10), (60, 60)])
def test_the_next_try_after_a_failure_is_when_the_receiver_asked_for_it(kb, settings, monkeypatch, asked_s, wait_s):
    waits, passes = [], iter([True, False])
    following = Exporting(kb, settings, look_s=1, trouble_s=10)
    following._otlp = None if asked_s is None else SimpleNamespace(wait_s=asked_s)
    following.problem = object()
    monkeypatch.setattr(following, "_pass", lambda: next(passes))
    monkeypatch.setattr(following._stop, "wait", lambda seconds: waits.append(seconds) or len(waits) == 3)
    following._follow()
    assert waits == [0, 1, wait_s]


def test_of_an_answer_without_end_a_beginning_is_read(receiver):
    receiver.control("/_answer", {"status": 200, "more": 3 << 20})
    otlp = Otlp(receiver.url, "a ledger", "0")
    for _ in range(2):
        assert otlp.send([Span("span", 1, 1, None, 0, 1, {})]) == "taken"
        assert 64 << 10 <= len(otlp._session.answer.content) < 128 << 10


def test_what_kept_spans_from_a_receiver_is_told_in_its_own_words(unused_port, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    otlp = Otlp(f"http://127.0.0.1:{unused_port}", "a ledger", "0")
    assert otlp.send([Span("span", 1, 1, None, 0, 1, {})]) == "later"
    assert otlp.why == os.strerror(errno.ECONNREFUSED)


def test_the_newest_reason_is_told_also_of_the_same_kind(kb, settings):
    following = Exporting(kb, settings)
    for why in ("refused", "status 401"):
        following._trouble(Unavailable(why, code="traces.unreachable"))
    assert following.problem.error.message == "status 401"


async def test_a_share_of_the_traces_can_be_exported(traced, receiver):
    daemon = traced(receiver.url, ', sampling: "ratio:0"')
    daemon.start()
    assert daemon.rlp("run", "quick").returncode == 0
    assert daemon.stop() == 0
    assert spans(receiver, 0) == []


async def test_switched_off_nothing_is_read_and_what_was_known_is_forgotten(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.opening("quick")
    place = daemon.state / "pog" / FILE
    place.parent.mkdir(parents=True, mode=0o700)
    place.write_text("{}")
    daemon.start()
    async with daemon.client() as link:
        counters = (await link.ask("metrics"))["snapshot"]["counters"]
    assert (place.exists(), [name for name in counters if name.startswith("traces")]) == (False, [])


# ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))
    return load(flags={"observability.traces.enabled": True})


def test_a_missing_library_is_a_problem_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "runloop.daemon.traces.otlp", raising=False)
    with pytest.raises(InvalidInput) as caught:
        exporting._sender()
    assert (caught.value.code, "pip install 'runloop[otlp]'" in caught.value.hint) == ("traces.library_missing", True)


async def test_the_daemon_goes_on_where_the_library_is_missing(kb, settings, monkeypatch):
    monkeypatch.setattr(exporting, "_sender", lambda: (_ for _ in ()).throw(InvalidInput("no library", code="traces.library_missing")))
    following = Exporting(kb, settings)
    following.start()
    await following.close()
    assert following.problem.error.code == "traces.library_missing"


@pytest.mark.parametrize(
    "noted",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"ledger": "%s", "read_to": Infinity}',
        '{"ledger": "another", "read_to": 7}',
        '{"ledger": "%s", "read_to": 99}',
    ],
)
async def test_a_note_that_is_not_of_this_ledger_counts_as_none(kb, settings, noted):
    (kb.root / FILE).write_text(noted.replace("%s", kb.ledger.id))
    following = Exporting(kb, settings)
    assert following._noted() == kb.ledger.head().id


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (f"00-{TRACE}-{SPAN}-01", Origin(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-00", Origin(int(TRACE, 16), int(SPAN, 16), False)),
        (f"cc-{TRACE}-{SPAN}-03-more", Origin(int(TRACE, 16), int(SPAN, 16), True)),
        (f"cc-{TRACE}-{SPAN}-01", Origin(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 600}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(text, meant):
    assert origin_of(text) == meant


@pytest.mark.parametrize(
    ("sampling", "low", "high"), [("ratio:0", 0, 0), ("ratio:0.25", 380, 620), ("ratio:1", 2000, 2000), ("always_on", 2000, 2000)]
)
def test_a_share_is_a_share_of_uuids_too(sampling, low, high):
    ids = [uuid.uuid5(uuid.NAMESPACE_DNS, str(number)).int for number in range(2000)]
    assert low <= sum(exported(sampling, each, None) for each in ids) <= high


def test_without_a_word_of_the_submitter_a_trace_is_exported():
    assert [exported("parent", 1, origin) for origin in (None, Origin(1, 1, True), Origin(1, 1, False))] == [True, True, False]
