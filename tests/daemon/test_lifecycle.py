"""The life of a daemon: ready means ready, one for a socket, drained and gone without a trace."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from runloop.bus import BusClient
from runloop.bus.errors import NotAllowed
from runloop.kb import Ledger

OLDER_LEDGER = Path(__file__).parents[1] / "data" / "ledgers" / "v2.sqlite"
PATIENT = "version: 0\nname: quick\nnodes:\n  - {id: a, use: agent:quick, retry: {max_attempts: 4, backoff_ms: 20}}\nedges: []\n"
"""A worker's death is noticed a moment after it: until then an attempt may be given to it, and fails retryably."""


def workers_of(pid):
    """Its workers that live; another child of it may be compiling a guest."""
    found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [number for number in found if b"runloop.sandbox.worker" in command_of(number)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pids):
    until = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < until, pids
        time.sleep(0.02)


async def test_when_it_says_ready_it_answers_and_when_it_has_stopped_nothing_is_left(daemon):
    told = daemon.start()
    workers = workers_of(told["pid"])
    async with daemon.client() as link:
        status = await link.ask("status")
    assert (told["ready"], told["socket"], status["state"], len(workers)) == (True, str(daemon.socket), "ready", 1)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (daemon.socket, daemon.socket.parent, daemon.state / "token")]
    assert modes == [0o600, 0o700, 0o600]
    assert daemon.stop() == 0
    wait_gone(workers)
    assert daemon.socket.exists() is False


async def test_clients_that_only_connect_leave_the_daemon_files_to_open(daemon):
    daemon.opening("kept")
    daemon.start(through=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(daemon.socket))
        daemon.opening("added")
        async with daemon.client() as link:
            async with asyncio.timeout(30):
                while not {"kept", "added"} <= {each["name"] for each in (await link.ask("library"))["entries"]}:
                    await asyncio.sleep(0.02)
    assert '"removed"' not in daemon.log()


def test_it_may_open_as_many_files_as_a_service_whatever_the_shell_allows(daemon):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    told = daemon.start(through=["sh", "-c", 'ulimit -Sn 200; exec "$@"', "sh"])
    allowed = int(Path(f"/proc/{told['pid']}/limits").read_text().split("Max open files")[1].split()[0])
    assert allowed == (65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard))


def test_a_second_daemon_on_the_same_socket_is_refused_with_a_reason_and_the_first_goes_on(daemon):
    daemon.start()
    first = daemon.process
    told = daemon.start()
    assert (daemon.process.wait(60), told["ready"], told["error"]["code"]) == (3, False, "bus.already_running")
    daemon.process = first
    assert daemon.rlp("status").returncode == 0


@pytest.mark.parametrize("whole", [False, True])
async def test_a_socket_that_somebody_removes_is_made_again_and_its_connections_stay(daemon, whole):
    daemon.start()
    async with daemon.client() as link:
        for times in (1, 2):
            shutil.rmtree(daemon.socket.parent) if whole else daemon.socket.unlink()
            until = time.monotonic() + 30
            while daemon.log().count("the socket was removed; it is there again") < times:  # a file is there before somebody listens
                assert time.monotonic() < until, daemon.log()
                await asyncio.sleep(0.02)
            assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
            async with daemon.client() as other:
                assert (await other.ask("status"))["socket_made_again_ms"] is not None
        assert (await link.ask("status"))["state"] == "ready"
    assert "somebody removed it" in daemon.rlp("status", "--table").stdout
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


async def test_a_token_file_that_is_removed_is_made_anew_and_only_its_token_counts(daemon):
    daemon.start()
    path = daemon.state / "token"
    before = path.read_text().strip()
    async with daemon.client() as link:
        path.unlink()
        until = time.monotonic() + 30
        while "its token counts now" not in daemon.log():
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
        assert (await link.ask("approvals"))["open"] == []
        with pytest.raises(NotAllowed) as caught:
            await BusClient.connect(daemon.socket, "operator", before)
        assert caught.value.code == "bus.token"
        assert daemon.rlp("inbox").returncode == 0
        path.chmod(0o644)
        while not (found := (await link.ask("status"))["problems"]):
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
        assert (found[0]["what"], found[0]["error"]["code"], found[0]["last_good_kept"]) == ("token", "bus.token_file", True)
        for _ in range(2):
            await link.ask("reload")
        assert daemon.log().count("the token file cannot be used") == 1
        path.chmod(0o600)
        while (await link.ask("status"))["problems"]:
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
    assert before not in daemon.log()
    assert path.read_text().strip() not in daemon.log()


