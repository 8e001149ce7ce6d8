"""Objects in the guest's frozen memory that nobody counts the references of."""

from __future__ import annotations

import struct

import pytest
import wasmtime

from runloop.sandbox.guest.image import MARK, PYTHON, ImageUnfit, immortalised

IMMORTAL = 5 << 28
KIND, OTHER_KIND = 0x5000, 0x6000


def component(objects, listed, *, python=PYTHON, at=0x100, data="(i32.const {})"):
    """A component whose memory holds at ``at`` pairs of a count and a type, and elsewhere a list of places."""
    memory = b"".join(struct.pack("<II", *each) for each in objects)
    table = MARK + struct.pack("<BBxxI", *python, len(listed)) + b"".join(struct.pack("<II", *each) for each in listed)
    parts = "".join(
        '(data {} "{}")'.format(data.format(place), "".join(f"\\{byte:02x}" for byte in content))
        for place, content in ((at, memory), (0x8000, table))
    )
    inner = f'(core module (memory 1) (data "passive") (global $g i32 (i32.const 0)) (func) {parts})'
    return bytes(wasmtime.wat2wasm(f"(component (component {inner}) (core module))"))


def counts(code, number):
    """What stands where the objects are: the first segment of the module."""
    place = code.index(struct.pack("<I", KIND)) - 4
    return [struct.unpack_from("<I", code, place + 8 * index)[0] for index in range(number)]


def listed_at(*indices, kind=KIND):
    return [(0x100 + 8 * index, kind) for index in indices]


def test_an_object_that_is_where_the_list_says_is_counted_no_more():
    before = component([(3, KIND), (1 << 30, KIND), (7, KIND)], listed_at(0, 1))

    after, marked = immortalised(before)

    assert marked == 2
    assert counts(after, 3) == [IMMORTAL, 1 << 30, 7]
    assert len(after) == len(before)
    assert MARK not in after


def test_what_lies_where_an_object_went_is_left_alone():
    there = [(2, KIND)] * 95
    gone = [(0, KIND), (0x01BADBAD, KIND), (1, OTHER_KIND)]
    before = component([*there, *gone], [*listed_at(*range(98)), (0xFF00, KIND), (0x10, KIND)])

    after, marked = immortalised(before)

    assert marked == 95
    assert counts(after, 98) == [IMMORTAL] * 95 + [0, 0x01BADBAD, 1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (component([(3, KIND)], listed_at(0)).replace(MARK, bytes(len(MARK))), "it has no list of objects"),
        (component([(3, KIND)], listed_at(0), python=(3, 15)), "it holds Python 3.15, and how 3.14 counts references is known"),
        (component([(3, OTHER_KIND)], listed_at(0)), "of 1 listed objects only 0 are where the list says"),
        (component([(3, KIND)], listed_at(0), data="(global.get 0) (;{};)"), "of 1 listed objects only 0 are where the list says"),
        (b"\0asm\x09\0\0\0" + MARK + bytes(8), "at byte 0 there is neither a module nor a component"),
    ],
)
def test_a_memory_that_is_not_as_expected_ends_the_build(code, message):
    with pytest.raises(ImageUnfit) as caught:
        immortalised(code)
    assert str(caught.value) == message


async def test_what_was_there_before_an_agent_is_counted_no_more_and_what_it_makes_is(run):
    source = """
import collections, json, sys, typing
import runloop_agent
class Own: ...
def run():
    there = [json, json.dumps, json.dumps.__code__, json.__dict__, collections.Counter, typing.Any, runloop_agent.kb, "runloop_agent"]
    own = [Own, Own(), run, [1]]
    return [[sys.getrefcount(each) >= 1 << 30 for each in objects] for objects in (there, own)]
"""
    assert await run(source) == [[True] * 8, [False] * 4]


async def test_nearly_all_that_the_collector_knew_before_an_agent_is_counted_no_more(run):
    source = """
import gc, sys
def run():
    gc.unfreeze()
    known = gc.get_objects()
    return sum(sys.getrefcount(each) >= 1 << 30 for each in known) / len(known)
"""
    assert await run(source) > 0.99
