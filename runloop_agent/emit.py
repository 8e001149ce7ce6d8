"""What people see while the agent works, and the documents that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from runloop_agent._calls import CallError, call, carried
from runloop_agent._records import record

__all__ = ["Artifact", "artifact", "log", "progress"]

Level = Literal["debug", "info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A document that was kept, and the event that says so."""

    path: str
    blake3: str = ""
    sha256: str = ""
    event_id: int | None = None


def progress(text: str, fraction: float | None = None) -> None:
    """Say how far the work is; ``fraction`` is 0 to 1. Never fails."""
    try:
        call("emit.progress", {"text": text, "fraction": fraction})
    except CallError:
        return


def log(text: str, level: Level = "info") -> None:
    """One line for the run's log, of text or of what ``str()`` makes of it; ``print`` and ``logging`` come here too. Never fails."""
    try:
        call("emit.log", {"level": level, "text": carried(str(text))})
    except CallError:
        return


def artifact(name: str, text: str, *, kind: str | None = None, summary: str | None = None, sources: list[Any] | None = None) -> Artifact:
    """Keep a document with the run."""
    return record(Artifact, call("emit.artifact", {"name": name, "text": text, "kind": kind, "summary": summary, "sources": sources}))
