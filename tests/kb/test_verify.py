from __future__ import annotations

import apsw
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from runloop.events import INLINE_LIMIT
from runloop.kb import KnowledgeBase, Ledger
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.keeping.anchor import Anchor

COLUMNS = ("ts_ms", "actor", "kind", "scope", "payload_json", "provenance_json", "hash_blake3", "chain_blake3")
REST = ", ".join(COLUMNS)
SWAP = (
    f"CREATE TEMP TABLE two AS SELECT * FROM events WHERE id IN (4, 5); DELETE FROM events WHERE id IN (4, 5);"
    f"INSERT INTO events(id, {REST}) SELECT 9 - id, {REST} FROM two"
)


@pytest.fixture
def five(ledger, contact, finished):
    ledger.append([contact(), contact("B", key="k"), finished(1, {"out": ["x" * INLINE_LIMIT]}), contact("D"), contact("E")])
    return ledger


def broken(ledger, **anchors):
    report = ledger.verify(**anchors)
    assert not report.ok
    return report.broken.event_id, report.broken.what


def test_an_untouched_ledger_is_intact(five):
    report = five.verify()
    assert (report.ok, report.events, report.blobs, report.head_id) == (True, 5, 1, 5)
    assert report.head_chain == five.head().chain.hex()
    report.require("x")


def test_an_empty_ledger_is_intact(ledger):
    assert ledger.verify().ok


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("UPDATE events SET payload_json = replace(payload_json, 'Ada', 'Eve') WHERE id = 1", (1, "content_hash")),
        ("UPDATE events SET actor = 'root' WHERE id = 4", (4, "content_hash")),
        ("UPDATE events SET kind = 'note.imported' WHERE id = 4", (4, "content_hash")),
        ("UPDATE events SET scope = 'system' WHERE id = 4", (4, "content_hash")),
        ('UPDATE events SET provenance_json = \'{"a":"b"}\' WHERE id = 2', (2, "content_hash")),
        ("UPDATE events SET payload_json = payload_json || ' ' WHERE id = 2", (2, "content_hash")),
        ("UPDATE events SET provenance_json = '{\"evidence\":' WHERE id = 2", (2, "content_hash")),
        ("UPDATE events SET provenance_json = '[\"evidence\"]' WHERE id = 2", (2, "content_hash")),
        ("UPDATE events SET hash_blake3 = zeroblob(32) WHERE id = 2", (2, "content_hash")),
        ("UPDATE events SET ts_ms = ts_ms + 1 WHERE id = 3", (3, "chain_hash")),
        ("UPDATE events SET idempotency_key = NULL WHERE id = 2", (2, "chain_hash")),
        ("UPDATE events SET idempotency_key = 'x' WHERE id = 4", (4, "chain_hash")),
        ("UPDATE events SET chain_blake3 = zeroblob(32) WHERE id = 5", (5, "chain_hash")),
        ("DELETE FROM events WHERE id = 1", (1, "the event")),
        ("DELETE FROM events WHERE id = 3", (3, "the event")),
        ("DELETE FROM events WHERE id = 5", (5, "the end of the ledger")),
        ("DELETE FROM events WHERE id > 2", (3, "the end of the ledger")),
        ("DELETE FROM events", (1, "the end of the ledger")),
        ("DELETE FROM blobs", (3, "blob")),
        ("UPDATE blobs SET data = CAST(data || x'20' AS BLOB)", (3, "blob")),
        ("DELETE FROM head", (5, "head")),
        ("UPDATE head SET chain = zeroblob(32)", (5, "head")),
        (SWAP, (4, "chain_hash")),
        (
            f"INSERT INTO events(id, {REST}) SELECT 6, {REST} FROM events WHERE id = 5",
            (6, "chain_hash"),
        ),
    ],
)
def test_the_first_event_that_was_changed_behind_its_back_is_named(five, behind, sql, place):
    behind(five.path, sql)
    assert broken(five) == place


