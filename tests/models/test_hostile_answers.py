"""What a provider may say beside an answer: its own key, numbers and names that no record can hold, a refusal, several choices."""

import json

import pytest

from runloop.models.errors import ModelError
from runloop.models.reading import Growing
from runloop.models.transport import quoted, retry_after_s
from runloop.models.types import EmbedRequest, ModelRequest
from runloop.models.veil import SHORTEST_KEY, veil

SECRET = "sk-very-secret-4711"


def chat(text, finish="stop", **fields):
    return {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}], **fields}


def piece(finish=None, index=0, **delta):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


async def told(broker, budget, *documents, heard=None, provider="openai"):
    """Ask a provider that answers with these documents: one as a whole, several as a stream."""
    model = f"{provider}:told" if len(documents) == 1 else f"{provider}:told-in-pieces"
    prompt = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in documents)
    return await broker.complete(ModelRequest(prompt, model=model), budget, heard=heard)


async def refused(broker, budget, *documents, provider="openai"):
    with pytest.raises(ModelError) as caught:
        await told(broker, budget, *documents, provider=provider)
    return caught.value


async def test_a_key_that_the_provider_sends_back_is_in_no_part_of_the_answer(make_broker, unlimited):
    document = chat("your key is KEY", model="m KEY")
    document["choices"][0]["message"]["reasoning"] = "KEY!"
    reply = await told(make_broker(), unlimited, document)

    assert (reply.text, reply.model, reply.reasoning) == ("your key is [secret]", "m [secret]", "[secret]!")


async def test_a_key_that_comes_in_two_pieces_is_not_heard_either(make_broker, unlimited):
    heard = []
    documents = [piece(content="key sk-very-se"), piece(content="cret-4711 or sk-v"), piece("stop", content="ery well")]
    reply = await told(make_broker(), unlimited, *documents, heard=lambda at, text: heard.append((at, text)))

    assert reply.text == "key [secret] or sk-very well"
    assert heard == [(0, "key "), (4, "[secret] or "), (16, "sk-very well")]


async def test_a_model_of_an_embedding_does_not_hold_the_key(make_broker, unlimited):
    document = json.dumps({"data": [{"index": 0, "embedding": [1, 2]}], "model": "KEY"})
    reply = await make_broker().embed(EmbedRequest((document,), "openai:told-embedding"), unlimited)

    assert (reply.model, reply.vectors) == ("[secret]", ((1.0, 2.0),))


def test_a_short_key_is_a_place_holder_and_stays_a_word():
    growing = Growing("ollama")

    assert growing.add("ollama answers, oll") == "ollama answers, oll"


@pytest.mark.parametrize(("length", "said"), [(SHORTEST_KEY - 1, "{key} "), (SHORTEST_KEY, "[secret] ")])
def test_a_key_is_looked_for_from_its_least_length_on(length, said):
    key = "secret-of-the-provider"[:length]
    growing = Growing(key)
    heard = "".join(growing.add(piece) for piece in (key[:4], key[4:], " "))

    assert (heard, veil(f"{key} ", key)) == (said.format(key=key), said.format(key=key))


@pytest.mark.parametrize("form", ['a/b+c"d', 'a\\/b+c\\"d', "a\\u002fb\\u002Bc\\u0022d"], ids=["plain", "escaped", "as-code-points"])
def test_a_key_is_not_quoted_in_any_form_that_json_gives_it(form):
    assert quoted(f'{{"said": "{form} A/B"}}'.encode(), 'a/b+c"d') == '{"said": "[secret] A/B"}'


@pytest.mark.parametrize("count", [10**30, 2**53, -1, float("nan"), "7", True])
async def test_a_count_of_tokens_that_cannot_be_one_is_estimated(count, make_broker, unlimited):
    reply = await told(make_broker(), unlimited, chat("Hello", usage={"prompt_tokens": 5, "completion_tokens": count}))

    assert (reply.usage.tokens_in, reply.usage.tokens_out, reply.usage.estimated) == (5, 2, True)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 5}, {"completion_tokens": 9}])
