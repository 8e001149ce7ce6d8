import errno
import fcntl
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


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_stale_socket_of_a_daemon_that_died_is_replaced(tmp_path):
    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen(path)
    assert connects(path)
    listener.close()
    assert not path.exists()


def test_a_file_system_without_locks_is_named_with_what_to_do(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = open_files()
    with pytest.raises(Unavailable, match="keeps no locks, which tell processes of each other: No locks available") as raised:
        listen(tmp_path / "rmp.sock")
    assert (raised.value.code, Path(raised.value.where.file).parent) == ("system.no_locks", tmp_path)
    assert "RUNLOOP_HOME" in raised.value.hint
    assert open_files() == before


def test_a_token_where_the_file_system_keeps_no_links_cannot_be_made(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(TokenError, match="cannot be made: Operation not permitted") as raised:
        ensure_token(tmp_path / "token")
    assert "FAT" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_somebody_listens_on_is_never_removed_though_nobody_holds_the_lock(tmp_path):
    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(AlreadyRunning):
            listen(path)
        assert connects(path)


def test_a_socket_that_was_left_over_and_lost_its_rights_gives_way(tmp_path, monkeypatch):
    class Ordinary(socket.socket):
        """As the kernel treats whoever is not the superuser."""

        def connect(self, address):
            if not Path(address).stat().st_mode & 0o200:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            super().connect(address)

    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    path.chmod(0)
    monkeypatch.setattr(socket, "socket", Ordinary)
    listen(path).close()
    assert not path.exists()


def test_a_socket_that_cannot_be_removed_is_left_to_the_next_daemon(tmp_path, monkeypatch):
    def unlink(_path, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    path = tmp_path / "rmp.sock"
    listener = listen(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        listener.close()
    assert path.exists()
    listen(path).close()
    assert not path.exists()


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
        assert caught.value.message == f"a daemon already serves {path} (process {other.pid})"
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
    listener.close()
    assert (path.exists(), listener.removed) == (False, False)
    listen(path).close()


def test_a_socket_whose_place_is_taken_is_made_again_once_it_is_free_and_nothing_stays_open(tmp_path):
    path = tmp_path / "rmp.sock"
    listener, before = listen(path), open_files()
    path.unlink()
    path.with_name("rmp.sock.lock").unlink()
    path.mkdir()
    for _ in range(2):
        with pytest.raises(BadFrame):
            listener.again()
    path.rmdir()

    for old in listener.again():
        old.close()

    assert (connects(path), open_files() <= before) == (True, True)
    listener.close()


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
    longest = tmp_path / ("x" * (106 - len(os.fsencode(tmp_path))))
    listener = listen(longest)
    assert connects(longest)
    listener.close()
    with pytest.raises(BadFrame) as caught:
        listen(longest.with_name(longest.name + "x"))
    assert "107" in caught.value.message


def test_a_lock_that_is_a_link_is_not_followed_and_named(tmp_path):
    (tmp_path / "digits").write_text("12\n")
    (tmp_path / "rmp.sock.lock").symlink_to(tmp_path / "digits")
    with pytest.raises(Unavailable) as caught:
        listen(tmp_path / "rmp.sock")
    assert (caught.value.code, "rmp.sock.lock" in caught.value.message, (tmp_path / "digits").read_text()) == ("bus.socket", True, "12\n")


def test_who_took_the_lock_and_has_not_said_who_it_is_is_not_named(tmp_path):
    with (tmp_path / "rmp.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning) as caught:
            listen(tmp_path / "rmp.sock")
    assert ("process" in caught.value.message, "kill" in caught.value.hint) == (False, False)


def test_a_socket_that_cannot_be_made_is_an_error_with_its_path_and_can_be_made_later(tmp_path, monkeypatch):
    def refused(*_arguments):
        raise PermissionError(13, "Permission denied")

    path, before = tmp_path / "rmp.sock", open_files()
    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "bind", refused)
        with pytest.raises(Unavailable) as caught:
            listen(path)
    assert (caught.value.code, caught.value.message) == ("bus.socket", f"cannot listen at {path}: Permission denied")
    assert open_files() <= before
    listen(path).close()


@pytest.mark.parametrize(("mode", "group", "hint"), [(0o777, False, "chmod 700"), (0o770, False, "chmod 700"), (0o777, True, "chmod o-w")])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path, mode, group, hint):
    (tmp_path / "sock").mkdir()
    (tmp_path / "sock").chmod(mode)
    with pytest.raises(BadFrame) as caught:
        listen(tmp_path / "sock" / "rmp.sock", group=os.getegid() if group else None)
    assert (caught.value.code, caught.value.hint.partition(",")[0]) == ("bus.directory", f"{hint} {tmp_path / 'sock'}")
    assert "FAT" in caught.value.hint


@pytest.mark.parametrize(("mode", "group"), [(0o1777, False), (0o770, True)])
def test_a_directory_where_nobody_else_can_replace_the_socket_will_do(tmp_path, mode, group):
    (tmp_path / "sock").mkdir()
    (tmp_path / "sock").chmod(mode)
    listener = listen(tmp_path / "sock" / "rmp.sock", group=os.getegid() if group else None)
    assert connects(listener.path)
    listener.close()


WATCHED = """
import os, stat, sys
from pathlib import Path
from runloop.bus.listen import listen

path, modes = Path(sys.argv[1]), set()

def look(event, _arguments):
    if os.path.exists(path):
        modes.add(stat.S_IMODE(os.stat(path).st_mode))

os.umask(0)
sys.addaudithook(look)
listener = listen(path)
print(sorted(map(oct, modes)))
"""


def test_at_no_moment_is_the_socket_open_to_others(tmp_path):
    done = subprocess.run([sys.executable, "-c", WATCHED, tmp_path / "rmp.sock"], capture_output=True, text=True, check=True)
    assert done.stdout == "['0o600']\n"


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        listener = listen(tmp_path / "rmp.sock")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "rmp.sock").stat().st_mode) == 0o600
    listener.close()


def test_directories_that_are_missing_are_made_for_the_user_alone(tmp_path):
    listener = listen(tmp_path / "state" / "sock" / "rmp.sock")
    assert [stat.S_IMODE((tmp_path / each).stat().st_mode) for each in ("state", "state/sock")] == [0o700, 0o700]
    listener.close()


def test_the_group_gets_the_directory_and_the_socket_and_can_go_through_what_is_above(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "chown", lambda path, *owners: given.append((Path(path).name, owners)))
    listener = listen(tmp_path / "srv" / "runloop" / "rmp.sock", group=12345)
    assert given == [("runloop", (-1, 12345)), ("rmp.sock", (-1, 12345))]
    assert stat.S_IMODE((tmp_path / "srv").stat().st_mode) & 0o011 == 0o011
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
    listen(tmp_path / "run" / "rmp.sock").close()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_in_system_mode_the_group_may_connect(tmp_path, umask):
    path = tmp_path / "srv" / "run" / "rmp.sock"
    before = os.umask(umask)
    try:
        listener = listen(path, group=os.getgid())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "srv").stat().st_mode) & 0o011 == 0o011
    listener.close()


