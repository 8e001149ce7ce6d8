"""Who may publish and who may receive: roles against topics. The first rule whose pattern covers the topic decides; without one, all may.

The daemon's verbs have their own rules on top (a client may ask for a list, only an operator may cancel): those are the handler's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runloop.bus.topics import check_pattern, matches
from runloop.rmp.registry import ID_OF

OPERATOR: Final = "operator"
CLIENT: Final = "client"
AGENT: Final = "agent"
WORKER: Final = "worker"
DAEMON: Final = "daemon"
"""Never on the wire: the process that hosts the bus."""

ROLES: Final = (OPERATOR, CLIENT, AGENT, WORKER)
INBOX: Final = "rlp/inbox"
CONTROL: Final = "rlp/ctrl"
DROPS: Final = "rlp/sys/drops"
DECISION: Final = "toolresult.action.decision.v1"

_EVERY: Final = frozenset((*ROLES, DAEMON))
_OURS: Final = frozenset({DAEMON})


@dataclass(frozen=True, slots=True)
class Rule:
    """Roles that may publish on, and receive from, the topics of a pattern."""

    pattern: str
    publish: frozenset[str] = _EVERY
    receive: frozenset[str] = _EVERY


RULES: Final = (
    Rule(CONTROL, receive=frozenset({OPERATOR, DAEMON})),
    Rule("rlp/sys/**", publish=_OURS),
    Rule("rlp/runs/*/events", publish=_OURS),
    Rule("rlp/agents/*/metrics", publish=_OURS),
    Rule("action.decision", publish=frozenset({OPERATOR, DAEMON})),
    Rule("agent/**", receive=frozenset({AGENT, WORKER, OPERATOR, DAEMON})),
)


class Acl:
    """The rules of one bus. ``rules`` are looked at in order; ``decide`` are the roles whose ``action.decision`` counts, on any topic."""

    __slots__ = ("_rules", "_schemas")

    def __init__(self, rules: tuple[Rule, ...] = RULES, *, decide: frozenset[str] = frozenset({OPERATOR})) -> None:
        self._rules = tuple((check_pattern(rule.pattern), rule) for rule in rules)
        self._schemas = {ID_OF[DECISION]: decide | _OURS}

    @property
    def restricted_schemas(self) -> dict[int, frozenset[str]]:
        """Schema ids that only some roles may publish."""
        return self._schemas

    def publishers(self, topic: str) -> frozenset[str]:
        """The roles that may publish on a topic."""
        rule = self._find(topic)
        return _EVERY if rule is None else rule.publish

    def may_receive(self, role: str, session: str, topic: str) -> bool:
        """Whether a session of this role gets frames of a topic; an inbox is read by its owner only."""
        if topic.startswith(INBOX + "/"):
            return topic.split("/")[2] == session
        rule = self._find(topic)
        return rule is None or role in rule.receive

    def _find(self, topic: str) -> Rule | None:
        return next((rule for pattern, rule in self._rules if matches(pattern, topic)), None)
