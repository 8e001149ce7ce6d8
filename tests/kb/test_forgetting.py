from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.events import NewEvent, run_event, validate
from runloop.events import records as r
from runloop.kb import erasing, forgetting
from runloop.kb.derived import contact_key
from runloop.kb.errors import EraseRefused
from runloop.kb.proposing import StateDelta
from tests.kb.test_erasing import files_with

ADA, ADDRESS = "Ada Quuxington", "ada.quux@example.com"


def passage(text, path="/n.md", version="a", part=0, parts=1):
    said = {"path": path, "line": 1, "end_line": 1, "text": text, "file_hash": version * 64, "part": part, "parts": parts}
    return NewEvent("note.imported", said, "user")


def mail(recipient, artifact_id):
    return NewEvent("email.sent", {"to": [recipient], "subject": "Hello", "artifact_id": artifact_id}, "agent:mailer")


@pytest.fixture
def full(kb, contact, run):
    """A base in which Ada is mentioned everywhere, and others as well."""
    started = r.RunStarted("d", {"to": ADA, "about": "tea"}, r.Versions("0"), "local")
    records = [
        ("run.started", started, f"compose for {ADA}"),
        ("node.finished", r.NodeFinished("writer", 1, "ok", {"out": [f"Dear {ADA.upper()}, " + "x" * 20_000]}), "done"),
        ("run.finished", r.RunFinished("succeeded", 5), "done"),
    ]
    kb.ledger.append(
        [
            contact("A. Quuxington", ADDRESS, ts_ms=1),
            contact(ADA, ADDRESS, emails=[ADDRESS, "aq@work.example"], ts_ms=2),
            contact("Bob Smith", "bob@example.com", ts_ms=3),
            NewEvent("account.upserted", {"service": "matrix", "handle": "@ada:example.com", "contact": ADDRESS}, "user"),
            passage("An old version about nobody"),
            passage(f"Lunch with {ADA}", version="b"),
            passage("Buy tea", path="/other.md"),
            *(run_event(run, seq, kind, meta, text) for seq, (kind, meta, text) in enumerate(records, 1)),
        ]
    )
    kb.ledger.append([mail(ADDRESS, 9), mail("bob@example.com", 9)])
    for subject, value in ((ADDRESS, "oat milk"), ("team lead", ADA), ("the office", "north")):
        kb.propose(StateDelta("fact.remembered", {"subject": subject, "predicate": "is", "value": value}, "user"))
    old = kb.propose(StateDelta("fact.remembered", {"subject": "manager", "predicate": "is", "value": "Bob"}, "user")).id
    kb.propose(StateDelta("fact.superseded", {"fact": old, "value": ADA}, "user"))
    kb.sync()
    return kb


def found(plan):
    return [(mention.kind, mention.action) for mention in plan.mentions]


def test_everything_that_mentions_a_person_is_listed_and_nothing_else(full):
    head = full.ledger.head()
    plan = forgetting.plan(full, ADDRESS)
    assert found(plan) == [
        ("contact.upserted", "erase"),
        ("contact.upserted", "erase"),
        ("account.upserted", "erase"),
        ("note.imported", "erase"),
        ("note.imported", "erase"),
        ("run.started", "take out"),
        ("node.finished", "take out"),
        ("email.sent", "erase"),
        ("fact.remembered", "erase"),
        ("fact.remembered", "erase"),
        ("fact.superseded", "erase"),
    ]
    assert plan.outside == ("/n.md",)
    assert full.ledger.head() == head


