import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runloop.bus.errors import AlreadyRunning, BadFrame
from runloop.bus.listen import activated, holder, listen, starting
from runloop.bus.token import TokenError, ensure_token, read_token
from runloop.errors import Unavailable


def connects(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_a_stale_socket_of_a_daemon_that_died_is_replaced(tmp_path):
    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen(path)
    assert connects(path)
    listener.close()
    assert not path.exists()


def test_a_socket_that_somebody_listens_on_is_never_removed_though_nobody_holds_the_lock(tmp_path):
    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(AlreadyRunning):
            listen(path)
        assert connects(path)


def test_a_daemon_that_ends_leaves_the_socket_of_another_alone(tmp_path):
    path = tmp_path / "rmp.sock"
    listener = listen(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listener.close()
        assert path.exists()


def test_the_lock_ends_with_its_process_even_if_that_is_killed(tmp_path):
    path = tmp_path / "rmp.sock"
    code = (
        "import sys; from pathlib import Path; from runloop.bus.listen import listen;"
        "kept = listen(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(AlreadyRunning) as caught:
            listen(path)
        assert str(other.pid) in caught.value.message
        other.kill()
    listen(path).close()


def test_a_daemon_whose_socket_was_removed_is_named_with_what_ends_it(tmp_path):
    path = tmp_path / "rmp.sock"
    listener = listen(path)
    path.unlink()
    with pytest.raises(AlreadyRunning) as caught:
        listen(path)
    assert ("there is no socket" in caught.value.message, f"kill {os.getpid()}" in caught.value.hint) == (True, True)
    listener.close()


@pytest.mark.parametrize("gone", [["rmp.sock"], ["rmp.sock", "rmp.sock.lock"], ["rmp.sock", "rmp.sock.lock", ""]])
def test_a_socket_that_was_removed_is_made_again_with_its_mode_and_under_the_lock(tmp_path, gone):
    path = tmp_path / "sock" / "rmp.sock"
    listener = listen(path)
    before = listener.removed
    for name in gone:
        (path.parent / name).unlink() if name else path.parent.rmdir()

    assert (before, listener.removed) == (False, True)
    for old in listener.again():
        old.close()

    assert (connects(path), listener.removed, stat.S_IMODE(path.stat().st_mode)) == (True, False, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        listen(path)
    listener.close()
    assert not path.exists()
    listen(path).close()


@pytest.mark.parametrize("locked", [True, False])
def test_a_socket_that_is_another_daemons_by_now_stays_that_ones(tmp_path, locked):
    path = tmp_path / "rmp.sock"
    listener = listen(path)
    path.unlink()
    if locked:
        path.with_name("rmp.sock.lock").unlink()
        other = listen(path).sockets[0]
    else:
        other = socket.socket(socket.AF_UNIX)
        other.bind(str(path))
        other.listen()
    found = path.stat().st_ino

    with pytest.raises(AlreadyRunning):
        listener.again()

    assert (connects(path), path.stat().st_ino) == (True, found)
    listener.close()
    assert path.stat().st_ino == found
    other.close()


def test_a_directory_that_is_a_link_to_nowhere_is_refused_with_its_name(tmp_path):
    (tmp_path / "sock").symlink_to(tmp_path / "gone")
    with pytest.raises(Unavailable) as caught:
        listen(tmp_path / "sock" / "rmp.sock")
    assert (caught.value.code, str(tmp_path / "sock") in caught.value.message) == ("bus.socket", True)


def test_a_file_that_is_no_socket_stays_and_is_an_error(tmp_path):
    path = tmp_path / "rmp.sock"
    path.write_text("precious")
    with pytest.raises(BadFrame) as caught:
        listen(path)
    assert (caught.value.code, path.read_text()) == ("bus.path", "precious")


def test_a_path_too_long_for_a_socket_is_refused_with_the_reason(tmp_path):
    with pytest.raises(BadFrame) as caught:
        listen(tmp_path / ("x" * 120))
    assert "107" in caught.value.message


def test_a_directory_that_others_can_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(BadFrame) as caught:
        listen(tmp_path / "rmp.sock")
    assert caught.value.code == "bus.directory"
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        listener = listen(tmp_path / "rmp.sock")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "rmp.sock").stat().st_mode) == 0o600
    listener.close()


def test_a_service_that_may_not_change_groups_listens_where_the_group_is_right_already(tmp_path, monkeypatch):
    def refused(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)  # as SystemCallFilter=~@privileged does
    listener = listen(tmp_path / "runloop" / "rmp.sock", group=os.getegid())
    assert stat.S_IMODE(listener.path.stat().st_mode) == 0o660
    listener.close()


def test_a_group_that_this_user_is_not_in_is_named_and_leaves_no_socket(tmp_path, monkeypatch):
    def refused(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    (tmp_path / "run").mkdir(mode=0o700)
    with pytest.raises(Unavailable) as caught:
        listen(tmp_path / "run" / "rmp.sock", group=12345)
    assert (caught.value.code, "the group 12345" in caught.value.message, "--group" in caught.value.hint) == ("bus.socket", True, True)
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["rmp.sock.lock"]


def test_in_system_mode_the_group_may_connect(tmp_path):
    path = tmp_path / "run" / "rmp.sock"
    listener = listen(path, group=os.getgid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    listener.close()


def test_sockets_of_systemd_are_used_and_their_variables_taken_away(tmp_path):
    path = tmp_path / "rmp.sock"
    code = (
        "import os; from runloop.bus.listen import activated; os.environ['LISTEN_PID'] = str(os.getpid());"
        "found = activated(os.environ); print(found.path, len(found.sockets), 'LISTEN_FDS' in os.environ, os.get_inheritable(3));"
        "found.close()"
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        script = f'exec 3<&{listening.fileno()}; exec {sys.executable} -c "$0"'
        done = subprocess.run(
            ["bash", "-c", script, code],
            pass_fds=(listening.fileno(),), env={**os.environ, "LISTEN_FDS": "1"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout.split() == [str(path), "1", "False", "False"]
    assert path.exists()


@pytest.mark.parametrize("redirect", ["3</dev/null", "3<&-", "3<&0"])
def test_a_descriptor_that_is_no_socket_which_listens_is_refused(redirect):
    code = (
        "import os; from runloop.bus.listen import activated; from runloop.errors import InvalidInput\n"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}\n"
        "try: activated(os.environ)\n"
        "except InvalidInput as error: print(error.where.key, error.message)\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            ["bash", "-c", f'exec {redirect}; exec {sys.executable} -c "$0"', code], stdin=ours, capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "LISTEN_FDS descriptor 3 is no Unix stream socket that listens"


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}, {"LISTEN_FDS": "1"}]
)
def test_variables_that_are_not_for_this_process_mean_nothing(environ):
    assert activated(environ) is None
    assert environ == {}


def test_a_token_is_made_once_and_is_for_this_user_alone(tmp_path):
    path = tmp_path / "state" / "token"
    assert read_token(path) is None
    made = ensure_token(path)
    assert (ensure_token(path), read_token(path)) == (made, made)
    assert len(made) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["token"]


def test_many_processes_that_make_the_token_at_once_agree(tmp_path):
    code = "import sys; from pathlib import Path; from runloop.bus.token import ensure_token; print(ensure_token(Path(sys.argv[1])))"
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "token")], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1


@pytest.mark.parametrize(("content", "mode"), [("short", 0o600), ("f" * 64, 0o644), ("é" * 64, 0o600), ("", 0o600), ("f" * 600, 0o600)])
def test_a_token_file_that_is_none_or_that_others_read_is_refused(tmp_path, content, mode):
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(TokenError) as caught:
        ensure_token(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_in_place_of_the_token_is_refused(tmp_path, make):
    path = tmp_path / "token"
    make(path)
    with pytest.raises(TokenError) as caught:
        ensure_token(path)
    assert "is a link, or something else that is no file" in caught.value.message
    assert caught.value.hint == "remove it: the daemon makes a new one"


def test_a_link_in_place_of_the_token_is_not_followed(tmp_path):
    (tmp_path / "real").write_text("f" * 64)
    (tmp_path / "real").chmod(0o600)
    Path(tmp_path / "token").symlink_to(tmp_path / "real")
    with pytest.raises(TokenError):
        read_token(tmp_path / "token")


def test_who_holds_the_lock_of_a_socket_is_known_while_it_does(tmp_path):
    path = tmp_path / "bus" / "rmp.sock"
    assert holder(path) is None
    held = listen(path)
    assert holder(path) == os.getpid()
    held.close()
    assert holder(path) is None
    path.with_name("rmp.sock.lock").write_bytes(b"\xff")
    assert holder(path) is None


def test_nothing_is_left_beside_a_path_that_is_no_socket(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(BadFrame) as caught:
        listen(path)
    assert (caught.value.code, [each.name for each in tmp_path.iterdir()]) == ("bus.path", ["notes"])
    with pytest.raises(Unavailable):
        listen(path / "rmp.sock")


def test_a_file_of_somebody_else_with_the_name_of_the_lock_stays_as_it_is(tmp_path):
    kept = tmp_path / "uv.lock"
    kept.write_text("version = 1\n")
    with pytest.raises(BadFrame) as caught:
        listen(tmp_path / "uv")
    assert (caught.value.code, kept.read_text(), len(list(tmp_path.iterdir()))) == ("bus.path", "version = 1\n", 1)


def test_a_daemon_says_how_far_its_start_is_until_it_is_over(tmp_path):
    path = tmp_path / "rmp.sock"
    assert starting(path) is None
    listener = listen(path)
    assert starting(path) is None
    listener.tell(430, 1000)
    assert (starting(path), holder(path)) == ((430, 1000), os.getpid())
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        listen(path)
    listener.tell(0, 0)
    assert (starting(path), holder(path)) == (None, os.getpid())
    listener.tell(431, 1000)
    listener.close()
    assert starting(path) is None
    listen(path).close()  # what a daemon left that was killed is still the lock of one
