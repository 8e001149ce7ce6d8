from __future__ import annotations

from contextlib import nullcontext

import pytest

from runloop.events import NewEvent
from runloop.kb import facts
from runloop.kb.derived import contact_key
from runloop.kb.erasing import Left
from runloop.kb.errors import FactRefused, InvalidDelta, KeyConflict
from runloop.kb.proposing import StateDelta
from tests.kb.test_erasing import files_with

TEXT = "Ada likes oat milk\nand calls on Mondays"


@pytest.fixture
def note(kb):
    said = {"path": "/n.md", "line": 3, "end_line": 4, "text": TEXT, "file_hash": "a" * 64, "part": 0, "parts": 1}
    return kb.ledger.append([NewEvent("note.imported", said, "user")])[0].id


def say(kb, value, *, subject="ada@example.com", predicate="likes", actor="user", key=None, **more):
    said = {"subject": subject, "predicate": predicate, "value": value, **more}
    return kb.propose(StateDelta("fact.remembered", said, actor, key=key))


def held(kb, subject=None, *, ended=False):
    with kb.reading() as db:
        return [(fact.id, fact.value, fact.status, fact.stamp) for fact in facts.select(db, subject, ended=ended)]


def test_a_fact_is_found_by_its_subject_however_that_is_written_and_by_its_words(kb):
    first = say(kb, "oat milk").id
    second = say(kb, 5, subject="The Guild", predicate="members").id
    assert held(kb, " Ada@Example.com") == [(first, "oat milk", "current", "person")]
    assert held(kb, "the  guild!") == [(second, "5", "current", "person")]
    assert held(kb, "nobody") == []
    with kb.reading() as db:
        assert db.execute("SELECT key FROM documents WHERE domain = 'facts' ORDER BY key").fetchall() == [
            (f"fact:{first}",),
            (f"fact:{second}",),
        ]
        assert db.execute("SELECT target_key FROM edges WHERE relation = 'about' ORDER BY target_key").fetchall()[1] == (
            "subject:the guild",
        )


def test_the_event_of_a_fact_tells_nothing_of_its_value(kb):
    one, two = say(kb, "oat milk"), say(kb, "oat milk")
    assert "oat" not in str(one.payload)
    assert one.payload["value"] != two.payload["value"]
    assert b"oat milk" in kb.ledger.blob(one.payload["value"])


def test_a_superseded_fact_gives_way_and_its_history_stays(kb):
    old = say(kb, "oat milk").id
    new = kb.propose(StateDelta("fact.superseded", {"fact": old, "value": "soy milk"}, "user")).id
    assert held(kb) == [(new, "soy milk", "current", "person")]
    assert held(kb, ended=True) == [(old, "oat milk", "superseded", "person"), (new, "soy milk", "current", "person")]
    with pytest.raises(InvalidDelta, match="was superseded already"):
        kb.propose(StateDelta("fact.superseded", {"fact": old, "value": "x"}, "user"))
    with kb.reading() as db:
        supersedes = db.execute("SELECT source_key, target_key FROM edges WHERE relation = 'supersedes'").fetchall()
    assert supersedes == [(f"fact:{new}", f"fact:{old}")]
    assert [event.id for event in kb.why(f"fact:{old}")] == [old, new]


def test_a_forgotten_fact_leaves_the_tables_and_the_search(kb):
    fact = say(kb, "oat milk").id
    kb.propose(StateDelta("fact.forgotten", {"fact": fact, "reason": "wrong"}, "user"))
    assert held(kb) == []
    assert held(kb, ended=True) == [(fact, "", "forgotten", "person")]
    with kb.reading() as db:
        assert db.execute("SELECT count(*) FROM documents WHERE domain = 'facts'").get == 0


