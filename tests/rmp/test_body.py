"""The MsgPack rules, against bytes written out by hand."""

import math
import tracemalloc
from enum import IntEnum, StrEnum
from typing import Any

import msgpack
import pytest

from runloop import rmp
from runloop.rmp.body import MAX_DEPTH, check, pack, surely_shallow, unpack


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


def refused(body: bytes) -> str:
    with pytest.raises(rmp.BodyDecodeError) as caught:
        unpack(body)
    assert (caught.value.where.key, bool(caught.value.hint)) == ("body", True)
    return caught.value.message.removeprefix("the body cannot be read: ")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "it ends within a value"),
        ("82a16101", "it ends within a value"),
        ("dcffff", "it ends within a value"),
        ("ddffffffff", "it ends within a value"),
        ("c6ffffffff00", "it ends within a value"),
        ("c1", "it holds the byte 0xc1, which no value begins with"),
        ("0102", "1 bytes follow the value"),
        ("a2ffff", "a string is not UTF-8"),
        ("a3eda080", "a string is not UTF-8"),  # a lone surrogate
        ("c70005", "extension type 5; extension types are not part of RMP"),
        ("d40500", "an extension type; extension types are not part of RMP"),
        ("810101", "a map key is not a string"),
        ("81a161a1ff", "a string is not UTF-8"),
        ("82a16101a16102", "the key 'a' occurs twice in one map"),
        ("81a17882a16101a16102", "the key 'a' occurs twice in one map"),
        ("81c4016101", "the map key b'a' is not a string"),
        ("81c500016101", "the map key b'a' is not a string"),
        ("81c6000000016101", "the map key b'a' is not a string"),
    ],
)
def test_a_body_outside_the_rules_is_refused_with_the_reason(body: str, reason: str) -> None:
    assert refused(bytes.fromhex(body)) == reason


@pytest.mark.parametrize("body", ["810101", "81c001", "81c301", "81cb000000000000000001", "819001", "8181a16101c0"])
def test_a_map_key_that_is_no_string_is_refused(body: str) -> None:
    assert "map key" in refused(bytes.fromhex(body))


@pytest.mark.parametrize(
    "body",
    ["d40500", "d5050000", "d6ff00000000", "d7ff" + "00" * 8, "d801" + "00" * 16, "c70105ff", "c8000105ff", "c90000000105ff", "c700ff"],
)
def test_every_extension_type_is_refused_timestamps_too(body: str) -> None:
    assert refused(bytes.fromhex(body))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("c4020001", b"\x00\x01"),
        ("81a161c401ff", {"a": b"\xff"}),
        ("cfffffffffffffffff", 2**64 - 1),
        ("d38000000000000000", -(2**63)),
        ("ca3fc00000", 1.5),
        ("cb7ff0000000000000", math.inf),
        ("cd0001", 1),  # longer than needed, and valid
        ("d90161", "a"),
        ("de0001a16101", {"a": 1}),
        ("a0", ""),
        ("81a001", {"": 1}),
        ("93c2c3c0", [False, True, None]),
    ],
)
def test_a_body_within_the_rules_is_read(body: str, value: object) -> None:
    assert unpack(bytes.fromhex(body)) == value


def test_a_float_may_be_no_number() -> None:
    assert math.isnan(unpack(bytes.fromhex("cb7ff8000000000000")))


def nested(depth: int, *, of: str) -> bytes:
    return {"array": b"\x91", "map": b"\x81\xa1k"}[of] * depth + b"\xc0"


@pytest.mark.parametrize("of", ["array", "map"])
@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 1, MAX_DEPTH])
def test_values_may_be_nested_64_deep(depth: int, of: str) -> None:
    value = unpack(nested(depth, of=of))
    for _ in range(depth):
        value = value[0] if of == "array" else value["k"]
    assert value is None


@pytest.mark.parametrize("of", ["array", "map"])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100, 1_000, 2_000, 200_000])
def test_values_nested_deeper_than_64_are_refused(depth: int, of: str) -> None:
    assert refused(nested(depth, of=of)) == "nested deeper than 64"


def test_a_wide_value_is_no_deep_value() -> None:
    assert unpack(msgpack.packb([[{}]] * 5_000)) == [[{}]] * 5_000


def test_empty_containers_count_as_a_level() -> None:
    assert refused(b"\x91" * MAX_DEPTH + b"\x90") == "nested deeper than 64"


@pytest.mark.parametrize("head", ["dd007fff00", "dcffff", "df003fff00", "deffff"], ids=["array32", "array16", "map32", "map16"])
def test_heads_that_each_announce_more_than_there_is_are_refused_before_anything_is_built(head: str) -> None:
    key = b"\xa1k" if head.startswith(("de", "df")) else b""
    body = (bytes.fromhex(head) + key) * 900
    body += b"\x00" * (8 * 1024 * 1024 - len(body))
    tracemalloc.start()
    try:
        reason = refused(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason == "it ends within a value"
    assert peak < 4 * len(body)


def test_a_long_body_within_the_rules_is_read() -> None:
    value = {"list": list(range(3_000)), "text": "é" * 3_000, "raw": bytes(range(256)) * 8}
    assert unpack(msgpack.packb(value)) == value


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"a": (1, [2])}, "81a16192019102"),
        ({"a": Colour.RED, "b": Level.LOW}, "82a161a3726564a16201"),
        (bytearray(b"\x01"), "c40101"),
        (memoryview(b"\x01"), "c40101"),
        (None, "c0"),
    ],
)
def test_values_that_are_nearly_of_msgpacks_types_are_written_as_those(value: object, body: str) -> None:
    assert pack(value).hex() == body


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({1: 2}, "the map key 1 is not a string"),
        ([{"a": {b"b": 2}}], "the map key b'b' is not a string"),
        ({"when": object()}, "a value of type object"),
        ({"set": {1}}, "a value of type set"),
        (msgpack.ExtType(5, b""), "a value of type ExtType"),
        ([msgpack.Timestamp(1)], "a value of type Timestamp"),
        (cyclic(), "nested deeper than 64"),
        (2**64, "Integer value out of range"),
        (-(2**63) - 1, "Integer value out of range"),
        ("\ud800", "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"),
        (memoryview(b"abcd")[::2], "memoryview: underlying buffer is not C-contiguous"),
    ],
)
def test_a_value_outside_the_rules_is_not_sent(value: object, reason: str) -> None:
    with pytest.raises(rmp.EncodeError) as caught:
        pack(value)
    assert caught.value.message == f"the message cannot be sent: {reason}"


def test_scalars_of_a_subclass_do_not_count_as_a_level() -> None:
    value: object = Colour.RED
    for _ in range(MAX_DEPTH):
        value = [value]
    check(value)


def test_what_surely_keeps_the_limit_of_depth_is_told_by_its_heads():
    assert surely_shallow(pack({"a": [1, {"b": "text"}]}))
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    assert not surely_shallow(msgpack.packb(deep))
