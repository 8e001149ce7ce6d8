from __future__ import annotations

import json
import shlex
from uuid import UUID

import pytest

from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events.records import RunFinished, RunStarted, Versions
from runloop.kb import KnowledgeBase

NAMED_ALIKE = (("Grace Hopper", "grace@navy.example"), ("Grace Hoppes", "hoppes@army.example"))


@pytest.fixture
def note(rlp, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "plan.md").write_text("# Plan\n\nGrace Hopper likes oat milk.\n")
    assert rlp("kb", "import", "notes", folder, "--quiet")[0] == 0
    return folder / "plan.md"


def test_a_fact_is_remembered_with_its_place_listed_superseded_and_forgotten(rlp, note):
    assert rlp("kb", "remember", "Grace", "likes", "oat milk", "--source", f"{note}:3", "--source", "event:1")[0] == 0
    [fact] = json.loads(rlp("kb", "facts", "grace", "--json")[1])
    assert (fact["value"], fact["spans"][0]["quote"], fact["said_by"]) == ("oat milk", "Grace Hopper likes oat milk.", "user")
    code, out, _ = rlp("kb", "supersede", fact["fact"], "soy milk", "--json")
    new = json.loads(out)["fact"]
    assert code == 0
    assert "soy milk" in rlp("kb", "facts", "--table")[1]
    assert "superseded" in rlp("kb", "facts", "--all", "--table", "--no-wrap")[1]
    [before] = json.loads(rlp("kb", "facts", "--at", fact["event_id"], "--json")[1])
    assert (before["fact"], before["status"]) == (fact["fact"], "current")
    code, out, _ = rlp("kb", "forget", new, "--reason", "a test", "--json")
    assert (code, json.loads(out)["erasure"]) == (0, None)
    assert rlp("kb", "facts", "--table")[1] == "no facts\n"


def test_facts_about_a_person_are_listed_by_their_name(rlp, tmp_path):
    (tmp_path / "c.csv").write_text("name,email\nAda Lovelace,ada@example.com\n")
    rlp("kb", "import", "contacts", tmp_path / "c.csv", "--quiet")
    rlp("kb", "remember", "ada@example.com", "likes", "oat milk")
    for name in ("Ada Lovelace", "ada", "ada@example.com"):
        assert [fact["value"] for fact in json.loads(rlp("kb", "facts", name, "--json")[1])] == ["oat milk"]
    assert json.loads(rlp("kb", "facts", "nobody", "--json")[1]) == []


def test_facts_under_the_very_words_do_not_hide_those_of_the_person_who_is_called_so(rlp, tmp_path):
    (tmp_path / "c.csv").write_text("name,email\nAda Lovelace,ada@example.com\n")
    rlp("kb", "import", "contacts", tmp_path / "c.csv", "--quiet")
    rlp("kb", "remember", "ada@example.com", "allergy", "peanuts")
    for subject in ("Ada Lovelace", "Adda"):
        rlp("kb", "remember", subject, "likes", "tea")
    values = {name: [fact["value"] for fact in json.loads(rlp("kb", "facts", name, "--json")[1])] for name in ("ada lovelace", "adda")}
    assert values == {"ada lovelace": ["peanuts", "tea"], "adda": ["tea"]}


def test_a_second_value_is_remembered_and_the_first_is_named(rlp):
    assert rlp("kb", "remember", "Ada", "allergy", "nuts")[2] == ""
    assert rlp("kb", "remember", "ada", "Allergy", "Nuts")[2] == ""
    code, out, err = rlp("kb", "remember", "ADA", "allergy", "none", "--json")
    assert (code, json.loads(out)["fact"]) == (0, "fact:3")
    warning = json.loads(err)["warning"]
    assert warning["code"] == "kb.fact_also"
    assert "another value holds as well (fact:1, fact:2); `rlp kb supersede fact:1 VALUE`" in warning["message"]
    assert rlp("kb", "supersede", "fact:1", "none")[2].count("holds as well (fact:2)") == 1
    assert [rlp("kb", "remember", *words)[0] for words in (("", "b", "c"), ("a", " ", "c"), ("a", "b", ""))] == [2, 2, 2]
    assert "error[kb.fact_form]: subject is empty" in rlp("kb", "remember", "", "b", "c")[2]


def test_an_older_value_is_erased_and_the_fact_has_its_newest_still(rlp, home):
    rlp("kb", "remember", "door", "code", "Zyzzogeton")
    rlp("kb", "supersede", "fact:1", "4711")
    code, _, _ = rlp("kb", "forget", "fact:1", "--erase", "--json")
    assert (code, [fact["value"] for fact in json.loads(rlp("kb", "facts", "door", "--json")[1])]) == (0, ["4711"])
    assert [path.name for path in home.rglob("*") if path.is_file() and b"Zyzzogeton" in path.read_bytes()] == []


