"""files.*: text under granted roots; no link, special file or race leads elsewhere; a writing can be undone."""

import os
import socket
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from runloop.effects.perform import files_write
from runloop.effects.perform.files import FilesList, FilesRead, decode_text
from runloop.effects.perform.files_write import FilesWrite
from runloop.effects.perform.paths import PathRules, directory, regular_file
from runloop.effects.perform.storage import FileBlobs, write_new
from runloop.effects.types import CallError, CallErrorKind, EffectClass
from runloop.policy import Capabilities
from runloop.policy.paths import PathGrants


def fs(*roots, write=False):
    return Capabilities(fs=PathGrants.of((str(root), write) for root in roots)).also_at(os.path.realpath)


def open_files():
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


@pytest.fixture
def root(tmp_path):
    inside = tmp_path / "root"
    inside.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    return inside


@pytest.fixture
def read():
    return FilesRead(PathRules())


@pytest.fixture
def write(tmp_path):
    return FilesWrite(PathRules(), FileBlobs(tmp_path / "blobs"))


async def test_a_text_file_is_read_with_its_hash_and_label(read, root, make_ctx, crossing):
    (root / "a.txt").write_text("grüß")
    outcome = await crossing(read, {"path": f"{root}/a.txt"}, make_ctx(fs(root)))

    digest = blake3("grüß".encode()).hexdigest()
    assert outcome.result == {
        "text": "grüß", "path": f"{root}/a.txt", "bytes": 6, "blake3": digest, "truncated": False, "offset": 0, "size": 6,
    }  # fmt: skip
    assert outcome.taint == {f"file:{root}/a.txt"}


@pytest.mark.parametrize(("limit", "text"), [(1, "g"), (3, "gr"), (4, "grü"), (6, "grüß")])
async def test_a_cut_is_said_and_never_breaks_a_character(limit, text, read, root, make_ctx, crossing):
    (root / "a.txt").write_text("grüß")
    result = (await crossing(read, {"path": f"{root}/a.txt", "max_bytes": limit}, make_ctx(fs(root)))).result

    assert (result["text"], result["truncated"]) == (text, limit < 6)
    assert (result["bytes"], result["blake3"]) == (len(text.encode()), blake3(text.encode()).hexdigest()), "they are those of the text"


@pytest.mark.parametrize(
    ("offset", "text", "begins"),
    [
        (0, "grüß\n", 0),
        (1, "rüß\n", 1),
        (3, "ß\n", 4),
        (-1, "\n", 6),
        (-2, "\n", 6),
        (-3, "ß\n", 4),
        (-99, "grüß\n", 0),
        (7, "", 7),
        (2**53 - 1, "", 2**53 - 1),
    ],
)
async def test_a_file_is_read_from_an_offset_or_so_far_before_its_end(offset, text, begins, read, root, make_ctx, crossing):
    (root / "a.txt").write_text("grüß\n")
    result = (await crossing(read, {"path": f"{root}/a.txt", "offset": offset}, make_ctx(fs(root)))).result

    assert (result["text"], result["offset"], result["size"], result["truncated"]) == (text, begins, 7, False)


async def test_parts_that_are_read_one_after_the_other_are_the_file(read, root, make_ctx, crossing):
    text = "ab日本語ü\n" * 9
    (root / "a.txt").write_text(text)
    parts, at = "", 0
    for _ in range(len(text)):
        part = (await crossing(read, {"path": f"{root}/a.txt", "offset": at, "max_bytes": 7}, make_ctx(fs(root)))).result
        parts, at = parts + part["text"], part["offset"] + part["bytes"]
        if not part["truncated"]:
            break

    assert (parts, at) == (text, len(text.encode()))


