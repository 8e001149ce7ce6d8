from __future__ import annotations

import importlib.resources
import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runloop.events import (
    INLINE_LIMIT,
    KINDS,
    OUTER_KEYS,
    InvalidEvent,
    NewEvent,
    RunEvent,
    RunIdentity,
    StoredEvent,
    canonical,
    is_run_record,
    live_record,
    record_of,
    run_event,
    validate,
    validate_meta,
)
from runloop.events import records as r
from runloop.events.reference import ROOT, main, pages
from runloop.events.runrecord import meta_dict, one_line
from runloop.events.schema import record_schema, record_schema_text

HASH = "b" * 64
ERROR = r.ErrorInfo("guest.exception", "boom")
METAS = {
    "run.submitted": r.RunStarted(
        "d", {"topic": "x"}, r.Versions("0.1.0", "g", {"writer": "d"}), "local", seed=HASH, start_ms=1, opening="version: 0"
    ),
    "run.started": r.RunStarted("d", {}, r.Versions("0.1.0"), "daemon", {"tokens": 5}, r.ForkedFrom("x", 3)),
    "run.waiting": r.RunChanged("approval", 5, ["mailer"]),
    "run.paused": r.RunChanged("asked"),
    "run.resumed": r.RunChanged("asked"),
    "run.recovered": r.RunChanged("restart", nodes=["a"], effects_answered=3),
    "run.clock_set": r.ClockSet(-7_200_000),
    "run.cancelling": r.RunChanged("enough", owner="0" * 32),
    "run.finished": r.RunFinished("succeeded", 12, HASH, 5, 0.25, [r.Saved("/a", kind="draft", sha256=HASH)], None),
    "node.ready": r.NodeStarted("a", 1),
    "node.started": r.NodeStarted("a", 1, r.AgentRef("writer", "1.0", "d"), "w1", {"in": [1]}, HASH),
    "node.evicted": r.NodeMoved("a", 1, 100),
    "node.rebuilt": r.NodeMoved("a", 1, replayed_calls=4, ms=3),
    "node.progress": r.NodeText("a", "half", 1, fraction=0.5),
    "node.log": r.NodeText("a", "text", 1, "warn"),
    "node.finished": r.NodeFinished("a", 1, "error", {"out": []}, HASH, ERROR, 5, 1, 0.1, 200),
    "effect.requested": r.EffectRequested("a", 1, 0, "mail.send", "external", HASH, {"to": []}, ["web"], "k"),
    "effect.completed": r.EffectEnded("a", 1, 0, "mail.send", {"ok": True}, HASH, None, 4, 1, 2, 0.5, True),
    "effect.failed": r.EffectEnded("a", 1, 0, error=ERROR),
    "effect.unknown": r.EffectEnded("a", 1, 0),
    "effect.delta": r.EffectDelta("a", 0, "Dear"),
    "approval.requested": r.ApprovalRequested("p1", {"text": "x"}, "a", 1, 0, "mail.smtp", ["ada@example.com"], ["once", "no"], "once", 99),
    "approval.decided": r.ApprovalEnded("p1", "allow", "a", scope="once", by=r.Decider("operator", 1000), rationale="approved via CLI"),
    "approval.expired": r.ApprovalEnded("p1", "deny"),
    "artifact.created": r.ArtifactCreated("a", "draft", "/a.md", HASH, HASH, "s", [r.Source(3, "/n.md", 7)], 10),
    "divergence.found": r.DivergenceFound("a", 1, 2, {"name": "x"}, {"name": "y"}),
}
STORED = sorted(kind for kind in METAS if not KINDS[kind].live)


def stored(event, number=7):
    return StoredEvent(number, 1234, event.kind, event.actor, event.scope, event.payload, event.provenance, bytes(32), bytes(32))


def check(record):
    Draft202012Validator(record_schema()).validate(json.loads(json.dumps(record)))


def test_every_kind_of_run_record_has_an_example_here():
    assert sorted(METAS) == sorted(name for name, kind in KINDS.items() if kind.meta is not None)


@pytest.mark.parametrize("kind", STORED)
def test_a_built_record_is_valid_in_the_ledger_and_as_printed(kind, run):
    event = run_event(run, 3, kind, METAS[kind], "a message\nof two lines", level="warn", agent_id="agent:writer")
    assert validate(kind, event.payload).name == kind
    record = record_of(stored(event))
    assert tuple(record) == OUTER_KEYS
    assert (record["seq"], record["event_id"], record["ts_ms"], record["message"]) == (3, 7, 1234, "a message of two lines")
    assert record["trace_id"] == run.trace_id
    check(record)


@pytest.mark.parametrize("kind", sorted(kind for kind in METAS if KINDS[kind].live))
def test_a_live_record_is_valid_and_has_no_event(kind, run):
    record = live_record(run, 4, kind, METAS[kind], "m", ts_ms=5)
    assert tuple(record) == OUTER_KEYS
    assert (record["event_id"], record["seq"]) == (None, 4)
    check(record)


@pytest.mark.parametrize("text", ["a b", "a\nb", "a\rb", "a\r\nb"])
def test_a_message_is_one_line_whatever_breaks_it(text):
    assert one_line(text) == "a b"


def test_a_stored_kind_cannot_be_live(run):
    with pytest.raises(ValueError, match="is stored, not live"):
        live_record(run, 1, "run.finished", {}, "m", ts_ms=1)


