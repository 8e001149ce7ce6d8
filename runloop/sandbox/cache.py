"""Compiled guests on disk: native code, so nothing is loaded that this user's Runloop did not write itself.

An entry is named by the digest of the code, the wasmtime version, the engine's configuration and the processor's features. Beside it lies
a seal: BLAKE3 over name and content, keyed with a secret that only this directory's owner can read. A file without its seal, with
another name, of another owner or with loose modes is removed and built again. Workers can read the directory and, where Landlock
exists, not write it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import platform
import secrets
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import blake3

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Unavailable, Where, unlockable
from runloop.private import make_private
from runloop.sandbox.configuration import CONFIGURATION, INVALID, UNWRITTEN
from runloop.tasks import shielded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_POLL_S = 0.05
KEPT_UNUSED_S = 30 * 24 * 3600.0
"""What no process looked up for so long is removed when something else is compiled: each upgrade leaves a guest of some 50 MB."""


@dataclass(frozen=True, slots=True)
class CompileProgress:
    """How far a compilation is; ``expected_s`` is a guess from the size, for a bar."""

    name: str
    bytes: int
    elapsed_s: float
    expected_s: float
    done: bool


class CompileFailed(RunloopError):  # noqa: N818 - named for what happened
    """A guest's code does not compile: it is no valid component or module, or it is too large."""

    code = "guest.invalid"


