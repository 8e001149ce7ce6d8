"""A disk that fails where it is told to, and that remembers what a power cut would leave of it.

SQLite works on real files through a VFS that stands before the system's own. Every write, truncation, sync and directory entry is
noted. What a sync has confirmed is durable; of everything later, a power cut leaves what the caller chooses, sector by sector. A
sync that fails throws away what it should have written and everybody goes on reading it from memory, as Linux does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw

SECTOR = 512
NAME = "faulty"

Chance = Callable[[], bool]
"""Whether the next piece survives."""


@dataclass
class Fault:
    """Calls of the kinds ``on``, from the ``at``-th (counted from 0), ``times`` times: fail with an SQLite result code.

    ``short`` lets half of a write through before it fails.
    """

    at: int
    code: int
    times: int = 1
    short: bool = False
    on: frozenset[str] = frozenset({"open", "write", "sync", "truncate", "delete"})

    def __str__(self) -> str:
        short = ", half of it written" if self.short else ""
        return f"call {self.at}, {self.times} times: {apsw.mapping_result_codes[self.code & 255]}{short}"


@dataclass(eq=False)
class Inode:
    """A file: what is durable of it, and the writes and truncations since."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # at this offset these bytes; None: the file ends here


class Disk:
    """What would be left of the files of one directory."""

    def __init__(self) -> None:
        self.entries: dict[str, Inode | None] = {}
        self.pending: dict[str, list[Inode | None]] = {}  # what a name has stood for since the directory was synced, oldest first

    def now(self, name: str) -> Inode | None:
        states = self.pending.get(name)
        return states[-1] if states else self.entries.get(name)

    def link(self, name: str, inode: Inode | None) -> None:
        self.pending.setdefault(name, []).append(inode)

    def sync_directory(self) -> None:
        for name in self.pending:
            self.entries[name] = self.now(name)
        self.pending = {}

    def sync(self, inode: Inode) -> None:
        inode.durable = _applied(inode, lambda: True)
        inode.pending = []

    def failed_sync(self, inode: Inode, survives: Chance) -> None:
        """What it should have written is durable or not, and nobody will write it again."""
        inode.durable = _applied(inode, survives)
        inode.pending = []

    def left(self, survives: Chance, random: Random) -> dict[str, bytes]:
        """The files after a power cut now."""
        files = {}
        for name in {*self.entries, *self.pending}:
            states = [self.entries.get(name), *self.pending.get(name, ())]
            inode = states[-1] if survives() else random.choice(states[:-1] or states)
            if inode is not None:
                files[name] = _applied(inode, survives)
        return files


def _applied(inode: Inode, survives: Chance) -> bytes:
    data = bytearray(inode.durable)
    for offset, piece in inode.pending:
        if piece is None:
            if survives():
                del data[offset:]
                data.extend(bytes(offset - len(data)))
            continue
        start = 0
        while start < len(piece):
            end = min(len(piece), start + SECTOR - (offset + start) % SECTOR)
            if survives():
                data.extend(bytes(max(0, offset + end - len(data))))
                data[offset + start : offset + end] = piece[start:end]
            start = end
    return bytes(data)


Step = tuple[str, str, int, bytes | None]
"""What happened: kind, file name (or a note's text), offset or size, bytes."""


class FaultyVFS(apsw.VFS):
    """Notes every step that matters for durability, and fails as ``fault`` says."""

    def __init__(self) -> None:
        super().__init__(NAME, "unix", makedefault=True, iVersion=3)
        self.steps: list[Step] = []
        self.fault: Fault | None = None
        self.calls = 0
        self.failed: list[str] = []

    def note(self, text: str) -> None:
        """Put a mark between the steps."""
        self.steps.append(("note", text, 0, None))

    def call(self, kind: str, name: str) -> BaseException | None:
        """Count a call; the error with which it must fail, if it must."""
        fault, number = self.fault, self.calls
        self.calls += 1
        if fault is None or not fault.times or number < fault.at or kind not in fault.on:
            return None
        fault.times -= 1
        self.failed.append(f"{kind} {name}")
        return apsw.exception_for(fault.code)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        short = Path(path).name if path else ""
        if (error := self.call("open", short)) is not None:
            raise error
        if not path or flags[0] & apsw.SQLITE_OPEN_DELETEONCLOSE:
            return apsw.VFSFile("unix", name, flags)
        file = FaultyFile(self, short, name, flags)
        self.steps.append(("open", short, 0, None))
        return file

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        short = Path(name).name
        if (error := self.call("delete", short)) is not None:
            raise error
        super().xDelete(name, False)
        self.steps.append(("delete", short, int(syncdir), None))


class FaultyFile(apsw.VFSFile):
    """One open file of a FaultyVFS."""

    def __init__(self, vfs: FaultyVFS, short: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        journal = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        self._syncs_directory = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & journal)  # with its first sync, as SQLite's own
        self._vfs = vfs
        self._name = short
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        error = self._vfs.call("write", self._name)
        if error is not None:
            if self._vfs.fault.short:
                self._write(bytes(data[: len(data) // 2]), offset)
            raise error
        self._write(bytes(data), offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._vfs.steps.append(("write", self._name, offset, data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if (error := self._vfs.call("truncate", self._name)) is not None:
            raise error
        super().xTruncate(size)
        self._vfs.steps.append(("truncate", self._name, size, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        """The system is not asked to: that the process goes on is what keeps the real files here."""
        if (error := self._vfs.call("sync", self._name)) is not None:
            self._vfs.steps.append(("failed sync", self._name, 0, None))
            raise error
        self._vfs.steps.append(("sync", self._name, 0, None))
        if self._syncs_directory:
            self._syncs_directory = False
            self._vfs.steps.append(("sync directory", "", 0, None))


@contextmanager
def faulty() -> Iterator[FaultyVFS]:
    """Every connection that is opened in here goes through the faulty disk; all must be closed in here, too."""
    vfs = FaultyVFS()
    try:
        yield vfs
    finally:
        vfs.unregister()


def follow(disk: Disk, step: Step, survives: Chance) -> None:
    """Bring the disk from before the step to after it; ``survives`` is asked about what a failed sync should have written."""
    kind, name, offset, data = step
    inode = disk.now(name)
    if kind == "open" and inode is None:
        disk.link(name, Inode())
    elif kind == "delete":
        disk.link(name, None)
        if offset:
            disk.sync_directory()
    elif kind in {"write", "truncate"}:
        inode.pending.append((offset, data))
    elif kind == "sync":
        disk.sync(inode)
    elif kind == "failed sync":
        disk.failed_sync(inode, survives)
    elif kind == "sync directory":
        disk.sync_directory()


HOW = ("nothing", "everything", "all but one", "one", "half", "most")


def chance(how: str, random: Random, pieces: int) -> Chance:
    """Which pieces survive; ``pieces`` is about how many there are to choose from."""
    if how in {"nothing", "everything"}:
        return lambda: how == "everything"
    if how in {"all but one", "one"}:
        chosen, counted = random.randrange(max(1, pieces)), iter(range(1 << 60))
        return lambda: (next(counted) == chosen) == (how == "one")
    share = 0.5 if how == "half" else 0.9
    return lambda: random.random() < share


def pieces_of(disk: Disk) -> int:
    """How many sectors are undecided."""
    inodes = {
        id(inode): inode
        for name in {*disk.entries, *disk.pending}
        for inode in (disk.entries.get(name), *disk.pending.get(name, ()))
        if inode
    }
    return sum(1 if data is None else 1 + len(data) // SECTOR for inode in inodes.values() for _, data in inode.pending)
