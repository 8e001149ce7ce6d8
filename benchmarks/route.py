"""Row 10: `rlp route` as a process, side by side with bare Python; and how many lines a coprocess decides in a second."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import arguments, percentile, repeat, report

DATA = Path(__file__).resolve().parent.parent / "tests/data/router"
START = "import sys; from runloop.cli.entry import main; sys.exit(main())"


def _processor_seconds() -> float:
    """What the children that ended have used of the processors, whatever else the machine did meanwhile."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Start both in turn, so that the noise of the machine falls on both; then feed the whole corpus to a coprocess."""
    options = arguments(__doc__ or "")
    starts = 5 if options.small else 40
    lines = [row.partition("\t")[2] for kind in ("commands", "requests") for row in (DATA / f"{kind}.tsv").read_text().splitlines()]
    text = "".join(line + "\n" for line in (lines[:200] if options.small else lines * 3)).encode()
    with tempfile.TemporaryDirectory() as home:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"HOME": home}
        bare = [sys.executable, "-c", "pass"]
        routing = [sys.executable, "-c", START, "route", "git status"]

        def timed(command: list[str]) -> float:
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False)
            return (time.perf_counter() - started) * 1000

        def measure() -> dict[str, float]:
            pairs = [(timed(bare), timed(routing)) for _ in range(starts)]
            plain, routed = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            used, started = _processor_seconds(), time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", START, "route", "--lines"], input=text, stdout=subprocess.DEVNULL, env=environment, check=True
            )
            took, used = time.perf_counter() - started, _processor_seconds() - used
            return {
                "bare_python_ms": percentile(plain, 50),
                "route_ms": percentile(routed, 50),
                "ratio": percentile(routed, 50) / percentile(plain, 50),
                "lines_per_second": text.count(b"\n") / took,
                "lines_per_processor_second": text.count(b"\n") / used,
            }

        figures = repeat(measure, runs=1 if options.small else options.runs)
    report("route", figures, row=10, goal="ratio <= 2.5; >= 5000 lines/s", starts=starts, lines=text.count(b"\n"))


if __name__ == "__main__":
    main()