async def test_a_socket_that_cannot_be_made_again_is_a_problem_until_its_place_is_free(daemon):
    daemon.start()
    async with daemon.client() as link:
        daemon.socket.unlink()
        daemon.socket.mkdir()
        until = time.monotonic() + 30
        while not (found := (await link.ask("status"))["problems"]):
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
        assert (found[0]["what"], found[0]["error"]["code"]) == ("socket", "bus.path")
        assert "nobody can connect" in daemon.log()
        daemon.socket.rmdir()
        while (await link.ask("status"))["problems"]:
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
    assert daemon.rlp("status").returncode == 0


async def test_a_hangup_makes_a_socket_again_whose_directory_was_not_to_be_had(daemon):
    told = daemon.start()
    async with daemon.client() as link:
        os.kill(told["pid"], signal.SIGSTOP)
        shutil.rmtree(daemon.socket.parent)
        daemon.socket.parent.write_text("in the way")
        os.kill(told["pid"], signal.SIGCONT)
        until = time.monotonic() + 30
        while not (found := (await link.ask("status"))["problems"]):
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
        assert (found[0]["what"], found[0]["error"]["code"]) == ("socket", "bus.socket")
        daemon.socket.parent.unlink()
        os.kill(told["pid"], signal.SIGHUP)
        while (await link.ask("status"))["problems"]:
            assert time.monotonic() < until, daemon.log()
            await asyncio.sleep(0.02)
    assert daemon.rlp("status").returncode == 0


