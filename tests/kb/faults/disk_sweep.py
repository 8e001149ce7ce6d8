"""The real ledger over the faulty disk: a session of appends, a fault or a power cut anywhere in it, and what must hold afterwards.

As a script (`scripts/sim-disk`) it tries random points until its time is over; the seed of a failure repeats it.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

import apsw
from faulty_disk import HOW, Disk, Fault, FaultyVFS, chance, faulty, follow, pieces_of

from runloop.errors import RunloopError
from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events.records import NodeFinished, RunStarted, Versions
from runloop.kb import Ledger, log_room, numbers, store, writer

FILE = "events.sqlite"
RUN = RunIdentity(
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "trace:7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
    "o",
)
SESSIONS = ("alone", "read", "shared")
"""One process; one whose readers keep the log's index alive; two processes that write in turn."""
TRIES = 12  # a fault that keeps a ledger from being opened lasts no longer than this
ERRORS = {"kb.io", "kb.disk_full", "kb.seq_taken", "kb.seq_missing", "ledger.failed"}
"""What an append may end with."""


@dataclass
class Append:
    """One submission: its events carry its name; what came of it."""

    name: str
    events: list[NewEvent]
    stored: list | None = None
    error: RunloopError | None = None


@dataclass
class Session:
    """What was asked of the ledger, and every step of the disk meanwhile."""

    kind: str
    appends: list[Append] = field(default_factory=list)
    steps: list = field(default_factory=list)
    calls: int = 0
    failed: list[str] = field(default_factory=list)
    refused: list[RunloopError] = field(default_factory=list)


def appends(kind: str) -> list[Append]:
    """Small and large, one event and several, with and without a key and a blob, facts and numbered records of a run."""
    made = []
    seq = 0
    for number in range(14):
        name = f"{kind}-{number}"
        events = [fact(f"{name}/{part}", "x" * (2500 if number % 5 == 3 else 20)) for part in range(1 + number % 3)]
        if number % 2:
            seq += 1
            meta = NodeFinished(name, 1, "ok", {"out": [name * (4000 if number == 7 else 1)]})
            started = RunStarted("d", {"name": name}, Versions("0"), "local")
            events.append(run_event(RUN, seq, "run.started" if seq == 1 else "node.finished", started if seq == 1 else meta, name))
        made.append(Append(name, events))
    return made


def fact(name: str, text: str) -> NewEvent:
    key = name if name.endswith("/1") else None
    return NewEvent("contact.upserted", {"name": name, "email": "a@example.com", "source": text}, "user", "user", {}, 1, key)


