"""Which daemon, and as whom."""

import asyncio
import os
import socket
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
from strangers import NOBODY, let_in, needs_root, somebody_else_listens

from runloop.bus import read_token
from runloop.bus.errors import NotAllowed
from runloop.bus.listen import listen
from runloop.bus.peers import require_trusted
from runloop.bus.token import TokenError, TokenHidden
from runloop.client import Client
from runloop.client.places import Place, places
from runloop.config import load
from runloop.errors import Unavailable

TOKEN = "f" * 64


def test_without_a_setting_the_users_sockets_come_before_the_machines(tmp_path):
    settings = load(env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    assert [(place.socket, place.token, place.explicit) for place in places(settings)] == [
        (tmp_path / "run/runloop/rmp.sock", tmp_path / ".runloop/token", False),
        (tmp_path / ".runloop/sock/rmp.sock", tmp_path / ".runloop/token", False),
        (Path("/run/runloop/rmp.sock"), Path("/var/lib/runloop/token"), False),
    ]


def test_a_socket_that_is_set_or_given_is_the_only_one(tmp_path):
    env = {"HOME": str(tmp_path)}
    configured = load({"runtime.socket_path": str(tmp_path / "a.sock")}, env=env)
    assert [(place.socket, place.explicit) for place in places(configured)] == [(tmp_path / "a.sock", True)]
    assert [place.socket for place in places(configured, tmp_path / "b.sock")] == [tmp_path / "b.sock"]


def test_a_socket_in_a_directory_that_is_closed_to_this_user_is_not_there(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    place = Place(closed / "rmp.sock", tmp_path / "token")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.socket))
        seen = place.is_there
        closed.chmod(0)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(NOBODY)
        try:
            assert (seen, place.is_there) == (True, False)
        finally:
            if is_root:
                os.seteuid(0)
            closed.chmod(0o700)


