"""How loaded the machine is, from /proc: above a threshold agents start one after the other, so that none starves.

Processor and memory are shares of the whole machine. Waiting for the disk is the share of time in which somebody waited (pressure stall
information), or, where the kernel does not tell that, the share in which the processors were idle because of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runloop.config import Settings

NEVER: Final = 100
"""A threshold that nothing is above."""
LOOK_S: Final = 1.0
NAMES: Final = ("cpu_pct", "mem_pct", "io_wait_pct")


class Load:
    """Reads the load of the machine; of the processors, since it was read last."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before: list[int] = []

    def read(self) -> dict[str, float]:
        """Percentages by name; what this system does not tell is left out."""
        found = {"mem_pct": self._memory(), **self._processors()}
        stalled = self._stalled()
        if stalled is not None:
            found["io_wait_pct"] = stalled
        return {name: round(min(value, 100.0), 1) for name in NAMES if (value := found.get(name)) is not None}

    def _lines(self, name: str) -> list[list[str]]:
        try:
            return [line.split() for line in (self._proc / name).read_text().splitlines()]
        except OSError:
            return []

    def _processors(self) -> dict[str, float]:
        ticks = next(([int(each) for each in line[1:9]] for line in self._lines("stat") if line[0] == "cpu"), [])
        before, self._before = self._before, ticks
        passed = [now - then for now, then in zip(ticks, before, strict=False)]
        whole = sum(passed)
        if len(passed) < 5 or whole <= 0:
            return {}
        idle, waiting = passed[3], passed[4]
        return {"cpu_pct": 100 * (whole - idle - waiting) / whole, "io_wait_pct": 100 * max(waiting, 0) / whole}

    def _memory(self) -> float | None:
        sizes = {line[0]: int(line[1]) for line in self._lines("meminfo") if len(line) > 1}
        if not sizes.get("MemTotal:") or "MemAvailable:" not in sizes:
            return None
        return 100 * (1 - sizes["MemAvailable:"] / sizes["MemTotal:"])

    def _stalled(self) -> float | None:
        for line in self._lines("pressure/io"):
            fields = dict(field.split("=", 1) for field in line[1:])
            if line[0] == "some" and "avg10" in fields:
                return float(fields["avg10"])
        return None


class Pressure:
    """What is above its threshold now. ``changed`` is called when that changes; lives on one event loop."""

    def __init__(self, load: Load, changed: Callable[[], None], *, look_s: float = LOOK_S) -> None:
        self._load, self._changed, self._look_s = load, changed, look_s
        self._thresholds: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.now: Mapping[str, float] = {}
        """The load by name, of what has a threshold and is known."""
        self.over: tuple[str, ...] = ()
        """What is above its threshold, for people."""

    def obey(self, settings: Settings) -> None:
        """Watch what has a threshold from now on; nothing where none has."""
        thresholds = {name: settings.get(f"runtime.pressure_threshold.{name}") for name in NAMES}
        self._thresholds = {name: most for name, most in thresholds.items() if most < NEVER}
        if not self._thresholds:
            self.close()
            self._take({})
            return
        self.look()
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    def close(self) -> None:
        """Watch nothing more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def look(self) -> None:
        """Read the load."""
        self._take(self._load.read())

    def held(self, limit: int) -> int:
        """How many may be at work of so many: under pressure one, which is enough that everybody's turn comes."""
        return min(limit, 1) if self.over else limit

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            self.look()

    def _take(self, load: Mapping[str, float]) -> None:
        before = bool(self.over)
        self.now = {name: load[name] for name in self._thresholds if name in load}
        above = {name: most for name, most in self._thresholds.items() if self.now.get(name, 0.0) > most}
        self.over = tuple(f"{name} {self.now[name]:g} above {most}" for name, most in above.items())
        if bool(self.over) is not before:
            self._changed()
