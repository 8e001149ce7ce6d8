from __future__ import annotations

import json
import os
import re
from pathlib import Path

import apsw
import pytest

DATA = Path(__file__).parents[1] / "data" / "contacts"


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "plan.md").write_text("# Plan\n\nThe Q4 launch is in March. Ask ada@home.example.\n")
    return folder


def ledger_file(home):
    return home / "pog" / "events.sqlite"


def test_contacts_are_imported_and_every_refusal_is_named(rlp):
    code, out, err = rlp("kb", "import", "contacts", DATA / "mixed.vcf", "--table")
    assert (code, out) == (0, "contacts: 3 new, 0 known, 9 refused\n")
    assert f"refused {DATA / 'mixed.vcf'}:13: no e-mail address for Grace Brewster Hopper\n" in err
    code, out, _ = rlp("kb", "import", "contacts", DATA / "mixed.vcf")
    assert code == 0
    assert {name: json.loads(out)[name] for name in ("taken", "known")} == {"taken": 0, "known": 3}


def test_an_import_of_which_nothing_could_be_used_fails(rlp, tmp_path):
    code, _, err = rlp("kb", "import", "contacts", tmp_path / "missing.vcf", "--table")
    assert code == 1
    assert "missing.vcf: No such file or directory" in err


def test_notes_are_imported_and_found_with_their_place(rlp, notes):
    assert rlp("kb", "import", "notes", notes, "--table")[:2] == (0, "notes: 1 new, 0 known, 0 refused\n")
    code, out, _ = rlp("kb", "search", "launch", "--table")
    assert code == 0
    assert "plan.md:1" in out
    assert "event:1" in out
    [hit] = json.loads(rlp("kb", "search", "q4", "launch", "--kind", "notes")[1])
    assert (hit["path"], hit["line"], hit["event_id"]) == (str(notes / "plan.md"), 1, 1)
    (notes / "plan.md").unlink()
    assert rlp("kb", "import", "notes", notes, "--table")[1] == "notes: 0 new, 0 known, 0 refused, 1 file forgotten\n"
    assert rlp("kb", "search", "launch", "--table")[1] == "nothing found\n"


def test_a_directory_that_is_not_there_is_invalid_input(rlp, tmp_path):
    code, _, err = rlp("kb", "import", "notes", tmp_path / "nowhere")
    assert code == 2
    assert "import.missing" in err


def test_queries_are_read_only_masked_and_have_two_forms(rlp):
    rlp("kb", "import", "contacts", DATA / "mixed.vcf")
    code, out, _ = rlp("kb", "query", "SELECT name, email AS x FROM contacts ORDER BY name")
    result = json.loads(out)
    assert (code, result["columns"], len(result["rows"])) == (0, ["name", "x"], 3)
    assert not re.search(r"\bada@", out)
    assert result["rows"][0]["x"].endswith("@analytical.example")
    code, _, err = rlp("kb", "query", "DELETE FROM contacts")
    assert code == 2
    assert "query must be read-only" in err
    assert "Ada Lovelace" in rlp("kb", "query", "SELECT name FROM contacts", "--table")[1]
    assert "Ada Lovelace" in rlp("kb", "query", "SELECT", "name", "FROM", "contacts", "--table")[1]


def test_a_query_with_more_rows_than_asked_for_says_so(rlp):
    rlp("kb", "import", "contacts", DATA / "mixed.vcf")
    code, _, err = rlp("kb", "query", "SELECT * FROM contacts", "--limit", "2", "--table")
    assert code == 0
    assert "only the first 2 rows" in err


def test_the_tables_are_listed_with_what_is_masked(rlp):
    rlp("kb", "remember", "a", "b", "c")
    rows = json.loads(rlp("kb", "tables")[1])
    assert {"table": "contacts", "column": "email", "type": "text", "masked": True} in rows
    assert {"table": "events", "column": "kind", "type": "text", "masked": False} in rows


