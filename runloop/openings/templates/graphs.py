"""The graphs of the templates, as text with comments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import NamedTuple

from runloop.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make: ``agent(role, index)`` names the agent of a role's node, counted from 0."""

    agent: Callable[[str, int], str]
    rounds: int
    branches: int


class Parts(NamedTuple):
    """Nodes and edges, one text each with its comments, and what the run is to end with."""

    nodes: list[str]
    edges: list[str]
    success: str
    save: list[str]
    params: str = ""


@dataclass(slots=True)
class _Graph:
    """Collects nodes and edges."""

    plan: Plan
    nodes: list[str] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)

    def node(self, name: str, role: str, instruction: str, *lines: str, note: str = "", index: int = 0) -> None:
        head = [f"  - id: {name}", f"    use: agent:{self.plan.agent(role, index)}"]
        said = f'    with: {{task: "{{{{params.task}}}}", instruction: "{instruction}"}}'
        self.nodes.append("\n".join([*_comments(note), *head, said, *(f"    {line}" for line in lines)]))

    def edge(self, source: str, target: str, note: str = "") -> None:
        self.edges.append("\n".join([*_comments(note), f"  - {{from: '{source}', to: {target}}}"]))

    def parts(self, success: str, *save: str, params: str = "") -> Parts:
        return Parts(self.nodes, self.edges, success, list(save), params)


def pipeline(plan: Plan) -> Parts:
    """Three steps in a row."""
    graph = _Graph(plan)
    graph.node("gather", "gather", "Collect what is needed for the task.")
    graph.node("draft", "draft", "Make a first version from what was collected.")
    graph.node("finish", "finish", "Turn the first version into the result.")
    graph.edge("gather.out", "draft.input")
    graph.edge("draft.out", "finish.input")
    return graph.parts("exists(finish.out)", "finish.out")


def parallel(plan: Plan) -> Parts:
    """Branches side by side, and a node that needs them all."""
    graph = _Graph(plan)
    for index in range(plan.branches):
        note = "" if index else "They run side by side. One that fails ends the run; with on_failure: skip it would only be missing."
        graph.node(f"worker_{index + 1}", "worker", f"Do part {index + 1} of {plan.branches} of the task.", note=note, index=index)
        graph.edge(f"worker_{index + 1}.out", "combine.results")
    graph.node("combine", "combine", "Put the results together.", note="Starts when every branch has ended.")
    return graph.parts("exists(combine.out)", "combine.out")


def fork_join(plan: Plan) -> Parts:
    """Branches side by side, and a node that starts when enough are done."""
    graph = _Graph(plan)
    needed = plan.branches // 2 + 1
    for index in range(plan.branches):
        note = "" if index else "One that fails is only missing: the others may be enough."
        lines = "on_failure: skip"
        graph.node(
            f"worker_{index + 1}",
            "worker",
            f"Do the whole task in your own way. {_which('worker', index, plan)}",
            lines,
            note=note,
            index=index,
        )
        graph.edge(f"worker_{index + 1}.out", "join.results")
    graph.node(
        "join",
        "join",
        "Make one result of those that are there.",
        f"merge: {{at_least: {needed}}}",
        note=f"Starts when {needed} results are there. With merge: first_ok it starts with the first one, and the others are stopped.",
    )
    return graph.parts("exists(join.out)", "join.out")


def debate(plan: Plan) -> Parts:
    """Two sides that answer each other's last argument, and a judge under contract."""
    graph = _Graph(plan)
    for number in range(1, plan.rounds + 1):
        said = "Argue for the statement" if number == 1 else "Answer the last argument against the statement"
        graph.node(f"pro_{number}", "pro", f"{said}.", note=f"Round {number}.")
        said = "Argue against the statement" if number == 1 else "Answer the last argument for the statement"
        graph.node(f"con_{number}", "con", f"{said}.")
    for number in range(1, plan.rounds + 1):
        if number > 1:
            graph.edge(f"con_{number - 1}.out", f"pro_{number}.input", f"Round {number} answers round {number - 1}.")
            graph.edge(f"pro_{number - 1}.out", f"con_{number}.input")
    for side in ("pro", "con"):
        for number in range(1, plan.rounds + 1):
            note = f"The judge hears all that {side} said." if number == 1 else ""
            graph.edge(f"{side}_{number}.out", f"judge.{side}", note)
    graph.node(
        "judge",
        "judge",
        "Weigh the arguments of both sides, and say who won and why.",
        "output:",
        "  port: verdict",
        "  schema:",
        "    type: object",
        "    required: [winner, reason]",
        "    additionalProperties: false",
        "    properties: {winner: {enum: [pro, con]}, reason: {type: string, minLength: 1}}",
        "  # what was wrong comes back on the port feedback; after the last attempt the run fails",
        "  retry: continue",
        "  attempts: 2",
        note="A verdict that names neither side, or gives no reason, does not count.",
    )
    return graph.parts("exists(judge.verdict)", "judge.verdict")


