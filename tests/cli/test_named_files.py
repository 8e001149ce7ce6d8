"""Files that people name on the command line: what is no file is named and never waited for, nor replaced."""

from __future__ import annotations

import json
import os

import pytest

READERS = [
    (("trace",), "archive.unreadable"),
    (("show",), "archive.unreadable"),
    (("import",), "archive.unreadable"),
    (("opening", "check"), "opening.unreadable"),
    (("rmp", "decode"), "rmp.input.unreadable"),
    (("kb", "import", "events"), "export.unreadable"),
]


@pytest.mark.parametrize(("verb", "code"), READERS)
def test_a_pipe_into_which_nobody_writes_is_an_error_and_not_waited_for(rlp, tmp_path, verb, code):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ended, _, err = rlp(*verb, pipe)
    assert (ended, err.startswith(f"error[{code}]"), "it is a pipe, and nobody writes into it" in err) == (2, True, True)


def test_neither_are_traces_parameters_agents_and_start_files(rlp, tmp_path):
    for name in ("trace.json", "pipe", "agent.tar.gz"):
        os.mkfifo(tmp_path / name)
    said = [
        rlp("trace", tmp_path / "trace.json")[2],
        rlp("run", "compose_email", "--local", "--params", f"@{tmp_path / 'pipe'}")[2],
        rlp("route", "--shell-facts", tmp_path / "pipe", "ls")[2],
        rlp("agent", "install", tmp_path / "agent.tar.gz")[2],
        rlp("shell", "enable", "--shell", "bash", "--rc-path", tmp_path / "pipe")[2],
    ]
    assert [text.partition("]")[0].removeprefix("error[") for text in said] == [
        "run.trace_file",
        "run.params",
        "cli.usage",
        "bundle.archive",
        "shell.rc_file",
    ]


def test_an_input_without_end_is_refused_before_it_has_all_memory(rlp, monkeypatch):
    monkeypatch.setattr("runloop.cli.rmp_input.MAX_BYTES", 1 << 20)
    monkeypatch.setattr("runloop.cli.trace._MOST_BYTES", 1 << 20)
    assert rlp("rmp", "decode", "/dev/zero")[2].startswith("error[rmp.input.too_large]: /dev/zero is larger than 1 MiB")
    assert rlp("route", "--shell-facts", "/dev/zero", "ls")[2].startswith("error[cli.usage]")


def test_a_trace_without_end_is_refused(rlp, tmp_path, monkeypatch):
    monkeypatch.setattr("runloop.cli.trace._MOST_BYTES", 1 << 20)
    (tmp_path / "trace.json").symlink_to("/dev/zero")
    assert "it is larger than 1 MiB" in rlp("trace", tmp_path / "trace.json")[2]


def test_what_is_no_file_is_written_into_or_refused_and_never_replaced(rlp, tmp_path):
    rlp("kb", "remember", "a", "b", "c")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDWR), "rb", buffering=0) as held:
        assert rlp("kb", "export", "-o", pipe)[0] == 0
        assert json.loads(held.read(1 << 16).splitlines()[0]).keys() == {"export"}
    assert rlp("opening", "new", "letter", "--from", "pipeline", "--force", "-o", pipe)[2].startswith("error[opening.unwritable]")
    assert pipe.is_fifo()


def test_an_export_goes_where_a_link_leads_and_the_link_stays(rlp, tmp_path):
    rlp("kb", "remember", "a", "b", "c")
    (tmp_path / "link").symlink_to("real")
    assert rlp("kb", "export", "-o", tmp_path / "link")[0] == 0
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "real").is_file()) == (True, True)
