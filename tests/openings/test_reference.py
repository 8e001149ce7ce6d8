"""The language a second time, as docs/openings.md says it, without a machine: what becomes of each node, told from what its agents do."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan_properties import OUTCOMES, openings, play

from runloop.openings.clauses import ContractRetry, Vote, VoteRule
from runloop.openings.model import Node, OnFailure, Opening
from runloop.openings.states import State


@dataclass
class Life:
    """What came of a node, or of one of its items: outputs or the code of its failure; how often a person was asked."""

    outputs: dict[str, list[Any]] | None = None
    code: str = ""
    attempts: int = 0
    asked: int = 0


def answer(name: str, number: int, options: tuple[str, ...]) -> str:
    """What ``play`` answers to the gate of that number."""
    return options[len(name) * number % len(options)]


def live(node: Node, name: str, outcomes: list[dict[str, list[Any]] | None]) -> Life:
    """Attempt after attempt, until one counts or none is left; failures and broken contracts are counted apart."""
    life, failed, broken = Life(), 0, 0
    while True:
        outcome = outcomes[life.attempts % 3]
        life.attempts += 1
        if outcome is None:
            failed += 1
            if failed == node.retry.max_attempts:
                life.code = "failed"
                return life
            continue
        contract, values = node.output, outcome.get("out", [])
        broken += 1
        if contract is None or (values and all(type(value) is int for value in values)):
            break
        if contract.retry is ContractRetry.ESCALATE:
            life.asked += 1
            option = answer(name, life.asked, ("accept", "retry", "reject") if broken < contract.attempts else ("accept", "reject"))
        elif broken < contract.attempts:
            option = "retry"
        else:
            option = "accept" if contract.warn else "reject"
        if option == "reject":
            life.code = "output.invalid"
            return life
        if option == "accept":
            break
    life.outputs = outcome
    return life


def undecided(vote: Vote, values: list[Any]) -> str:
    """The code of a vote that nobody won, or nothing."""
    votes = [repr(value) for value in values if value is not None]
    if len(votes) < vote.quorum:
        return "vote.quorum"
    counted = Counter(votes).most_common()
    share, alone = Fraction(counted[0][1], len(votes)), len(counted) == 1 or counted[0][1] > counted[1][1]
    won = {
        VoteRule.MAJORITY: share > Fraction(1, 2),
        VoteRule.SUPERMAJORITY: share >= Fraction(2, 3),
        VoteRule.UNANIMOUS: share == 1,
        VoteRule.PLURALITY: alone,
    }[vote.rule]
    return "" if won or (vote.first_on_tie and not alone) else "vote.undecided"


def elements(values: list[Any]) -> list[Any]:
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


@dataclass
class Reference:
    """Nodes in the order of the document, which is one of the graph's; edges lead forward alone."""

    opening: Opening
    outcomes: dict[str, list[dict[str, list[Any]] | None]]
    states: dict[str, State] = field(default_factory=dict)
    outputs: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        for node in self.opening.nodes:
            inputs = self.inputs(node)
            if inputs is None:
                self.states[node.id] = State.SKIPPED
                continue
            life = self.live(node, inputs)
            if life.outputs is not None and node.gate is not None:
                option = answer(node.id, life.asked + 1, node.gate.options)
                life = Life(code="gate.rejected") if option == "reject" else Life({**life.outputs, "gate": [option]})
            if life.outputs is None:
                self.states[node.id], self.codes[node.id] = State.ERROR, life.code
            else:
                self.states[node.id], self.outputs[node.id] = State.OK, life.outputs

    def inputs(self, node: Node) -> dict[str, list[Any]] | None:
        """What is delivered, by port; None if the node does not run."""
        found: dict[str, list[Any]] = {}
        delivered, held = False, True
        edges = [edge for edge in self.opening.edges if edge.target.node == node.id]
        for edge in edges:
            values = self.outputs.get(edge.source.node, {}).get(edge.source.port, [])
            if edge.guard is not None and not edge.guard.holds(values):
                held = False
            elif values:
                delivered = True
                if edge.target.port != "in":
                    found.setdefault(edge.target.port, []).extend(values)
        return found if not edges or (delivered and (held or node.merge.vote is not None)) else None

    def live(self, node: Node, inputs: dict[str, list[Any]]) -> Life:
        if node.merge.vote is not None:
            code = undecided(node.merge.vote, elements(inputs.get(node.merge.vote.port, [])))
            if code:
                return Life(code=code)
        each, outcomes = node.for_each, self.outcomes[node.id]
        if each is None:
            return live(node, node.id, outcomes)
        items = elements(inputs.get(each.port, [])) if each.port else each.items
        if len(items) > each.max_items:
            return Life(code="items.too_many")
        lives = [live(node, f"{node.id}[{index}]", outcomes) for index in range(len(items))]
        outputs: dict[str, list[Any]] = {}
        for port in self.named(node.id) | {port for one in lives for port in one.outputs or {}}:
            values = [(one.outputs or {}).get(port, []) for one in lives]
            outputs[port] = [[got[0] if len(got) == 1 else got or None for got in values]]
        return Life({**outputs, "errors": [[(index, one.code) for index, one in enumerate(lives) if one.code]]})

    def named(self, node: str) -> set[str]:
        """The ports of a node that the opening names."""
        refs = [edge.source for edge in self.opening.edges] + list(self.opening.save)
        refs += [each.ref for each in self.opening.success.expressions] if self.opening.success is not None else []
        return {ref.port for ref in refs if ref.node == node} or {"out"}


@settings(max_examples=300, deadline=None)
@given(openings(free=False), st.data())
def test_the_plan_ends_as_the_language_says(opening, data):
    outcomes = {node.id: data.draw(st.lists(st.none() | OUTCOMES, min_size=3, max_size=3)) for node in opening.nodes}
    told = Reference(opening, outcomes)
    told.run()

    plan = play(opening, outcomes, random.Random(data.draw(st.integers(0, 2**32)))).plan

    assert {name: state for name, state in plan.states.items() if "[" not in name} == told.states
    outputs = {name: dict(ports) for name, ports in plan.outputs.items() if "[" not in name}
    for name, ports in outputs.items():
        if opening.node(name).for_each is not None:
            ports["errors"] = [[(each["index"], each["code"]) for each in ports["errors"][0]]]
    assert outputs == told.outputs
    final = plan.final
    assert final is not None
    failed = [node.id for node in opening.nodes if node.on_failure is OnFailure.CONTINUE and node.id in told.codes]
    if failed:
        assert (final.status, final.code) == ("failed", told.codes[failed[0]])
    elif opening.success is None:
        assert final.status == "succeeded"
    else:
        holds = bool(told.outputs.get("n0", {}).get("out"))
        assert (final.status, final.code) == (("succeeded", "") if holds else ("failed", "success"))