def test_a_forgotten_person_is_in_no_file_and_the_rest_is_as_it_was(full, run):
    forgetting.carry_out(full, forgetting.plan(full, ADA))
    for text in (ADA, ADA.upper(), ADDRESS, "Quuxington", "aq@work.example", "@ada:example.com", contact_key(ADDRESS)):
        assert (text, files_with(full.root, text)) == (text, [])
    assert full.verify(views=True).broken is None
    assert full.problems() == []
    assert [hit.title for hit in full.search("Bob", ["contacts"])] == ["Bob Smith"]
    assert full.search("old version") == []
    assert [hit.path for hit in full.search("tea", ["notes"])] == ["/other.md"]
    row = full.run(run.run_id)
    assert (row["status"], row["last_seq"]) == ("succeeded", 3)
    with full.reading() as db:
        assert db.execute("SELECT subject, value, status FROM facts ORDER BY fact_id").fetchall() == [
            ("the office", "north", "current"),
            ("manager", "Bob", "superseded"),
            ("manager", "", "erased"),
        ]
        assert db.execute("SELECT count(*) FROM mails").get == 1
    assert forgetting.plan(full, ADDRESS).mentions == ()


def test_the_later_values_of_a_fact_about_them_go_too(kb, contact):
    kb.ledger.append([contact(ADA, ADDRESS)])
    old = kb.propose(StateDelta("fact.remembered", {"subject": ADDRESS, "predicate": "allergy", "value": "peanuts"}, "user")).id
    for value in ("cashews", "walnuts"):
        old = kb.propose(StateDelta("fact.superseded", {"fact": old, "value": value}, "user")).id
    plan = forgetting.plan(kb, ADA)
    assert found(plan)[1:] == [("fact.remembered", "erase"), ("fact.superseded", "erase"), ("fact.superseded", "erase")]
    forgetting.carry_out(kb, plan)
    for value in ("peanuts", "cashews", "walnuts"):
        assert (value, files_with(kb.root, value)) == (value, [])
    assert kb.verify(views=True).broken is None


def test_a_fact_that_named_them_and_names_somebody_else_since_is_known_still(kb, contact):
    kb.ledger.append([contact(ADA, ADDRESS)])
    old = kb.propose(StateDelta("fact.remembered", {"subject": "team", "predicate": "lead", "value": ADA}, "user")).id
    for value in ("Bob", ADA, "Carl"):
        old = kb.propose(StateDelta("fact.superseded", {"fact": old, "value": value}, "user")).id
    forgetting.carry_out(kb, forgetting.plan(kb, ADA))
    assert files_with(kb.root, ADA) == []
    with kb.reading() as db:
        assert db.execute("SELECT subject, predicate, value, status FROM facts ORDER BY fact_id").fetchall() == [
            ("team", "lead", "", "erased"),
            ("team", "lead", "Bob", "superseded"),
            ("team", "lead", "", "erased"),
            ("team", "lead", "Carl", "current"),
        ]
    assert kb.verify(views=True).broken is None
    assert forgetting.plan(kb, ADA).mentions == ()


@pytest.mark.parametrize("number", ["030 9012 3456", "55501234"])
def test_what_agents_read_in_place_of_an_address_or_a_number_is_looked_for_too(kb, contact, run, number):
    kb.ledger.append([contact(ADA, "Ada.Quux@Example.com", phones=[number]), contact("Bob", "bob@example.com")])
    [ada, bob] = (kb.search(name, ["contacts"])[0].data for name in ("Quuxington", "Bob"))
    said = [f"{ada['email']} is allergic to nuts", f"call {ada['phones'][0]}", f"{bob['email']} is not"]
    kb.ledger.append(
        [
            run_event(run, 1, "run.started", r.RunStarted("d", {"said": said}, r.Versions("0"), "local"), "m"),
            run_event(run, 2, "run.finished", r.RunFinished("succeeded", 1), "m"),
        ]
    )
    assert "ada.quux" not in str(said).lower()
    assert number not in said[1]
    plan = forgetting.plan(kb, ADA)
    assert found(plan) == [("contact.upserted", "erase"), ("run.started", "take out")]
    forgetting.carry_out(kb, plan)
    assert kb.ledger.get(3).payload["meta"]["params"]["said"] == [forgetting.TAKEN_OUT, forgetting.TAKEN_OUT, said[2]]
    assert forgetting.plan(kb, ADA).mentions == ()


