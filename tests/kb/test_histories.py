"""Tables that grew event by event, with restarts, failures and erasures between, equal tables made at once: over events of every kind."""

from __future__ import annotations

from contextlib import suppress
from unittest import mock

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.events import KINDS, NewEvent, RunIdentity, canonical, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, erasing, import_projections, materialise, projections, run_projections, views
from runloop.kb.erasing import Left
from runloop.kb.errors import EraseRefused, SeqTaken

HASH = "c" * 64
RUNS = [
    RunIdentity(
        f"{digit}f8fad5b-d9cb-469f-a165-70867728950e",
        f"trace:{digit}c9e6679-7425-40de-944b-e07fc1f90ae7",
        "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
        "o",
        "af8fad5b-d9cb-469f-a165-70867728950e" if digit == "b" else None,
    )
    for digit in "ab"
]
WITHOUT_PROJECTION = {
    "cap.audit",
    "import.finished",
    "replay.reported",
    "files.putting_back",
    "files.put_back",
    "archive.imported",
    "privileged.read",
    "runs.archived",
    "runs.restored",
    "node.log",
    "events.erased",
}
"""Kinds that change no table of their own here; what a prune takes out has histories of its own in ``tests/kb/pruning``."""
EMPTY = {"node.evicted", "node.rebuilt", "run.clock_set", "divergence.found", "effect.unknown"}  # run records that only count as such

ADDRESS = st.sampled_from(["a@x", "B@x", "c@y"])
WORDS = st.sampled_from(["a", "b c", "x y", "ä z", "漢字"])
EARLIER = st.integers(1, 12)  # an event that may be there, or not yet, or never
DIGEST = st.sampled_from(["1" * 64, "2" * 64])
PATH = st.sampled_from(["/a.md", "/b.md"])
MENTIONS = st.lists(st.fixed_dictionaries({}, optional={"name": WORDS, "email": ADDRESS}), max_size=2)
STAMP = st.just({"by": "person"})


def some(required, **optional):
    return st.fixed_dictionaries(required, optional=optional)


def listed(strategy):
    return st.lists(strategy, max_size=2)