def test_an_erased_fact_is_gone_and_what_superseded_it_stays(kb):
    old = say(kb, "oat milk").id
    new = kb.propose(StateDelta("fact.superseded", {"fact": old, "value": "soy milk"}, "user")).id
    gone = say(kb, "secret", predicate="knows").id
    kb.propose(StateDelta("fact.forgotten", {"fact": gone}, "user"))
    kb.erase([gone])
    assert [row[0] for row in held(kb, ended=True)] == [old, new]
    assert kb.problems() == []
    assert kb.verify(views=True).broken is None


@pytest.mark.parametrize("erased", ["first", "second"])
def test_an_earlier_value_that_is_erased_leaves_the_later_ones_where_they_were(kb, erased):
    first = say(kb, "oat milk").id
    second = kb.propose(StateDelta("fact.superseded", {"fact": first, "value": "soy milk"}, "user")).id
    third = kb.propose(StateDelta("fact.superseded", {"fact": second, "value": "tea"}, "user")).id
    number, value = {"first": (first, "oat milk"), "second": (second, "soy milk")}[erased]
    with kb.reading() as db:
        left = facts.left_of(db, number)
    kb.erase([left])
    assert held(kb, "ada@example.com") == [(third, "tea", "current", "person")]
    values = [(first, "oat milk", "superseded", "person"), (second, "soy milk", "superseded", "person")]
    kept = [(number, "", "erased", "") if each[0] == number else each for each in values]
    assert held(kb, ended=True) == [*kept, (third, "tea", "current", "person")]
    assert files_with(kb.root, value) == []
    assert kb.problems() == []
    assert kb.verify(views=True).broken is None
    with pytest.raises(InvalidDelta, match="was erased already"):
        kb.propose(StateDelta("fact.superseded", {"fact": number, "value": "x"}, "user"))


def test_a_fact_without_later_values_is_erased_as_a_whole(kb):
    fact = say(kb, "oat milk").id
    with kb.reading() as db:
        assert facts.left_of(db, fact) == Left(fact)


def test_the_facts_of_a_person_are_found_under_each_address(kb, contact, note):
    kb.ledger.append([contact("Ada", "ada@example.com", emails=["ada@example.com", "al@work.example"])])
    one, two = say(kb, "oat milk").id, say(kb, "Mondays", subject="AL@work.example", predicate="calls on").id
    for subject in ("ada@example.com", "al@work.example", f"contact:{contact_key('ada@example.com')}"):
        assert (subject, [each[0] for each in held(kb, subject)]) == (subject, [one, two])
    span = {"event_id": note, "quote": "oat milk"}
    with pytest.raises(FactRefused, match=f"fact:{one}"):
        say(kb, "milk", subject="al@work.example", actor="agent:reader", spans=[span])


def test_a_proposal_of_an_agent_needs_a_place_that_says_it(kb, note):
    with pytest.raises(FactRefused, match="needs a span"):
        say(kb, "oat milk", actor="agent:reader")
    for span, code in (
        ({"event_id": 99, "quote": "oat milk"}, "kb.unknown_evidence"),
        ({"event_id": note, "quote": "almond milk"}, "kb.not_quoted"),
        ({"event_id": note, "quote": "oat milk", "line": 4}, "kb.not_quoted"),
        ({"event_id": note, "quote": "oat milk", "line": 2}, "kb.not_quoted"),
        ({"event_id": note, "quote": "oat milk", "start": 0, "end": 8}, "kb.not_quoted"),
        ({"event_id": note, "quote": "oat milk", "start": 0}, "kb.not_quoted"),
        ({"event_id": note, "quote": " "}, "kb.not_quoted"),
        ({"event_id": True, "quote": "oat milk"}, "kb.fact_form"),
        ("oat milk", "kb.fact_form"),
    ):
        with pytest.raises(InvalidDelta) as caught:
            say(kb, "oat milk", actor="agent:reader", spans=[span])
        assert (span, caught.value.code) == (span, code)
    for place in ({}, {"line": 3}, {"line": 3, "end_line": 4}, {"start": 10, "end": 18}):
        event = say(kb, "oat milk", actor="agent:reader", spans=[{"event_id": note, "quote": "oat milk", **place}])
        assert event.payload["stamp"]["by"] == "validator"
    assert {row[3] for row in held(kb)} == {"validator"}


