"""Directories in which something is made whole: gone afterwards, and what was left of them by processes that are gone, but no other's."""

import ctypes
import errno
import fcntl
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from runloop import scratch as module
from runloop.scratch import exchange, scratch, sweep

LEFT = ".keeping-0123456789abcdef.part"


@pytest.fixture
def left(tmp_path):
    """What a process that was killed left behind."""
    (tmp_path / LEFT).mkdir(mode=0o700)
    (tmp_path / LEFT / "half").write_text("half")
    return tmp_path / LEFT


def names(directory):
    return sorted(each.name for each in directory.iterdir())


def test_what_is_made_there_is_private_and_gone_afterwards_unless_it_was_renamed(tmp_path):
    with scratch(tmp_path) as part:
        (part / "some").write_text("some")
        assert stat.S_IMODE(part.stat().st_mode) == 0o700
    assert names(tmp_path) == []
    with scratch(tmp_path) as part:
        part.rename(tmp_path / "whole")
    assert names(tmp_path) == ["whole"]


def test_what_somebody_still_works_in_stays(tmp_path):
    with scratch(tmp_path) as mine:
        (mine / "some").write_text("some")
        with scratch(tmp_path) as other:
            assert (mine / "some").read_text() == "some"
        assert names(tmp_path) == [mine.name]
        assert other.name != mine.name


def test_what_a_process_left_that_was_killed_is_removed_and_nothing_else(tmp_path, left):
    others = (f"{LEFT}s", f"x{LEFT}", ".keeping-0123456789abcdeg.part")
    for name in others:
        (tmp_path / name).mkdir()
    file, link = tmp_path / f".keeping-{'f' * 16}.part", tmp_path / f".keeping-{'e' * 16}.part"
    file.write_text("no directory")
    link.symlink_to(tmp_path / others[0])
    with scratch(tmp_path) as part:
        assert names(tmp_path) == sorted([*others, file.name, link.name, part.name])
    sweep(tmp_path / "nowhere")


def test_what_another_user_left_or_works_in_stops_nobody(tmp_path, left, monkeypatch):
    opening = module._open

    def refused(path):
        if path == left:
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path)

    monkeypatch.setattr(module, "_open", refused)
    with scratch(tmp_path) as part:
        assert names(tmp_path) == sorted([LEFT, part.name])
    assert names(tmp_path) == [LEFT]


def test_a_directory_that_was_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    locked, taken = module._locked, []

    def late(handle):
        if not taken:
            (made,) = tmp_path.iterdir()
            taken.append(made)
            made.rmdir()
        return locked(handle)

    monkeypatch.setattr(module, "_locked", late)
    with scratch(tmp_path) as part:
        assert (part.is_dir(), part == taken[0], names(tmp_path)) == (True, False, [part.name])


def test_nothing_stays_open(tmp_path, left):
    before = len(names(Path("/proc/self/fd")))
    with scratch(tmp_path), scratch(tmp_path):
        pass
    assert len(names(Path("/proc/self/fd"))) <= before


def cannot(number):
    """The system's call where the kernel or the file system does not have it."""

    def rename(*_arguments):
        ctypes.set_errno(number)
        return -1

    return SimpleNamespace(renameat2=rename)


@pytest.mark.parametrize("library", [None, SimpleNamespace(), cannot(errno.EINVAL), cannot(errno.ENOSYS)])
def test_two_take_each_others_place(tmp_path, monkeypatch, library):
    if library is not None:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_arguments, **_options: library)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "new", tmp_path / "old")
    assert (names(tmp_path), names(tmp_path / "old"), names(tmp_path / "new")) == (["new", "old"], ["new"], ["old"])
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "gone", tmp_path / "old")
    assert (names(tmp_path), names(tmp_path / "old")) == (["new", "old"], ["new"])


def test_who_holds_the_lock_of_one_keeps_it(tmp_path, left):
    handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    sweep(tmp_path)
    assert names(left) == ["half"]
    os.close(handle)
    sweep(tmp_path)
    assert names(tmp_path) == []