def switch(plan: Plan) -> Parts:
    """Guards on one text: exactly one branch runs."""
    graph = _Graph(plan)
    cases = [f"case_{number}" for number in range(1, plan.branches + 1)]
    listed = ", ".join(cases)
    graph.node(
        "classify",
        "classify",
        f"Say which case the task is: {listed}.",
        f"output: {{port: case, schema: {{enum: [{listed}]}}, attempts: 2}}",
        note="Only these answers count. Rename them to what they mean, here and in the guards below.",
    )
    for index, case in enumerate(cases):
        graph.node(case, "case", f"Do the task: it is {case}.", index=index)
        note = "" if index else "Guards: the branches whose guard does not hold are skipped."
        graph.edge(f'classify.case == "{case}"', f"{case}.in", note)
    graph.node("finish", "finish", "Turn the result of the branch into the answer.", note="Gets the result of whichever branch ran.")
    for case in cases:
        graph.edge(f"{case}.out", "finish.input")
    return graph.parts("exists(finish.out)", "finish.out")


def swarm(plan: Plan) -> Parts:
    """Votes that are counted by the plan, not by an agent."""
    graph = _Graph(plan)
    for index in range(plan.branches):
        note = "" if index else "They know nothing of each other. One that fails casts no vote."
        lines = ("on_failure: skip", "output: {port: vote, schema: {type: string, minLength: 1}, attempts: 2}")
        graph.node(
            f"voter_{index + 1}", "voter", f"Give your vote as a short text. {_which('voter', index, plan)}", *lines, note=note, index=index
        )
        graph.edge(f"voter_{index + 1}.vote", "decide.votes")
    graph.node(
        "decide",
        "decide",
        "Carry out what was decided.",
        f"merge: {{vote: {{of: votes, rule: majority, quorum: {plan.branches // 2 + 1}}}}}",
        note="More than half of the votes cast must agree, else the run fails. Other rules: supermajority, unanimous, plurality.",
    )
    return graph.parts("exists(decide.out)", "decide.out")


def iterate(plan: Plan) -> Parts:
    """Draft and review in turns, written out, so that the bound is in the graph."""
    graph = _Graph(plan)
    for number in range(1, plan.rounds + 1):
        again = number > 1
        note = f"Round {number}" + (": runs only if the review before it said no." if again else ".")
        graph.node(f"draft_{number}", "draft", "Change the draft as the review says." if again else "Make a first draft.", note=note)
        graph.node(
            f"review_{number}",
            "review",
            "Say whether the draft is good enough, and if not, what to change.",
            "output: {port: ok, schema: {type: boolean}, attempts: 2}",
        )
        if again:
            graph.edge(f"review_{number - 1}.ok == false", f"draft_{number}.in")
            graph.edge(f"draft_{number - 1}.out", f"draft_{number}.draft")
            graph.edge(f"review_{number - 1}.out", f"draft_{number}.review")
        graph.edge(f"draft_{number}.out", f"review_{number}.draft")
    accepted = [f"review_{number}.ok == true" for number in range(1, plan.rounds + 1)]
    return graph.parts(", ".join(accepted), *(f"draft_{number}.out" for number in range(1, plan.rounds + 1)))


def map_reduce(plan: Plan) -> Parts:
    """One node for every item of a list, and one for their results."""
    graph = _Graph(plan)
    graph.node(
        "map",
        "map",
        "Do the task for this one item.",
        "# at most so many items at a time; an item that fails leaves null in its place, and its error on the port errors",
        "for_each: {in: params.items, as: item, width: 4, max: 1000, on_failure: continue}",
        note="Runs once for each item. For a list that another agent makes: in: items, and an edge to map.items.",
    )
    graph.node("reduce", "reduce", "Make one result of the results of all items.")
    graph.edge("map.out", "reduce.results")
    graph.edge("map.errors", "reduce.errors")
    return graph.parts("exists(reduce.out)", "reduce.out", params="  items: [first, second, third]\n")


def _which(role: str, index: int, plan: Plan) -> str:
    """Who is asked: the same question to the same model would be answered with the kept answer of another node."""
    return f"You are {role} {index + 1} of {plan.branches}."


def _comments(note: str) -> list[str]:
    return [f"  # {note}"] if note else []
