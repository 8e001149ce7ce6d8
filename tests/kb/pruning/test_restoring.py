from __future__ import annotations

import gzip
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import BEFORE, LARGE, NEW, identity, records

from runloop.events import NewEvent, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase
from runloop.kb.erasing import Left, erase
from runloop.kb.errors import ArchiveDamaged, ArchiveMissing, KnowledgeInUse, LedgerFull, PruneRefused, SeqTaken
from runloop.kb.pruning import prune as pruning
from runloop.kb.pruning import restoring
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.kb.pruning.restoring import restore_archive


def rows(kb, until):
    """Everything that the ledger holds of its first events."""
    with kb.ledger.reading() as db:
        events = db.execute("SELECT * FROM events WHERE id <= ? ORDER BY id", (until,)).fetchall()
        blobs = db.execute("SELECT * FROM event_blobs WHERE event_id <= ? ORDER BY 1, 2", (until,)).fetchall()
        return events, blobs, db.execute("SELECT hash, data FROM blobs ORDER BY hash").fetchall()


def whole(kb):
    report = kb.verify(views=True)
    assert report.ok, str(report.broken)
    return report


@pytest.fixture
def three(kb, contact):
    """Two old runs, one of them with a large value, their records interleaved with contacts; and a new one."""
    old, other, new = identity(), identity(), identity()
    first, second = records(old, large=LARGE, key="k"), records(other, artifact="pier.md")
    kb.ledger.append([contact(), first[0], second[0], *first[1:4], contact("B", "b@example.com"), *first[4:], *second[1:]])
    kb.ledger.append(records(new, at_ms=NEW))
    kb.sync()
    return old, other, new


def test_what_was_taken_back_is_what_went_byte_for_byte_and_can_be_pruned_again(kb, three, pruned):
    head = kb.ledger.head().id
    before, listed = rows(kb, head), kb.runs()
    done = pruned()
    kb.settle()
    assert [row["run_id"] for row in kb.runs()] == [three[2].run_id]
    back = restore_archive(kb.ledger, str(done.archive))
    assert (back.runs, back.events, back.erasures) == (2, done.events, 0)
    kb.settle()
    assert rows(kb, head) == before
    assert [row["run_id"] for row in kb.runs()] == [row["run_id"] for row in listed]
    assert ArchivedRuns(kb.ledger).run_ids() == []
    assert [event.kind for event in kb.why(f"run:{three[0].run_id}")][-2:] == ["runs.archived", "runs.restored"]
    whole(kb)
    again = pruned()
    assert (again.checkpoint, again.events) == (2, done.events)
    assert len(ArchivedRuns(kb.ledger).run_ids()) == 2
    restore_archive(kb.ledger, "2")
    kb.settle()
    assert rows(kb, head) == before
    whole(kb)


def test_a_second_time_takes_back_nothing_and_what_nobody_archived_is_refused(kb, three, pruned):
    pruned()
    assert restore_archive(kb.ledger, "1").events
    head = kb.ledger.head()
    assert restore_archive(kb.ledger, "1").events == 0
    assert kb.ledger.head() == head
    for named in ("2", "runs-9999.jsonl.gz", "/nowhere/else.gz"):
        with pytest.raises(PruneRefused, match="no checkpoint names"):
            restore_archive(kb.ledger, named)
    with pruning.one_keeper(kb.root), pytest.raises(KnowledgeInUse):
        restore_archive(kb.ledger, "1")


def test_keys_numbers_and_later_checkpoints_hold_after_something_was_taken_back(kb, three, pruned):
    pruned()
    pruned(before_ms=NEW + 1)
    restore_archive(kb.ledger, "1")
    whole(kb)
    assert kb.ledger.by_key("k").id == 2
    with pytest.raises(SeqTaken):
        kb.ledger.append(records(three[0])[-1:])
    assert ArchivedRuns(kb.ledger).run_ids() == [three[2].run_id]


