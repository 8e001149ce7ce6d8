import re

import pytest

from runloop.rmp import registry

# Spec section 4 and the bus session of the contracts, written out so that an id cannot change unseen.
PUBLISHED = {
    1: "observation.generic.v1",
    2: "intent.generic.v1",
    3: "intent.tool_call.v1",
    4: "toolresult.generic.v1",
    5: "artifact.generic.v1",
    6: "critique.generic.v1",
    7: "statedelta.generic.v1",
    8: "observation.run.event.v1",
    9: "intent.control.v1",
    10: "error.report.v1",
    16: "intent.bus.hello.v1",
    17: "toolresult.bus.welcome.v1",
    18: "intent.bus.subscribe.v1",
    19: "intent.bus.unsubscribe.v1",
    20: "toolresult.bus.ack.v1",
    21: "intent.bus.credit.v1",
    22: "observation.bus.ping.v1",
    23: "observation.bus.pong.v1",
    24: "error.bus.goodbye.v1",
    100: "observation.agent.hello.v1",
    101: "observation.runtime.hello.v1",
    102: "intent.init.v1",
    110: "intent.hostcall.request.v1",
    111: "toolresult.hostcall.response.v1",
    200: "intent.contacts.resolve.v1",
    201: "toolresult.contacts.resolved.v1",
    210: "intent.context.gather.v1",
    211: "observation.context.bundle.v1",
    220: "intent.draft.write.v1",
    221: "artifact.draft.email.v1",
    230: "intent.review.draft.v1",
    231: "critique.review.v1",
    240: "intent.send.mail.v1",
    241: "toolresult.mail.result.v1",
    2001: "intent.ctrl.request.v1",
    2002: "toolresult.ctrl.response.v1",
    3001: "observation.metrics.snapshot.v1",
    3002: "observation.opening.event.v1",
    3003: "observation.trace.line.v1",
    3004: "observation.agent.log.v1",
    3005: "intent.action.request.v1",
    3006: "toolresult.action.decision.v1",
    3007: "error.bus.drop.notice.v1",
    4000: "intent.executor.agent.request.v1",
    4001: "toolresult.executor.agent.response.v1",
}


def test_the_registry_is_the_published_one() -> None:
    assert {each.schema_id: each.type for each in registry.all()} == PUBLISHED


def test_the_registry_is_in_the_order_of_its_ids_and_names_each_once() -> None:
    every = registry.all()
    assert [each.schema_id for each in every] == sorted(PUBLISHED)
    assert len({each.type for each in every}) == len({each.constant for each in every}) == len(every)


@pytest.mark.parametrize("schema_id", PUBLISHED)
def test_an_id_leads_to_its_type_and_back(schema_id: int) -> None:
    descriptor = registry.by_id(schema_id)
    assert descriptor is not None
    assert descriptor == registry.by_type(PUBLISHED[schema_id])
    assert (registry.TYPE_OF[schema_id], registry.ID_OF[descriptor.type]) == (PUBLISHED[schema_id], schema_id)


@pytest.mark.parametrize("descriptor", registry.all(), ids=lambda each: each.type)
def test_a_descriptor_has_the_parts_of_its_type(descriptor: registry.Descriptor) -> None:
    assert f"{descriptor.family}.{descriptor.kind}.v{descriptor.version}" == descriptor.type
    assert descriptor.family in registry.FAMILIES
    assert re.fullmatch(r"CT_[A-Z_]+", descriptor.constant)
    assert descriptor.json_schema_id == f"schema://runloop/{descriptor.type}#"


def test_a_type_without_a_kind_keeps_its_name() -> None:
    assert registry.by_id(10) == registry.Descriptor(
        10, "CT_ERROR_REPORT", "error", "report", 1, "error.report.v1", "schema://runloop/error.report.v1#"
    )


def test_what_is_not_registered_is_not_found() -> None:
    assert [registry.by_id(0), registry.by_id(0xFFFF), registry.by_type("missing")] == [None, None, None]


def test_the_ranges_of_ids_cover_every_id_once() -> None:
    assert registry.ID_RANGES[0][0] == 0
    assert registry.ID_RANGES[-1][1] == 0xFFFF
    assert [low for low, _, _ in registry.ID_RANGES[1:]] == [high + 1 for _, high, _ in registry.ID_RANGES[:-1]]
