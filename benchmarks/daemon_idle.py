"""What a daemon costs that nobody uses: memory of the daemon and of each worker, processor time a second."""

from __future__ import annotations

import time
from pathlib import Path

from _common import arguments, repeat, report
from _cpu import children_of, thread_seconds
from _daemon import Home, home

MIB = 1 << 20


def memory(pid: int) -> tuple[float, float, float]:
    """MiB of a process: resident, its fair share of what is shared (PSS), and what is its own."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found["Rss"] / MIB, found["Pss"] / MIB, (found["Private_Clean"] + found["Private_Dirty"]) / MIB


def measure(made: Home, seconds: float) -> dict[str, float]:
    """A daemon that was just started, ready and with its Python guest prepared, left alone."""
    made.start()
    time.sleep(2.0)  # what goes on in the background after the start is not idling
    workers = children_of(made.pid)
    before, began = sum(thread_seconds(made.pid).values()), time.monotonic()
    workers_before = sum(sum(thread_seconds(pid).values()) for pid in workers)
    time.sleep(seconds)
    passed = time.monotonic() - began
    cpu, workers_cpu = sum(thread_seconds(made.pid).values()) - before, sum(sum(thread_seconds(pid).values()) for pid in workers)
    rss, pss, own = memory(made.pid)
    each = [memory(pid) for pid in workers]
    made.stop()
    return {
        "daemon_rss_mib": rss, "daemon_pss_mib": pss, "daemon_private_mib": own,
        "worker_rss_mib": sum(one[0] for one in each) / len(each),
        "worker_pss_mib": sum(one[1] for one in each) / len(each),
        "worker_private_mib": sum(one[2] for one in each) / len(each),
        "all_pss_mib": pss + sum(one[1] for one in each),
        "daemon_cpu_percent": 100 * cpu / passed,
        "workers_cpu_percent": 100 * (workers_cpu - workers_before) / passed,
    }  # fmt: skip


def main() -> None:
    """Start, wait, look."""
    options = arguments(__doc__ or "")
    with home() as made:
        figures = repeat(lambda: measure(made, 0.5 if options.small else 5.0), runs=1 if options.small else options.runs)
    report("daemon_idle", figures, "wasmtime", workers=2)


if __name__ == "__main__":
    main()
