from __future__ import annotations

import gzip
import io
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest

from runloop import scratch
from runloop.bundles import archive as archive_module
from runloop.bundles import load_bundle
from runloop.bundles.archive import unpack
from runloop.bundles.errors import BundleAltered, BundleInvalid
from runloop.bundles.install import install

VARIANT = '[agent]\nname = "reader"\nversion = "0.1.0"\nvariant = "fast"\n'


def member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    return info, content


def write_tar(path, *members):
    with tarfile.open(path, "w:gz" if path.suffix in {".gz", ".tgz"} else "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def tar_of(root, path, prefix=""):
    files = [(file, file.relative_to(root)) for file in sorted(root.rglob("*")) if file.is_file()]
    return write_tar(path, *(member(f"{prefix}{name}", file.read_bytes()) for file, name in files))


@pytest.mark.parametrize("form", ["directory", "manifest", "file URL", "reader.tar", "reader.tar.gz", "reader.tgz"])
def test_an_agent_is_installed_from_each_form_of_source(write_bundle, tmp_path, form):
    root = write_bundle("work/reader", files={"lib/a.py": "X = 1\n"})
    sources = {"directory": str(root), "manifest": f"{root}/manifest.toml", "file URL": root.as_uri()}
    source = sources.get(form) or str(tar_of(root, tmp_path / form, "./some/where/"))
    done = install(source, tmp_path / "agents")
    assert (done.path, done.replaced) == (tmp_path / "agents" / "reader", False)
    assert done.bundle == load_bundle(done.path)
    assert load_bundle(done.path).digest == load_bundle(root).digest
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["reader"]


def test_what_a_killed_installation_left_goes_with_the_next_one(write_bundle, tmp_path):
    root, agents = str(write_bundle("work/reader")), tmp_path / "agents"
    killed = (
        "import os, pathlib, signal, sys; from runloop.bundles import install; "
        "install.inspect_bundle = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL); "
        "install.install(sys.argv[1], pathlib.Path(sys.argv[2]))"
    )
    assert subprocess.run([sys.executable, "-c", killed, root, str(agents)], check=False).returncode == -signal.SIGKILL
    assert [path.name[0] for path in agents.iterdir()] == ["."]
    install(root, agents)
    assert [path.name for path in agents.iterdir()] == ["reader"]


def test_a_variant_is_installed_under_its_own_name(write_bundle, tmp_path):
    assert install(str(write_bundle("work/x", manifest=VARIANT)), tmp_path / "agents").path.name == "reader@fast"


def test_what_is_there_is_replaced_only_when_forced(write_bundle, tmp_path):
    root = write_bundle("work/reader")
    install(str(root), tmp_path / "agents")
    newer = write_bundle("newer/reader", files={"README.md": "new"})
    with pytest.raises(BundleInvalid) as caught:
        install(str(newer), tmp_path / "agents")
    assert caught.value.message == f"path already exists: {tmp_path}/agents/reader"
    assert install(str(newer), tmp_path / "agents", force=True).replaced is True
    assert "README.md" in load_bundle(tmp_path / "agents" / "reader").files
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["reader"]


def test_installing_an_agent_onto_itself_is_refused(write_bundle, tmp_path):
    root = write_bundle()
    with pytest.raises(BundleInvalid) as caught:
        install(str(root), tmp_path / "agents", force=True)
    assert caught.value.code == "bundle.same_place"
    assert load_bundle(root).name == "reader"


def test_an_altered_bundle_is_refused_with_all_its_faults_and_their_places(write_bundle, tmp_path):
    root = write_bundle("work/reader")
    (root / "agent.py").write_text("x")
    (root / "more.py").write_text("x")
    with pytest.raises(BundleAltered) as caught:
        install(str(root), tmp_path / "agents")
    assert (caught.value.code, caught.value.exit_code) == ("bundle.altered", 5)
    assert "'agent.py' has changed" in caught.value.message
    assert f"; 'more.py' is there but not listed ({root}/more.py)" in caught.value.message
    assert list((tmp_path / "agents").iterdir()) == []


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (False, "if you changed it yourself, run `rlp agent build '{root}'`; otherwise install it anew"),
        (True, "get it again from who made it; or unpack it, and `rlp agent build` the directory once you trust what is in it"),
    ],
)
def test_what_to_do_about_an_altered_bundle_names_the_source_and_not_the_copy_that_was_looked_at(write_bundle, tmp_path, packed, said):
    root = write_bundle("my work/reader")
    (root / "agent.py").write_text("x")
    source = tar_of(root, tmp_path / "reader.tgz") if packed else root
    with pytest.raises(BundleAltered) as caught:
        install(str(source), tmp_path / "agents")
    assert caught.value.hint == said.format(root=root)


