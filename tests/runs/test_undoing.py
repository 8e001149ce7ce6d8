"""Which writings of a run the record tells enough of to put them back."""

from types import SimpleNamespace

from blake3 import blake3

from runloop.runs.undoing import LEFT, look, writings

HASH = "a" * 64


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
