"""Which writings of a run the record tells enough of to put them back."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from blake3 import blake3

from runloop.effects.perform.storage import FileBlobs
from runloop.runs.undoing import AS_IT_WAS, LEFT, PUT_BACK, READY, Writing, event_of, look, put_back, writings

HASH = "a" * 64


def digest(text):
    return blake3(text.encode()).hexdigest()


def event(number, kind, call=1, **meta):
    return SimpleNamespace(id=number, kind=kind, payload={"meta": {"node": "save", "attempt": 1, "call": call, **meta}})


class Source:
    """Runs by id, and the runs that they started."""

    def __init__(self, runs, below=None):
        self.runs, self.below = runs, below or {}

    def read_run(self, run_id):
        return iter(self.runs[run_id])

    def children(self, run_id):
        return self.below.get(run_id, [])

    def full(self, stored):
        return stored


def asked(number, call=1):
    return event(number, "effect.requested", call, name="files.write")


def answered(number, path, previous=None, call=1):
    return event(number, "effect.completed", call, result={"path": path, "bytes": 1, "blake3": HASH, "previous": previous})


def test_the_writings_of_child_runs_are_among_them_the_newest_first():
    runs = {
        "a": [
            asked(1),
            answered(2, "/one", HASH),
            event(3, "effect.requested", 2, name="http.fetch"),
            event(4, "effect.completed", 2, result={"status": 200}),
        ],
        "b": [asked(5), answered(6, "/two", HASH)],
        "c": [asked(3), event(4, "effect.failed", error={})],
    }
    found = writings(Source(runs, {"a": ["b"], "b": ["c"]}), "a")
    assert [(each.run_id, each.path, each.sure) for each in found] == [("b", "/two", True), ("a", "/one", True)]


def test_where_the_process_ended_in_a_writing_the_record_does_not_tell_what_stood_there(tmp_path):
    again = event(3, "run.recovered")
    cut = [asked(1), again, answered(4, "/cut")]
    whole = [asked(1), answered(2, "/whole"), again, asked(5, 2), answered(6, "/after", call=2)]
    found = writings(Source({"a": cut, "b": whole}, {"a": ["b"]}), "a")
    assert {each.path: each.sure for each in found} == {"/cut": False, "/whole": True, "/after": True}

    (tmp_path / "cut").write_text("x")
    (only,) = [each for each in found if each.path == "/cut"]
    only.path, only.written = str(tmp_path / "cut"), blake3(b"x").hexdigest()
    look([only], None)
    assert (only.state, "the record does not tell" in only.why) == (LEFT, True)


@pytest.fixture
def folder(tmp_path):
    """A run that wrote ``one``, then ``two`` over it, and ``new`` where nothing was; what it found is kept."""
    blobs = FileBlobs(tmp_path / "blobs")
    blobs.put(b"before"), blobs.put(b"one")
    (tmp_path / "kept").write_text("two")
    (tmp_path / "new").write_text("new")
    found = [
        Writing("r", "a", 3, str(tmp_path / "new"), digest("new"), None, sure=True),
        Writing("r", "a", 2, str(tmp_path / "kept"), digest("two"), digest("one"), sure=True),
        Writing("r", "a", 1, str(tmp_path / "kept"), digest("one"), digest("before"), sure=True),
    ]
    return tmp_path, blobs, found


def test_what_stood_there_before_the_first_writing_is_put_back(folder):
    place, blobs, found = folder
    look(found, blobs)
    assert [(each.state, each.previous_bytes) for each in found] == [(READY, None), (READY, 3), (READY, 6)]
    ready = event_of("r", found, READY)
    put_back(found, blobs)
    assert ((place / "new").exists(), (place / "kept").read_text(), {each.state for each in found}) == (False, "before", {PUT_BACK})
    assert event_of("r", found, PUT_BACK).payload["files"] == ready.payload["files"]
    assert event_of("r", found, LEFT) is None
    assert [("previous" in each) for each in ready.payload["files"]] == [False, True, True]
    look(found := [replace(each, state=READY) for each in found], blobs)
    assert {each.state for each in found} == {AS_IT_WAS}


def test_a_file_that_somebody_removed_is_not_written_anew(folder):
    place, blobs, found = folder
    for name in ("kept", "new"):
        (place / name).unlink()
    found[0].sure = False
    look(found, blobs)
    put_back(found, blobs)
    assert {(each.state, each.why) for each in found} == {(LEFT, "it is not there any more")}
    assert not (place / "kept").exists()


def test_what_is_changed_after_it_was_looked_at_stays(folder):
    place, blobs, found = folder
    look(found, blobs)
    (place / "kept").write_text("mine")
    (place / "new").unlink()
    put_back(found, blobs)
    assert {(each.state, each.why) for each in found} == {(LEFT, "it was changed since")}
    assert ((place / "kept").read_text(), (place / "new").exists()) == ("mine", False)


def test_what_is_kept_under_a_digest_and_is_something_else_is_not_put_back(folder):
    place, blobs, found = folder
    blobs.path(digest("one")).write_bytes(b"other")
    look(found, blobs)
    assert [(each.state, each.previous_bytes) for each in found[1:]] == [(LEFT, None), (LEFT, 6)]
    assert [each.why for each in found[1:]] == ["what stood there is not kept any more", "it was changed since"]
    put_back(found, blobs)
    assert (place / "kept").read_text() == "two"


def test_a_file_that_cannot_be_read_stays_and_says_why(folder):
    place, blobs, found = folder
    (place / "kept").unlink()
    (place / "kept").mkdir()
    look(found, blobs)
    assert [each.state for each in found] == [READY, LEFT, LEFT]
    assert {each.why.partition(":")[0] for each in found[1:]} == {"it cannot be read"}


def test_a_file_whose_path_the_record_lost_is_left_and_nobody_says_that_it_is_as_it_was(folder, monkeypatch):
    place, blobs, found = folder
    monkeypatch.chdir(place)
    lost = [replace(each, path="[erased]") for each in found]
    look(lost, blobs)
    put_back(lost, blobs)
    assert {(each.state, each.why) for each in lost} == {(LEFT, "its path was erased from the record")}