def test_a_link_in_a_directory_is_refused(write_bundle, tmp_path):
    root = write_bundle("work/reader")
    (root / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleAltered) as caught:
        install(str(root), tmp_path / "agents")
    assert caught.value.code == "bundle.link"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://evil.example/a.tar", "unsupported URL scheme 'https'"),
        ("file://evil.example/a.tar", "a file on another host cannot be read: 'evil.example'"),
        ("{tmp}/nowhere", "there is nothing at {tmp}/nowhere"),
        ("{tmp}/a.zip", "'a.zip' is no bundle"),
        ("{tmp}/empty", "there is no manifest.toml within 4 levels"),
        ("{tmp}/bad.tar", "the archive cannot be read: "),
        ("{tmp}/bad.tgz", "the archive cannot be read: "),
        ("{tmp}/cut.tgz", "the archive cannot be read: "),
    ],
)
def test_a_source_that_is_no_bundle_is_refused(write_bundle, tmp_path, source, message):
    for name in ("a.zip", "bad.tar", "bad.tgz"):
        (tmp_path / name).write_bytes(b"not an archive, but long enough to look at " * 20)
    whole = tar_of(write_bundle("work/reader"), tmp_path / "whole.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleInvalid) as caught:
        install(source.format(tmp=tmp_path), tmp_path / "agents")
    assert caught.value.message.startswith(message.format(tmp=tmp_path))


def test_a_source_with_several_bundles_is_refused(write_bundle, tmp_path):
    write_bundle("work/a")
    write_bundle("work/b")
    with pytest.raises(BundleInvalid) as caught:
        install(str(tmp_path / "work"), tmp_path / "agents")
    assert caught.value.message == "there are several bundles: a, b"


def test_a_manifest_deeper_than_four_levels_is_not_found(write_bundle, tmp_path):
    write_bundle("work/a/b/c/d")
    with pytest.raises(BundleInvalid) as caught:
        install(str(tmp_path / "work"), tmp_path / "agents")
    assert caught.value.code == "bundle.no_manifest"


def test_a_place_that_cannot_be_written_is_an_error(write_bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleInvalid) as caught:
        install(str(write_bundle("work/reader")), tmp_path / "file")
    assert caught.value.code == "bundle.install"


def test_when_the_new_one_cannot_be_put_in_place_the_old_one_stays(write_bundle, tmp_path, monkeypatch):
    install(str(write_bundle("work/reader")), tmp_path / "agents")
    newer = write_bundle("newer/reader", files={"README.md": "new"})
    rename, calls = type(tmp_path).rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", second_fails)
    monkeypatch.setattr(scratch, "_exchanged", lambda *_: False)
    with pytest.raises(BundleInvalid, match="cannot be installed: No space left on device") as caught:
        install(str(newer), tmp_path / "agents", force=True)
    assert caught.value.where.file == str(tmp_path / "agents")
    monkeypatch.undo()
    assert "README.md" not in load_bundle(tmp_path / "agents" / "reader").files
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["reader"]


@pytest.mark.parametrize("can", [True, False], ids=["exchange", "no exchange"])
def test_the_old_one_gives_its_place_up_to_the_new_one(write_bundle, tmp_path, monkeypatch, can):
    install(str(write_bundle("work/reader")), tmp_path / "agents")
    seen, rename = [], type(tmp_path).rename
    monkeypatch.setattr(
        type(tmp_path), "rename", lambda self, target: (rename(self, target), seen.append((tmp_path / "agents/reader").exists()))
    )
    if not can:
        monkeypatch.setattr(scratch, "_exchanged", lambda *_: False)

    install(str(write_bundle("newer/reader", files={"README.md": "new"})), tmp_path / "agents", force=True)

    monkeypatch.undo()
    assert ("README.md" in load_bundle(tmp_path / "agents" / "reader").files, seen) == (True, [] if can else [False, True, True])
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["reader"]


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([member("a", kind=tarfile.SYMTYPE, link="/etc/passwd")], "'a' is not allowed: it is a link"),
        ([member("a", b"x"), member("b", kind=tarfile.LNKTYPE, link="a")], "'b' is not allowed: it is a link"),
        ([member("/etc/cron.d/x", b"x")], "'/etc/cron.d/x' is not allowed: it is absolute"),
        ([member("../x", b"x")], "'../x' is not allowed: it contains '..'"),
        ([member("a/../../x", b"x")], "'a/../../x' is not allowed: it contains '..'"),
        ([member("dev", kind=tarfile.CHRTYPE)], "'dev' is not allowed: it is neither a plain file nor a directory"),
        ([member("pipe", kind=tarfile.FIFOTYPE)], "'pipe' is not allowed: it is neither a plain file nor a directory"),
        ([member("a", b"x"), member("./a", b"y")], "'./a' is not allowed: it is there twice"),
        ([member("a\x1b[2J", b"x")], r"'a\x1b[2J' is not allowed: its name has a backslash or an unprintable character"),
        ([member(".", b"x")], "'.' is not allowed: it has an empty or '.' component"),
        ([member("a/./b", b"x")], "'a/./b' is not allowed: it has an empty or '.' component"),
    ],
)
def test_an_archive_entry_that_is_not_a_plain_file_inside_is_refused(tmp_path, members, problem):
    archive = write_tar(tmp_path / "x.tar", *members)
    (tmp_path / "into").mkdir()
    with pytest.raises(BundleInvalid) as caught:
        unpack(archive, tmp_path / "into")
    assert caught.value.code == "bundle.archive_entry"
    assert caught.value.message == problem
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("folder", [".git", "__pycache__", "lib/.git/hooks"])
def test_folders_that_no_digest_covers_do_not_arrive_from_an_archive(write_bundle, tmp_path, folder):
    root = write_bundle("work/reader", files={"lib/a.py": "X = 1\n"})
    hidden = root / folder / "config"
    hidden.parent.mkdir(parents=True)
    hidden.write_text("[core]\n\tfsmonitor = anything\n")
    done = install(str(tar_of(root, tmp_path / "reader.tar", "reader/")), tmp_path / "agents")
    arrived = {file.relative_to(done.path).as_posix() for file in done.path.rglob("*")}
    assert arrived == {"agent.py", "lib", "lib/a.py", "manifest.toml", "policy.caps"}


