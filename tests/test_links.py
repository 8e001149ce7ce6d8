"""Paths with their links followed."""

from runloop.links import followed


def test_a_link_is_followed_and_a_circle_stays_as_it_is(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "circle").symlink_to("circle")
    assert [followed(tmp_path / name) for name in ("link", "circle", "nothing")] == [
        tmp_path / name for name in ("file", "circle", "nothing")
    ]
