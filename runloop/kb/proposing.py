"""Changes that somebody proposes to the knowledge base, and the checks that they pass (spec 15.3)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.events import KINDS, NewEvent, StoredEvent, canonical
from runloop.events.errors import UnknownKind
from runloop.events.kinds import kind_of, validate
from runloop.kb import evidence, facts
from runloop.kb.errors import InvalidDelta
from runloop.kb.rows import valid_scope
from runloop.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runloop.kb.base import KnowledgeBase

_IMPORTED = tuple(kind for kind in KINDS if kind.split(".")[0] in {"message", "appointment", "commit", "command"})
_NOT_PROPOSED = frozenset(
    {
        *("cap.audit", "events.erased", "privileged.read", "import.finished", "replay.reported", "archive.imported"),
        *("runs.archived", "runs.restored", "files.putting_back", "files.put_back", *_IMPORTED),
    }
)  # what only the host itself may say, as with run records
_NOT_BY_AGENTS = frozenset({"email.sent", "note.imported", "note.removed"})
"""What says that something left the machine, or what stands in a person's files: whoever sent or read them knows, and no agent did."""


@dataclass(frozen=True, slots=True)
class StateDelta:
    """A change that somebody proposes; ``evidence`` names the events it rests on, ``key`` makes a repeat harmless."""

    kind: str
    payload: Mapping[str, Any]
    actor: str
    scope: str = "user"
    provenance: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[int, ...] = ()
    rationale: str | None = None
    key: str | None = None


def propose(kb: KnowledgeBase, delta: StateDelta) -> StoredEvent:
    """Append a change that was proposed, after the checks of spec 15.3 in their order."""
    if kb.until is not None:
        raise InvalidDelta("the past cannot be changed", code="kb.past", hint="propose it to the base as it is now")
    if not valid_scope(delta.scope):
        raise InvalidDelta(f"invalid scope {delta.scope!r}", code="kb.invalid_scope", hint="use user, system, or agent:NAME")
    try:
        kind = kind_of(delta.kind)
    except UnknownKind as error:
        error.hint = did_you_mean(delta.kind, _proposable(delta.actor))
        raise
    if delta.kind not in _proposable(delta.actor) or (kind.meta is not None and "v" in delta.payload):
        hint = f"propose one of {', '.join(_proposable(delta.actor))}"
        raise InvalidDelta(f"{delta.kind} cannot be proposed", code="kb.not_proposable", hint=hint)
    provenance = dict(delta.provenance)
    if delta.rationale is not None:
        provenance["rationale"] = delta.rationale
    if delta.evidence:
        provenance["evidence"] = ",".join(str(event_id) for event_id in delta.evidence)
    if delta.kind in facts.KINDS:
        _check_references(kb, NewEvent(delta.kind, {}, delta.actor), delta.evidence)
        return facts.propose(kb, delta, provenance)
    event = NewEvent(delta.kind, delta.payload, delta.actor, delta.scope, provenance, None, delta.key)
    validate(event.kind, event.payload)
    _check_references(kb, event, delta.evidence)
    if delta.key is not None and (known := kb.ledger.by_key(delta.key)) is not None and _says_the_same(known, event):
        return known  # another attempt may have seen other things before it said the same
    return kb.ledger.append([event])[0]


def _says_the_same(known: StoredEvent, event: NewEvent) -> bool:
    return (known.kind, known.actor, canonical(dict(known.payload))) == (event.kind, event.actor, canonical(dict(event.payload)))


def _proposable(actor: str) -> list[str]:
    refused = _NOT_PROPOSED | _NOT_BY_AGENTS if actor.startswith("agent:") else _NOT_PROPOSED
    return sorted(name for name, kind in KINDS.items() if kind.payload is not None and name not in refused)


def _check_references(kb: KnowledgeBase, event: NewEvent, stated: Sequence[int]) -> None:
    """Every event that the change names must exist."""
    for event_id in (*stated, *evidence.named_by(event.payload)):
        if not 0 < event_id < 2**63 or kb.ledger.get(event_id) is None:
            raise InvalidDelta(
                f"referential integrity failed for evidence id {event_id}",
                code="kb.unknown_evidence",
                hint="name events that are in the ledger",
            )
