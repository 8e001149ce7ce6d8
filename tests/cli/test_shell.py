"""`rlp shell`: the start file of a shell is changed once, kept beside itself, and left as it was."""

import json
import os
import stat

import pytest

from runloop.cli.main import main
from runloop.cli.shell import rc_file

BLOCK = "# >>> runloop shell (zsh) >>>"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("ZDOTDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "RUNLOOP_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    return tmp_path


def rlp(capsys, *arguments):
    code = main(["shell", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_it_is_switched_on_once_and_off_again_and_the_file_as_it_was_is_kept(home, capsys):
    rc = home / ".zshrc"
    rc.write_text("alias ll='ls -l'\n")
    rc.chmod(0o640)

    on = json.loads(rlp(capsys, "enable", "--json")[1])
    again = json.loads(rlp(capsys, "enable", "--json")[1])
    text, mode = rc.read_text(), stat.S_IMODE(rc.stat().st_mode)
    off = json.loads(rlp(capsys, "disable", "--json")[1])
    gone = json.loads(rlp(capsys, "disable", "--json")[1])

    assert [each["action"] for each in (on, again, off, gone)] == ["added", "present", "removed", "not_found"]
    assert (text.count(BLOCK), mode, rc.read_text()) == (1, 0o640, "alias ll='ls -l'\n")
    assert [each["backup"] is not None for each in (on, again, off, gone)] == [True, False, True, False]
    assert (home / on["backup"]).read_text() == "alias ll='ls -l'\n"
    assert len(list(home.glob(".zshrc.runloop.bak.*"))) == 2


def test_a_link_stays_a_link_and_bytes_that_are_no_text_stay_what_they_are(home, capsys):
    real = home / "dotfiles" / "zshrc"
    real.parent.mkdir()
    real.write_bytes(b"x='\xff\xfe'\n")
    (home / ".zshrc").symlink_to(real)

    rlp(capsys, "enable")
    rlp(capsys, "disable")

    assert ((home / ".zshrc").is_symlink(), real.read_bytes()) == (True, b"x='\xff\xfe'\n")


def test_a_file_that_is_not_there_is_made_and_other_options_replace_the_block(home, capsys):
    opening = home / "it's.yaml"
    opening.write_text("version: 0\n")

    rlp(capsys, "enable", "--shell", "fish")
    rlp(capsys, "enable", "--shell", "fish", "--ssh", "--opening", str(opening))

    text = (home / ".config/fish/config.fish").read_text()
    assert "set -gx RUNLOOP_ROUTER_SSH '1'\n" in text
    assert text.count("# >>> runloop shell (fish) >>>") == 1
    assert "it'\\''s.yaml'" in text


@pytest.mark.parametrize("shell", ["zsh", "bash", "fish"])
def test_what_an_earlier_enable_was_told_stays_until_it_is_taken_back(shell, home, capsys):
    opening = home / "it's.yaml"
    opening.write_text("version: 0\n")
    rc = rc_file(shell, os.environ)
    rlp(capsys, "enable", "--shell", shell, "--ssh", "--opening", str(opening))
    told = rc.read_text()

    again = json.loads(rlp(capsys, "enable", "--shell", shell, "--json")[1])
    kept = rc.read_text()
    rlp(capsys, "enable", "--shell", shell, "--no-ssh")

    assert (again["action"], kept) == ("present", told)
    assert ("RUNLOOP_ROUTER_SSH" in rc.read_text(), "it'\\''s.yaml" in rc.read_text()) == (False, True)


def test_a_dry_run_shows_the_file_and_changes_nothing(home, capsys):
    code, _, _ = rlp(capsys, "enable", "--dry-run")

    assert (code, list(home.glob(".zshrc*"))) == (0, [])


def test_status_says_how_each_shell_stands(home, capsys):
    rlp(capsys, "enable")
    (home / ".bashrc").write_text("# >>> runloop shell (bash) >>>\nsource '/gone/runloop.bash'\n# <<< runloop shell (bash) <<<\n")
    (home / ".config/fish").mkdir(parents=True)
    (home / ".config/fish/config.fish").write_text("# >>> runloop shell (fish) >>>\n")

    states = {each["shell"]: each["state"] for each in json.loads(rlp(capsys, "status", "--json")[1])}

    assert states["zsh"] == "on"
    assert "its snippet is gone" in states["bash"]
    assert "begins and does not end" in states["fish"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("enable", "--opening", "/none.yaml"), "shell.opening"),
        (("enable", "--snippet", "/none.zsh"), "shell.snippet"),
        (("enable", "--rc-path", "/dev/null/x"), "shell.rc_file"),
        (("disable", "--rc-path", "/proc"), "shell.rc_file"),
    ],
)
def test_what_cannot_be_done_says_why(arguments, code, home, capsys):
    exit_code, _, error = rlp(capsys, *arguments)

    assert (exit_code != 0, code in error) == (True, True)


def test_an_unknown_shell_has_to_be_named(home, capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert (rlp(capsys, "enable")[0], rlp(capsys, "enable", "--shell", "bash")[0]) == (2, 0)
    monkeypatch.delenv("SHELL")
    assert "SHELL is not set" in rlp(capsys, "enable")[2]


def test_a_broken_block_is_told_with_its_line(home, capsys):
    (home / ".zshrc").write_text(f"a\n{BLOCK}\n")

    code, _, error = rlp(capsys, "enable")

    assert (code, "shell.block" in error, ".zshrc:2" in error or ".zshrc, line 2" in error) == (2, True, True)


def test_start_files_are_where_the_shells_look_for_them(home, monkeypatch):
    environment = {"HOME": "/h", "ZDOTDIR": "/z", "XDG_CONFIG_HOME": "/c"}

    assert [str(rc_file(shell, environment)) for shell in ("zsh", "bash", "fish")] == ["/z/.zshrc", "/h/.bashrc", "/c/fish/config.fish"]
    assert os.fspath(rc_file("fish", {"HOME": "/h"})) == "/h/.config/fish/config.fish"