@contextmanager
def hurried(idle: threading.Semaphore):
    """Everything that happens once in many megabytes or seconds happens all the time; ``idle`` is released after each batch."""
    tend = store.Store.tend

    def tend_and_tell(self):
        try:
            tend(self)
        finally:
            idle.release()

    with ExitStack() as stack:
        for owner, name, value in (
            (store.Store, "tend", tend_and_tell),
            (store, "CHECKPOINT_PAGES", 12),
            (log_room, "CHECKPOINT_PAGES", 12),
            (log_room, "_FROM_PAGES", 4),
            (log_room, "_LEAST_BYTES", 1 << 13),
            (log_room, "_STEP_BYTES", 1 << 14),
            (log_room, "_WRITE_BYTES", 1 << 13),
            (numbers, "SAVE_EVERY", 5),
            (writer, "FIRST_RETRY_S", 0),
            (writer, "LAST_RETRY_S", 0),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def hold(folder: Path, kind: str, fault: Fault | None = None) -> Session:
    """Hold a session in an empty folder, with the fault."""
    session = Session(kind)
    idle = threading.Semaphore(0)
    with hurried(idle), faulty() as vfs:
        vfs.fault = fault
        path = folder / FILE
        work = appends(kind)
        half = len(work) // 2
        for part in (work[:half], work[half:]):  # closed and opened again in between
            with _opened(vfs, session, path, 2 if kind == "shared" else 1) as ledgers:
                for number, each in enumerate(part):
                    _append(vfs, session, ledgers[number % len(ledgers)], each)
                    idle.acquire()  # one step of the disk at a time, so that a point can be repeated
                    if kind == "read":
                        _quietly(session, ledgers[0].read)
        session.steps, session.calls, session.failed = vfs.steps, vfs.calls, vfs.failed
    return session


@contextmanager
def _opened(vfs: FaultyVFS, session: Session, path: Path, count: int):
    """So many ledgers on the file, as two processes would have them."""
    with ExitStack() as stack:
        ledgers = []
        for _ in range(count):
            for attempt in range(TRIES + 1):
                if attempt == TRIES and vfs.fault is not None:
                    vfs.fault.times = 0
                try:
                    ledgers.append(stack.enter_context(Ledger.open(path, busy_ms=1000)))
                    break
                except RunloopError as error:
                    session.refused.append(error)
                    if attempt == TRIES:
                        raise
        yield ledgers


def _append(vfs: FaultyVFS, session: Session, ledger: Ledger, each: Append) -> None:
    """Append, and on a disk that stays full make room after a while; the result is noted between the disk's steps."""
    news: queue.SimpleQueue = queue.SimpleQueue()
    ledger.watch(news.put)
    session.appends.append(each)
    vfs.note(f"asked {each.name}")
    future = ledger.submit(each.events)

    def decided(_):
        each.error = future.exception()
        each.stored = None if each.error else future.result()
        vfs.note(f"{'failed' if each.error else 'stored'} {each.name}")  # on the writer's thread, before its next step
        news.put(future)

    future.add_done_callback(decided)
    while news.get() is not future:
        if vfs.fault is not None and vfs.fault.times > 100:
            vfs.fault.times = 3  # there will be room soon
        ledger.poke()


def _quietly(session: Session, action) -> None:
    try:
        action()
    except RunloopError as error:
        session.refused.append(error)


# ── what must hold ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check(folder: Path, asked: list[Append], acknowledged: list[Append]) -> None:
    """Open what is left with nothing in between: intact, everything acknowledged there, nothing twice, everything whole, and it goes on."""
    with Ledger.open(folder / FILE) as ledger:
        found = ledger.read(limit=10_000)
        for each in acknowledged:
            for event in each.stored:
                there = found[event.id - 1] if event.id <= len(found) else None
                assert there is not None, f"acknowledged event {event.id} of {each.name} is missing: {len(found)} events are left"
                assert there.chain_hash == event.chain_hash, f"event {event.id} is another than was acknowledged to {each.name}"
        texts = [event.payload.get("name") or event.payload["message"] for event in found]
        assert len(texts) == len(set(texts)), f"stored twice: {sorted(text for text in texts if texts.count(text) > 1)}"
        for each in asked:
            own = [event.payload.get("name") or event.payload["message"] for event in each.events]
            there = [text for text in texts if text in own]
            assert there in ([], own), f"{each.name} is there in part: {there} of {own}"
        known = {text for each in asked for event in each.events for text in [event.payload.get("name") or event.payload["message"]]}
        assert set(texts) <= known, "there is something that nobody asked for"
        report = ledger.verify()
        assert report.ok, report.broken
        ledger.append([fact("after", "it goes on")])
        assert ledger.verify().ok


def check_session(folder: Path, session: Session) -> None:
    """As :func:`check` for a session that came to its end, and that every error was one of those that are promised."""
    for each in session.appends:
        assert (each.stored is None) != (each.error is None)
        assert each.error is None or each.error.code in {"kb.io", "kb.disk_full", "kb.seq_taken", "kb.seq_missing", "ledger.failed"}, (
            each.error.to_dict()
        )
    check(folder, session.appends, [each for each in session.appends if each.stored is not None])


def cut(session: Session, at: int, how: str, random: Random) -> dict[str, bytes]:
    """The files after the power failed before step ``at``."""
    disk = Disk()
    for step in session.steps[:at]:
        if step[0] != "note":
            follow(disk, step, chance(how, random, 20))
    return disk.left(chance(how, random, pieces_of(disk)), random)


def check_cut(session: Session, at: int, how: str, random: Random, scratch: Path) -> None:
    """Cut the power before step ``at`` and check what is left against what had been acknowledged by then."""
    notes = {step[1] for step in session.steps[:at] if step[0] == "note"}
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        for file, data in cut(session, at, how, random).items():
            (folder / file).write_bytes(data)
        asked = [each for each in session.appends if f"asked {each.name}" in notes]
        check(folder, asked, [each for each in asked if f"stored {each.name}" in notes])


# ── points ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

FAULTS = {
    "device": lambda at: Fault(at, apsw.SQLITE_IOERR),
    "device for a while": lambda at: Fault(at, apsw.SQLITE_IOERR, times=3),
    "half of a write": lambda at: Fault(at, apsw.SQLITE_IOERR, short=True, on=frozenset({"write"})),
    "sync": lambda at: Fault(at, apsw.SQLITE_IOERR_FSYNC, on=frozenset({"sync"})),
    "sync for a while": lambda at: Fault(at, apsw.SQLITE_IOERR_FSYNC, times=4, on=frozenset({"sync"})),
    "full": lambda at: Fault(at, apsw.SQLITE_FULL),
    "full after half of a write": lambda at: Fault(at, apsw.SQLITE_FULL, short=True, on=frozenset({"write"})),
    "full until there is room": lambda at: Fault(at, apsw.SQLITE_FULL, times=1 << 30, on=frozenset({"write", "truncate"})),
}


@dataclass(frozen=True)
class Point:
    """One try: a session, a fault in it (or none), and power cuts at so many places of it."""

    kind: str
    fault: str | None
    at: int
    cuts: int
    seed: int

    def run(self, scratch: Path) -> int:
        """Try it; how many states of the disk were checked. Raises AssertionError."""
        random = Random(repr(self))
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            session = hold(Path(name), self.kind, None if self.fault is None else FAULTS[self.fault](self.at))
            check_session(Path(name), session)
        for _ in range(self.cuts):
            check_cut(session, random.randint(0, len(session.steps)), random.choice(HOW), random, scratch)
        return 1 + self.cuts


def calls(kind: str, scratch: Path) -> int:
    """How many calls a session makes that could fail."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        return hold(Path(name), kind).calls


def random_point(seed: int, counts: dict[str, int]) -> Point:
    random = Random(seed)
    kind = random.choice(SESSIONS)
    return Point(kind, random.choice([None, *FAULTS]), random.randrange(counts[kind]), random.randint(1, 6), seed)


def main() -> int:
    """Try random points for so many seconds."""
    parser = argparse.ArgumentParser(prog="sim-disk", description="Try disk faults and power cuts on the real ledger at random.")
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--seed", type=int, help="try this seed only")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="runloop-sim-disk-", dir=memory if memory.is_dir() else None) as name:
        scratch = Path(name)
        counts = {kind: calls(kind, scratch) for kind in SESSIONS}
        first = Random().randrange(1 << 40) if options.seed is None else options.seed
        until = time.monotonic() + options.seconds
        tried = states = 0
        while tried == 0 or (options.seed is None and time.monotonic() < until):
            point = random_point(first + tried, counts)
            try:
                states += point.run(scratch)
            except BaseException:
                print(f"failed: {point}\nrepeat: scripts/sim-disk --seed {point.seed}", file=sys.stderr)
                raise
            tried += 1
    print(f"{tried} sessions, {states} states of the disk, seeds {first} to {first + tried - 1}: everything acknowledged was there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
