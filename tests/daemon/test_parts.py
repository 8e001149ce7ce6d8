"""The parts of the daemon by themselves: restart budget, log, metrics, notifying, people."""

import asyncio
import errno
import json
import os
import re
import select
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from runloop.config import load
from runloop.daemon import main, notify
from runloop.daemon.app import Daemon, Options
from runloop.daemon.library import Library
from runloop.daemon.logs import Log, logger
from runloop.daemon.metrics import RunCounters, prometheus, snapshot
from runloop.daemon.notify import Notifier
from runloop.daemon.people import Answer, People
from runloop.effects.perform.ports import Question
from runloop.effects.types import CallContext
from runloop.errors import InvalidInput, Unavailable
from runloop.kb.redaction import NOTHING, Redactor
from runloop.policy import Capabilities, Scope
from runloop.runs.disk import DiskLookup
from runloop.runs.operator import ApprovalRequest
from runloop.sandbox.restarts import RestartBudget


def test_restarts_wait_once_the_budget_of_a_minute_is_spent():
    budget = RestartBudget(2)
    waits = [budget.lost(now, f"cause {now}") for now in (0.0, 10.0, 20.0, 20.0)]
    assert (waits, budget.total, budget.last_cause) == ([0, 0, 40, 50], 4, "cause 20.0")
    assert (budget.last_minute(61.0), budget.last_minute(200.0)) == (3, 0)


@pytest.fixture
def log(tmp_path):
    """A log in a file, and what it has."""
    made, path = Log(), tmp_path / "log"

    def configured(**settings):
        made.configure(load({"logging.file": str(path), **settings}, env={"HOME": str(tmp_path)}))
        return path

    yield made, configured
    made.close()


def test_the_log_masks_people_before_and_after_the_ledger_is_known(log):
    made, configured = log
    path = configured(**{"logging.format": "json"})
    logger().info("mail to ada@example.com", who={"phone": "+49 170 1234567"})
    made.mask(Redactor(""))
    logger().info("mail to john@acme.com")
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert not re.search(r"\bada@", first["event"])
    assert first["who"]["phone"].startswith("[phone:")
    assert second["event"] == "mail to jma3uvu@acme.com"
    made.mask(Redactor("", NOTHING))
    logger().info("mail to john@acme.com")
    assert "john@acme.com" in path.read_text()


def test_the_log_has_no_secret_whatever_it_is_called_or_wherever_it_stands(log):
    made, configured = log
    path = configured(**{"logging.format": "json"})
    made.hide("0123456789abcdef-the-token")
    logger().info(
        "started",
        api_key="k",
        nested={"password": "p", "tokens_in": 3},
        text="Authorization: Bearer abcdefgh12345",
        why="0123456789abcdef-the-token!",
    )
    line = json.loads(path.read_text())
    assert (line["api_key"], line["nested"], line["why"]) == ("[secret]", {"password": "[secret]", "tokens_in": 3}, "[secret]!")
    assert "abcdefgh12345" not in line["text"]


def test_the_level_and_the_form_are_those_of_the_settings_and_a_line_stays_a_line(log):
    _, configured = log
    path = configured(**{"logging.level": "warn", "logging.format": "text"})
    logger().info("not this")
    logger().warning("this\none", trace_id="trace:x", opening="one status=failed")
    (line,) = path.read_text().splitlines()
    assert line.split(" ", 1)[1] == "warn  'this\\none' trace_id=trace:x opening='one status=failed'"


def effect(kind, **meta):
    return {"kind": kind, "event_id": 1, "meta": {"node": "a", "attempt": 1, "call": 1, **meta}}


def test_counters_follow_from_the_records():
    counters = RunCounters()
    counters.take(effect("effect.requested", name="model.complete"))
    counters.take(effect("effect.completed", name="model.complete", tokens_in=3, tokens_out=4, usd=0.25))
    counters.take(effect("effect.completed", name="model.complete", cached=True))
    counters.take(effect("effect.failed", name="http.fetch", error={"kind": "denied", "code": "x", "message": ""}))
    assert counters.shown() == {
        "cap_denied_total": 1, "broker_calls_total": 2, "cache_hits_total": 1,
        "tokens_prompt_total": 3, "tokens_completion_total": 4, "usd_micros_total": 250_000,
    }  # fmt: skip


