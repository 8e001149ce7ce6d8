"""What a seed is about: openings, agents and the settings they run under."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from sim.guests import PORTS, make_bundle, make_program

GUARDS = ("", "", "", "", " == true", " == false", " > 1", " != 2", " <= 2")
JUDGED = range(62, 78)
"""Seeds that end on these have contracts and votes: none of those that stand in the tests for what they found before."""
HURRIED = range(23, 28)
"""In these much happens in one moment, and nodes race: agents that call nothing, ends that a run hears of together."""
ACTIONS = ("mail.outbox", "mail.smtp", "files.write", "exec.run", "http.send")


@dataclass
class Scenario:
    """Openings by name (the run is of ``main``), agents by name, their programs by digest, and how the process is set up."""

    openings: dict = field(default_factory=dict)
    bundles: dict = field(default_factory=dict)
    programs: dict = field(default_factory=dict)
    smtp: bool = False
    generous: bool = False
    """The person approves whatever is asked, for the whole run; else each request has its own answer."""
    yes: bool = False
    max_parallel: int = 8
    turns: tuple = (None, None)
    model_turns: tuple = (None, None)
    evict_after_ms: int | None = None
    park_after_ms: int | None = None
    parks: bool = False
    side_by_side: set = field(default_factory=set)
    """Nodes whose items are worked on side by side."""
    races: bool = False
    """Whether which of several nodes is first decides what others get."""
    moment_s: float = 0.0
    """Time goes by in steps of this length, unless it is 0: what is due within one comes in one turn of the loop."""


def make_scenario(seed):
    """The scenario of a seed."""
    chance = random.Random(f"scenario {seed}")
    scenario = Scenario(
        smtp=chance.random() < 0.5,
        generous=chance.random() < 0.4,
        yes=chance.random() < 0.2,
        max_parallel=chance.choice((1, 2, 8, 8)),
        turns=chance.choice(((None, None), (None, None), (2, None), (1, 1), (1, 1, 2))),
        model_turns=chance.choice(((None, None), (2, 1))),
        evict_after_ms=chance.choice((None, 20, 1000)),
        park_after_ms=chance.choice((None, 50, 5000)),
        parks=chance.random() < 0.5,
    )
    spawnable = []
    for name in ("leaf", "inner"):
        if chance.random() < 0.5:
            scenario.openings[name] = json.dumps(_opening(chance, scenario, name, chance.randint(1, 2), list(spawnable)))
            spawnable.append(("opening", name))
    if chance.random() < 0.5:
        _agent(chance, scenario, "helper", [])
        spawnable.append(("agent", "helper"))
    hurried = seed % 100 in HURRIED
    scenario.moment_s = chance.choice((0.0005, 0.002, 0.006)) if hurried else scenario.moment_s
    size = chance.choice((4, 5, 6, 8) if hurried else (1, 1, 2, 2, 3, 4, 6))
    scenario.openings["main"] = json.dumps(_opening(chance, scenario, "main", size, spawnable))
    if hurried:
        _hurry(chance, scenario)
    if seed % 100 in JUDGED:
        scenario.openings = {name: _judged(chance, scenario, text) for name, text in scenario.openings.items()}
    return scenario


def _hurry(chance, scenario):
    """Let agents do nothing but end, and nodes with several sources race."""
    for digest in scenario.programs:
        if chance.random() < 0.4:
            scenario.programs[digest] = ()
    document = json.loads(scenario.openings["main"])
    for node in document["nodes"]:
        if sum(edge["to"].startswith(f"{node['id']}.") for edge in document["edges"]) > 1 and chance.random() < 0.6:
            node["merge"] = chance.choice(("first_ok", "first_ok", "any"))
            scenario.races = True
    scenario.openings["main"] = json.dumps(document)


def _judged(chance, scenario, text):
    """The opening with contracts for what agents put out, and votes where several of them meet."""
    document = json.loads(text)
    for node in document["nodes"]:
        if node["use"].startswith("agent:") and chance.random() < 0.3:
            port, schema = chance.choice((("n", {"maximum": 1}), ("ok", {"const": True}), ("out", {"pattern": "^[0-7]"})))
            retry = chance.choice(("continue", "fresh", "escalate"))
            if retry == "escalate" and "for_each" in node:
                scenario.side_by_side.add(node["id"])  # whose output is shown to a person has left its place to the next item
            exhausted = {} if retry == "escalate" else {"on_exhausted": chance.choice(("fail", "warn"))}
            node["output"] = {"schema": schema, "port": port, "retry": retry, "attempts": chance.randint(1, 3), **exhausted}
        into = [edge["to"].partition(".")[2] for edge in document["edges"] if edge["to"].startswith(f"{node['id']}.")]
        votes = node["use"].startswith("agent:") and "merge" not in node and len(into) > 1 and len(set(into)) == 1
        if votes and chance.random() < 0.4:
            node["merge"] = {"vote": {"of": into[0], "rule": chance.choice(("majority", "plurality")), "on_tie": "first"}}
    return json.dumps(document)


def _agent(chance, scenario, name, spawnable):
    bundle = make_bundle(name)
    scenario.bundles[name] = bundle
    scenario.programs[bundle.digest] = make_program(chance, spawnable)


def _opening(chance, scenario, name, size, spawnable):
    nodes = [_node(chance, scenario, f"{name}-{number}", spawnable) for number in range(size)]
    edges = []
    for target in range(1, size):
        for source in sorted(set(chance.choices(range(target), k=chance.randint(0, 2)))):
            source_node = nodes[source]
            port = chance.choice(PORTS) if source_node["use"].startswith("agent:") else "out"
            guard = chance.choice(GUARDS) if port != "out" else ""
            into = chance.choice(("in", "x", "y")) if nodes[target]["use"].startswith("agent:") else "in"
            edges.append({"from": f"{source_node['id']}.{port}{guard}", "to": f"{nodes[target]['id']}.{into}"})
    _clauses(chance, scenario, nodes, edges)
    document = {"version": 0, "name": name, "params": {"items": [1, 2, 3][: chance.randint(0, 3)]}, "nodes": nodes, "edges": edges}
    policy = {}
    if chance.random() < 0.2:
        policy["max_parallel"] = chance.randint(1, 2)
    if chance.random() < 0.1:
        policy["budget_tokens"] = chance.randint(100, 2000)
    if chance.random() < 0.3:
        policy["approve_in_advance"] = list(ACTIONS)
    if chance.random() < 0.1:
        policy["timeout_ms"] = 36_000_000
    if policy:
        document["policy"] = policy
    if chance.random() < 0.15:
        document["artifacts"] = {"save": [f"{nodes[-1]['id']}.out"]}
    return document


def _clauses(chance, scenario, nodes, edges):
    """Waits, gates, items and merges, here and there."""
    for number, node in enumerate(nodes):
        if chance.random() < 0.1:
            node["wait"] = {"for": chance.choice(("500ms", "5s", "2h"))}
        if chance.random() < 0.1 and node["use"].startswith("agent:"):
            node["for_each"] = {"in": "params.items", "as": "item", **({"width": 1} if chance.random() < 0.5 else {})}
            scenario.side_by_side |= set() if "width" in node["for_each"] else {node["id"]}
        if chance.random() < 0.12:
            limits = {"timeout": "1h", "on_timeout": "approve"} if chance.random() < 0.5 else {}
            again = {"revise_to": node["id"], "max_revisions": 1} if node["use"].startswith("agent:") and chance.random() < 0.5 else {}
            node["gate"] = {"ask": "Is it good?", **limits, **again}
        if sum(edge["to"].startswith(f"main-{number}.") for edge in edges) > 1 and chance.random() < 0.2:
            node["merge"] = chance.choice(("any", "first_ok", {"at_least": 1}))
            scenario.races = True


def _node(chance, scenario, node_id, spawnable):
    nested = [name for kind, name in spawnable if kind == "opening"]
    node = {"id": node_id}
    if nested and chance.random() < 0.2:
        node["use"] = f"opening:{chance.choice(nested)}"
    else:
        _agent(chance, scenario, f"agent-{node_id}", spawnable)
        node["use"] = f"agent:agent-{node_id}"
        node["with"] = {"k": chance.randrange(10)}
    if chance.random() < 0.5:
        node["retry"] = {"max_attempts": chance.randint(2, 3), "initial_ms": chance.choice((10, 300, 5_000))}
    if chance.random() < 0.6:
        node["on_failure"] = chance.choice(("continue", "skip", "skip"))
    # long enough for all that a node may have to do: a time-out comes only where something never answers, on every way through the run
    node["timeout_ms"] = 3_600_000 if node["use"].startswith("opening:") else chance.choice((90_000, 120_000))
    return node
