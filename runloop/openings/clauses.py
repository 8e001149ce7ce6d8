"""What a node may say beyond what it runs: when it starts, for which items, what it must produce, who looks at it.

Values only; ``read_clauses`` reads them, the plan acts on them, docs/openings.md argues them.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.openings.durations import duration_text, moment_text

if TYPE_CHECKING:
    from runloop.openings.scalars import Json

APPROVE, REVISE, REJECT = "approve", "revise", "reject"
"""Options of a gate with a meaning of their own; every other option, like ``approve``, lets the outputs pass."""

ACCEPT, RETRY = "accept", "retry"
"""Options of the gate of an output contract, beside ``reject``."""

GATE_PORT, ERRORS_PORT = "gate", "errors"
"""Output ports that the plan adds: the option chosen at a gate, the failures of a for_each that goes on."""

FILLED_PORTS = REVISE_PORT, FEEDBACK_PORT, VOTE_PORT = "revise", "feedback", "vote"
"""Input ports that the plan fills: a person's comment, what was wrong with the last output, the result of a vote."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A node starts no earlier than ``for_ms`` after it became ready, or than ``until_ms`` (Unix time): exactly one is set."""

    for_ms: int | None = None
    until_ms: int | None = None

    def __str__(self) -> str:
        return f"for {duration_text(self.for_ms)}" if self.for_ms is not None else f"until {moment_text(self.until_ms or 0)}"

    def ends_ms(self, ready_ms: int) -> int:
        """When a node that became ready at ``ready_ms`` may start."""
        return ready_ms + self.for_ms if self.for_ms is not None else self.until_ms or 0


@dataclass(frozen=True, slots=True)
class Gate:
    """A person looks at a node's outputs and chooses one of ``options``; after ``timeout_ms`` ``on_timeout`` is chosen."""

    ask: str
    options: tuple[str, ...] = (APPROVE, REJECT)
    timeout_ms: int | None = None
    on_timeout: str = ""
    revise_to: str = ""
    max_revisions: int = 0

    def offered(self, revisions: int) -> tuple[str, ...]:
        """The options after so many revisions: ``revise`` only while one is left."""
        return tuple(option for option in self.options if option != REVISE or revisions < self.max_revisions)


@dataclass(frozen=True, slots=True)
class ForEach:
    """One item each: those of input ``port``, or ``items``; delivered on port ``name``, at most ``width`` at a time."""

    name: str
    port: str = ""
    items: tuple[Json, ...] = ()
    width: int | None = None
    max_items: int = 1000
    keep_going: bool = False


class ContractRetry(StrEnum):
    """What follows an output that breaks its contract."""

    CONTINUE = "continue"
    FRESH = "fresh"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Contract:
    """Every value on ``port`` (at least one) satisfies ``schema``; else another try while ``attempts`` are left."""

    port: str
    schema: Json = field(hash=False)
    retry: ContractRetry = ContractRetry.CONTINUE
    attempts: int = 2
    warn: bool = False


class VoteRule(StrEnum):
    """When a value has won."""

    MAJORITY = "majority"
    SUPERMAJORITY = "supermajority"
    UNANIMOUS = "unanimous"
    PLURALITY = "plurality"


@dataclass(frozen=True, slots=True)
class Vote:
    """The values on input ``port``, or what ``path`` leads to in each, are votes; ``quorum`` is the fewest that count."""

    port: str
    path: tuple[str, ...] = ()
    rule: VoteRule = VoteRule.MAJORITY
    quorum: int = 1
    first_on_tie: bool = False


class MergeRule(StrEnum):
    """When a node with in-edges is decided."""

    ALL = "all"
    ANY = "any"
    AT_LEAST = "at_least"
    FIRST_OK = "first_ok"
    VOTE = "vote"


@dataclass(frozen=True, slots=True)
class Merge:
    """The rule; ``needed`` sources must deliver for the rules that do not wait for all, ``vote`` is set for VOTE alone."""

    rule: MergeRule = MergeRule.ALL
    needed: int = 1
    vote: Vote | None = None

    @property
    def waits_for_all(self) -> bool:
        """Whether every in-edge must be decided first."""
        return self.rule in (MergeRule.ALL, MergeRule.VOTE)

    def __str__(self) -> str:
        if self.vote is not None:
            return f"{self.vote.rule} of {'/'.join((self.vote.port, *self.vote.path))}"
        return f"at least {self.needed}" if self.rule is MergeRule.AT_LEAST else self.rule.value


def notes(wait: Wait | None, merge: Merge, for_each: ForEach | None, output: Contract | None, gate: Gate | None) -> list[str]:
    """The clauses of a node in the order in which they act, a few words each."""
    found = []
    if merge.rule is not MergeRule.ALL:
        found.append(f"merge {merge}")
    if wait is not None:
        found.append(f"wait {wait}")
    if for_each is not None:
        found.append(f"for each {for_each.name}" + (f", {for_each.width} at a time" if for_each.width is not None else ""))
    if output is not None:
        found.append(f"output {output.port}, else {output.retry}")
    if gate is not None:
        found.append("gate " + " | ".join(gate.options) + (f" -> {gate.revise_to}" if gate.revise_to else ""))
    return found