def test_the_lines_of_a_text_that_does_not_say_where_it_begins_are_counted_from_1(kb):
    said = {"message": "a" * 64, "mailbox": "/mail", "path": "/mail/cur/1", "subject": "Milk", "text": "no milk\noat milk"}
    told = kb.ledger.append([NewEvent("message.imported", said, "user")])[0].id
    for line, stands in ((1, False), (2, True), (3, False)):
        span = {"event_id": told, "quote": "oat milk", "line": line}
        with nullcontext() if stands else pytest.raises(InvalidDelta, match="does not say that there"):
            say(kb, "oat milk", actor="agent:reader", spans=[span])


def test_an_agent_cannot_contradict_supersede_or_forget_what_a_person_said(kb, note):
    fact = say(kb, "tea", subject="Ada@Example.com", predicate="Likes").id
    spans = [{"event_id": note, "quote": "oat milk"}]
    with pytest.raises(FactRefused, match=f"fact:{fact}") as caught:
        say(kb, "oat milk", actor="agent:reader", spans=spans)
    assert caught.value.code == "kb.fact_contradicted"
    for kind, said in (("fact.superseded", {"fact": fact, "value": "x", "spans": spans}), ("fact.forgotten", {"fact": fact})):
        with pytest.raises(FactRefused, match="said by a person"):
            kb.propose(StateDelta(kind, said, "agent:reader"))
    say(kb, "oat milk")  # the person says that, too
    assert say(kb, "Oat Milk", actor="agent:reader", spans=spans).payload["stamp"]["checks"][-1] == "no fact of a person says otherwise"


def test_a_proposal_cannot_bring_its_own_stamp_or_form(kb):
    for said in (
        {"subject": "a", "predicate": "b", "value": "c", "stamp": {"by": "person"}},
        {"subject": " ", "predicate": "b", "value": "c"},
        {"subject": "a", "value": "c"},
        {"subject": "a", "predicate": "b", "value": {"d": 1}},
        {"subject": "a", "predicate": "b", "value": "x" * 70_000},
        {"subject": "a", "predicate": "b"},
        {"subject": "a", "predicate": "b", "value": "c", "spans": 5},
    ):
        with pytest.raises(InvalidDelta) as caught:
            kb.propose(StateDelta("fact.remembered", said, "user"))
        assert caught.value.code == "kb.fact_form"
    for number in ("1", None, 0, 2**70):
        with pytest.raises(InvalidDelta):
            kb.propose(StateDelta("fact.forgotten", {"fact": number}, "user"))


def test_a_key_makes_a_repeat_harmless_and_stands_for_one_fact(kb):
    first = say(kb, "oat milk", key="k")
    assert say(kb, "oat milk", key="k").id == first.id
    with pytest.raises(KeyConflict):
        say(kb, "soy milk", key="k")
    assert len(held(kb)) == 1


def test_a_line_of_an_imported_file_becomes_a_span(kb, note):
    with kb.reading() as db:
        assert facts.passage(db, "/n.md", 4) == {"event_id": note, "line": 4, "end_line": 4, "quote": "and calls on Mondays"}
        with pytest.raises(InvalidDelta, match="in no imported note"):
            facts.passage(db, "/n.md", 5)
    span = {"event_id": note, "line": 4, "end_line": 4, "quote": "and calls on Mondays"}
    event = say(kb, "Mondays", predicate="calls", spans=[span])
    with kb.reading() as db:
        assert (
            db.execute("SELECT target_key FROM edges WHERE source_key = ? AND relation = 'cites'", (f"fact:{event.id}",)).get
            == "note:/n.md#0"
        )


@pytest.mark.parametrize("text", ["fact:0", "x", "fact:", "1.5", "fact:-1", "9" * 30])
def test_what_names_no_fact_says_so(text):
    with pytest.raises(InvalidDelta, match="is not a fact"):
        facts.parse_fact(text)