@functools.cache
def cpu_features() -> str:
    """Name the processor's features, which compiled code depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((" ".join(sorted(line.partition(":")[2].split())) for line in lines if line.startswith(("flags", "Features"))), "")


@functools.cache
def build_key() -> str:
    """Name everything but the code and fuel that compiled code depends on."""
    from importlib.metadata import version

    parts = (version("wasmtime"), platform.machine(), sys.platform, CONFIGURATION, cpu_features())
    return blake3.blake3("\0".join(parts).encode()).hexdigest()[:16]


class CompiledCache:
    """The directory of compiled guests; several processes may share it."""

    def __init__(self, directory: Path) -> None:
        """Make the directory (0700) if need be; refuses one that others own or may write."""
        self.directory = directory
        self.open()

    def open(self) -> bool:
        """Make the directory and its key where somebody removed them meanwhile; whether the directory is a new one."""
        directory = self.directory
        gone = not directory.is_dir()
        with _usable(directory):
            make_private(directory)
            found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise InvalidInput(
                f"the cache of compiled guests {directory} is not a directory that only you can use",
                code="cache.unsafe", hint=f"remove it, or: chown {os.getuid()} {directory} && chmod 700 {directory}; "
                "where that changes nothing (FAT, NTFS), set XDG_CACHE_HOME to a directory on another file system",
            )  # fmt: skip
        with _usable(directory):
            self._key = self._read_key()
        return gone

    def _read_key(self) -> bytes:
        path = self.directory / "key"
        for _attempt in range(2):
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    key = file.read(33)
                    if _only_ours(os.fstat(file.fileno())) and len(key) == 32:
                        return key
                path.unlink()
            except FileNotFoundError:
                pass
            fresh = self.directory / f"key.{secrets.token_hex(8)}"
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
            fresh.unlink()
        raise InvalidInput(f"the key of the cache {self.directory} cannot be kept", code="cache.unsafe", hint="remove the directory")

    def path(self, digest: str, *, fuel: bool) -> Path:
        """Where the compiled form of this code lies."""
        named = blake3.blake3(digest.encode()).hexdigest()[:32]
        return self.directory / f"{named}-{build_key()}{'-fuel' if fuel else ''}.cwasm"

    def seal(self, name: str, content: memoryview | bytes) -> str:
        """Compute the keyed hash of an entry."""
        hasher = blake3.blake3(key=self._key)
        hasher.update(name.encode() + b"\0")
        hasher.update(content)
        return hasher.hexdigest()

    def verified(self, digest: str, *, fuel: bool) -> Path | None:
        """Give the entry's path if it is there and its seal holds; otherwise remove what is there."""
        path = self.path(digest, fuel=fuel)
        seal = path.with_suffix(".seal")
        try:
            content, expected = _read_ours(path), _read_ours(seal)
        except FileNotFoundError:
            return None
        if content is not None and expected is not None and secrets.compare_digest(self.seal(path.name, content).encode(), expected):
            with contextlib.suppress(OSError):
                os.utime(path)
            return path
        for file in (seal, path):
            file.unlink(missing_ok=True)
        return None

    def require_executable(self) -> None:
        """Refuse a file system that is mounted ``noexec``: the kernel maps no code from it, in any worker."""
        if os.statvfs(self.directory).f_flag & os.ST_NOEXEC:
            raise Unavailable(
                f"the cache of compiled guests {self.directory} lies on a file system that is mounted noexec",
                code="cache.noexec", where=Where(file=str(self.directory)),
                hint="set XDG_CACHE_HOME to a directory on another one: compiled guests are executed from there",
            )  # fmt: skip

    async def ensure(
        self,
        kind: str,
        digest: str,
        code: Callable[[], bytes],
        *,
        fuel: bool = False,
        name: str = "guest",
        progress: Callable[[CompileProgress], None] | None = None,
    ) -> Path:
        """Give the path of the compiled code, compiling it in a child process if need be; concurrent users wait for one compilation."""
        self.open()
        with _usable(self.directory):
            self.require_executable()
            return await self._ensure(kind, digest, code, fuel=fuel, name=name, progress=progress)

    async def _ensure(
        self,
        kind: str,
        digest: str,
        code: Callable[[], bytes],
        *,
        fuel: bool,
        name: str,
        progress: Callable[[CompileProgress], None] | None,
    ) -> Path:
        found = await asyncio.to_thread(self.verified, digest, fuel=fuel)
        if found is not None:
            return found
        path = self.path(digest, fuel=fuel)
        with _lock_file(path.with_suffix(".lock")) as lock:
            while not _try_lock(lock, path.parent):  # noqa: ASYNC110 - another process holds it; a file lock has no event
                await asyncio.sleep(_POLL_S)
            found = await asyncio.to_thread(self.verified, digest, fuel=fuel)
            if found is None:
                await self._compile(kind, path, await asyncio.to_thread(code), fuel=fuel, name=name, progress=progress)
                found = path
        return found

    async def _compile(
        self, kind: str, path: Path, code: bytes, *, fuel: bool, name: str, progress: Callable[[CompileProgress], None] | None
    ) -> None:
        for left in path.parent.glob(f"{path.name}.*"):  # of a process that was killed: who compiles has the lock
            with contextlib.suppress(IsADirectoryError):
                left.unlink(missing_ok=True)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        began = time.monotonic()
        expected_s = 0.3 + len(code) / 6e6

        def tell(*, done: bool) -> None:
            if progress is not None:
                progress(CompileProgress(name, len(code), time.monotonic() - began, expected_s, done))

        try:
            from runloop.sandbox.process import start_python

            child = await start_python(
                "runloop.sandbox.compiling", [kind, "fuel" if fuel else "plain", str(descriptor), str(os.getpid())], keep=descriptor
            )
            talk = asyncio.ensure_future(child.communicate(code))
            try:
                while not talk.done():
                    tell(done=False)
                    await asyncio.wait([talk], timeout=0.2)
            finally:
                if not talk.done():
                    child.kill()
                    await talk
            complaint = talk.result()[1].decode(errors="replace").strip()
            if child.returncode == UNWRITTEN and complaint.isdecimal():
                raise OSError(int(complaint), os.strerror(int(complaint)), str(fresh))
            if child.returncode == INVALID:
                raise CompileFailed(
                    f"the code of {name} does not compile: {complaint.splitlines()[-1].strip()}",
                    hint="build the agent again: a valid WebAssembly file of its kind, which imports only what docs/hostcalls.md lists",
                )
            if child.returncode != 0:
                raise _lost(name, child.returncode or 0, complaint)
            await _whole(asyncio.to_thread(self._store, path, fresh, descriptor))
            await asyncio.to_thread(self._forget_unused)
            tell(done=True)
        finally:
            os.close(descriptor)
            fresh.unlink(missing_ok=True)

    def _store(self, path: Path, fresh: Path, descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            sealed = self.seal(path.name, file.read())
        seal = fresh.with_name(f"{fresh.name}.seal")
        try:
            with os.fdopen(os.open(seal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(sealed)
            path.with_suffix(".seal").unlink(missing_ok=True)
            fresh.replace(path)
            seal.replace(path.with_suffix(".seal"))
        finally:
            seal.unlink(missing_ok=True)

    def _forget_unused(self) -> None:
        """Remove what nobody looked up for long, and what killed compilers left; a process that still wants it compiles it again."""
        before = time.time() - KEPT_UNUSED_S
        for found in self.directory.glob("*.cwasm*"):
            with contextlib.suppress(OSError):
                if found.lstat().st_mtime < before:
                    found.with_suffix(".seal").unlink(missing_ok=True)
                    found.unlink()


def _lost(name: str, code: int, complaint: str) -> Unavailable:
    """What to say of a compiler that ended before it was done, as the system ends one for which it has no memory."""
    how = f"signal {-code}" if code < 0 else f"code {code}"
    said = next((line for line in reversed(complaint.splitlines()) if line.strip() and not line.startswith("note:")), "")
    return Unavailable(
        f"{name} was not compiled: the compiler was ended with {how}" + (f": {said.strip()}" if said else ""),
        code="cache.compiler_ended",
        hint="compiling takes memory, once: some 600 MB for the Python guest; give this process so much, or swap "
        "(`ulimit -a`, MemoryMax=), and `runloopd --prepare` compiles ahead",
    )


async def _whole(work: Awaitable[None]) -> None:
    """Wait for what a thread does to its end, also where nobody wants it any more: what it works on stays until then."""
    task = asyncio.ensure_future(work)
    try:
        await shielded(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@contextlib.contextmanager
def _usable(directory: Path) -> Iterator[None]:
    """Turn what the file system refuses (no right to write, no space, something else in the way) into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the cache of compiled guests cannot be used: {error.strerror or error}",
            code="cache.unusable", where=Where(file=error.filename if isinstance(error.filename, str) else str(directory)),
            hint="check owner, mode and free space of this directory, remove what is in the way, or set XDG_CACHE_HOME to another one",
        ) from error  # fmt: skip


def _only_ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077 and found.st_nlink == 1


def _read_ours(path: Path) -> bytes | None:
    """Read a file that only its owner, who must be us, can touch; None for any other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        if not _only_ours(os.fstat(descriptor)):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, directory: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise unlockable(error, directory) from error
    return True