async def test_a_character_that_a_writer_has_not_finished_is_left_for_the_next_reading_of_a_log(read, root, make_ctx, crossing, refusal):
    log, whole = root / "a.log", "日".encode()
    log.write_bytes(b"a line\n" + whole[:2])
    ctx, path = make_ctx(fs(root)), str(log)
    first = (await crossing(read, {"path": path, "offset": 0}, ctx)).result
    nothing = (await crossing(read, {"path": path, "offset": 7}, ctx)).result
    log.write_bytes(b"a line\n" + whole)
    rest = (await crossing(read, {"path": path, "offset": 7}, ctx)).result

    assert [(part["text"], part["truncated"], part["size"]) for part in (first, nothing, rest)] == [
        ("a line\n", False, 9), ("", False, 9), ("日", False, 10),
    ]  # fmt: skip
    log.write_bytes(b"a line\n" + whole[:2])
    assert (await refusal(read, {"path": path}, ctx)).code == "files.not_text", "a file that is read as one is no text then"


async def test_bytes_that_are_no_text_behind_an_offset_are_named_by_their_place_in_the_file(read, root, make_ctx, refusal):
    (root / "a.bin").write_bytes(b"ok\nno\xff.")
    error = await refusal(read, {"path": f"{root}/a.bin", "offset": -3}, make_ctx(fs(root)))

    assert "byte 5 (0xff)" in error.message
    assert error.where.line is None, "lines before the offset were not counted"


async def test_bytes_that_are_no_text_are_named_with_their_line(read, root, make_ctx, refusal):
    (root / "a.bin").write_bytes(b"ok\nno\xff")
    error = await refusal(read, {"path": f"{root}/a.bin"}, make_ctx(fs(root)))

    assert (error.kind, error.code, error.where.line) == (CallErrorKind.INVALID, "files.not_text", 2)
    assert error.taint, "it names a byte of the file"
    assert "byte 5 (0xff)" in error.message


@pytest.mark.parametrize("path", ["{tmp}/outside.txt", "{root}/../outside.txt", "relative.txt", "/etc/passwd", "{root}2/x", "{root}/a\0b"])
async def test_what_is_not_under_a_root_is_refused(path, read, root, tmp_path, make_ctx, refusal):
    error = await refusal(read, {"path": path.format(root=root, tmp=tmp_path)}, make_ctx(fs(root)))

    assert error.kind is CallErrorKind.DENIED
    assert error.code in {"denied.fs.access.path_not_permitted", "denied.fs.access.path_invalid"}


async def test_a_link_that_leads_out_is_denied(read, root, tmp_path, make_ctx, refusal):
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "up").symlink_to(tmp_path)
    for path in ("link.txt", "up/outside.txt"):
        error = await refusal(read, {"path": f"{root}/{path}"}, make_ctx(fs(root)))
        assert error.code == "denied.fs.access.path_not_permitted"


async def test_a_link_that_stays_inside_is_followed(read, root, make_ctx, crossing):
    (root / "a.txt").write_text("A")
    (root / "link").symlink_to("a.txt")
    outcome = await crossing(read, {"path": f"{root}/link"}, make_ctx(fs(root)))

    assert outcome.result["text"] == "A"


async def test_a_root_that_is_itself_a_link_works(read, root, tmp_path, make_ctx, crossing):
    (root / "a.txt").write_text("A")
    (tmp_path / "alias").symlink_to(root)
    outcome = await crossing(read, {"path": f"{tmp_path}/alias/a.txt"}, make_ctx(fs(tmp_path / "alias")))

    assert outcome.result["text"] == "A"


async def test_a_link_put_in_after_the_preparation_is_denied(read, root, tmp_path, make_ctx):
    (root / "a.txt").write_text("A")
    ctx = make_ctx(fs(root))
    prepared = read.prepare({"path": f"{root}/a.txt"}, ctx)
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(tmp_path / "outside.txt")
    with pytest.raises(CallError) as caught:
        await read.perform(prepared, ctx)

    assert caught.value.kind == CallErrorKind.DENIED


def test_a_resolved_path_is_opened_without_following_any_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    (root / "a.txt").write_text("A")
    (root / "link").symlink_to("a.txt")
    for path in (tmp_path / "alias" / "a.txt", root / "link"):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"), regular_file(str(path)):
            pass
    with pytest.raises(OSError, match="Not a directory"), directory(str(tmp_path / "alias")):
        pass


