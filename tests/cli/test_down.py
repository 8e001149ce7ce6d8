"""`rlp down` where asking is of no use."""

import socket

import pytest

from runloop.bus.errors import DeadlinePassed
from runloop.cli import down, link, main
from runloop.rmp import UnsupportedVersion


@pytest.fixture
def place(tmp_path, monkeypatch):
    path = tmp_path / "rmp.sock"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNLOOP__RUNTIME__SOCKET_PATH", str(path))
    return path


def listening(path):
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen()
    return found


def test_a_daemon_whose_frames_cannot_be_read_is_told_by_a_signal(place, monkeypatch, capfd):
    class Speaks:
        async def __aenter__(self):
            raise UnsupportedVersion("header version 1 of 64 bytes; this is version 0 of 64")

        async def __aexit__(self, *_error):
            """Nothing was opened."""

    told = []
    monkeypatch.setattr(link, "linked", lambda _settings: Speaks())
    monkeypatch.setattr(down, "_signal", lambda _settings: told.append("SIGTERM"))
    assert (main.main(["down"]), told) == (1, ["SIGTERM"])
    assert "error[rmp.unsupported_version]" in capfd.readouterr().err


@pytest.mark.parametrize("left", [True, False], ids=["stale", "nothing"])
def test_where_nobody_listens_no_daemon_runs(place, capfd, left):
    if left:
        listening(place).close()
    assert (main.main(["down"]), capfd.readouterr().out) == (0, "no daemon runs\n")


def test_who_listens_and_does_not_answer_is_not_called_no_daemon(place, monkeypatch, capfd):
    async def late(*_args, **_options):
        raise DeadlinePassed("not within 5 s")

    monkeypatch.setattr("runloop.client.client.BusClient.connect", late)
    with listening(place):
        assert main.main(["down"]) == 3
    assert f"the daemon at {place} does not answer\n" in capfd.readouterr().err


def test_a_socket_of_something_else_is_not_called_no_daemon(place, capfd):
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.bind(str(place))
    with other:
        assert main.main(["down"]) == 3
    out, err = capfd.readouterr()
    assert (out, "error[daemon.unreachable]" in err) == ("", True)
