"""What an import took and what it refused, and how far it is."""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

from runloop.dataclass import dataclass

MAX_LISTED = 10_000  # refusals and remarks that are kept one by one; further ones are counted


class Refusal(NamedTuple):
    """A record that was not taken: where it starts (line from 1, None for the whole file) and why.

    Also used for remarks: a record that was taken, although something in it could not be read.
    """

    file: str
    line: int | None
    reason: str


@dataclass(slots=True)
class ImportReport:
    """Counts of records, the refused ones one by one, and the events that were written.

    ``taken`` are new or changed records, ``changed`` those among them that were something else before; ``scrubbed`` counts secrets that
    were taken out. ``read`` of ``total`` bytes is how far the import is, with a total of 0 where nobody knows it.
    """

    what: str
    source: str
    dry_run: bool = False
    interrupted: bool = False
    files: int = 0
    taken: int = 0
    changed: int = 0
    known: int = 0
    removed: int = 0
    scrubbed: int = 0
    accounts: int = 0
    """New or changed accounts of the contacts that were read."""
    refusals: int = 0
    read: int = 0
    total: int = 0
    refused: list[Refusal] = field(default_factory=list)
    remarks: list[Refusal] = field(default_factory=list)
    events: list[tuple[int, int]] = field(default_factory=list)
    troubled: set[str] = field(default_factory=set)
    """Files of which something could not be read: what is missing from them may be there after all."""

    def refuse(self, file: str, line: int | None, reason: str, *, read: bool = False) -> None:
        """Note a record that was not taken; ``read`` when it could be read, so that nothing is hidden by it."""
        self.refusals += 1
        if not read:
            self.troubled.add(file)
        if len(self.refused) < MAX_LISTED:
            self.refused.append(Refusal(file, line, reason))

    def remark(self, file: str, line: int | None, reason: str) -> None:
        """Note what of a record could not be read."""
        if len(self.remarks) < MAX_LISTED:
            self.remarks.append(Refusal(file, line, reason))

    def add(self, accounts: ImportReport) -> None:
        """Count what an import of the contacts' accounts did."""
        self.accounts = accounts.taken
        for refusal in accounts.refused:
            self.refuse(*refusal, read=True)
        self.events += accounts.events

    def wrote(self, event_id: int) -> None:
        """Note an event that this import wrote: ``events`` are ranges of ids, first and last."""
        if self.events and self.events[-1][1] == event_id - 1:
            self.events[-1] = (self.events[-1][0], event_id)
        else:
            self.events.append((event_id, event_id))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "what": self.what,
            "source": self.source,
            "dry_run": self.dry_run,
            "interrupted": self.interrupted,
            "files": self.files,
            "bytes": self.read,
            "taken": self.taken,
            "changed": self.changed,
            "known": self.known,
            "removed": self.removed,
            "scrubbed": self.scrubbed,
            "accounts": self.accounts,
            "refusals": self.refusals,
            "refused": [refusal._asdict() for refusal in self.refused],
            "remarks": [remark._asdict() for remark in self.remarks],
            "events": [list(each) for each in self.events],
        }
