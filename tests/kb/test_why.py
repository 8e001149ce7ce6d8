from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.events import KINDS, NewEvent, RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, StateDelta
from runloop.kb.errors import LedgerError
from runloop.kb.evidence import MAX_NAMED, Named, names_in
from runloop.kb.naming import MAX_CANDIDATES, only
from runloop.kb.provenance import Link, Step, summary, walk
from runloop.kb.timeline import Span
from runloop.runs.telling import RunTelling

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
CHILD = "1f8fad5b-d9cb-469f-a165-70867728950e"
AGAIN = "2f8fad5b-d9cb-469f-a165-70867728950e"
HASH = "c" * 64
OPENING = """version: 0
name: letter
params: {topic: y}
nodes:
  - {id: gather, use: agent:gatherer}
  - {id: write, use: agent:writer}
  - {id: send, use: agent:mailer}
edges:
  - {from: gather.out, to: write.context}
  - {from: write.out, to: send.draft}
  - {from: gather.out, to: send.in}
"""

KEYS = ["event_id", "path", "line", "evidence", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**52) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["event_id", "path", "line", "evidence", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)
FIELDS = ["name", "email", "path", "line", "text", "meta", "v", "run_id", "seq", "to", "fact", "spans", "evidence", "sources", "subject"]


def identity(run_id=RUN, parent=None):
    return RunIdentity(run_id, f"trace:{run_id}", "opening:16fd2706-8baf-433b-82eb-8c7fada847da", "letter", parent)


class Recording:
    """Appends the records of one run, as an engine would."""

    def __init__(self, kb, run=None):
        self.kb, self.run, self.seq = kb, run or identity(), 0

    def __call__(self, kind, meta, agent=None):
        self.seq += 1
        event = run_event(self.run, self.seq, kind, meta, kind, agent_id=agent)
        return self.kb.ledger.append([event])[0].id

    def begin(self, **more):
        return self("run.submitted", r.RunStarted("d" * 64, {"topic": "x"}, r.Versions("1"), "local", opening={"source": OPENING}, **more))

    def node(self, name, calls=(), outputs=None, status="ok"):
        self("node.started", r.NodeStarted(name, 1, r.AgentRef(f"{name}er", "1.2", "ab" * 32)))
        asked = []
        for number, (call, klass, args, ended) in enumerate(calls, 1):
            asked.append(self("effect.requested", r.EffectRequested(name, 1, number, call, klass, HASH, args)))
            if ended is not None:
                self("effect.completed", r.EffectEnded(name, 1, number, call, **ended))
        self("node.finished", r.NodeFinished(name, 1, status, outputs))
        return asked