@pytest.mark.parametrize("size", [1, 20_000])
def test_what_a_run_found_of_what_goes_leaves_its_records_too(kb, contact, run, size):
    kb.ledger.append([contact(ADA, ADDRESS), passage("Buy tea", path="/other.md")])
    fact = kb.propose(StateDelta("fact.remembered", {"subject": ADDRESS, "predicate": "allergy", "value": "walnuts"}, "user")).id
    hits = [
        {"event_id": fact, "title": "x", "data": {"text": "walnuts", "path": "/p", "all": ["walnuts", 5, None]}, "key": f"fact:{fact}"},
        {"event_id": 2, "title": "tea", "data": {"text": "Buy tea"}, "more": "x" * size},
    ]
    kb.ledger.append(
        [
            run_event(run, 1, "run.started", r.RunStarted("d", {}, r.Versions("0"), "local"), "m"),
            run_event(run, 2, "node.finished", r.NodeFinished("reader", 1, "ok", {"out": [{"hits": hits, "n": 1}]}), "done"),
            run_event(run, 3, "run.finished", r.RunFinished("succeeded", 1), "m"),
        ]
    )
    plan = forgetting.plan(kb, ADA)
    assert found(plan) == [("contact.upserted", "erase"), ("fact.remembered", "erase"), ("node.finished", "take out")]
    forgetting.carry_out(kb, plan)
    [out] = kb.ledger.full(kb.ledger.get(plan.mentions[-1].event_id)).payload["meta"]["outputs"]["out"]
    gone = forgetting.TAKEN_OUT
    assert out["hits"][0] == {
        "event_id": fact,
        "title": gone,
        "data": {"text": gone, "path": "/p", "all": [gone, 5, None]},
        "key": f"fact:{fact}",
    }
    assert (out["hits"][1], out["n"]) == (hits[1], 1)
    assert files_with(kb.root, "walnuts") == []
    assert kb.verify(views=True).broken is None
    assert forgetting.plan(kb, ADA).mentions == ()


def test_a_run_that_has_not_ended_keeps_its_records_and_is_named(kb, contact, run):
    kb.ledger.append([contact(ADA, ADDRESS)])
    kb.ledger.append([run_event(run, 1, "run.started", r.RunStarted("d", {"to": ADA}, r.Versions("0"), "local"), "m")])
    plan = forgetting.plan(kb, ADA)
    assert [(mention.action, bool(mention.why)) for mention in plan.mentions] == [("erase", False), ("stays", True)]
    forgetting.carry_out(kb, plan)
    assert kb.ledger.get(2).payload["meta"]["params"] == {"to": ADA}


def test_words_that_mean_several_people_or_too_little_erase_nobody(kb, contact):
    kb.ledger.append([contact("Ada Quux", "a@x.example"), contact("Ada Brown", "b@x.example")])
    with pytest.raises(InvalidInput, match="several people") as caught:
        forgetting.plan(kb, "Ada")
    assert "Ada Brown" in caught.value.hint
    with pytest.raises(InvalidInput, match="several people"):
        forgetting.plan(kb, "Ada Bruwn")
    with pytest.raises(InvalidInput, match="too short"):
        forgetting.plan(kb, "Zo")


def test_somebody_who_is_no_contact_is_found_by_the_words(kb):
    kb.ledger.append([passage("Met zoë\nQuark today"), passage("Quarkish Zoë", path="/o.md")])
    assert [mention.event_id for mention in forgetting.plan(kb, "Zoe\u0308 Quark").mentions] == [1]


def test_another_contact_that_mentions_them_only_loses_that(kb, contact):
    kb.ledger.append([contact(ADA, ADDRESS), contact("Bob", "bob@example.com", org=f"Friends of {ADA}")])
    forgetting.carry_out(kb, forgetting.plan(kb, ADDRESS))
    [hit] = kb.search("Bob", ["contacts"], raw_contacts=True)
    assert (hit.data["email"], hit.data["org"]) == ("bob@example.com", forgetting.TAKEN_OUT)