def test_what_is_not_known_is_absent_from_the_snapshot_and_from_prometheus():
    found = snapshot("system", {"node_id": "host"}, 5, 1000, {"workers": 2, "rss_total_bytes": None}, {"runs_failed_total": 1})
    assert found == {
        "v": 1, "scope": "system", "ts_ms": 5, "interval_ms": 1000, "labels": {"node_id": "host"},
        "gauges": {"workers": 2}, "counters": {"runs_failed_total": 1},
    }  # fmt: skip
    lines = [line for line in prometheus(found).splitlines() if not line.startswith("#")]
    assert lines == ["runloop_workers 2.0", "runloop_runs_failed_total 1.0"]


def test_topics_are_told_to_prometheus_with_what_became_of_their_copies():
    counts = {"published": 5, "delivered": 3, "dropped": {"overflow": 1}, "queued": 1}
    lines = prometheus({"gauges": {}, "counters": {}}, {"a/b": counts}).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'runloop_topic_copies_total{topic="a/b",what="published"} 5.0',
        'runloop_topic_copies_total{topic="a/b",what="delivered"} 3.0',
        'runloop_topic_copies_total{topic="a/b",what="dropped: overflow"} 1.0',
        'runloop_topic_queued{topic="a/b"} 1.0',
    ]


async def test_the_copies_of_each_topic_add_up_and_only_operators_see_the_topics(running):
    async with running.client() as link, running.client("client") as other:
        await link.client.subscribe("a/*", max_messages=1)
        await other.client.publish("a/b", "observation.generic.v1", 1, ack=True)
        found, theirs = await link.ask("metrics"), await other.ask("metrics")
    topics = found["topics"]
    assert (topics["a/b"]["published"], topics["a/b"]["frames"]) == (1, 1)
    assert all(each["published"] == each["delivered"] + sum(each["dropped"].values()) + each["queued"] for each in topics.values())
    assert [name for name in topics if name.startswith("rlp/inbox/")] == []
    assert ("topics" in theirs, "a/b" in theirs["prometheus"], 'topic="a/b"' in found["prometheus"]) == (False, False, True)


async def test_snapshots_come_at_the_interval_with_real_values(running):
    async with running.client() as link:
        published = await link.client.subscribe("rlp/sys/metrics")
        message = await anext(published)
        asked = await link.ask("metrics")
    gauges = message.payload["gauges"]
    assert (gauges["workers"], gauges["runs_running"], gauges["rss_total_bytes"] > 10_000_000, gauges["bus_connections"]) == (1, 0, True, 1)
    assert message.header.ttl_ms == 2000
    assert set(asked["snapshot"]["gauges"]) == set(gauges)
    assert "runloop_cpu_seconds_total" in asked["prometheus"]
    told = [line.split(" ", 3)[2:] for line in asked["prometheus"].splitlines() if line.startswith("# HELP ")]
    assert [name for name, text in told if text == name.removeprefix("runloop_")] == []


def test_the_notifier_keeps_quiet_where_nobody_listens_and_its_pipe_gets_one_line(tmp_path):
    reading, writing = os.pipe()
    notifier = Notifier.of(
        {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "7", "RUNLOOP_READY_FD": str(writing)}, 7
    )
    notifier.systemd("READY=1")
    notifier.starter({"ready": True})
    notifier.starter({"ready": False})
    with os.fdopen(reading) as pipe:
        assert pipe.read() == '{"ready": true}\n'
    assert (notifier.watchdog_s, notifier.address) == (4.0, None)
    for nobodys in ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}):
        assert Notifier.of(nobodys, 7).watchdog_s is None


def test_systemd_hears_at_a_socket_that_is_in_no_directory():
    name = f"runloop-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"\0{name}")
        notify.settimeout(30)
        Notifier.of({"NOTIFY_SOCKET": f"@{name}"}, 7).systemd("READY=1", "STATUS=serving")
        assert notify.recv(4096) == b"READY=1\nSTATUS=serving"