def test_a_tail_that_was_cut_with_its_head_adjusted_is_found_by_the_anchor(five, behind):
    anchor = Anchor(five.id, *five.head())
    behind(five.path, "DELETE FROM events WHERE id > 3")
    behind(five.path, "UPDATE head SET last_id = 3, chain = (SELECT chain_blake3 FROM events WHERE id = 3)")
    assert five.verify().ok
    assert broken(five, anchors=[anchor]) == (4, "the end of the ledger")


def test_a_history_that_was_made_up_again_is_found_by_the_anchor(tmp_path, contact, behind):
    with Ledger.open(tmp_path / "a.sqlite") as ledger:
        ledger.append([contact("A"), contact("B")])
        anchor = Anchor(ledger.id, *ledger.head())
        behind(ledger.path, "DELETE FROM events WHERE id = 2")
        behind(ledger.path, "UPDATE head SET last_id = 1, chain = (SELECT chain_blake3 FROM events WHERE id = 1)")
        ledger.append([contact("C")])
        assert ledger.verify().ok
        assert broken(ledger, anchors=[anchor]) == (2, "chain_hash noted outside the ledger")


def test_another_ledger_in_its_place_is_found_by_the_anchor(tmp_path, contact):
    with Ledger.open(tmp_path / "a.sqlite") as one, Ledger.open(tmp_path / "b.sqlite") as two:
        one.append([contact()])
        two.append([contact()])
        assert broken(two, anchors=[Anchor(one.id, *one.head())]) == (1, "the ledger itself")


def test_a_raw_blob_that_was_changed_is_found(ledger, contact, behind):
    from msgspec import structs

    ledger.append([structs.replace(contact(), blobs=(b"previous",))])
    behind(ledger.path, "UPDATE blobs SET data = x'00'")
    assert broken(ledger) == (1, "blob")


def test_a_broken_report_raises_with_what_was_expected_and_found(five, behind):
    behind(five.path, "UPDATE events SET actor = 'root' WHERE id = 4")
    report = five.verify()
    with pytest.raises(LedgerCorrupt, match=r"event 4: content_hash differs: expected [0-9a-f]{64}, found [0-9a-f]{64}") as caught:
        report.require(str(five.path))
    assert (caught.value.code, caught.value.exit_code) == ("ledger.broken", 5)
    assert report.to_dict()["broken"]["event_id"] == 4


def test_the_knowledge_base_notices_a_cut_tail_by_itself(tmp_path, contact, behind):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A"), contact("B"), contact("C")])
        kb.sync()
        path = kb.ledger.path
    behind(path, "DELETE FROM events WHERE id = 3")
    behind(path, "UPDATE head SET last_id = 2, chain = (SELECT chain_blake3 FROM events WHERE id = 2)")
    with KnowledgeBase.open(tmp_path) as kb:
        report = kb.verify()
        assert (report.broken.event_id, report.broken.what) == (3, "the end of the ledger")
        with pytest.raises(LedgerCorrupt, match="event 3 was seen before and is gone"):
            kb.sync()


@given(st.integers(1, 5), st.sampled_from(COLUMNS), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_changed_byte_of_any_column_is_found_at_its_event(five, behind, event_id, column, position, flip):
    [(old,)] = behind(five.path, f"SELECT {column} FROM events WHERE id = ?", event_id)
    if isinstance(old, int):
        new = old ^ flip
    elif isinstance(old, bytes):
        new = bytes(byte ^ flip if index == position % len(old) else byte for index, byte in enumerate(old))
    else:
        at = position % len(old)
        new = old[:at] + chr(0x4E00 + flip) + old[at + 1 :]
    try:
        try:
            behind(five.path, f"UPDATE events SET {column} = ? WHERE id = ?", new, event_id)
        except apsw.SQLError:
            reject()  # a payload that is no JSON any more cannot even be stored
        assert broken(five)[0] == event_id
    finally:
        behind(five.path, f"UPDATE events SET {column} = ? WHERE id = ?", old, event_id)
    assert five.verify().ok
