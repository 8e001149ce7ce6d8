"""The schema registry: which number on the wire is which type (spec section 4; 16 to 24 are the bus session of Runloop).

Published as a table in ``docs/protocol.md``. Ids are never given a second meaning; a new type takes a free id in its range.
"""

from __future__ import annotations

from typing import Final

from runloop.dataclass import dataclass

FAMILIES: Final = ("observation", "intent", "artifact", "toolresult", "critique", "statedelta", "error")

ID_RANGES: Final = (
    (0x0000, 0x0000, "reserved"),
    (0x0001, 0x000F, "core, stable"),
    (0x0010, 0x007F, "first-party extensions"),
    (0x0080, 0x03FF, "local, private"),
    (0x0400, 0x0FFF, "third-party, provisional"),
    (0x1000, 0xFFFF, "vendor: the payload carries `schema_hash` and `vendor`"),
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One registered type: ``type`` is ``<family>.<kind>.v<version>``."""

    schema_id: int
    constant: str
    family: str
    kind: str
    version: int
    type: str
    json_schema_id: str


_TABLE: Final = (
    (1, "CT_OBSERVATION", "observation.generic.v1"),
    (2, "CT_INTENT", "intent.generic.v1"),
    (3, "CT_TOOL_CALL", "intent.tool_call.v1"),
    (4, "CT_TOOL_RESULT", "toolresult.generic.v1"),
    (5, "CT_ARTIFACT", "artifact.generic.v1"),
    (6, "CT_CRITIQUE", "critique.generic.v1"),
    (7, "CT_STATE_DELTA", "statedelta.generic.v1"),
    (8, "CT_RUN_EVENT", "observation.run.event.v1"),
    (9, "CT_CONTROL", "intent.control.v1"),
    (10, "CT_ERROR_REPORT", "error.report.v1"),
    (16, "CT_BUS_HELLO", "intent.bus.hello.v1"),
    (17, "CT_BUS_WELCOME", "toolresult.bus.welcome.v1"),
    (18, "CT_BUS_SUBSCRIBE", "intent.bus.subscribe.v1"),
    (19, "CT_BUS_UNSUBSCRIBE", "intent.bus.unsubscribe.v1"),
    (20, "CT_BUS_ACK", "toolresult.bus.ack.v1"),
    (21, "CT_BUS_CREDIT", "intent.bus.credit.v1"),
    (22, "CT_BUS_PING", "observation.bus.ping.v1"),
    (23, "CT_BUS_PONG", "observation.bus.pong.v1"),
    (24, "CT_BUS_GOODBYE", "error.bus.goodbye.v1"),
    (100, "CT_AGENT_HELLO", "observation.agent.hello.v1"),
    (101, "CT_RUNTIME_HELLO", "observation.runtime.hello.v1"),
    (102, "CT_INIT", "intent.init.v1"),
    (110, "CT_HOSTCALL_REQ", "intent.hostcall.request.v1"),
    (111, "CT_HOSTCALL_RES", "toolresult.hostcall.response.v1"),
    (200, "CT_INTENT_CONTACTS_RESOLVE", "intent.contacts.resolve.v1"),
    (201, "CT_CONTACTS_RESOLVED", "toolresult.contacts.resolved.v1"),
    (210, "CT_INTENT_CONTEXT_GATHER", "intent.context.gather.v1"),
    (211, "CT_CONTEXT_BUNDLE", "observation.context.bundle.v1"),
    (220, "CT_INTENT_DRAFT_WRITE", "intent.draft.write.v1"),
    (221, "CT_DRAFT_EMAIL", "artifact.draft.email.v1"),
    (230, "CT_INTENT_REVIEW_DRAFT", "intent.review.draft.v1"),
    (231, "CT_REVIEW_CRITIQUE", "critique.review.v1"),
    (240, "CT_INTENT_SEND_MAIL", "intent.send.mail.v1"),
    (241, "CT_MAIL_RESULT", "toolresult.mail.result.v1"),
    (2001, "CT_CTRL_REQ", "intent.ctrl.request.v1"),
    (2002, "CT_CTRL_RESP", "toolresult.ctrl.response.v1"),
    (3001, "CT_METRICS_SNAPSHOT", "observation.metrics.snapshot.v1"),
    (3002, "CT_OPENING_EVENT", "observation.opening.event.v1"),
    (3003, "CT_TRACE_LINE", "observation.trace.line.v1"),
    (3004, "CT_AGENT_LOG_LINE", "observation.agent.log.v1"),
    (3005, "CT_ACTION_REQUEST", "intent.action.request.v1"),
    (3006, "CT_ACTION_DECISION", "toolresult.action.decision.v1"),
    (3007, "CT_BUS_DROP_NOTICE", "error.bus.drop.notice.v1"),
    (4000, "CT_EXECUTOR_AGENT_REQUEST", "intent.executor.agent.request.v1"),
    (4001, "CT_EXECUTOR_AGENT_RESPONSE", "toolresult.executor.agent.response.v1"),
)


def _descriptor(schema_id: int, constant: str, type_: str) -> Descriptor:
    family, _, rest = type_.partition(".")
    kind, _, version = rest.rpartition(".v")
    return Descriptor(schema_id, constant, family, kind, int(version), type_, f"schema://runloop/{type_}#")


_BY_ID: Final = {row[0]: _descriptor(*row) for row in _TABLE}
_BY_TYPE: Final = {found.type: found for found in _BY_ID.values()}
TYPE_OF: Final = {found.schema_id: found.type for found in _BY_ID.values()}
ID_OF: Final = {found.type: found.schema_id for found in _BY_ID.values()}


def by_id(schema_id: int) -> Descriptor | None:
    """The descriptor of a schema id, or None."""
    return _BY_ID.get(schema_id)


def by_type(type_: str) -> Descriptor | None:
    """The descriptor of a type string, or None."""
    return _BY_TYPE.get(type_)


def all() -> tuple[Descriptor, ...]:  # noqa: A001 - read as registry.all()
    """Every descriptor, by ascending id."""
    return tuple(_BY_ID.values())
