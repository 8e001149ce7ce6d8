"""What guests write to their streams, against a second implementation that has all of it at once."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from runloop.sandbox.said import Said

LIMIT = 8192
texts = st.text(st.sampled_from(["a", "ü", "€", "🜂", "\n", " "]), max_size=30)
pieces = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 1, 1, 97, 1500]))


def logged(parts):
    lines = []
    said = Said(lambda level, line: lines.append((level, line)))
    for level, data in parts:
        said.write(level, data)
    said.finish()
    return lines, said


def cut(line):
    """A line in parts of as many whole characters as go into 8 KiB."""
    part, size = "", 0
    for char in line:
        if size + len(char.encode()) > LIMIT:
            yield part
            part, size = "", 0
        part, size = part + char, size + len(char.encode())
    yield part


@given(pieces, st.lists(st.integers(0, 40_000), max_size=4))
@example("x" * (LIMIT - 1) + "€" + "y" * 5, [])
@example("x" * LIMIT + "\n" + "y", [LIMIT, LIMIT + 1])
@example("🜂" * LIMIT, [1, 8191])
def test_lines_come_whole_and_long_ones_in_parts_of_whole_characters_however_they_are_written(text, cuts):
    data = text.encode()
    at = sorted({min(each, len(data)) for each in cuts} | {0, len(data)})
    whole = [part for line in text.removesuffix("\n").split("\n") for part in cut(line)] if text else []
    assert logged([("info", data[a:b]) for a, b in pairwise(at)])[0] == [("info", line) for line in whole]


@given(st.lists(st.tuples(st.sampled_from(["info", "warn"]), st.binary(max_size=20) | pieces.map(str.encode)), max_size=6))
def test_each_stream_has_lines_of_its_own_and_nothing_is_lost(parts):
    lines, _ = logged(parts)
    for level in ("info", "warn"):
        data = b"".join(piece for stream, piece in parts if stream == level)
        assert "".join(line for stream, line in lines if stream == level) == data.decode(errors="replace").replace("\n", "")


@given(pieces)
def test_the_last_words_are_the_end_in_whole_characters(text):
    said = logged([("warn", text.encode())])[1]
    end = text.encode()[-4096:].decode(errors="ignore").strip()
    assert (said.last, said.tail) == (end, f"\n{end}" if end else "")
