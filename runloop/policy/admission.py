"""Admission: what becomes of a request that an agent makes. One pure function; deny > ask > allow.

Each rule looks at the request alone and may object. Every rule is heard; the strongest objection decides. A rule that fails
counts as a deny, and an ask that nobody can answer is a deny.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from runloop.dataclass import dataclass
from runloop.policy.approvals import Grant, Scope, covers
from runloop.policy.commands import is_destructive

if TYPE_CHECKING:
    from runloop.policy.denial import Denial

Decision = Literal["allow", "ask", "deny"]

CLASSES = frozenset({"virtual", "read", "idempotent", "external", "waiting", "live"})


@dataclass(frozen=True, slots=True)
class OpeningPolicy:
    """What the opening says about approvals; ``confirm_external`` is None where it says nothing."""

    digest: str = ""
    confirm_external: bool | None = None
    approve_in_advance: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """Everything that admission may look at. A fact that is left out counts as the more careful one.

    ``klass`` is the effect class of contracts section 2. ``leaves_machine``: content goes to a host that is not part of this
    installation. ``taint`` names where outside content came from. ``denial`` is what the capability check said. ``argv`` is the
    command of an exec. ``because`` says why an external action is one where that is not plain. ``operator_present``: somebody can answer an
    approval now. ``yes``: ``--yes`` was given.
    """

    action: str
    klass: str
    agent: str = ""
    run_id: str = ""
    crossing: str = ""
    content_hash: str = ""
    targets: frozenset[str] = frozenset()
    denial: Denial | None = None
    external: bool = True
    reversible: bool = False
    leaves_machine: bool = True
    taint: frozenset[str] = frozenset()
    argv: tuple[str, ...] = ()
    because: str = ""
    opening: OpeningPolicy = OpeningPolicy()
    confirm_external_actions: bool = True
    operator_present: bool = False
    yes: bool = False
    grants: tuple[Grant, ...] = ()

    @property
    def destructive(self) -> bool:
        """Whether it cannot be taken back: an external action not said to be reversible, or a destroying command."""
        return (self.external and not self.reversible) or is_destructive(self.argv)

    @property
    def tainted_departure(self) -> bool:
        """Whether content from outside would leave the machine."""
        return self.leaves_machine and bool(self.taint)


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer: the decision, the rule that made it, why, what to change, and which scopes an approval may have."""

    decision: Decision
    rule: str
    reason: str
    hint: str = ""
    scopes: tuple[Scope, ...] = ()


class _Strength(IntEnum):
    ASK = 1
    DENY = 2


@dataclass(frozen=True, slots=True)
class Objection:
    """What a rule has against a request. ``in_advance``: an opening may list the action for ``--yes``."""

    strength: _Strength
    reason: str
    hint: str = ""
    in_advance: bool = False
    scopes: frozenset[Scope] = frozenset(Scope)


Rule = tuple[str, Callable[[AdmissionRequest], Objection | None]]


def _capability(request: AdmissionRequest) -> Objection | None:
    if request.denial is None:
        return None
    return Objection(_Strength.DENY, request.denial.message, request.denial.hint)


def _known_class(request: AdmissionRequest) -> Objection | None:
    if request.klass in CLASSES:
        return None
    return Objection(_Strength.DENY, f"the effect class {request.klass!r} is not known", "use one of the classes of docs/hostcalls.md")


def _tainted_departure(request: AdmissionRequest) -> Objection | None:
    if not request.tainted_departure:
        return None
    sources = ", ".join(sorted(request.taint))
    return Objection(_Strength.ASK, f"content from outside ({sources}) would leave this machine", scopes=frozenset({Scope.ONCE}))


def _destructive_command(request: AdmissionRequest) -> Objection | None:
    if not is_destructive(request.argv):
        return None
    return Objection(_Strength.ASK, f"{request.argv[0]} can destroy or overwrite data", scopes=frozenset({Scope.ONCE, Scope.RUN}))


def _external(request: AdmissionRequest) -> Objection | None:
    confirm = request.confirm_external_actions or request.opening.confirm_external is True
    if not confirm or not (request.external or request.klass == "external"):
        return None
    scopes = frozenset(Scope) - {Scope.ALWAYS} if request.destructive else frozenset(Scope)
    return Objection(_Strength.ASK, request.because or "it changes something outside Runloop", in_advance=True, scopes=scopes)


RULES: tuple[Rule, ...] = (
    ("capability", _capability),
    ("known_class", _known_class),
    ("tainted_departure", _tainted_departure),
    ("destructive_command", _destructive_command),
    ("external", _external),
)


def admit(request: AdmissionRequest, rules: tuple[Rule, ...] = RULES) -> Admission:
    """Decide about ``request``. Never raises: a rule that does is a deny."""
    objections = [(name, objection) for name, rule in rules if (objection := _heard(name, rule, request))]
    for name, objection in objections:
        if objection.strength is _Strength.DENY:
            return Admission("deny", name, objection.reason, objection.hint)
    if not objections:
        return Admission("allow", "default", "nothing objects")
    scopes = frozenset.intersection(*(objection.scopes for _, objection in objections))
    if not request.targets:
        scopes &= {Scope.ONCE}  # no approval of more than this would ever answer for another: it is for the targets that were approved
    if grant := next((grant for grant in request.grants if grant.scope in scopes and covers(grant, request)), None):
        return Admission("allow", "granted", f"approved before ({grant.scope})")
    in_advance = all(objection.in_advance for _, objection in objections)
    listed = request.action in request.opening.approve_in_advance
    if in_advance and listed and request.yes:
        return Admission("allow", "approved_in_advance", f"the opening approves {request.action} in advance, and --yes was given")
    rule, first = objections[0]
    if request.operator_present:
        return Admission("ask", rule, first.reason, scopes=tuple(scope for scope in Scope if scope in scopes))
    reason = f"it needs an approval ({first.reason}) and nobody is there to give one"
    return Admission("deny", "nobody_to_ask", reason, _how_to_be_asked(request.action, in_advance=in_advance, listed=listed))


def _heard(name: str, rule: Callable[[AdmissionRequest], Objection | None], request: AdmissionRequest) -> Objection | None:
    try:
        return rule(request)
    except Exception as error:  # noqa: BLE001 - whatever a rule trips over, the request must not pass
        reason = f"the rule {name} failed ({type(error).__name__})"
        return Objection(_Strength.DENY, reason, "this is a defect in Runloop; please report it")


def _how_to_be_asked(action: str, *, in_advance: bool, listed: bool) -> str:
    if not in_advance:
        return "run it on a terminal: this is for a person to decide, --yes does not cover it"
    if listed:
        return "run it on a terminal, or pass --yes: the opening approves this action in advance"
    return f"run it on a terminal, or list {action!r} under policy.approve_in_advance of the opening and pass --yes"
