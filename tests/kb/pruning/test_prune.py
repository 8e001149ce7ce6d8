from __future__ import annotations

import gzip
import json

import pytest
from small_runs import BEFORE, LARGE, NEW, identity, records

from runloop.events import NewEvent, record_of, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, Ledger, forgetting
from runloop.kb.erasing import Left, erase
from runloop.kb.errors import (
    ArchiveDamaged,
    ArchiveMissing,
    KeyArchived,
    KnowledgeInUse,
    LedgerCorrupt,
    PruneRefused,
    RunArchived,
    SeqTaken,
)
from runloop.kb.keeping.anchor import Anchor
from runloop.kb.pruning import prune as pruning
from runloop.kb.pruning.archive import ArchiveReader
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.kb.verify import first_broken_after


def ids(kb):
    return [event.id for event in kb.ledger.read(0, 10_000)]


def whole(kb, **more):
    """Every check of the base passes, the derived tables against a fresh rebuild among them."""
    report = kb.verify(views=True, **more)
    assert report.broken is None, str(report.broken)
    return report


def said(source, run_id):
    return [record_of(source.full(event)) for event in source.read_run(run_id)]


@pytest.fixture
def three(kb, contact):
    """Two old runs, one of them with a large value, their records interleaved with a contact; and a new one."""
    old, other, new = identity(), identity(), identity()
    first, second = records(old, large=LARGE), records(other)
    kb.ledger.append([contact(), first[0], second[0], *first[1:4], contact("B", "b@example.com"), *first[4:], *second[1:]])
    kb.ledger.append(records(new, at_ms=NEW))
    return old, other, new


def test_the_records_of_old_ended_runs_leave_the_ledger_and_everything_else_stays(kb, three, pruned):
    before = kb.ledger.head()
    done = pruned()
    assert (done.runs, done.events, done.checkpoint) == (2, 14, 1)
    assert ids(kb) == [1, 7, *range(17, 24), 24]
    assert [row["run_id"] for row in kb.runs()] == [three[2].run_id]
    assert kb.ledger.get(24).kind == "runs.archived"
    assert whole(kb, noted=Anchor(kb.ledger.id, *before)).blobs == 0


def test_an_archived_run_is_read_from_the_archive_as_it_was(kb, three, pruned):
    before = [said(kb.ledger, run.run_id) for run in three[:2]]
    pruned()
    archived = ArchivedRuns(kb.ledger)
    assert [said(archived, run.run_id) for run in three[:2]] == before
    assert sorted(archived.run_ids()) == sorted(run.run_id for run in three[:2])
    assert archived.run_ids(three[0].run_id[:8]) == [three[0].run_id]
    assert list(archived.read_run(three[2].run_id)) == []


def test_a_record_that_lost_its_texts_before_is_archived_as_it_was_left(kb, three, pruned):
    record = next(event for event in kb.ledger.read(0) if event.kind == "effect.requested")
    meta = {**record.payload["meta"], "args": {"query": ""}}
    erase(kb.ledger, [Left(record.id, {**record.payload, "meta": meta})])
    before = said(kb.ledger, record.payload["run_id"])
    pruned()
    assert said(ArchivedRuns(kb.ledger), record.payload["run_id"]) == before
    whole(kb)


def test_the_archive_is_gzip_that_any_tool_reads(kb, three, pruned):
    done = pruned()
    lines = [json.loads(line) for line in gzip.decompress(done.archive.read_bytes()).splitlines()]
    assert lines[0] == {"format": "runloop.pruned.v1", "ledger_id": kb.ledger.id, "checkpoint": 1}
    assert (lines[-1]["events"], lines[-1]["blobs"]) == (14, 1)
    assert {line["payload"]["run_id"] for line in lines if "payload" in line} == {run.run_id for run in three[:2]}


def test_nothing_to_prune_changes_nothing(kb, three, pruned):
    before = ids(kb)
    assert pruned(before_ms=500).runs == []
    assert ids(kb) == before
    assert list((kb.root / "archive").iterdir()) == []


def test_a_family_goes_whole_or_stays_whole(kb, pruned):
    parent, fork = identity(), identity()
    child, alone = identity(parent), identity()
    kb.ledger.append([*records(parent), *records(child), *records(alone)])
    kb.ledger.append(records(fork, at_ms=NEW, forked_from=child.run_id))
    assert pruned().runs == 1
    assert sorted(row["run_id"] for row in kb.runs()) == sorted(run.run_id for run in (parent, child, fork))
    whole(kb)


