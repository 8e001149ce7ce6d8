"""What an author is told to change: a key that a manifest has, and what fits the exception that ended the agent."""

import dataclasses
import importlib
import inspect
import re
import traceback
from types import SimpleNamespace

import pytest
import wasmtime

from runloop.bundles.manifest import _LIMIT_KEYS
from runloop.effects.catalogue import CATALOGUE
from runloop.sandbox.guests import Guests
from runloop.sandbox.outcome import accepted, checked, trapped
from runloop.sandbox.remedies import CALLS, HINTS, RECORDS, SIGNATURES, hint_of, place_of
from runloop.sandbox.said import Said
from runloop.sandbox.spec import MAX_REQUEST_BYTES, GuestError


def test_every_limit_that_a_hint_names_is_a_key_of_the_manifest():
    named = {key for hint in HINTS.values() for key in re.findall(r"limits\.(\w+)", hint)}

    assert named
    assert named <= set(_LIMIT_KEYS)


def test_code_that_asks_for_what_is_not_there_is_told_what_is():
    assert "docs/hostcalls.md" in hint_of(
        "guest.request", "the agent's code cannot be linked: unknown import: `env::f` has not been defined"
    )
    assert hint_of("guest.request", "run() needs topic") == HINTS["guest.request"]


def _told(raises):
    """The hint for what a guest would say of it."""
    with pytest.raises(ValueError, match="mine") as caught:
        raises()
    return hint_of("guest.exception", "".join(traceback.format_exception(caught.value)))


def _no_thread():
    raise RuntimeError("can't start new thread")


def test_the_cause_of_an_authors_own_exception_has_its_hint():
    def raises():
        try:
            _no_thread()
        except RuntimeError as error:
            raise ValueError("mine") from error

    assert "runloop_agent.spawn" in _told(raises)


def test_what_the_author_handled_before_has_none():
    def raises():
        try:
            _no_thread()
        except RuntimeError:
            raise ValueError("mine")  # noqa: B904 - what Python says of it is the point

    assert _told(raises) == ""


def test_the_cause_of_what_was_handled_has_none():
    def raises():
        try:
            try:
                _no_thread()
            except RuntimeError as error:
                raise LookupError("no") from error
        except LookupError:
            raise ValueError("mine")  # noqa: B904 - what Python says of it is the point

    assert _told(raises) == ""


@pytest.mark.parametrize(
    "asks", ["__import__('pathlib').Path.home()", "__import__('getpass').getuser()", "__import__('os').environ['HOME']"]
)
async def test_who_asks_the_environment_is_told_that_there_is_none(asks, run):
    with pytest.raises(GuestError) as failed:
        await run(f"def run():\n    return {asks}\n")

    assert "an agent has no environment" in failed.value.hint


@pytest.mark.parametrize("asks", ["home()", "('~/photos').expanduser()"])
async def test_who_looks_for_the_home_directory_is_told_where_a_path_may_begin_with_it(asks, run):
    with pytest.raises(GuestError) as failed:
        await run(f"from pathlib import Path\ndef run():\n    return str(Path{'.' * (asks[0] != '(')}{asks})\n")

    assert failed.value.hint == "an agent has no environment, and so no home; paths of runloop_agent.files may begin with ~/"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("{'sum': __import__('decimal').Decimal('1.10')}", "return str() of it, which keeps every digit"),
        ("[__import__('datetime').date(2026, 1, 1)]", "return .isoformat() of it"),
        ("__import__('datetime').timedelta(1)", "return .total_seconds() of it"),
        ("{'tags': {'a'}}", "return sorted() or list() of it"),
        ("b'x'", "return .decode() of it, or base64.b64encode(…).decode() where it is no text"),
        ("(i for i in [1])", "return list() of it"),
        ("{}.keys()", "return list() of it"),
        ("{(1, 2): 3}", "make the keys texts: {str(key): value for key, value in …}"),
        ("[float('nan')]", "JSON has no NaN and no infinity: return None, or a text"),
        ("__import__('pathlib').Path('a')", "return str() of it, .value of an enum, or a dict, list, text or number that you make of it"),
    ],
)
async def test_a_result_that_json_cannot_carry_is_answered_with_what_makes_one_of_it(value, hint, run):
    with pytest.raises(GuestError) as failed:
        await run(f"def run():\n    return {value}\n")

    assert (failed.value.code, failed.value.hint) == ("guest.result", hint)