async def test_nothing_is_taken_in_while_the_ledger_is_not_where_it_was(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.opening("quick")
    daemon.start()
    ledger, away = daemon.state / "pog" / "events.sqlite", daemon.state / "away"
    async with daemon.client() as link:
        ledger.rename(away)
        refused = await link.raw({"verb": "submit", "request_id": str(uuid.uuid4()), "opening": "quick"})
        (problem,) = (await link.ask("status"))["problems"]
        away.rename(ledger)
        shown = await link.ask("submit", request_id=str(uuid.uuid4()), opening="quick")
        assert (await words.to_end(await link.follow(shown["run_id"])))[-1]["kind"] == "run.finished"
        assert (await link.ask("status"))["problems"] == []
    assert refused["error"]["code"] == problem["error"]["code"] == "ledger.moved"
    assert (problem["what"], problem["name"]) == ("ledger", str(ledger))
    assert (daemon.log().count("nothing is recorded any more"), daemon.log().count("the ledger is back")) == (1, 1)


def test_a_stale_socket_of_a_killed_daemon_is_taken_over(daemon):
    told = daemon.start()
    workers = workers_of(told["pid"])
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    assert daemon.socket.exists()
    wait_gone(workers)
    assert daemon.start()["ready"] is True
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_a_configuration_that_is_wrong_keeps_it_from_starting_and_the_starter_hears_why(daemon):
    daemon.configure("sandbox:\n  workerz: 1\n")
    told = daemon.start()
    assert (told["ready"], told["error"]["code"], told["error"]["exit_code"]) == (False, "config.unknown_key", 2)
    assert daemon.process.wait(60) == 2


async def test_a_worker_that_is_killed_is_replaced_and_the_loss_is_shown_with_its_cause(daemon, words):
    daemon.agent("quick", words.quick)
    told = daemon.start()
    (worker,) = workers_of(told["pid"])
    os.kill(worker, signal.SIGKILL)
    async with daemon.client() as link:
        records = await link.run(PATIENT)
        status = await link.ask("status")
    workers = status["workers"]
    assert records[-1]["meta"]["status"] == "succeeded"
    assert (workers["lost_total"], "killed" in workers["last_cause"], workers_of(told["pid"]) != [worker]) == (1, True, True)
    (line,) = [json.loads(line) for line in daemon.log().splitlines() if '"a worker was lost' in line]
    assert (line["level"], line["worker"], line["why"]) == ("warn", worker, workers["last_cause"])


def test_systemd_hears_when_it_is_ready_that_it_lives_and_when_it_stops(daemon):
    address = daemon.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(address))
        notify.settimeout(30)
        daemon.start(env={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"})
        heard = set()
        while "WATCHDOG=1" not in heard:
            heard |= set(notify.recv(4096).decode().split("\n"))
        daemon.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in heard:
            heard |= set(notify.recv(4096).decode().split("\n"))
    assert {"READY=1", f"STATUS=serving {daemon.socket}", "STATUS=draining", "EXTEND_TIMEOUT_USEC=20000000"} <= heard


async def test_draining_refuses_new_runs_lets_a_working_node_end_and_leaves_the_rest_unfinished(daemon, words):
    # The first node ends within the grace; the second one may not begin any more.
    daemon.agent("slow", words.head + "def run() -> dict:\n    emit.log('working')\n    x = sum(range(3_000_000))\n    return {'out': x}\n")
    daemon.agent("quick", words.quick)
    two = (
        "version: 0\nname: two\nnodes:\n  - {id: a, use: agent:slow}\n  - {id: b, use: agent:quick}\nedges:\n  - {from: a.out, to: b.in}\n"
    )
    daemon.start()
    async with daemon.client() as link, daemon.client() as other:
        run_id = "00000000-0000-4000-8000-000000000001"
        records = await link.follow(run_id)
        await link.submit(two, request_id=run_id)
        await words.until(records, "node.log")
        assert (await other.ask("drain"))["state"] == "draining"
        refused = await other.raw({"verb": "submit", "request_id": "00000000-0000-4000-8000-000000000002", "opening_source": two})
        seen = []
        async for message in records:
            seen.append(message)
            if message.type == "error.report.v1":
                break
    assert refused["error"]["code"] == "daemon.draining"
    assert seen[-1].payload["error"]["code"] == "daemon.stopped"
    ended = [message.payload["meta"]["node"] for message in seen[:-1] if message.payload["kind"] == "node.finished"]
    assert ended == ["a"]  # also that it ended is on disk and shown, though nothing went on from there
    assert daemon.process.wait(60) == 0
    daemon.process = None
    shown = daemon.rlp("runs", "--json").stdout
    assert '"cancelled"' not in shown
    assert '"running"' in shown


async def test_hurrying_ends_the_grace(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.settings["runtime.drain_grace_ms"] = 3_000_000
    daemon.start()
    async with daemon.client() as link:
        run_id = "00000000-0000-4000-8000-000000000003"
        records = await link.follow(run_id)
        await link.submit(words.one("loop"), request_id=run_id)
        await words.until(records, "node.log")
        states = await link.client.subscribe("rlp/sys/state")
        daemon.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            told = (await anext(states)).payload["state"]
    assert (told, daemon.stop(signal.SIGTERM)) == ("draining", 0)


def test_up_status_down_from_the_command_line_leave_nothing(daemon):
    up = daemon.rlp("up", "--wait", "--json")
    assert up.returncode == 0, up.stderr
    again = daemon.rlp("up", "--wait")
    status = daemon.rlp("status")
    down = daemon.rlp("down")
    after = daemon.rlp("status")
    assert (again.stdout.startswith("the daemon already runs"), status.returncode, down.returncode, after.returncode) == (True, 0, 0, 3)
    assert daemon.rlp("down").stdout == "no daemon runs\n"
    assert json.loads(daemon.rlp("down", "--json").stdout) == {"state": "none", "pid": None}
    assert not daemon.socket.exists()
    assert (daemon.state / "log" / "runloopd.log").stat().st_mode & 0o777 == 0o600


def test_files_that_the_daemon_is_started_with_are_called_what_they_are_called(daemon):
    config, socket = daemon.root / "a$b.yaml", daemon.root / "s$q" / "x.sock"
    config.write_text("runtime: {max_runs: 7}\n")
    told = daemon.start("--config", str(config), "--socket", str(socket))
    assert (told["ready"], socket.is_socket()) == (True, True)


def test_a_relative_path_in_the_settings_means_the_same_to_the_daemon_that_rlp_up_starts(daemon):
    daemon.env |= {"PLACE": str(daemon.root), "RUNLOOP_CONFIG": "$PLACE/mine.yaml"}
    (daemon.root / "mine.yaml").write_text("kb: {root_dir: ./knowledge}\n")
    up = daemon.rlp("--set", "logging.file=log.json", "up", "--wait")
    reloaded = json.loads(daemon.rlp("reload", "--json").stdout)
    down = daemon.rlp("down")
    assert (up.returncode, reloaded["needs_restart"], down.returncode) == (0, [], 0), up.stderr
    assert ((daemon.root / "knowledge").is_dir(), '"ready"' in (daemon.root / "log.json").read_text()) == (True, True)
    assert {"knowledge", "log.json"}.isdisjoint(each.name for each in daemon.state.iterdir())


def test_several_terminals_that_start_the_daemon_at_once_have_one_and_no_error(daemon):
    with concurrent.futures.ThreadPoolExecutor(4) as terminals:
        ups = list(terminals.map(lambda _: daemon.rlp("up", "--wait", "--json"), range(4)))
    assert [up.returncode for up in ups] == [0] * 4, [up.stderr for up in ups]
    told = [json.loads(up.stdout) for up in ups]
    assert sorted(each["state"] for each in told) == ["already_running"] * 3 + ["ready"]
    assert len({each["pid"] for each in told}) == 1
    assert daemon.rlp("down").returncode == 0


def test_a_daemon_that_answers_nobody_is_named_and_can_be_stopped(daemon):
    told = daemon.start()
    os.kill(told["pid"], signal.SIGSTOP)
    try:
        status, slow = daemon.rlp("status"), daemon.rlp("down", "--grace", "0", "--timeout", "0.1")
        up = daemon.rlp("up")
    finally:
        os.kill(told["pid"], signal.SIGCONT)
    assert (status.returncode, f"the daemon at {daemon.socket} does not answer" in status.stderr) == (3, True)
    assert (slow.returncode, f"process {told['pid']}) answers nobody" in slow.stderr, f"kill -9 {told['pid']}" in slow.stderr) == (
        3,
        True,
        True,
    )
    said = f"(process {told['pid']}) and does not answer" in up.stderr and "`rlp down` ends it" in up.stderr
    assert (up.returncode, said, "note: a daemon already serves" in up.stderr) == (3, True, True)
    assert daemon.process.wait(30) == 0
    assert daemon.rlp("down").stdout == "no daemon runs\n"


def test_a_daemon_that_still_starts_is_stopped_too(daemon):
    daemon.socket.parent.mkdir(parents=True, mode=0o700)
    code = "import sys, signal; from pathlib import Path; from runloop.bus.listen import listen\n"
    code += "held = listen(Path(sys.argv[1])); print('held', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code, daemon.socket], env=daemon.env, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        down = daemon.rlp("down")
        assert (down.stdout, process.wait(30)) == (f"the daemon (process {process.pid}) has stopped\n", -signal.SIGTERM)
    daemon.socket.unlink()


def test_a_daemon_that_says_how_far_its_start_is_is_not_started_again_and_waited_for_no_longer_than_was_said(daemon):
    daemon.socket.parent.mkdir(parents=True, mode=0o700)
    code = "import sys, signal; from pathlib import Path; from runloop.bus.listen import listen\n"
    code += "held = listen(Path(sys.argv[1])); held.tell(43, 100); print('held', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code, daemon.socket], env=daemon.env, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        up, slow, status = daemon.rlp("up"), daemon.rlp("up", "--wait", "--timeout", "0.1"), daemon.rlp("status")
        process.kill()
    daemon.socket.unlink()
    far = "it brings the derived tables up to the ledger: 43 % (43 of 100 events)"
    assert (up.returncode, up.stdout) == (0, f"the daemon is starting (process {process.pid})\n")
    assert (slow.returncode, f"the daemon (process {process.pid}) is not ready yet: {far}" in slow.stderr) == (3, True)
    assert (status.returncode, f"does not answer yet: {far}" in status.stderr) == (3, True)


def test_a_daemon_that_was_only_just_started_is_stopped(daemon):
    up = json.loads(daemon.rlp("up", "--json").stdout)
    assert up["state"] in {"starting", "ready"}
    down = daemon.rlp("down", "--json")
    assert (down.stderr, json.loads(down.stdout)) == ("", {"state": "stopped", "pid": up["pid"]})
    assert daemon.rlp("status").returncode == 3


BREAKS = """
import asyncio, os, subprocess, sys
from pathlib import Path
from runloop.bus import BusServer

def ended():
    with subprocess.Popen(["true"]) as process:
        return process.pid

async def main(path, at, how):
    server = BusServer()

    async def answer(request):
        verb = request.payload["verb"]
        if verb == at and how == "ends":
            os._exit(0)
        if verb == at and how == "breaks":
            for connection in list(server._connections):
                connection.abort()
        return {"ok": {"pid": ended() if at == "between" else os.getpid()}}

    server.on_request("rlp/ctrl", answer)
    await server.start(Path(path))
    print("serves", flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main(*sys.argv[1:]))
"""


WAYS = [("status", "breaks", "stopped"), ("status", "ends", "none"), ("drain", "breaks", "stopped"), ("drain", "ends", "stopped")]


@pytest.mark.parametrize(("at", "how", "told"), [*WAYS, ("between", "", "stopped")])
def test_a_daemon_that_ends_or_breaks_off_while_it_is_asked_to_stop_is_stopped_all_the_same(daemon, at, how, told):
    daemon.socket.parent.mkdir(parents=True, mode=0o700)
    with subprocess.Popen([sys.executable, "-c", BREAKS, daemon.socket, at, how], env=daemon.env, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"serves\n"
            down = daemon.rlp("down", "--json", "--grace", "0")
            said = json.loads(down.stdout) if down.stdout else None
            assert (down.stderr, said) == ("", {"state": told, "pid": None if told == "none" else process.pid})
            assert process.wait(30) == (0 if how == "ends" else -signal.SIGTERM)
        finally:
            process.kill()


def test_the_daemon_can_be_looked_at_and_stopped_while_its_settings_are_broken(daemon):
    assert daemon.rlp("up", "--wait").returncode == 0
    config = daemon.state / "config.yaml"
    config.write_text(config.read_text() + "\nsandbox: {workers: many}\n" if config.exists() else "sandbox: {workers: many}\n")
    status, down = daemon.rlp("status"), daemon.rlp("down")
    assert (status.returncode, down.returncode) == (0, 0), (status.stderr, down.stderr)
    for said in (status.stderr, down.stderr):
        assert f"(at {config}" in said
        assert "last good settings" in said
    assert not daemon.socket.exists()


@pytest.mark.parametrize("more", [(), ("--wait",)])
def test_up_says_why_the_daemon_could_not_start(daemon, more):
    daemon.socket.parent.mkdir(parents=True, mode=0o700)
    daemon.socket.write_text("not a socket")
    up = daemon.rlp("up", *more)
    assert (up.returncode, "bus.path" in up.stderr) == (2, True)


@pytest.mark.parametrize("more", [(), ("--wait",)])
def test_up_on_the_ledger_of_an_older_runloop_says_what_to_do(daemon, more):
    home = daemon.state / "pog"
    home.mkdir(parents=True, mode=0o700)
    shutil.copy(OLDER_LEDGER, home / "events.sqlite")
    up = daemon.rlp("up", *more)
    assert (up.returncode, up.stdout, "ledger.older" in up.stderr, "rlp kb migrate" in up.stderr) == (2, "", True, True)
    assert daemon.rlp("kb", "migrate").returncode == 0
    assert daemon.rlp("up", "--wait").returncode == 0
    assert daemon.rlp("down").returncode == 0


def test_nothing_is_added_to_a_ledger_that_lost_what_was_known_of_it(daemon):
    assert daemon.rlp("kb", "remember", "Ada", "likes", "tea").returncode == 0
    opening = daemon.opening("x")
    ledger = daemon.state / "pog" / "events.sqlite"
    ledger.write_bytes(b"")
    for verb in (("up", "--wait"), ("run", "--local", str(opening)), ("kb", "remember", "Ada", "likes", "milk")):
        refused = daemon.rlp(*verb)
        assert (refused.returncode, refused.stdout, "ledger.replaced" in refused.stderr) == (5, "", True)
    with Ledger.open(ledger, writable=False) as left:
        assert left.head().id == 0


def test_a_socket_that_is_set_and_dead_is_an_error_and_never_a_run_in_this_process(daemon):
    daemon.opening("x")
    env = {**daemon.env, "RUNLOOP__RUNTIME__SOCKET_PATH": str(daemon.root / "no.sock")}
    command = [sys.executable, "-P", "-m", "runloop", "run", "compose_email"]
    from_here = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (from_here.returncode, "daemon.unreachable" in from_here.stderr, from_here.stdout) == (3, True, "")


async def test_workers_that_die_too_often_are_shown_with_the_cause_and_runs_fail_instead_of_hanging(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.settings["sandbox.restarts_per_minute"] = 1
    told = daemon.start()
    async with daemon.client() as link:
        assert (await link.run(PATIENT))[-1]["meta"]["status"] == "succeeded"
        os.kill(workers_of(told["pid"])[0], signal.SIGKILL)
        assert (await link.run(PATIENT))[-1]["meta"]["status"] == "succeeded"
        os.kill(workers_of(told["pid"])[0], signal.SIGKILL)
        ended = (await link.run(PATIENT))[-1]["meta"]
        workers = (await link.ask("status"))["workers"]
    assert (ended["status"], ended["error"]["code"]) == ("failed", "pool.restarts")
    assert (workers["suspended"], workers["workers"], workers["lost_total"], "killed" in workers["last_cause"]) == (True, 0, 2, True)