def test_a_run_without_an_end_stays(kb, pruned):
    kb.ledger.append(records(identity(), end=False))
    assert pruned().staying == {"unfinished": 1, "later": 0, "failed": 0}


def test_failed_runs_stay_where_that_is_asked_for(kb, pruned):
    kb.ledger.append([*records(identity(), status="failed"), *records(identity())])
    assert pruned(keep_failed=True).runs == 1
    assert [row["status"] for row in kb.runs()] == ["failed"]
    assert pruned().runs == 1
    assert kb.runs() == []
    whole(kb)


def test_what_a_run_made_stays_known_with_the_agent_that_made_it_and_what_that_rests_on(kb, contact, pruned):
    maker = identity()
    kb.ledger.append([contact(), *records(maker, artifact="pier.md", sources=[r.Source(1)])])
    before = [hit.key for hit in kb.search("piers", ["artifacts"])]
    pruned()
    assert [hit.key for hit in kb.search("piers", ["artifacts"])] == before != []
    with kb.reading() as db:
        edges = db.execute("SELECT relation, target_key FROM edges WHERE source_key = ? ORDER BY relation", (before[0],)).fetchall()
    assert edges[1:] == [("made_by", "agent:writer"), ("made_in", f"run:{maker.run_id}")]
    assert [event.kind for event in kb.why(f"run:{maker.run_id}")] == ["node.started", "artifact.created", "runs.archived"]
    assert kb.runs() == []
    assert [record["seq"] for record in said(ArchivedRuns(kb.ledger), maker.run_id)] == [1, 2, 3, 4, 5, 6, 7, 8]
    whole(kb)


def test_a_person_is_forgotten_in_the_records_that_stay_of_an_archived_run(kb, pruned):
    maker = identity()
    kb.ledger.append(records(maker, artifact="ada@example.com.md"))
    pruned()
    plan = forgetting.plan(kb, "ada@example.com")
    assert [(each.kind, each.action) for each in plan.mentions] == [("artifact.created", "take out")]
    forgetting.carry_out(kb, plan)
    assert forgetting.plan(kb, "ada@example.com").mentions == ()
    whole(kb)


def test_records_that_a_mail_or_a_contact_rests_on_stay(kb, contact, pruned):
    sender = identity()
    kb.ledger.append(records(sender))
    mail = {"to": ["ada@example.com"], "subject": "Pier", "artifact_id": 4, "status": "sent"}
    kb.ledger.append([NewEvent("email.sent", mail, "agent:mailer", "user"), contact(evidence=[5])])
    assert pruned().held == 2
    assert ids(kb) == [4, 5, 8, 9, 10]
    whole(kb)


def test_what_a_later_run_was_told_of_stays_and_so_does_a_large_value_that_it_shares(kb, pruned):
    kb.ledger.append(records(identity(), large=LARGE))
    later = records(identity(), at_ms=NEW, large=LARGE)
    meta = r.EffectEnded("a", 1, 2, result={"hits": [{"event_id": 3}]})
    kb.ledger.append([*later[:5], run_event(identity(), 6, "effect.completed", meta, "m", ts_ms=NEW)])
    assert pruned().events == 6
    assert ids(kb)[0] == 3
    assert whole(kb).blobs == 1


def test_a_writer_whose_last_event_was_archived_meanwhile_goes_on(kb, three, pruned):
    before = kb.ledger.get(16)
    pruned()
    with kb.ledger.reading() as db:
        assert first_broken_after(db, 16, before.chain_hash) is None
        assert first_broken_after(db, 17, before.chain_hash).what == "the event"


def test_a_second_prune_signs_after_the_first_and_both_archives_are_read(kb, three, pruned):
    pruned()
    assert pruned(before_ms=NEW + 1).checkpoint == 2
    assert {run.run_id for run in three} == set(ArchivedRuns(kb.ledger).run_ids())
    assert len(said(ArchivedRuns(kb.ledger), three[2].run_id)) == 7
    whole(kb)


def test_a_base_that_has_not_seen_some_of_the_records_ends_like_one_that_has(tmp_path, kb, three, pruned):
    with KnowledgeBase.open(tmp_path / "pog", view_db="late.sqlite") as late:
        late.sync()
        kb.ledger.append(records(identity(), artifact="late.md"))
        pruned()
        whole(late)
        whole(kb)