def test_a_result_that_is_too_large_is_not_helped_by_a_higher_limit():
    assert hint_of("guest.output", "the agent put out more than 8388608 bytes") == HINTS["guest.output"]
    assert "limits" not in hint_of("guest.output", accepted(SimpleNamespace(reason=None), "x" * (MAX_REQUEST_BYTES + 1)).text)


def test_a_group_of_exceptions_has_its_place_too():
    told = """  + Exception Group Traceback (most recent call last):
  |   File "agent.py", line 20, in run
  |     raise ExceptionGroup("several", found)
  | ExceptionGroup: several (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "lib/words.py", line 7, in helper
    |     return data["missing"] + 1
    |            ~~~~^^^^^^^^^^^
    | KeyError: 'missing'
    +------------------------------------
"""
    assert place_of("guest.exception", told) == 'look at lib/words.py, line 7: return data["missing"] + 1'


def test_an_agent_for_which_the_system_has_no_room_did_not_crash():
    error = "failed to allocate\n\nCaused by:\n    0: mmap failed to reserve 0x104000000 bytes\n    1: Cannot allocate memory (os error 12)"
    found = trapped(SimpleNamespace(reason=None, said=Said(print)), error)

    assert found.code == "guest.no_room"
    assert "crashed" not in found.text
    assert "ulimit -v" in hint_of(found.code, found.text)


def test_code_for_which_the_system_has_no_room_is_not_the_fault_of_the_request(monkeypatch):
    def no_room(*_where, **_how):
        raise wasmtime.WasmtimeError("failed to load code for: x.cwasm\n\nCaused by:\n    0: Cannot allocate memory (os error 12)")

    guests = Guests()
    monkeypatch.setattr(guests, "prepare", no_room)
    found = guests.run(SimpleNamespace(), {"kind": "python", "path": "x.cwasm", "limits": {"fuel": None}})

    assert found.code == "guest.no_room"


def test_an_exception_of_the_agents_own_is_said_to_come_from_its_innermost_line():
    told = """Traceback (most recent call last):
  File "agent.py", line 13, in run
    return helper({})
           ~~~~~~^^^^
  File "lib/words.py", line 7, in helper
    return data["missing"] + 1
           ~~~~^^^^^^^^^^^
  File "<frozen os>", line 1, in inner
KeyError: 'missing'
"""
    assert place_of("guest.exception", told) == 'look at lib/words.py, line 7: return data["missing"] + 1'
    long = told.replace("data", "d" * 100)
    assert f": return {'d' * 73}…" in place_of("guest.exception", long)
    assert place_of("guest.exception", '  File "a.py", line 7\nSyntaxError: no') == "look at a.py, line 7"
    assert (place_of("guest.exception", "exit code 3"), place_of("guest.trap", told)) == ("", "")


def test_a_guest_that_crashes_as_memory_runs_out_is_told_of_its_memory():
    said = b"memory allocation of 100400009 bytes failed\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
    error = "error while executing\n\nCaused by:\n    wasm trap: wasm `unreachable` instruction executed"

    last_words = Said(lambda _level, _line: None)
    last_words.write("warn", said)
    found = trapped(SimpleNamespace(reason=None, said=last_words), error)

    assert (found.code, "100400009" in found.text) == ("guest.memory", True)


