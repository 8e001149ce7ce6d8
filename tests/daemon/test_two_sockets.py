"""A user's daemon listens in the runtime directory of the login and in the state directory: who has no such login finds it too."""

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time

import pytest


@pytest.fixture
def here(daemon):
    """A home as it is at a login: the runtime directory is named, and nothing else."""
    runtime = daemon.root / "run"
    runtime.mkdir(mode=0o700)
    del daemon.env["RUNLOOP_HOME"]
    daemon.env["XDG_RUNTIME_DIR"] = str(runtime)
    daemon.state = daemon.root / ".runloop"
    daemon.socket = runtime / "runloop" / "rmp.sock"
    return daemon


async def until(daemon, holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, daemon.log()
        await asyncio.sleep(0.02)


def test_a_daemon_is_found_from_a_cron_job_which_starts_no_second_one(here):
    told = here.start()
    assert told["socket"] == str(here.socket)
    del here.env["XDG_RUNTIME_DIR"]
    status, up = here.rlp("status"), here.rlp("up", "--json")
    assert (status.returncode, up.returncode) == (0, 0), status.stderr + up.stderr
    assert f'"pid": {told["pid"]}' in status.stdout
    assert '"state": "already_running"' in up.stdout
    first = here.process
    assert here.start()["error"]["code"] == "bus.already_running"
    assert here.process.wait(60) == 3
    here.process = first
    assert here.rlp("down").returncode == 0
    assert (here.socket.exists(), (here.state / "sock" / "rmp.sock").exists()) == (False, False)


def test_a_daemon_of_a_cron_job_keeps_one_of_a_login_from_its_runs(here):
    login = here.env.pop("XDG_RUNTIME_DIR")
    told = here.start()
    first = here.process
    assert here.start(env={"XDG_RUNTIME_DIR": login})["error"]["code"] == "bus.already_running"
    assert here.process.wait(60) == 3
    here.process = first
    here.env["XDG_RUNTIME_DIR"] = login
    assert f'"pid": {told["pid"]}' in here.rlp("status").stdout


async def test_a_daemon_outlives_the_runtime_directory_and_is_in_the_next_one_again(here):
    told = here.start()
    runtime = here.socket.parent.parent
    os.kill(told["pid"], signal.SIGSTOP)
    shutil.rmtree(runtime)
    runtime.write_text("logged out")
    os.kill(told["pid"], signal.SIGCONT)
    await until(here, lambda: "the other one serves" in here.log())
    status = here.rlp("status", "--json")
    assert (status.returncode, '"problems": []' in status.stdout) == (0, True), status.stdout + status.stderr
    assert f'"socket": "{here.state / "sock" / "rmp.sock"}"' in status.stdout
    runtime.unlink()
    runtime.mkdir(mode=0o700)
    await until(here, here.socket.is_socket)  # nothing tells the daemon: it looks
    async with here.client() as link:
        assert (await link.ask("status"))["pid"] == told["pid"]
    assert here.log().count("the other one serves") == 1


def test_where_both_places_are_one_directory_a_daemon_does_not_stand_in_its_own_way(here):
    here.socket.parent.mkdir(mode=0o700)
    here.state.mkdir(mode=0o700)
    (here.state / "sock").symlink_to(here.socket.parent)
    told = here.start()
    assert told["socket"] == str(here.socket)
    assert f'"pid": {told["pid"]}' in here.rlp("status").stdout


def test_where_the_state_directory_has_too_long_a_name_for_a_socket_the_other_one_serves(here):
    home = here.root / ("h" * 90)
    home.mkdir()
    here.env["HOME"] = str(home)
    assert here.start()["ready"]
    assert (here.rlp("status").returncode, "one of two sockets cannot be made" in here.log()) == (0, True)


def test_where_the_runtime_directory_is_not_to_be_had_the_one_in_the_state_directory_serves(here):
    here.socket.parent.parent.rmdir()
    here.socket.parent.parent.write_text("of somebody else")
    own = here.state / "sock" / "rmp.sock"
    assert here.start()["socket"] == str(own)
    assert "one of two sockets cannot be made" in here.log()
    assert str(own) in here.rlp("status").stdout
    checks = here.rlp("doctor", "--table").stdout
    assert "the daemon listens in the state directory alone" in checks
    assert "unset XDG_RUNTIME_DIR" in checks


def test_a_socket_that_is_set_is_the_only_one(here):
    here.settings["runtime.socket_path"] = path = here.root / "own.sock"
    assert here.start()["socket"] == str(path)
    assert not (here.state / "sock" / "rmp.sock").exists()
    assert not here.socket.exists()


AS_SYSTEMD = """
import os, sys
given, command = [int(each) for each in sys.argv[1].split(",")], sys.argv[2:]
for number, each in enumerate(given):
    os.dup2(each, 3 + number)
    os.set_inheritable(3 + number, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
os.execv(command[0], command)
"""


@pytest.mark.parametrize("opened", [["run"], [".runloop"], ["run", ".runloop"]])
def test_a_daemon_that_systemd_opened_sockets_for_makes_the_others_and_leaves_those(here, opened):
    places = {"run": here.socket, ".runloop": here.state / "sock" / "rmp.sock"}
    with contextlib.ExitStack() as stack:
        given = []
        for name in opened:
            places[name].parent.mkdir(parents=True, mode=0o700)
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(places[name]))
            listening.listen()
            given.append(listening.fileno())
        told = here.start(through=[sys.executable, "-c", AS_SYSTEMD, ",".join(map(str, given))], given=given)
        assert (told["ready"], told.get("socket")) == (True, str(places[opened[0]]))
        at_login = here.rlp("status")
        del here.env["XDG_RUNTIME_DIR"]
        assert (at_login.returncode, here.rlp("status").returncode, here.stop()) == (0, 0, 0)
    assert [name for name, place in places.items() if place.exists()] == opened


@pytest.mark.parametrize("wanted", [None, "operator"])
async def test_who_starts_a_daemon_by_connecting_is_its_operator_though_it_makes_the_token_only_now(here, wanted):
    here.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(here.socket))
        listening.listen()

        def start():
            select.select([listening], [], [])
            return here.start(through=[sys.executable, "-c", AS_SYSTEMD, str(listening.fileno())], given=[listening.fileno()])

        started = asyncio.create_task(asyncio.to_thread(start))
        async with here.connection(role=wanted) as client:
            assert (client.role, client.socket) == ("operator", here.socket)
        assert (await started)["ready"] is True


def test_the_machines_daemon_is_the_only_one_of_its_state_directory(daemon):
    shared = daemon.root / "machine"
    env = {"STATE_DIRECTORY": str(daemon.state), "CACHE_DIRECTORY": f"{daemon.env['XDG_CACHE_HOME']}/runloop"}
    told = daemon.start("--system", "--set", f"runtime.sockets_dir={shared}", env=env)
    assert (told["socket"], daemon.socket.parent.stat().st_mode & 0o777) == (str(shared / "rmp.sock"), 0o700)
    assert json.loads(daemon.rlp("up", "--json").stdout)["pid"] == told["pid"]
    first, daemon.process = daemon.process, None
    second = daemon.start("--user")
    assert (second["ready"], second["error"]["code"], daemon.process.wait(60)) == (False, "bus.already_running", 3)
    daemon.process = first
