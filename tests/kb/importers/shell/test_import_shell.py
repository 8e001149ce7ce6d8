from __future__ import annotations

from runloop.kb.importers.intake import How
from runloop.kb.importers.shell.importing import import_shell, usual_histories
from runloop.kb.importers.shell.scrub import LONGEST


def commands(kb):
    with kb.reading() as db:
        return db.execute("SELECT shell, text, at_ms, seconds, line FROM commands ORDER BY line").fetchall()


def history(tmp_path, data, name=".bash_history"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_commands_are_taken_with_their_time_and_place(kb, tmp_path):
    report = import_shell(kb, [history(tmp_path, b": 1700000000:5;make test\n: 1700000009:0;echo caf\xc3\x83\xa9\n", ".zsh_history")])
    assert commands(kb) == [("zsh", "make test", 1700000000000, 5, 1), ("zsh", "echo cafÉ", 1700000009000, 0, 2)]
    assert (report.taken, report.files, report.refused) == (2, 1, [])


def test_no_byte_of_a_secret_reaches_the_files_of_the_base(kb, tmp_path):
    report = import_shell(kb, [history(tmp_path, b"export TOKEN=hunter2xyz\nmysql -phunter2xyz\nls\n")])
    assert (report.taken, report.scrubbed) == (3, 2)
    kb.sync()
    for file in kb.root.iterdir():
        assert b"hunter2" not in file.read_bytes(), file


def test_a_command_without_a_time_is_one_wherever_it_stands_and_with_times_each_counts(kb, tmp_path):
    path = history(tmp_path, b"ls\nls\n#1700000000\nls\n#1700000001\nls\n")
    report = import_shell(kb, [path])
    assert (report.taken, report.known) == (3, 1)
    path.write_bytes(b"#1700000001\nls\n#1700000002\nls\n")  # the window moved on
    report = import_shell(kb, [path])
    assert (report.taken, report.known, report.removed) == (1, 1, 0)
    assert len(commands(kb)) == 4


def test_lines_that_are_too_long_or_not_text_are_named(kb, tmp_path):
    long = history(tmp_path, b"first\n" + b"x" * (LONGEST * 3) + b"\nlast\n" + b"y" * (LONGEST * 2), "long")
    odd = history(tmp_path, b"echo \xff\n", "odd")
    binary = history(tmp_path, b"\0\1\2" * 100, "binary")
    report = import_shell(kb, [long, odd, binary, tmp_path / "missing", tmp_path])
    assert [(each.file, each.line, each.reason) for each in report.refused] == [
        (str(long), 2, f"a line of {LONGEST * 3 + 1} bytes; the limit is {LONGEST}"),
        (str(long), 4, f"a line of {LONGEST * 2} bytes; the limit is {LONGEST}"),
        (str(binary), 1, "binary, not a shell's history: it has NUL characters"),
        (str(tmp_path / "missing"), None, "No such file or directory"),
        (str(tmp_path), None, "not a regular file"),
    ]
    assert [(each.file, each.line) for each in report.remarks] == [(str(odd), 1)]
    assert [row[1] for row in commands(kb)] == ["first", "echo \\xff", "last"]


def test_a_dry_run_counts_and_writes_nothing(kb, tmp_path):
    report = import_shell(kb, [history(tmp_path, b"ls\nTOKEN=abc\n")], How(dry_run=True))
    assert (report.taken, report.scrubbed, report.events) == (2, 1, [])
    assert kb.ledger.head().id == 0


def test_other_encodings_can_be_named(kb, tmp_path):
    import_shell(kb, [history(tmp_path, b"echo caf\xe9\n")], encoding="cp1252")
    assert [row[1] for row in commands(kb)] == ["echo café"]


def test_the_usual_places_are_looked_at(tmp_path):
    fish = tmp_path / "data" / "fish" / "fish_history"
    fish.parent.mkdir(parents=True)
    fish.write_text("- cmd: ls\n")
    bash = history(tmp_path, b"ls\n")
    own = history(tmp_path, b"ls\n", "own")
    assert usual_histories({"HISTFILE": str(own), "XDG_DATA_HOME": str(tmp_path / "data")}, tmp_path) == [own, bash, fish]


def test_a_history_in_a_directory_that_nobody_may_look_into_is_refused_by_name(kb, closed):
    report = import_shell(kb, [closed / "history"])
    assert [each.reason for each in report.refused] == ["No such file or directory"]
    assert usual_histories({"ZDOTDIR": str(closed)}, closed) == []
