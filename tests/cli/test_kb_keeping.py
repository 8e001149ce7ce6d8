"""The verbs that keep a knowledge base, as a person meets them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def people(rlp, tmp_path):
    """A base with three people, and a file with one more."""
    rlp("kb", "import", "contacts", DATA / "contacts" / "mixed.vcf")
    more = tmp_path / "more.csv"
    more.write_text("name,email\nGrace Hopper,grace@navy.example\n")
    return more


def test_a_backup_says_where_it_is_and_is_restored_by_that_name(rlp, people, home):
    code, out, _ = rlp("kb", "backup", "--table")
    assert code == 0
    place = Path(re.match(r"backup (.*)\n", out)[1])
    assert place.parent == home / "backups"
    assert "verified: events up to 4, 1 files, " in out
    head = out.split("head ")[1].strip()
    rlp("kb", "import", "contacts", people)
    code, out, _ = rlp("kb", "restore", place, "--table")
    assert code == 0
    assert f"the old ledger is kept in {home / 'backups' / 'replaced'}" in out
    assert "2 events came after the backup: they are only there" in out
    assert out.strip().endswith(f"head {head}")
    assert rlp("kb", "search", "Grace", "--table")[1] == "nothing found\n"


def test_backups_have_a_json_form_and_old_ones_go(rlp, people, home, tmp_path):
    first = json.loads(rlp("kb", "backup", tmp_path / "mine", "--json")[1])
    assert (first["path"], first["head_id"], first["ok"]) == (str(tmp_path / "mine"), 4, True)
    for _ in range(3):
        rlp("kb", "backup")
    last = json.loads(rlp("kb", "backup", "--keep", "2")[1])
    assert len(last["removed"]) == 2
    assert len(list((home / "backups").iterdir())) == 2
    into = tmp_path / "disk"
    into.mkdir()
    assert Path(json.loads(rlp("kb", "backup", into)[1])["path"]).parent == into


def test_a_place_within_the_base_is_refused(rlp, people, home):
    code, _, err = rlp("kb", "backup", home / "pog" / "b")
    assert code == 2
    assert "error[kb.backup_overlap]" in err


def test_what_is_no_backup_is_not_restored(rlp, people, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = rlp("kb", "restore", tmp_path / "empty")
    assert code == 5
    assert "error[kb.backup_broken]: is no backup" in err


def test_an_older_ledger_is_migrated_when_a_person_says_so(rlp, home):
    (home / "pog").mkdir(parents=True)
    shutil.copy(DATA / "ledgers" / "v1.sqlite", home / "pog" / "events.sqlite")
    code, _, err = rlp("kb", "verify")
    assert code == 2
    assert "hint: run `rlp kb migrate`" in err
    code, out, _ = rlp("kb", "migrate", "--dry-run", "--table")
    assert code == 0
    assert "m002_run_numbers: The last record number" in out
    assert "yours is as it was" in out
    code, out, _ = rlp("kb", "migrate", "--table")
    assert code == 0
    assert re.search(r"migrated from schema 1 to \d+ in \d+ ms; backup .*/backups/", out)
    assert rlp("kb", "verify")[0] == 0
    assert rlp("kb", "migrate", "--table")[1].startswith("nothing to do")


def test_vacuum_and_stats_say_what_they_found(rlp, people):
    rows = json.loads(rlp("kb", "vacuum", "--analyze")[1])
    assert [Path(row["file"]).name for row in rows] == ["events.sqlite", "pog.sqlite"]
    code, out, _ = rlp("kb", "stats", "--table")
    assert code == 0
    assert "4 events, " in out
    assert "contact.upserted" in out
    assert json.loads(rlp("kb", "stats")[1])["views"]["behind"] == 0


@pytest.mark.parametrize(("place", "why"), [("", "it is a directory"), ("nowhere/all.jsonl", "there is no directory ")])
def test_an_export_that_has_no_place_is_told_so_of_its_file_and_not_of_the_ledger(rlp, people, tmp_path, place, why):
    code, out, err = rlp("kb", "export", "-o", tmp_path / place)
    assert (code, out) == (2, "")
    assert err.startswith(f"error[export.unwritable]: the export cannot be written to {tmp_path / place}: {why}")


def test_an_export_is_masked_and_one_that_is_not_makes_an_equal_base(rlp, people, tmp_path, monkeypatch):
    code, out, err = rlp("kb", "export")
    assert code == 0
    assert [next(iter(json.loads(line))) for line in out.splitlines()] == ["export", "event", "event", "event", "event", "end"]
    assert "@analytical.example" in out
    assert not re.search(r"\bada@", out)
    assert "masked, not for importing" in err
    whole = tmp_path / "all.jsonl"
    allow = ("--set", "security.redaction.allow_unredacted_admin=true")
    assert rlp(*allow, "kb", "export", "--unmasked", "moving to another machine", "-o", whole)[:2] == (0, "")
    assert b"privileged.read" in whole.read_bytes()
    assert oct(whole.stat().st_mode & 0o777) == "0o600"
    before = json.loads(rlp("kb", "verify")[1])
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "new"))
    code, out, _ = rlp("kb", "import", "events", whole, "--table")
    assert (code, "events and 0 blobs taken, 0 events were here" in out) == (0, True)
    after = json.loads(rlp("kb", "verify")[1])
    assert {name: after[name] for name in ("ok", "ledger_id", "head_chain")} == {
        name: before[name] for name in ("ok", "ledger_id", "head_chain")
    }
    assert "5 events were here" in rlp("kb", "import", "events", whole, "--table")[1]


def test_parts_of_an_export_are_chosen_by_event_time_and_entity(rlp, people):
    def ids(*words):
        return [json.loads(line)["event"]["id"] for line in rlp("kb", "export", *words)[1].splitlines()[1:-1]]

    assert ids("--since", "2") == [3, 4]
    assert ids("--since", "1d") == [1, 2, 3, 4]
    assert ids("--entity", "ada@analytical.example") == [1]
    assert rlp("kb", "export", "--since", "soon")[0] == 2


def test_the_graph_and_a_page_are_for_other_programs_and_for_people(rlp, people):
    code, out, err = rlp("kb", "export", "--format", "graphml")
    assert (code, out.count("<node "), "nodes" in err) == (0, 3, True)
    code, out, _ = rlp("kb", "export", "--format", "markdown", "--entity", "Ada Lovelace")
    assert code == 0
    assert out.startswith("# Ada Lovelace\n")
    assert not re.search(r"\bada@", out)
    assert rlp("kb", "export", "--format", "markdown")[0] == 2
    assert rlp("kb", "export", "--format", "graphml", "--since", "1")[0] == 2


def test_a_file_that_is_no_export_is_named_with_its_line(rlp, people):
    code, _, err = rlp("kb", "import", "events", people)
    assert code == 5
    assert f"at {people}:1" in err
    assert rlp("kb", "import", "events", people.with_name("nowhere"))[0] == 2


def test_a_pruned_base_verifies_on_another_machine_too(rlp, tmp_path, monkeypatch):
    from runloop.events import RunIdentity, new_uuid, run_event
    from runloop.events.records import RunFinished, RunStarted, Versions
    from runloop.kb import Ledger

    run = RunIdentity(new_uuid(), f"trace:{new_uuid()}", f"opening:{new_uuid()}", "o")
    started = RunStarted("0" * 64, {}, Versions("0"), "local")
    records = (("run.submitted", started), ("run.started", started), ("run.finished", RunFinished("succeeded", 5)))
    with Ledger.open(tmp_path / "home" / "pog" / "events.sqlite") as ledger:
        ledger.append([run_event(run, seq, kind, meta, "m", ts_ms=1000) for seq, (kind, meta) in enumerate(records, 1)])
    assert json.loads(rlp("kb", "prune", "--older-than", "1d")[1])["pruned"]["runs"] == 1
    assert rlp("kb", "backup", tmp_path / "b")[0] == 0
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "new"))
    code, out, _ = rlp("kb", "restore", tmp_path / "b", "--table")
    assert code == 0
    assert "first met now" in out
    assert rlp("kb", "verify")[0] == 0
    assert "first met now" not in rlp("kb", "restore", tmp_path / "b", "--table")[1]
