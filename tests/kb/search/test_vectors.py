from __future__ import annotations

import math
from array import array
from contextlib import closing

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.errors import Unavailable
from runloop.events import NewEvent
from runloop.kb.database import connect
from runloop.kb.search import Request
from runloop.kb.vectors import EmbedderError, HashedEmbedder, Meaning, VectorStore, catch_up, unit
from runloop.kb.vectors.adapters import Plain, SqliteVec, best_index, load_extension
from runloop.kb.vectors.hashed import DIMENSIONS

KINDS = ("notes",)


def note(text, path="/n/a.md", part=0, parts=1, file_hash="a" * 64, ts_ms=None):
    payload = {"path": path, "line": 1, "end_line": 1, "text": text, "file_hash": file_hash, "part": part, "parts": parts}
    return NewEvent("note.imported", payload, "user", "user", {}, ts_ms)


class Letters:
    """An embedder that counts letters: small, and different under another name."""

    floor, weight, max_chars = 0.5, 1.0, 1000

    def __init__(self, name="letters", size=26, batch=2):
        self.identity, self.size, self.batch = name, size, batch
        self.asked, self.broken = [], None

    def embed(self, texts):
        if self.broken:
            raise self.broken
        self.asked += texts
        return [[float(text.lower().count(chr(97 + place % 26))) for place in range(self.size)] for text in texts]


# ── the indexes: one contract ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=[SqliteVec, Plain])
def index(request):
    db = apsw.Connection(":memory:")
    assert load_extension(db)
    made = request.param(db)
    made.create(4)
    return made


A, B, C, ZERO = unit([1, 0, 0, 0]), unit([1, 1, 0, 0]), unit([0, 0, 0, -1]), unit([0, 0, 0, 0])


def test_the_nearest_come_first_with_their_cosine(index):
    index.put([(5, A), (1, B), (9, C), (2, ZERO)])
    assert [number for number, _ in index.nearest(A, 2)] == [5, 1]
    assert dict(index.nearest(A, 10))[5] == pytest.approx(1, abs=1e-5)
    assert dict(index.nearest(A, 10))[1] == pytest.approx(math.sqrt(0.5), abs=1e-5)


def test_equally_near_ones_come_by_number(index):
    index.put([(number, A) for number in (30, 4, 17)])
    assert [number for number, _ in index.nearest(A, 10)] == [4, 17, 30]


def test_only_some_are_looked_at_where_that_is_asked(index):
    index.put([(1, A), (2, B), (3, C)])
    assert [number for number, _ in index.nearest(A, 10, [2, 3, 99])] == [2, 3]
    assert index.nearest(A, 10, []) == []


def test_a_vector_is_replaced_and_removed(index):
    index.put([(1, A), (2, B)])
    index.put([(1, C)])
    assert next(number for number, _ in index.nearest(C, 1)) == 1
    index.remove([1, 7])
    assert [number for number, _ in index.nearest(A, 10)] == [2]


def test_an_index_that_is_dropped_can_be_made_with_another_length(index):
    index.put([(1, A)])
    index.drop()
    index.drop()
    index.create(2)
    index.put([(1, unit([3, 4]))])
    assert index.nearest(unit([3, 4]), 1) == [(1, pytest.approx(1, abs=1e-5))]


FLOATS = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4)


@given(st.lists(FLOATS, min_size=1, max_size=20), FLOATS)
@settings(max_examples=60, deadline=None)
def test_both_indexes_find_the_same(vectors, wanted):
    db, other = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    assert load_extension(db)
    found = []
    for index in (SqliteVec(db), Plain(other)):
        index.create(4)
        index.put(list(enumerate(map(unit, vectors))))
        found.append(dict(index.nearest(unit(wanted), 100)))
    if any(wanted):  # sqlite-vec measures distances, which say nothing about a query of zeros
        length = {number: any(vector) for number, vector in enumerate(vectors)}
        for number, likeness in found[1].items():
            if length[number]:
                assert found[0][number] == pytest.approx(likeness, abs=1e-3)


def test_sqlite_vec_is_taken_and_the_plain_index_where_extensions_are_not_to_be_had(monkeypatch):
    assert best_index(apsw.Connection(":memory:")).name == "sqlite-vec"
    monkeypatch.setitem(__import__("sys").modules, "sqlite_vec", None)
    assert best_index(apsw.Connection(":memory:")).name == "plain"


