"""Files of the person are written whole."""

import pytest

from runloop.cli import main
from runloop.cli.kb.drawing import short_path
from runloop.cli.whole import write_whole


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path):
    real, link = tmp_path / "dotfiles" / "rlp", tmp_path / "rlp"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)

    write_whole(link, "new")

    assert (link.is_symlink(), real.read_text()) == (True, "new")


@pytest.mark.parametrize("verb", ["shell status", "--install-completion bash", "kb import shell"])
def test_a_user_whom_the_system_does_not_know_is_told_to_set_home(verb, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert main.main(verb.split()) == 2
    assert "error[cli.no_home]" in capfd.readouterr().err


def test_where_there_is_no_home_a_file_is_shown_with_its_whole_path(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert short_path("/srv/notes.md") == "/srv/notes.md"