def test_a_result_that_no_limit_would_let_through_is_not_said_to_be_over_the_limit_that_can_be_raised():
    def write(_count):
        raise AssertionError("counted")

    found = checked(SimpleNamespace(reason=None, write=write), "x" * (MAX_REQUEST_BYTES + 1))

    assert (found.code, found.text) == ("guest.output", f"the result is larger than {MAX_REQUEST_BYTES} bytes")
    assert "4 MiB" in hint_of(found.code, found.text)


@pytest.mark.parametrize(
    ("does", "hint"),
    [
        ("import bz2", "a file of that name beside agent.py stands in for it"),
        ("exec('import sys; sys.exit(1)')", "an agent ends with the result that it returns"),
        ("exit()", "an agent ends with the result that it returns"),
        ("import numpy", ""),
    ],
)
async def test_what_ends_an_agent_on_the_way_is_answered_with_what_to_write(does, hint, run):
    with pytest.raises(GuestError) as failed:
        await run(f"def run():\n    {does}\n")

    assert failed.value.hint.startswith(("where a package", "an agent ends")) == bool(hint)
    assert hint in failed.value.hint


def test_a_call_that_is_not_there_is_answered_with_those_that_are():
    message = "Traceback (most recent call last):\nAttributeError: module 'runloop_agent.http' has no attribute 'get'"

    assert hint_of("guest.exception", message) == "runloop_agent.http has fetch, with method= for other requests than GET: docs/effects.md"
    named = {f"{module}.{call}" for module, calls in CALLS.items() for call in calls.partition(", with")[0].split(", ")}
    assert named == set(CATALOGUE) - {"time.now", "random.bytes"}


@pytest.mark.parametrize(
    ("does", "hint"),
    [
        ("for entry in files.list('/a'): pass", "; a Listing of runloop_agent.files has entries, truncated"),
        ("len(files.list('/a'))", "; a Listing of runloop_agent.files has entries, truncated"),
        ("files.read('/a').splitlines()", "; a TextFile of runloop_agent.files has text, path, "),
        ("json.loads(files.read('/a'))", "; a TextFile of runloop_agent.files has text, path, "),
        ("re.findall('a', files.read('/a'))", "; a TextFile of runloop_agent.files has text, path, "),
        ("'a' + files.read('/a')", "; a TextFile of runloop_agent.files has text, path, "),
        ("'Listing'.missing", ": 'Listing'.missing"),
        ("{}['Listing']", ": {}['Listing']"),
    ],
)
async def test_an_answer_that_is_taken_for_something_else_is_said_to_have_what_it_has(does, hint, run, host):
    host.answers = {"files.list": {"entries": []}, "files.read": {"text": "a"}}
    with pytest.raises(GuestError) as failed:
        await run(f"import json, re\nfrom runloop_agent import files\ndef run():\n    {does}\n")

    assert failed.value.hint.startswith("look at agent.py, line 4: ")
    assert hint in failed.value.hint
    assert ("; a " in failed.value.hint) == ("; a " in hint)


def test_what_answers_are_said_to_have_is_what_they_have():
    for name, told in RECORDS.items():
        module, _, has = told.partition(": ")
        kind = getattr(importlib.import_module(f"runloop_agent.{module}"), name)
        listed, _, more = has.partition(", and ")
        assert sorted(listed.split(", ")) == sorted(field.name for field in dataclasses.fields(kind))
        assert not more or hasattr(kind, more.removesuffix("()"))


@pytest.mark.parametrize(("name", "call"), SIGNATURES.items())
def test_a_call_that_is_made_otherwise_is_answered_with_how_it_is_made(name, call):
    for said in ("got an unexpected keyword argument 'json'", "takes 1 positional argument but 2 were given"):
        assert hint_of("guest.exception", f"Traceback (most recent call last):\nTypeError: {name}() {said}") == f"it is called as {call}"
    module, _, form = call.partition(".")
    made = getattr(importlib.import_module(f"runloop_agent.{module}"), name)
    first, *others = inspect.signature(made).parameters
    assert form == f"{name}({', '.join((first, '*', *others))})"