PAYLOADS = {
    "contact.upserted": some(
        {"name": WORDS, "email": ADDRESS},
        org=WORDS,
        nicknames=listed(WORDS),
        phones=listed(WORDS),
        emails=listed(ADDRESS),
        evidence=listed(EARLIER),
    ),
    "account.upserted": some({"service": WORDS, "handle": st.sampled_from("pq")}, contact=ADDRESS, url=WORDS, evidence=listed(EARLIER)),
    "note.imported": some(
        {"path": PATH, "line": st.just(1), "end_line": st.just(2), "text": WORDS | st.just("x" * 17_000), "file_hash": DIGEST}
        | {"part": st.integers(0, 2), "parts": st.just(3)},
        title=WORDS,
    ),
    "note.removed": some({"path": PATH, "reason": st.just("gone")}),
    "artifact.created": some({"kind": WORDS, "path": PATH, "sha256": DIGEST}, summary=WORDS, citations=listed(EARLIER)),
    "email.sent": some({"to": st.lists(ADDRESS, min_size=1, max_size=2), "subject": WORDS, "artifact_id": EARLIER}, cc=listed(ADDRESS)),
    "message.imported": some(
        {"message": DIGEST, "mailbox": PATH, "path": PATH, "subject": WORDS, "text": WORDS},
        message_id=st.sampled_from(["<1>", "<2>"]),
        in_reply_to=st.sampled_from(["<1>", "<2>"]),
        sender=MENTIONS,
        to=MENTIONS,
        sent_ms=st.integers(0, 9),
    ),
    "message.removed": some({"message": DIGEST, "mailbox": PATH, "reason": st.just("gone")}),
    "appointment.imported": some(
        {"appointment": DIGEST, "uid": WORDS, "path": PATH, "line": st.just(1), "summary": WORDS}, attendees=MENTIONS, description=WORDS
    ),
    "appointment.removed": some({"appointment": DIGEST, "path": PATH, "reason": st.just("gone")}),
    "commit.imported": some(
        {
            "commit": st.just("3" * 40),
            "repository": PATH,
            "subject": WORDS,
            "message": WORDS,
            "authored_ms": st.just(1),
            "committed_ms": st.just(2),
        }
        | {"author": some({}, name=WORDS, email=ADDRESS), "committer": some({}, name=WORDS)}
    ),
    "commit.removed": some({"commit": st.just("3" * 40), "repository": PATH, "reason": st.just("gone")}),
    "command.imported": some({"command": DIGEST, "shell": st.just("zsh"), "path": PATH, "line": st.integers(1, 2), "text": WORDS}),
    "fact.remembered": some(
        {"subject": WORDS | ADDRESS, "predicate": WORDS, "value": WORDS, "stamp": STAMP},
        evidence=listed(EARLIER),
        spans=listed(some({"event_id": EARLIER, "quote": WORDS})),
    ),
    "fact.superseded": some({"fact": EARLIER, "value": WORDS, "stamp": STAMP}),
    "fact.forgotten": some({"fact": EARLIER, "stamp": STAMP}),
}
AGENT = some({}, agent=st.sampled_from([r.AgentRef("w"), r.AgentRef("v")]))
MODEL = st.sampled_from([None, {"model": "m", "provider": "p"}, {"model": "m", "x": "y" * 17_000}])
METAS = {
    "run.submitted": st.builds(r.RunStarted, st.just("d"), WORDS.map(lambda text: {"t": text}), st.just(r.Versions("0")), st.just("local")),
    "run.started": st.builds(r.RunStarted, st.just("d"), st.just({}), st.just(r.Versions("0")), st.just("daemon"), owner=st.just("o")),
    "run.waiting": st.builds(r.RunChanged, WORDS),
    "run.paused": st.builds(r.RunChanged, WORDS),
    "run.resumed": st.builds(r.RunChanged, WORDS),
    "run.recovered": st.builds(r.RunChanged, WORDS),
    "run.cancelling": st.builds(r.RunChanged, WORDS),
    "run.finished": st.builds(r.RunFinished, st.sampled_from(["succeeded", "failed"]), st.just(1), usd=st.sampled_from([None, 0.5])),
    "node.ready": st.builds(r.NodeStarted, st.sampled_from("nm"), st.just(1)),
    "node.started": st.builds(r.NodeStarted, st.sampled_from("nm"), st.just(1), st.sampled_from([None, r.AgentRef("w"), r.AgentRef("v")])),
    "node.finished": st.builds(
        r.NodeFinished, st.sampled_from("nm"), st.just(1), st.sampled_from(["ok", "error"]), usd=st.sampled_from([None, 0.5])
    ),
    "effect.requested": st.builds(
        r.EffectRequested, st.sampled_from("nm"), st.just(1), st.integers(1, 2), WORDS, st.just("read"), st.just(HASH)
    ),
    "effect.completed": st.builds(
        r.EffectEnded,
        st.sampled_from("nm"),
        st.just(1),
        st.integers(1, 2),
        result=MODEL,
        tokens_in=st.integers(0, 1),
        usd=st.sampled_from([None, 0.5]),
    ),
    "effect.failed": st.builds(r.EffectEnded, st.sampled_from("nm"), st.just(1), st.integers(1, 2), error=st.just(r.ErrorInfo("c", "m"))),
    "approval.requested": st.builds(r.ApprovalRequested, st.sampled_from("pq"), WORDS, action=WORDS),
    "approval.decided": st.builds(r.ApprovalEnded, st.sampled_from("pq"), st.just("allow")),
    "approval.expired": st.builds(r.ApprovalEnded, st.sampled_from("pq"), st.just("deny")),
    "artifact.created": st.builds(
        r.ArtifactCreated, st.sampled_from("nm"), WORDS, PATH, DIGEST, DIGEST, sources=st.lists(st.builds(r.Source, EARLIER), max_size=2)
    ),
}
SAID = st.one_of(*(st.tuples(st.just(kind), payload) for kind, payload in PAYLOADS.items()))
RECORD = st.one_of(*(st.tuples(st.just(kind), st.integers(0, 1), meta) for kind, meta in METAS.items()))
POISON = st.sampled_from(
    [
        ("contact.upserted", {"name": 5}),
        ("contact.upserted", {"$v": 2}),
        ("email.sent", {"to": ["a@x"], "cc": [5], "subject": "a", "artifact_id": 1}),  # it fails half-way
        ("fact.forgotten", {}),
        ("events.erased", {}),
        ("runs.archived", {"runs": [{}]}),
        ("runs.restored", {"runs": [{}]}),
    ]
)
SORTS = (
    *[SAID.map(lambda each: ("say", each))] * 4,
    *[RECORD.map(lambda each: ("record", each))] * 4,
    POISON.map(lambda each: ("poison", each)),
    *[st.tuples(st.sampled_from(["erase", "vanish"]), st.lists(st.integers(0, 30), min_size=1, max_size=3))] * 2,
    st.sampled_from([("restart", None), ("rebuild", None)]),
)
STEP = st.sampled_from(range(len(SORTS))).flatmap(SORTS.__getitem__)  # one_of would choose among all their kinds alike
STEPS = st.lists(st.tuples(STEP, st.sampled_from([0, 0, 1, 2, 7])), min_size=5, max_size=30)
"""What happens, and in batches of how many events the tables follow then; 0 where they do not."""