def test_a_typed_meta_and_its_dictionary_make_the_same_event(run):
    meta = {"node": "a", "attempt": 1, "call": 0, "name": "x", "class": "read", "args_hash": HASH}
    assert run_event(run, 1, "effect.requested", r.EffectRequested("a", 1, 0, "x", "read", HASH), "m") == run_event(
        run, 1, "effect.requested", meta, "m"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"seq": 0}, {"run_id": "x"}, {"opening_id": "compose"}, {"level": "fatal"}, {"message": "two\nlines"}, {"extra": 1},
        {"meta": {"node": "a"}}, {"meta": {"node": "a", "attempt": 1, "extra": 1}}, {"meta": {"node": "", "attempt": 1}},
    ],
)  # fmt: skip
def test_a_record_that_breaks_its_schema_is_refused(run, change):
    event = run_event(run, 1, "node.started", METAS["node.started"], "m")
    with pytest.raises(InvalidEvent, match="payload validation failed"):
        validate(event.kind, {**event.payload, **change})
    assert not Draft202012Validator(record_schema()).is_valid({**record_of(stored(event)), **change})


def test_a_record_needs_every_outer_key(run):
    record = record_of(stored(run_event(run, 1, "node.started", METAS["node.started"], "m")))
    for key in OUTER_KEYS:
        assert not Draft202012Validator(record_schema()).is_valid({name: value for name, value in record.items() if name != key}), key


def test_an_artifact_outside_a_run_is_no_run_record(run):
    plain = stored(run_event(run, 1, "artifact.created", METAS["artifact.created"], "m"))
    assert is_run_record(plain)
    outside = StoredEvent(1, 1, "artifact.created", "user", "user", {"kind": "k", "path": "p", "sha256": HASH}, {}, bytes(32), bytes(32))
    assert not is_run_record(outside)
    with pytest.raises(ValueError, match="is not a run record"):
        record_of(outside)


def test_a_blob_reference_is_valid_wherever_a_field_may_become_a_blob(run):
    reference = {"$blob": HASH, "bytes": INLINE_LIMIT + 1}
    for kind in STORED:
        event = run_event(run, 1, kind, METAS[kind], "m")
        for path in KINDS[kind].blob_fields:
            payload = {**event.payload, "meta": {**event.payload["meta"], path[1]: reference}}
            if kind != "node.log":
                assert validate(kind, payload).name == kind


def test_the_published_files_are_what_the_code_makes():
    stale = [str(path) for path, text in pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python -m runloop.events.reference"
    assert main(["--check"]) == 0


def test_the_schema_is_the_same_with_every_python_whose_docstrings_keep_their_indentation_or_not():
    described = {name: each["description"] for name, each in record_schema()["$defs"].items() if "description" in each}
    assert any("\n" in text for text in described.values())
    assert {name: text for name, text in described.items() if text != inspect.cleandoc(text)} == {}


def test_the_schema_ships_with_the_package():
    packaged = importlib.resources.files("runloop.events") / "run-record.schema.json"
    assert packaged.read_text(encoding="utf-8") == record_schema_text()
    assert Path(str(packaged)).is_relative_to(ROOT)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OUTPUTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(
    seq=st.integers(1, 2**53 - 1), level=st.sampled_from(["debug", "info", "warn", "error"]), message=TEXTS, name=TEXTS,
    outputs=st.dictionaries(TEXTS, st.lists(OUTPUTS, max_size=2), max_size=3), agent=st.none() | TEXTS.map("agent:{}".format),
    parent=st.none() | st.uuids().map(str), run_id=st.uuids().map(str),
)  # fmt: skip
def test_the_canonical_form_that_a_record_brings_is_the_one_of_its_payload(seq, level, message, name, outputs, agent, parent, run_id):
    run = RunIdentity(run_id, f"trace:{run_id}", f"opening:{run_id}", name, parent)
    event = run_event(run, seq, "node.finished", r.NodeFinished("a", 1, "ok", outputs), message, level=level, agent_id=agent)
    assert type(event) is RunEvent
    assert event.payload_json == canonical(event.payload)
    assert event.provenance_json == canonical(event.provenance)
    validate_meta(event.kind, event.payload)
    validate(event.kind, event.payload)


@pytest.mark.parametrize("kind", STORED)
def test_a_meta_that_breaks_its_schema_is_refused_as_the_whole_payload_is(run, kind):
    event = run_event(run, 1, kind, {**meta_dict(METAS[kind]), "extra": 1}, "m")
    with pytest.raises(InvalidEvent) as whole:
        validate(kind, event.payload)
    with pytest.raises(InvalidEvent) as alone:
        validate_meta(kind, event.payload)
    assert str(alone.value) == str(whole.value)


@pytest.mark.parametrize(
    ("change", "seq", "kind", "level"),
    [
        ({"run_id": "x"}, 1, "node.log", "info"),
        ({"opening_id": "opening:x"}, 1, "node.log", "info"),
        ({"parent_run_id": "x"}, 1, "node.log", "info"),
        ({}, 0, "node.log", "info"),
        ({}, 1, "node.progress", "info"),
        ({}, 1, "node.log", "fatal"),
    ],
)
def test_a_record_whose_outer_part_is_wrong_brings_no_form_and_is_refused_by_the_schema(run, change, seq, kind, level):
    event = run_event(replace(run, **change), seq, kind, r.NodeText("a", "t"), "m", level=level)
    assert type(event) is NewEvent
    with pytest.raises(InvalidEvent):
        validate(kind, event.payload)
