"""What the templates are: who works in them, and what may be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.openings.templates import graphs

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings.templates.graphs import Parts, Plan


@dataclass(frozen=True, slots=True)
class Role:
    """Who works in a template, and what its agent takes and gives beside ``task`` and ``instruction``; ``several`` is one node each."""

    name: str
    ports: str
    several: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """One way of working together; ``rounds`` and ``branches`` are what is made unless another number is asked for, 0 where none can be."""

    name: str
    goal: str
    roles: tuple[Role, ...]
    build: Callable[[Plan], Parts]
    rounds: int = 0
    branches: int = 0


TEMPLATES = {
    template.name: template
    for template in (
        Template(
            "pipeline",
            "Gather, draft, finish: each step gets what the step before it made.",
            (Role("gather", "gives out"), Role("draft", "takes input, gives out"), Role("finish", "takes input, gives out")),
            graphs.pipeline,
        ),
        Template(
            "parallel",
            "Several agents work side by side, and one puts all their results together.",
            (Role("worker", "gives out", several=True), Role("combine", "takes results (a list, in the order of the edges), gives out")),
            graphs.parallel,
            branches=3,
        ),
        Template(
            "fork_join",
            "Several agents try the same; the work goes on as soon as enough of them are done.",
            (Role("worker", "gives out", several=True), Role("join", "takes results, gives out")),
            graphs.fork_join,
            branches=3,
        ),
        Template(
            "debate",
            "Two sides answer each other, and a judge gives a verdict that must have a reason.",
            (
                Role("pro", "takes input (what the other side said last), gives out"),
                Role("con", "takes input (what the other side said last), gives out"),
                Role("judge", "takes pro and con (what each side said, in order), gives verdict {winner, reason}"),
            ),
            graphs.debate,
            rounds=2,
        ),
        Template(
            "switch",
            "One agent says which case it is, and exactly the branch of that case runs.",
            (
                Role("classify", "gives case, one of the names of the branches"),
                Role("case", "gives out", several=True),
                Role("finish", "takes input (what the branch made), gives out"),
            ),
            graphs.switch,
            branches=3,
        ),
        Template(
            "swarm",
            "Several agents vote without knowing of each other, and the majority decides.",
            (
                Role("voter", "gives vote, a short text", several=True),
                Role("decide", "takes votes (as they were cast) and vote {winner, votes, cast, abstained, tally}, gives out"),
            ),
            graphs.swarm,
            branches=3,
        ),
        Template(
            "iterate",
            "A draft is reviewed and revised until the review accepts it, and not for ever.",
            (
                Role("draft", "takes draft and review (its last attempt, and what was wrong with it), gives out"),
                Role("review", "takes draft, gives ok (true or false) and out (what to change)"),
            ),
            graphs.iterate,
            rounds=3,
        ),
        Template(
            "map_reduce",
            "The same agent works on every item of a list, and one makes a whole of the results.",
            (
                Role("map", "takes item, gives out"),
                Role("reduce", "takes results (in the order of the items, null for one that failed) and errors, gives out"),
            ),
            graphs.map_reduce,
        ),
    )
}
"""All templates by name."""