async def test_where_one_count_is_missing_the_usage_is_an_estimate(usage, make_broker, unlimited):
    reply = await told(make_broker(), unlimited, chat("Hello", usage=usage))

    assert reply.usage.estimated
    assert {reply.usage.tokens_in, reply.usage.tokens_out} & set(usage.values())


@pytest.mark.parametrize("text", ["Hello", ""])
async def test_a_count_of_nothing_is_no_count_where_there_was_something(text, make_broker, unlimited):
    document = chat(text, usage={"prompt_tokens": 0, "completion_tokens": 0})
    ask = told if text else refused
    usage = (await ask(make_broker(), unlimited, document)).usage

    assert (usage.tokens_in > 0, usage.tokens_out, usage.estimated) == (True, 2 if text else 0, True)


async def test_an_empty_answer_that_is_counted_as_such_is_counted(make_broker, unlimited):
    usage = (await refused(make_broker(), unlimited, chat("", usage={"prompt_tokens": 4, "completion_tokens": 0}))).usage

    assert (usage.tokens_in, usage.tokens_out, usage.estimated) == (4, 0, False)


async def test_a_count_of_nothing_for_texts_to_embed_is_none(make_broker, unlimited):
    document = json.dumps({"data": [{"index": 0, "embedding": [1, 2]}], "model": "m", "usage": {"prompt_tokens": 0}})
    usage = (await make_broker().embed(EmbedRequest((document,), "openai:told-embedding"), unlimited)).usage

    assert (usage.tokens_in > 0, usage.estimated) == (True, True)


@pytest.mark.parametrize(("name", "kept"), [("m\ud800", "m\ufffd"), ("m" * 1000, "m" * 200)], ids=["half-a-pair", "long"])
async def test_the_name_of_a_model_can_be_kept(name, kept, make_broker, unlimited):
    assert (await told(make_broker(), unlimited, chat("Hello", model=name))).model == kept


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        ([{"error": {"message": "quota \ud800 gone"}}], "model.server_error"),
        ([piece(content="so "), {"error": {"message": "quota \ud800 gone", "type": "invalid_request_error"}}], "model.rejected"),
    ],
    ids=["whole", "streamed"],
)
async def test_an_error_with_half_a_character_is_quoted(documents, code, make_broker, unlimited):
    error = await refused(make_broker(), unlimited, *documents)

    assert error.code == code
    assert "quota \ufffd gone" in error.message


@pytest.mark.parametrize(
    "documents",
    [
        [chat(None) | {"choices": [{"message": {"content": None, "refusal": "Not this."}, "finish_reason": "stop"}]}],
        [piece(refusal="Not "), piece("stop", refusal="this.")],
    ],
    ids=["whole", "streamed"],
)
async def test_a_refusal_is_told_in_the_models_words(documents, make_broker, unlimited):
    error = await refused(make_broker(), unlimited, *documents)

    assert (error.code, error.message) == ("model.empty", "the model of openai refuses: Not this.")
    assert error.usage is not None


DETAILS = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio", "explanation": "Not this."}}


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([{"content": [], **DETAILS}], "the model of anthropic refuses: Not this."),
        ([{"type": "message_delta", "delta": DETAILS}, {"type": "message_stop"}], "the model of anthropic refuses: Not this."),
        ([{"content": [], **DETAILS, "stop_details": None}], "anthropic answered with no text (filtered)"),
    ],
)
async def test_a_refusal_of_anthropics_is_told_in_its_words(documents, message, make_broker, unlimited):
    error = await refused(make_broker(), unlimited, *documents, provider="anthropic")

    assert (error.code, error.message) == ("model.empty", message)


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, "}, {"type": "text", "text": "so."}]}


@pytest.mark.parametrize(
    "documents",
    [
        [chat([THOUGHT, {"type": "text", "text": "It "}, {"type": "reference", "ids": [1]}, {"type": "text", "text": "is."}])],
        [piece(content=[THOUGHT]), piece(content=[{"type": "text", "text": "It "}]), piece("stop", content="is.")],
    ],
    ids=["whole", "streamed"],
)
async def test_a_content_in_parts_is_one_text_and_its_thoughts(documents, make_broker, unlimited):
    reply = await told(make_broker(), unlimited, *documents)

    assert (reply.text, reply.reasoning) == ("It is.", "Hm, so.")


