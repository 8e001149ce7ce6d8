"""A stream's bytes become the same events however they are sliced, and one that is too large is refused before it is held."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.models.decode import BrokenStreamError, NdjsonDecoder, SseDecoder, StreamEvent, StreamSizeError

LIMIT = 1000
LINES = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data",
        b"data: \xc3\xa4\xf0\x9f\x98\x80",
        b"event: delta",
        b"id: 7",
        b": comment",
        b"",
        b"",
        b"x",
        b"data: \xff",
    ]
)
SSE = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=20).map(lambda lines: b"".join(a + b for a, b in lines))
NDJSON = st.lists(st.sampled_from([b'{"a": 1}', b'{"b": "\xc3\xa4"}', b"", b" ", b"{\r", b"\xff", b"x" * 1001]), max_size=12).map(
    b"\n".join
)


def slices(data, cuts):
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def events(decoder, parts):
    """The events up to the end or an error, and the error's kind."""
    found = []
    try:
        for part in parts:
            found.extend(decoder.feed(part))
        found.extend(decoder.rest())
    except (BrokenStreamError, StreamSizeError) as error:
        return found, type(error)
    return found, None


@given(SSE, st.lists(st.integers(0, 1000), max_size=20))
def test_server_sent_events_do_not_depend_on_how_they_are_sliced(data, cuts):
    whole, by_byte = events(SseDecoder(LIMIT), [data]), events(SseDecoder(LIMIT), [bytes([byte]) for byte in data])

    assert events(SseDecoder(LIMIT), slices(data, cuts)) == by_byte == whole


@given(NDJSON, st.lists(st.integers(0, 5000), max_size=20))
def test_json_lines_do_not_depend_on_how_they_are_sliced(data, cuts):
    whole = events(NdjsonDecoder(LIMIT), [data])

    assert events(NdjsonDecoder(LIMIT), slices(data, cuts)) == whole
    assert events(NdjsonDecoder(LIMIT), [bytes([byte]) for byte in data]) == whole


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers(), max_size=3), max_size=8), st.sampled_from(["\n", "\r", "\r\n"]))
def test_what_was_written_as_events_comes_out_again(documents, end):
    texts = [json.dumps(document, ensure_ascii=False) for document in documents]
    data = "".join(f"data: {text}{end}{end}" for text in texts)

    assert [event.data for event in events(SseDecoder(10**6), [data.encode()])[0]] == texts


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_our_error(data):
    for decoder in (SseDecoder(100), NdjsonDecoder(100)):
        events(decoder, [data])


def test_an_event_has_its_name_and_its_lines_joined():
    data = b"\xef\xbb\xbfevent: message\ndata: one\ndata: two\nretry: 5\n\ndata: three\n\n"

    assert events(SseDecoder(LIMIT), [data])[0] == [StreamEvent("one\ntwo", "message"), StreamEvent("three")]


def test_an_event_without_data_is_none_and_its_name_does_not_stay():
    assert events(SseDecoder(LIMIT), [b"event: ping\n\ndata: x\n\n"])[0] == [StreamEvent("x")]


def test_an_event_that_nothing_closed_comes_at_the_end():
    decoder = SseDecoder(LIMIT)

    assert list(decoder.feed(b"data: [DONE]")) == []
    assert list(decoder.rest()) == [StreamEvent("[DONE]")]


@pytest.mark.parametrize("step", [1, 7, 5000])
@pytest.mark.parametrize("decoder", [SseDecoder, NdjsonDecoder])
def test_a_line_without_an_end_is_refused_when_it_is_too_long(decoder, step):
    data = b"data: " + b"x" * 2 * LIMIT

    assert events(decoder(LIMIT), [data[start : start + step] for start in range(0, len(data), step)]) == ([], StreamSizeError)


def test_many_short_lines_of_one_event_are_refused_too():
    assert events(SseDecoder(LIMIT), [b"data: 123456789\n" * 101]) == ([], StreamSizeError)
    assert events(SseDecoder(LIMIT), [b"data: 123456789\n" * 100 + b"\n"])[1] is None
