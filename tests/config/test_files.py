import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.config import ConfigError, yamlfile
from runloop.config.yamlfile import parse


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "null", "kb:\npolicy:\n"])
def test_a_file_that_says_nothing_changes_nothing(machine, text):
    machine.user(text)
    assert machine.load().changed() == []


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("kb:\n  wal: [true\nui: {}\n", 3, 3),
        ("kb:\n\twal: true\n", 2, 1),
        ("kb: {wal: 'x\n", 2, 1),
        ("a: b: c\n", 1, 5),
        ("kb: *nothing\n", 1, 5),
    ],
)
def test_invalid_yaml_is_refused_with_its_place(machine, text, line, column):
    file = machine.user(text)
    error = machine.refuse()
    assert (error.code, error.where.file, error.where.line, error.where.column) == ("config.syntax", str(file), line, column)


@pytest.mark.parametrize(
    "text", ["- a\n", "just text\n", "--- {}\n--- {}\n", "? [a]\n: b\n", "kb: !!python/object:os.system {}\n", "kb: !secret x\n", "\x00"]
)
def test_what_is_not_a_plain_map_is_refused(machine, text):
    machine.user(text)
    assert machine.refuse().code == "config.syntax"


def test_a_key_given_twice_is_refused_and_names_both_lines(machine):
    machine.user("kb:\n  wal: true\n  fts: true\n  wal: false\n")
    error = machine.refuse()
    assert (error.code, error.message, error.where.line) == ("config.duplicate_key", "the key 'wal' appears twice, first on line 2", 4)


def test_deep_nesting_and_multiplying_aliases_are_refused_within_bounds(machine):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + below] * 10)}]\n" for below, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    for text in (bomb, "kb: " + "[" * 100 + "]" * 100, "kb: " + "[" * 20000):
        machine.user(text)
        assert machine.refuse().code == "config.syntax"


def test_a_file_of_the_largest_size_is_read_to_its_end(machine, monkeypatch):
    file = machine.user("# " + "x" * 100 + "\nsandbox: {workers: 3}")
    monkeypatch.setattr(yamlfile, "MAX_BYTES", file.stat().st_size)
    assert machine.load().get("sandbox.workers") == 3


def test_a_file_that_is_too_large_is_refused(machine):
    machine.user("# " + "x" * (1 << 20))
    assert machine.refuse().code == "config.too_large"


def test_a_file_that_is_not_utf8_is_refused_with_its_line(machine):
    machine.user("").write_bytes(b"kb:\n  wal: \xff\n")
    error = machine.refuse()
    assert (error.code, error.where.line) == ("config.syntax", 2)


def test_a_byte_order_mark_is_no_part_of_the_first_key(machine):
    machine.user("\ufeffsandbox: {workers: 3}")
    assert machine.load().get("sandbox.workers") == 3


def test_a_directory_in_the_place_of_the_file_is_an_error_and_not_skipped(machine):
    (machine.root / "etc/config.yaml").mkdir()
    assert machine.refuse().code == "config.unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_system_file_is_an_error_because_it_may_hold_limits(machine):
    machine.system("policy: {memory_mb: 1}").chmod(0)
    assert machine.refuse().code == "config.unreadable"


def test_a_link_that_leads_in_a_circle_or_to_nothing_is_an_error_because_it_may_have_led_to_limits(machine):
    link = machine.root / "etc/config.yaml"
    link.symlink_to(link)
    assert machine.refuse().code == "config.unreadable"
    link.unlink()
    link.symlink_to(machine.root / "nowhere")
    refused = machine.refuse()
    assert (refused.code, f"it is a link to '{machine.root}/nowhere', and nothing is there" in refused.message) == (
        "config.unreadable",
        True,
    )


def test_a_pipe_that_nobody_writes_into_is_an_error_and_not_waited_for(machine):
    os.mkfifo(machine.root / "etc/config.yaml")
    assert machine.refuse().message.endswith("it is a pipe, and nobody writes into it")


def test_a_pipe_is_read_to_its_end(machine):
    reader, writer = os.pipe()
    with os.fdopen(reader):
        os.write(writer, b"sandbox: {wor")
        rest = threading.Thread(target=lambda: (os.write(writer, b"kers: 3}"), os.close(writer)))
        rest.start()
        assert machine.load(RUNLOOP_CONFIG=f"/dev/fd/{reader}").get("sandbox.workers") == 3
        rest.join()


def test_every_refusal_of_a_file_says_what_to_do(machine):
    texts = (
        "kb: [",
        "kb: {wal: 'x",
        "\x00",
        "- a",
        "--- {}\n--- {}",
        "? [a]\n: b",
        "kb: !x 1",
        "kb: " + "[" * 100 + "]" * 100,
        "a: 1\na: 1",
    )
    for text in (*texts, "# " + "x" * (1 << 20)):
        machine.user(text)
        assert machine.refuse().hint, text
    machine.user("").write_bytes(b"\xff")
    assert machine.refuse().hint == "Save it as UTF-8."


def test_a_place_that_nobody_may_look_into_is_left_to_the_reader(machine, monkeypatch):
    def stat(self, **how):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", stat)
    assert machine.load().layers[0].status == "missing"


def test_yaml_is_imported_only_for_a_file(machine, tmp_path):
    import subprocess
    import sys

    code = "import sys; from runloop.config import load; load(); print('yaml' in sys.modules)"
    env = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    if Path("/etc/runloop/config.yaml").exists():
        pytest.skip("this machine has a system configuration")
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout == "False\n"
    machine.user("sandbox: {workers: 1}")
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout == "True\n"


@given(st.text(alphabet=st.sampled_from("abk:[]{}-*&!'\"#, \n\t|>?%@`~wal0"), max_size=60))
def test_any_text_is_a_map_or_one_of_our_errors(text):
    with suppress(ConfigError):  # anything else that it raises fails the test
        assert isinstance(parse(text, "f").value, dict)