def test_an_archive_that_was_moved_is_taken_back_from_where_it_is_named_and_a_damaged_one_is_not(kb, three, pruned, tmp_path):
    done = pruned()
    moved = tmp_path / "moved.gz"
    done.archive.rename(moved)
    with pytest.raises(ArchiveMissing):
        restore_archive(kb.ledger, "1")
    data = moved.read_bytes()
    renamed = tmp_path / done.archive.name
    renamed.write_bytes(data[:-9])
    with pytest.raises(PruneRefused):  # it is not that archive
        restore_archive(kb.ledger, str(renamed))
    done.archive.write_bytes(data[:-9])
    with pytest.raises(ArchiveDamaged):
        restore_archive(kb.ledger, "1")
    renamed.write_bytes(data)
    assert restore_archive(kb.ledger, str(renamed)).events == done.events
    whole(kb)


@pytest.mark.parametrize("number", [0, 1, -1], ids=["header", "event", "trailer"])
@pytest.mark.parametrize("broken", [b'{"\xff":1}', b'{"a":' + b"[" * 200_000], ids=["not UTF-8", "too deep"])
def test_an_archive_with_a_line_that_is_no_json_is_damaged(three, pruned, number, broken):
    archive = pruned().archive
    lines = gzip.decompress(archive.read_bytes()).splitlines()
    lines[number] = broken if number != 1 else broken.replace(b"{", b'{"actor":1,', 1)
    archive.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    with pytest.raises(ArchiveDamaged):
        list(restoring.ArchiveReader(archive).scan())


def test_records_that_do_not_fit_the_chain_are_not_taken_whoever_signed_the_archive(kb, three, pruned, behind, monkeypatch):
    done = pruned()
    lines = gzip.decompress(done.archive.read_bytes()).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(b'{"actor"'))
    changed = json.loads(lines[at])
    changed["ts_ms"] += 1
    lines[at] = json.dumps(changed, separators=(",", ":"), sort_keys=True).encode()
    done.archive.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    digest = restoring.ArchiveReader(done.archive).digest().hex()
    behind(kb.ledger.path, f"UPDATE checkpoints SET digest = x'{digest}'; UPDATE archived_runs SET offset = 0")
    monkeypatch.setattr(restoring, "verify", lambda *_, **__: type("Sound", (), {"require": lambda *_: None})())
    head = kb.ledger.head()
    with pytest.raises(ArchiveDamaged):
        restore_archive(kb.ledger, "1")
    assert kb.ledger.head() == head


def test_what_was_erased_before_stays_erased_and_what_was_erased_since_is_told(kb, contact, three, pruned):
    record = next(event for event in kb.ledger.read(0) if event.kind == "effect.requested")
    erase(kb.ledger, [Left(record.id, {**record.payload, "meta": {**record.payload["meta"], "args": {"query": ""}}})])
    pruned()
    kb.erase([1])
    assert restore_archive(kb.ledger, "1").erasures == 1
    assert "piers" not in str(kb.ledger.get(record.id).payload["meta"]["args"])
    kb.settle()
    whole(kb)


def test_without_room_nothing_is_taken_back(kb, three, pruned, monkeypatch):
    pruned()
    head = kb.ledger.head()

    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "statvfs", lambda _path: Full)
    with pytest.raises(LedgerFull):
        restore_archive(kb.ledger, "1")
    assert kb.ledger.head() == head


def test_the_past_and_a_base_that_saw_nothing_of_it_show_what_was_taken_back(tmp_path, kb, three, pruned):
    pruned()
    kb.settle()
    with KnowledgeBase.open(tmp_path / "pog", view_db="late.sqlite") as late:
        late.sync()
        with kb.at(17) as past:
            assert past.runs() == []
        restore_archive(kb.ledger, "1")
        with kb.at(17) as past:
            assert {row["run_id"] for row in past.runs()} == {run.run_id for run in three[:2]}
        late.settle()
        whole(late)
        whole(kb)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO archived_keys VALUES('k2', 2, 1)",
        "UPDATE events SET idempotency_key = NULL WHERE kind = 'runs.restored'",
        "UPDATE checkpoints SET carried = zeroblob(32)",
        "DELETE FROM checkpoints",
    ],
)
def test_what_is_changed_about_a_checkpoint_after_it_was_taken_back_is_found(kb, three, pruned, behind, sql):
    pruned()
    restore_archive(kb.ledger, "1")
    assert kb.ledger.verify().ok
    behind(kb.ledger.path, sql)
    assert not kb.ledger.verify().ok