async def test_special_files_and_directories_are_never_opened(read, root, make_ctx, refusal, monkeypatch):
    os.mkfifo(root / "pipe")
    (root / "dir").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(root)  # a socket's path may not be long
    listener.bind("sock")
    try:
        for name in ("pipe", "dir", "sock"):
            error = await refusal(read, {"path": f"{root}/{name}"}, make_ctx(fs(root)))
            assert (error.kind, error.code) == (CallErrorKind.INVALID, "files.not_a_file")
    finally:
        listener.close()


async def test_a_listing_tells_links_and_what_is_neither_file_nor_directory(root, make_ctx, crossing):
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("nowhere")
    outcome = await crossing(FilesList(PathRules()), {"path": str(root)}, make_ctx(fs(root)))

    assert {entry["path"].rpartition("/")[2]: entry["kind"] for entry in outcome.result["entries"]} == {"pipe": "other", "link": "link"}


async def test_a_device_is_refused(read, make_ctx, refusal):
    error = await refusal(read, {"path": "/dev/zero"}, make_ctx(fs("/dev")))

    assert error.code == "files.not_a_file"


async def test_a_file_that_is_not_there_is_the_callers_error(read, root, make_ctx, refusal):
    error = await refusal(read, {"path": f"{root}/none.txt"}, make_ctx(fs(root)))

    assert (error.kind, error.code, error.where.key) == (CallErrorKind.INVALID, "files.not_found", "path")


async def test_a_home_path_is_expanded(root, make_ctx, crossing):
    (root / "a.txt").write_text("A")
    outcome = await crossing(FilesRead(PathRules(home=root)), {"path": "~/a.txt"}, make_ctx(fs(root)))

    assert outcome.result["path"] == f"{root}/a.txt"


async def test_what_belongs_to_runloop_is_never_granted(root, make_ctx, refusal):
    (root / "state").mkdir()
    (root / "state" / "token").write_text("T")
    error = await refusal(FilesRead(PathRules(protected=(f"{root}/state",))), {"path": f"{root}/state/token"}, make_ctx(fs(root)))

    assert error.code == "denied.fs.access.path_protected"


@pytest.mark.parametrize("link", ["token", "state"])
async def test_no_link_leads_to_what_belongs_to_runloop(link, root, tmp_path, make_ctx, refusal):
    (root / "state").mkdir()
    (root / "state" / "token").write_text("T")
    (root / "link").symlink_to(root / "state" / "token" if link == "token" else root / "state")
    path = f"{root}/link" if link == "token" else f"{root}/link/token"
    rules, ctx = PathRules(protected=(f"{root}/state",)), make_ctx(fs(root, write=True))
    read = await refusal(FilesRead(rules), {"path": path}, ctx)
    write = await refusal(FilesWrite(rules, FileBlobs(tmp_path / "blobs")), {"path": path, "text": "mine"}, ctx)

    assert (read.code, write.code) == ("denied.fs.access.path_protected",) * 2
    assert (root / "state" / "token").read_text() == "T"


async def test_a_directory_is_listed_by_name_and_links_are_not_entered(root, tmp_path, make_ctx, crossing):
    (root / "b.md").write_text("bb")
    (root / "a.txt").write_text("a")
    (root / "sub").mkdir()
    (root / "out").symlink_to(tmp_path)
    os.utime(root / "a.txt", ns=(0, 1_500_000_000))
    outcome = await crossing(FilesList(PathRules()), {"path": str(root)}, make_ctx(fs(root)))

    entries = outcome.result["entries"]
    assert [(Path(entry["path"]).name, entry["kind"]) for entry in entries] == [
        ("a.txt", "file"),
        ("b.md", "file"),
        ("out", "link"),
        ("sub", "directory"),
    ]
    assert entries[0] == {"path": f"{root}/a.txt", "kind": "file", "bytes": 1, "mtime_ms": 1500}
    assert outcome.result["truncated"] is False


