"""The knowledge base: search it, read an entity, propose a change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runloop_agent._calls import call
from runloop_agent._records import record
from runloop_agent.emit import log

__all__ = ["Entity", "Hit", "Rows", "get", "propose", "query", "search"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found, with where it came from."""

    domain: str
    key: str
    title: str = ""
    excerpt: str = ""
    event_id: int | None = None
    path: str | None = None
    line: int | None = None
    score: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity and the event that last changed it."""

    domain: str
    key: str
    title: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query found; ``truncated`` when there was more than asked for."""

    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    truncated: bool = False


def search(query: str, *, domains: list[str] | None = None, limit: int | None = None) -> list[Hit]:
    """Search the domains that the policy grants, best first."""
    return [record(Hit, hit) for hit in call("kb.search", {"query": query, "domains": domains, "limit": limit}).get("hits", [])]


def get(key: str) -> Entity | None:
    """Get the entity with this key, or None."""
    answer = call("kb.get", {"key": key})
    found = answer.get("entity", answer)
    return record(Entity, found) if found and found.get("key") is not None else None


def query(sql: str, *, limit: int | None = None) -> Rows:
    """Ask one read-only SELECT over the masked tables (`rlp kb tables`); needs `kb_read = ["query"]`.

    Without ``limit`` no more than 100 rows; where there are more, the log says so.
    """
    found = record(Rows, call("kb.query", {"sql": sql, "limit": limit}))
    if found.truncated and limit is None:
        log(f"kb.query gave only {len(found.rows):,} rows; limit=1_000 is the most that one call gives", "warn")
    return found


def propose(kind: str, payload: dict[str, Any], *, evidence: list[Any] | None = None, rationale: str | None = None) -> int:
    """Propose a change; it is checked and recorded. Returns the id of its event."""
    return int(call("kb.propose", {"kind": kind, "payload": payload, "evidence": evidence, "rationale": rationale})["event_id"])
