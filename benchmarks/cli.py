"""Row 10, the other verbs: what `rlp VERB` takes as a process with a base of its own, side by side with bare Python; and completion."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _base import Words
from _common import arguments, percentile, repeat, report
from _sources import write_contacts, write_notes

START = "import sys; from runloop.cli.entry import main; sys.exit(main())"
VERBS = {
    "version": ["version"],
    "help": ["--help"],
    "runs": ["runs"],
    "search": ["search", "harbour OR note"],
    "status": ["status"],
    "inbox": ["inbox"],
    "config": ["config", "show"],
    "complete": ["__complete", "zsh", "runs", "--st"],
    "complete_run": ["__complete", "zsh", "show", ""],
}


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Start each verb in turn, so that the noise of the machine falls on all of them."""
    options = arguments(__doc__ or "")
    starts, size = (2, 20) if options.small else (10, 2000)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RUNLOOP", "PYTHONDONTWRITE"))} | {
            "HOME": place
        }
        words = Words()
        write_contacts(words, home / "contacts.vcf", size)
        write_notes(words, home / "notes", size)

        def run(command: list[str]) -> None:
            subprocess.run(
                [sys.executable, "-P", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=False
            )

        run(["-c", START, "kb", "import", "contacts", str(home / "contacts.vcf")])
        run(["-c", START, "kb", "import", "notes", str(home / "notes")])
        commands = {"bare_python": ["-c", "pass"], **{name: ["-c", START, *verb] for name, verb in VERBS.items()}}
        for command in commands.values():
            run(command)

        def measure() -> dict[str, float]:
            took: dict[str, list[float]] = {name: [] for name in commands}
            used: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(starts):
                for name, command in commands.items():
                    before, started = _processor_seconds(), time.perf_counter()
                    run(command)
                    took[name].append((time.perf_counter() - started) * 1000)
                    used[name].append((_processor_seconds() - before) * 1000)
            clock = {f"{name}_ms": percentile(values, 50) for name, values in took.items()}
            return clock | {f"{name}_processor_ms": percentile(values, 50) for name, values in used.items()}

        figures = repeat(measure, runs=1 if options.small else options.runs)
    report("cli", figures, row=10, goal="other verbs <= 200 ms", starts=starts, contacts=size, notes=size)


if __name__ == "__main__":
    main()