def test_a_file_where_a_folder_is_needed_is_an_unreadable_archive(tmp_path):
    archive = write_tar(tmp_path / "x.tar", member("a", b"x"), member("a/b", b"y"))
    (tmp_path / "into").mkdir()
    with pytest.raises(BundleInvalid) as caught:
        unpack(archive, tmp_path / "into")
    assert caught.value.code == "bundle.archive"


def test_folders_and_the_root_itself_may_be_entries(tmp_path):
    entries = [
        member("./", kind=tarfile.DIRTYPE),
        member("lib/", kind=tarfile.DIRTYPE),
        member("./lib/a.py", b"x"),
        member("lib", kind=tarfile.DIRTYPE),
        member("data/empty", kind=tarfile.DIRTYPE),
    ]
    (tmp_path / "into").mkdir()
    unpack(write_tar(tmp_path / "x.tgz", *entries), tmp_path / "into")
    assert (tmp_path / "into" / "lib" / "a.py").read_bytes() == b"x"
    assert (tmp_path / "into" / "data" / "empty").is_dir()


def test_modes_of_an_archive_do_not_reach_the_disk(tmp_path):
    info, content = member("run", b"#!/bin/sh\n")
    info.mode = 0o6777
    (tmp_path / "into").mkdir()
    unpack(write_tar(tmp_path / "x.tar", (info, content)), tmp_path / "into")
    assert (tmp_path / "into" / "run").stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize("limit", ["bytes", "entries"])
def test_a_small_archive_that_unpacks_into_too_much_stops_at_the_limit(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 1 << 20)
    monkeypatch.setattr(archive_module, "_HEADERS_BYTES", 1 << 16)
    monkeypatch.setattr(archive_module, "MAX_FILES", 5)
    members = [member("zeros", b"\0" * (4 << 20))] if limit == "bytes" else [member(str(number)) for number in range(7)]
    archive = write_tar(tmp_path / "bomb.tgz", *members)
    (tmp_path / "into").mkdir()
    with pytest.raises(BundleInvalid) as caught:
        unpack(archive, tmp_path / "into")
    assert caught.value.message.startswith("it holds more than ")
    assert sum(path.stat().st_size for path in (tmp_path / "into").iterdir()) <= 1 << 20


def test_a_huge_header_stops_at_the_limit_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 1 << 20)
    monkeypatch.setattr(archive_module, "_HEADERS_BYTES", 1 << 16)
    info = tarfile.TarInfo("longlink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with gzip.open(tmp_path / "bomb.tgz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(4):
            file.write(b"a" * (1 << 20))
    (tmp_path / "into").mkdir()
    with pytest.raises(BundleInvalid, match="it holds more than"):
        unpack(tmp_path / "bomb.tgz", tmp_path / "into")


def test_a_failed_installation_leaves_nothing_behind(write_bundle, tmp_path):
    shutil.copytree(write_bundle("work/reader"), tmp_path / "copy")
    (tmp_path / "copy" / "agent.py").write_text("x")
    archive = tar_of(tmp_path / "copy", tmp_path / "copy.tar")
    with pytest.raises(BundleAltered):
        install(str(archive), tmp_path / "agents")
    assert list((tmp_path / "agents").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("headers", [[b"1" * 2_000_000], [b"12 path=long\n" + b"x" * 4000] * 200])
def test_long_or_many_extended_headers_are_refused(tmp_path, kind, headers):
    """Python before 3.11.10 searches one of two million digits for hours."""
    entries = (entry for content in headers for entry in (member("x", content, kind=kind), member("x")))
    archive = write_tar(tmp_path / "x.tar", *entries)
    (tmp_path / "into").mkdir()
    with pytest.raises(BundleInvalid) as caught:
        unpack(archive, tmp_path / "into")
    assert caught.value.code in {"bundle.archive_entry", "bundle.archive"}


def test_headers_that_follow_one_another_without_an_end_are_an_unreadable_archive(tmp_path):
    archive = write_tar(tmp_path / "x.tar", *[member("x", b"a", kind=tarfile.GNUTYPE_LONGNAME)] * 5000)
    (tmp_path / "into").mkdir()
    with pytest.raises(BundleInvalid) as caught:
        unpack(archive, tmp_path / "into")
    assert caught.value.code == "bundle.archive"