async def test_a_listing_can_be_narrowed_and_cut(root, make_ctx, crossing):
    for name in ("a.md", "b.md", "c.md", "d.txt"):
        (root / name).touch()
    listing = FilesList(PathRules())
    cut = (await crossing(listing, {"path": str(root), "glob": "*.md", "limit": 2}, make_ctx(fs(root)))).result
    whole = (await crossing(listing, {"path": str(root), "glob": "*.md", "limit": 3}, make_ctx(fs(root)))).result

    assert ([Path(entry["path"]).name for entry in cut["entries"]], cut["truncated"]) == (["a.md", "b.md"], True)
    assert (len(whole["entries"]), whole["truncated"]) == (3, False)


async def test_a_pattern_that_no_name_can_match_is_refused(root, make_ctx, crossing):
    with pytest.raises(CallError) as refused:
        await crossing(FilesList(PathRules()), {"path": str(root), "glob": "**/*.md"}, make_ctx(fs(root)))

    assert (refused.value.code, refused.value.where.key) == ("files.glob", "glob")


async def test_names_that_are_no_text_are_left_out(root, make_ctx, crossing):
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.txt")).touch()
    outcome = await crossing(FilesList(PathRules()), {"path": str(root)}, make_ctx(fs(root)))

    assert outcome.result["entries"] == []


async def test_a_new_file_is_written_whole_and_only_for_its_owner(write, root, make_ctx, crossing):
    ctx = make_ctx(fs(root, write=True))
    prepared = write.prepare({"path": f"{root}/new.txt", "text": "hällo"}, ctx)
    outcome = await write.perform(prepared, ctx)

    assert (prepared.action, prepared.klass) == ("files.write", EffectClass.EXTERNAL)
    assert (prepared.external, prepared.reversible) == (True, True)
    assert prepared.what == f"write {root}/new.txt (6 bytes, a new file)\n\nhällo"
    digest = blake3("hällo".encode()).hexdigest()
    assert outcome.result == {"path": f"{root}/new.txt", "bytes": 6, "blake3": digest, "previous": None}
    assert (root / "new.txt").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in root.iterdir()] == ["new.txt"]


@pytest.mark.parametrize("name", ["n" * 255, "字" * 85, "😀" * 63], ids=["n", "han", "beyond-the-bmp"])
async def test_a_name_may_be_as_long_as_the_system_lets_it_be(name, write, root, make_ctx, crossing):
    await crossing(write, {"path": f"{root}/{name}", "text": "hello"}, make_ctx(fs(root, write=True)))

    assert (root / name).read_text() == "hello"
    assert write_new(root / "beside" / name, b"kept")
    assert [path.name for path in (root / "beside").iterdir()] == [name]


async def test_a_line_break_in_a_name_does_not_look_like_the_end_of_the_name(write, root, make_ctx):
    prepared = write.prepare({"path": f"{root}/a (1 bytes, a new file)\n\nb", "text": "t"}, make_ctx(fs(root, write=True)))
    assert prepared.what == f"write {root}/a (1 bytes, a new file)\\n\\nb (1 bytes, a new file)\n\nt"


async def test_the_previous_content_is_kept_so_that_the_writing_can_be_undone(write, root, tmp_path, make_ctx, crossing):
    ctx = make_ctx(fs(root, write=True))
    (root / "a.txt").write_bytes(b"before\xff")
    (root / "a.txt").chmod(0o640)
    prepared = write.prepare({"path": f"{root}/a.txt", "text": "after"}, ctx)
    outcome = await write.perform(prepared, ctx)

    kept = FileBlobs(tmp_path / "blobs").path(outcome.result["previous"])
    assert (root / "a.txt").read_text() == "after"
    assert kept.read_bytes() == b"before\xff"
    assert (root / "a.txt").stat().st_mode & 0o777 == 0o640
    assert prepared.what == f"write {root}/a.txt (5 bytes, replacing 7 bytes, blake3:{blake3(kept.read_bytes()).hexdigest()[:32]})\n\nafter"


