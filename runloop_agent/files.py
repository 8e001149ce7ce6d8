"""Text files below the directories that the policy grants."""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from runloop_agent._calls import call
from runloop_agent._records import record
from runloop_agent.emit import log

__all__ = ["Entry", "Listing", "TextFile", "Written", "list", "read", "write"]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text; ``bytes`` is how many it has, ``truncated`` says that ``max_bytes`` cut the rest off. In a text it is its own.

    It begins at byte ``offset`` of the file, which had ``size`` bytes when it was read.
    """

    text: str
    path: str = ""
    bytes: int = 0
    blake3: str = ""
    truncated: bool = False
    offset: int = 0
    size: int = 0

    @property
    def end(self) -> int:
        """The byte behind the text: the ``offset`` to read on from."""
        return self.offset + self.bytes

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory; ``kind`` is file, directory, link or other."""

    path: str
    kind: str = "file"
    bytes: int = 0
    mtime_ms: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of a directory; ``truncated`` says that there are more."""

    entries: builtins.list[Entry]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left behind; ``previous`` names the kept old content, or is None for a new file."""

    path: str
    bytes: int = 0
    blake3: str = ""
    previous: str | None = None


def read(path: str, *, max_bytes: int | None = None, offset: int | None = None) -> TextFile:
    """Read one text file, or its part from byte ``offset`` on; a negative one counts from the end.

    Without ``max_bytes`` a longer one than 1 MiB is cut, and the log says so.
    """
    found = record(TextFile, call("files.read", {"path": path, "max_bytes": max_bytes, "offset": offset}))
    if found.truncated and max_bytes is None:
        part = (
            f"{found.bytes:,} bytes of {path} from byte {found.offset:,} on"
            if found.offset
            else f"the first {found.bytes:,} bytes of {path}"
        )
        log(f"files.read gave only {part}; offset={found.end} reads on, and max_bytes=8_388_608 is the most that one call gives", "warn")
    return found


def list(path: str, *, glob: str | None = None, limit: int | None = None) -> Listing:  # noqa: A001 - named as the hostcall is
    """List one directory, or those of its names that match ``glob``.

    Without ``limit`` no more than 1,000 entries; where there are more, the log says so.
    """
    answer = call("files.list", {"path": path, "glob": glob, "limit": limit})
    found = Listing([record(Entry, entry) for entry in answer.get("entries", [])], bool(answer.get("truncated", False)))
    if found.truncated and limit is None:
        log(f"files.list gave only {len(found.entries):,} entries of {path}; limit=10_000 is the most that one call gives", "warn")
    return found


def write(path: str, text: str) -> Written:
    """Write one text file; the previous content is kept, so it can be undone."""
    return record(Written, call("files.write", {"path": path, "text": text}))