@pytest.fixture
def letter(kb, contact):
    """A note and two people, and a run that wrote to one of them; the ids of what matters."""
    ids = {}
    [maria, zoe, note] = kb.ledger.append(
        [
            contact("Maria Lee", "maria@acme.example"),
            contact("Zoe Ray", "zoe@acme.example"),
            NewEvent(
                "note.imported",
                {
                    "path": "/n/plan.md",
                    "line": 3,
                    "end_line": 8,
                    "text": "The plan.",
                    "file_hash": HASH,
                    "part": 0,
                    "parts": 1,
                    "title": "Plan",
                },
                "user",
            ),
        ]
    )
    ids |= {"maria": maria.id, "zoe": zoe.id, "note": note.id}
    record = Recording(kb)
    record.begin()
    hits = {"hits": [{"event_id": note.id}, {"event_id": zoe.id}]}
    excerpt = {"event_id": note.id, "path": "/n/plan.md", "line": 5}
    record.node("gather", [("kb.search", "read", {"query": "plan"}, {"result": hits})], {"out": [excerpt]})
    answer = {"result": {"text": "Hello", "provider": "p", "model": "m1"}, "tokens_in": 10, "tokens_out": 5, "usd": 0.25}
    [ids["model"]] = record.node("write", [("model.complete", "idempotent", {"prompt": "?"}, answer)], {"out": [{"sources": [excerpt]}]})
    record("node.started", r.NodeStarted("send", 1, r.AgentRef("mailer", "1.2", "ab" * 32)))
    ids["approval"] = record(
        "approval.requested", r.ApprovalRequested("a/1", "To: maria", "send", 1, 1, "mail.outbox", ["maria@acme.example"], reason="it asks")
    )
    record("approval.decided", r.ApprovalEnded("a/1", "approved", "send", 1, 1, "once", r.Decider("operator", 1000), "looks right"))
    asked = record("effect.requested", r.EffectRequested("send", 1, 1, "mail.send", "external", HASH, {"subject": "Plan"}))
    mail = {
        "to": ["maria@acme.example"],
        "subject": "The plan",
        "artifact_id": asked,
        "message_id": "<m1@here>",
        "path": "/out/m.eml",
        "status": "outbox",
        "content_hash": HASH,
    }
    provenance = {"trace_id": f"trace:{RUN}", "agent_id": "agent:mailer"}
    ids["mail"] = kb.ledger.append([NewEvent("email.sent", mail, "agent:mailer", "user", provenance)])[0].id
    record("effect.completed", r.EffectEnded("send", 1, 1, "mail.send"))
    record("node.finished", r.NodeFinished("send", 1, "ok", {"out": [{"message_id": "<m1@here>"}]}))
    ids["file"] = record("artifact.created", r.ArtifactCreated("write", "text", "/a/draft.txt", HASH, "e" * 64, "the draft", bytes=3))
    record("run.finished", r.RunFinished("succeeded", 5, tokens=15, usd=0.25))
    return ids


def explained(kb, key, **limits):
    said = kb.explain(key, RunTelling(kb), **limits)
    return {step["key"]: step for step in said["steps"]}, {(link["from"], link["relation"], link["to"]) for link in said["links"]}, said


def test_a_mail_tells_who_made_it_on_which_text_at_what_cost_and_who_approved_it(kb, letter):
    steps, links, said = explained(kb, f"event:{letter['mail']}")
    summary = said["summary"]
    [made] = summary["made_by"]
    assert (made["agent"], made["version"], made["digest"], made["run_id"], made["node"]) == ("mailer", "1.2", "ab" * 32, RUN, "send")
    [decided] = summary["approved_by"]
    assert (decided["by"], decided["decision"], decided["why"]) == ("operator (uid 1000)", "approved", "looks right")
    [text] = summary["texts"]
    assert (text["path"], text["line"], text["end_line"], text["cited"]) == ("/n/plan.md", 3, 8, ["line 5"])
    assert [person["event"] for person in summary["people"]] == [f"event:{letter['maria']}"]
    assert summary["cost"] == {"model_calls": 1, "cached": 0, "failed": 0, "tokens": 15, "usd": 0.25}
    assert (f"node:{RUN}#write", "asked the model", f"event:{letter['model']}") in links
    assert (f"node:{RUN}#send", "got outputs of", f"node:{RUN}#write") in links
    assert (f"node:{RUN}#send", "got outputs of", f"node:{RUN}#gather") not in links  # its edge only orders
    assert (f"node:{RUN}#gather", "looked at", f"event:{letter['zoe']}") in links
    assert steps[f"event:{letter['model']}"]["facts"]["model"] == "p:m1"
    assert said["left_out"] == 0


def test_addresses_are_masked_in_an_explanation(kb, letter):
    assert "maria@acme" not in str(kb.explain(f"event:{letter['mail']}", RunTelling(kb)))


def test_a_run_shows_its_nodes_and_what_it_left(kb, letter):
    steps, links, _ = explained(kb, f"run:{RUN}")
    assert {to for start, relation, to in links if (start, relation) == (f"run:{RUN}", "ran")} == {
        f"node:{RUN}#{name}" for name in ("gather", "write", "send")
    }
    assert {to for start, relation, to in links if (start, relation) == (f"run:{RUN}", "left")} == {
        f"event:{letter['file']}",
        f"event:{letter['mail']}",
    }
    assert steps[f"run:{RUN}"]["facts"]["usd"] == 0.25


