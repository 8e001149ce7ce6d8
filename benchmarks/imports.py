"""How fast each importer is: records/s and MB/s of a first import, of a second one that finds everything known, and the peak memory.

Run: `python benchmarks/imports.py [--small] [--runs N]`. Each import goes into a new base; the time covers reading, the durable append
and the derived tables with their search index, until the next reader could see it.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from pathlib import Path

from _base import Words
from _common import arguments, repeat, report
from _sources import write_contacts, write_mail, write_notes

from runloop.kb import KnowledgeBase
from runloop.kb.importers.calendar.importing import import_calendar
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.git import import_git
from runloop.kb.importers.mail.importing import import_mail
from runloop.kb.importers.notes import import_notes
from runloop.kb.importers.shell.importing import import_shell

COUNTS = {"contacts": 5000, "notes": 5000, "mail": 5000, "calendar": 2000, "git": 10_000, "shell": 20_000}


def write_calendar(path, count):
    with path.open("w") as file:
        file.write("BEGIN:VCALENDAR\n")
        for number in range(count):
            day = f"2026{1 + number % 12:02}{1 + number % 28:02}"
            file.write(
                f"BEGIN:VEVENT\nUID:{number}@x.example\nSUMMARY:Meeting {number}\nDTSTART;TZID=Europe/Berlin:{day}T093000\n"
                f"DTEND;TZID=Europe/Berlin:{day}T103000\nATTENDEE;CN=P{number % 99}:mailto:p{number % 99}@x.example\nEND:VEVENT\n"
            )
        file.write("END:VCALENDAR\n")


def write_shell(path, count):
    path.write_text("".join(f": {1_700_000_000 + n}:0;make target-{n} && grep -rn word{n % 97} src/ # {n}\n" for n in range(count)))


def write_repository(path, count):
    """A repository of so many commits, each changing one of a hundred files."""
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    with subprocess.Popen(["git", "-C", path, "fast-import", "--quiet"], stdin=subprocess.PIPE) as process:
        for number in range(count):
            message, content = f"Change {number}\n\nBecause of {number % 89}.\n".encode(), f"{number}\n".encode()
            process.stdin.write(
                b"commit refs/heads/main\ncommitter Ada <ada@x.example> %d +0000\ndata %d\n%s"
                % (1_600_000_000 + number, len(message), message)
                + b"M 100644 inline file-%d\ndata %d\n%s\n" % (number % 100, len(content), content)
            )


def sources(folder, counts):
    """What is imported: for each sort a function of a base, and how many bytes it reads."""
    words = Words()
    emails = write_contacts(words, folder / "contacts.vcf", counts["contacts"])
    write_notes(words, folder / "notes", counts["notes"])
    write_mail(words, folder / "mail.mbox", counts["mail"], emails)
    write_calendar(folder / "calendar.ics", counts["calendar"])
    write_shell(folder / "zsh_history", counts["shell"])
    write_repository(folder / "repository", counts["git"])
    return {
        "contacts": lambda kb: import_contacts(kb, [folder / "contacts.vcf"]),
        "notes": lambda kb: import_notes(kb, folder / "notes"),
        "mail": lambda kb: import_mail(kb, [folder / "mail.mbox"]),
        "calendar": lambda kb: import_calendar(kb, [folder / "calendar.ics"]),
        "git": lambda kb: import_git(kb, folder / "repository"),
        "shell": lambda kb: import_shell(kb, [folder / "zsh_history"]),
    }


def measure(importers):
    figures = {}
    for sort, run in importers.items():
        with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(Path(folder) / "pog") as kb:
            for name in ("first", "again"):
                began = time.perf_counter()
                done = run(kb)
                kb.sync()
                seconds = time.perf_counter() - began
                if done.refusals:
                    raise SystemExit(f"{sort}: {done.refused[:3]}")
                figures[f"{sort} {name} records/s"] = (done.taken + done.known) / seconds
                figures[f"{sort} {name} MB/s"] = done.read / seconds / 1e6
    return figures


def main():
    options = arguments(__doc__)
    counts = dict.fromkeys(COUNTS, 50) if options.small else COUNTS
    with tempfile.TemporaryDirectory() as folder:
        importers = sources(Path(folder), counts)
        figures = repeat(lambda: measure(importers), runs=1 if options.small else options.runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report("imports", figures, "apsw", "icalendar", counts=counts, peak_mb=round(peak))


if __name__ == "__main__":
    main()