def test_an_erased_fact_is_in_no_file_any_more(rlp, home):
    rlp("kb", "remember", "door", "code", "Zyzzogeton")
    code, out, _ = rlp("kb", "forget", "fact:1", "--erase", "--json")
    assert (code, json.loads(out)["erasure"]["events"]) == (0, [1])
    assert [path.name for path in home.rglob("*") if path.is_file() and b"Zyzzogeton" in path.read_bytes()] == []
    code, _, err = rlp("kb", "forget", "fact:1")
    assert (code, "there is no fact:1" in err) == (2, True)
    assert rlp("kb", "verify", "--table")[0] == 0


def test_a_fact_that_was_forgotten_can_be_erased_later(rlp):
    rlp("kb", "remember", "door", "code", "1234")
    rlp("kb", "forget", "1")
    code, out, _ = rlp("kb", "forget", "1", "--erase", "--json")
    answer = json.loads(out)
    assert (code, answer["event_id"], answer["erasure"]["events"]) == (0, None, [1])


@pytest.mark.parametrize("source", ["x", "event:x", "nowhere.md:3", "plan.md:0"])
def test_a_source_that_is_none_is_invalid_input(rlp, source):
    code, _, err = rlp("kb", "remember", "a", "b", "c", "--source", source)
    assert (code, "hint" in err) == (2, True)


def test_a_key_makes_a_second_remember_harmless(rlp):
    first = json.loads(rlp("kb", "remember", "a", "b", "c", "--key", "k", "--json")[1])
    assert json.loads(rlp("kb", "remember", "a", "b", "c", "--key", "k", "--json")[1]) == first


def test_the_tables_are_made_anew_and_what_was_set_aside_is_named(rlp, home):
    with KnowledgeBase.open(home / "pog") as kb:
        kb.ledger.append([NewEvent("contact.upserted", {"name": 5}, "user")], check=False)
    code, out, err = rlp("kb", "rebuild", "--table")
    assert (code, out.startswith("rebuilt from 1 events in "), "kb.set_aside" in err) == (0, True, True)
    [problem] = json.loads(rlp("kb", "poison", "list", "--json")[1])
    assert (problem["event_id"], problem["kind"]) == (1, "contact.upserted")
    code, out, err = rlp("kb", "poison", "retry", "--table")
    assert (code, out, "event 1" in err) == (1, "0 applied, 1 still set aside\n", True)


def damaged(path, how):
    data = bytearray(path.read_bytes())
    if how == "in the middle":
        data[8192:60_000] = b"\xa5" * (60_000 - 8192)
    path.write_bytes(bytes(data[:100]) if how == "cut off" else bytes(data))


@pytest.mark.parametrize("how", ["in the middle", "cut off"])
def test_tables_that_are_damaged_are_made_anew_once_nobody_uses_them(rlp, home, how):
    rlp("kb", "remember", "door", "code", "4711")
    views = home / "pog" / "pog.sqlite"
    with KnowledgeBase.open(home / "pog"):
        damaged(views, how)
        code, _, err = rlp("kb", "rebuild")
        assert (code, "kb.in_use" in err) == (3, True)
    code, _, err = rlp("kb", "facts")
    assert (code, "`rlp kb rebuild`" in err) == (5, True)
    assert rlp("kb", "rebuild")[0] == 0
    assert [fact["value"] for fact in json.loads(rlp("kb", "facts", "--json")[1])] == ["4711"]
    assert rlp("kb", "verify")[0] == 0


def test_a_ledger_that_is_damaged_is_left_to_a_backup(rlp, home):
    rlp("kb", "remember", "door", "code", "4711")
    damaged(home / "pog" / "events.sqlite", "cut off")
    before = {path.name for path in (home / "pog").iterdir()}
    code, _, err = rlp("kb", "rebuild")
    assert (code, "events.sqlite" in err) == (5, True)
    assert {"events.sqlite", "pog.sqlite"} <= before & {path.name for path in (home / "pog").iterdir()}


def test_an_event_that_could_not_be_applied_is_applied_in_its_place_once_it_can(rlp, home, monkeypatch):
    from runloop.kb import materialise, projections

    def fails(_db, event, _load):
        raise ValueError(event.payload["name"])

    with KnowledgeBase.open(home / "pog") as kb:
        people = [NewEvent("contact.upserted", {"name": name, "email": "a@example.com"}, "user") for name in ("Old", "New")]
        kb.ledger.append(people[:1])
        monkeypatch.setattr(materialise, "apply", fails)
        kb.sync()
        monkeypatch.setattr(materialise, "apply", projections.apply)
        kb.ledger.append(people[1:])
        kb.sync()
    code, out, _ = rlp("kb", "poison", "retry", "--json")
    assert (code, json.loads(out)) == (0, {"applied": [1], "set_aside": []})
    assert json.loads(rlp("kb", "query", "SELECT name FROM contacts", "--json")[1])["rows"] == [{"name": "New"}]
    assert rlp("kb", "poison", "retry", "--table")[:2] == (0, "nothing was set aside\n")