def test_a_large_prune_goes_in_portions_of_one_archive_and_comes_back_in_as_many(kb, pruned, monkeypatch):
    monkeypatch.setattr(pruning, "PORTION", 15)
    runs = [identity() for _ in range(7)]
    told = [records(run, large=LARGE) for run in runs]
    kb.ledger.append([event for step in zip(*told, strict=True) for event in step])
    before = rows(kb, 49)
    done = pruned()
    assert (done.runs, done.events, done.checkpoints, len(list(done.archive.parent.iterdir()))) == (7, 49, 4, 1)
    assert [event.kind for event in kb.ledger.read(0)] == ["runs.archived"] * 4
    archived = ArchivedRuns(kb.ledger)
    assert [len([archived.full(event) for event in archived.read_run(run.run_id)]) for run in runs] == [7] * 7
    whole(kb)
    assert restore_archive(kb.ledger, "3").events == 49
    kb.settle()
    assert rows(kb, 49) == before
    whole(kb)


def test_runs_that_rest_on_each_other_go_in_one_portion(kb, monkeypatch):
    runs = [identity() for _ in range(4)]
    told = [records(run, at_ms=1_000 + number) for number, run in enumerate(runs)]
    for number, other in ((2, 3), (3, 2)):  # each was told of a record of the other
        hits = r.EffectEnded("a", 1, 1, result={"hits": [{"event_id": 1 + (other * 7)}]})
        told[number][4] = run_event(runs[number], 5, "effect.completed", hits, "m", ts_ms=1_000)
    kb.ledger.append([event for each in told for event in each])
    plan = pruning.plan_prune(kb.ledger, BEFORE)
    assert [sorted(going.run.run_id for family in part.families for going in family) for part in plan.portions(1)] == [
        [runs[0].run_id],
        [runs[1].run_id],
        sorted((runs[2].run_id, runs[3].run_id)),
    ]


def test_a_portion_that_cannot_go_any_more_leaves_those_before_it_archived(kb, contact, pruned, monkeypatch):
    monkeypatch.setattr(pruning, "PORTION", 7)
    kb.ledger.append([event for number in range(3) for event in records(identity(), at_ms=1_000 + number)])
    remove = pruning._remove

    def meanwhile(ledger, plan, key, named, *, already):
        if already == 1:
            ledger.append([contact(evidence=[9])])
        remove(ledger, plan, key, named, already=already)

    monkeypatch.setattr(pruning, "_remove", meanwhile)
    with pytest.raises(PruneRefused, match="1 runs were archived and no more: event 23 names one of its records meanwhile"):
        pruned()
    whole(kb)
    monkeypatch.undo()
    assert pruned().events == 13
    assert len(ArchivedRuns(kb.ledger).run_ids()) == 3
    whole(kb)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_went_comes_back_and_the_tables_are_those_of_a_base_that_was_never_pruned(data, signer, scratch_dir):
    root = scratch_dir / f"{data.draw(st.integers(0, 1 << 60))}"
    with KnowledgeBase.open(root) as kb:
        runs: list = []
        for _ in range(data.draw(st.integers(1, 5))):
            parent = data.draw(st.sampled_from([None, *runs]))
            run = identity(parent)
            runs.append(run)
            told = records(
                run,
                at_ms=data.draw(st.sampled_from([1_000, NEW])),
                large=data.draw(st.sampled_from([None, LARGE])),
                artifact=data.draw(st.sampled_from([None, "a.md"])),
                end=data.draw(st.booleans()),
            )
            at = kb.ledger.head().id
            kb.ledger.append(told)
            if data.draw(st.booleans()):
                named = at + data.draw(st.integers(1, len(told)))
                kb.ledger.append(
                    [NewEvent("contact.upserted", {"name": "A", "email": f"{named}@x.example", "evidence": [named]}, "user", "user")]
                )
        kb.sync()
        head = kb.ledger.head().id
        before, listed = rows(kb, head), kb.runs()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pruning, "PORTION", data.draw(st.sampled_from([1, 10, 1000])))
            _, done = pruning.prune(kb.ledger, BEFORE, key=signer)
        if done is None:
            return
        kb.settle()
        assert kb.verify(views=True).ok
        restore_archive(kb.ledger, str(done.checkpoint))
        kb.settle()
        assert rows(kb, head) == before
        assert kb.runs() == listed
        assert kb.verify(views=True).ok
