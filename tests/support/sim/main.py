"""Many seeds over all processors: `python -m sim.main`, which `scripts/sim` calls. A seed that fails is printed with its trace."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from sim.seeds import check_seed

CHUNK = 25
MEMORY = Path("/dev/shm")
"""Where a directory is that no disk is waited for, if there is one."""


def check_chunk(seeds):
    """The reports of some seeds; traces only of those that fail."""
    reports = []
    gc.collect()
    gc.disable()  # what a chunk leaves behind is little, and looking for it takes a fifth of the time
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="runloop-sim-", dir=MEMORY if MEMORY.is_dir() else None) as directory:
            report = check_seed(seed, Path(directory))
        if not report.problems:
            report.trace = []
        reports.append(report)
    return reports


def reports_of(first, seeds, seconds, jobs):
    """Reports as they come, of ``seeds`` seeds from ``first`` on or of as many as ``seconds`` allow."""
    began = time.monotonic()
    last = None if seeds is None else first + seeds
    starts = count(first, CHUNK)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = set()
        while True:
            while len(pending) < 2 * jobs and (seconds is None or time.monotonic() - began < seconds):
                start = next(starts)
                if last is not None and start >= last:
                    break
                chunk = range(start, start + CHUNK if last is None else min(last, start + CHUNK))
                pending.add(pool.submit(check_chunk, list(chunk)))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


def show(report, lines):
    """A seed that fails, for whoever repairs it."""
    print(f"\nseed {report.seed} fails:")
    for problem in report.problems:
        print(f"  {problem}")
    print(f"the last {lines} lines of its trace (ms since the run was submitted; `scripts/sim --seed {report.seed}` shows it whole):")
    for at_ms, text in report.trace[-lines:]:
        print(f"  {at_ms:>10} {text}")


def main(argv=None):
    """The exit code: 0 when every seed held, 1 when one did not."""
    parser = argparse.ArgumentParser(
        prog="scripts/sim", description="Runs of random openings in a simulated world that crashes; see docs/durability.md."
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds (100000 where --seconds is not given either)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED", help="the first seed (0)")
    parser.add_argument("--seconds", type=float, metavar="S", help="begin no new seed after so many seconds")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="J", help="processes (one for each processor)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="this seed alone, with its whole trace")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the tenth seed that fails")
    options = parser.parse_args(argv)
    if options.seed is not None:
        return one(options.seed)
    seeds = 100_000 if options.seeds is None and options.seconds is None else options.seeds
    began, checked, failed, compared, lives, events, points = time.monotonic(), 0, 0, 0, 0, 0, 0
    for report in reports_of(options.first, seeds, options.seconds, options.jobs):
        checked += 1
        compared += report.compared
        lives, events, points = lives + report.lives, events + report.events, points + report.points
        if report.problems:
            failed += 1
            show(report, 40)
            if failed >= 10 and not options.keep_going:
                print("\nten seeds fail; stopped", flush=True)
                os._exit(1)  # without waiting for what the other processes have begun
        elif checked % 10_000 == 0:
            print(f"{checked} seeds, {failed} fail", flush=True)
    took = time.monotonic() - began
    print(
        f"{checked} seeds from {options.first}: {failed} fail; {compared} compared with their undisturbed run, the rest by the invariants; "
        f"{lives} processes, {events} events, {points} places to die; {took:.1f} s, {1000 * took / max(1, checked):.1f} ms a seed"
    )
    return 1 if failed else 0


def one(seed):
    """One seed with its trace."""
    with tempfile.TemporaryDirectory(prefix="runloop-sim-") as directory:
        report = check_seed(seed, Path(directory))
    for at_ms, text in report.trace:
        print(f"{at_ms:>10} {text}")
    print(f"\nseed {seed}: " + ("; ".join(report.problems) if report.problems else "holds"))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
