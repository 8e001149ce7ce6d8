"""The order of hits, the cut that keeps frequent words cheap, and every kind of document."""

from __future__ import annotations

import pytest

from runloop.events import NewEvent, outputs_hash, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase
from runloop.kb.search import DOMAINS, Request, ranking

HASH = "0" * 64


def note(text, path="/n/a.md", title=None, ts_ms=None):
    payload = {"path": path, "line": 1, "end_line": 1, "text": text, "file_hash": "a" * 64, "part": 0, "parts": 1}
    return NewEvent("note.imported", {**payload, **({"title": title} if title else {})}, "user", "user", {}, ts_ms)


def paths(kb, query, **more):
    return [hit.path for hit in kb.search_for(Request(query, **more)).hits]


def test_a_word_in_the_title_counts_more_than_in_the_text(kb):
    kb.ledger.append([note("launch of this and that", path="/body"), note("this and that of it", path="/title", title="launch")])
    assert paths(kb, "launch") == ["/title", "/body"]


def test_documents_with_all_of_the_words_come_before_those_with_one_however_often(kb):
    kb.ledger.append(
        [note("launch " * 30, path="/one"), note("launch plan and much else " * 4, path="/both"), note("planning", path="/starts")]
    )
    found = kb.search_for(Request("launch plan")).hits
    assert [(hit.path, hit.parts["stage"]) for hit in found] == [("/both", 0), ("/one", 1), ("/starts", 2)]
    assert [hit.parts["text_place"] for hit in found] == [1, 2, 3]
    assert found[0].score > found[1].score > found[2].score


def test_the_order_is_that_of_bm25_over_everything_up_to_the_cut(kb):
    texts = ["alpha " * (1 + number % 7) + "filler " * (number % 11) for number in range(60)]
    kb.ledger.append([note(text, path=f"/{number}") for number, text in enumerate(texts)])
    whole = paths(kb, "alpha", limit=10)
    with kb.reading() as db:
        sql = "SELECT path FROM search JOIN documents ON id = search.rowid WHERE search MATCH 'alpha' ORDER BY bm25(search, 4.0, 1.0, 0.0), id DESC"  # noqa: E501
        assert whole == [path for (path,) in db.execute(sql).fetchall()][:10]


def test_of_a_word_in_very_many_documents_the_newest_are_ranked(kb, monkeypatch):
    monkeypatch.setattr(ranking, "NEWEST", 5)
    kb.ledger.append([note("common " * 9, path="/old"), *(note(f"common {number}", path=f"/{number}") for number in range(10))])
    assert "/old" not in paths(kb, "common", limit=50)
    assert len(paths(kb, "common", limit=50)) == 5


def test_a_rare_word_is_found_beside_a_common_one_however_old_it_is(kb, monkeypatch):
    monkeypatch.setattr(ranking, "NEWEST", 5)
    kb.ledger.append([note("needle", path="/old"), *(note(f"common {number}", path=f"/{number}") for number in range(10))])
    assert paths(kb, "needle common") == ["/old"]
    assert paths(kb, "needle OR missing") == ["/old"]


@pytest.fixture
def everything(kb, contact, run):
    started = r.RunStarted("d", {"topic": "zebra parameters", "count": 3}, r.Versions("0"), "local")
    outputs = {"out": ["stripes of zebras", {"deep": "savannah"}]}
    kb.ledger.append(
        [
            contact("Zebra Smith", "z@example.com"),
            note("zebra in a note"),
            NewEvent("artifact.created", {"kind": "text", "path": "/zebra.md", "sha256": "e" * 64}, "user"),
            run_event(run, 1, "run.submitted", started, "m"),
            run_event(run, 2, "run.started", started, "m"),
            run_event(run, 3, "node.finished", r.NodeFinished("writer", 1, "ok", outputs, outputs_hash(outputs)), "m"),
            run_event(run, 4, "run.finished", r.RunFinished("failed", 9, HASH, reason="the giraffe left"), "m"),
        ]
    )
    return kb


def kinds(kb, query, **more):
    return sorted(hit.domain for hit in kb.search_for(Request(query, **more)).hits)