def test_a_number_of_a_person_is_looked_for_and_none_so_short_that_others_mean_something_else_by_it(kb, contact):
    kb.ledger.append([contact("Cy Adler", "cy@example.org", phones=["+49 30 1234567", "112"])])
    kb.ledger.append([passage("In an emergency call 112.")])
    found = forgetting.plan(kb, "Cy Adler")
    assert "+49 30 1234567" in found.texts
    assert "112" not in found.texts
    assert [mention.event_id for mention in found.mentions] == [1]


@pytest.mark.parametrize(("name", "sought"), [("Bo", False), ("Bob", False), ("Bodo", True)])
def test_a_name_so_short_that_it_is_a_part_of_many_others_is_not_looked_for(name, sought, kb, contact):
    kb.ledger.append([contact(name, "b@example.org"), passage(f"{name} bought a boat")])
    plan = forgetting.plan(kb, "b@example.org")
    assert [mention.event_id for mention in plan.mentions] == ([1, 2] if sought else [1])


@pytest.mark.parametrize(
    ("name", "said", "written"),
    [
        ("Prof. Dr. Jörg Müller, MBA", "j@example.org", "Jörg Müller likes tea"),
        ("Maria Anna Lee", "Maria Lee", "Maria Lee likes tea"),
        ("Maria Anna Lee", "mari", "Maria Anna Lee likes tea"),
        ("Dr. Jörg Müller", "j@example.org", "MÜLLER, Jörg; Kraus, Anna: tea"),
        ("Dr. Jörg Müller", "j@example.org", "Müller,Dr. Jörg"),
        ("Müller,Jörg", "j@example.org", "Müller, Jörg likes tea"),
        ("Jan van der Berg", "jan van der berg", "Tea for van der\nBerg, Jan and others"),
        ("Jörg Müller", "Müller, Jörg", "Jörg Müller likes tea"),
        ("Müller, Jörg", "j@example.org", "Jörg Müller likes tea"),
        ("Maria Anna Lee", "mari", "Lee, Maria Anna"),
    ],
)
def test_a_name_is_looked_for_without_its_titles_and_as_it_was_said(name, said, written, kb, contact):
    kb.ledger.append([contact(name, "j@example.org"), passage(written), passage("Mari and Dr. Lee and J. Müller like tea", path="/b")])
    assert [mention.event_id for mention in forgetting.plan(kb, said).mentions] == [1, 2]


@pytest.mark.parametrize(("said", "written"), [("Ada Lovelace", "Lovelace, Ada"), ("Lovelace, Ada", "Ada Lovelace")])
def test_a_name_that_no_contact_has_is_looked_for_with_either_part_first(said, written, kb):
    kb.ledger.append([passage(f"{written}: tea"), passage("Ada, Lovelace Road", path="/b"), passage(said, path="/c")])
    assert [mention.event_id for mention in forgetting.plan(kb, said).mentions] == [1, 3]


def test_texts_that_are_also_given_are_looked_for(kb, contact):
    kb.ledger.append([contact(ADA, ADDRESS), passage("The Countess was here")])
    assert found(forgetting.plan(kb, ADA, ["the countess"]))[-1] == ("note.imported", "erase")


@given(st.text("aJé7_.+-' \n,<>:/=", max_size=5), st.sampled_from(["", ".", ".\n", ">", ". Bye", ".md", "-", "/x"]))
def test_an_address_is_found_as_who_reads_it_sees_where_it_begins(before, behind):
    begun = re.sub(r".*[^\w.+'-]|.*[.+'-]{2}", "", before, flags=re.DOTALL).lstrip(".+'-")
    assert forgetting.Texts(["Ada@X.de"]).are_in([f"{before}ada@x.de{behind}"]) == (not begun)


