"""Steps of the plan: a 1,000-node chain and a 200-wide fan-out with fan-in, in microseconds a step. Prints JSON."""

from __future__ import annotations

import statistics
import time
from collections import deque

from _common import arguments, percentile, repeat, report

from runloop.openings.expressions import PortRef
from runloop.openings.model import Edge, Node, Opening
from runloop.openings.plan import Plan
from runloop.openings.states import Begin, Command, NodeSucceeded, StartNode

OUTPUTS = {"out": ["value"]}


def edge(source: str, target: str) -> Edge:
    return Edge(PortRef(source, "out"), PortRef(target, "x"))


def nodes(count: int) -> tuple[Node, ...]:
    return tuple(Node(f"n{index}", "agent", "a") for index in range(count))


def chain(length: int) -> Opening:
    return Opening("chain", nodes(length), tuple(edge(f"n{index}", f"n{index + 1}") for index in range(length - 1)))


def fan(width: int) -> Opening:
    """One source, ``width`` nodes beside each other, one sink that collects them."""
    spokes = [f"n{index}" for index in range(1, width + 1)]
    edges = [edge("n0", spoke) for spoke in spokes] + [edge(spoke, f"n{width + 1}") for spoke in spokes]
    return Opening("fan", nodes(width + 2), tuple(edges))


def run(opening: Opening) -> tuple[float, list[float]]:
    """Microseconds to build the plan, and of every step until the run is done."""
    start = time.perf_counter_ns()
    plan = Plan(opening, b"seed")
    built = (time.perf_counter_ns() - start) / 1000
    steps: list[float] = []
    started: deque[StartNode] = deque()

    def step(event: Begin | NodeSucceeded, now: int) -> None:
        before = time.perf_counter_ns()
        commands: list[Command] = plan.step(event, now)
        steps.append((time.perf_counter_ns() - before) / 1000)
        started.extend(command for command in commands if isinstance(command, StartNode))

    step(Begin(), 0)
    while started:
        command = started.popleft()
        step(NodeSucceeded(command.node, command.attempt, OUTPUTS), len(steps))
        _ = plan.next_deadline_ms
    assert plan.done
    return built, steps


def measure(opening: Opening) -> dict[str, float]:
    built, steps = run(opening)
    return {
        "build_us": built,
        "step_mean_us": statistics.fmean(steps),
        "step_p50_us": percentile(steps, 50),
        "step_p99_us": percentile(steps, 99),
        "step_max_us": max(steps),
    }


def main() -> None:
    options = arguments(__doc__ or "")
    scale = 10 if options.small else 1
    cases = {
        "chain of 1000": chain(1000 // scale),
        "chain of 4000": chain(4000 // scale),
        "fan of 200": fan(200 // scale),
        "fan of 800": fan(800 // scale),
    }
    figures = {
        name: repeat(lambda opening=opening: measure(opening), runs=1 if options.small else options.runs) for name, opening in cases.items()
    }
    report("plan_steps", figures, "blake3", small=options.small)


if __name__ == "__main__":
    main()
