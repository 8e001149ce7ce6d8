"""Random graphs, random orders: the end is the same, every node ends once, and nothing that happens can break the machine."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.openings.expressions import Condition, Expression, PortRef
from runloop.openings.model import Edge, Node, OnFailure, Opening, Policy, Retry, Success
from runloop.openings.plan import Plan
from runloop.openings.states import (
    NODE_TRANSITIONS,
    TERMINAL,
    Begin,
    Cancel,
    Command,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeResumed,
    NodeRetrying,
    NodeSpent,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    RunDone,
    StartNode,
    State,
    StopNode,
    Tick,
)

GUARDS = (
    st.none() | st.builds(Condition, st.sampled_from(["==", "!="]), st.booleans()) | st.builds(Condition, st.just(">"), st.integers(0, 2))
)
VALUES = st.lists(st.booleans() | st.integers(0, 3), max_size=2)
OUTCOMES = st.fixed_dictionaries({"out": VALUES}, optional={"ok": VALUES})


@st.composite
def openings(draw: st.DrawFn, *, ends_early: bool = True) -> Opening:
    """A random acyclic opening of up to eight nodes."""
    count = draw(st.integers(1, 8))
    ways = list(OnFailure) if ends_early else [OnFailure.CONTINUE, OnFailure.SKIP]
    nodes = tuple(
        Node(
            f"n{index}",
            "agent",
            "x",
            retry=Retry(draw(st.integers(1, 3)), 20, None, 2.0, 0.5),
            timeout_ms=draw(st.none() | st.integers(1, 200)) if ends_early else None,
            budget_tokens=draw(st.none() | st.integers(0, 20)) if ends_early else None,
            on_failure=draw(st.sampled_from(ways)),
        )
        for index in range(count)
    )
    edges = []
    for target in range(1, count):
        for source in draw(st.lists(st.integers(0, target - 1), max_size=3)):
            ports = draw(st.sampled_from(["out", "ok"])), draw(st.sampled_from(["in", "x", "y"]))
            edges.append(Edge(PortRef(f"n{source}", ports[0]), PortRef(f"n{target}", ports[1]), draw(GUARDS)))
    draw(st.randoms(use_true_random=False)).shuffle(edges)
    policy = Policy(
        max_parallel=draw(st.none() | st.integers(1, 3)),
        timeout_ms=draw(st.none() | st.integers(1, 500)) if ends_early else None,
        budget_tokens=draw(st.none() | st.integers(0, 50)) if ends_early else None,
    )
    success = draw(st.none() | st.just(Success("any_of", (Expression(PortRef("n0", "out"), None),))))
    return Opening("t", nodes, tuple(edges), policy=policy, success=success, save=(PortRef(f"n{count - 1}", "out"),))


class Watcher:
    """Follows the commands of a plan and objects to what may not be."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.before = dict(plan.states)
        self.done: dict[str, State] = {}
        self.inputs: dict[str, dict[str, list[Any]]] = {}
        self.running: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.ends = 0

    def see(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            assert self.ends == 0, "a command after RunDone"
            self._see_one(command)
        limit = self.plan.max_parallel
        assert limit is None or len(self.running) <= limit
        for node, state in self.plan.states.items():
            assert reachable(self.before[node], state)
            assert (state in TERMINAL) == (node in self.done)
        self.before = dict(self.plan.states)
        assert self.plan.done == (self.ends == 1)
        return commands

    def _see_one(self, command: Command) -> None:
        match command:
            case StartNode(node, attempt, inputs, _, _):
                assert node not in self.running
                assert attempt == self.attempts.get(node, 0) + 1
                self.attempts[node] = self.running[node] = attempt
                assert self.inputs.setdefault(node, inputs) == inputs
            case StopNode(node, attempt, _):
                assert self.running.pop(node) == attempt
            case NodeRetrying(node, attempt, _, _):
                self.running.pop(node, None)
                assert attempt == self.attempts[node]
            case NodeDone(node, attempt, status, _, error, _):
                self.running.pop(node, None)
                assert node not in self.done
                assert status in TERMINAL
                assert attempt == self.attempts.get(node, 0)
                assert (error is not None) == (status is State.ERROR)
                self.done[node] = status
            case NodeReady(node):
                assert node not in self.attempts
            case RunDone():
                assert set(self.done) == set(self.plan.states)
                assert not self.running
                self.ends += 1


def reachable(start: State, end: State) -> bool:
    seen, todo = {start}, [start]
    while todo:
        for state in NODE_TRANSITIONS[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return end in seen


def play(opening: Opening, outcomes: dict[str, list[Any]], order: random.Random) -> Watcher:
    """Run to the end; each attempt's outcome is fixed, the order in which attempts end is not."""
    plan = Plan(opening, b"seed")
    watcher = Watcher(plan)
    now = 0
    watcher.see(plan.step(Begin(), now))
    while not plan.done:
        if watcher.running and order.random() < 0.9:
            node = order.choice(sorted(watcher.running))
            outcome = outcomes[node][watcher.running[node] - 1]
            attempt = watcher.running.pop(node)
            if outcome is None:
                watcher.see(plan.step(NodeFailed(node, attempt, "no", retryable=True), now))
            else:
                watcher.see(plan.step(NodeSucceeded(node, attempt, outcome), now))
        else:
            deadline = plan.next_deadline_ms
            if not watcher.running:
                assert deadline is not None, "nothing runs and nothing will"
                now = max(now, deadline)
            watcher.see(plan.step(Tick(), now))
    return watcher


@settings(max_examples=150, deadline=None)
@given(openings(ends_early=False), st.data())
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
        runs = not incoming or (all(holds) and any(values))
        assert (states[node.id] is not State.SKIPPED) == runs
        if runs:
            expected: dict[str, list[Any]] = {}
            for edge, got in zip(incoming, values, strict=True):
                if got and edge.target.port != "in":
                    expected.setdefault(edge.target.port, []).extend(got)
            assert watcher.inputs[node.id] == expected


def events_for(opening: Opening) -> st.SearchStrategy[Any]:
    """Anything that may be reported, fitting or not."""
    nodes = st.sampled_from([node.id for node in opening.nodes])
    attempts = st.integers(1, 3)
    spent = st.integers(-5, 30)
    return st.one_of(
        st.just(Tick()),
        st.just(Begin()),
        st.builds(NodeSucceeded, nodes, attempts, OUTCOMES, spent, spent),
        st.builds(NodeFailed, nodes, attempts, st.just("no"), st.just("failed"), st.booleans(), spent, spent),
        st.builds(NodeSpent, nodes, attempts, spent, spent),
        st.builds(NodeWaiting, nodes, attempts),
        st.builds(NodeResumed, nodes, attempts),
    )


@settings(max_examples=200, deadline=None)
@given(openings(), st.data())
def test_whatever_happens_the_machine_stays_whole_and_a_cancel_ends_it(opening, data):
    plan = Plan(opening, b"seed")
    watcher = Watcher(plan)
    if data.draw(st.booleans()):
        watcher.see(plan.step(Begin(), 0))
    for event, now in data.draw(st.lists(st.tuples(events_for(opening), st.integers(0, 1000)), max_size=40)):
        ended = plan.done
        if isinstance(event, (NodeSucceeded, NodeFailed)) and watcher.running.get(event.node) == event.attempt:
            del watcher.running[event.node]
        commands = watcher.see(plan.step(event, now))
        assert not (ended and commands)

    watcher.see(plan.step(Cancel("stop"), 1000))

    assert plan.done
    assert all(state in TERMINAL for state in plan.states.values())
    assert plan.next_deadline_ms is None
    assert plan.step(Tick(), 10**9) == []


@settings(max_examples=150, deadline=None)
@given(openings(), st.data())
def test_a_plan_rebuilt_from_its_history_goes_on_like_the_one_that_was_never_interrupted(opening, data):
    plan = Plan(opening, b"seed")
    history: list[tuple[int, Any]] = []
    now = 0

    def take(event: Any) -> None:
        """Step, and note what a run's records would say: the fact, time-outs as failures, and what was started."""
        for command in (commands := plan.step(event, now)):
            if isinstance(command, StopNode) and command.why.startswith("timeout after"):
                history.append((now, NodeFailed(command.node, command.attempt, command.why, "timeout", retryable=True)))
        recorded = [NodeStarted(command.node) for command in commands if isinstance(command, StartNode)]
        if not isinstance(event, Tick):
            history.insert(len(history), (now, event))
        history.extend((now, fact) for fact in recorded)

    take(Begin())
    for event, passed in data.draw(st.lists(st.tuples(events_for(opening), st.integers(0, 15)), max_size=12)):
        if plan.done:
            break
        # a deadline that passes is its own moment: the record of the event and of the time-out carry different times
        while not plan.done and plan.next_deadline_ms is not None and plan.next_deadline_ms <= now + passed:
            now = max(now, plan.next_deadline_ms)
            take(Tick())
        now += passed
        take(event)
    rebuilt, commands = Plan.rebuild(opening, b"seed", history, now)

    if plan.done and plan.final is not None and plan.final.code == "timeout" and "opening" in plan.final.reason:
        return  # the end of the opening's clock is the end of the run: nobody rebuilds a run that has its last record
    assert [command.node for command in commands if isinstance(command, StartNode)] == [
        node for node, state in plan.states.items() if node in {n for n, s in rebuilt.states.items() if s is State.RUNNING}
    ]
    assert dict(rebuilt.outputs) == dict(plan.outputs)
    assert rebuilt.final == plan.final
    assert rebuilt.spent == plan.spent
    for node, state in plan.states.items():
        held = plan._by_id[node].held
        assert rebuilt.states[node] is (State.RUNNING if held else state)
