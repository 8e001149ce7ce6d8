"""Files of hundreds of megabytes: how fast each importer reads one, and how much memory it takes.

Run: `python benchmarks/import_huge.py [--small] [--megabytes 200]`. Each file is read in a process of its own, as a dry run: everything is
parsed, looked up and made into events, and nothing is written. Time is that of the processor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import arguments, report

from runloop.kb import KnowledgeBase
from runloop.kb.importers.calendar.importing import import_calendar
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.intake import How
from runloop.kb.importers.mail.importing import import_mail
from runloop.kb.importers.shell.importing import import_shell

TEXT = "the quick brown fox jumps over the lazy dog and writes it down " * 16
SORTS = {
    "vCard": (import_contacts, "a.vcf", "", "BEGIN:VCARD\nVERSION:4.0\nFN:P{n}\nEMAIL:p{n}@x.example\nNOTE:{text}\nEND:VCARD\n", ""),
    "CSV": (import_contacts, "a.csv", "name,email,notes\n", "P{n},p{n}@x.example,{text}\n", ""),
    "mbox": (import_mail, "a.mbox", "", "From a@x Fri Nov 20 09:30:00 2026\nSubject: s{n}\nFrom: p{n}@x.example\n\n{text}\n\n", ""),
    "iCalendar": (
        import_calendar,
        "a.ics",
        "BEGIN:VCALENDAR\n",
        "BEGIN:VEVENT\nUID:{n}@x\nSUMMARY:s{n}\nDESCRIPTION:{text}\nEND:VEVENT\n",
        "END:VCALENDAR\n",
    ),
    "shell": (import_shell, "bash_history", "", "echo {n} {text}\n", ""),
}


def read_one(sort: str, size: int) -> None:
    """Make a file of that many bytes, read it, and say how that went."""
    take, name, before, record, after = SORTS[sort]
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(Path(folder) / "pog") as kb:
        path = Path(folder) / name
        with path.open("w") as file:
            file.write(before)
            number = 0
            while number % 256 or file.tell() < size:
                file.write(record.format(n=number, text=TEXT))
                number += 1
            file.write(after)
        began, open_mb = time.process_time(), _peak_mb()
        found = take(kb, [path], How(dry_run=True))
        took = time.process_time() - began
        if found.taken != number or found.refusals:
            raise SystemExit(f"{sort}: {found.taken} of {number} records, {found.refused[:3]}")
        said = {"MB": round(path.stat().st_size / 1e6, 1), "records": number, "MB/s": round(path.stat().st_size / 1e6 / took, 1)}
        print(json.dumps({**said, "memory before MB": open_mb, "memory at most MB": _peak_mb()}))


def _peak_mb() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1000


def main() -> None:
    """Read each, in a process of its own."""
    if sys.argv[1:2] == ["--one"]:
        read_one(sys.argv[2], int(sys.argv[3]))
        return
    options = arguments(__doc__ or "", megabytes="size of each file (200)")
    size = 1_000_000 if options.small else int(options.megabytes or 200) * 1_000_000
    figures = {}
    for sort in SORTS:
        done = subprocess.run([sys.executable, __file__, "--one", sort, str(size)], stdout=subprocess.PIPE, check=True)
        figures[sort] = json.loads(done.stdout)
        print(sort, figures[sort], file=sys.stderr, flush=True)
    report("import_huge", figures, "apsw", "msgspec", "icalendar")


if __name__ == "__main__":
    main()