@pytest.mark.parametrize("name", ["maria", "note", "model", "approval", "file", "mail"])
def test_every_event_of_a_run_leads_to_its_part_of_the_graph(kb, letter, name):
    steps, _, said = explained(kb, f"event:{letter[name]}")
    assert said["root"] in steps
    assert not any(step.get("gone") for step in steps.values())


def test_a_question_whether_a_call_happened_is_told_as_one(kb):
    record = Recording(kb)
    record.begin()
    record("node.started", r.NodeStarted("send", 1, r.AgentRef("mailer", "1.2", "ab" * 32)))
    name = f"{RUN}/send/1/1/outcome/1"
    asked = record("approval.requested", r.ApprovalRequested(name, "Did it happen?", "send", 1, 1, "mail.smtp"))
    record("approval.decided", r.ApprovalEnded(name, "it happened", "send", 1, 1, by=r.Decider("operator")))
    steps, _, said = explained(kb, f"event:{asked}")
    assert steps[f"event:{asked}"]["title"] == "whether mail.smtp happened: it happened"
    [told] = said["summary"]["outcomes"]
    assert (said["summary"]["approved_by"], told["action"], told["decision"], told["by"]) == ([], "mail.smtp", "it happened", "operator")


def test_what_a_fork_made_of_another_answer_is_not_said_to_be_the_model_s(kb):
    record = Recording(kb)
    record.begin()
    answer = {"result": {"text": "Hello", "provider": "p", "model": "m1"}, "tokens_in": 10, "tokens_out": 5, "usd": 0.25}
    [asked] = record.node("write", [("model.complete", "idempotent", {"prompt": "?"}, answer)], {"out": ["Hello"]})
    given = {"answers": [{"node": "write", "attempt": 1, "call": 1, "result": {"text": "Bye"}}]}
    for run_id, parent, overrides in ((CHILD, RUN, given), (AGAIN, CHILD, None)):
        fork = Recording(kb, identity(run_id))
        fork.begin(forked_from={"run_id": parent, "seq": 4 if parent == RUN else 2}, overrides=overrides)
        fork("node.finished", r.NodeFinished("write", 1, "ok", {"out": ["Bye"]}))
        links = kb.explain(f"run:{run_id}", RunTelling(kb))["links"]
        notes = {link["from"]: link["note"] for link in links if link["to"] == f"event:{asked}"}
        assert (notes[f"node:{run_id}#write"], notes[f"node:{RUN}#write"]) == ("another answer was given in a fork", None)


def test_a_node_that_a_fork_shares_says_which_run_recorded_it(kb):
    record = Recording(kb)
    record.begin()
    record.node("write", [], {"out": ["Hello"]})
    Recording(kb, identity(CHILD)).begin(forked_from={"run_id": RUN, "seq": 4})
    for run_id, recorded_in in ((RUN, None), (CHILD, RUN)):
        facts = explained(kb, f"node:{run_id}#write")[0][f"node:{run_id}#write"]["facts"]
        assert (facts["run_id"], facts.get("recorded_in")) == (run_id, recorded_in)


def test_what_a_node_cost_at_an_unknown_price_is_not_known(kb):
    record = Recording(kb)
    record.begin()
    answer = {"result": {"text": "Hello", "provider": "p", "model": "m1"}, "tokens_in": 10, "tokens_out": 5}
    record.node("write", [("model.complete", "idempotent", {"prompt": "?"}, answer)], {"out": ["Hello"]})
    facts = explained(kb, f"node:{RUN}#write")[0][f"node:{RUN}#write"]["facts"]
    assert (facts["tokens"], facts.get("usd")) == (15, None)


def test_a_citation_of_what_nobody_has_read_is_said(kb, contact):
    kb.ledger.append([contact()])
    record = Recording(kb)
    record.begin()
    record.node("gather", [], {"out": [{"event_id": 1}, {"event_id": 99}]})
    said = kb.explain(f"node:{RUN}#gather", RunTelling(kb))
    assert {link["to"]: link["note"] for link in said["links"] if link["relation"] == "cites"} == {
        "event:1": "no call of the run returned it",
        "event:99": "no call of the run returned it",
    }
    assert [each["step"] for each in said["summary"]["gone"]] == ["event:99"]


