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

from runloop.events import RunIdentity, run_event
from runloop.kb import KnowledgeBase

START = "import sys; from runloop.cli.entry import main; sys.exit(main())"
VERBS = {
    "version": ["--version"],
    "help": ["--help"],
    "help_of_a_verb": ["runs", "--help"],
    "runs": ["runs"],
    "show": ["show", "last"],
    "logs": ["logs", "last"],
    "trace": ["trace", "last"],
    "diff": ["diff", "last", "last"],
    "inbox": ["inbox"],
    "status": ["status"],
    "search": ["search", "harbour OR note"],
    "why": ["why", "last"],
    "kb_show": ["kb", "show", "event:1"],
    "kb_timeline": ["kb", "timeline"],
    "kb_facts": ["kb", "facts"],
    "kb_query": ["kb", "query", "SELECT count(*) AS count FROM contacts"],
    "kb_tables": ["kb", "tables"],
    "kb_stats": ["kb", "stats"],
    "agent_list": ["agent", "list"],
    "agent_show": ["agent", "show", "critic"],
    "opening_list": ["opening", "list"],
    "opening_graph": ["opening", "graph", "compose_email"],
    "opening_check": ["opening", "check", "compose_email"],
    "rmp_registry": ["rmp", "registry"],
    "config": ["config", "show"],
    "shell_status": ["shell", "status"],
    "complete": ["__complete", "zsh", "runs", "--st"],
    "complete_run": ["__complete", "zsh", "show", ""],
}
"""Every family of verbs that only look at something. `run`, `replay`, `fork` and the like work; what they take is in other rows."""


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _record_a_run(base: Path) -> None:
    """A run of one node, for the verbs that look at runs."""
    run_id = "3f2a91c0-0000-4000-8000-000000000001"
    identity = RunIdentity(run_id, f"trace:{run_id}", f"opening:{run_id}", "bench")
    source = "version: 0\nname: bench\nnodes:\n  - id: a\n    agent: critic\nsuccess: exists(a.out)\n"
    opening = {"source": source, "file": None}
    started = {"opening_digest": "0" * 64, "params": {}, "versions": {"runloop": "1"}, "mode": "local"}
    with KnowledgeBase.open(base) as kb:
        kb.ledger.append([
            run_event(identity, 1, "run.submitted", {**started, "opening": opening}, "submitted"),
            run_event(identity, 2, "run.started", started, "started"),
            run_event(identity, 3, "run.finished", {"status": "failed", "final_hash": "0" * 64, "ms": 1, "reason": "a bench"}, "failed"),
        ])  # fmt: skip


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
        _record_a_run(home / ".runloop" / "pog")
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
