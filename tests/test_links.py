"""Paths with their links followed, and what is opened where somebody names something to be read."""

import os
import threading
from pathlib import Path

import pytest

from runloop.links import followed, readable


def test_a_link_is_followed_and_a_circle_stays_as_it_is(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "circle").symlink_to("circle")
    assert [followed(tmp_path / name) for name in ("link", "circle", "nothing")] == [
        tmp_path / name for name in ("file", "circle", "nothing")
    ]


def test_a_pipe_is_read_to_its_end_and_one_without_a_writer_is_refused(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b"be")
    with os.fdopen(reader):
        rest = threading.Thread(target=lambda: (os.write(writer, b"gun"), os.close(writer)))
        rest.start()
        with readable(f"/dev/fd/{reader}") as file:
            assert file.read() == b"begun"
        rest.join()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, and nobody writes into it") as refused:
        readable(tmp_path / "pipe")
    assert not isinstance(refused.value, BrokenPipeError)  # which would say that the output is closed


def test_a_directory_is_refused_and_nothing_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(IsADirectoryError):
        readable(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