def test_what_an_agent_proposed_leads_to_the_node_that_proposed_it(kb):
    record = Recording(kb)
    record.begin()
    fact = NewEvent("contact.upserted", {"name": "New", "email": "new@x.example"}, "agent:gatherer", "user", {"trace_id": f"trace:{RUN}"})
    made = kb.ledger.append([fact])[0].id
    record.node("gather", [("kb.propose", "idempotent", {"kind": "contact.upserted"}, {"result": {"event_id": made}})], {})
    _, links, _ = explained(kb, f"event:{made}")
    assert (f"event:{made}", "made by", f"node:{RUN}#gather") in links


def test_a_child_run_is_explained_whole_and_leads_back_to_the_node_that_asked_for_it(kb):
    parent, child = Recording(kb), Recording(kb, identity(CHILD, RUN))
    parent.begin()
    parent("node.started", r.NodeStarted("gather", 1, r.AgentRef("opening:letter")))
    child.begin()
    child.node("write", [], {"out": ["x"]})
    child("run.finished", r.RunFinished("succeeded", 1))
    parent("node.finished", r.NodeFinished("gather", 1, "ok", {"out": [{"run_id": CHILD, "status": "succeeded", "outputs": {}}]}))
    _, links, _ = explained(kb, f"node:{RUN}#gather")
    assert (f"node:{RUN}#gather", "started", f"run:{CHILD}") in links
    assert (f"run:{CHILD}", "ran", f"node:{CHILD}#write") in links
    _, links, _ = explained(kb, f"node:{CHILD}#write")
    assert (f"run:{CHILD}", "asked for by", f"node:{RUN}#gather") in links


def test_an_opening_that_cannot_be_read_leaves_open_which_outputs_a_node_got(kb):
    record = Recording(kb)
    record("run.submitted", r.RunStarted("d" * 64, {}, r.Versions("1"), "local"))
    record.node("write", [], {})
    steps, _, _ = explained(kb, f"node:{RUN}#write")
    assert steps[f"node:{RUN}#write"]["facts"]["inputs_from"] == "not known: the opening cannot be read"


def test_what_was_erased_is_named_and_the_rest_is_explained(kb, letter):
    kb.erase([letter["note"]])
    steps, _, said = explained(kb, f"event:{letter['mail']}")
    assert steps[f"event:{letter['note']}"]["gone"] == "its content was erased"
    assert said["summary"]["gone"] == [{"step": f"event:{letter['note']}", "why": "its content was erased"}]
    assert said["summary"]["made_by"][0]["agent"] == "mailer"


def test_an_archived_run_is_explained_from_its_archive_and_named_when_that_is_gone(kb, letter):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.kb.pruning.prune import prune

    before = kb.explain(f"event:{letter['mail']}", RunTelling(kb))
    with kb.at(letter["mail"]) as past:
        assert past.run(RUN) is not None
    prune(kb.ledger, 2**52, key=Ed25519PrivateKey.generate())
    assert kb.ledger.was_pruned(letter["model"])
    steps, _, after = explained(kb, f"event:{letter['mail']}")
    assert after["summary"] == before["summary"]
    assert steps[f"event:{letter['model']}"]["facts"]["model"] == "p:m1"
    archive = steps[f"run:{RUN}"]["facts"]["archive"]
    assert [each.key for each in kb.find(RUN[:8])] == [f"run:{RUN}"]
    with kb.at(letter["mail"]) as past, past.reading() as db:
        assert past.run(RUN) is None
        assert db.execute("SELECT watermark FROM state").get == letter["mail"]  # numbers of events have gaps now
    Path(archive).unlink()
    steps, _, _ = explained(kb, f"run:{RUN}")
    assert steps[f"run:{RUN}"]["gone"] == f"its records were archived in {archive}, which cannot be read"
    steps, _, _ = explained(kb, f"event:{letter['model']}")
    assert steps[f"event:{letter['model']}"]["gone"] == "it was archived with its run"


