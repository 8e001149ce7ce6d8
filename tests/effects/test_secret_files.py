"""Secrets in files: for their owner alone, or not used at all and said so."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.effects.perform.secret_files import MAX_BYTES, FileSecrets
from runloop.effects.perform.secrets import EnvironmentSecrets, SecretStore, secret_places
from runloop.errors import InvalidInput, Unavailable


@pytest.fixture
def files(tmp_path):
    return FileSecrets(tmp_path / "secrets")


def refused(files, name):
    with pytest.raises(InvalidInput) as caught:
        files.get(name)
    assert (caught.value.code, caught.value.where.file) == ("secrets.file", str(files.root / name))
    return caught.value.message


def test_what_is_put_there_is_found_listed_and_removed_and_for_its_owner_alone(files):
    assert files.names() == []
    path = files.put("models/openai", "sk-1")
    files.put("mail", "pass word")
    assert [stat.S_IMODE(each.stat().st_mode) for each in (files.root, path.parent, path)] == [0o700, 0o700, 0o600]
    assert (files.get("models/openai"), files.get("mail"), files.names()) == ("sk-1", "pass word", ["mail", "models/openai"])
    assert [files.remove(name) for name in ("mail", "mail", "models")] == [True, False, False]
    assert files.names() == ["models/openai"]


def test_what_was_said_to_be_kept_or_removed_stays_so_when_the_power_fails(files, durable):
    files.put("mail", "pass word")
    kept = durable(files.root)
    files.remove("mail")
    assert (kept, durable(files.root)) == ({"mail"}, set())


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_a_value_comes_back_as_it_was_put(tmp_path_factory, value):
    files = FileSecrets(tmp_path_factory.mktemp("secrets"))
    files.put("a", value)
    assert files.get("a") == value


def test_another_value_replaces_the_first_whole(files):
    files.put("a", "long value")
    files.put("a", "x")
    assert (files.get("a"), [path.name for path in files.root.iterdir()]) == ("x", ["a"])


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/../b", "a//b", "", ".hidden", "a/.b", "a b", "a\n", "a/" * 9 + "a", "x" * 101, "a/"]
)
def test_a_name_that_could_be_another_file_is_no_file(files, name):
    files.put("a", "v")
    assert (files.get(name), files.remove(name)) == (None, False)
    with pytest.raises(InvalidInput) as caught:
        files.put(name, "v")
    assert caught.value.code == "secrets.name"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o777])
def test_a_file_that_others_can_read_or_write_is_not_used(files, mode):
    path = files.put("a", "v")
    path.chmod(mode)
    os.chown(path, 12345, -1) if os.geteuid() == 0 else None
    assert "belongs to somebody else" in refused(files, "a") or os.geteuid() != 0
    os.chown(path, os.geteuid(), -1)
    if mode == 0o640 and os.geteuid() == 0:
        assert files.get("a") == "v"  # root's own, for a group: as packages put what a service reads
    else:
        assert f"is not for its owner alone (mode {mode:04o})" in refused(files, "a")


def test_a_link_is_followed_to_a_file_that_is_its_owners_alone(files, tmp_path):
    files.put("real", "v")
    (files.root / "link").symlink_to(files.root / "real")
    (files.root / "nowhere").symlink_to(tmp_path / "gone")
    assert (files.get("link"), files.get("nowhere")) == ("v", None)
    (files.root / "real").chmod(0o644)
    assert "is not for its owner alone" in refused(files, "link")


def test_what_is_no_file_of_text_is_named(files):
    files.put("a/b", "v")
    os.mkfifo(files.root / "pipe", 0o600)
    (files.root / "bytes").write_bytes(b"\xff\xfe")
    (files.root / "long").write_bytes(b"x" * (MAX_BYTES + 1))
    (files.root / "empty").write_bytes(b"\n")
    for path in files.root.iterdir():
        path.chmod(0o600 if path.is_file() else 0o700)
    (files.root / "pipe").chmod(0o600)
    assert (files.get("a"), files.get("a/b/c"), files.get("empty")) == (None, None, None)
    assert [
        "is no plain file" in refused(files, "pipe"),
        "is not UTF-8" in refused(files, "bytes"),
        "longer" in refused(files, "long"),
    ] == [True] * 3


def test_a_value_that_could_not_be_read_back_is_refused_and_leaves_what_was_there(files):
    files.put("a", longest := "é" * ((MAX_BYTES - 2) // 2) + "x")
    with pytest.raises(InvalidInput) as caught:
        files.put("a", longest + "x")
    assert (caught.value.code, caught.value.message) == ("secrets.value", "the value is longer than 64 KiB")
    assert (files.get("a"), [path.name for path in files.root.iterdir()]) == (longest, ["a"])


def test_what_the_system_refuses_is_said_and_nothing_stays_open(files):
    files.put("a", "v")
    (files.root / "loop").symlink_to("loop")
    before = sorted(Path("/proc/self/fd").iterdir())
    assert refused(files, "loop/a") == "the file of a secret cannot be read: Too many levels of symbolic links"
    with pytest.raises(InvalidInput) as caught:
        files.remove("loop/a")
    assert caught.value.message == "the file of a secret cannot be removed: Too many levels of symbolic links"
    assert (files.get("a"), len(sorted(Path("/proc/self/fd").iterdir()))) == ("v", len(before))


def test_a_full_disk_is_said_and_leaves_what_was_there(files, monkeypatch):
    files.put("a", "v")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable) as caught:
        files.put("a", "w")
    assert (caught.value.code, files.get("a"), [path.name for path in files.root.iterdir()]) == ("system.disk_full", "v", ["a"])


async def test_the_environment_is_asked_before_files_and_an_unusable_file_is_never_passed_over(files):
    files.put("a", "from-file")
    store = SecretStore([EnvironmentSecrets({"A": "from-env"}), files])
    assert await store.get("a") == "from-env"
    files.put("b", "from-file")
    assert await store.get("b") == "from-file"
    (files.root / "b").chmod(0o644)
    with pytest.raises(InvalidInput):
        await store.get("b")


def test_each_provider_asks_its_places_in_their_order_and_no_other_takes_its_place(tmp_path):
    asked = {name: list(secret_places(name, tmp_path)) for name in ("auto", "keyring", "env", "file")}
    assert asked == {"auto": ["keyring", "environment", "file"], "keyring": ["keyring"], "env": ["environment"], "file": ["file"]}
    with pytest.raises(InvalidInput) as caught:
        secret_places("age", tmp_path)
    assert caught.value.where.key == "security.secrets.provider"