ACTIVATED = """
import os
from runloop.bus.errors import AlreadyRunning
from runloop.bus.listen import activated, listen

os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
found = activated(os.environ)
for number, each in enumerate(found):
    print(each.path, [one.getblocking() for one in each.sockets], os.get_inheritable(3 + number), each.removed)
    try:
        each.path and listen(each.path)
    except AlreadyRunning as error:
        print(error.message)
print([name for name in os.environ if name.startswith("LISTEN_")])
found[0].path.unlink()
print(found[0].removed)
for each in found:
    each.close()
"""


def test_sockets_of_systemd_are_used_under_their_locks_and_stay_and_their_variables_are_taken_away(tmp_path):
    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for listening, place in ((first, str(path)), (second, f"\0runloop-{os.getpid()}")):
            listening.bind(place)
            listening.listen()
        os.link(path, tmp_path / "kept")
        script = f'exec 3<&{first.fileno()} 4<&{second.fileno()}; exec {sys.executable} -c "$0"'
        done = subprocess.run(
            ["bash", "-c", script, ACTIVATED], pass_fds=(first.fileno(), second.fileno()), capture_output=True, text=True, check=True
        )
        assert connects(tmp_path / "kept")
    told, refused, *more = done.stdout.splitlines()
    assert (told, refused.partition(" (")[0]) == (f"{path} [False] False False", f"a daemon already serves {path}")
    assert more == ["None [False] False False", "[]", "False"]


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
    assert activated(environ) == []
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
    listener = listen(path)  # what a daemon left that was killed is still the lock of one
    assert starting(path) is None
    listener.close()
