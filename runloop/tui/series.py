"""What was measured, over time: gauges as they were, counters as rates. What nobody measured is None, never 0."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from runloop.dataclass import dataclass

KEPT: Final = 240
"""Samples that are kept of each series."""
_PUT_BACK_MS: Final = 60_000
"""A snapshot that is so much older than the last is of a clock that was put back."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "_.-=+*#@"


@dataclass(slots=True)
class Series:
    """The newest samples of everything that snapshots hold, by name; ``interval_ms`` is the time between two."""

    gauges: dict[str, deque[float | None]] = field(default_factory=dict)
    rates: dict[str, deque[float | None]] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    ts_ms: int | None = None
    interval_ms: int = 1_000
    version: int = 0

    def take(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot; one that is not newer than the last is left, unless the clock was put back. A counter that fell began anew."""
        ts_ms = snapshot["ts_ms"]
        passed_ms = None if self.ts_ms is None else ts_ms - self.ts_ms
        if passed_ms is not None and -_PUT_BACK_MS < passed_ms <= 0:
            return
        seconds = None if passed_ms is None or passed_ms < 0 else passed_ms / 1000
        gauges, counters = snapshot["gauges"], snapshot["counters"]
        for name in self.gauges.keys() | gauges.keys():
            self.gauges.setdefault(name, deque(maxlen=KEPT)).append(gauges.get(name))
        for name in self.rates.keys() | counters.keys():
            before, now = self.totals.get(name), counters.get(name)
            known = seconds is not None and before is not None and now is not None and now >= before
            self.rates.setdefault(name, deque(maxlen=KEPT)).append((now - before) / seconds if known else None)
        self.totals, self.ts_ms = dict(counters), ts_ms
        self.interval_ms = snapshot.get("interval_ms") or self.interval_ms
        self.version += 1

    def gauge(self, name: str) -> float | None:
        """The newest value."""
        found = self.gauges.get(name)
        return found[-1] if found else None

    def rate(self, name: str) -> float | None:
        """The newest rate, a second."""
        found = self.rates.get(name)
        return found[-1] if found else None


def sparkline(values: Iterable[float | None], width: int, *, ascii_only: bool = False) -> str:
    """The newest ``width`` samples as a line of bars from 0 to their maximum; a blank where nothing was measured."""
    shown: Sequence[float | None] = list(values)[-width:] if width > 0 else []
    bars = _PLAIN_BARS if ascii_only else _BARS
    top = max((value for value in shown if value is not None), default=0.0)
    last = len(bars) - 1
    drawn = [" " if value is None else bars[0 if top <= 0 else round(max(0.0, value) / top * last)] for value in shown]
    return "".join(drawn).rjust(max(0, width))
