from __future__ import annotations

import pytest

from runloop.events import InvalidEvent, NewerVersion, NewEvent, StoredEvent, current
from runloop.events import kinds as k
from runloop.events.domain import ContactUpserted
from runloop.events.kinds import validate
from runloop.events.reference import events_page
from runloop.events.upcast import UPCASTERS, version_of
from runloop.kb import KnowledgeBase, projections

SEEN = "person.seen"


def stored(payload, kind=SEEN):
    return StoredEvent(1, 2, kind, "user", "user", payload, {}, b"", b"")


@pytest.fixture
def third_version(monkeypatch):
    """A kind that had ``full_name`` first, then ``name``, and has an ``email`` now."""
    kind = k.Kind(SEEN, "Somebody was seen.", payload=ContactUpserted, version=3)
    monkeypatch.setitem(k.KINDS, SEEN, kind)
    monkeypatch.setitem(UPCASTERS, (SEEN, 1), lambda old: {"name": old["full_name"]})
    monkeypatch.setitem(UPCASTERS, (SEEN, 2), lambda old: {**old, "email": f"{old['name'].lower()}@example.com"})
    monkeypatch.setitem(projections._PROJECTIONS, SEEN, projections._PROJECTIONS["contact.upserted"])


def test_a_payload_of_any_version_is_brought_up_to_the_newest(third_version):
    newest = {"name": "Ada", "email": "ada@example.com"}
    for payload in ({"full_name": "Ada"}, {"$v": 2, "name": "Ada"}, {"$v": 3, **newest}):
        assert current(stored(payload)).payload == newest


def test_what_is_of_its_kinds_first_and_only_version_is_the_same_object():
    event = stored({"name": "Ada", "email": "a@x"}, "contact.upserted")
    assert current(event) is event


def test_what_was_erased_stays_as_it_is(third_version):
    event = stored({"$erased": "0" * 32})
    assert current(event) is event


def test_a_version_of_a_later_program_is_refused(third_version):
    with pytest.raises(NewerVersion, match="knows up to 3") as caught:
        current(stored({"$v": 4}))
    assert caught.value.code == "events.newer_version"
    with pytest.raises(NewerVersion):
        current(stored({"$v": 2, "name": "Ada"}, "contact.upserted"))


@pytest.mark.parametrize("version", [0, -1, "2", True, 1.5, None])
def test_a_version_is_an_integer_from_one(version):
    with pytest.raises(InvalidEvent):
        version_of({"$v": version})


def test_every_version_below_a_kinds_own_has_a_way_up():
    missing = [(name, version) for name, kind in k.KINDS.items() for version in range(1, kind.version) if (name, version) not in UPCASTERS]
    assert missing == []


def test_what_is_written_states_its_version_and_what_was_written_before_stays_as_it_is(tmp_path, third_version, monkeypatch):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([NewEvent(SEEN, {"name": "Grace", "email": "g@x.example"}, "user")])
        monkeypatch.setitem(k.KINDS, SEEN, k.Kind(SEEN, "", payload=ContactUpserted))  # as the program was before
        kb.ledger.append([NewEvent(SEEN, {"full_name": "Ada"}, "user")], check=False)
        monkeypatch.setitem(k.KINDS, SEEN, k.Kind(SEEN, "", payload=ContactUpserted, version=3))
        kb.ledger.append([NewEvent(SEEN, {"$v": 9}, "user")], check=False)
        assert [event.payload.get("$v") for event in kb.ledger.read()] == [3, None, 9]
        with kb.reading() as db:
            assert db.execute("SELECT name, email FROM contacts ORDER BY name").fetchall() == [
                ("Ada", "ada@example.com"),
                ("Grace", "g@x.example"),
            ]
        assert [(each["event_id"], each["error"].split(":")[0]) for each in kb.problems()] == [(3, "NewerVersion")]
        assert kb.verify(views=True).broken is None


def test_a_payload_that_is_checked_must_be_of_the_version_that_is_written(third_version):
    good = {"name": "Ada", "email": "a@x.example"}
    assert validate(SEEN, {"$v": 3, **good}).version == 3
    for payload in (good, {"$v": 2, **good}, {"$v": 3, "name": "Ada"}):
        with pytest.raises(InvalidEvent):
            validate(SEEN, payload)


def test_the_page_of_events_names_the_version_of_every_kind(third_version):
    sections = events_page().split("\n### ")[1:]
    assert len(sections) >= len(k.KINDS)
    assert all(" Version " in section for section in sections)
    assert 'Version 3; the stored payload has `"$v": 3`.' in next(section for section in sections if section.startswith(SEEN))
