"""Text files below the directories that the policy grants."""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from runloop_agent._calls import call
from runloop_agent._records import record

__all__ = ["Entry", "Listing", "TextFile", "Written", "list", "read", "write"]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text; ``bytes`` is its whole size, ``truncated`` says that ``max_bytes`` cut the text. In a text it is its own."""

    text: str
    path: str = ""
    bytes: int = 0
    blake3: str = ""
    truncated: bool = False

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


def read(path: str, *, max_bytes: int | None = None) -> TextFile:
    """Read one text file."""
    return record(TextFile, call("files.read", {"path": path, "max_bytes": max_bytes}))


def list(path: str, *, glob: str | None = None, limit: int | None = None) -> Listing:  # noqa: A001 - named as the hostcall is
    """List one directory, or what matches ``glob`` below it."""
    answer = call("files.list", {"path": path, "glob": glob, "limit": limit})
    return Listing([record(Entry, entry) for entry in answer.get("entries", [])], bool(answer.get("truncated", False)))


def write(path: str, text: str) -> Written:
    """Write one text file; the previous content is kept, so it can be undone."""
    return record(Written, call("files.write", {"path": path, "text": text}))
