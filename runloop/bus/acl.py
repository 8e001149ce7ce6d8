"""Who may publish and who may receive: roles against topics. The first rule whose pattern covers the topic decides; without one, all may.

What people wrote or what was made for them (records of runs, what waits for a decision, work for agents) is received by operators only,
and by the agent that it is for. The daemon's verbs have their own rules on top: those are the handler's.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from runloop.bus.topics import ONE, REST, check_pattern, covers, matches, overlaps
from runloop.dataclass import dataclass
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

_BEGINNINGS: Final = 256
"""Beginnings of topics whose rules are remembered."""
_EVERY: Final = frozenset((*ROLES, DAEMON))
_OURS: Final = frozenset({DAEMON})
_TRUSTED: Final = frozenset({OPERATOR, DAEMON})
_AGENTS: Final = frozenset({AGENT, OPERATOR, DAEMON})


def told_as(topic: str) -> str:
    """What a topic is called where others read it: inboxes are one, because their names are secrets."""
    return INBOX if topic.startswith(INBOX + "/") else topic


@dataclass(frozen=True, slots=True)
class Rule:
    """Roles that may publish on, and receive from, the topics of a pattern.

    Where a level of the topic names an agent, that agent may publish or receive as well: ``agent_publishes`` and ``agent_receives`` are the
    number of that level, from 0.
    """

    pattern: str
    publish: frozenset[str] = _EVERY
    receive: frozenset[str] = _EVERY
    agent_publishes: int | None = None
    agent_receives: int | None = None


RULES: Final = (
    Rule(CONTROL, receive=_TRUSTED),
    Rule("rlp/sys/reload", publish=_OURS, receive=_TRUSTED),
    Rule("rlp/sys/**", publish=_OURS),
    Rule("rlp/runs/*/agents/*/*", publish=_TRUSTED, receive=_TRUSTED, agent_publishes=4),
    Rule("rlp/runs/**", publish=_OURS, receive=_TRUSTED),
    Rule("rlp/agents/*/metrics", publish=_OURS),
    Rule("rlp/runtime/hello", publish=_AGENTS, receive=_TRUSTED),
    Rule("action.request", publish=_OURS, receive=_TRUSTED),
    Rule("action.decision", publish=_TRUSTED, receive=_TRUSTED),
    Rule("agent/*", publish=_TRUSTED, receive=_TRUSTED, agent_receives=1),
    Rule("agent/**", publish=_TRUSTED, receive=_TRUSTED),
)


class Acl:
    """The rules of one bus. ``rules`` are looked at in order; ``decide`` are the roles whose ``action.decision`` counts, on any topic.

    ``agent`` is everywhere the name that a connection of the role agent has proved, empty for all others.
    """

    __slots__ = ("_near", "_rules", "_schemas")

    def __init__(self, rules: tuple[Rule, ...] = RULES, *, decide: frozenset[str] = frozenset({OPERATOR})) -> None:
        self._rules = tuple((check_pattern(rule.pattern), rule) for rule in rules)
        self._near: dict[str, tuple[tuple[tuple[str, ...], Rule], ...]] = {}
        """The rules that topics with this beginning, two levels, can follow."""
        self._schemas = {ID_OF[DECISION]: decide | _OURS}

    @property
    def restricted_schemas(self) -> dict[int, frozenset[str]]:
        """Schema ids that only some roles may publish."""
        return self._schemas

    def publishers(self, topic: str) -> frozenset[str]:
        """The roles that may publish on a topic."""
        rule = self._find(topic)
        return _EVERY if rule is None else rule.publish

    def publishing_agent(self, topic: str) -> str | None:
        """The one agent that may publish on a topic though its role may not."""
        rule = self._find(topic)
        return None if rule is None or rule.agent_publishes is None else topic.split("/")[rule.agent_publishes]

    def may_publish(self, role: str, agent: str, topic: str) -> bool:
        """Whether a session of this role, and of this agent, may publish on a topic."""
        return role in self.publishers(topic) or (bool(agent) and agent == self.publishing_agent(topic))

    def may_receive(self, role: str, session: str, topic: str, agent: str = "") -> bool:
        """Whether a session of this role gets frames of a topic; an inbox is read by its owner only."""
        if topic.startswith(INBOX + "/"):
            return topic.split("/")[2] == session
        rule = self._find(topic)
        if rule is None or role in rule.receive:
            return True
        return bool(agent) and rule.agent_receives is not None and topic.split("/")[rule.agent_receives] == agent

    def may_ever_receive(self, role: str, session: str, pattern: tuple[str, ...], agent: str = "") -> bool:
        """Whether any topic of a pattern is one that a session of this role gets frames of."""
        if not {ONE, REST} & set(pattern):
            return self.may_receive(role, session, "/".join(pattern), agent)
        if "/".join(pattern[:2]) == INBOX and pattern[2] not in {session, ONE, REST}:
            return False
        for decides, rule in self._rules:
            if not overlaps(decides, pattern):
                continue
            level = rule.agent_receives
            if role in rule.receive or (agent and level is not None and (level >= len(pattern) or pattern[level] in {agent, ONE, REST})):
                return True
            if covers(decides, pattern):
                return False
        return True

    def _find(self, topic: str) -> Rule | None:
        first, _, rest = topic.partition("/")
        begins = f"{first}/{rest.partition('/')[0]}"
        near = self._near.get(begins)
        if near is None:
            if len(self._near) >= _BEGINNINGS:
                self._near.clear()
            levels = begins.split("/")
            near = self._near[begins] = tuple(each for each in self._rules if _begins_so(each[0], levels))
        return next((rule for pattern, rule in near if matches(pattern, topic)), None)


def _begins_so(pattern: tuple[str, ...], levels: list[str]) -> bool:
    """Whether the pattern may cover a topic that begins with these levels, the last of which is empty where the topic has no more."""
    for want, level in zip(pattern, levels, strict=False):
        if want == REST:
            return True
        if want not in {ONE, level}:
            return False
    return True


def agent_token(operator_token: str, name: str) -> str:
    """What proves that a connection is the agent of a name: only who has the operator token can make it, and it makes no operator."""
    return hmac.new(operator_token.encode(), f"agent:{name}".encode(), hashlib.sha256).hexdigest()