def test_a_vector_is_brought_to_length_one_and_refused_where_it_is_no_number():
    assert array("f", unit([3, 0, 4])).tolist() == pytest.approx([0.6, 0, 0.8])
    assert array("f", unit([0, 0])).tolist() == [0, 0]
    for bad in (math.inf, math.nan):
        with pytest.raises(EmbedderError) as caught:
            unit([1.0, bad])
        assert caught.value.code == "kb.bad_vector"


# ── catching up ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def embedded(kb, embedder, **more):
    kb.sync()
    progress = catch_up(kb.vectors, Meaning(embedder, KINDS), **more)
    return progress.made, progress.removed


def near(kb, embedder, query):
    found = kb.search_for(Request(query, KINDS), meaning=Meaning(embedder, KINDS))
    return [hit.path for hit in found.hits], found.vectors


@pytest.fixture
def five(kb):
    texts = ["aaa bbb", "bbb ccc", "ccc ddd", "ddd eee", "eee fff"]
    kb.ledger.append([note(text, path=f"/{number}") for number, text in enumerate(texts)])
    return kb


def test_every_document_gets_a_vector_once_the_newest_first(five):
    embedder, seen = Letters(), []
    assert embedded(five, embedder, progress=lambda each: seen.append((each.made, each.embedded, each.documents))) == (5, 0)
    assert seen == [(2, 2, 5), (4, 4, 5), (5, 5, 5)]
    assert embedder.asked[0] == "\neee fff"
    assert embedded(five, embedder) == (0, 0)
    five.ledger.append([note("ggg", path="/new")])
    assert embedded(five, embedder) == (1, 0)


def test_vectors_lie_in_large_pages_and_their_log_is_folded_in_at_the_same_size(tmp_path, five):
    five.sync()
    VectorStore(tmp_path / "new.sqlite", five.root / "pog.sqlite").close()
    assert int.from_bytes((tmp_path / "new.sqlite").read_bytes()[16:18], "big") == 1  # SQLite's way to write 65,536
    with closing(connect(tmp_path / "new.sqlite")) as large, closing(connect(tmp_path / "other.sqlite")) as usual:
        assert large.pragma("page_size") * large.pragma("wal_autocheckpoint") == usual.pragma("page_size") * usual.pragma(
            "wal_autocheckpoint"
        )


def test_how_far_it_is_follows_what_others_do(five):
    five.sync()
    other = VectorStore(five.root / "vectors.sqlite", five.root / "pog.sqlite")
    told = lambda: (other.status(KINDS).embedded, other.status(KINDS).documents)  # noqa: E731
    assert told() == (0, 5)
    embedded(five, Letters(), most=4)
    assert told() == (4, 5)
    five.ledger.append([note("ggg", path="/new")])
    five.sync()
    assert told() == (4, 6)
    embedded(five, Letters())
    assert told() == (6, 6)
    other.close()


def test_it_goes_on_where_it_was_stopped(five):
    embedder = Letters()
    assert embedded(five, embedder, most=3) == (3, 0)
    status = five.vectors.status(KINDS)
    assert (status.documents, status.embedded) == (5, 3)
    assert embedded(five, embedder, stop=lambda: True) == (0, 0)
    assert embedded(five, embedder) == (2, 0)
    assert len(embedder.asked) == 5


def test_what_was_made_before_an_error_is_kept(five):
    embedder = Letters()
    with pytest.raises(Unavailable):
        embedded(five, embedder, progress=lambda _: setattr(embedder, "broken", Unavailable("gone", code="x.gone")))
    embedder.broken = None
    assert embedded(five, embedder) == (3, 0)


def test_documents_with_the_same_text_share_a_vector_and_are_both_found(kb):
    kb.ledger.append([note("zzz", path="/a"), note("zzz", path="/b")])
    embedder = Letters()
    assert embedded(kb, embedder) == (2, 0)
    assert sorted(near(kb, embedder, "zz")[0]) == ["/a", "/b"]


def test_a_document_without_a_word_is_near_to_nothing(kb):
    kb.ledger.append([note("# \n#", path="/empty"), note("planning", path="/plan")])
    embedder = HashedEmbedder()
    assert embedded(kb, embedder) == (2, 0)
    assert near(kb, embedder, "planing")[0] == ["/plan"]
    assert embedded(kb, embedder) == (0, 0)


def test_a_document_that_changed_or_is_gone_loses_its_vector(five):
    embedder = Letters()
    embedded(five, embedder)
    five.ledger.append(
        [note("zzz", path="/0", file_hash="b" * 64), NewEvent("note.removed", {"path": "/1", "reason": "gone"}, "user", "user")]
    )
    assert near(five, embedder, "bb")[0] == []  # at once: the vectors of both are still there, and nobody has their text
    assert embedded(five, embedder) == (1, 2)
    assert near(five, embedder, "zz")[0] == ["/0"]


