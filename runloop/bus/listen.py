"""The socket in the file system: its directory, its modes, the lock that makes one daemon of many, and sockets that systemd opened."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from runloop.bus.errors import AlreadyRunning, bad
from runloop.dataclass import dataclass
from runloop.errors import Unavailable, Where, unlockable
from runloop.private import make_private

_FIRST_FD: Final = 3
_PATH_BYTES: Final = 107
"""sun_path of unix(7), without the byte that ends it."""
_PROBE_S: Final = 1.0
BACKLOG: Final = 1024
"""Connections that wait to be accepted: past it a connect fails, which asyncio does not tell from success."""


@dataclass(slots=True)
class Listener:
    """Listening sockets and the lock; ``close`` removes a socket file only if it is the one that was made."""

    sockets: list[socket.socket]
    path: Path | None
    lock: int | None
    made: tuple[int, int] | None
    group: int | None = None

    @property
    def removed(self) -> bool:
        """Whether the socket file that was made is not at its path any more."""
        return self.made is not None and self.path is not None and _identity(self.path) != self.made

    def again(self) -> list[socket.socket]:
        """Listen at the path once more, whose socket was removed; the sockets that nobody reaches any more. Raises as :func:`listen`.

        A lock that was removed too is taken anew: another daemon may have it by now.
        """
        assert self.path is not None  # noqa: S101 - a socket was made there
        assert self.lock is not None  # noqa: S101 - as above
        _prepare(self.path.parent, self.group)
        held = os.fstat(self.lock)
        lock = self.lock if _identity(_beside(self.path)) == (held.st_dev, held.st_ino) else _lock(self.path)
        try:
            listening, self.made = _open(self.path, self.group)
        except BaseException:
            if lock != self.lock:
                os.close(lock)
            raise
        if lock != self.lock:
            os.close(self.lock)
            self.lock = lock
        old, self.sockets = self.sockets, [listening]
        return old

    def tell(self, done: int, of: int) -> None:
        """Say how far the start is to who waits (:func:`starting`); it is over with ``done`` as large as ``of``.

        In digits, as the process stands there: what else is in the file makes it no lock of a daemon.
        """
        if self.lock is not None:
            text = f"{os.getpid()}\n{done}\n{of}\n" if done < of else f"{os.getpid()}\n"
            with suppress(OSError):  # a full disk: nobody hears of it
                os.ftruncate(self.lock, os.pwrite(self.lock, text.encode(), 0))

    def close(self) -> None:
        """Stop listening, take the file away, then let the next daemon in."""
        for listening in self.sockets:
            listening.close()
        if self.path is not None and self.made is not None and not self.removed:
            with suppress(OSError):  # a read-only disk: the next daemon takes it over
                self.path.unlink()
        self.made = None
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def require_short(path: Path) -> None:
    """Refuse a path that no socket can have. Raises BadFrame."""
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise bad(f"the socket path {path} is longer than {_PATH_BYTES} bytes", key="path", hint="set runtime.socket_path to a shorter one")


def listen(path: Path, *, group: int | None = None) -> Listener:
    """Listen at a path: 0600 for the user alone, or 0660 with a group id. Raises AlreadyRunning, BadFrame or Unavailable."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link to somebody's socket
    require_short(path)
    _prepare(path.parent, group)
    try:
        _is_socket(path)  # before a lock is left beside what is none
    except OSError as error:
        raise _unusable(path, error) from None
    lock = _lock(path)
    try:
        listening, made = _open(path, group)
    except BaseException:
        os.close(lock)
        raise
    return Listener([listening], path, lock, made, group)


def _open(path: Path, group: int | None) -> tuple[socket.socket, tuple[int, int] | None]:
    """A socket that listens at the path, and which file it is; one that nobody listens on gives way."""
    made = None
    try:
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            os.fchmod(listening.fileno(), 0o600)  # before bind: the file is never open to others, whatever the umask
            listening.bind(str(path))
            made = _identity(path)
            if group is not None:
                _share(path, group)
                path.chmod(0o660)
            else:
                path.chmod(0o600)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            if made is not None:
                path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unusable(path, error) from None
    return listening, made


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at the path; None where none is, or it cannot be seen."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _prepare(directory: Path, group: int | None) -> None:
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    try:
        if group is None:
            make_private(directory.parent)
        directory.mkdir(mode=0o750 if group is not None else 0o700, parents=True)
    except FileExistsError:
        try:
            found = directory.stat()
        except OSError as error:
            raise _unusable(directory, error) from None
        if found.st_mode & (0o022 if group is None else 0o002) and not found.st_mode & stat.S_ISVTX:
            raise bad(
                f"others can write to {directory}, so they could replace the socket",
                key="path",
                hint=f"chmod {'700' if group is None else 'o-w'} {directory}, "
                "or where that changes nothing (FAT, NTFS) set runtime.socket_path",
                code="bus.directory",
            ) from None
    except OSError as error:
        raise _unusable(directory, error) from None
    else:
        if group is not None:
            _share(directory, group)
            for each in missing:  # whatever the umask is, which is 077 in a daemon
                each.chmod(0o750 if each == directory else 0o711)


