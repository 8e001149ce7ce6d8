"""A template with its agents filled in: the text of an opening, checked and in canonical form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from textwrap import wrap

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput
from runloop.openings.fmt import format_opening
from runloop.openings.templates.catalogue import Template
from runloop.openings.templates.graphs import Parts, Plan

MAX_ROUNDS = 20
MAX_BRANCHES = 50

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AGENT = re.compile(r"[A-Za-z0-9_-]+(?:@[A-Za-z0-9_-]+)?")
_WIDTH = 116


@dataclass(frozen=True, slots=True)
class Cast:
    """The agents of the roles, ``everyone`` for roles that have none; a role without either gets an agent of its own name."""

    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    everyone: str = ""

    def agent(self, role: str, index: int) -> str:
        """Who does number ``index`` (from 0) of a role: with several agents they take turns."""
        names = self.roles.get(role) or (self.everyone or role,)
        return names[index % len(names)]


def expand(template: Template, name: str, cast: Cast, *, rounds: int | None = None, branches: int | None = None) -> str:
    """The opening ``name`` as canonical YAML with comments; raises InvalidInput for names and numbers that do not fit the template."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"invalid opening name {name!r}",
            code="opening.name",
            hint="use 1 to 64 letters, digits, '-' or '_', for example: weekly_report",
        )
    _check(template, cast)
    named = max(len(cast.roles.get(role.name, ())) for role in template.roles if role.several) if template.branches else 0
    plan = Plan(
        cast.agent,
        _number(template, "rounds", rounds, template.rounds, 1, MAX_ROUNDS),
        _number(template, "branches", named if branches is None and named > 1 else branches, template.branches, 2, MAX_BRANCHES),
    )
    return format_opening(_text(template, name, template.build(plan))).text


def _check(template: Template, cast: Cast) -> None:
    roles = {role.name: role for role in template.roles}
    for role, agents in cast.roles.items():
        if role not in roles:
            from runloop.nearest import did_you_mean

            hint = did_you_mean(role, tuple(roles))
            raise InvalidInput(f"template '{template.name}' has no role '{role}'", code="opening.role", hint=hint)
        if len(agents) > 1 and not roles[role].several:
            raise InvalidInput(f"role '{role}' of template '{template.name}' is one agent", code="opening.role", hint="name it once")
    for agent in [*(agent for agents in cast.roles.values() for agent in agents), *([cast.everyone] if cast.everyone else [])]:
        if not _AGENT.fullmatch(agent):
            raise InvalidInput(f"invalid agent reference {agent!r}", code="opening.role", hint="write NAME or NAME@VARIANT")


def _number(template: Template, what: str, asked: int | None, default: int, least: int, most: int) -> int:
    if asked is None:
        return default
    if not default:
        raise InvalidInput(f"template '{template.name}' has no {what}", code="opening.size", hint=f"leave --{what} out")
    if not least <= asked <= most:
        raise InvalidInput(
            f"{what} must be {least} to {most}, not {asked}", code="opening.size", hint=f"template '{template.name}' has {default}"
        )
    return asked


def _text(template: Template, name: str, parts: Parts) -> str:
    takes = [f"{role.name}: {role.ports}." for role in template.roles]
    head = [
        template.goal,
        f"Made from the template '{template.name}'. Each agent gets task and instruction, and beside them:",
        *(f"  {line}" for line in takes),
        f"Check it: rlp opening check {name}. Run it: rlp run {name} -p task=...",
    ]
    comments = "\n".join(f"# {line}" for text in head for line in wrap(text, _WIDTH, subsequent_indent="    ", replace_whitespace=False))
    nodes, edges = "\n\n".join(parts.nodes), "\n".join(parts.edges)
    return f"""\
{comments}
version: 0
name: {name}
goals: ["{template.goal}"]

params:
  task: Say here what is to be done.
{parts.params}
policy:
  # limits of the whole run; what a node does not say for itself is that of the policy
  timeout_ms: 600000
  budget_tokens: 100000

nodes:
{nodes}

edges:
{edges}

success:
  any_of: ['{"', '".join(parts.success.split(", "))}']

artifacts:
  save: [{", ".join(parts.save)}]
"""
