"""Processor time by process and thread, from /proc: on a shared machine it says more than the clock on the wall."""

from __future__ import annotations

from pathlib import Path


def thread_seconds(pid: int) -> dict[int, float]:
    """Seconds on a processor of every thread of a process that is still there, by thread id."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            continue  # it ended between the listing and the reading
    return found


def process_seconds(pid: int) -> float:
    """Seconds on a processor of a process, the threads that ended included."""
    import os

    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


class Meter:
    """Processor time of a daemon since the meter was made: its main thread, its other threads, its workers, and this process."""

    def __init__(self, daemon: int) -> None:
        self._daemon = daemon
        self._workers = children_of(daemon)
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        import time

        threads = thread_seconds(self._daemon)
        main = threads.pop(self._daemon)
        workers = sum(process_seconds(pid) for pid in self._workers)
        return {"daemon_loop": main, "daemon_threads": sum(threads.values()), "workers": workers, "submitters": time.process_time()}

    def milliseconds_each(self, count: int) -> dict[str, float]:
        """Milliseconds for each of ``count`` runs, by where they went."""
        after = self._read()
        return {f"cpu_ms_{name}": (after[name] - before) * 1000 / count for name, before in self._before.items()}
