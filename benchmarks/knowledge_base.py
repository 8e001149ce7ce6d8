"""A knowledge base of a person's imports and runs: how large it is, how fast it grows, and what everything done with it costs.

Run: `python benchmarks/knowledge_base.py [--small] [--events 200000]`. The base is made by the importers out of files (contacts, notes,
mail, a calendar, a repository, a shell's history) and of runs: some really run here, the rest are copies of a recorded one. Afterwards
it must verify, and so must it after a prune and a restore. Times are of one pass over one base; search, why, timeline and query are asked
many times.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import apsw
import wasmtime
from _base import Words
from _common import arguments, percentile, report
from _daemon import COMMAND, Home, home
from _sources import (
    START_MS,
    YEAR_MS,
    RecordedRuns,
    make_repository,
    write_calendar,
    write_contacts,
    write_history,
    write_mail,
    write_notes,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from runs_throughput import OPENING

from runloop.config import load
from runloop.kb import KnowledgeBase
from runloop.kb.importers.calendar.importing import import_calendar
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.git import import_git
from runloop.kb.importers.mail.importing import import_mail
from runloop.kb.importers.notes import import_notes
from runloop.kb.importers.shell.importing import import_shell
from runloop.kb.keeping.backup import make_backup
from runloop.kb.keeping.restoring import restore
from runloop.kb.keeping.vacuuming import vacuum
from runloop.kb.pruning.prune import prune
from runloop.kb.pruning.restoring import restore_archive
from runloop.kb.search import Request
from runloop.kb.timeline import Span
from runloop.openings import parse_opening
from runloop.runs.compose import session
from runloop.runs.submission import Submission
from runloop.runs.telling import RunTelling

ASKED = 200
RUNS_AT_ONCE = 64
BATCH = 64


class Figures(dict):
    """What was measured, by name; said at once on stderr, for who waits."""

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        print(f"{name}: {value}", file=sys.stderr, flush=True)

    def timed(self, name, work):
        """The result of ``work``; its seconds are noted."""
        began = time.perf_counter()
        done = work()
        self[f"{name} s"] = round(time.perf_counter() - began, 3)
        return done

    def often(self, name, asked, ask):
        """Ask for each of ``asked``; the median and the 99th percentile of the milliseconds are noted."""
        took = []
        for each in asked:
            began = time.perf_counter()
            ask(each)
            took.append((time.perf_counter() - began) * 1000)
        self[f"{name} p50 ms"], self[f"{name} p99 ms"] = round(percentile(took, 50), 2), round(percentile(took, 99), 2)


def import_all(kb, figures, words, place, events):
    """More than a quarter of the events is what a person had before."""
    emails = write_contacts(words, place / "people.vcf", max(20, events // 100))
    write_notes(words, place / "notes", events * 3 // 20)
    write_mail(words, place / "mail.mbox", events // 20, emails)
    write_calendar(words, place / "dates.ics", events // 100)
    make_repository(words, place / "project", events // 40)
    write_history(words, place / "zsh_history", events // 20)
    for what, take in (
        ("contacts", lambda: import_contacts(kb, [place / "people.vcf"])),
        ("notes", lambda: import_notes(kb, place / "notes")),
        ("mail", lambda: import_mail(kb, [place / "mail.mbox"])),
        ("calendar", lambda: import_calendar(kb, [place / "dates.ics"])),
        ("git", lambda: import_git(kb, place / "project")),
        ("shell", lambda: import_shell(kb, [place / "zsh_history"])),
    ):
        taken = figures.timed(f"import {what}", take).taken
        figures[f"import {what} records/s"] = round(taken / figures[f"import {what} s"])
    return emails


async def really_run(made: Home, count: int) -> None:
    """Runs of two core WebAssembly agents, driven here."""
    opening = parse_opening(OPENING)
    async with session(load(env=made.env, cwd=made.root)) as here:

        async def one() -> None:
            await here.manager.drive(await here.manager.submit(Submission(opening, run_id=str(uuid.uuid4()))))

        for _ in range(count // RUNS_AT_ONCE):
            await asyncio.gather(*(one() for _ in range(RUNS_AT_ONCE)))


def copies(kb, figures, recorded, count):
    """Runs over a year, appended as runs append: a few records at a time, several at once."""
    began = time.perf_counter()
    for number in range(count):
        kb.ledger.append(recorded.one(START_MS + number * YEAR_MS // count), check=False)
    took = time.perf_counter() - began
    figures["append of recorded runs events/s"] = round(count * recorded.size / took)


def while_searched(kb, figures, recorded, words, seconds):
    """How fast events are taken while somebody searches all the time, and how long the searches take."""
    stop = threading.Event()
    counts = [0]

    def append():
        while not stop.is_set():
            run = recorded.one(START_MS + YEAR_MS)
            for at in range(0, len(run), BATCH):
                kb.ledger.append(run[at : at + BATCH], check=False)
                counts[0] += len(run[at : at + BATCH])

    appender = threading.Thread(target=append)
    began = time.perf_counter()
    appender.start()
    took = []
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        kb.search_for(Request(" ".join(words.some(2))))
        took.append((time.perf_counter() - start) * 1000)
    stop.set()
    appender.join()
    figures["ingest while searched events/s"] = round(counts[0] / (time.perf_counter() - began))
    figures["search while ingesting p50 ms"], figures["search while ingesting p99 ms"] = (
        round(percentile(took, each), 2) for each in (50, 99)
    )


def asked(kb, figures, words, emails):
    """Reads, many times each."""
    count = ASKED
    figures.often("search one word", (words.some(1)[0] for _ in range(count)), lambda text: kb.search_for(Request(text)))
    figures.often("search two words", (" ".join(words.some(2)) for _ in range(count)), lambda text: kb.search_for(Request(text)))
    figures.often("search prefix", (words.some(1)[0][:3] + "*" for _ in range(count)), lambda text: kb.search_for(Request(text)))
    runs = [row["run_id"] for row in kb.runs()]
    with kb.reading() as db:
        artifacts = [row[0] for row in db.execute("SELECT artifact_key FROM artifacts LIMIT 200")]
    telling = RunTelling(kb)
    figures.often("why of an artifact", artifacts, lambda key: kb.explain(f"artifact:{key}", telling))
    figures.often("timeline of a run", runs[:count], lambda run: kb.timeline(f"run:{run}", Span()))
    figures.often("timeline of everything", range(20), lambda _: kb.timeline(None, Span()))
    figures.often("runs", range(50), lambda _: kb.runs())
    for name, sql in (
        ("query, one run", f"SELECT node_id, status FROM run_nodes WHERE run_id = '{runs[0]}'"),
        ("query, a sum over all runs", "SELECT opening_name, status, count(*), sum(tokens) FROM runs GROUP BY 1, 2"),
        ("query, a person", f"SELECT name FROM contacts WHERE name LIKE '{emails[0][:4]}%'"),
    ):
        figures.often(name, range(10), lambda _, sql=sql: kb.query(sql, max_seconds=60))


def rebuilt(made, figures):
    """Rebuild in a process of its own, whose largest memory is then that of a rebuild."""
    done = subprocess.run(
        [sys.executable, __file__, "--rebuild", str(made.state / "pog")], stdout=subprocess.PIPE, check=True, env=made.env
    )
    said = json.loads(done.stdout)
    figures["rebuild s"], figures["rebuild events/s"] = round(said["seconds"], 2), round(said["events"] / said["seconds"])
    figures["memory of a process that opened the base MB"] = round(said["before_mb"], 1)
    figures["memory of the same after a rebuild MB"] = round(said["after_mb"], 1)


def rebuild_here(root):
    """What :func:`rebuilt` starts."""

    def peak():
        """Of this program alone: what getrusage says begins with what the one that started it had."""
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6

    with KnowledgeBase.open(root) as kb:
        kb.sync()
        before, began = peak(), time.perf_counter()
        events = kb.rebuild().applied
        print(json.dumps({"seconds": time.perf_counter() - began, "events": events, "before_mb": before, "after_mb": peak()}))


def past(kb, figures):
    """The first look at a time, with states that were kept as the base grew and without any; and a second one."""
    head = kb.ledger.head().id

    def look(place):
        with kb.at(place) as then:
            then.search_for(Request("plan"))

    places = head * 5 // 8, head * 7 // 8
    for place in places:
        figures.timed(f"a first look at {place * 100 // head} % of the events, from a kept state", lambda place=place: look(place))
    figures.timed("a second one", lambda: look(places[0]))
    kb._views.past.forget()  # noqa: SLF001 - as if none had been kept
    figures.timed("a first look at 62 % of the events, from nothing", lambda: look(places[0]))


def sound(kb, figures, name, *, views=True):
    """Verify all, and note how long that took."""
    found = figures.timed(name, lambda: kb.verify(views=views))
    if not found.ok:
        raise SystemExit(f"{name}: {found.broken}")
    chain = next(check for check in found.checks if check.name == "chain")
    figures[f"{name}, chain MB/s"] = round(found.bytes / 1000 / max(chain.ms, 1), 1)
    return found


def sizes(kb, figures, name):
    """Bytes on disk for an event that is there."""
    kb.sync()
    with kb.ledger.reading() as db:
        events = int(db.execute("SELECT count(*) FROM events").get)
    files = {path.name: _size(path) for path in (kb.ledger.path, kb.root / "pog.sqlite")}
    figures[f"{name}: events"] = events
    for file, size in files.items():
        figures[f"{name}: {file} MB"], figures[f"{name}: {file} bytes an event"] = round(size / 1e6, 1), round(size / events)


def _size(path):
    """Of a file once its log is folded in."""
    with apsw.Connection(str(path)) as db:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.close()
    return path.stat().st_size


def measure(made: Home, events: int, seconds: float) -> Figures:
    """Make the base, then do with it what there is to do."""
    figures, words = Figures(), Words()
    made.agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)))
    figures.timed("running", lambda: asyncio.run(really_run(made, max(64, events // 1000))))
    root, sources = made.state / "pog", made.root / "sources"
    sources.mkdir()
    with KnowledgeBase.open(root) as kb:
        began = time.perf_counter()
        emails = import_all(kb, figures, words, sources, events)
        recorded = RecordedRuns(words, emails)
        copies(kb, figures, recorded, max(8, (events - kb.ledger.head().id) // recorded.size + 1))
        figures.timed("views follow", kb.sync)
        figures["all of it s"] = round(time.perf_counter() - began, 1)
        sizes(kb, figures, "base")
        asked(kb, figures, words, emails)
        while_searched(kb, figures, recorded, words, seconds)
        sound(kb, figures, "verify")
        past(kb, figures)
    rebuilt(made, figures)
    copy = figures.timed("backup", lambda: make_backup(root / "events.sqlite", made.root / "backup", {}))
    with KnowledgeBase.open(root) as kb:
        plan, done = figures.timed(
            "prune of half of the year", lambda: prune(kb.ledger, START_MS + YEAR_MS // 2, key=Ed25519PrivateKey.generate())
        )
        figures["pruned events"], figures["archive MB"] = done.events, round(done.archive_bytes / 1e6, 1)
        figures["archive bytes an event"], figures["records that stayed"] = round(done.archive_bytes / done.events), plan.held
        figures["transactions of the prune"] = done.checkpoints
        figures.timed("views after the prune", kb.settle)
        sound(kb, figures, "verify after the prune")
        figures.timed("the archive taken back", lambda: restore_archive(kb.ledger, str(done.archive)))
        figures.timed("views after that", kb.settle)
        prune(kb.ledger, START_MS + YEAR_MS // 2, key=Ed25519PrivateKey.generate())
        kb.settle()
    figures.timed("vacuum", lambda: vacuum(root / "events.sqlite", [root / "pog.sqlite"]))
    with KnowledgeBase.open(root) as kb:
        sizes(kb, figures, "pruned")
    figures.timed("restore", lambda: restore(copy.path, root / "events.sqlite", [root / "pog.sqlite"], {}, made.root / "aside"))
    with KnowledgeBase.open(root) as kb:
        sound(kb, figures, "verify after the restore", views=False)
    return figures


def main() -> None:
    """Make a base and measure, or rebuild one for :func:`rebuilt`."""
    if sys.argv[1:2] == ["--rebuild"]:
        rebuild_here(sys.argv[2])
        return
    options = arguments(__doc__ or "", events="events of the base (200000)")
    events, seconds = (3000, 0.5) if options.small else (int(options.events or 200_000), 10.0)
    tempfile.tempdir = os.environ.get("RUNLOOP_BENCH_DIR")
    with home() as made:
        figures = measure(made, events, seconds)
    report("knowledge_base", figures, "apsw", "msgspec", "blake3", row=13)


if __name__ == "__main__":
    main()
