"""What an import took and what it refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """A record that was not taken: where it starts (line from 1, None for the whole file) and why."""

    file: str
    line: int | None
    reason: str


@dataclass(slots=True)
class ImportReport:
    """Counts of records, the refused ones one by one, and the ids of the events that were written."""

    what: str
    source: str
    files: int = 0
    taken: int = 0
    known: int = 0
    removed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    event_ids: list[int] = field(default_factory=list)

    def refuse(self, file: str, line: int | None, reason: str) -> None:
        """Note a record that was not taken."""
        self.refused.append(Refusal(file, line, reason))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "what": self.what,
            "source": self.source,
            "files": self.files,
            "taken": self.taken,
            "known": self.known,
            "removed": self.removed,
            "refused": [refusal._asdict() for refusal in self.refused],
            "event_ids": self.event_ids,
        }