def _share(path: Path, group: int) -> None:
    """Give a path to a group, unless it is the group's already: a hardened service may not change groups, and need not."""
    if path.lstat().st_gid == group:
        return
    try:
        os.chown(path, -1, group)
    except OSError as error:
        message = f"this user cannot give {path} to the group {group}: {error.strerror}"
        hint = "name a group of this user with --group, or leave it out"
        raise Unavailable(message, code="bus.socket", where=Where(file=str(path)), hint=hint, retryable=False) from None


def _lock(path: Path) -> int:
    """Take the lock beside the socket; the kernel lets it go when this process ends, however it ends."""
    name = _beside(path)
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(name, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").partition("\n")[0]
        os.close(lock)
        if holder.isdigit() and not path.exists():
            raise AlreadyRunning(
                f"a daemon (process {holder}) holds {path}, and there is no socket",
                where=Where(file=str(path)),
                hint=f"it is about to start or to stop; if its socket was removed, end it with `kill {holder}`",
            ) from None
        raise _running(path, f" (process {holder})" if holder.isdigit() else "") from None
    except OSError as error:
        os.close(lock)
        raise unlockable(error, name) from error
    if os.pread(lock, 32, 0).strip(b"0123456789\n"):
        os.close(lock)
        hint = "move it away, or set runtime.socket_path: the lock of a daemon has this name"
        raise bad(f"{name} exists and is no lock of a daemon", key="path", hint=hint, code="bus.path")
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def holder(path: Path) -> int | None:
    """The process that holds the lock beside a socket, whether it answers or not; None where none does, or this process may not know.

    Read from the kernel's list: to try the lock could keep a daemon from starting.
    """
    try:
        named = _beside(path).read_text("ascii").partition("\n")[0]
        inode = _beside(path).stat().st_ino
        lines = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]  # proc_locks(5)
        held = {(kind, access, pid, place.rpartition(":")[2]) for _, kind, _, access, pid, place, *_ in lines}
    except (OSError, ValueError):
        return None
    return int(named) if ("FLOCK", "WRITE", named, str(inode)) in held else None


def starting(path: Path) -> tuple[int, int] | None:
    """How far the daemon that holds the lock beside a socket is with its start, and how far it has to go; None where it says nothing."""
    try:
        _, done, of = map(int, _beside(path).read_text("ascii").split())
    except (OSError, ValueError):  # one that is ready, or none: who holds the lock need not be asked
        return None
    return None if holder(path) is None else (done, of)


def _is_socket(path: Path) -> bool:
    """Whether there is a socket, and not nothing; anything else is an error."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise bad(f"{path} exists and is no socket", key="path", hint="move it away, or set runtime.socket_path", code="bus.path")
    return True


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on; anything else at the path stays and is an error."""
    if not _is_socket(path):
        return
    if path.lstat().st_mode & 0o600 != 0o600:
        with suppress(OSError):  # another user's
            path.chmod(0o600)  # without these rights nobody learns whether somebody listens
    if not nobody_listens(path):
        raise _running(path, "")
    path.unlink(missing_ok=True)


def nobody_listens(path: Path) -> bool:
    """Whether there is no socket, or one that is left over; False also where this user may not know."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # it is busy, or not ours: whoever listens there is alive
            pass
    return False


def _running(path: Path, who: str) -> AlreadyRunning:
    return AlreadyRunning(
        f"a daemon already serves {path}{who}",
        where=Where(file=str(path)),
        hint="use it, stop it with `rlp down`, or choose another --socket",
    )


def _unusable(path: Path, error: OSError) -> Unavailable:
    where = Where(file=str(path))
    return Unavailable(
        f"cannot listen at {path}: {error.strerror}",
        code="bus.socket",
        where=where,
        hint="make it writable for this user, or set runtime.socket_path",
        retryable=False,
    )


def activated(environ: MutableMapping[str, str]) -> list[Listener]:
    """The sockets that systemd passed (sd_listen_fds(3)), each under its lock; the variables are taken away from children."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    numbers = range(_FIRST_FD, _FIRST_FD + int(count))
    for number in numbers:
        if not _listens(number):
            message = f"descriptor {number} is no Unix stream socket that listens"
            raise bad(message, key="LISTEN_FDS", hint="use ListenStream= with a path in the unit, or start it without LISTEN_FDS")
        os.set_inheritable(number, False)
    return [_given(socket.socket(fileno=number)) for number in numbers]


def _given(listening: socket.socket) -> Listener:
    listening.setblocking(False)
    name = listening.getsockname()
    path = Path(name) if isinstance(name, str) and name else None
    return Listener([listening], path, None if path is None else _lock(path), None)


def _listens(number: int) -> bool:
    """Whether a descriptor is a Unix stream socket that listens; what else it is stays open, since it may be somebody's."""
    try:
        found = socket.socket(fileno=number)
    except OSError:
        return False
    try:
        kind = (found.family, found.type, found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        return kind == (socket.AF_UNIX, socket.SOCK_STREAM, 1)
    finally:
        found.detach()
