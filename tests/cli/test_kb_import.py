"""`rlp kb import`: what people see of it."""

from __future__ import annotations

import json
import subprocess

import pytest

from runloop.cli import output

MAIL = b"From a@x Fri Nov 20 09:30:00 2026\nFrom: a@x.example\nSubject: Launch\n\nIn March.\n\n"
EVENT = b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nSUMMARY:Launch\nEND:VEVENT\nEND:VCALENDAR\n"


def file(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def test_mail_is_imported_and_found(rlp, tmp_path):
    path = file(tmp_path, "in.mbox", MAIL + MAIL.replace(b"Launch", b"Dates").replace(b"\n\nIn", b"\nDate: soon\n\nIn"))
    code, out, err = rlp("kb", "import", "mail", path, "--table")
    assert (code, out) == (0, "mail: 2 new, 0 known, 0 refused\n")
    assert err == f"note {path}:7: date 'soon' cannot be read\n"
    [hit] = json.loads(rlp("search", "launch", "--json")[1])
    assert (hit["domain"], hit["path"], hit["line"]) == ("messages", str(path), 1)


def test_appointments_commits_and_commands_are_imported(rlp, tmp_path):
    repository = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", repository], check=True)
    subprocess.run(
        ["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@x", "commit", "-q", "--allow-empty", "-m", "one"], check=True
    )
    assert rlp("kb", "import", "calendar", file(tmp_path, "a.ics", EVENT), "--table")[:2] == (0, "calendar: 1 new, 0 known, 0 refused\n")
    assert rlp("kb", "import", "git", repository, "--table")[:2] == (0, "git: 1 new, 0 known, 0 refused\n")
    assert rlp("kb", "import", "git", repository, "--since", "1d", "--table")[:2] == (0, "git: 0 new, 1 known, 0 refused\n")
    file(tmp_path, ".bash_history", b"ls\nexport TOKEN=hunter2\n")
    assert rlp("kb", "import", "shell", "--table")[:2] == (0, "shell: 2 new, 0 known, 0 refused, 1 secret taken out\n")


def test_the_report_as_json_names_counts_places_and_events(rlp, tmp_path):
    path = file(tmp_path, "a.ics", EVENT + b"rest\n")
    code, out, _ = rlp("kb", "import", "calendar", path)
    report = json.loads(out)
    assert (code, report["taken"], report["events"], report["refusals"]) == (0, 1, [[1, 1]], 1)
    assert report["refused"] == [{"file": str(path), "line": 7, "reason": "not a calendar: no BEGIN:VCALENDAR before it"}]


def test_changes_and_what_is_gone_are_counted_and_a_dry_run_says_so(rlp, tmp_path):
    path = file(tmp_path, "a.ics", EVENT.replace(b"END:VCALENDAR\n", b"BEGIN:VEVENT\nUID:2\nEND:VEVENT\nEND:VCALENDAR\n"))
    rlp("kb", "import", "calendar", path)
    file(tmp_path, "a.ics", EVENT.replace(b"Launch", b"Later"))
    said = "calendar: 0 new, 1 changed, 0 known, 0 refused, 1 record forgotten"
    assert rlp("kb", "import", "calendar", path, "--dry-run", "--table")[1] == f"{said} (dry run: nothing was written)\n"
    assert rlp("kb", "import", "calendar", path, "--table")[1] == f"{said}\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["mail", "missing.mbox"], 1, "missing.mbox: No such file or directory"),
        (["git", "."], 2, "import.not_a_repository"),
        (["shell"], 2, "import.missing"),
        (["shell", "x", "--shell", "csh"], 2, "'csh' is not a shell that can be read"),
        (["notes", ".", "--encoding", "klingon"], 2, "import.unknown_encoding"),
        (["notes", ".", "--encoding", "zip"], 2, "import.unknown_encoding"),
        (["git", ".", "--since", "soon"], 2, "cli.time"),
    ],
)
def test_what_cannot_be_imported_is_named(rlp, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    found, _, err = rlp("kb", "import", *words, "--table")
    assert found == code
    assert said in err


def test_progress_is_shown_on_a_terminal_unless_quiet(rlp, tmp_path, monkeypatch):
    path = file(tmp_path, "in.mbox", MAIL)
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    assert "mail: 1 new, 0 known, 0 refused, 0.0 of 0.0 MB" in rlp("kb", "import", "mail", path)[2]
    assert "MB" not in rlp("kb", "import", "mail", path, "--quiet")[2]


def test_an_interrupted_import_says_how_to_go_on(rlp, tmp_path, monkeypatch):
    from runloop.kb.importers.mail import importing

    def interrupted(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(importing, "letters", interrupted)
    code, out, err = rlp("kb", "import", "mail", file(tmp_path, "in.mbox", MAIL), "--table")
    assert (code, out) == (130, "mail: 0 new, 0 known, 0 refused\n")
    assert "interrupted: what was taken stays; the same command goes on from there" in err
