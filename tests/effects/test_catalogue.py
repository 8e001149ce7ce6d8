"""The table of hostcalls: strict about arguments, complete, and the source of its page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runloop.effects.catalogue import CATALOGUE, decode_args, effect_named, validate
from runloop.effects.perform import artifact, files, http_request, kb
from runloop.effects.perform import exec as run_program
from runloop.effects.reference import page
from runloop.effects.types import CallError, CallErrorKind, EffectClass, Outcome
from runloop.policy import Capabilities

PAGE = Path(__file__).parents[2] / "docs" / "effects.md"


def refused(name, text):
    with pytest.raises(CallError) as caught:
        decode_args(name, text)
    assert caught.value.kind is CallErrorKind.INVALID
    return caught.value


def test_the_page_says_what_the_table_says():
    assert PAGE.read_text() == page(), "run: python -m runloop.effects.reference > docs/effects.md"


def test_what_the_table_says_of_arguments_that_are_left_out_is_what_performers_take():
    said = {
        (name, argument): schema["default"]
        for name, effect in CATALOGUE.items()
        for argument, schema in effect.args_schema["properties"].items()
        if "default" in schema
    }

    assert said == {
        ("kb.search", "limit"): kb.DEFAULT_LIMIT,
        ("kb.query", "limit"): kb.DEFAULT_ROWS,
        ("http.fetch", "method"): "GET",
        ("http.fetch", "timeout_ms"): http_request.DEFAULT_TIMEOUT_MS,
        ("http.fetch", "max_bytes"): http_request.DEFAULT_MAX_BYTES,
        ("files.read", "max_bytes"): files.DEFAULT_READ_BYTES,
        ("files.list", "limit"): files.DEFAULT_LIST_LIMIT,
        ("exec.run", "timeout_ms"): run_program.DEFAULT_TIMEOUT_MS,
        ("emit.artifact", "kind"): artifact.DEFAULT_KIND,
    }


def test_every_call_has_the_class_that_the_contract_gives_it():
    classes = {name: effect.klass.value for name, effect in CATALOGUE.items()}

    assert classes == {
        "time.now": "virtual",
        "random.bytes": "virtual",
        "model.complete": "idempotent",
        "model.embed": "idempotent",
        "kb.search": "read",
        "kb.get": "read",
        "kb.query": "read",
        "kb.propose": "idempotent",
        "http.fetch": "external",
        "files.read": "read",
        "files.list": "read",
        "files.write": "external",
        "exec.run": "external",
        "mail.send": "external",
        "ask.person": "waiting",
        "secrets.handle": "virtual",
        "spawn.agent": "waiting",
        "spawn.opening": "waiting",
        "timer.sleep": "waiting",
        "emit.progress": "live",
        "emit.log": "live",
        "emit.artifact": "idempotent",
        "checkpoint.mark": "idempotent",
    }
    assert [name for name, effect in CATALOGUE.items() if effect.live] == ["emit.progress", "emit.log"]
    assert CATALOGUE["ask.person"].waiting


@pytest.mark.parametrize("effect", CATALOGUE.values(), ids=CATALOGUE)
def test_every_schema_is_one_and_closed(effect):
    Draft202012Validator.check_schema(effect.args_schema)

    assert effect.args_schema["additionalProperties"] is False


def test_every_capability_that_a_call_names_is_one_that_policy_knows():
    known = {"none", "fs_rw", *(name for name in Capabilities.__dataclass_fields__)}

    assert {effect.capability for effect in CATALOGUE.values()} <= known


def test_good_arguments_come_back_as_they_were():
    assert decode_args("kb.search", '{"query": "a", "limit": 3}') == {"query": "a", "limit": 3}


@pytest.mark.parametrize(
    ("name", "text", "code", "key"),
    [
        ("kb.search", "{}", "call.invalid", "(arguments)"),
        ("kb.search", '{"query": 1}', "call.invalid", "query"),
        ("kb.search", '{"query": ""}', "call.invalid", "query"),
        ("kb.search", '{"query": "a", "limit": 0}', "call.invalid", "limit"),
        ("kb.search", '{"query": "a", "limit": true}', "call.invalid", "limit"),
        ("kb.search", '{"query": "a", "limt": 1}', "call.unknown_argument", "limt"),
        ("mail.send", '{"to": [{"email": "a@b", "nick": 1}], "subject": "s", "text": "t"}', "call.unknown_argument", "nick"),
        ("mail.send", '{"to": [], "subject": "s", "text": "t"}', "call.invalid", "to"),
        ("http.fetch", '{"url": "https://x.org", "method": "get"}', "call.invalid", "method"),
        ("http.fetch", '{"url": "https://x.org", "headers": {"A": 1}}', "call.invalid", "headers.A"),
        ("emit.progress", '{"text": "a", "fraction": 1.5}', "call.invalid", "fraction"),
        ("kb.search", '{"query": "\\ud800"}', "call.invalid", "text"),
        ("model.complete", '{"prompt": "a", "context": {"\\udc00": 1}}', "call.invalid", "text"),
        ("kb.search", "[1]", "call.invalid", "(arguments)"),
        ("kb.search", '"a"', "call.invalid", "(arguments)"),
    ],
)
def test_wrong_arguments_are_named(name, text, code, key):
    error = refused(name, text)

    assert (error.code, error.where.key) == (code, key)
    assert error.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"query": NaN}',
        '{"query": "a", "query": "b"}',
        "[" * 100_000,
        '{"query": ' + "[" * 70 + "]" * 70 + "}",
        '{"limit": 1e999}x',
    ],
)
def test_what_is_no_json_object_is_refused(text):
    assert refused("kb.search", text).code in {"call.bad_json", "call.invalid"}


def test_arguments_that_are_too_large_are_refused_unread():
    assert refused("kb.search", " " * (8 * 1_048_576 + 1)).code == "call.args_too_large"


def test_an_unknown_call_gets_the_nearest_name():
    error = refused("kb.serch", "{}")

    assert (error.code, error.hint) == ("call.unknown", "did you mean kb.search?")
    assert "kb.search" in refused("zzzz", "{}").hint
    assert effect_named("kb.search").klass is EffectClass.READ


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["query", "to", "url", "text", "x"]), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(CATALOGUE)), args=JSON)
def test_any_arguments_are_accepted_or_refused_with_our_error(name, args):
    try:
        validate(name, args)
    except CallError as error:
        assert error.kind is CallErrorKind.INVALID  # noqa: PT017 - either outcome is right, but no other error is
    else:
        assert isinstance(args, dict)


@given(text=st.text(max_size=40))
def test_any_text_is_accepted_or_refused_with_our_error(text):
    try:
        assert isinstance(decode_args("emit.log", text), dict)
    except CallError as error:
        assert json.dumps(error.to_dict())  # noqa: PT017 - as above


def test_a_cost_is_shown_in_dollars_or_not_at_all():
    assert (Outcome({}, usd_micros=1_500_000).usd, Outcome({}).usd) == (1.5, None)


def test_what_checks_arguments_can_be_had_ready_before_the_first_call():
    script = (
        "import sys\nfrom runloop.effects import catalogue\nassert 'jsonschema' not in sys.modules\ncatalogue.prepare()\n"
        "before = set(sys.modules)\ncatalogue.decode_args('timer.sleep', '{\"ms\": 5}')\nprint(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