def test_a_fact_rests_on_what_it_quotes_and_replaces_the_earlier_one(kb, letter):
    said = {"subject": "Maria Lee", "predicate": "plans", "value": "tea", "spans": [{"event_id": letter["note"], "quote": "The plan."}]}
    first = kb.propose(StateDelta("fact.remembered", said, "user")).id
    second = kb.propose(StateDelta("fact.superseded", {"fact": first, "value": "coffee"}, "user")).id
    steps, links, found = explained(kb, f"fact:{second}")
    assert [steps[f"event:{each}"]["title"] for each in (first, second)] == ["Maria Lee plans tea", "Maria Lee plans coffee"]
    assert links == {(f"event:{second}", "replaces", f"event:{first}"), (f"event:{first}", "rests on", f"event:{letter['note']}")}
    assert [link["note"] for link in found["links"]] == [None, "'The plan.'"]
    assert steps[f"event:{first}"]["facts"]["status"] == "superseded"
    assert only(f"fact:{second}", kb.find(f"fact:{second}"), str).key == f"fact:{second}"


def test_what_was_imported_says_where_it_stood_and_what_it_answers(kb):
    mail = {"mailbox": "/m/box", "path": "/m/box", "text": "x"}
    answer = {"message": "2" * 64, "subject": "Re: Plan", "line": 9, "message_id": "b@x", "in_reply_to": "a@x"}
    person = {"name": "Ada", "email": "ada@x.example"}
    commit = {"commit": "ab" * 20, "repository": "/r", "subject": "Begin", "message": "Begin", "author": person, "authored_ms": 1}
    kb.ledger.append(
        [
            NewEvent("message.imported", {**mail, "message": "1" * 64, "subject": "Plan", "line": 1, "message_id": "a@x"}, "user"),
            NewEvent("message.imported", {**mail, **answer, "sender": [person]}, "user"),
            NewEvent("commit.imported", {**commit, "committer": person, "committed_ms": 1}, "user"),
        ]
    )
    steps, links, _ = explained(kb, only("b@x", kb.find("b@x"), str).key)
    assert links == {("event:2", "answers", "event:1")}
    assert (steps["event:2"]["facts"]["line"], steps["event:2"]["facts"]["from"]) == (9, "Ada")
    assert explained(kb, only("abababab", kb.find("abababab"), str).key)[2]["root"] == "event:3"
    for key in ("message:" + "1" * 64, "commit:" + "ab" * 20):
        assert only(key, kb.find(key), str).key == key
        assert kb.entity(key)["properties"]["subject"]


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_events_that_nobody_can_apply_are_explained_and_told_all_the_same(tmp_path_factory, kind, payload):
    with KnowledgeBase.open(tmp_path_factory.getbasetemp() / "poisoned") as kb:
        try:
            number = kb.ledger.append([NewEvent(kind, payload, "user")], check=False)[0].id
        except LedgerError:  # a run record without its number
            return
        assert explained(kb, f"event:{number}")[2]["steps"]
        assert [entry.event_id for entry in kb.timeline(None, Span(limit=1, detail=True))[0]] == [number]


@pytest.mark.parametrize(("kind", "how"), [("fact.superseded", "replaces"), ("fact.forgotten", "ends")])
def test_the_end_of_a_fact_that_never_was_is_told_as_far_as_it_says_itself(kb, contact, kind, how):
    [other] = kb.ledger.append([contact()])
    [end] = kb.ledger.append([NewEvent(kind, {"fact": other.id}, "user")], check=False)
    steps, links, _ = explained(kb, f"event:{end.id}")
    assert (steps[f"event:{end.id}"]["title"], steps[f"event:{end.id}"]["facts"].get("status")) == (kind, None)
    assert (f"event:{end.id}", how, f"event:{other.id}") in links


