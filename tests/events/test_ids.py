from __future__ import annotations

import uuid

import pytest

from runloop.errors import InvalidInput
from runloop.events import new_uuid
from runloop.events.ids import agent_id, bare_uuid, event_id, opening_id, parse_event_id, trace_id

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_new_ids_are_random_uuids_in_their_usual_form():
    made = {new_uuid() for _ in range(50)}
    assert len(made) == 50
    assert {uuid.UUID(each).version for each in made} == {4}
    assert all(str(uuid.UUID(each)) == each for each in made)


@pytest.mark.parametrize(("form", "prefix"), [(trace_id, "trace"), (opening_id, "opening"), (agent_id, "agent")])
def test_display_forms_take_a_bare_uuid_or_themselves(form, prefix):
    assert form(ID) == f"{prefix}:{ID}"
    assert form(f"  {prefix}:{ID.upper()} ") == f"{prefix}:{ID}"


def test_the_bare_uuid_of_any_form_is_found():
    assert bare_uuid(f"trace:{ID}") == ID
    assert bare_uuid(ID) == ID


@pytest.mark.parametrize("bad", ["", "trace:", "trace:x", "opening:" + ID, "{" + ID + "}", ID.replace("-", ""), ID + "0"])
def test_what_is_no_uuid_is_refused(bad):
    with pytest.raises(InvalidInput, match="is not a UUID"):
        trace_id(bad)


def test_event_ids_have_a_form_for_people():
    assert event_id(12) == "event:12"
    assert parse_event_id("event:12") == parse_event_id(" 12 ") == 12


@pytest.mark.parametrize("bad", ["", "event:", "event:0", "0", "-1", "1.5", "event:x", "9" * 19, "event:\u0661"])
def test_what_is_no_event_id_is_refused(bad):
    with pytest.raises(InvalidInput, match="is not an event id"):
        parse_event_id(bad)