@pytest.mark.parametrize("content", [["text"], [{"type": "text"}], [{"type": "thinking", "thinking": 5}], [{"text": "x"}]])
async def test_parts_that_are_none_are_another_form(content, make_broker, unlimited):
    assert (await refused(make_broker(), unlimited, chat(content))).code == "model.bad_shape"


@pytest.mark.parametrize(("code", "named"), [(400, "model.rejected"), (500, "model.server_error")])
async def test_an_error_that_is_an_object_of_its_own_in_a_stream_is_quoted(code, named, make_broker, unlimited):
    document = {"object": "error", "message": "the batch is full", "type": "BadRequestError", "code": code}
    error = await refused(make_broker(), unlimited, piece(content="so "), document)

    assert error.code == named
    assert "the batch is full" in error.message


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource", "abort"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_half_a_text_that_the_provider_could_not_finish_is_no_answer(reason, streamed, make_broker, server, unlimited):
    documents = [piece(content="half "), piece(reason)] if streamed else [chat("half", reason)]
    error = await refused(make_broker(), unlimited, *documents)

    assert (error.code, error.retryable, len(server.requests())) == ("model.server_error", True, 4)
    assert reason in error.message


async def test_an_error_of_the_first_choice_is_one_of_the_answer(make_broker, unlimited):
    choice = {"index": 0, "message": {"content": "half"}, "error": {"code": 400, "message": "too long"}}
    error = await refused(make_broker(), unlimited, {"choices": [choice | {"index": 1}, choice]})

    assert error.code == "model.rejected"
    assert "too long" in error.message


async def test_an_error_of_another_choice_is_none_of_the_answer(make_broker, unlimited):
    choices = [{"index": 1, "error": {"code": 400}, "finish_reason": "error"}, "no choice", chat("first")["choices"][0]]
    with pytest.raises(ModelError, match=r"\$\.choices\[1\]"):
        await told(make_broker(), unlimited, {"choices": choices})

    assert (await told(make_broker(), unlimited, {"choices": [choices[0], choices[2]]})).text == "first"


async def test_of_several_choices_the_first_is_the_answer(make_broker, unlimited):
    choices = [chat("second")["choices"][0] | {"index": 1}, chat("first")["choices"][0]]

    assert (await told(make_broker(), unlimited, {"choices": choices})).text == "first"


async def test_pieces_of_another_choice_are_passed_over(make_broker, unlimited):
    documents = [piece(content="fi"), piece("stop", 1, content="other"), piece("stop", content="rst")]

    assert (await told(make_broker(), unlimited, *documents)).text == "first"


@pytest.mark.parametrize("row", [{"index": 0, "embedding": [10**400]}, {"index": 1, "embedding": [1.0]}, {"index": -1, "embedding": [1.0]}])
async def test_vectors_beyond_all_numbers_or_for_no_text_are_another_form(row, make_broker, unlimited):
    document = json.dumps({"data": [row]})
    with pytest.raises(ModelError) as caught:
        await make_broker().embed(EmbedRequest((document,), "openai:told-embedding"), unlimited)

    assert caught.value.code == "model.bad_shape"


@pytest.mark.parametrize(
    "value", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "soon"]
)
async def test_a_retry_after_that_is_no_time_leaves_the_own_back_off(value, make_broker, unlimited, naps):
    assert retry_after_s(value, 0.0) is None
    await make_broker().complete(ModelRequest(value, model="openai:told-to-wait"), unlimited)

    assert len(naps.taken) == 1


@pytest.mark.parametrize(("model", "named"), [("redirect", "http"), ("not-an-object", "[")])
async def test_where_it_leads_and_what_it_said_are_told(model, named, make_broker, unlimited):
    with pytest.raises(ModelError) as caught:
        await make_broker().complete(ModelRequest("Hello", model=f"openai:{model}"), unlimited)

    assert named in caught.value.message
    assert caught.value.hint
