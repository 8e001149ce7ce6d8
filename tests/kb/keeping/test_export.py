"""An export of all events makes an equal base; anything else is refused with its line, and changes nothing."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.events import NewEvent
from runloop.kb.derived import contact_key
from runloop.kb.errors import ExportRefused, KnowledgeInUse
from runloop.kb.exporting.events import export_events
from runloop.kb.exporting.graphml import write_graphml
from runloop.kb.exporting.markdown import entity_page
from runloop.kb.exporting.taking import ExportAltered, take_export
from runloop.kb.keeping.migrating import migrate_ledger
from runloop.kb.proposing import StateDelta

SHIPPED = Path(__file__).parents[2] / "data" / "ledgers"
XML = "{http://graphml.graphdrawing.org/xmlns}"


def whole(home, **how):
    with home.open() as kb:
        out = io.BytesIO()
        export_events(kb.ledger, out, **{"mask": None, **how})
        return out.getvalue()


def take(home, data):
    return take_export(io.BytesIO(data), "all.jsonl", home.ledger, home.derived)


@pytest.fixture
def new(home, tmp_path):
    return type(home)(tmp_path / "new")


def views(home):
    """Every derived table, as its checks compare it."""
    with home.open() as kb:
        report = kb.verify(views=True)
        assert report.ok, report.broken
        with kb.reading() as db:
            names = [
                row[0]
                for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('contacts', 'nodes', 'edges')")
            ]
            return {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in names}


def test_an_empty_base_becomes_equal_row_by_row(home, new):
    done = take(new, whole(home))
    assert (done.events, done.blobs, done.known, done.head_id) == (6, 2, 0, 6)
    assert new.rows() == home.rows()
    assert views(new) == views(home)
    with new.open() as one, home.open() as two:
        assert (one.ledger.id, one.redactor.salt) == (two.ledger.id, two.redactor.salt)


def test_an_export_of_what_was_taken_in_is_the_same_export(home, new):
    data = whole(home)
    take(new, data)
    assert whole(new) == data


def test_every_kind_of_content_survives(home, new):
    for path in [home.ledger, *home.derived]:
        path.unlink()
    shutil.copy(SHIPPED / "v1.sqlite", home.ledger)
    migrate_ledger(home.ledger, home.backups / "b", {})
    take(new, whole(home))
    assert new.rows() == home.rows()
    with new.open() as kb:
        assert [run["status"] for run in kb.runs()] == ["running", "succeeded"]


def test_taking_the_same_in_again_changes_nothing(home, new):
    data = whole(home)
    take(new, data)
    before = new.rows()
    assert (take(new, data).events, take(new, data).known) == (0, 6)
    assert new.rows() == before


def test_a_continuation_brings_the_rest(home, new, contact):
    take(new, whole(home))
    with home.open() as kb:
        kb.ledger.append([contact("More", "more@example.com"), NewEvent("note.removed", {"path": "/x", "reason": "gone"}, "user")])
    done = take(new, whole(home))
    assert (done.events, done.known) == (2, 6)
    assert new.rows() == home.rows()
    assert views(new) == views(home)


def test_a_part_after_an_event_continues_too_and_begins_nothing(home, new, contact, tmp_path):
    take(new, whole(home))
    with home.open() as kb:
        kb.ledger.append([contact("More", "more@example.com")])
    part = whole(home, after=4)
    assert take(new, part).events == 1
    assert new.rows() == home.rows()
    with pytest.raises(ExportRefused, match="begins after event 4") as caught:
        take(type(home)(tmp_path / "third"), part)
    assert caught.value.code == "export.not_whole"


def test_a_part_that_leaves_something_out_is_refused(home, new, contact):
    take(new, whole(home))
    with home.open() as kb:
        kb.ledger.append([contact("7"), contact("8")])
    with pytest.raises(ExportRefused) as caught:
        take(new, whole(home, after=7))
    assert caught.value.code == "export.gap"


def test_two_that_went_different_ways_are_refused(home, new, contact):
    take(new, whole(home))
    for base, name in ((home, "There"), (new, "Here")):
        with base.open() as kb:
            kb.ledger.append([contact(name)])
    before = new.rows()
    with pytest.raises(ExportRefused, match="event 7 is another one here") as caught:
        take(new, whole(home))
    assert caught.value.code == "export.diverged"
    assert new.rows() == before


def test_another_ledger_is_refused(home, new, contact):
    with new.open() as kb:
        kb.ledger.append([contact()])
    with pytest.raises(ExportRefused) as caught:
        take(new, whole(home))
    assert (caught.value.code, caught.value.exit_code, str(caught.value.where)) == ("export.other_ledger", 2, "all.jsonl:1")


def test_a_masked_export_shows_no_address_and_says_why_it_is_not_taken_in(home, new):
    with home.open() as kb:
        out = io.BytesIO()
        export_events(kb.ledger, out, mask=kb.redactor.value)
    data = out.getvalue()
    assert not re.search(rb"\bada@example.com", data)
    assert not re.search(rb"\bbo@example.com", data)
    with pytest.raises(ExportRefused, match="masked") as caught:
        take(new, data)
    assert caught.value.code == "export.not_whole"


def test_a_selection_is_no_whole(home, new):
    data = whole(home, only=[1, 3], selected="contact:x")
    assert [json.loads(line)["event"]["id"] for line in data.splitlines()[1:-1]] == [1, 3]
    with pytest.raises(ExportRefused, match="selection"):
        take(new, data)


def test_nobody_else_may_have_the_base_open(home, new):
    data = whole(home)
    with new.open(), pytest.raises(KnowledgeInUse):
        take(new, data)


def change(number, old, new):
    def edit(lines):
        assert old in lines[number]
        lines[number] = lines[number].replace(old, new, 1)
        return lines

    return edit


@pytest.mark.parametrize(
    ("edit", "line", "why"),
    [
        (lambda lines: lines[:-1], 10, "the end of the export is missing"),
        (lambda lines: [], 1, "the end of the export is missing"),
        (lambda lines: lines[1:], 1, "does not begin"),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], 10, "cut off"),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5, "event 2 is missing"),
        (lambda lines: [*lines[:5], *lines[6:]], 6, "event 3 is missing"),
        (lambda lines: [*lines[:5], lines[5], *lines[5:]], 7, "comes after"),
        (change(3, b"Ada", b"Eve"), 4, "event 1 does not say what was written"),
        (change(3, b'"actor":"user"', b'"actor":"root"'), 4, "event 1 does not say"),
        (change(4, b'"ts_ms":1', b'"ts_ms":2'), 5, "does not follow"),
        (change(4, b'"key":"k"', b'"key":"K"'), 5, "does not follow"),
        (change(4, b'"id":2', b'"id":9'), 5, "event 2 is missing"),
        (change(1, b'"data":"', b'"data":"AAAA'), 2, "the blob is not"),
        (change(1, b'"data":"', b'"data":"?'), 2, "base64"),
        (change(1, b'"blob"', b'"blub"'), 2, "no line of an export"),
        (change(4, b"{", b"["), 5, "no line of an export"),
        (change(3, b"Ada", b"\xffda"), 4, "event 1 is not UTF-8"),
        (lambda lines: [*lines[:4], b'{"event":' + b"[" * 200_000 + b"\n"], 5, "no line of an export"),
        (change(5, b'"blobs":["', b'"blobs":["00'), 6, "no hash"),
        (change(9, b'"events":6', b'"events":7'), 10, "is not what the end"),
        (lambda lines: [*lines[:2], b'{"row":{"table":"x","values":[1]}}\n', *lines[2:]], 5, "there is no table x"),
        (lambda lines: [*lines[:2], b"{}\n", *lines[2:]], 3, "says nothing"),
    ],
)
def test_what_was_cut_off_or_edited_is_named_by_its_line_and_nothing_of_it_stays(home, new, edit, line, why):
    lines = whole(home).splitlines(keepends=True)
    assert len(lines) == 10
    with new.open():
        pass
    before = new.rows()
    with pytest.raises(ExportAltered) as caught:
        take(new, b"".join(edit(lines)))
    assert why in caught.value.message
    assert (caught.value.where.line, caught.value.exit_code) == (line, 5)
    assert new.rows() == before


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_byte_is_taken_in(home, new, data):
    export = whole(home)
    at = data.draw(st.integers(0, len(export) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != export[at]))
    with pytest.raises((ExportAltered, ExportRefused)):
        take(new, export[:at] + bytes([byte]) + export[at + 1 :])
    assert new.rows()["events"] == []


def test_graphml_is_read_by_a_parser_with_every_node_and_edge(home):
    with home.open() as kb:
        kb.ledger.append([NewEvent("contact.upserted", {"name": "<&\x01\"'>", "email": "odd@example.com"}, "user", "user")])
        text = io.StringIO()
        with kb.reading() as db:
            counted = write_graphml(db, text, kb.redactor.text)
            stored = [db.execute(f"SELECT count(*) FROM {name}").get for name in ("nodes", "edges")]
    root = ET.fromstring(text.getvalue())
    nodes = {node.get("id"): {data.get("key"): data.text for data in node} for node in root.iter(f"{XML}node")}
    edges = [(edge.get("source"), edge.get("target")) for edge in root.iter(f"{XML}edge")]
    assert (len(nodes), len(edges)) == counted
    assert len(edges) == stored[1]
    assert len(nodes) >= stored[0] > 3
    assert {end for edge in edges for end in edge} <= nodes.keys()
    assert "<&\ufffd\"'>" in {data.get("label") for data in nodes.values()}


def test_an_entity_of_the_graph_comes_with_its_neighbours_alone(home):
    with home.open() as kb, kb.reading() as db:
        [key] = (db.execute("SELECT node_key FROM nodes WHERE label = 'Bo'").get,)
        text = io.StringIO()
        nodes, _ = write_graphml(db, text, str, entity=key)
        assert 1 <= nodes < db.execute("SELECT count(*) FROM nodes").get
    assert key in text.getvalue()


def test_a_page_tells_what_an_entity_is_and_what_happened_to_it(home):
    with home.open() as kb:
        with kb.reading() as db:
            key = db.execute("SELECT node_key FROM nodes WHERE label = 'Bo'").get
        page = entity_page(kb, key, kb.redactor.value)
    assert page.startswith("# Bo\n")
    assert "## History" in page
    assert "event 2: contact.upserted by user" in page
    assert not re.search(r"\bbo@example.com", page)


def test_a_page_about_a_person_has_the_facts_that_were_said_of_an_address(home):
    with home.open() as kb:
        kb.propose(StateDelta("fact.remembered", {"subject": "bo@example.com", "predicate": "allergy", "value": "1e3 nuts"}, "user"))
        page = entity_page(kb, f"contact:{contact_key('bo@example.com')}", kb.redactor.value)
    assert "- allergy: 1e3 nuts (said by user; event " in page


def test_what_was_erased_is_erased_in_the_copy_and_in_one_that_follows(home, new, tmp_path):
    take(new, whole(home))
    with home.open() as kb:
        kb.erase([2, 4])
    data = whole(home)
    assert b"bo@example.com" not in data
    fresh = type(home)(tmp_path / "fresh")
    take(fresh, data)
    assert fresh.rows() == home.rows()
    done = take(new, data)
    assert (done.events, done.erased) == (1, 2)
    assert new.rows() == home.rows()
    assert views(new) == views(home)
    assert b"bo@example.com" not in new.ledger.read_bytes()


def test_an_older_export_does_not_bring_back_what_was_erased_since(home):
    data = whole(home)
    with home.open() as kb:
        kb.erase([2, 4])
    before = home.rows()
    assert take(home, data).erased == 0
    assert home.rows() == before


def test_nobody_erases_by_an_export_that_only_says_so(home, new):
    data = whole(home)
    take(new, data)
    lines = [json.loads(line) for line in data.splitlines()]
    lines[4]["event"]["payload"] = {"$erased": "0" * 32}
    body = b"".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for line in lines[:-1])
    lines[-1]["end"]["blake3"] = blake3(body).hexdigest()
    before = new.rows()
    with pytest.raises(ExportAltered, match="event 2"):
        take(new, body + json.dumps(lines[-1]).encode() + b"\n")
    assert new.rows() == before


def test_a_pruned_ledger_is_taken_in_with_its_checkpoints(home, new, run, contact):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.events import RunIdentity, new_uuid, run_event
    from runloop.events.records import RunFinished, RunStarted, Versions
    from runloop.kb.pruning.prune import prune

    old = RunIdentity(new_uuid(), f"trace:{new_uuid()}", f"opening:{new_uuid()}", "o")
    started = RunStarted("0" * 64, {}, Versions("0"), "local")
    with home.open() as kb:
        take(new, whole(home))
        records = (("run.submitted", started), ("run.started", started), ("run.finished", RunFinished("succeeded", 5)))
        kb.ledger.append([run_event(old, seq, kind, meta, "m", ts_ms=1000) for seq, (kind, meta) in enumerate(records, 1)])
        kb.ledger.append([contact("After", "after@example.com")])
        _, pruned = prune(kb.ledger, 5000, key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
        assert pruned.events
    data = whole(home)
    with pytest.raises(ExportRefused, match="pruned since") as caught:
        take(new, data)
    assert caught.value.code == "export.pruned"
    fresh = type(home)(home.root.parent / "fresh")
    take(fresh, data)
    assert fresh.rows() == home.rows()
    assert whole(fresh) == data
    with fresh.open() as kb:
        assert kb.verify(views=True).ok


def test_backups_hold_the_archives_that_stand_for_pruned_runs(home, tmp_path):
    archive = home.root / "pog" / "archive" / "runs.jsonl"
    archive.parent.mkdir()
    archive.write_text("x")
    from runloop.kb.keeping.backup import make_backup

    made = make_backup(home.ledger, home.backups / "b", {"archive": archive.parent})
    assert "archive/runs.jsonl" in {file.path for file in made.manifest.files}


def test_a_page_holds_nothing_that_drives_a_terminal(home, contact):
    with home.open() as kb:
        event = kb.ledger.append([contact("Eve \x1b]0;x\x07\u202etxt\x9b31m", "eve@example.com", org="\x1b[2J")])[0]
        with kb.reading() as db:
            key = db.execute("SELECT node_key FROM nodes WHERE source_event = ?", (event.id,)).get
        page = entity_page(kb, key, lambda value: value)
    assert page.startswith("# Eve �\\]0;x��txt�31m\n")
    assert not {each for each in page if each != "\n" and not each.isprintable()}