def test_what_was_imported_names_the_import_that_took_it(kb, tmp_path):
    from runloop.kb.importers.contacts import import_contacts
    from runloop.kb.importers.notes import import_notes

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "plan.md").write_text("A plan.\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.md").write_text("Another.\n")
    (tmp_path / "c.csv").write_text("name,email\nAda,ada@x.example\n")
    for place in ("a", "b"):
        import_notes(kb, tmp_path / place)
    import_contacts(kb, [tmp_path / "c.csv"])
    kinds = {event.id: event.kind for event in kb.ledger.read()}
    assert list(kinds.values()) == ["note.imported", "import.finished"] * 2 + ["contact.upserted", "import.finished"]
    for number in (1, 3, 5):
        assert explained(kb, f"event:{number}")[1] == {(f"event:{number}", "read by", f"event:{number + 1}")}


def test_what_was_imported_with_other_files_names_the_import_that_took_it(kb, tmp_path):
    from runloop.kb.importers.contacts import import_contacts

    (tmp_path / "a.csv").write_text("name,email\nAda,ada@x.example\n")
    (tmp_path / "b.csv").write_text("name,email\nBo,bo@x.example\n")
    import_contacts(kb, [tmp_path / "a.csv", tmp_path / "b.csv"])
    for number in (1, 2):
        assert explained(kb, f"event:{number}")[1] == {(f"event:{number}", "read by", "event:3")}


def test_a_contact_that_was_said_again_leads_to_what_it_replaces(kb, contact):
    kb.ledger.append([contact("Ada"), contact("Grace", "g@x.example"), contact("Ada King")])
    _, links, _ = explained(kb, "event:3")
    assert links == {("event:3", "replaces", "event:1")}


def test_ten_thousand_events_are_cut_and_that_is_said(kb, contact):
    kb.ledger.append([contact(f"C{number}", f"c{number}@x.example") for number in range(1_100)])
    record = Recording(kb)
    record.begin()
    ids = [{"event_id": number} for number in range(1, 10_001)]
    record.node("gather", [("kb.search", "read", {}, {"result": {"hits": ids}})], {"out": ids})
    steps, _, said = explained(kb, f"node:{RUN}#gather", max_steps=200)
    assert len(steps) == 200
    assert said["left_out"] == 1 + MAX_NAMED - 199


GRAPHS = st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4), max_size=9)


@given(GRAPHS, st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=200)
def test_a_walk_ends_shows_nothing_twice_and_counts_what_it_left_out(graph, most, deep):
    def step_of(key, _whole):
        return Step(key, "event", key, links=tuple(Link("x", str(each)) for each in graph.get(int(key), ())))

    found = walk("0", step_of, max_steps=most, max_depth=deep)
    assert next(iter(found.steps)) == "0"
    assert len(found.steps) <= most
    reached, wave = {0}, {0}
    for _ in range(deep):
        wave = {each for start in wave for each in graph.get(start, ())} - reached
        reached |= wave
    assert {int(key) for key in found.steps} <= reached
    if found.left_out == 0:
        assert {int(key) for key in found.steps} == reached
        assert all(each in reached for key in reached for each in graph.get(key, ()))


def test_a_run_that_was_met_in_passing_is_shown_whole_where_something_asks_for_that():
    links = {"a": (Link("in", "run"), Link("got", "b")), "b": (Link("started", "run", whole=True),)}

    def step_of(key, whole):
        return Step(key, "x", key, links=(Link("ran", "c"),) if key == "run" and whole else links.get(key, ()))

    assert list(walk("a", step_of).steps) == ["a", "run", "b", "c"]


