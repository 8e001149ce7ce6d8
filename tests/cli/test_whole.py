"""Files of the person are written whole."""

from runloop.cli.whole import write_whole


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path):
    real, link = tmp_path / "dotfiles" / "rlp", tmp_path / "rlp"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)

    write_whole(link, "new")

    assert (link.is_symlink(), real.read_text()) == (True, "new")
