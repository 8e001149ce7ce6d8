"""Row 6, for comparison: LangGraph with its SQLite checkpointer runs a chain and a fan-out of no-op nodes: plain functions, no sandbox.

Run by ``nodes_durable.py`` with a Python that has ``langgraph`` and ``langgraph-checkpoint-sqlite``; prints one measurement as JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import operator
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class Chained(TypedDict):
    """One value that each node replaces."""

    out: int


class Fanned(TypedDict):
    """One list that each node adds to."""

    out: Annotated[list[int], operator.add]


def chain(length: int) -> Any:
    """``length`` nodes, one after the other."""
    graph = StateGraph(Chained)
    names = [f"n{number}" for number in range(length)]
    for name in names:
        graph.add_node(name, lambda _state: {"out": 42})
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def loop(length: int) -> Any:
    """One node, ``length`` times: the shape that costs LangGraph least, since its work a step grows with the nodes of a graph."""
    graph = StateGraph(Chained)
    graph.add_node("n", lambda state: {"out": state["out"] + 1})
    graph.add_edge(START, "n")
    graph.add_conditional_edges("n", lambda state: END if state["out"] == length else "n")
    return graph


def fan(width: int) -> Any:
    """``width`` nodes side by side."""
    graph = StateGraph(Fanned)
    for number in range(width):
        graph.add_node(f"n{number}", lambda _state: {"out": [42]})
        graph.add_edge(START, f"n{number}")
        graph.add_edge(f"n{number}", END)
    return graph


def rate(graph: Any, nodes: int, start: dict[str, Any], durability: str, folder: Path) -> tuple[float, float]:
    """Nodes a second and processor milliseconds a node.

    With durability ``sync`` a step is on disk before the next begins, with ``async`` (its default) soon after.
    """
    connection = sqlite3.connect(folder / f"{time.perf_counter_ns()}.sqlite", check_same_thread=False)
    compiled = graph.compile(checkpointer=SqliteSaver(connection))
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": nodes + 10}
    compiled.invoke(start, {**config, "configurable": {"thread_id": "warm"}}, durability=durability)
    began, cpu = time.perf_counter(), time.process_time()
    result = compiled.invoke(start, config, durability=durability)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    connection.close()
    if result["out"] not in (42, nodes, [42] * nodes):
        raise SystemExit(f"unexpected result {result}")
    return nodes / seconds, cpu * 1000 / nodes


def main() -> None:
    """Measure once."""
    nodes = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        figures = {}
        shapes = (("chain", chain(nodes), {"out": 0}), ("loop", loop(nodes), {"out": 0}), ("fan", fan(nodes), {"out": []}))
        for shape, graph, start in shapes:
            for suffix, durability in (("", "sync"), ("_async", "async")):
                a_second, cpu_ms = rate(graph, nodes, start, durability, folder)
                figures |= {f"{shape}{suffix}_nodes_per_s": a_second, f"{shape}{suffix}_cpu_ms": cpu_ms}
    versions = {name: importlib.metadata.version(name) for name in ("langgraph", "langgraph-checkpoint-sqlite")}
    print(json.dumps({"figures": figures, "versions": versions}))


if __name__ == "__main__":
    main()
