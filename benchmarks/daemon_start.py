"""Row 11: from starting the daemon to its word that it is ready, with 50 openings and 20 agents to load and verify."""

from __future__ import annotations

from _common import arguments, repeat, report
from _cpu import thread_seconds
from _daemon import home

AGENT = b"from runloop_agent import agent\n\n\n@agent\ndef run() -> dict:\n    return {'out': 1}\n"


def main() -> None:
    """Fill a home, then start and stop."""
    options = arguments(__doc__ or "")
    openings, agents = (5, 2) if options.small else (50, 20)
    with home() as made:
        for number in range(agents):
            made.agent(f"agent{number}", "python", "agent.py", AGENT)
        for number in range(openings):
            text = f"version: 0\nname: o{number}\nnodes:\n  - {{id: a, use: agent:agent{number % agents}}}\nedges: []\n"
            made.opening(f"o{number}", text)

        def measure() -> dict[str, float]:
            took = made.start()
            cpu = thread_seconds(made.pid)[made.pid]
            made.stop()
            return {"ready_ms": took * 1000, "main_thread_cpu_ms": cpu * 1000}

        figures = repeat(measure, runs=1 if options.small else options.runs)
    report("daemon_start", figures, "wasmtime", "structlog", "watchfiles", row=11, goal="<= 500 ms", openings=openings, agents=agents)


if __name__ == "__main__":
    main()