@pytest.mark.parametrize(
    ("text", "longer", "same"),
    [
        ("ada@x.co", ["a", "_", ".uk", ".UK ", ".com.br", ".com"], ["", ".", ".\n", ">", "/", ".md", ".eml", ".tar.gz", "-Notes", ". No"]),
        ("https://x.example/ada", ["b", "-b", ".b"], ["", "/b", ".", "-", "?b"]),
        ("Ada Lee", ["s"], ["", ".", "-Jones", "'s", ".md"]),
    ],
)
def test_what_is_looked_for_ends_where_it_does_not_go_on(text, longer, same):
    texts = forgetting.Texts([text])
    assert [each for each in (*longer, *same) if texts.are_in([f"({text}{each})"])] == same


@pytest.mark.parametrize(
    "written",
    ["Zoë Łys", "ZOE\u0308 ŁYS", "Zoe Lys", "zoë  lys", "Zoë\u00a0Łys", "Zo\xadë Ły\u200bs", "\uff3a\uff4f\uff45 Lys", "Zoë\nŁys"],
)
def test_a_name_is_found_however_its_letters_are_written(written):
    texts = forgetting.Texts(["Zoë Łys"])
    assert (texts.may_be_in(written), texts.are_in({"text": written}), texts.take_out(f"- {written}!")) == (True, True, "[erased]")
    assert forgetting.Texts([written]).are_in([f"({each})" for each in ("Zoë Łys", "Zoe Lys")])


def test_a_text_of_blanks_that_is_also_given_is_not_in_everything():
    texts = forgetting.Texts([ADDRESS, "", " \n"])
    assert (texts.texts, texts.are_in(["", "x", " "]), texts.take_out("x")) == ((ADDRESS,), False, "x")


def test_the_name_of_an_account_that_says_not_where_it_is_may_be_another_s(kb, contact):
    account = {"service": "github", "handle": "aquux", "contact": ADDRESS, "url": "https://github.com/aquux"}
    kb.ledger.append([contact(ADA, ADDRESS), NewEvent("account.upserted", account, "user"), passage("Ask aquux")])
    kb.ledger.append([passage("See https://github.com/aquux.", path="/b.md"), passage("See https://github.com/aquux-2.", path="/c.md")])
    kb.sync()
    assert [mention.event_id for mention in forgetting.plan(kb, ADA).mentions] == [1, 2, 4]


def test_what_an_appointment_said_before_it_named_them_goes_too(kb, contact):
    said = (("Lunch", "a"), (f"Lunch, {ADA}", "a"), ("Lunch", "b"))
    meetings = [{"uid": "u", "path": "/c.ics", "line": 1, "summary": summary, "appointment": key * 64} for summary, key in said]
    kb.ledger.append([contact(ADA, ADDRESS), *(NewEvent("appointment.imported", each, "user") for each in meetings)])
    kb.sync()
    assert [mention.event_id for mention in forgetting.plan(kb, ADA).mentions] == [1, 2, 3]


def test_people_whose_addresses_and_names_have_theirs_in_them_are_not_forgotten(kb, contact):
    others = ("john.smith@uni.example", "smith@uni.example.uk", "j-smith@uni.example")
    kb.ledger.append([contact("Jo Smith", "smith@uni.example", ts_ms=1), *(contact("Jo Smithson", each, ts_ms=2) for each in others)])
    kb.ledger.append([passage(f"Ask {each}", path=f"/{each}") for each in (*others, "smith@uni.example")])
    kb.sync()
    plan = forgetting.plan(kb, "smith@uni.example")
    assert [mention.event_id for mention in plan.mentions] == [1, 8]
    forgetting.carry_out(kb, plan)
    assert [text for text in plan.texts if forgetting.stands(kb, text)] == ["smith@uni.example", "Jo Smith"]


