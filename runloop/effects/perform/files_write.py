"""``files.write``: a text file replaced whole, its previous content kept so that the writing can be undone."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.perform.paths import Granted, PathRules, directory, on_one_line, read_up_to, refused, regular_file, require_regular
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Evidence, Outcome, Prepared
from runloop.errors import Where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.perform.ports import BlobStore

MOST_PREVIOUS_BYTES = 64 << 20  # more is not kept, so it is not overwritten either
NEW_FILE_MODE = 0o600
_NEW = "new"


class FilesWrite:
    """Writes a text file under a writable root; refuses when the file changed after it was shown to the person."""

    def __init__(self, rules: PathRules, blobs: BlobStore) -> None:
        self._rules, self._blobs = rules, blobs

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the path is granted; the content is the path, what it replaces, and the whole text."""
        path = self._rules.judge(args["path"], ctx.caps, write=True)
        version = _version(path.real, path.shown)
        size = len(args["text"].encode())
        replaces = "a new file" if version == _NEW else _replacing(path)
        what = f"write {on_one_line(path.real)} ({size} bytes, {replaces})\n\n{args['text']}"
        data = {"path": args["path"], "real": path.real, "text": args["text"], "version": version}
        return Prepared("files.write", EffectClass.EXTERNAL, what, (path.real,), external=True, reversible=True, data=data)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Keep the previous content, then replace the file, off the event loop."""
        return await asyncio.to_thread(self._write, prepared.data, ctx)

    async def evidence(self, prepared: Prepared, ctx: CallContext) -> Evidence:
        """As :class:`runloop.effects.types.Witness`: what stands at the path now, and since when."""
        return await asyncio.to_thread(_look, prepared.data, ctx.asked_ms or 0)

    def _write(self, data: Mapping[str, Any], ctx: CallContext) -> Outcome:
        path = self._rules.judge(data["path"], ctx.caps, write=True)
        if path.real != data["real"] or _version(path.real, path.shown) != data["version"]:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"{path.shown} changed after the writing was prepared",
                code="files.changed",
                hint="read it again and write anew",
                where=Where(key="path"),
            )
        content = data["text"].encode()
        try:
            previous = None if data["version"] == _NEW else self._blobs.put(_previous(path.real))
            replace_file(path.real, content)
        except OSError as error:
            raise refused(path.shown, error) from error
        return Outcome({"path": path.shown, "bytes": len(content), "blake3": blake3(content).hexdigest(), "previous": previous})


def _look(data: Mapping[str, Any], asked_ms: int) -> Evidence:
    """The file is replaced whole and at once, so what stands there is the old content, the new one, or somebody else's."""
    real, content = data["real"], data["text"].encode()
    try:
        with regular_file(real) as (handle, status):
            there = read_up_to(handle, len(content) + 1)
    except FileNotFoundError:
        return Evidence(False, f"{real} is not there")
    except OSError as error:
        return Evidence(None, f"{real} cannot be read: {error.strerror or error}")
    if there == content:
        outcome = Outcome({"path": real, "bytes": len(content), "blake3": blake3(content).hexdigest(), "previous": None})
        return Evidence(True, f"{real} holds the text", outcome)
    if status.st_ctime_ns < asked_ms * 1_000_000:  # what is moved there keeps its time of modification
        return Evidence(False, f"{real} has not changed since")
    return Evidence(None, f"{real} holds another text, changed after the writing was asked for")


def _version(real: str, shown: str) -> str:
    """Which file stands at the path: what may be replaced is the one that was there when the person was asked."""
    try:
        status = os.lstat(real)
    except FileNotFoundError:
        return _NEW
    except OSError as error:
        raise refused(shown, error) from error
    require_regular(shown, status)
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _replacing(path: Granted) -> str:
    """What is replaced, by its content: one approval answers for no other, also where it is prepared anew in another process."""
    try:
        content = _previous(path.real)
    except OSError as error:
        raise refused(path.shown, error) from error
    return f"replacing {len(content)} bytes, blake3:{blake3(content).hexdigest()[:32]}"


def _previous(real: str) -> bytes:
    with regular_file(real) as (handle, _):
        content = read_up_to(handle, MOST_PREVIOUS_BYTES + 1)
    if len(content) > MOST_PREVIOUS_BYTES:
        raise CallError(
            CallErrorKind.INVALID,
            f"{real} is larger than {MOST_PREVIOUS_BYTES} bytes, so its content could not be kept for an undo",
            code="files.too_large",
            hint="move the file away first",
            where=Where(key="path"),
        )
    return content


def replace_file(real: str, content: bytes) -> None:
    """Put the content at a resolved path, whole and at once. Blocking; raises OSError."""
    parent, name = os.path.split(real)
    part = f".{secrets.token_hex(8)}.part"  # without the name, which may be as long as a name can be
    with directory(parent) as walked:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, NEW_FILE_MODE, dir_fd=walked)
        try:
            try:
                with suppress(FileNotFoundError):
                    os.fchmod(handle, os.stat(name, dir_fd=walked, follow_symlinks=False).st_mode & 0o777)
                _write_all(handle, content)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.rename(part, name, src_dir_fd=walked, dst_dir_fd=walked)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=walked)
            raise
        _sync(walked)


def remove_file(real: str) -> None:
    """Let nothing stand at a resolved path. Blocking; raises OSError."""
    parent, name = os.path.split(real)
    with directory(parent) as walked:
        os.unlink(name, dir_fd=walked)
        _sync(walked)


def _sync(walked: int) -> None:
    above = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walked)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