def test_what_is_erased_leaves_the_vectors_too(five):
    embedder = HashedEmbedder()
    embedded(five, embedder)
    vector = unit(embedder.embed(["\naaa bbb"])[0])
    files = [five.root / "vectors.sqlite", five.root / "vectors.sqlite-wal"]
    assert any(vector in file.read_bytes() for file in files if file.exists())
    five.erase([1])
    assert not any(vector in file.read_bytes() for file in files if file.exists())
    assert five.vectors.status(KINDS, counted=True).embedded == 4  # the others kept theirs, whatever their numbers are now


def test_another_embedder_starts_anew_and_until_then_the_words_decide(five):
    embedded(five, Letters())
    other = Letters("other", size=30)
    paths, vectors = near(five, other, "aaa")
    assert paths == ["/0"]
    assert (vectors.used, vectors.why_not.code) == (False, "kb.other_vectors")
    assert embedded(five, other, most=2) == (2, 0)
    assert five.vectors.status(KINDS).embedder == "other"
    assert embedded(five, other) == (3, 0)


def test_an_embedder_that_does_not_answer_leaves_the_old_vectors(five):
    embedded(five, Letters())
    other = Letters("other")
    other.broken = Unavailable("gone", code="x.gone")
    with pytest.raises(Unavailable):
        embedded(five, other)
    assert five.vectors.status(KINDS, counted=True).embedded == 5


def test_a_model_that_changed_its_length_behind_its_name_starts_anew(five):
    embedded(five, Letters(size=26), most=4)
    assert embedded(five, Letters(size=52)) == (5, 0)
    assert five.vectors.status(KINDS, counted=True).dimensions == 52


@pytest.mark.parametrize("answer", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[], []], [[math.nan], [1.0]]])
def test_an_embedder_that_answers_nonsense_is_refused(five, answer):
    embedder = Letters()
    embedder.embed = lambda texts: answer
    with pytest.raises(EmbedderError) as caught:
        embedded(five, embedder)
    assert caught.value.code == "kb.bad_vector"


def test_a_file_that_is_no_database_is_told_and_the_words_find_something(tmp_path, five):
    five.sync()
    (five.root / "vectors.sqlite").write_bytes(b"no database" * 1000)
    paths, vectors = near(five, Letters(), "aaa")
    assert (paths, vectors.why_not.code) == (["/0"], "ledger.corrupt")
    assert "rlp kb embed" in vectors.why_not.hint


def test_two_that_embed_at_once_make_every_vector_once(five):
    five.sync()
    with_other = VectorStore(five.root / "vectors.sqlite", five.root / "pog.sqlite")
    meaning = Meaning(Letters(), KINDS)
    catch_up(five.vectors, meaning, progress=lambda _: catch_up(with_other, meaning))
    assert five.vectors.status(KINDS, counted=True).embedded == 5
    assert with_other.index.nearest(unit(meaning.embedder.embed(["aaa bbb"])[0]), 10) == five.vectors.index.nearest(
        unit(meaning.embedder.embed(["aaa bbb"])[0]), 10
    )
    with_other.close()


# ── searching ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_and_vectors_are_fused_and_the_parts_say_so(five):
    embedder = Letters()
    embedded(five, embedder)
    found = five.search_for(Request("bbb", KINDS), meaning=Meaning(embedder, KINDS))
    assert {hit.path for hit in found.hits} == {"/0", "/1"}
    for hit in found.hits:
        assert set(hit.parts) == {"text_place", "vectors_place", "stage", "bm25", "likeness", "rrf"}
        assert 0 < hit.score <= 1
    assert (found.vectors.used, found.vectors.embedded, found.vectors.documents) == (True, 5, 5)


@pytest.mark.parametrize("query", ['"ddd"', "ddd*", "ddd AND eee", "ddd -eee", "ddd OR bbb", "d@d.example"])
def test_a_query_that_says_exactly_what_it_wants_gets_no_more_than_that(five, query):
    embedder = Letters()
    embedded(five, embedder)
    assert near(five, embedder, query)[1].used is False


