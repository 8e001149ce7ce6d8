"""What a person has, as files: in the vocabulary of :class:`_base.Words`; and runs as they were recorded.

The runs are copies of one that really ran (``tests/data/golden``): each has ids, a time, a person and a topic of its own.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.events import NewEvent
from runloop.runs.archives.archive import open_archive

if TYPE_CHECKING:
    from _base import Words

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "data" / "golden" / "compose_email.rlz"
YEAR_MS = 365 * 86_400_000
START_MS = 1_760_000_000_000


def write_contacts(words: Words, path: Path, count: int) -> list[str]:
    """A vCard file; the addresses."""
    emails = []
    with path.open("w") as file:
        for number in range(count):
            first, last, org = (word.capitalize() for word in words.random.choices(words.all, k=3))
            emails.append(f"{first}.{last}{number}@{org}.example".lower())
            file.write(f"BEGIN:VCARD\nVERSION:3.0\nFN:{first} {last}\nORG:{org}\nEMAIL;TYPE=work:{emails[-1]}\nEND:VCARD\n")
    return emails


def write_notes(words: Words, directory: Path, passages: int, of_a_file: int = 20) -> None:
    """Markdown files, each with so many passages."""
    directory.mkdir()
    for number in range(passages // of_a_file):
        parts = [f"## {' '.join(words.some(3))}\n\n{words.text(words.random.randint(30, 90))}\n" for _ in range(of_a_file)]
        (directory / f"{number:05d}.md").write_text("\n".join(parts))


def write_mail(words: Words, path: Path, count: int, emails: list[str]) -> None:
    """An mbox."""
    with path.open("wb") as file:
        for number in range(count):
            when = dt.datetime.fromtimestamp(START_MS / 1000 + number * 600, dt.UTC)
            message = EmailMessage()
            message["From"], message["To"] = words.random.choice(emails), words.random.choice(emails)
            message["Subject"] = " ".join(words.some(4))
            message["Date"] = format_datetime(when)
            message["Message-ID"] = f"<{number}.{words.uuid()}@bench.example>"
            message.set_content(words.text(words.random.randint(60, 300)))
            file.write(b"From bench@example.com " + when.strftime("%a %b %d %H:%M:%S %Y").encode() + b"\n")
            file.write(bytes(message).replace(b"\nFrom ", b"\n>From ") + b"\n")


def write_calendar(words: Words, path: Path, count: int) -> None:
    """An iCalendar file."""
    with path.open("w", newline="\r\n") as file:
        file.write("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//bench//EN\n")
        for number in range(count):
            when = dt.datetime.fromtimestamp(START_MS / 1000 + number * 3600, dt.UTC)
            times = f"DTSTAMP:{when:%Y%m%dT%H%M%SZ}\nDTSTART:{when:%Y%m%dT%H%M%SZ}\nDURATION:PT1H\n"
            file.write(f"BEGIN:VEVENT\nUID:{words.uuid()}\n{times}SUMMARY:{' '.join(words.some(4))}\nEND:VEVENT\n")
        file.write("END:VCALENDAR\n")


def make_repository(words: Words, directory: Path, commits: int) -> None:
    """A git repository with so many commits, each to one of a hundred files."""
    directory.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=directory, check=True)
    lines = []
    for number in range(commits):
        message, content = " ".join(words.some(8)), words.text(20)
        when = f"{START_MS // 1000 + number * 60} +0000"
        lines += ["commit refs/heads/main", f"committer Ada <ada@bench.example> {when}", f"data {len(message)}", message]
        lines += [f"M 100644 inline {number % 100}.txt", f"data {len(content)}", content]
    stream = "\n".join([*lines, "done", ""]).encode()
    subprocess.run(["git", "fast-import", "--quiet", "--done"], cwd=directory, input=stream, check=True)


def write_history(words: Words, path: Path, count: int) -> None:
    """A history of zsh with times."""
    with path.open("w") as file:
        for number in range(count):
            file.write(
                f": {START_MS // 1000 + number * 30}:0;{words.random.choice(('ls', 'grep', 'git log', 'make'))} {' '.join(words.some(3))}\n"
            )


class RecordedRuns:
    """Copies of a run that was recorded."""

    def __init__(self, words: Words, emails: list[str]) -> None:
        archive = open_archive(GOLDEN)
        self._words, self._emails, self._old = words, emails, archive.root
        self._records = [archive.full(event) for event in archive.read_run(archive.root)]
        self._texts = [json.dumps(dict(event.payload)) for event in self._records]
        self._made = next(event.payload["meta"] for event in self._records if event.kind == "artifact.created")
        self.size = len(self._records)

    def one(self, at_ms: int) -> list[NewEvent]:
        """The records of another run, which began at that time, in Unix milliseconds."""
        words, run_id, began = self._words, self._words.uuid(), self._records[0].ts_ms
        topic, org = " ".join(words.some(3)), words.some(1)[0].capitalize()
        changes = {
            self._old: run_id,
            self._records[0].payload["opening_id"]: f"opening:{words.uuid()}",
            self._made["sha256"]: f"{words.random.getrandbits(256):064x}",
            self._made["blake3"]: f"{words.random.getrandbits(256):064x}",
            "MARIA.LEE@ACME.EXAMPLE": words.random.choice(self._emails),
            "Q4 launch plan": topic,
            "Acme": org,
        }
        made = []
        for event, recorded in zip(self._records, self._texts, strict=True):
            text = recorded
            for old, new in changes.items():
                text = text.replace(old, new)
            provenance = {**event.provenance, "trace_id": f"trace:{run_id}"}
            made.append(NewEvent(event.kind, json.loads(text), event.actor, event.scope, provenance, at_ms + event.ts_ms - began))
        return made
