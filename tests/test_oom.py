"""Who is ended first where memory runs out."""

from __future__ import annotations

import pytest

from runloop import oom


@pytest.mark.parametrize(("before", "after"), [("0\n", "300"), ("200\n", "300"), ("300\n", "300\n"), ("800\n", "800\n")])
def test_a_process_goes_before_those_that_never_said_so_and_never_later_than_it_would_have(before, after, tmp_path, monkeypatch):
    (tmp_path / "adjustment").write_text(before)
    monkeypatch.setattr(oom, "ADJUSTMENT", tmp_path / "adjustment")

    oom.go_first()

    assert (tmp_path / "adjustment").read_text() == after


def test_a_system_without_it_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(oom, "ADJUSTMENT", tmp_path / "none" / "there")

    oom.go_first()

    assert list(tmp_path.iterdir()) == []
