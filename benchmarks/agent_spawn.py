"""Row 1: a Python agent from spawn to its first result, sandboxed and deterministic, through the pool and inside the worker."""

from __future__ import annotations

import json

from _common import arguments, report
from _spawning import spawned

from runloop.sandbox import GuestSpec, guest_digest

SOURCE = """
from runloop_agent import agent, kb, model

@agent
def run(topic: str, contact: dict | None = None) -> dict:
    notes = [f"{topic} {n}" for n in range(3)]
    return {"out": {"body": "; ".join(notes), "to": contact}}
"""


def spec(number: int) -> GuestSpec:
    """Another request each time."""
    request = json.dumps({"with": {"topic": f"topic {number}"}, "inputs": {"contact": [{"name": "n"}]}})
    return GuestSpec("python", "bench", "agent.py", request, number.to_bytes(32, "big"), 1_763_600_000_000, sources={"agent.py": SOURCE})


def main() -> None:
    """Measure with a warm worker."""
    options = arguments(__doc__ or "")
    count = 20 if options.small else 300
    figures = spawned([spec(number) for number in range(count)], 1 if options.small else options.runs)
    report(
        "agent_spawn", figures, "wasmtime", row=1, goal="p50 <= 2.5 ms, p99 <= 5 ms in a worker", spawns=count, guest=guest_digest()[:16]
    )


if __name__ == "__main__":
    main()