def test_files_that_hold_a_text_are_found_and_empty_or_missing_ones_do_no_harm(tmp_path):
    (tmp_path / "a").write_text(f"x {ADDRESS}")
    (tmp_path / "b").write_text("x")
    (tmp_path / "empty").touch()
    paths = [tmp_path / name for name in ("a", "b", "empty", "missing")]
    assert forgetting.holding(paths, [ADDRESS.upper()]) == [tmp_path / "a"]


def test_what_a_newer_program_wrote_stays_and_is_named(kb, contact):
    kb.ledger.append([contact(ADA, ADDRESS)])
    kb.ledger.append([NewEvent("contact.upserted", {"$v": 7, "who": ADA}, "user")], check=False)
    plan = forgetting.plan(kb, ADA)
    assert [(mention.event_id, mention.action) for mention in plan.mentions] == [(1, "erase"), (2, "stays")]
    assert "newer" in plan.mentions[1].why


@pytest.mark.parametrize("name", ["Info", "Draft", "Succeeded", "Local", "Message", "Error", "Status", "Result", "Email.Draft"])
def test_a_name_that_is_a_word_of_records_takes_nothing_of_their_form_with_it(name, kb, contact, run):
    agent = r.AgentRef("draft", "1", "a" * 64)
    error = r.ErrorInfo("email.draft", f"ask {name}", kind="error")
    overrides = {"params": {"status": name}, "answers": [{"node": "draft", "attempt": 1, "call": 1, "result": {"message": name}}]}
    records = [
        ("run.started", r.RunStarted("d", {"message": "tea"}, r.Versions("0"), "local", overrides=overrides), "m"),
        ("node.started", r.NodeStarted("draft", 1, agent, inputs={"draft": [{"error": name}]}), "draft started"),
        ("effect.requested", r.EffectRequested("draft", 1, 1, "email.draft", "read", "b" * 64, {"status": "tea"}), "m"),
        ("effect.completed", r.EffectEnded("draft", 1, 1, "email.draft", {"result": {"Ask " + name: 1}}), "m"),
        ("effect.failed", r.EffectEnded("draft", 1, 2, "email.draft", error=error), "m"),
        ("node.finished", r.NodeFinished("draft", 1, "ok", {"message": ["tea"]}), "m"),
        (
            "run.finished",
            r.RunFinished("succeeded", 1, artifacts=[r.Saved(f"/{name}.md", "text", "draft", "message", "draft.message")]),
            "m",
        ),
    ]
    kb.ledger.append([contact(name, "x@example.org"), *(run_event(run, seq, *each) for seq, each in enumerate(records, 1))])
    audit = {"agent": "draft", "cap": "c", "op": "draft", "target": name, "args_hash": "a" * 64, "reason": "r"}
    kb.ledger.append([NewEvent("cap.audit", {**audit, "decision": "allow", "severity": "info"}, "user")])
    forgetting.carry_out(kb, forgetting.plan(kb, "x@example.org"))
    left = {
        event.id: {key: value for key, value in kb.ledger.full(event).payload.items() if key != "$erased"} for event in kb.ledger.read(1)
    }
    for event in kb.ledger.read(1, 8):
        validate(event.kind, left[event.id])
    gone = forgetting.TAKEN_OUT
    metas = {number: payload.get("meta") for number, payload in left.items()}
    assert metas[2]["overrides"]["params"] == {"status": gone}
    assert metas[2]["overrides"]["answers"][0]["result"] == {"message": gone}
    assert metas[3]["inputs"] == {"draft": [{"error" if name != "Error" else gone: gone}]}
    assert (metas[4]["args"], metas[5]["result"]) == ({"status": "tea"}, {"result": {gone: 1}})
    assert metas[6]["error"] == {"code": "email.draft", "message": gone, "kind": "error"}
    assert (metas[7]["outputs"], metas[7]["status"]) == ({"message": ["tea"]}, "ok")
    assert metas[8]["artifacts"] == [{"path": gone, "kind": "text", "node": "draft", "port": "message", "name": "draft.message"}]
    assert {**left[9], "target": name} == {**audit, "decision": "allow", "severity": "info"}
    assert forgetting.plan(kb, "x@example.org", [name]).mentions == ()


