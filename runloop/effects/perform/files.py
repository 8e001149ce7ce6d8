"""``files.read`` and ``files.list``: text files and directories under granted roots."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.perform.paths import PathRules, directory, kind_of, read_up_to, refused, regular_file
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, invalid
from runloop.errors import Where

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_READ_BYTES = 1 << 20
DEFAULT_LIST_LIMIT = 1000
_BY_NAME = "it is compared with the names in this one directory, such as *.md; list the directories below it one by one"
_MOST_CONTINUATION_BYTES = 3  # of one UTF-8 character that a cut may leave behind


def decode_text(path: str, data: bytes, *, cut: bool, offset: int = 0) -> str:
    """The text of a file's bytes from ``offset`` on; where they were ``cut``, a character that is not whole at their end is left out.

    Raises:
        CallError: ``invalid`` with the position of the first byte that is not UTF-8, and its line where the file was read from its start.

    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if cut and len(data) - error.start <= _MOST_CONTINUATION_BYTES and error.reason == "unexpected end of data":
            return data[: error.start].decode()
        line = None if offset else data.count(b"\n", 0, error.start) + 1
        raise CallError(
            CallErrorKind.INVALID,
            f"{path} is not UTF-8 text: byte {offset + error.start} (0x{data[error.start]:02x}) is not part of a character",
            code="files.not_text",
            hint="convert the file to UTF-8, or choose a text file",
            where=Where(file=path, line=line),
        ) from None


def _split_at_start(data: bytes) -> int:
    """How many bytes at the start belong to a character that began before them."""
    most = data[:_MOST_CONTINUATION_BYTES]
    return next((index for index, byte in enumerate(most) if byte & 0xC0 != 0x80), len(most))


class FilesRead:
    """Reads a text file, at most ``max_bytes`` of it, from ``offset`` on or from that many bytes before its end.

    What is given are whole characters: one that the offset, the bound or a writer at work split is left out. ``bytes`` and ``blake3``
    are those of the text, so the next part begins at ``offset + bytes``.
    """

    def __init__(self, rules: PathRules) -> None:
        self._rules = rules

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the path is granted."""
        path = self._rules.judge(args["path"], ctx.caps, write=False)
        data = {"path": args["path"], "max_bytes": args.get("max_bytes", DEFAULT_READ_BYTES), "offset": args.get("offset")}
        return Prepared("files.read", EffectClass.READ, f"read {path.real}", data=data)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Read, off the event loop."""
        data = prepared.data
        return await asyncio.to_thread(self._read, data["path"], data["max_bytes"], data["offset"], ctx)

    def _read(self, asked: str, limit: int, offset: int | None, ctx: CallContext) -> Outcome:
        path = self._rules.judge(asked, ctx.caps, write=False)
        try:
            with regular_file(path.real) as (handle, status):
                start = offset or 0
                start = start if start >= 0 else max(0, status.st_size + start)
                data = read_up_to(handle, limit + 1, start)
        except OSError as error:
            raise refused(path.shown, error) from error
        truncated, data = len(data) > limit, data[:limit]
        skipped = _split_at_start(data) if start else 0
        start, data = start + skipped, data[skipped:]
        labels = frozenset({f"file:{path.real}"})
        try:
            text = decode_text(path.shown, data, cut=truncated or offset is not None, offset=start)
        except CallError as error:
            error.taint |= labels  # it names a byte of the file, and where it stands
            raise
        given = text.encode()
        result = {"text": text, "path": path.shown, "bytes": len(given), "blake3": blake3(given).hexdigest(), "truncated": truncated}
        size = max(status.st_size, start + len(given)) if given else status.st_size  # it may have grown since, and /proc says 0
        return Outcome(result | {"offset": start, "size": size}, taint=labels)


class FilesList:
    """Lists a directory by name, links as links, without entering any."""

    def __init__(self, rules: PathRules) -> None:
        self._rules = rules

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the path is granted."""
        path = self._rules.judge(args["path"], ctx.caps, write=False)
        if "/" in args.get("glob", ""):
            raise invalid("glob holds a '/', which no name does", key="glob", hint=_BY_NAME, code="files.glob")
        data = {"path": args["path"], "glob": args.get("glob"), "limit": args.get("limit", DEFAULT_LIST_LIMIT)}
        return Prepared("files.list", EffectClass.READ, f"list {path.real}", data=data)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """List, off the event loop."""
        data = prepared.data
        return await asyncio.to_thread(self._list, data["path"], data["glob"], data["limit"], ctx)

    def _list(self, asked: str, glob: str | None, limit: int, ctx: CallContext) -> Outcome:
        path = self._rules.judge(asked, ctx.caps, write=False)
        entries: list[dict[str, Any]] = []
        try:
            with directory(path.real) as walked:
                handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walked)
                try:
                    with os.scandir(handle) as found:
                        names = sorted((item for item in found if _wanted(item.name, glob)), key=lambda item: item.name)
                    truncated = len(names) > limit
                    for item in names[:limit]:
                        with suppress(FileNotFoundError):  # removed since the listing
                            entries.append(_entry(path.shown, item.name, handle))
                finally:
                    os.close(handle)
        except OSError as error:
            raise refused(path.shown, error) from error
        return Outcome({"entries": entries, "truncated": truncated}, taint=frozenset({f"file:{path.real}"}))


def _wanted(name: str, glob: str | None) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # a name in another encoding could not be asked for again
        return False
    return glob is None or fnmatchcase(name, glob)


def _entry(parent: str, name: str, handle: int) -> dict[str, Any]:
    status = os.stat(name, dir_fd=handle, follow_symlinks=False)
    return {
        "path": f"{parent.rstrip('/')}/{name}",
        "kind": kind_of(status.st_mode),
        "bytes": status.st_size,
        "mtime_ms": status.st_mtime_ns // 1_000_000,
    }
