from __future__ import annotations

import uuid

import pytest

from runloop.errors import InvalidInput
from runloop.events import new_uuid
from runloop.events.ids import parse_event_id


def test_new_ids_are_random_uuids_in_their_usual_form():
    made = {new_uuid() for _ in range(50)}
    assert len(made) == 50
    assert {uuid.UUID(each).version for each in made} == {4}
    assert all(str(uuid.UUID(each)) == each for each in made)


def test_an_event_id_is_read_in_its_form_for_people_and_as_a_bare_number():
    assert parse_event_id("event:12") == parse_event_id(" 12 ") == 12
    assert parse_event_id("9223372036854775807") == 2**63 - 1


@pytest.mark.parametrize("bad", ["", "event:", "event:0", "0", "-1", "1.5", "event:x", "9" * 19, str(2**63), "event:\u0661"])
def test_what_is_no_event_id_is_refused(bad):
    with pytest.raises(InvalidInput, match="is not an event id"):
        parse_event_id(bad)