@needs_root
def test_who_names_another_users_socket_is_told_so_and_not_to_start_what_runs(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    let_in(tmp_path)

    def connects(path):
        with pytest.raises(Unavailable) as caught:
            asyncio.run(Client(path, settings=load(env={"HOME": str(tmp_path)}), token=TOKEN, reconnect_s=0).connect())
        return caught.value.code, "another user" in caught.value.hint

    with socket.socket(socket.AF_UNIX) as hidden, socket.socket(socket.AF_UNIX) as shown:
        for each, path in ((hidden, closed / "rmp.sock"), (shown, tmp_path / "rmp.sock")):
            each.bind(str(path))
            each.listen()
            path.chmod(0o600)
        os.seteuid(NOBODY)
        try:
            said = [connects(path) for path in (closed / "rmp.sock", tmp_path / "rmp.sock", tmp_path / "none.sock")]
        finally:
            os.seteuid(0)
    assert said == [("daemon.unreachable", True), ("daemon.unreachable", True), ("daemon.unreachable", False)]


def heard_by(listening):
    listening.settimeout(0.2)
    try:
        connected, _ = listening.accept()
    except TimeoutError:
        return b""
    connected.settimeout(0.2)
    with connected:
        try:
            return connected.recv(4096)
        except TimeoutError:
            return b""


@needs_root
def test_no_word_and_no_token_goes_to_another_user_who_listens_where_everybody_may_make_files(tmp_path):
    write_token(tmp_path / "home/.runloop/token")
    let_in(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with somebody_else_listens(shared / "rmp.sock") as listening:
        client = Client(shared / "rmp.sock", settings=load(env={"HOME": str(tmp_path / "home")}), reconnect_s=0)
        with pytest.raises(NotAllowed) as caught:
            asyncio.run(client.connect())
        heard = heard_by(listening)
    assert (caught.value.code, heard) == ("bus.stranger", b"")


@needs_root
def test_what_another_users_login_left_in_the_environment_is_passed_over(tmp_path):
    write_token(tmp_path / "home/.runloop/token")
    runtime = tmp_path / "run/runloop"
    runtime.mkdir(parents=True)
    runtime.parent.chmod(0o755)
    let_in(tmp_path)
    os.chown(runtime, NOBODY, -1)
    with somebody_else_listens(runtime / "rmp.sock") as listening:
        settings = load(env={"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
        with pytest.raises(Unavailable) as caught:
            asyncio.run(Client(settings=settings, reconnect_s=0).connect())
        heard = heard_by(listening)
    assert (caught.value.code, heard) == ("daemon.unavailable", b"")


@pytest.mark.parametrize(
    ("mode", "owner", "trusted"), [(0o755, 7, True), (0o750, 0, True), (0o777, 7, False), (0o1777, 0, False), (0o755, 8, False)]
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_daemon_is_trusted_where_only_its_owner_makes_files(tmp_path, monkeypatch, mode, owner, trusted):
    place = tmp_path / "team"
    place.mkdir()
    place.chmod(mode)
    os.chown(place, owner, -1)
    monkeypatch.setattr("runloop.bus.peers.Path", lambda _: _Above(place))
    require_trusted(place / "rmp.sock", os.geteuid(), others=False)
    with nullcontext() if trusted else pytest.raises(NotAllowed):
        require_trusted(place / "rmp.sock", 7, others=True)
    with pytest.raises(NotAllowed):
        require_trusted(place / "rmp.sock", 7, others=False)


class _Above:
    """A directory beside `/` alone: where tests are, above it is one in which everybody may make files."""

    def __init__(self, directory):
        self._directory, self.parents = directory, (Path("/"),)

    def stat(self):
        return self._directory.stat()


def write_token(path, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TOKEN + "\n")
    path.chmod(mode)
    return path


@needs_root
def test_a_token_that_this_process_may_not_read_is_hidden_and_no_error_of_the_file(tmp_path):
    path = write_token(tmp_path / "token")
    let_in(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forking beside threads
        pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            read_token(path)
        except TokenHidden:
            os._exit(17)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17


def test_a_hidden_token_is_none_with_the_reason_and_an_unsafe_one_is_an_error(tmp_path, monkeypatch):
    path = write_token(tmp_path / "token")
    place = Place(tmp_path / "s", path)
    assert place.read_token() == (TOKEN, "")
    path.chmod(0o644)
    with pytest.raises(TokenError):
        place.read_token()

    def hidden(path):
        raise TokenHidden(f"may not read {path}")

    monkeypatch.setattr("runloop.client.places.read_token", hidden)
    assert place.read_token() == (None, f"may not read {path}")


async def test_the_machines_daemon_is_only_for_who_may_read_its_token(bus, tmp_path, monkeypatch):
    token = tmp_path / "machine" / "token"
    monkeypatch.setattr("runloop.client.places.SYSTEM_SOCKET", bus.path)
    monkeypatch.setattr("runloop.client.places.SYSTEM_TOKEN", token)
    client = Client(settings=bus.settings)
    with pytest.raises(Unavailable) as caught:
        await client.connect()
    async with Client(settings=bus.settings, role="client") as less:
        assert less.role == "client"
    write_token(token, 0o644)
    with pytest.raises(Unavailable):
        await client.connect()
    token.chmod(0o600)
    async with client:
        assert (client.role, client.socket) == ("operator", bus.path)
    error = caught.value
    assert (error.code, f"The one at {bus.path} is the machine's" in error.message) == ("daemon.unavailable", True)
    assert error.message.count(str(bus.path)) == 1  # it is not among those that were tried
    assert f"--set runtime.socket_path={bus.path}" in error.hint


async def test_a_role_that_is_asked_for_is_taken_and_a_wrong_token_is_refused(bus):
    async with bus.client(role="client", token=None) as client:
        assert client.role == "client"
    with pytest.raises(NotAllowed) as caught:
        await bus.client(token="0" * 64).connect()
    with pytest.raises(NotAllowed):
        await bus.client(role="operator", token=None).connect()
    assert caught.value.code == "bus.token"


async def test_connecting_twice_is_one_connection(bus):
    async with bus.client() as client:
        before = client.bus
        await client.connect()
        assert (client.bus is before, bus.server.stats().connections) == (True, 1)


async def test_connecting_twice_at_the_same_time_is_one_connection(bus):
    client = bus.client()
    await asyncio.gather(*(client.connect() for _ in range(4)))
    assert bus.server.stats().connections == 1
    await client.close()


async def test_a_closed_client_can_be_connected_again(bus):
    client = bus.client()
    for _ in range(2):
        async with client:
            assert await client.publish("nobody/reads", "observation.generic.v1", 1, ack=True) == 0
    assert client.bus.closed


async def test_a_daemon_that_says_how_far_its_start_is_is_named_with_that_at_once(tmp_path):
    path = tmp_path / "rmp.sock"
    listener = listen(path)
    try:
        listener.tell(43, 100)
        with pytest.raises(Unavailable) as caught:
            await Client(path, settings=load(env={"HOME": str(tmp_path)})).connect()
    finally:
        listener.close()
    said = f"the daemon at {path} does not answer yet: it brings the derived tables up to the ledger: 43 % (43 of 100 events)"
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "daemon.unavailable",
        said,
        "`rlp up --wait` returns when it does",
    )