def test_forgetting_a_person_asks_first_and_then_leaves_no_trace(rlp, note, home, tmp_path, monkeypatch):
    rlp("kb", "remember", "Grace Hopper", "born", "1906")
    code, out, _ = rlp("forget", "Grace Hopper", "--dry-run", "--json")
    plan = json.loads(out)
    assert (code, [each["action"] for each in plan["mentions"]], plan["erasure"]) == (0, ["erase", "erase"], None)
    assert [each["path"] for each in plan["outside"]] == [str(note)]
    code, _, err = rlp("forget", "Grace Hopper")
    assert (code, "cli.needs_answer" in err) == (2, True)
    code, out, _ = rlp("forget", "Grace Hopper", "--yes", "--table")
    assert (code, "erased: events 2, blobs 1, by event:" in out) == (0, True)
    assert [path.name for path in home.rglob("*") if path.is_file() and b"Hopper" in path.read_bytes()] == []
    assert rlp("forget", "Grace Hopper", "--table")[1].startswith("nothing mentions them\n")


def test_what_stayed_is_found_again_by_the_texts_of_a_person_whom_nobody_knows_any_more(rlp, home):
    run = RunIdentity(str(UUID(int=7)), f"trace:{UUID(int=7)}", f"opening:{UUID(int=8)}", "o")
    people = [NewEvent("contact.upserted", {"name": name, "email": email}, "user") for name, email in NAMED_ALIKE]
    with KnowledgeBase.open(home / "pog") as kb:
        started = RunStarted("d", {"to": "Grace Hopper"}, Versions("0"), "local")
        kb.ledger.append([*people, run_event(run, 1, "run.submitted", started, "m")])
    code, out, _ = rlp("forget", "grace@navy.example", "--yes", "--json")
    again = json.loads(out)["again"]
    assert (code, again.startswith("rlp forget --also=grace@navy.example"), "'--also=Grace Hopper'" in again) == (1, True, True)
    with KnowledgeBase.open(home / "pog") as kb:
        kb.ledger.append([run_event(run, 2, "run.finished", RunFinished("cancelled", 1), "m")])
        kb.sync()
    assert json.loads(rlp("forget", "grace@navy.example", "--dry-run", "--json")[1])["mentions"] == []
    code, _, err = rlp("forget", "Grace Hopper", "--dry-run")
    assert (code, "for somebody who is no contact: `rlp forget --also 'Grace Hopper'`" in err) == (2, True)
    code, out, _ = rlp(*shlex.split(again)[1:], "--yes", "--table")
    assert (code, "erased: events 1," in out, "then:" in out) == (0, True, False)
    assert [path.name for path in home.rglob("*") if path.is_file() and b"Grace Hopper" in path.read_bytes()] == []
    assert [path.name for path in home.rglob("*") if path.is_file() and b"Grace Hoppes" in path.read_bytes()] != []


def test_somebody_to_forget_has_to_be_named(rlp, home):
    code, _, err = rlp("forget")
    assert (code, "cli.usage" in err) == (2, True)


def test_what_is_stored_while_somebody_looks_at_the_list_is_told(rlp, home, monkeypatch):
    from runloop.cli import output

    def agreed(_question):
        with KnowledgeBase.open(home / "pog") as kb:
            kb.ledger.append([NewEvent("contact.upserted", {"name": "Bob", "email": "b@x.example", "org": "Grace Hopper & Co"}, "user")])
        return True

    with KnowledgeBase.open(home / "pog") as kb:
        kb.ledger.append([NewEvent("contact.upserted", {"name": "Grace Hopper", "email": "grace@navy.example"}, "user")])
    monkeypatch.setattr(output, "agreed", agreed)
    code, out, err = rlp("forget", "Grace Hopper", "--table")
    assert (code, "1 events that were stored meanwhile mention them, the first is event:2: forget again" in err) == (1, True)
    assert "then: rlp forget --also=" in out


def test_an_archive_that_a_killed_prune_left_is_listed(rlp, note, home):
    folder = home / "pog" / "archive"
    folder.mkdir()
    left = [folder / "runs-0001-abc.jsonl.gz", folder / ".runs-0002-abc.jsonl.gz.part"]
    for path in left:
        path.write_bytes(b"\x1f\x8b")
    outside = json.loads(rlp("forget", "Grace Hopper", "--dry-run", "--json")[1])["outside"]
    assert {each["path"] for each in outside} == {str(note), *map(str, left)}
