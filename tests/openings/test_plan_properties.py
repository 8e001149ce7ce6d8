"""Random graphs, random orders: the end is the same, every node ends once, and nothing that happens can break the machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.openings.clauses import Contract, ContractRetry, ForEach, Gate, Merge, MergeRule, Vote, VoteRule, Wait
from runloop.openings.expressions import Condition, Expression, PortRef
from runloop.openings.model import Edge, Node, OnFailure, Opening, Policy, Retry, Success
from runloop.openings.plan import Plan
from runloop.openings.states import (
    NODE_TRANSITIONS,
    TERMINAL,
    Begin,
    Cancel,
    CloseGate,
    Command,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeResumed,
    NodeRetrying,
    NodeSpent,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    OpenGate,
    RunDone,
    StartNode,
    State,
    StopNode,
    Tick,
    Waiting,
    Warn,
)

GUARDS = (
    st.none() | st.builds(Condition, st.sampled_from(["==", "!="]), st.booleans()) | st.builds(Condition, st.just(">"), st.integers(0, 2))
)
VALUES = st.lists(st.booleans() | st.integers(0, 3), max_size=2)
OUTCOMES = st.fixed_dictionaries({"out": VALUES}, optional={"ok": VALUES})


@st.composite
def clauses(draw: st.DrawFn, above: list[str], sources: int, *, free: bool) -> dict[str, Any]:
    """Clauses of a node; without ``free`` only those whose end does not depend on the order in which things happen."""
    found: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        found["wait"] = Wait(for_ms=draw(st.integers(1, 100)))
    if draw(st.integers(0, 3)) == 0:
        keeps = draw(st.booleans()) if free else True
        port = "x" if sources and draw(st.booleans()) else ""
        items = () if port else tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
        found["for_each"] = ForEach("x", port, items, draw(st.none() | st.integers(1, 2)), draw(st.sampled_from([2, 1000])), keeps)
    if draw(st.integers(0, 3)) == 0:
        retry = draw(st.sampled_from(ContractRetry))
        found["output"] = Contract("out", {"type": "integer"}, retry, draw(st.integers(1, 3)), draw(st.booleans()))
    if draw(st.integers(0, 3)) == 0:
        revise_to = draw(st.sampled_from(["", *above])) if free else ""
        options = ("approve", *(["revise"] if revise_to else []), "reject")
        timeout = draw(st.none() | st.integers(1, 100)) if free else None
        found["gate"] = Gate("?", options, timeout, draw(st.sampled_from(["approve", "reject"])), revise_to, draw(st.integers(1, 2)))
    if sources and draw(st.integers(0, 2)) == 0:
        rules = list(MergeRule) if free else [MergeRule.ALL, MergeRule.VOTE]
        rule = draw(st.sampled_from(rules))
        vote = (
            Vote("x", (), draw(st.sampled_from(VoteRule)), draw(st.integers(1, 2)), draw(st.booleans())) if rule is MergeRule.VOTE else None
        )
        found["merge"] = Merge(rule, draw(st.integers(1, sources)) if rule is MergeRule.AT_LEAST else 1, vote)
    return found


@st.composite
def openings(draw: st.DrawFn, *, free: bool = True) -> Opening:
    """A random acyclic opening of up to eight nodes; without ``free`` its end does not depend on the order in which things happen."""
    count = draw(st.integers(1, 8))
    ways = list(OnFailure) if free else [OnFailure.CONTINUE, OnFailure.SKIP]
    edges = []
    for target in range(1, count):
        for source in draw(st.lists(st.integers(0, target - 1), max_size=3)):
            ports = draw(st.sampled_from(["out", "ok"])), draw(st.sampled_from(["in", "x", "y"]))
            edges.append(Edge(PortRef(f"n{source}", ports[0]), PortRef(f"n{target}", ports[1]), draw(GUARDS)))
    draw(st.randoms(use_true_random=False)).shuffle(edges)
    nodes = tuple(
        Node(
            f"n{index}",
            "agent",
            "x",
            retry=Retry(draw(st.integers(1, 3)), 20, None, 2.0, 0.5),
            timeout_ms=draw(st.none() | st.integers(1, 200)) if free else None,
            budget_tokens=draw(st.none() | st.integers(0, 20)) if free else None,
            on_failure=draw(st.sampled_from(ways)),
            **draw(clauses(leading_to(f"n{index}", edges), len(sources_of(f"n{index}", edges)), free=free)),
        )
        for index in range(count)
    )
    policy = Policy(
        max_parallel=draw(st.none() | st.integers(1, 3)),
        timeout_ms=draw(st.none() | st.integers(1, 500)) if free else None,
        budget_tokens=draw(st.none() | st.integers(0, 50)) if free else None,
    )
    success = draw(st.none() | st.just(Success("any_of", (Expression(PortRef("n0", "out"), None),))))
    return Opening("t", nodes, tuple(edges), policy=policy, success=success, save=(PortRef(f"n{count - 1}", "out"),))


def sources_of(node: str, edges: Sequence[Edge]) -> set[str]:
    return {edge.source.node for edge in edges if edge.target.node == node}


def leading_to(node: str, edges: Sequence[Edge]) -> list[str]:
    """The node itself and all its ancestors."""
    found = [node]
    for name in found:
        found += sorted(sources_of(name, edges) - set(found))
    return found


def leading_only_to(node: str, edges: Sequence[Edge]) -> set[str]:
    """The sources of a node that nothing else needs."""
    return {source for source in sources_of(node, edges) if {edge.target.node for edge in edges if edge.source.node == source} == {node}}


class Watcher:
    """Follows the commands of a plan and objects to what may not be."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.before = dict(plan.states)
        self.done: dict[str, State] = {}
        self.inputs: dict[str, dict[str, list[Any]]] = {}
        self.running: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.gates: dict[str, OpenGate] = {}
        self.rounds: dict[str, int] = {}
        self.revisions: dict[str, int] = {}
        self.old: dict[str, bool] = {}  # items that an earlier round had, and this one may have or not
        self.ends = 0

    def see(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            assert self.ends == 0, "a command after RunDone"
            self._see_one(command)
        limit = self.plan.max_parallel
        assert limit is None or len(self.running) <= limit
        for node in self.plan.opening.nodes:
            width = node.for_each.width if node.for_each else None
            assert width is None or sum(name.startswith(f"{node.id}[") for name in self.running) <= width
        for name, state in self.plan.states.items():
            assert reachable(self.before.get(name, State.PENDING), state)
            assert (state in TERMINAL) == (name in self.done) or name in self.old
        for node in self.plan.opening.nodes:
            if node.merge.rule is MergeRule.FIRST_OK and self.plan.states[node.id] not in (State.PENDING, State.SKIPPED):
                assert all(self.plan.states[source] in TERMINAL for source in leading_only_to(node.id, self.plan.opening.edges))
        for name, gate in self.gates.items():
            assert self.plan.states[name] is State.WAITING
            assert Waiting(name, "gate", gate.deadline_ms) in self.plan.waits()
        self.before = dict(self.plan.states)
        assert self.plan.done == (self.ends == 1)
        return commands

    def answered(self, node: str, option: str) -> None:
        """A gate was answered: it is no longer open, and a revision brings back all that depends on where it leads."""
        gate = self.gates.pop(node)
        assert option in gate.options
        if option == "revise":
            own = self.plan.opening.node(node).gate
            assert own is not None
            self.revisions[node] = self.revisions.get(node, 0) + 1
            assert self.revisions[node] <= own.max_revisions
            for each in self.plan.opening.nodes:
                if own.revise_to in leading_to(each.id, self.plan.opening.edges):
                    self.done.pop(each.id, None)
                    self.inputs.pop(each.id, None)

    def _see_one(self, command: Command) -> None:
        match command:
            case OpenGate() | CloseGate():
                self._see_gate(command)
            case NodeReady() | NodeDone() | RunDone():
                self._see_node(command)
            case _:
                self._see_attempt(command)

    def _see_attempt(self, command: Command) -> None:
        match command:
            case StartNode(node, attempt, inputs, _, _):
                assert node not in self.running
                assert node not in self.gates
                assert attempt == self.attempts.get(node, 0) + 1
                self.attempts[node] = self.running[node] = attempt
                delivered = {port: values for port, values in inputs.items() if port not in ("feedback", "revise")}
                if "[" not in node:
                    assert self.inputs.setdefault(node, delivered) == delivered
            case StopNode(node, attempt, _):
                assert self.running.pop(node) == attempt
            case NodeRetrying(node, attempt, _, _):
                self.running.pop(node, None)
                assert attempt == self.attempts[node]
            case Warn(node, _):
                assert node in self.attempts

    def _see_gate(self, command: OpenGate | CloseGate) -> None:
        match command:
            case OpenGate(node, attempt, number, _, _, _, _):
                self.running.pop(node, None)
                assert node not in self.gates
                assert number == self.rounds.get(node, 0) + 1
                assert attempt == self.attempts.get(node, attempt)
                self.gates[node], self.rounds[node] = command, number
            case CloseGate(node, number, _, ""):
                assert self.gates.pop(node).round == number
            case CloseGate(node, number, _, option):
                assert self.gates[node].round == number
                self.answered(node, option)

    def _see_node(self, command: NodeReady | NodeDone | RunDone) -> None:
        match command:
            case NodeReady(node):
                assert node not in self.done
                assert node not in self.gates
                for name in [name for name in self.done if name.startswith(f"{node}[")]:
                    del self.done[name]
                    self.old[name] = True
            case NodeDone(node, _, _, _, _, why) if why.startswith("revised after") and "[" not in node:
                self.running.pop(node, None)
                assert node not in self.gates
            case NodeDone(node, attempt, status, _, error, _):
                self.running.pop(node, None)
                assert node not in self.gates
                assert node not in self.done
                assert status in TERMINAL
                assert (error is not None) == (status is State.ERROR)
                assert self.plan.opening.node(node).for_each is not None or attempt in (0, self.attempts.get(node, 0))
                self.done[node] = status
            case RunDone():
                assert set(self.done) | set(self.old) >= set(self.plan.states)
                assert not self.running
                assert not self.gates
                self.ends += 1


def reachable(start: State, end: State) -> bool:
    seen, todo = {start}, [start]
    while todo:
        for state in NODE_TRANSITIONS[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return end in seen


def play(opening: Opening, outcomes: dict[str, list[Any]], order: random.Random, *, late: float = 0.0) -> Watcher:
    """Run to the end; each attempt's outcome and each answer is fixed, the order in which things happen is not.

    With probability ``late`` nothing happens before the next deadline.
    """
    plan = Plan(opening, b"seed")
    watcher = Watcher(plan)
    now = 0
    watcher.see(plan.step(Begin(), now))
    while not plan.done:
        moves = sorted(watcher.running) + sorted(watcher.gates)
        if moves and order.random() >= late:
            node = order.choice(moves)
            if node in watcher.gates:
                gate = watcher.gates[node]
                option = gate.options[len(node) * gate.round % len(gate.options)]
                watcher.answered(node, option)
                watcher.see(plan.step(GateAnswered(node, gate.round, option), now))
                continue
            outcome = outcomes[node.partition("[")[0]][(watcher.running[node] - 1) % 3]
            attempt = watcher.running.pop(node)
            if outcome is None:
                watcher.see(plan.step(NodeFailed(node, attempt, "no", retryable=True), now))
            else:
                watcher.see(plan.step(NodeSucceeded(node, attempt, outcome), now))
        else:
            deadline = plan.next_deadline_ms
            assert moves or deadline is not None, "nothing runs and nothing will"
            now = max(now, deadline or 0)
            watcher.see(plan.step(Tick(), now))
    return watcher


@settings(max_examples=150, deadline=None)
@given(openings(free=False), st.data())
def test_every_order_of_completions_gives_the_same_end(opening, data):
    outcomes = {node.id: data.draw(st.lists(st.none() | OUTCOMES, min_size=3, max_size=3)) for node in opening.nodes}

    first, second = (play(opening, outcomes, random.Random(data.draw(st.integers(0, 2**32)))) for _ in range(2))

    assert dict(first.plan.states) == dict(second.plan.states)
    assert dict(first.plan.outputs) == dict(second.plan.outputs)
    assert first.inputs == second.inputs
    assert first.plan.final == second.plan.final
    check_the_rule(opening, first)


def check_the_rule(opening: Opening, watcher: Watcher) -> None:
    """Whether each node ran, told apart from the code: straight from the rule in docs/openings.md."""
    states, outputs = watcher.plan.states, watcher.plan.outputs
    for node in opening.nodes:
        incoming = [edge for edge in opening.edges if edge.target.node == node.id]
        values = [outputs.get(edge.source.node, {}).get(edge.source.port, []) for edge in incoming]
        holds = [edge.guard is None or edge.guard.holds(got) for edge, got in zip(incoming, values, strict=True)]
        delivered = [got if held else [] for got, held in zip(values, holds, strict=True)]
        votes = node.merge.vote is not None
        runs = not incoming or (any(delivered) and (votes or all(holds)))
        assert (states[node.id] is not State.SKIPPED) == runs
        if runs and node.id in watcher.inputs:
            expected: dict[str, list[Any]] = {}
            for edge, got in zip(incoming, delivered, strict=True):
                if got and edge.target.port != "in":
                    expected.setdefault(edge.target.port, []).extend(got)
            assert {port: got for port, got in watcher.inputs[node.id].items() if not (votes and port == "vote")} == expected


@settings(max_examples=150, deadline=None)
@given(openings(), st.data())
def test_every_run_comes_to_its_end_whatever_is_answered(opening, data):
    outcomes = {node.id: data.draw(st.lists(st.none() | OUTCOMES, min_size=3, max_size=3)) for node in opening.nodes}

    watcher = play(opening, outcomes, random.Random(data.draw(st.integers(0, 2**32))), late=0.2)

    assert watcher.ends == 1
    assert watcher.plan.waits() == []


def event_for(plan: Plan) -> st.SearchStrategy[Any]:
    """Anything that may be reported, fitting or not."""
    nodes = st.sampled_from(list(plan.states))
    attempts = st.integers(1, 3)
    spent = st.integers(-5, 30)
    options = st.sampled_from(["approve", "reject", "revise", "accept", "retry", "other"])
    fitting: list[st.SearchStrategy[Any]] = []
    for step in plan._steps:
        if step.occupies:
            fitting.append(
                st.builds(NodeSucceeded, st.just(step.id), st.just(step.attempt), OUTCOMES, st.integers(0, 2), st.integers(0, 2))
            )
        if step.gate is not None:
            fitting.append(st.builds(GateAnswered, st.just(step.id), st.just(step.gate.round), st.sampled_from(step.gate.options)))
    return st.one_of(
        *fitting,
        st.just(Tick()),
        st.just(Begin()),
        st.builds(NodeSucceeded, nodes, attempts, OUTCOMES, spent, spent),
        st.builds(NodeFailed, nodes, attempts, st.just("no"), st.just("failed"), st.booleans(), spent, spent),
        st.builds(NodeSpent, nodes, attempts, spent, spent),
        st.builds(NodeWaiting, nodes, attempts),
        st.builds(NodeResumed, nodes, attempts),
        st.builds(GateAnswered, nodes, attempts, options, st.sampled_from(["", "better"])),
    )


@settings(max_examples=100, deadline=None)
@given(openings(), st.data())
def test_whatever_happens_the_machine_stays_whole_and_a_cancel_ends_it(opening, data):
    plan = Plan(opening, b"seed")
    watcher = Watcher(plan)
    if data.draw(st.booleans()):
        watcher.see(plan.step(Begin(), 0))
    now = 0
    for _ in range(data.draw(st.integers(0, 20))):
        event = data.draw(event_for(plan))
        now += data.draw(st.integers(-5, 50))
        ended = plan.done
        if isinstance(event, (NodeSucceeded, NodeFailed)) and watcher.running.get(event.node) == event.attempt:
            del watcher.running[event.node]
        if isinstance(event, GateAnswered):
            gate = watcher.gates.get(event.node)
            if gate is not None and gate.round == event.round and event.option in gate.options:
                watcher.answered(event.node, event.option)
        commands = watcher.see(plan.step(event, now))
        assert not (ended and commands)

    watcher.see(plan.step(Cancel("stop"), now))

    assert plan.done
    assert all(state in TERMINAL for state in plan.states.values())
    assert plan.next_deadline_ms is None
    assert plan.waits() == []
    assert plan.step(Tick(), 10**9) == []


class Recorder:
    """A plan, and the history that a run's records would give: what happened, and what was made ready, started and ended by itself."""

    def __init__(self, opening: Opening) -> None:
        self.plan = Plan(opening, b"seed")
        self.history: list[tuple[int, Any]] = []
        self.now = 0

    def take(self, event: Any) -> list[Command]:
        commands = self.plan.step(event, self.now)
        if not isinstance(event, Tick):
            self.history.append((self.now, event))
        for command in commands:
            match command:
                case StopNode(node, attempt, why) if why.startswith("timeout after"):
                    self.history.append((self.now, NodeFailed(node, attempt, why, "timeout", retryable=True)))
                case CloseGate(node, number, why, option) if option:
                    self.history.append((self.now, GateAnswered(node, number, option, why)))
                case NodeReady():
                    self.history.append((self.now, command))
                case StartNode(node, _, _, _, _):
                    self.history.append((self.now, NodeStarted(node)))
        return commands

    def pass_time(self, ms: int) -> None:
        """A deadline that passes is its own moment: the record of the event and of the time-out carry different times."""
        end = self.now + ms
        while not self.plan.done and self.plan.next_deadline_ms is not None and self.plan.next_deadline_ms <= end:
            self.now = max(self.now, self.plan.next_deadline_ms)
            self.take(Tick())
        self.now = end


@settings(max_examples=100, deadline=None)
@given(openings(), st.data())
def test_a_plan_rebuilt_after_any_of_its_steps_is_the_one_that_was_never_interrupted(opening, data):
    run = Recorder(opening)
    run.take(Begin())
    check_rebuilt(run)
    for _ in range(data.draw(st.integers(0, 12))):
        if run.plan.done:
            break
        run.pass_time(data.draw(st.integers(0, 15)))
        if not run.plan.done:
            run.take(data.draw(event_for(run.plan)))
        check_rebuilt(run)


def check_rebuilt(run: Recorder) -> None:
    plan = run.plan
    if plan.final is not None and plan.final.code == "timeout" and "opening" in plan.final.reason:
        return  # the end of the opening's clock is the end of the run: nobody rebuilds a run that has its last record
    rebuilt, commands = Plan.rebuild(plan.opening, b"seed", run.history, run.now)

    assert dict(rebuilt.outputs) == dict(plan.outputs)
    assert rebuilt.final == plan.final
    assert rebuilt.spent == plan.spent
    held = {step.id for step in plan._steps if step.held}
    assert dict(rebuilt.states) == {node: State.RUNNING if node in held else state for node, state in plan.states.items()}
    assert [wait for wait in plan.waits() if wait.why != "person"] == rebuilt.waits()
    under_way = {step.id: (step.attempt, step.given()) for step in plan._steps if step.occupies}
    assert {command.node: (command.attempt, command.inputs) for command in commands if isinstance(command, StartNode)} == under_way
    gates = {step.id: (step.gate, step.attempt) for step in plan._steps if step.gate is not None}
    assert {step.id: (step.gate, step.attempt) for step in rebuilt._steps if step.gate is not None} == gates
    assert {command.node for command in commands if isinstance(command, OpenGate)} == set(gates)


@settings(max_examples=60, deadline=None)
@given(openings(), st.data())
def test_a_rebuilt_plan_goes_on_like_the_one_that_was_never_interrupted(opening, data):
    run = Recorder(opening)
    run.take(Begin())
    cut = data.draw(st.integers(0, 8))
    rebuilt = None
    for number in range(14):
        if number == cut:
            rebuilt, _ = Plan.rebuild(opening, b"seed", run.history, run.now)
        if run.plan.done:
            break
        # held attempts are started again, so they are no longer held; time stands still, as their time-outs begin anew
        event = data.draw(event_for(run.plan).filter(lambda event: not isinstance(event, (NodeWaiting, NodeResumed))))
        commands = run.take(event)
        if rebuilt is not None:
            assert rebuilt.step(event, run.now) == commands
