"""A streamed answer is the same as a whole one, whatever the pieces; what is heard of it while it comes is what it says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.models.decode import BrokenStreamError, StreamSizeError
from runloop.models.dialects import DIALECTS, ShapeError
from runloop.models.reading import CutStreamError, Growing, Reading, StreamFailedError
from runloop.models.settings import ProviderKind
from runloop.models.types import Completion, well_formed

OPENAI, OLLAMA, ANTHROPIC = (DIALECTS[kind].stream for kind in (ProviderKind.OPENAI_CHAT, ProviderKind.OLLAMA, ProviderKind.ANTHROPIC))
# Code units of UTF-16, so that a pair may be cut anywhere, as some servers do.
PIECES = st.lists(st.text(st.sampled_from(["a", "ä", "\U0001f600", "\ud83d", "\ude00", "\n", "\x1b"]), max_size=4), max_size=8)


def sse(*documents):
    return b"".join(b"data: " + (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n\n" for each in documents)


def lines(*documents):
    return b"".join(json.dumps(each).encode() + b"\n" for each in documents)


def openai(pieces, thoughts=()):
    deltas = [*({"reasoning_content": each} for each in thoughts), *({"content": each} for each in pieces)]
    chunks = [{"model": "m", "choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    return sse(*chunks, {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]}, usage, b"[DONE]")


def ollama(pieces, thoughts=()):
    found = [*({"content": "", "thinking": each} for each in thoughts), *({"content": each} for each in pieces)]
    last = {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}
    return lines(*({"model": "m", "message": each, "done": False} for each in found), {"model": "m", **last})


def anthropic(pieces, thoughts=()):
    deltas = [
        *({"type": "thinking_delta", "thinking": each} for each in thoughts),
        {"type": "signature_delta", "signature": "x"},
        *({"type": "text_delta", "text": each} for each in pieces),
    ]
    return sse(
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    )


FORMS = [(OPENAI, openai), (OLLAMA, ollama), (ANTHROPIC, anthropic)]
IDS = ["openai", "ollama", "anthropic"]


def read(stream, data, step=None, heard=None, max_bytes=100_000):
    reading = Reading(stream, max_bytes, heard)
    for start in range(0, len(data), step or len(data) or 1):
        if reading.feed(data[start : start + (step or len(data))]):
            break
    return reading.close()


@pytest.mark.parametrize(("stream", "form"), FORMS, ids=IDS)
@given(PIECES, PIECES, st.integers(1, 60))
def test_an_answer_does_not_depend_on_how_its_bytes_and_its_text_are_cut(stream, form, pieces, thoughts, step):
    heard = []
    answer = read(stream, form(pieces, thoughts), step, lambda at, text: heard.append((at, text)))

    text, thought = well_formed("".join(pieces)), well_formed("".join(thoughts))
    assert answer == Completion(text, "stop", "m", 3, 4, reasoning=thought)
    assert text.startswith("".join(piece for _, piece in heard))
    assert [at for at, _ in heard] == [sum(len(piece) for _, piece in heard[:number]) for number in range(len(heard))]


@pytest.mark.parametrize(("stream", "form"), FORMS, ids=IDS)
def test_a_stream_that_is_cut_anywhere_before_the_last_word_gives_no_answer(stream, form):
    data = form(["some", " text"])
    answered, cut = [], []
    for end in range(len(data)):
        try:
            answered.append(read(stream, data[:end]))
        except CutStreamError:
            cut.append(end)

    assert cut == list(range(len(cut)))
    assert {answer.text for answer in answered} <= {"some text"}
    assert len(cut) > data.index(b" text")


def test_reasoning_has_two_names_and_is_taken_once():
    chunk = {"choices": [{"delta": {"reasoning": "why", "reasoning_content": "why"}, "finish_reason": None}]}
    other = {"choices": [{"delta": {"reasoning": ", so", "content": None}, "finish_reason": None}]}

    answer = read(OPENAI, sse(chunk, other, {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}))

    assert (answer.text, answer.reasoning) == ("x", "why, so")


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 30, "total_tokens": 35, "completion_tokens_details": {"reasoning_tokens": 20}}, 30),
        ({"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 35, "completion_tokens_details": {"reasoning_tokens": 20}}, 30),
        ({"prompt_tokens": 5, "completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 20}}, 10),
        ({"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15, "completion_tokens_details": None}, 10),
    ],
)
def test_tokens_of_reasoning_count_once_whether_they_stand_within_the_others_or_beside_them(usage, counted):
    whole = DIALECTS[ProviderKind.OPENAI_CHAT].read_completion
    streamed = read(OPENAI, sse({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}))

    assert streamed.tokens_out == counted
    assert whole({"choices": [{"message": {"content": "x"}}], "usage": usage}).tokens_out == counted


def test_a_count_that_comes_before_the_end_stands_where_no_other_follows():
    counted = {"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    answer = read(OPENAI, sse(counted, {"choices": [{"delta": {}, "finish_reason": "stop"}]}))

    assert (answer.tokens_in, answer.tokens_out) == (5, 3)


@pytest.mark.parametrize(
    ("counts", "tokens_in"),
    [
        ({"input_tokens": 5, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 20}, 1025),
        ({"input_tokens": 5, "cache_read_input_tokens": None}, 5),
        ({"cache_read_input_tokens": 20}, None),
    ],
)
def test_tokens_that_a_cache_of_prompts_holds_are_tokens_of_the_prompt(counts, tokens_in):
    usage = {**counts, "output_tokens": 3}
    whole = {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "usage": usage}
    start, text = (
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "content_block_start", "content_block": {"type": "text", "text": "Hi"}},
    )
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}

    assert DIALECTS[ProviderKind.ANTHROPIC].read_completion(whole).tokens_in == tokens_in
    assert read(ANTHROPIC, sse(start, text, end)).tokens_in == tokens_in


def test_what_follows_the_mark_of_the_end_is_not_looked_at():
    data = openai(["all of it"])
    assert read(OPENAI, data + sse({"error": "late"}) + b'data: {"error": "later"}').text == "all of it"


@pytest.mark.parametrize(
    ("stream", "data", "error"),
    [
        (OPENAI, sse(b"{"), BrokenStreamError),
        (OPENAI, sse(b"[1]"), BrokenStreamError),
        (OPENAI, sse(b"[" * 100_000), BrokenStreamError),
        (OPENAI, sse({"choices": [5]}), ShapeError),
        (OPENAI, sse({"choices": {"a": 1}}), ShapeError),
        (OPENAI, sse({"choices": [{"delta": 5}]}), ShapeError),
        (OPENAI, sse({"choices": [{"delta": {"content": ["x"]}}]}), ShapeError),
        (OLLAMA, lines({"message": 5}), ShapeError),
        (OLLAMA, lines({"message": {"thinking": 5}}), ShapeError),
        (ANTHROPIC, sse({"type": "content_block_delta", "delta": None}), ShapeError),
        (ANTHROPIC, sse({"type": "message_start"}), ShapeError),
        (ANTHROPIC, sse({"type": "unheard_of"}), CutStreamError),
        (OPENAI, b"login first", CutStreamError),
        (OPENAI, b"", CutStreamError),
        (OPENAI, sse({"choices": [{"delta": {"content": "x" * 100}}]}), StreamSizeError),
        (OPENAI, sse(*({"choices": [{"delta": {"reasoning": "x" * 30, "content": "y" * 30}}]},) * 2), StreamSizeError),
    ],
)
def test_what_is_no_answer_is_refused_by_name(stream, data, error):
    with pytest.raises(error):
        read(stream, data, max_bytes=99)


@given(st.sampled_from([OPENAI, OLLAMA, ANTHROPIC]), st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_our_error(stream, data):
    with pytest.raises((BrokenStreamError, StreamSizeError, StreamFailedError, CutStreamError, ShapeError)):
        read(stream, b"data: " + data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "choices", "delta", "content", "message", "text", "usage", "done", "error", "finish_reason", "model"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([OPENAI, OLLAMA, ANTHROPIC]), st.lists(JSON, max_size=3))
def test_any_documents_give_an_answer_or_our_error(stream, documents):
    data = lines(*documents) if stream is OLLAMA else sse(*(document for document in documents if not isinstance(document, bytes)))
    try:
        answer = read(stream, data)
    except (BrokenStreamError, StreamSizeError, StreamFailedError, CutStreamError, ShapeError):
        return

    assert isinstance(answer.text, str)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        ({"type": "overloaded_error"}, True),
        ({"type": "invalid_request_error"}, False),
        ({"code": 400}, False),
        ({"code": "400"}, False),
        ({"code": "503"}, True),
        ({"code": "insufficient_quota"}, False),
        ({"code": 429}, True),
        ({"code": 502, "message": "bad gateway"}, True),
        ("out of memory", True),
        ({"type": ["invalid_request_error"], "code": {}}, True),
    ],
)
def test_an_error_in_the_stream_says_whether_it_may_pass(error, passing):
    with pytest.raises(StreamFailedError) as caught:
        read(OPENAI, sse({"error": error}))

    assert caught.value.passing is passing


def test_an_event_that_is_named_error_is_one():
    with pytest.raises(StreamFailedError, match="no more"):
        read(OPENAI, b'event: error\ndata: {"message": "no more"}\n\n')


@given(PIECES)
def test_growing_text_is_what_its_pieces_say_together(pieces):
    growing = Growing()
    shown = "".join(growing.add(piece) for piece in pieces)

    assert growing.whole() == well_formed("".join(pieces))
    assert growing.whole().startswith(shown)
    assert (growing.length, growing.size) == (len(shown), len(shown.encode()))
