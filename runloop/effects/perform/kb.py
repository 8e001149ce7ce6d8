"""``kb.search``, ``kb.get``, ``kb.query``, ``kb.propose``: the knowledge base, within the granted domains."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runloop.effects.perform.ports import KnowledgePort, Proposal
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, require
from runloop.errors import RunloopError
from runloop.policy.names import CONTACTS_RAW, EVENTS, QUERY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEFAULT_LIMIT = 10
DEFAULT_ROWS = 100
_DOMAINS = {"mail": "messages"}
"""Domains that the keys of their entities do not begin with."""


# What others wrote and a person imported, or agents made that may have seen it: an agent that read it does nothing outside without a
# person's yes (docs/importing.md).
_OUTSIDE = {"message": "mail", "appointment": "calendar", "commit": "git"}
_MAY_HOLD_OUTSIDE = re.compile(  # a name cannot be written otherwise
    "messages|appointments|commits|documents|events|nodes|edges|facts|artifacts|mails|runs|traces|effects|approvals|problems", re.IGNORECASE
)
_OF_PEOPLE = re.compile("contact|account", re.IGNORECASE)


def _outside(keys: Iterable[str]) -> frozenset[str]:
    """Where the content of these entities came from, as far as that is outside."""
    return frozenset(f"kb:{_OUTSIDE[sort]}" for key in keys if (sort := key.partition(":")[0]) in _OUTSIDE)


def _raw_contacts(ctx: CallContext) -> bool:
    return ctx.caps.check_kb(CONTACTS_RAW, write=False) is None


def _refused(error: RunloopError, taint: frozenset[str] = frozenset()) -> CallError:
    kind = CallErrorKind.UNAVAILABLE if error.retryable else CallErrorKind.INVALID
    return CallError(kind, error.message, code=error.code, hint=error.hint, where=error.where, retryable=error.retryable, taint=taint)


class KbSearch:
    """Searches the domains asked for, or every granted one; asking for one that is not granted is denied."""

    def __init__(self, kb: KnowledgePort, domains: Sequence[str]) -> None:
        self._kb, self._domains = kb, tuple(domains)

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        asked = tuple(dict.fromkeys(args.get("domains") or ()))
        for domain in asked:
            require(ctx.caps.check_kb(domain, write=False))
        domains = asked or tuple(domain for domain in self._domains if ctx.caps.check_kb(domain, write=False) is None)
        if not domains:
            require(ctx.caps.check_kb(self._domains[0] if self._domains else "*", write=False))
        limit = args.get("limit", DEFAULT_LIMIT)
        data = {"query": args["query"], "domains": domains, "limit": limit}
        return Prepared("kb.search", EffectClass.READ, f"search {', '.join(domains)} for {args['query']!r}", data=data)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        data = prepared.data
        try:
            hits = await self._kb.search(data["query"], data["domains"], data["limit"], raw_contacts=_raw_contacts(ctx))
            labels = await self._kb.labels([hit["event_id"] for hit in hits])
        except RunloopError as error:
            raise _refused(error) from error
        return Outcome({"hits": hits}, taint=labels | _outside(hit["key"] for hit in hits))


class KbGet:
    """One entity, when its domain is granted."""

    def __init__(self, kb: KnowledgePort, domains: Sequence[str]) -> None:
        self._kb, self._domains = kb, tuple(domains)

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        sort = args["key"].partition(":")[0]
        domain = _DOMAINS.get(sort, f"{sort}s")
        if domain in (*self._domains, EVENTS):  # refused before it is looked for: whether it is there is not for this agent
            require(ctx.caps.check_kb(domain, write=False))
        elif self._domains and all(ctx.caps.check_kb(each, write=False) is not None for each in self._domains):
            require(ctx.caps.check_kb(self._domains[0], write=False))
        return Prepared("kb.get", EffectClass.READ, f"read {args['key']}", data={"key": args["key"]})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        try:
            entity = await self._kb.get(prepared.data["key"], raw_contacts=_raw_contacts(ctx))
            if entity is None or ctx.caps.check_kb(entity["domain"], write=False) is not None:
                return Outcome(None)
            labels = await self._kb.labels([entity["event_id"]])
        except RunloopError as error:
            raise _refused(error) from error
        kind = entity["data"].get("kind") if entity["domain"] == EVENTS else None
        return Outcome(entity, taint=labels | _outside([str(kind).replace(".", ":") if kind else entity["key"]]))


class KbQuery:
    """One SELECT over the masked tables, where the domain ``query`` is granted; it sees every domain, and no address."""

    def __init__(self, kb: KnowledgePort) -> None:
        self._kb = kb

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        require(ctx.caps.check_kb(QUERY, write=False))
        data = {"sql": args["sql"], "limit": args.get("limit", DEFAULT_ROWS)}
        return Prepared("kb.query", EffectClass.READ, f"ask the knowledge base {args['sql']!r}", data=data)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        sql = prepared.data["sql"]
        labels = frozenset({"kb:query"} if _MAY_HOLD_OUTSIDE.search(sql) else ())
        try:
            if _OF_PEOPLE.search(sql):
                labels |= await self._kb.labels_of_people()
            found = await self._kb.query(sql, prepared.data["limit"])
        except RunloopError as error:
            raise _refused(error, labels) from error  # which error it is, a statement can make depend on what is stored
        return Outcome(found, taint=labels)


class KbPropose:
    """Adds a fact, where its domain is granted (``contact.upserted`` needs ``contacts``)."""

    def __init__(self, kb: KnowledgePort) -> None:
        self._kb = kb

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        require(ctx.caps.check_propose(args["kind"]))
        proposal = Proposal(args["kind"], args["payload"], tuple(args.get("evidence") or ()), args.get("rationale", ""), ctx.work_key)
        what = f"add {proposal.kind} to the knowledge base: {proposal.payload}"
        return Prepared("kb.propose", EffectClass.IDEMPOTENT, what, data={"proposal": proposal})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        try:
            event_id = await self._kb.propose(prepared.data["proposal"], ctx)
        except RunloopError as error:
            raise _refused(error) from error
        return Outcome({"event_id": event_id})