def runs_of_a_family(run, relation):
    """The first records of a run that ended and mentions Ada, and those of one of its family that goes on; ``relation`` says which."""
    other = replace(run, run_id="1" + run.run_id[1:], parent_run_id=run.run_id if relation == "child" else None)
    one = replace(run, parent_run_id=other.run_id) if relation == "parent" else run
    forked = r.ForkedFrom(run.run_id, 1) if relation == "fork" else None
    return [
        run_event(one, 1, "run.submitted", r.RunStarted("d", {"to": ADA}, r.Versions("0"), "local"), "m"),
        run_event(one, 2, "run.finished", r.RunFinished("failed", 1), "m"),
        run_event(other, 1, "run.submitted", r.RunStarted("d", {}, r.Versions("0"), "local", forked_from=forked), "m"),
    ], run_event(other, 2, "run.finished", r.RunFinished("cancelled", 1), "m")


@pytest.mark.parametrize("relation", ["fork", "parent", "child"])
def test_records_that_an_unfinished_run_goes_on_from_stay_and_that_run_is_named(relation, kb, contact, run):
    begun, ended = runs_of_a_family(run, relation)
    kb.ledger.append([contact(ADA, ADDRESS), *begun])
    plan = forgetting.plan(kb, ADA)
    assert found(plan) == [("contact.upserted", "erase"), ("run.submitted", "stays")]
    assert plan.mentions[1].why == "run 1f8fad5b, which goes on from it, has not ended: cancel it, then forget again"
    kb.ledger.append([ended])
    assert found(forgetting.plan(kb, ADA)) == [("contact.upserted", "erase"), ("run.submitted", "take out")]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("relation", ["fork", "child"])
def test_a_run_that_was_forked_since_the_list_was_made_keeps_its_records_and_nothing_is_erased(
    late, relation, kb, contact, run, monkeypatch
):
    begun, _ = runs_of_a_family(run, relation)
    kb.ledger.append([contact(ADA, ADDRESS), *begun[:2]])
    plan = forgetting.plan(kb, ADA)
    if late:  # between the look at the runs and the transaction
        look = erasing._in_use
        monkeypatch.setattr(erasing, "_in_use", lambda db, every: (look(db, every), kb.ledger.append(begun[2:]))[0])
    else:
        kb.ledger.append(begun[2:])
    head = 4 if late else kb.ledger.head().id
    with pytest.raises(EraseRefused, match="has not ended") as caught:
        forgetting.carry_out(kb, plan)
    assert caught.value.hint == "`rlp cancel 1f8fad5b`, then again"
    assert kb.ledger.head().id == head
    assert kb.ledger.get(1).payload["name"] == ADA


def test_what_is_stored_while_the_list_is_looked_at_is_told(kb, contact):
    kb.ledger.append([contact(ADA, ADDRESS), passage("Buy tea")])
    plan = forgetting.plan(kb, ADA)
    kb.ledger.append([passage("Buy milk", path="/m"), passage(f"Lunch with {ADA}", path="/l")])
    forgetting.carry_out(kb, plan)
    assert forgetting.stored_since(kb, plan) == [4]
    again = forgetting.plan(kb, ADA, plan.texts)
    forgetting.carry_out(kb, again)
    assert forgetting.stored_since(kb, again) == []


HASH = "a" * 64


