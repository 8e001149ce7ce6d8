"""One opening with all that a run can wait for, its process dying at one place after the other, and twice in a row."""

import json

import pytest
from sim.check import outcome_of
from sim.guests import make_bundle
from sim.process import Disturbance, Process, World
from sim.scenario import Scenario
from sim.seeds import differences, replayed

STEP = 3
"""Every third place, others in each variant: `scripts/sim` comes to them all, and this is to be quick."""
CALLS = (("call", "model.complete", 1), ("call", "mail.send", 2), ("log",), ("random",))
PROGRAMS = {
    "first": (("call", "model.complete", 1), ("call", "timer.sleep", 1), ("clock",), ("call", "files.write", 1)),
    "second": (("try", CALLS), ("spawn", ("opening", "inner")), ("call", "kb.search", 3)),
    "inside": (("call", "ask.person", 0), ("call", "model.complete", 4)),
}
MAIN = {
    "version": 0,
    "name": "main",
    "params": {"items": [1, 2]},
    "nodes": [
        {"id": "a", "use": "agent:first", "retry": {"max_attempts": 3, "initial_ms": 300}, "gate": {"ask": "Good?", "revise_to": "a"}},
        {"id": "b", "use": "agent:second", "on_failure": "continue", "wait": {"for": "5s"}},
        {"id": "c", "use": "opening:inner", "on_failure": "continue"},
        {"id": "d", "use": "agent:first", "on_failure": "continue", "for_each": {"in": "params.items", "as": "item"}},
    ],
    "edges": [{"from": "a.out", "to": "b.x"}, {"from": "a.out", "to": "c.in"}, {"from": "b.out", "to": "d.x"}],
}
INNER = {"version": 0, "name": "inner", "nodes": [{"id": "only", "use": "agent:inside", "on_failure": "continue"}], "edges": []}


def scenario(*, smtp, parks):
    bundles = {name: make_bundle(name) for name in PROGRAMS}
    return Scenario(
        openings={"main": json.dumps(MAIN), "inner": json.dumps(INNER)},
        bundles=bundles,
        programs={bundles[name].digest: program for name, program in PROGRAMS.items()},
        smtp=smtp,
        parks=parks,
        evict_after_ms=20,
        park_after_ms=50,
    )


def lives(world, *dies_at):
    """Let processes die at these places, one after the other, and one more bring the run to its end."""
    for life, place in enumerate((*dies_at, None)):
        process = Process(world, life, Disturbance(place))
        if process.live():
            break
        world.now_ms += 5_000
    world.check.final()
    return process


@pytest.mark.parametrize(("seed", "smtp", "parks"), [(23, True, False), (23, False, True)], ids=["smtp", "outbox and parked"])
def test_wherever_the_process_dies_the_run_comes_to_the_same(tmp_path, seed, smtp, parks):
    whole = World(seed, tmp_path / "whole", scenario(smtp=smtp, parks=parks))
    places = lives(whole).points
    assert (whole.check.problems, outcome_of(whole)["end"]["status"]) == ([], "succeeded")
    assert places > 80
    failed, compared = {}, 0
    for place in range(1 + parks, places + 1, STEP):
        for dies_at in ((place,), (place, 2)) if place % 5 == 0 else ((place,),):
            world = World(seed, tmp_path / "died", scenario(smtp=smtp, parks=parks))
            lives(world, *dies_at)
            problems = world.check.problems or replayed(world)
            if world.comparable:
                compared += 1
                problems = problems or differences(outcome_of(whole), outcome_of(world))
            if problems:
                failed[dies_at] = problems
    assert failed == {}
    assert compared > places // STEP // 2