async def test_what_was_written_outlives_a_loss_of_power_and_nothing_stays_open(write, root, make_ctx, crossing, durable, monkeypatch):
    (root / "a.txt").write_text("old")
    synced, fsync, before = [], os.fsync, open_files()

    def noted(handle):
        place = Path(f"/proc/self/fd/{handle}")
        if place.is_file():
            synced.append((place.read_text(), (root / "a.txt").read_text()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    await crossing(write, {"path": f"{root}/a.txt", "text": "new"}, make_ctx(fs(root, write=True)))
    assert (("new", "old") in synced, durable(root), open_files()) == (True, {"a.txt"}, before)
    files_write.remove_file(f"{root}/a.txt")
    assert (durable(root), open_files()) == (set(), before)


async def test_a_file_that_changed_after_it_was_shown_is_not_overwritten(write, root, make_ctx):
    ctx = make_ctx(fs(root, write=True))
    (root / "a.txt").write_text("shown")
    prepared = write.prepare({"path": f"{root}/a.txt", "text": "mine"}, ctx)
    (root / "a.txt").write_text("theirs")
    with pytest.raises(CallError) as caught:
        await write.perform(prepared, ctx)

    assert (caught.value.code, caught.value.where.key) == ("files.changed", "path")
    assert (root / "a.txt").read_text() == "theirs"


async def test_a_yes_to_one_content_is_none_to_another_of_the_same_size_when_it_is_prepared_anew(write, root, make_ctx):
    ctx = make_ctx(fs(root, write=True))
    shown = []
    for content in ("shown", "edits", "shown"):
        (root / "a.txt").write_text(content)
        shown.append(write.prepare({"path": f"{root}/a.txt", "text": "mine"}, ctx).what)

    assert (shown[0] == shown[2], shown[0] == shown[1]) == (True, False)


async def test_a_new_file_is_not_put_where_a_link_leads_since_it_was_shown(write, root, make_ctx):
    ctx = make_ctx(fs(root, write=True))
    for name in ("shown", "other"):
        (root / name).mkdir()
    (root / "link").symlink_to("shown")
    prepared = write.prepare({"path": f"{root}/link/new.txt", "text": "mine"}, ctx)
    (root / "link").unlink()
    (root / "link").symlink_to("other")
    with pytest.raises(CallError) as caught:
        await write.perform(prepared, ctx)

    assert (caught.value.code, list((root / "other").iterdir())) == ("files.changed", [])


async def test_what_became_of_a_writing_that_a_crash_cut_off_is_seen_at_its_place(write, root, make_ctx):
    place = root / "a.txt"
    caps = fs(root, write=True)
    prepared = write.prepare({"path": str(place), "text": "mine"}, make_ctx(caps))

    async def look(text, asked_ms):
        if text is not None:
            place.write_text(text)
        return await write.evidence(prepared, make_ctx(caps, asked_ms=asked_ms))

    before_ms, after_ms = 1_700_000_000_000, 9_000_000_000_000  # it is asked for before, and after, what this test does
    assert (await look(None, before_ms)).happened is False
    done = await look("mine", before_ms)
    assert (done.happened, done.outcome.result["bytes"]) == (True, 4)
    assert (await look("old", after_ms)).happened is False
    assert (await look("theirs", before_ms)).happened is None
    (root / "older.txt").write_text("of last year")
    os.utime(root / "older.txt", ns=(0, 0))
    (root / "older.txt").rename(place)  # it keeps its time
    assert (await look(None, before_ms)).happened is None
    place.unlink()
    place.symlink_to("elsewhere")
    found = await look(None, before_ms)
    assert (found.happened, found.text) == (None, f"{place} cannot be read: Too many levels of symbolic links")


async def test_what_is_protected_is_so_under_every_name(root, tmp_path, make_ctx, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    for name in ("token", "other"):
        (own / name).write_text("secret")
    (root / "mounted").mkdir()
    (root / "mounted" / "token").touch()
    (root / "linked").hardlink_to(own / "token")
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **how: lstat(own if path == f"{root}/mounted" else path, **how))  # as if mounted there
    rules = PathRules(protected=(str(own), str(own / "token"), str(own / "none")))

    for name, asked in {"mounted/token": own, "mounted/new": own, "linked": own / "token"}.items():
        with pytest.raises(CallError) as caught:
            FilesWrite(rules, FileBlobs(tmp_path / "blobs")).prepare({"path": f"{root}/{name}", "text": ""}, make_ctx(fs(root, write=True)))
        assert (caught.value.code, caught.value.denial.target) == ("denied.fs.access.path_protected", str(asked))
    (root / "free").touch()
    FilesRead(rules).prepare({"path": f"{root}/free"}, make_ctx(fs(root)))


def test_a_readable_root_is_not_a_writable_one(write, root, make_ctx):
    with pytest.raises(CallError) as caught:  # before anybody is asked
        write.prepare({"path": f"{root}/a.txt", "text": "x"}, make_ctx(fs(root)))

    assert caught.value.code == "denied.fs.access.read_only"


@pytest.mark.parametrize(("path", "code"), [("none/a.txt", "files.not_found"), ("dir", "files.not_a_file"), ("a.txt/b", "files.not_found")])
async def test_a_place_where_no_file_can_be_written_is_refused(path, code, write, root, make_ctx, refusal):
    (root / "dir").mkdir()
    (root / "a.txt").touch()
    error = await refusal(write, {"path": f"{root}/{path}", "text": "x"}, make_ctx(fs(root, write=True)))

    assert (error.kind, error.code) == (CallErrorKind.INVALID, code)


def test_nobody_is_asked_about_writing_where_something_else_than_a_file_stands(write, root, make_ctx):
    os.mkfifo(root / "pipe")
    with pytest.raises(CallError) as caught:
        write.prepare({"path": f"{root}/pipe", "text": "x"}, make_ctx(fs(root, write=True)))

    assert caught.value.code == "files.not_a_file"


async def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(write, root, make_ctx, monkeypatch, refusal):
    (root / "a.txt").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_write, "_write_all", full)
    error = await refusal(write, {"path": f"{root}/a.txt", "text": "new"}, make_ctx(fs(root, write=True)))

    assert (error.kind, error.code) == (CallErrorKind.UNAVAILABLE, "files.disk_full")
    assert {path.name: path.read_text() for path in root.iterdir()} == {"a.txt": "old"}


async def test_a_file_too_large_to_keep_is_not_overwritten(write, root, make_ctx, monkeypatch, refusal, crossing):
    monkeypatch.setattr(files_write, "MOST_PREVIOUS_BYTES", 5)
    (root / "a.txt").write_text("12345")
    await crossing(write, {"path": f"{root}/a.txt", "text": "123456"}, make_ctx(fs(root, write=True)))
    error = await refusal(write, {"path": f"{root}/a.txt", "text": "new"}, make_ctx(fs(root, write=True)))

    assert (error.code, error.where.key) == ("files.too_large", "path")
    assert (root / "a.txt").read_text() == "123456"


def test_what_another_process_put_there_that_ended_too_early_stays_when_the_power_fails(tmp_path, durable):
    blobs = FileBlobs(tmp_path / "blobs")
    path = blobs.path(blake3(b"previous").hexdigest())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"previous")
    assert (blobs.put(b"previous"), durable(path.parent)) == (path.name, {path.name})


def test_a_new_file_never_replaces_one(tmp_path):
    path = tmp_path / "deep" / "a"

    assert [write_new(path, b"one"), write_new(path, b"two")] == [True, False]
    assert path.read_bytes() == b"one"
    assert [item.name for item in path.parent.iterdir()] == ["a"]


@given(st.text(max_size=30), st.integers(0, 60))
def test_any_cut_of_any_text_decodes_to_a_beginning_of_it(text, limit):
    data = text.encode()
    shown = decode_text("f", data[:limit], cut=limit < len(data))

    assert text.startswith(shown)
    assert len(data[:limit]) - len(shown.encode()) < 4