async def test_systemd_hears_that_the_loop_turns_twice_in_the_time_that_it_allows(monkeypatch):
    heard, slept = [], []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Daemon._watchdog(SimpleNamespace(_notifier=SimpleNamespace(watchdog_s=4.0, systemd=heard.append)))
    assert (heard, slept) == (["WATCHDOG=1"] * 2, [2.0, 2.0])
    await Daemon._watchdog(SimpleNamespace(_notifier=SimpleNamespace(watchdog_s=None)))  # it does not ask


@pytest.mark.parametrize(("said_ms", "grace_s"), [(None, 60.0), (0, 0.0), (5_000, 5.0)])
async def test_who_stops_it_says_how_long_nodes_may_go_on_and_the_last_records_go_out_before_the_goodbye(said_ms, grace_s):
    done = []

    async def drain(seconds, _hurry):
        done.append(("drain", seconds))
        return 1

    daemon = SimpleNamespace(
        settings=SimpleNamespace(get={"runtime.drain_grace_ms": 60_000}.get), _grace_ms=said_ms, _hurry=None, pid=1,
        _notifier=SimpleNamespace(more_time=lambda seconds, *_lines: done.append(("more time", seconds))),
        bus=SimpleNamespace(publish=lambda _topic, _type, state: done.append(state["state"]), pump=lambda: done.append("pump")),
        hosting=SimpleNamespace(drain=drain), _feed=SimpleNamespace(flush=lambda: done.append("flush")),
    )  # fmt: skip
    await Daemon._drain(daemon)
    assert done == [("more time", grace_s + 10), "draining", ("drain", grace_s), "flush", "pump"]