def test_the_histories_have_every_kind_that_changes_tables():
    projected = {*projections._PROJECTIONS, *METAS} - WITHOUT_PROJECTION
    assert projected == {*PAYLOADS, *METAS}
    left = {kind.name for kind in KINDS.values() if not kind.live} - {*PAYLOADS, *METAS}
    assert left == (WITHOUT_PROJECTION | EMPTY) & set(KINDS)
    assert set(import_projections.PROJECTIONS) <= set(PAYLOADS)
    assert run_projections.project_run_record is not None


def said(kind, payload):
    """The event; a fact's value goes into its blob, salted with nothing so that examples are the same each time."""
    if kind in {"fact.remembered", "fact.superseded"}:
        blob = canonical({"salt": "", "value": payload["value"]})
        return NewEvent(kind, {**payload, "value": blake3(blob).hexdigest()}, "user", ts_ms=5, blobs=(blob,))
    return NewEvent(kind, payload, "agent:w", ts_ms=5)


def contents(kb):
    """Every derived table and view without numbers that only have to be distinct, and every word of the search index by document."""
    kb.settle()
    with kb.reading() as db:
        found = {}
        for name in (*views.table_names(), *views.view_names()):
            columns = [str(row[1]) for row in db.execute(f"PRAGMA table_info({name})") if (name, row[1]) != ("documents", "id")]
            found[name] = sorted(db.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall(), key=repr)
        db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, instance)")
        sql = "SELECT d.domain, d.key, w.term, w.col, w.offset FROM temp.words w LEFT JOIN documents d ON d.id = w.doc"
        found["words"] = sorted(db.execute(sql).fetchall(), key=repr)
        db.execute("DROP TABLE temp.words")
    return found


class Base:
    """A knowledge base that is driven by steps, and opened anew in between."""

    def __init__(self, root):
        self.root = root
        self.kb = KnowledgeBase.open(root)
        self.seqs = [0, 0]

    def do(self, what, value):
        kb = self.kb
        if what == "say":
            kb.ledger.append([said(*value)], check=False)
        elif what == "poison":
            kb.ledger.append([NewEvent(*value, "user", ts_ms=5)], check=False)
        elif what == "record":
            kind, run, meta = value
            with suppress(SeqTaken):  # the run has ended
                kb.ledger.append([run_event(RUNS[run], self.seqs[run] + 1, kind, meta, "m", ts_ms=5)])
                self.seqs[run] += 1
        elif what == "erase":
            with suppress(EraseRefused):  # a record of a run, or what was erased before
                kb.erase({1 + number % kb.ledger.head().id for number in value} if kb.ledger.head().id else ())
        elif what == "vanish":  # somebody else erases it, and is killed before he made the tables anew
            head = kb.ledger.head().id
            with suppress(EraseRefused):
                erasing.erase(kb.ledger, [Left(event_id) for event_id in sorted({1 + number % head for number in value})] if head else [])
        elif what == "rebuild":
            kb.rebuild()
        else:
            kb.close()
            self.kb = KnowledgeBase.open(self.root)

    def follow(self, batch):
        if batch:
            with mock.patch.object(materialise, "BATCH", batch):
                self.kb.sync()


@given(STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_tables_that_grew_with_the_events_equal_tables_made_at_once(tmp_path_factory, steps):
    base = Base(tmp_path_factory.mktemp("pog"))
    try:
        for step, batch in steps:
            base.do(*step)
            base.follow(batch)
        live = contents(base.kb)
        base.kb.rebuild()
        assert contents(base.kb) == live
        chain = base.kb.verify(quick=True).checks[0]
        assert (chain.name, chain.broken) == ("chain", None)
    finally:
        base.kb.close()


def test_what_is_compared_notices_a_word_in_the_wrong_document(kb, contact, behind):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])
    before = contents(kb)
    behind(kb.root / "pog.sqlite", "UPDATE documents SET key = CASE key WHEN ? THEN ? ELSE ? END", *[before["documents"][0][1], "1", "2"])
    assert contents(kb)["words"] != before["words"]


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_every_generated_payload_can_be_applied(kb, kind):
    from hypothesis import Phase

    @given(PAYLOADS[kind])
    @settings(max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    def applied(payload):
        kb.ledger.append([said(kind, payload)], check=kind not in {"contact.upserted", "email.sent", "account.upserted"})
        assert kb.problems() == []

    applied()