def test_no_record_of_an_archived_run_is_stored_again_by_any_writer(kb, three, pruned):
    pruned()
    again = records(three[0])
    with pytest.raises(SeqTaken):
        kb.ledger.append(again[:1])
    with Ledger.open(kb.ledger.path) as other, pytest.raises(SeqTaken):
        other.append(again[-1:])


def test_the_request_of_an_archived_run_is_still_known(kb, pruned):
    run = identity()
    submitted = records(run, key=f"submit:{run.run_id}")
    kb.ledger.append(submitted)
    pruned()
    assert kb.ledger.knows("nothing", run.run_id)
    assert kb.ledger.knows(f"submit:{run.run_id}", "nothing")
    with pytest.raises(KeyArchived, match="which is in the archive of checkpoint 1"):
        kb.ledger.append(submitted[:1])


def test_a_fork_of_a_run_that_was_archived_meanwhile_is_refused(kb, three, pruned):
    pruned()
    with pytest.raises(RunArchived):
        kb.ledger.append(records(identity(), forked_from=three[0].run_id)[:1])


def test_what_is_stored_while_the_archive_is_written_and_rests_on_what_would_go_stops_the_prune(kb, contact, three, pruned, monkeypatch):
    write = pruning._write

    def meanwhile(*args):
        found = write(*args)
        kb.ledger.append([contact(evidence=[2])])
        return found

    monkeypatch.setattr(pruning, "_write", meanwhile)
    before = ids(kb)
    with pytest.raises(PruneRefused, match="event 24 names one of its records"):
        pruned()
    assert ids(kb) == [*before, 24]
    monkeypatch.undo()
    assert pruned().events == 13
    whole(kb)


def test_a_ledger_that_does_not_verify_is_not_pruned(kb, three, pruned, behind):
    behind(kb.ledger.path, "UPDATE events SET actor = 'eve' WHERE id = 2")
    with pytest.raises(LedgerCorrupt):
        pruned()
    assert len(ids(kb)) == 23


def test_two_prunes_at_once_are_refused(kb, three, pruned):
    with pruning.one_keeper(kb.root), pytest.raises(KnowledgeInUse):
        pruned()


def test_a_file_that_is_there_is_never_written_over(kb, three, pruned, tmp_path):
    mine = tmp_path / "mine.gz"
    mine.write_text("mine")
    with pytest.raises(PruneRefused):
        pruned(to=mine)
    assert mine.read_text() == "mine"
    with pytest.raises(PruneRefused):
        pruned(to=tmp_path / "nowhere" / "x.gz")


def test_an_archive_that_nothing_names_is_removed_only_where_the_ledger_has_all_of_it(kb, three, pruned, tmp_path):
    place = pruned().archive
    left, other = place.with_name("runs-0002-left.jsonl.gz"), place.with_name("runs-0003-other.jsonl.gz")
    left.write_bytes(place.read_bytes())
    other.write_text("not mine")
    again = pruned(before_ms=NEW + 1).archive
    assert sorted(path.name for path in place.parent.iterdir()) == sorted(path.name for path in (place, left, other, again))
    with KnowledgeBase.open(tmp_path / "second") as second:
        second.ledger.append(records(identity()))
        free = pruning._free_place(second.root, "runs-0001")
        pruning._write(free, second.ledger, pruning.plan_prune(second.ledger, BEFORE), 1)
        pruning._clean(second.root, second.ledger)
        assert not free.exists()


def test_an_archive_may_be_elsewhere_and_is_found_where_it_is_put_back(kb, three, pruned, tmp_path):
    place = tmp_path / "elsewhere.gz"
    pruned(to=place)
    assert len(said(ArchivedRuns(kb.ledger), three[1].run_id)) == 7
    place.rename(tmp_path / "lost")
    with pytest.raises(ArchiveMissing):
        said(ArchivedRuns(kb.ledger), three[1].run_id)
    assert any("elsewhere.gz" in remark for remark in kb.verify().remarks)
    (tmp_path / "lost").rename(kb.root / "archive" / "elsewhere.gz")
    assert len(said(ArchivedRuns(kb.ledger), three[1].run_id)) == 7


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-40], lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], lambda data: b"", lambda data: data * 2],
)
def test_an_archive_that_was_altered_is_not_read(kb, three, pruned, damage):
    done = pruned()
    done.archive.write_bytes(damage(done.archive.read_bytes()))
    with pytest.raises(ArchiveDamaged):
        said(ArchivedRuns(kb.ledger), three[0].run_id)
    assert kb.verify().broken.what.startswith("the archive ")