def test_what_lies_behind_something_that_was_only_looked_at_is_shown_and_nothing_rests_on_it():
    steps = [
        Step("mail", "mail", "", links=(Link("made by", "node"),)),
        Step("node", "node", "", links=(Link("asked the model", "call"), Link("cites", "note"), Link("looked at", "other mail"))),
        Step("call", "model call", "", facts={"tokens_in": 5, "usd": 1}),
        Step("note", "note", "Tea"),
        Step("other mail", "mail", "", links=(Link("made by", "other node"), Link("decision", "other yes"), Link("sent to", "Ada"))),
        Step("other node", "node", "", links=(Link("asked the model", "other call"), Link("cites", "other note"), Link("cites", "note"))),
        Step("other call", "model call", "", facts={"tokens_in": 700, "usd": 20}),
        Step("other note", "note", "Coffee"),
        Step("other yes", "approval", "", facts={"decision": "approved"}),
        Step("Ada", "contact", "Ada"),
    ]
    found = walk("mail", lambda key, _: next(step for step in steps if step.key == key))
    said = summary(found)

    assert len(found.steps) == len(steps)
    assert (said["cost"]["model_calls"], said["cost"]["tokens"], said["cost"]["usd"]) == (1, 5, 1)
    assert [text["title"] for text in said["texts"]] == ["Tea"]
    assert (said["approved_by"], said["people"]) == ([], [])


def test_what_is_named_exactly_wins_over_what_is_only_alike(kb, letter, contact):
    kb.ledger.append([contact("Last Person", "last@x.example"), contact("Event Three", "e@x.example")])
    assert [each.key for each in kb.find("last")] == [f"run:{RUN}"]
    assert [each.key for each in kb.find("event:3")] == ["event:3"]


@given(JSON)
def test_whatever_an_agent_returns_names_only_events_that_can_be(value):
    assert all(0 < each.event_id < 2**63 and (each.line is None or each.line > 0) for each in names_in(value))


def test_events_are_named_with_their_place():
    value = {"out": [{"event_id": 4, "path": "/a", "line": 2}, {"evidence": [7, True, -1, 2**70]}, {"sources": [1, 2]}]}
    assert names_in(value) == (Named(4, "/a", 2), Named(7))


NAMES = [
    ("maria@acme.example", "contact:"),
    ("Maria Lee", "contact:"),
    ("maria", "contact:"),
    ("/n/plan.md", "note:/n/plan.md"),
    ("/n/plan.md:5", "note:/n/plan.md#0"),
    ("plan.md:8", "note:/n/plan.md#0"),
    ("plan.md", "note:/n/plan.md"),
    ("note:/n/plan.md#0", "note:/n/plan.md#0"),
    ("last", f"run:{RUN}"),
    ("0f8fad5b", f"run:{RUN}"),
    (f"trace:{RUN}", f"run:{RUN}"),
    (f"node:{RUN[:8]}#write", f"node:{RUN}#write"),
    ("event:3", "event:3"),
    ("3", "event:3"),
    ("<m1@here>", "event:{mail}"),
    ("mail:m1@here", "event:{mail}"),
    ("/out/m.eml", "event:{mail}"),
    ("the PLAN", "event:{mail}"),
    ("e" * 64, "artifact:" + "e" * 64),
    ("eeeeeeee", "artifact:" + "e" * 64),
    ("/a/draft.txt", "artifact:" + "e" * 64),
    ("draft.txt", "artifact:" + "e" * 64),
    ("a/1", "event:{decided}"),
    ("approval:a/1", "event:{decided}"),
]


@pytest.mark.parametrize(("text", "key"), NAMES)
def test_an_entity_is_found_however_it_is_called(kb, letter, text, key):
    found = only(text, kb.find(text), str)
    assert found.key.startswith(key.format(**letter, decided=letter["approval"] + 1))


@pytest.mark.parametrize(
    "text", ["", " ", "nobody", "event:99", "event:x", "run:ffff", "node:x", "note:", ":", "'; DROP TABLE notes", "%", "\0", "a" * 5000]
)
def test_what_is_nothing_is_told_with_what_to_try(kb, letter, text):
    with pytest.raises(InvalidInput) as caught:
        only(text, kb.find(text), str)
    assert caught.value.code == "kb.unknown_entity"
    assert "`last`" in caught.value.hint


def test_a_home_that_nobody_has_is_a_name_like_any_other(kb, tmp_path):
    assert kb.find("~nobody-of-that-name/x", tmp_path) == []


def test_in_a_folder_whose_name_is_no_text_nothing_is_known(kb, tmp_path):
    assert kb.find("x", tmp_path / "K\udce4se") == []


