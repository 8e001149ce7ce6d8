"""The quick reading of a payload takes what the careful one takes, gives the same value, and refuses with the same words."""

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runloop.rmp import BodyDecodeError
from runloop.rmp.body import unpack
from runloop.rmp.quick import unpack_payload

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT | st.binary(max_size=9)
KEYS = TEXT | st.integers(0, 3)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10)


def told(read, packed):
    """What comes of it: the value with its types, or the error."""
    try:
        value = read(packed)
    except BodyDecodeError as error:
        return error.code, str(error)
    return repr(value)


def carefully(packed):
    return unpack(b"\x91" + packed)[0]


@settings(deadline=None)
@given(VALUES)
def test_whatever_msgpack_can_say_is_read_alike(value):
    packed = msgpack.packb(value)
    assert told(unpack_payload, packed) == told(carefully, packed)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40))
@example(b"\x82\xa1a\x01\xa1a\x02")  # a key twice
@example(b"\xcd\x00\x01")  # not in its shortest form
@example(b"\xd4\x05x")  # an extension
@example(b"\x81\x01\x02")  # a key that is no string
@example(b"\xa1\xff")  # no UTF-8
@example(b"\x01\x02")  # two values
@example(b"\x91" * 62 + b"\x01")
@example(b"\x91" * 64 + b"\x01")  # too deep
def test_bytes_that_mean_nothing_or_something_unusual_are_judged_alike(packed):
    assert told(unpack_payload, packed) == told(carefully, packed)


def test_a_large_payload_is_read_with_care_only(monkeypatch):
    packed = msgpack.packb({"text": "x" * 70_000})
    monkeypatch.setattr("runloop.rmp.quick._decode", pytest.fail)
    assert unpack_payload(packed) == {"text": "x" * 70_000}
