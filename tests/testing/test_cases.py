from __future__ import annotations

import pytest

from runloop.errors import InvalidInput
from runloop.testing import Case, ExpectedError, Scripted, read_cases


def test_every_key_of_a_case_is_read():
    text = """\
cases:
  - name: all of it
    with: {topic: tea}
    inputs: {contact: [{name: Ada}]}
    answers:
      - call: kb.search
        args: {query: tea}
        answer: {hits: []}
      - call: model.complete
        error: {code: unavailable, message: no model, hint: set one}
    expect: {out: 1}
  - name: fails
    expect_error: {code: guest.exception, contains: boom}
"""
    assert read_cases(text) == (
        Case(
            name="all of it",
            line=2,
            with_args={"topic": "tea"},
            inputs={"contact": [{"name": "Ada"}]},
            answers=(
                Scripted("kb.search", 6, {"query": "tea"}, {"hits": []}),
                Scripted("model.complete", 9, {}, None, {"code": "unavailable", "message": "no model", "hint": "set one"}),
            ),
            expect={"out": 1},
            expect_error=None,
        ),
        Case("fails", 12, {}, {}, (), None, ExpectedError("guest.exception", "boom")),
    )


ONE = "cases:\n- name: a\n  "


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("cases: [", None, "c.yaml:1"),
        ("[]", "the document must be a mapping", "c.yaml:1:1"),
        ("case: []", "unknown key 'case'", "c.yaml:1:7, key 'case'"),
        ("cases: []", "cases must be a list with at least one case", "c.yaml:1:1"),
        ("cases: [1]", "cases[0] must be a mapping", "c.yaml:1:9, key 'cases[0]'"),
        ("cases:\n- expect: {}", "a case needs a name", "c.yaml:2:3, key 'cases[0]'"),
        (f"{ONE}expct: {{}}", "unknown key 'expct'", "c.yaml:3:10, key 'cases[0].expct'"),
        (f"{ONE}with: {{}}", "a case has either expect or expect_error", "c.yaml:2:3, key 'cases[0]'"),
        (f"{ONE}expect: {{}}\n  expect_error: {{code: x}}", "a case has either expect or expect_error", "c.yaml:2:3, key 'cases[0]'"),
        (f"{ONE}expect: 1", "expect must be a mapping", "c.yaml:3:11, key 'cases[0].expect'"),
        (f"{ONE}expect: {{}}\n  with: 1", "with must be a mapping", "c.yaml:4:9, key 'cases[0].with'"),
        (f"{ONE}expect: {{}}\n  inputs: {{x: 1}}",
         "the input 'x' must be a list, one value for each edge", "c.yaml:4:15, key 'cases[0].inputs.x'"),
        (f"{ONE}expect: {{}}\n  answers: 1", "answers must be a list", "c.yaml:4:12, key 'cases[0].answers'"),
        (f"{ONE}expect: {{}}\n  answers: [{{call: kb.serach, answer: 1}}]", "there is no hostcall 'kb.serach'",
         "c.yaml:4:20, key 'cases[0].answers[0].call'"),
        (f"{ONE}expect: {{}}\n  answers: [{{call: [], answer: 1}}]",
         "there is no hostcall []", "c.yaml:4:20, key 'cases[0].answers[0].call'"),
        (f"{ONE}expect: {{}}\n  answers: [{{call: kb.get}}]",
         "an answer has either answer or error", "c.yaml:4:13, key 'cases[0].answers[0]'"),
        (f"{ONE}expect: {{}}\n  answers: [{{call: kb.get, error: {{code: no}}}}]", "'no' is no code of a refused call",
         "c.yaml:4:35, key 'cases[0].answers[0].error'"),
        (f"{ONE}expect: {{}}\n  answers: [{{call: kb.get, error: {{code: denied, message: 1}}}}]", "code, message and hint are texts",
         "c.yaml:4:35, key 'cases[0].answers[0].error'"),
        (f"{ONE}expect_error: {{contains: x}}", "expect_error needs a code, and perhaps a text that the message contains",
         "c.yaml:3:17, key 'cases[0].expect_error'"),
        (f"{ONE}expect_error: {{code: 1}}", "expect_error needs a code, and perhaps a text that the message contains",
         "c.yaml:3:17, key 'cases[0].expect_error'"),
        (f"{ONE}expect: {{}}\n- name: a\n  expect: {{}}", "the name 'a' is there twice", "c.yaml:4:9, key 'cases[1].name'"),
        ("cases:\n- {1: 2}", None, "c.yaml:2"),
    ],
)  # fmt: skip
def test_a_faulty_file_says_what_is_wrong_and_where(text, message, place):
    with pytest.raises(InvalidInput) as caught:
        read_cases(text, file="c.yaml")
    assert caught.value.code in {"cases.invalid", "cases.yaml"}
    assert message in {None, caught.value.message}
    assert str(caught.value.where).startswith(place)