def test_what_the_system_has_no_more_of_keeps_the_daemon_from_starting_with_a_name(monkeypatch, capsys):
    reading, writing = os.pipe()
    monkeypatch.setenv("RUNLOOP_READY_FD", str(writing))
    monkeypatch.setattr(main, "tune_interpreter", lambda: None)
    monkeypatch.setattr(main, "_serve", lambda *_: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
    code = main.main([])
    with os.fdopen(reading) as pipe:
        said = json.loads(pipe.read())
    assert (code, said["ready"], said["error"]["code"]) == (3, False, "system.disk_full")
    assert capsys.readouterr().err.startswith("runloopd: error[system.disk_full]: what has to be written cannot be: ")


def test_an_agent_that_a_run_asks_for_while_it_is_loaded_for_the_first_time_is_found(tmp_path, monkeypatch):
    library = Library(load(env={"HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}), lambda: 0)
    load_agent, look, found = DiskLookup.agent, [True], []

    def loading(disk, name, variant):
        if look.pop() if look else False:
            found.append(library.agent(name, variant).name)  # as a run does on another thread
        return load_agent(disk, name, variant)

    monkeypatch.setattr(DiskLookup, "agent", loading)
    library.rescan()
    assert len(found) == 1


@pytest.mark.parametrize("looks", [(os, "scandir"), (Path, "iterdir")], ids=["agents", "openings"])
def test_where_no_file_can_be_opened_agents_and_openings_are_not_taken_for_gone(tmp_path, monkeypatch, looks):
    library = Library(load(env={"HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}), lambda: 0)
    library.rescan()
    before = library.counts

    def spent(*_arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(*looks, spent)
        with pytest.raises(Unavailable) as failed:
            library.rescan()
    assert (failed.value.code, library.counts, min(before.values()) > 0) == ("system.exhausted", before, True)


def test_an_opening_that_is_put_back_as_it_was_is_told_to_be_whole_again(tmp_path):
    library = Library(load(env={"HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}), lambda: 0)
    path = tmp_path / "state" / "openings" / "mine.yaml"
    path.parent.mkdir(parents=True)
    good = "version: 0\nname: mine\nnodes: [{id: a, use: agent:critic}]\nedges: []\n"
    path.write_text(good)
    library.rescan()
    path.write_text("version: 0\nname: [broken\n")
    (broken,) = library.rescan()
    path.write_text(good)
    (again,) = library.rescan()
    assert (broken.name, broken.state, again.name, again.state, library.problems()) == ("mine", "broken", "mine", "loaded", [])
    assert library.rescan() == []


def test_systemd_waits_for_a_start_that_works_and_not_for_one_that_hangs(tmp_path, monkeypatch):
    class Over:
        """So many looks, each after what the process used meanwhile."""

        def __init__(self, *used):
            self.used = list(used)

        def wait(self, _seconds):
            if not self.used:
                return True
            spent = self.used.pop(0)
            monkeypatch.setattr(notify.time, "process_time", lambda: spent)
            return False

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"), None, None)
        monkeypatch.setattr(notify.time, "process_time", lambda: 1.0)
        notifier._ask_for_time(Over(1.0, 1.1))
        assert select.select([systemd], [], [], 0)[0] == []
        notifier._ask_for_time(Over(5.0))
        assert systemd.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000\nSTATUS=starting"


def test_what_asks_systemd_for_time_ends_with_the_start(tmp_path, monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(notify, "_ASK_S", 0.001)
    monkeypatch.setattr(notify, "_WORKING", 0.0)
    monkeypatch.setattr(Notifier, "systemd", lambda *_: asked.set())
    with Notifier(str(tmp_path / "notify"), None, None).starting() as started:
        assert asked.wait(30)
        [thread] = [each for each in threading.enumerate() if each.name == "runloop-starting"]
        started()
        thread.join(30)
        assert not thread.is_alive()


def test_a_systemd_that_does_not_read_holds_nobody_up_and_hears_what_comes_once_it_does(tmp_path):
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        notifier = Notifier(str(address), None, None)
        room = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
        for _ in range(room + 3):
            notifier.systemd("WATCHDOG=1")
        while select.select([systemd], [], [], 0)[0]:
            assert systemd.recv(64) == b"WATCHDOG=1"
        notifier.systemd("READY=1")
        assert systemd.recv(64) == b"READY=1"


REQUEST = ApprovalRequest("r/a/1/1", "r", "o", "a", "agent", "mail.smtp", "text", ("x@y",), "why", (Scope.ONCE,), frozenset())


def people(wait_ms=0):
    told = []
    return People(told.append, lambda run_id: run_id, lambda event_id: None, wait_ms), told


async def test_an_approval_waits_while_somebody_follows_and_the_first_answer_counts():
    desk, told = people()
    desk.follow("r")
    deciding = asyncio.create_task(desk.decide(REQUEST))
    await asyncio.sleep(0)
    with pytest.raises(InvalidInput, match="scope run"):
        await desk.answer("r/a/1/1", Answer(approved=True, scope=Scope.RUN))
    answering = asyncio.create_task(desk.answer("r/a/1/1", Answer(approved=True, uid=5)))
    decision = await deciding
    with pytest.raises(InvalidInput, match="nothing with the id"):
        await desk.answer("r/a/1/1", Answer(approved=False))
    assert not answering.done()  # it is taken when it is on record
    desk.take({"kind": "approval.decided", "run_id": "r", "meta": {"approval_id": "r/a/1/1"}})
    assert (await answering)["approval_id"] == "r/a/1/1"
    assert (decision.approved, decision.uid, desk.opened, [each["state"] for each in told]) == (True, 5, {}, ["open", "closed"])


@pytest.mark.parametrize(
    ("over", "scope", "why"),
    [
        ({"scopes": (Scope.ONCE, Scope.RUN, Scope.OPENING)}, Scope.ALWAYS, "never approved for ever"),
        ({"taint": frozenset({"http"})}, Scope.OPENING, "content from outside"),
        ({"scopes": (Scope.ONCE, Scope.RUN), "reason": "rm can destroy"}, Scope.OPENING, "rm can destroy"),
    ],
)
async def test_a_scope_that_policy_does_not_allow_is_refused_with_the_reason_and_stays_open(over, scope, why):
    desk, _ = people()
    desk.follow("r")
    deciding = asyncio.create_task(desk.decide(replace(REQUEST, **over)))
    await asyncio.sleep(0)
    with pytest.raises(InvalidInput, match=why):
        await desk.answer("r/a/1/1", Answer(approved=True, scope=scope))
    assert desk.open_count == 1
    deciding.cancel()


async def test_an_approval_that_may_wait_is_answered_by_somebody_who_comes_later():
    desk, _ = people(wait_ms=60_000)
    deciding = asyncio.create_task(desk.decide(REQUEST))
    await asyncio.sleep(0)
    answering = asyncio.create_task(desk.answer("r/a/1/1", Answer(approved=False, rationale="no")))
    assert (await deciding).rationale == "no"
    desk.take({"kind": "approval.decided", "run_id": "r", "meta": {"approval_id": "r/a/1/1"}})
    await answering


async def test_an_approval_that_nobody_answers_in_time_is_refused():
    desk, _ = people(wait_ms=1)
    decision = await desk.decide(REQUEST)
    assert (decision.approved, decision.role) == (False, "nobody")


AT_GATE = CallContext("r", "a", 1, 0, "r/a/gate/1", "o", Capabilities(), frozenset(), 0, None)


async def test_a_gate_that_closes_by_itself_stays_open_although_nobody_follows_the_run():
    desk, told = people()
    asking = asyncio.create_task(desk.ask(Question("Good?", ("approve", "revise"), None, "", None, ("revise",), 7, "approve"), AT_GATE))
    await asyncio.sleep(0)
    (shown,) = desk.listing()
    answering = asyncio.create_task(desk.answer(shown["approval_id"], Answer(approved=False, text="revise", rationale="shorter")))
    given = await asking
    desk.take({"kind": "approval.decided", "run_id": "r", "meta": {"approval_id": shown["approval_id"]}})
    await answering
    assert (shown["comment_on"], shown["closes_ms"], shown["on_timeout"], told[0]["closes_ms"]) == (["revise"], 7, "approve", 7)
    assert (given.answer, given.comment) == ("revise", "shorter")


async def test_a_question_says_when_its_time_is_over_and_what_counts_then():
    desk, told = people(wait_ms=60_000)
    asked = CallContext("r", "a", 1, 1, "r/a/1/1", "o", Capabilities(), frozenset(), 0, None)
    asking = asyncio.create_task(desk.ask(Question("Which?", ("tea", "milk"), "tea", "", 50_000), asked))
    await asyncio.sleep(0)
    (shown,) = desk.listing()
    assert shown["closes_ms"] - shown["asked_ms"] in range(50_000, 60_000)
    assert (shown["on_timeout"], told[0]["closes_ms"]) == ("tea", shown["closes_ms"])
    asking.cancel()


async def test_a_gate_without_a_time_out_has_nobody_where_nobody_follows_the_run():
    desk, _ = people()
    assert await desk.ask(Question("Good?", ("approve", "revise"), None, "", None), AT_GATE) is None


async def test_a_prompt_is_told_where_its_line_goes_by_the_settings_in_force(daemon):
    daemon.start()
    facts = {"shell": "zsh", "commands": [], "files": [], "expanded": "zap --now"}
    async with daemon.client() as link:
        first = await link.ask("route", line="$X --now", facts=facts, brief=True)
        (daemon.state / "config.yaml").write_text('router: {denylist: ["zap --now"]}\n')
        await link.ask("reload")
        second = await link.ask("route", line="$X --now", facts=facts)
    assert list(first) == ["version", "route", "rule", "blocked", "confidence", "exit", "reason"]
    assert (first["exit"], second["exit"], second["features"][0]["feature"]) == (10, 14, "pattern:zap --now")


@pytest.mark.parametrize("off_ns", [-3600 * 10**9, 365 * 86_400 * 10**9], ids=["back", "forward"])
def test_how_long_a_daemon_runs_is_the_same_when_somebody_sets_the_clock(tmp_path, monkeypatch, off_ns):
    settings = load(env={"HOME": str(tmp_path)}, system_dir=tmp_path / "etc", cwd=tmp_path)
    daemon = Daemon(settings, Options(lambda: settings), None, None)
    real = time.time_ns
    monkeypatch.setattr("runloop.runs.clock.time.time_ns", lambda: real() + off_ns)
    assert 0 <= daemon.uptime_ms < 3_600_000
