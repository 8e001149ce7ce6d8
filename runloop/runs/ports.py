"""What the performers' ports are in a real process: the knowledge base, the log of sent mail, and machine-wide limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runloop.dataclass import dataclass
from runloop.effects.perform.ports import SentMail
from runloop.events import NewEvent
from runloop.hosts import split_host
from runloop.kb import StateDelta
from runloop.kb.origins import provenance_of
from runloop.policy import Capabilities, Override
from runloop.policy.commands import ExecGrants
from runloop.policy.net import NetGrants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.bundles import Bundle
    from runloop.config import Settings
    from runloop.effects.perform.ports import Proposal
    from runloop.effects.types import CallContext
    from runloop.kb import AsyncLedger, KnowledgeBase
    from runloop.runs.manager import RunManager

_ALL: Final = 1_000_000


class KnowledgeForAgents:
    """The knowledge base as performers ask it: what is in the ledger now is found now."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._kb = kb

    async def search(self, query: str, domains: Sequence[str], limit: int, *, raw_contacts: bool) -> list[dict[str, Any]]:
        """Hits, best first."""
        hits = await asyncio.to_thread(self._kb.search, query, domains, limit, raw_contacts=raw_contacts)
        return [hit.to_dict() for hit in hits]

    async def get(self, key: str, *, raw_contacts: bool) -> dict[str, Any] | None:
        """One entity, or None."""
        return await asyncio.to_thread(self._kb.get, key, raw_contacts=raw_contacts)

    async def labels(self, event_ids: Sequence[int]) -> frozenset[str]:
        """Where the content of these events came from."""
        return await asyncio.to_thread(self._kb.labels_of, event_ids)

    async def labels_of_people(self) -> frozenset[str]:
        """Where what is said of anybody came from."""
        return await asyncio.to_thread(self._kb.labels_of_people)

    async def query(self, sql: str, limit: int) -> dict[str, Any]:
        """Columns, rows and whether there are more."""
        return (await asyncio.to_thread(self._kb.query, sql, max_rows=limit, for_agents=True)).to_dict()

    async def propose(self, proposal: Proposal, ctx: CallContext) -> int:
        """Add the fact, once per idempotency key."""
        delta = StateDelta(
            kind=proposal.kind,
            payload=dict(proposal.payload),
            actor=f"agent:{ctx.agent}",
            provenance={"trace_id": f"trace:{ctx.run_id}", "agent_id": f"agent:{ctx.agent}", **provenance_of(ctx.taint)},
            evidence=tuple(proposal.evidence),
            rationale=proposal.rationale or None,
            key=proposal.idempotency_key,
        )
        return (await asyncio.to_thread(self._kb.propose, delta)).id


class LedgerSentLog:
    """Remembers in the ledger which messages went out: one ``email.sent`` event for each message's key."""

    def __init__(self, ledger: AsyncLedger, manager: RunManager) -> None:
        self._ledger, self._manager = ledger, manager

    async def find(self, key: str) -> SentMail | None:
        """The record of an earlier sending, or None."""
        event = await asyncio.to_thread(self._ledger.ledger.by_key, f"mail:{key}")
        if event is None:
            return None
        payload = event.payload
        return SentMail(key, payload["message_id"], payload["status"], payload.get("path"), payload["content_hash"], tuple(payload["to"]))

    async def unsettled(self, ctx: CallContext) -> bool:
        """Whether an earlier attempt's call of this number has an outcome that nobody knows."""
        found = await asyncio.to_thread(self._ledger.ledger.read, kinds=["effect.unknown"], run_id=ctx.run_id, limit=_ALL)
        ended = [event.payload["meta"] for event in found]
        work = {(ctx.node, attempt, ctx.call) for attempt in range(ctx.since, ctx.attempt)}
        return any(meta["name"] == "mail.send" and (meta["node"], meta["attempt"], meta["call"]) in work for meta in ended)

    async def record(self, mail: SentMail, ctx: CallContext) -> None:
        """Keep the record durably; ``artifact_id`` is the event of the request, which holds the text."""
        run = self._manager.run_of(ctx)
        request_id = run.requests[ctx.node, ctx.attempt, ctx.call]
        request = await asyncio.to_thread(self._ledger.ledger.get, request_id)
        if request is None:
            raise AssertionError(f"event {request_id} was appended and is not there")
        args = self._ledger.ledger.full(request).payload["meta"]["args"]
        payload = {
            "to": list(mail.recipients),
            "subject": args["subject"],
            "artifact_id": request_id,
            "message_id": mail.message_id,
            "status": mail.status,
            "content_hash": mail.digest,
            **({"path": mail.path} if mail.path else {}),
        }
        identity = run.recorder.identity
        provenance = {"trace_id": identity.trace_id, "opening_id": identity.opening_id, "agent_id": f"agent:{ctx.agent}"}
        provenance |= provenance_of(ctx.taint)
        event = NewEvent(
            kind="email.sent", payload=payload, actor=f"agent:{ctx.agent}", scope="user", provenance=provenance, key=f"mail:{mail.key}"
        )
        await self._ledger.append([event])


@dataclass(frozen=True, slots=True)
class CapabilityLimits:
    """What ``policy.allow_exec`` and ``policy.allowed_hosts`` leave of every agent's capabilities."""

    override: Override

    @classmethod
    def of(cls, settings: Settings) -> CapabilityLimits:
        """The limits that the settings state."""
        caps, stated = Capabilities(), set[str]()
        if not settings.get("policy.allow_exec"):
            caps, stated = replace(caps, exec=ExecGrants()), stated | {"exec"}
        hosts = settings.get("policy.allowed_hosts")
        if hosts is not None:
            granted = NetGrants(hosts=frozenset(map(split_host, hosts)), allow_http=True, allow_private=True)
            caps, stated = replace(caps, net=granted), stated | {"net"}
        return cls(Override(caps, frozenset(stated)))

    def narrow(self, bundle: Bundle) -> Bundle:
        """The bundle with what is left of its capabilities."""
        return replace(bundle, caps=bundle.caps.intersect(self.override)) if self.override.stated else bundle