@pytest.mark.parametrize(("weight", "first"), [(0.5, "/all"), (1.0, "/near")])
def test_what_has_all_of_the_words_stays_first_unless_the_vectors_know_of_meaning(kb, weight, first):
    kb.ledger.append([note("aa bb " + "q" * 40, path="/all"), note("aa abab bbb", path="/near")])
    embedder = Letters()
    embedder.weight = weight
    embedded(kb, embedder)
    found = kb.search_for(Request("aa bb", KINDS), meaning=Meaning(embedder, KINDS))
    assert {hit.path: hit.parts["stage"] for hit in found.hits} == {"/all": 0, "/near": 1}
    assert found.hits[0].path == first


def test_times_and_kinds_hold_for_vectors_too(kb):
    kb.ledger.append([note("zzz", path="/old", ts_ms=1000), note("zzz z", path="/new", ts_ms=2000)])
    embedder = Letters()
    embedded(kb, embedder)
    meaning = Meaning(embedder, KINDS)
    assert [hit.path for hit in kb.search_for(Request("zz", since_ms=1500), meaning=meaning).hits] == ["/new"]
    assert [hit.path for hit in kb.search_for(Request("zz", until_ms=1500), meaning=meaning).hits] == ["/old"]
    assert kb.search_for(Request("zz", ("facts",)), meaning=meaning).hits == []


def test_agents_get_the_same_answer_whatever_vectors_there_are(five):
    before = [hit.to_dict() for hit in five.search("bbb")]
    embedded(five, Letters())
    assert [hit.to_dict() for hit in five.search("bbb")] == before


def test_the_floor_of_the_settings_counts(five):
    embedder = Letters()
    embedded(five, embedder)
    found = five.search_for(Request("ab", KINDS), meaning=Meaning(embedder, KINDS, floor=0.99))
    assert [hit.path for hit in found.hits] == ["/0"]


# ── the embedder that needs no model ────────────────────────────────────────────────────────────────────────────────────────

PASSAGES = {
    "launch": "The launch of the product is planned for 12 March, after the marketing campaign has started.",
    "budget": "The budget of the department is forty thousand euros; travelling is paid from another account.",
    "recipe": "Apple cake needs flour, sugar, butter and five apples; bake it for an hour at medium heat.",
    "insurance": "The insurance covers water damage in the cellar, provided that the caretaker was informed.",
    "garden": "Tomatoes want a sunny place, a stick to climb and water in the morning, never on their leaves.",
    "german": "Die Versicherungspolice läuft zum Jahresende aus und verlängert sich ohne Kündigung.",
    "chinese": "第四季度计划的发布日期是12月1日。预算为四万欧元。",
}


ASKED = [
    ("lanch of the prodct", "launch"),
    ("marketting campagne", "launch"),
    ("travel account", "budget"),
    ("departmental bugdet", "budget"),
    ("baking apples", "recipe"),
    ("insured carataker", "insurance"),
    ("tomatos climbing", "garden"),
    ("Versicherung", "german"),
    ("verlaengerung kuendigen", "german"),
    ("季度发布", "chinese"),
]


def test_other_forms_and_misspelt_words_are_found_where_words_alone_miss_some(kb):
    kb.ledger.append([note(text, path=name) for name, text in PASSAGES.items()])
    meaning = Meaning(HashedEmbedder(), KINDS)
    kb.sync()
    catch_up(kb.vectors, meaning)

    def right(with_vectors):
        found = [(kb.search_for(Request(query), meaning=meaning if with_vectors else None).hits, name) for query, name in ASKED]
        return sum(bool(hits) and hits[0].path == name for hits, name in found)

    assert (right(with_vectors=False), right(with_vectors=True)) == (6, 9)


def test_what_has_nothing_in_common_is_not_near(kb):
    kb.ledger.append([note(text, path=name) for name, text in PASSAGES.items()])
    kb.sync()
    catch_up(kb.vectors, meaning := Meaning(HashedEmbedder(), KINDS))
    for query in ("zebra crossing", "quantum", "xylophone concerto"):
        assert kb.search_for(Request(query), meaning=meaning).hits == [], query


def test_the_same_text_gives_the_same_numbers_everywhere():
    [vector] = HashedEmbedder().embed(["The launch, Zoë's 计划."])
    assert len(vector) == DIMENSIONS
    head = [(place, round(value, 4)) for place, value in enumerate(vector) if value][:5]
    assert head == [(6, -0.3), (22, -0.1452), (28, -0.1452), (29, 0.0574), (43, -0.0574)]


def test_a_text_without_words_is_near_to_nothing():
    assert HashedEmbedder().embed(["", " ?! "]) == [[0.0] * DIMENSIONS] * 2


@given(st.text(max_size=200))
def test_every_text_has_a_vector(text):
    assert len(unit(HashedEmbedder().embed([text])[0])) == 4 * DIMENSIONS