def test_why_explains_an_entity_however_it_is_called(rlp, notes, monkeypatch):
    rlp("kb", "import", "notes", notes)
    monkeypatch.chdir(notes)
    for words in (["kb", "why", f"note:{notes / 'plan.md'}"], ["why", "plan.md"], ["why", "plan.md:1"], ["why", "event:1"]):
        code, out, _ = rlp(*words)
        said = json.loads(out)
        assert code == 0
        assert "event:1" in [step["key"] for step in said["steps"]]
    assert (said["root"], said["left_out"]) == ("event:1", 0)
    assert [(link["relation"], link["to"]) for link in said["links"]] == [("read by", "event:2")]
    assert rlp("why", "plan.md:1", "--table")[1].startswith("note Plan, plan.md:1-3, from user, ")
    code, _, err = rlp("why", "contact:nobody")
    assert code == 2
    assert "nothing is known of 'contact:nobody'" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["search"], 0),
        (["kb", "show"], 2),
        (["kb", "timeline"], 2),
        (["why"], 2),
        (["runs", "--opening"], 0),
        (["runs", "--text"], 0),
        (["forget", "--dry-run"], 0),
        (["forget", "Ada Lovelace", "--dry-run", "--also"], 0),
    ],
)
def test_bytes_that_are_no_text_are_nobodys_name(rlp, notes, arguments, code):
    assert rlp("kb", "import", "notes", notes)[0] == 0
    ended, _, err = rlp(*arguments, os.fsdecode(b"caf\xe9"))
    assert (ended, "runloop.internal" in err) == (code, False)


def test_an_intact_ledger_is_verified_and_its_head_can_be_checked_later(rlp, notes):
    rlp("kb", "import", "notes", notes)
    code, out, _ = rlp("kb", "verify", "--table")
    assert code == 0
    assert out.startswith("intact: 2 events, 0 blobs (chain, ")
    head = out.split("head ")[1].strip()
    assert rlp("kb", "verify", "--head", head)[0] == 0
    assert rlp("kb", "verify", "--head", "2:" + "0" * 64)[0] == 5
    assert rlp("kb", "verify", "--head", "nonsense")[0] == 2


@pytest.mark.parametrize(
    ("sql", "event", "what"),
    [
        ("UPDATE events SET payload_json = replace(payload_json, 'March', 'April') WHERE id = 1", 1, "content_hash"),
        ("DELETE FROM events WHERE id = 1", 1, "the event"),
        ("DELETE FROM events WHERE id = 2", 2, "the end of the ledger"),
    ],
)
def test_a_ledger_that_was_changed_behind_its_back_fails_verification_with_the_first_broken_event(rlp, notes, home, sql, event, what):
    rlp("kb", "import", "notes", notes)
    db = apsw.Connection(str(ledger_file(home)))
    db.execute(sql)
    db.close()
    code, _, err = rlp("kb", "verify", "--table")
    assert code == 5
    assert f"event {event}: {what} differs: expected" in err
    code, out, _ = rlp("kb", "verify", "--json")
    assert code == 5
    assert (json.loads(out)["broken"]["event_id"], json.loads(out)["broken"]["what"]) == (event, what)


def test_a_damaged_file_has_the_exit_code_of_a_failed_verification(rlp, notes, home):
    rlp("kb", "import", "notes", notes)
    ledger_file(home).write_bytes(b"garbage " * 1000)
    code, _, err = rlp("kb", "verify")
    assert code == 5
    assert "ledger.corrupt" in err


def test_the_salt_of_the_settings_goes_into_the_masks(rlp, monkeypatch):
    rlp("kb", "import", "contacts", DATA / "mixed.vcf")
    query = ("kb", "query", "SELECT email FROM contacts WHERE name = 'Ada Lovelace'")
    monkeypatch.setenv("RUNLOOP__KB__REDACTION__SALT", "pepper")
    one = rlp(*query)[1]
    monkeypatch.setenv("RUNLOOP__KB__REDACTION__SALT", "salt")
    assert rlp(*query)[1] != one


@pytest.mark.parametrize(
    "words",
    [
        "search x",
        "kb timeline",
        "kb facts",
        "kb poison list",
        "why x",
        "why write to Bob about lunch",
        "kb show x",
        "kb timeline x",
        "kb facts --at 1h",
        "kb query SELECT(1)",
        "kb export",
        "kb stats",
        "kb verify",
        "kb embed --status",
        "kb rebuild",
        "kb poison retry",
        "kb prune --older-than 90d",
        "kb forget fact:1",
        "kb supersede fact:1 x",
        "forget ada@home.example --dry-run",
    ],
)
def test_where_nothing_was_recorded_a_list_is_empty_all_else_says_so_and_nothing_is_made(rlp, home, words):
    before = sorted(home.rglob("*"))
    code, out, err = rlp(*words.split())
    if words in {"search x", "kb timeline", "kb facts", "kb poison list"}:
        assert (code, json.loads(out), err) == (0, [], "")
    elif words.startswith("why write"):
        assert (code, json.loads(out)["line"]) == (0, "write to Bob about lunch")
    else:
        assert (code, out, "error[run.no_ledger]" in err) == (2, "", True)
    assert sorted(home.rglob("*")) == before
