"""What `rlp` prints about what is stored is masked, and the one way to have it otherwise leaves an event."""

from __future__ import annotations

import json
import re

import pytest

from runloop.cli import masking, person
from runloop.cli.showing import RunShown
from runloop.events import NewEvent, RunIdentity, record_of, run_event
from runloop.events.records import EffectEnded, EffectRequested, NodeFinished, NodeText
from runloop.kb import KnowledgeBase
from runloop.policy import Scope
from runloop.runs.operator import ApprovalRequest

ADDRESS = "adalovelace@example.com"
TEXT = f"mail {ADDRESS}, call +49 170 1234567, pay 4111 1111 1111 1111, password=hunter2"
SECRETS = ("adalovelace", "1234567", "4111", "hunter2")
RUN = RunIdentity(
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "trace:7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
    "write",
)
HASH = "a" * 64
_HASH = re.compile(r"[0-9a-f]{64}")  # in which any four digits may stand


@pytest.fixture
def home(home):
    with KnowledgeBase.open(home / "pog") as kb:
        kb.ledger.append([NewEvent("contact.upserted", {"name": f"Ada {TEXT}", "email": ADDRESS}, "user")])
        started = {"opening_digest": "d", "params": {"to": ADDRESS, "text": TEXT}, "versions": {"runloop": "1"}, "mode": "local"}
        node = {"node": "writer", "attempt": 1, "agent": {"name": "writer", "version": "1", "digest": HASH}}
        kb.ledger.append([
            run_event(RUN, 1, "run.submitted", started, "submitted"),
            run_event(RUN, 2, "run.started", started, "started"),
            run_event(RUN, 3, "node.started", {**node, "inputs": {"text": TEXT}}, "writer started"),
            run_event(RUN, 4, "effect.requested", EffectRequested("writer", 1, 0, "kb.search", "read", HASH, {"query": TEXT}), "asked"),
            run_event(RUN, 5, "effect.completed", EffectEnded("writer", 1, 0, result={"hits": [TEXT]}), "answered"),
            run_event(RUN, 6, "node.log", NodeText("writer", TEXT), f"writer: {TEXT}"),
            run_event(RUN, 7, "node.finished", NodeFinished("writer", 1, "ok", {"out": [TEXT]}), "writer finished"),
            run_event(RUN, 8, "run.finished", {"status": "failed", "final_hash": HASH, "ms": 1, "reason": TEXT}, f"failed: {TEXT}"),
        ])  # fmt: skip
    return home


WAYS = [
    ("show", RUN.run_id, "--outputs", "--table"),
    ("show", RUN.run_id, "--json"),
    ("trace", RUN.run_id, "--table"),
    ("trace", RUN.run_id, "--json"),
    ("logs", RUN.run_id, "--level", "debug"),
    ("logs", RUN.run_id, "--level", "debug", "--json"),
    ("attach", RUN.run_id),
    ("attach", RUN.run_id, "--json"),
    ("runs", "--table"),
    ("runs", "--json"),
    ("diff", RUN.run_id, RUN.run_id, "--json"),
    ("why", "event:1", "--format", "tree"),
    ("why", "event:1", "--format", "json"),
    ("why", "event:1", "--format", "dot"),
    ("why", f"run:{RUN.run_id}", "--format", "json"),
    ("kb", "show", "event:1", "--json"),
    ("kb", "show", ADDRESS, "--json"),
    ("kb", "show", ADDRESS, "--table"),
    ("kb", "timeline", "--all", "--json"),
    ("kb", "timeline", "--table"),
    ("kb", "facts", "--all", "--json"),
    ("kb", "poison", "list", "--json"),
    ("search", "Ada", "--json"),
    ("search", "mail", "--table"),
    ("kb", "query", "SELECT * FROM events", "--json"),
    ("kb", "query", "SELECT * FROM contacts", "--table"),
    ("kb", "export"),
    ("kb", "export", "--format", "graphml"),
    ("kb", "export", "--format", "markdown", "--entity", "event:1"),
    ("kb", "export", "--format", "markdown", "--entity", ADDRESS),
    ("kb", "verify", "--json"),
    ("kb", "stats", "--json"),
]


@pytest.mark.parametrize("words", WAYS, ids=" ".join)
def test_no_verb_prints_what_is_to_be_masked(rlp, words):
    code, out, err = rlp(*words)
    assert code in {0, 1, 3}, err
    assert out
    typed = " ".join(words)
    for secret in SECRETS:
        assert secret not in _HASH.sub("", out + err), (typed, secret)


SHOWN = [
    ("show", RUN.run_id, "--json"),
    ("trace", RUN.run_id, "--json"),
    ("logs", RUN.run_id),
    ("search", "Ada", "--json"),
    ("kb", "show", ADDRESS, "--json"),
    ("kb", "query", "SELECT * FROM contacts", "--json"),
    ("kb", "export"),
]


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_what_is_stored_is_shown_only_where_that_is_allowed_and_is_recorded(rlp, words, monkeypatch, home):
    code, out, err = rlp(*words, "--unmasked", "Ada asked what we hold")
    assert (code, out, "redaction.denied" in err) == (4, "", True)
    assert privileged(home) == []

    monkeypatch.setenv("RUNLOOP__SECURITY__REDACTION__ALLOW_UNREDACTED_ADMIN", "true")
    code, out, err = rlp(*words, "--unmasked", "Ada asked what we hold")
    assert code == 0, err
    assert "trace" in words or "adalovelace" in out
    [event] = privileged(home)
    assert (event.payload["reason"], event.payload["what"] in " ".join(words)) == ("Ada asked what we hold", True)
    assert isinstance(event.payload["uid"], int)

    code, _, err = rlp(*words, "--unmasked", " ")
    assert (code, "redaction.no_reason" in err) == (2, True)