def test_an_archive_whose_lines_were_changed_is_damaged_even_to_who_does_not_know_its_checkpoint(kb, three, pruned, tmp_path):
    lines = gzip.decompress(pruned().archive.read_bytes()).splitlines(keepends=True)
    blob = next(number for number, line in enumerate(lines) if line.startswith(b'{"blob"'))
    event = next(number for number, line in enumerate(lines) if line.startswith(b'{"actor"'))
    changes = {
        "a large value": [*lines[:blob], lines[blob].replace(b"eXl5", b"eXl6", 1), *lines[blob + 1 :]],
        "an event": [*lines[:event], lines[event].replace(b"piers", b"peers", 1), *lines[event + 1 :]],
        "a line less": [*lines[:event], *lines[event + 1 :]],
        "no last line": lines[:-1],
        "another beginning": lines[1:],
        "a line that is none": [*lines[:event], b"{}\n", *lines[event + 1 :]],
    }
    for name, changed in changes.items():
        (tmp_path / "changed.gz").write_bytes(gzip.compress(b"".join(changed)))
        with pytest.raises(ArchiveDamaged):
            print(name, len(list(ArchiveReader(tmp_path / "changed.gz").scan())))


FORGERIES = {
    "a stretch of no checkpoint": """INSERT INTO pruned_stretches SELECT 7, 7, chain_blake3, 2 FROM events WHERE id = 7;
        DELETE FROM events WHERE id = 7""",
    "a stretch that ends elsewhere": "UPDATE pruned_stretches SET last_id = last_id + 1 WHERE first_id = 8",
    "another chain value": "UPDATE pruned_stretches SET chain = zeroblob(32) WHERE first_id = 2",
    "an event that is deleted as if pruned": """DELETE FROM events WHERE id = 7;
        UPDATE pruned_stretches SET last_id = 16, chain = (SELECT chain FROM pruned_stretches WHERE first_id = 8) WHERE first_id = 2;
        DELETE FROM pruned_stretches WHERE first_id = 8""",
    "a run that was never archived": "UPDATE archived_runs SET status = 'failed'",
    "a run that is not mentioned any more": "DELETE FROM archived_runs WHERE run_id = (SELECT min(run_id) FROM archived_runs)",
    "another archive": "UPDATE checkpoints SET archive = 'other.gz'",
    "another digest": "UPDATE checkpoints SET digest = zeroblob(32)",
    "another signature": "UPDATE checkpoints SET signature = zeroblob(64)",
    "a checkpoint that is gone": "DELETE FROM checkpoints",
    "a checkpoint that is gone with all it carries": """DELETE FROM checkpoints; DELETE FROM pruned_stretches; DELETE FROM archived_runs""",
    "a key that is not remembered": "DELETE FROM archived_keys",
    "the event that tells of it": "UPDATE events SET payload_json = replace(payload_json, 'runs-0001', 'runs-0002') WHERE id = 24",
}


@pytest.mark.parametrize("sql", FORGERIES.values(), ids=FORGERIES)
def test_what_is_changed_about_a_checkpoint_is_found(kb, contact, signer, behind, sql):
    old, other, new = identity(), identity(), identity()
    first, second = records(old, key="k"), records(other)
    kb.ledger.append([contact(), first[0], second[0], *first[1:4], contact("B", "b@example.com"), *first[4:], *second[1:]])
    kb.ledger.append(records(new, at_ms=NEW))
    pruning.prune(kb.ledger, BEFORE, key=signer)
    assert kb.ledger.verify().ok
    behind(kb.ledger.path, sql)
    assert not kb.ledger.verify().ok


def test_a_checkpoint_under_another_key_than_this_installations_is_found(kb, three, pruned, signer):
    pruned()
    mine = signer.public_key().public_bytes_raw().hex()
    assert kb.verify(signers={mine}).ok
    assert kb.verify(signers={"0" * 64}).broken.what == "the signer of checkpoint 1"


def test_a_prune_that_found_no_room_leaves_everything_as_it_was(kb, three, pruned, monkeypatch):
    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(pruning.os, "statvfs", lambda _path: Full)
    with pytest.raises(pruning.LedgerFull):
        pruned()
    assert len(ids(kb)) == 23