def test_every_kind_is_found_and_can_be_asked_for_by_itself(everything):
    assert kinds(everything, "zebra") == ["artifacts", "contacts", "notes", "runs"]
    for kind in DOMAINS:
        assert kinds(everything, "zebra", domains=(kind,)) in ([kind], [])
    assert kinds(everything, "zebra", domains=("notes", "runs")) == ["notes", "runs"]


@pytest.mark.parametrize("query", ["parameters", "stripes", "savannah", "giraffe", "compose email", "compose_email"])
def test_a_run_is_found_by_its_opening_its_parameters_its_outputs_and_its_reason(everything, run, query):
    [hit] = everything.search_for(Request(query, ("runs",))).hits
    assert (hit.key, hit.title, hit.event_id) == (f"run:{run.run_id}", "compose_email", 7)
    assert everything.get(hit.key)["domain"] == "runs"


def test_the_names_of_kinds_are_no_words_of_their_documents(everything):
    assert kinds(everything, "artifacts") == []
    assert kinds(everything, "\ue000artifacts") == []


def test_text_cannot_pretend_to_be_of_another_kind(kb):
    kb.ledger.append([note("\ue000facts forged")])
    assert kinds(kb, "forged", domains=("facts",)) == []
    assert kinds(kb, "forged", domains=("notes",)) == ["notes"]


def test_times_are_those_of_the_documents(kb):
    kb.ledger.append([note("zebra", path=f"/{ts_ms}", ts_ms=ts_ms) for ts_ms in (1000, 2000, 3000)])
    assert paths(kb, "zebra", since_ms=2000) == ["/3000", "/2000"]
    assert paths(kb, "zebra", since_ms=1000, until_ms=3000) == ["/2000", "/1000"]
    assert paths(kb, "zebra", until_ms=1000) == []


@pytest.mark.parametrize("typed", ["lovelcae", "lovlace", "loveelace", "lovelice", "ovelace", "Ada Lovlace", "grce hopper", "hoper"])
def test_a_typing_error_in_a_name_finds_the_person(kb, contact, typed):
    kb.ledger.append(
        [contact("Ada Lovelace", "ada@example.com"), contact("Grace Hopper", "grace@example.com"), contact("Adam Love", "l@x.example")]
    )
    [hit, *_] = kb.search(typed, ["contacts"])
    assert hit.data["name"] in {"Ada Lovelace", "Grace Hopper"}
    assert hit.data["match"] == "fuzzy"


def test_a_contact_that_changed_is_no_longer_found_by_its_old_name(kb, contact):
    kb.ledger.append([contact("Ada Byron", "ada@example.com"), contact("Ada Lovelace", "ada@example.com")])
    assert kb.search("Byron", ["contacts"]) == []
    assert [hit.data["match"] for hit in kb.search("Lovelace", ["contacts"])] == ["words"]


def test_the_same_events_give_the_same_answer_in_a_base_that_was_rebuilt(everything, tmp_path):
    queries = ("zebra", "zebra note", "zeb*", "stripes OR giraffe", "zebra -note")
    before = [[hit.explained() for hit in everything.search_for(Request(query)).hits] for query in queries]
    everything.rebuild()
    assert [[hit.explained() for hit in everything.search_for(Request(query)).hits] for query in queries] == before


def test_what_agents_get_has_the_fields_it_always_had(everything):
    for hit in everything.search("zebra"):
        assert list(hit.to_dict()) == ["domain", "key", "title", "excerpt", "event_id", "path", "line", "score", "data"]


def test_the_plan_of_a_frequent_word_reads_no_more_than_it_ranks(kb):
    kb.ledger.append([note(f"common {number}", path=f"/{number}") for number in range(50)])
    with kb.reading() as db:
        sql = "EXPLAIN QUERY PLAN SELECT rowid FROM search WHERE search MATCH 'common' ORDER BY rowid DESC LIMIT 5"
        steps = [str(row[3]) for row in db.execute(sql)]
    assert steps == [step for step in steps if "TEMP B-TREE" not in step]  # newest first without a sort: the limit ends the reading


def test_readers_can_be_used_from_several_threads(kb, contact):
    from concurrent.futures import ThreadPoolExecutor

    kb.ledger.append([note(f"zebra {number}", path=f"/{number}") for number in range(20)])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: len(kb.search("zebra", limit=50)), range(64)))
    assert found == [20] * 64
    assert isinstance(kb, KnowledgeBase)