def privileged(home):
    with KnowledgeBase.open(home / "pog") as kb:
        return [event for event in kb.ledger.read(limit=100) if event.kind == "privileged.read"]


def test_nothing_is_masked_where_the_settings_say_so(rlp, monkeypatch):
    monkeypatch.setenv("RUNLOOP__SECURITY__REDACTION__ENABLED", "false")
    assert "adalovelace" in rlp("show", RUN.run_id, "--json")[1]
    assert "adalovelace" in rlp("kb", "query", "SELECT email FROM contacts")[1]


def test_rows_and_hits_with_something_to_mask_are_left_out_where_the_settings_say_so(rlp, monkeypatch, home):
    with KnowledgeBase.open(home / "pog") as kb:
        note = {"path": "/n.md", "line": 1, "end_line": 1, "text": "A call about nothing", "file_hash": HASH, "part": 0, "parts": 1}
        kb.ledger.append([NewEvent("note.imported", note, "user")])
    assert len(json.loads(rlp("search", "call", "--json")[1])) > 1
    monkeypatch.setenv("RUNLOOP__SECURITY__REDACTION__DROP_MASKED_ROWS", "true")
    assert [hit["key"] for hit in json.loads(rlp("search", "call", "--json")[1])] == ["note:/n.md#0"]
    assert json.loads(rlp("kb", "query", "SELECT name FROM contacts", "--json")[1])["rows"] == []


def test_one_kind_may_be_left_unmasked(rlp, monkeypatch):
    monkeypatch.setenv("RUNLOOP__SECURITY__REDACTION__EMAIL", "false")
    out = rlp("show", RUN.run_id, "--json")[1]
    assert ("adalovelace" in out, "hunter2" in out) == (True, False)


def test_the_masks_of_every_verb_are_the_same(rlp):
    mask = json.loads(rlp("kb", "query", "SELECT email FROM contacts")[1])["rows"][0]["email"]
    for words in (("show", RUN.run_id, "--json"), ("logs", RUN.run_id), ("search", "Ada", "--json"), ("kb", "export")):
        assert mask in rlp(*words)[1], words


def test_an_approval_shows_the_true_recipient_and_text(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    names = {"opening_name": "write", "node": "mailer", "agent": "mailer", "action": "mail.smtp", "reason": "it leaves the machine"}
    request = ApprovalRequest("a", RUN.run_id, **names, what=TEXT, recipients=(ADDRESS,), scopes=(Scope.ONCE,), taint=frozenset())
    shown = person._approval_text(request)
    assert f"to       {ADDRESS}" in shown
    assert TEXT in shown


def test_a_live_run_and_its_trace_file_are_masked(home, capsys, tmp_path):
    shown = RunShown(None, trace_out=tmp_path / "trace.json")
    with KnowledgeBase.open(home / "pog") as kb:
        records = [record_of(kb.ledger.full(event)) for event in kb.read_run(RUN.run_id)]
    for record in records:
        shown.take(record)

    class Ended:
        record, status, run_id, reason = records[-1], "failed", RUN.run_id, TEXT

    shown.end(Ended())
    out = capsys.readouterr().out + (tmp_path / "trace.json").read_text()
    assert len(out.splitlines()) > len(records)
    for secret in SECRETS:
        assert secret not in out


def test_a_parameter_of_some_megabytes_is_shown_in_short_to_people_and_whole_in_json(home, rlp):
    run = RunIdentity("1f8fad5b-d9cb-469f-a165-70867728950e", RUN.trace_id, RUN.opening_id, "big")
    params = {"text": "word " * 200_000}
    with KnowledgeBase.open(home / "pog") as kb:
        started = {"opening_digest": "d", "params": params, "versions": {"runloop": "1"}, "mode": "local"}
        kb.ledger.append([run_event(run, 1, "run.submitted", started, "submitted")])
    line = next(line for line in rlp("show", run.run_id, "--table")[1].splitlines() if line.startswith("param    text = "))
    assert (line.startswith('param    text = "word word'), len(line) < 1200) == (True, True)
    assert line.endswith("… (1,000,002 characters; --json shows them all)")
    assert json.loads(rlp("show", run.run_id, "--json")[1])["params"] == params


@pytest.mark.parametrize(("flags", "expected"), [((), 0), (("--include-control",), 1)])
def test_a_trace_masks_what_agents_said_only_where_it_tells_of_it(home, rlp, monkeypatch, flags, expected):
    seen = []
    monkeypatch.setattr(masking, "masked", lambda record: seen.append(record["kind"]) or record)
    assert rlp("trace", RUN.run_id, "--json", *flags)[0] == 0
    assert seen.count("node.log") == expected
