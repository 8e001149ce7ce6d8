from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.importers.shell.histories import READERS, Entry, shell_of

BYTES = st.binary(min_size=1, max_size=30).filter(lambda text: bool(text.strip()) and b"\r" not in text)
TIMES = st.integers(10**8, 10**10)


def numbered(data):
    lines = data.split(b"\n")
    return list(enumerate(lines[:-1] if lines[-1] == b"" else lines, 1))


def read(shell, data):
    return list(READERS[shell](numbered(data)))


def metafied(text):
    """As zsh writes bytes (Src/utils.c): NUL and 0x83 to 0xa2 get 0x83 before them and bit 5 turned over."""
    return b"".join(bytes([0x83, byte ^ 0x20]) if byte == 0 or 0x83 <= byte <= 0xA2 else bytes([byte]) for byte in text)


def zsh_line(text, stamp=b""):
    body = metafied(text)
    last = b" " if body.endswith(b"\\") else b""
    colon = b"\\" if not stamp and body.startswith(b":") else b""
    return stamp + colon + body.replace(b"\n", b"\\\n") + last + b"\n"


def ends_well(text):
    """Without what zsh itself does not give back: a blank after a last backslash, a backslash before a line end."""
    return not text.endswith((b"\\ ", b"\n")) and b"\\\n" not in text


@given(st.lists(st.tuples(BYTES.filter(ends_well), TIMES, st.integers(0, 99))))
def test_extended_zsh_comes_back_as_it_was_typed(entries):
    data = b"".join(zsh_line(text, b": %d:%d;" % (at, seconds)) for text, at, seconds in entries)
    assert [(each.text, each.at, each.seconds) for each in read("zsh", data)] == entries


@given(st.lists(BYTES.filter(ends_well).filter(lambda text: not text.startswith((b":", b"\\:")))))
def test_plain_zsh_comes_back_as_it_was_typed(texts):
    assert [each.text for each in read("zsh", b"".join(zsh_line(text) for text in texts))] == texts


@given(st.lists(st.tuples(BYTES.filter(lambda text: b"#" not in text and not text.endswith(b"\n") and not text.startswith(b"\n")), TIMES)))
def test_bash_with_times_comes_back_as_it_was_typed(entries):
    data = b"".join(b"#%d\n%s\n" % (at, text) for text, at in entries)
    assert [(each.text, each.at) for each in read("bash", data)] == entries


@given(st.lists(st.tuples(BYTES, TIMES)))
def test_fish_comes_back_as_it_was_typed(entries):
    escaped = [(text.replace(b"\\", b"\\\\").replace(b"\n", b"\\n"), at) for text, at in entries]
    data = b"".join(b"- cmd: %s\n  when: %d\n  paths:\n    - a\n" % each for each in escaped)
    assert [(each.text, each.at) for each in read("fish", data)] == entries


@given(st.binary(max_size=200), st.sampled_from(sorted(READERS)))
def test_any_bytes_are_a_history(data, shell):
    lines = [line for line, *_ in read(shell, data)]
    assert lines == sorted(lines)


def test_bash_without_times_is_a_command_a_line_until_the_first_time():
    assert read("bash", b"ls\n\ncd x\n#1700000000\nfor a in b\ndo c; done\n#1700000001\n") == [
        Entry(1, b"ls"),
        Entry(3, b"cd x"),
        Entry(5, b"for a in b\ndo c; done", 1700000000),
    ]


def test_zsh_names_the_first_line_of_a_command():
    assert read("zsh", b"ls\nfor a\\\ndo b\n: 1700000000:3;last\\") == [
        Entry(1, b"ls"),
        Entry(2, b"for a\ndo b"),
        Entry(4, b"last", 1700000000, 3),
    ]


@pytest.mark.parametrize(
    ("name", "head", "shell"),
    [
        (".bash_history", b"ls\n", "bash"),
        (".zsh_history", b"ls\n", "zsh"),
        (".zhistory", b"ls\n", "zsh"),
        ("fish_history", b"", "fish"),
        ("old.txt", b"ls\n: 1700000000:0;ls\n", "zsh"),
        ("old.txt", b"- cmd: ls\n", "fish"),
        ("old.txt", b"#1700000000\nls\n", "bash"),
        ("old.txt", b"ls\n", "bash"),
    ],
)
def test_a_history_tells_whose_it_is(name, head, shell):
    assert shell_of(name, head) == shell
