"""What every benchmark shares: the machine it ran on, repeated measuring, and one JSON form for results."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNS = 5  # at least five: median and range say more than a best


def arguments(description: str, **more: str) -> argparse.Namespace:
    """``--small`` proves that the script works (CI); ``--runs`` repeats more often; ``more`` are further options and their help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--small", action="store_true", help="one short run, to prove that the script works")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"measured runs after one warm-up (default {RUNS})")
    for name, text in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", help=text)
    return parser.parse_args()


def machine(*packages: str) -> dict[str, Any]:
    """Processor, memory, system, Python and the versions of the packages that matter."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def repeat(measure: Callable[[], dict[str, float]], *, runs: int) -> dict[str, dict[str, float]]:
    """Warm up once, then measure; median, lowest and highest of every figure."""
    measure()
    results = [measure() for _ in range(runs)]
    return {name: summary([result[name] for result in results]) for name in results[0]}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def report(name: str, figures: dict[str, Any], *packages: str, **facts: Any) -> None:
    """Print the result as JSON."""
    json.dump({"benchmark": name, "machine": machine(*packages), **facts, "figures": figures}, sys.stdout, indent=2)
    print()


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:  # noqa: PTH123 - a benchmark may be plain
            return next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
