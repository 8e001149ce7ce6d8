"""What a run wrote is put back: only where the file still holds it, the newest first, and nothing is lost by it."""

import json
import sqlite3
from contextlib import closing

import pytest
from blake3 import blake3

CODE = """from runloop_agent import agent, files


@agent
def run(topic) -> dict:
    files.write(topic + '/notes.txt', 'first')
    files.write(topic + '/notes.txt', 'second')
    files.write(topic + '/new.txt', 'nothing was here')
    return {'out': 'written'}
"""
OPENING = """version: 0
name: scribe
params: {{topic: {folder}}}
policy: {{approve_in_advance: [files.write]}}
nodes: [{{id: save, use: agent:scribe, with: {{topic: "{{{{params.topic}}}}"}}}}]
edges: []
"""


@pytest.fixture
def wrote(empty_home):
    """A home in which a run wrote over a file and made another one; the folder."""
    folder = empty_home.root / "texts"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(b"mine \xff")
    (folder / "notes.txt").chmod(0o640)
    empty_home.agent("scribe", CODE, f'fs_rw = ["{folder}"]')
    (empty_home.state / "openings" / "scribe.yaml").write_text(OPENING.format(folder=folder))
    done = empty_home.rlp("run", "scribe", "--local", "--yes")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert sorted(path.name for path in folder.iterdir()) == ["new.txt", "notes.txt"]
    return empty_home, folder


def undone(home, *options):
    done = home.rlp("undo", "last", "--json", *options)
    return done.returncode, [(each["path"].rpartition("/")[2], each["state"], each["why"]) for each in json.loads(done.stdout)]


def test_what_a_run_wrote_is_put_back_and_it_is_recorded(wrote):
    home, folder = wrote
    ready = [("new.txt", "ready", ""), ("notes.txt", "ready", ""), ("notes.txt", "ready", "")]
    assert undone(home, "--dry-run") == (0, ready)
    assert (folder / "new.txt").read_text() == "nothing was here"

    assert undone(home, "--yes") == (0, [(name, "put back", "") for name, _, _ in ready])

    (left,) = folder.iterdir()
    assert (left.name, left.read_bytes(), left.stat().st_mode & 0o777) == ("notes.txt", b"mine \xff", 0o640)
    kept = {path.name for path in (home.state / "pog" / "files").rglob("*") if path.is_file()}
    assert {blake3(text).hexdigest() for text in (b"first", b"second", b"nothing was here")} <= kept
    timeline = home.rlp("kb", "timeline", "--table").stdout
    assert ("3 writings of run" in timeline, " put back:" in timeline) == (True, True), timeline
    assert home.rlp("kb", "verify", "--quick").returncode == 0
    assert home.rlp("replay", "last").returncode == 0
    assert undone(home, "--yes") == (0, [(name, "as it was", "") for name, _, _ in ready])
    assert home.rlp("kb", "timeline", "--table").stdout.count("put back") == timeline.count("put back")


def test_no_file_changes_where_that_cannot_be_recorded(wrote):
    home, folder = wrote
    with closing(sqlite3.connect(home.state / "pog" / "events.sqlite")) as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
    refused = home.rlp("undo", "last", "--yes")
    assert refused.returncode != 0
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == [
        ("new.txt", b"nothing was here"),
        ("notes.txt", b"second"),
    ]


def test_what_somebody_changed_since_stays(wrote):
    home, folder = wrote
    (folder / "notes.txt").write_text("second, and my own words")
    (folder / "new.txt").write_text("mine now")
    stays = [("new.txt", "left", "it was changed since"), *[("notes.txt", "left", "it was changed since")] * 2]
    assert undone(home) == (1, stays)
    (folder / "new.txt").write_text("nothing was here")
    code, files = undone(home, "--yes")
    assert (code, files[0], {each[1:] for each in files[1:]}) == (1, ("new.txt", "put back", ""), {("left", "it was changed since")})
    assert (folder / "notes.txt").read_text() == "second, and my own words"


def test_what_is_not_kept_any_more_stays(wrote):
    home, folder = wrote
    for path in (home.state / "pog" / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    code, files = undone(home, "--yes")
    assert (code, files[1]) == (1, ("notes.txt", "left", "what stood there is not kept any more"))
    assert (folder / "notes.txt").read_text() == "second"


def test_nothing_is_put_back_without_a_yes(wrote, terminal):
    home, folder = wrote
    refused = home.rlp("undo", "last", stdin="")
    assert (refused.returncode, "cli.needs_answer" in refused.stderr) == (2, True)
    asked = terminal(home, "undo", "last", "--node", "save")
    asked.expect("Put back 3 writings? Type yes: ")
    assert [line.split("|")[2].strip() for line in asked.shown.splitlines() if ".txt" in line] == ["not there", "5 bytes", "6 bytes"]
    asked.type("no\n")
    assert asked.end() == 0
    assert "nothing was put back" in asked.shown
    assert (folder / "new.txt").exists()
    assert undone(home, "--yes", "--node", "other") == (0, [])
    parsed = terminal(home, "undo", "last", "--json")
    parsed.expect("Put back 3 writings? Type yes: ")
    assert parsed.shown.strip() == "Put back 3 writings? Type yes:"
    parsed.type("no\n")
    assert parsed.end() == 0
    assert [each["state"] for each in json.loads(parsed.shown[parsed.shown.index("[") :])] == ["ready"] * 3
    said = terminal(home, "undo", "last")
    said.expect("Type yes: ")
    said.type("yes\n")
    assert said.end() == 0
    assert not (folder / "new.txt").exists()