@pytest.mark.parametrize(
    ("kind", "said", "names"),
    [
        (
            "cap.audit",
            {"agent": "o", "cap": "o", "op": "o", "target": "o", "args_hash": HASH, "decision": "allow", "severity": "info", "reason": "o"},
            "target",
        ),
        ("import.finished", {"what": "mail", "source": "o", "taken": 1, "known": 0, "refused": 0}, "source"),
        ("replay.reported", {"run": "o", "origin": "own", "matches": True, "attempts": [{"detail": "o"}]}, "run"),
        ("archive.imported", {"archive": HASH, "root": "o", "runs": ["o"], "ledger_id": "o"}, "root"),
        ("privileged.read", {"what": "kb query", "subject": "o", "reason": "o", "uid": 1}, "subject"),
        ("files.put_back", {"run": "o", "files": [{"path": "o", "effect": 1, "written": HASH}]}, "run"),
    ],
)
def test_what_the_host_wrote_down_loses_their_texts_and_stays(kind, said, names, kb):
    kb.ledger.append([NewEvent(kind, said, "user"), NewEvent(kind, {**said, names: f"about {ADA}"}, "user")], check=False)
    plan = forgetting.plan(kb, ADA)
    assert [(mention.event_id, mention.action) for mention in plan.mentions] == [(2, "take out")]
    forgetting.carry_out(kb, plan)
    left = {name: value for name, value in kb.ledger.get(2).payload.items() if name != "$erased"}
    assert left == {**said, names: forgetting.TAKEN_OUT}
    assert validate(kind, left).name == kind
    words = forgetting.plan(kb, None, ["allow", "info", "mail", "own", "kb query"])
    assert [mention.action for mention in words.mentions] == []


def test_who_stands_in_the_provenance_alone_is_found(kb):
    kb.ledger.append([NewEvent("note.imported", passage("tea").payload, "user", "user", {"evidence": f"said by {ADA}"})])
    assert found(forgetting.plan(kb, ADA)) == [("note.imported", "erase")]


def test_the_shortest_number_and_the_shortest_name_are_looked_for(kb, contact):
    kb.ledger.append([contact("Cy Adler", "cy@example.org", phones=["555 0123", "55 0123"]), passage("Zoes was here")])
    assert {"555 0123", "55 0123"} & {*forgetting.plan(kb, "Cy Adler").texts} == {"555 0123"}
    assert [mention.event_id for mention in forgetting.plan(kb, "Zoes").mentions] == [2]


def test_what_an_unfinished_run_quotes_of_what_went_goes_when_it_has_ended(kb, contact, run, monkeypatch):
    monkeypatch.setattr(erasing, "NAMED", 1), monkeypatch.setattr(forgetting, "NAMED", 1)
    kb.ledger.append([contact(ADA, ADDRESS), passage("event:2")])
    fact = kb.propose(StateDelta("fact.remembered", {"subject": ADDRESS, "predicate": "allergy", "value": "walnuts"}, "user")).id
    hits = {"out": [{"event_id": fact, "text": "walnuts"}, {"event_id": 2, "text": "tea"}]}
    kb.ledger.append(
        [
            run_event(run, 1, "run.submitted", r.RunStarted("d", {}, r.Versions("0"), "local"), "m"),
            run_event(run, 2, "node.finished", r.NodeFinished("reader", 1, "ok", hits), "done"),
        ]
    )
    plan = forgetting.plan(kb, ADA)
    assert found(plan) == [("contact.upserted", "erase"), ("fact.remembered", "erase"), ("node.finished", "stays")]
    again = forgetting.again(plan, forgetting.carry_out(kb, plan))
    kb.ledger.append([run_event(run, 3, "run.finished", r.RunFinished("cancelled", 1), "m")])
    plan = forgetting.plan(kb, None, again)
    assert found(plan) == [("node.finished", "take out")]
    forgetting.carry_out(kb, plan)
    assert files_with(kb.root, "walnuts") == []
    assert kb.ledger.get(5).payload["meta"]["outputs"]["out"][1] == {"event_id": 2, "text": "tea"}
    assert [mention.event_id for mention in forgetting.plan(kb, None, ["event:2", "event:99"]).mentions] == [2, 5]