def test_what_may_be_several_things_lists_how_to_say_each(kb, contact):
    kb.ledger.append([contact(f"Ada {number}", f"ada{number}@x.example") for number in range(MAX_CANDIDATES + 5)])
    with pytest.raises(InvalidInput) as caught:
        only("ada", kb.find("ada"), str)
    assert caught.value.code == "kb.ambiguous"
    ways = [line.split()[0] for line in caught.value.hint.splitlines()[1:]]
    assert len(ways) == MAX_CANDIDATES
    for way in ways:
        assert only(way, kb.find(way), str).key.startswith(way)


def test_a_file_that_a_run_wrote_is_known_by_its_place_and_by_what_was_written(kb, tmp_path):
    def wrote(path, text):
        return {"result": {"path": str(path), "bytes": len(text), "blake3": blake3(text.encode()).hexdigest(), "previous": None}}

    report, other = tmp_path / "report.md", tmp_path / "other.md"
    record = Recording(kb)
    record.begin()
    written = ((report, "one"), (report, "two"), (other, "three"))
    calls = [("files.write", "external", {"path": str(path)}, wrote(path, text)) for path, text in written]
    ids = record.node("write", [*calls, ("files.write", "external", {"path": str(report)}, None)])
    found = {}
    for text in ("one", "two", "three", "by hand", None):
        report.unlink() if text is None else report.write_text(text)
        [each] = kb.find("report.md", tmp_path)
        found[text] = kb.explain(each.key, RunTelling(kb))["root"], each.note
    changed, gone = "it was written over or changed since", "it is not there any more"
    assert [*found.values()] == [
        (f"event:{ids[0]}", ""), (f"event:{ids[1]}", ""), (f"event:{ids[2]}", ""), (f"event:{ids[1]}", changed), (f"event:{ids[1]}", gone),
    ]  # fmt: skip
    assert [kb.find(text, folder) for text, folder in (("report.md", None), ("none.md", tmp_path), ("run:report.md", tmp_path))] == [[]] * 3


def test_a_file_that_a_run_wrote_where_it_stands_is_no_artifact_of_the_same_content(kb, tmp_path):
    content = b"nothing to report\n"
    own, sha256 = blake3(content).hexdigest(), hashlib.sha256(content).hexdigest()
    record = Recording(kb)
    record.begin()
    record("artifact.created", r.ArtifactCreated("write", "text", "/gone/a.txt", own, sha256, bytes=len(content)))
    report, copy = tmp_path / "report.md", tmp_path / "copy.md"
    for path in (report, copy):
        path.write_bytes(content)
    result = {"result": {"path": str(report), "bytes": len(content), "blake3": own, "previous": None}}
    ids = record.node("write", [("files.write", "external", {"path": str(report)}, result)])
    [here], [elsewhere] = kb.find("report.md", tmp_path), kb.find("copy.md", tmp_path)
    assert (kb.explain(here.key, RunTelling(kb))["root"], here.note) == (f"event:{ids[0]}", "")
    assert elsewhere.key == f"artifact:{sha256}"


def test_a_file_is_known_by_its_content_wherever_it_lies(kb, tmp_path):

    content = b"what the run wrote\n"
    sha256 = hashlib.sha256(content).hexdigest()
    record = Recording(kb)
    record.begin()
    record("artifact.created", r.ArtifactCreated("write", "text", "/gone/a.txt", blake3(content).hexdigest(), sha256, bytes=3))
    (tmp_path / "renamed.txt").write_bytes(content)
    (tmp_path / "other.txt").write_bytes(b"something else")
    assert [each.key for each in kb.find("renamed.txt", tmp_path)] == [f"artifact:{sha256}"]
    assert kb.find("renamed.txt") == []
    assert kb.find("other.txt", tmp_path) == []


def test_an_event_that_never_was_is_told_as_that_and_not_as_archived(kb, letter):
    steps, _, _ = explained(kb, "event:999999")
    assert steps["event:999999"]["gone"] == "it is not in the ledger, and never was"
