import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop import rmp
from runloop.rmp.view import frame_view, json_value

# A busy machine is no fault of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYS = st.sampled_from(["$bin", "$float", "$map", "a"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=10)


def from_json(shown: Any) -> Any:
    """The reverse, as a reader of the documentation would write it."""
    if isinstance(shown, list):
        return [from_json(inner) for inner in shown]
    if isinstance(shown, dict):
        match list(shown.items()):
            case [("$bin", digits)]:
                return bytes.fromhex(digits)
            case [("$float", text)]:
                return float(text)
            case [("$map", inner)]:
                return {key: from_json(value) for key, value in inner.items()}
        return {key: from_json(value) for key, value in shown.items()}
    return shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\xff", {"$bin": "00ff"}),
        (b"", {"$bin": ""}),
        ([1, {"a": b"a"}], [1, {"a": {"$bin": "61"}}]),
        (math.nan, {"$float": "nan"}),
        (math.inf, {"$float": "inf"}),
        (-math.inf, {"$float": "-inf"}),
        ({"$bin": "00"}, {"$map": {"$bin": "00"}}),
        ({"$map": {"$float": 1}}, {"$map": {"$map": {"$map": {"$float": 1}}}}),
        ({"$bin": "00", "a": 1}, {"$bin": "00", "a": 1}),
        ({}, {}),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_what_json_lacks_has_one_form(value: object, shown: object) -> None:
    assert json_value(value) == shown


@unhurried
@given(VALUES)
def test_nothing_is_lost_in_json(value: Any) -> None:
    text = json.dumps(json_value(value), allow_nan=False)
    assert repr(from_json(json.loads(text))) == repr(value)


def test_a_frame_is_shown_by_its_fields(with_body: Callable[..., bytes]) -> None:
    body = b"\x83\xa4type\xaferror.report.v1\xa7payload\xc4\x01\xff\xa4meta\x81\xaaopening_id\xc4\x10" + b"\xff" * 16
    assert frame_view(rmp.decode_frame(with_body(body), now_ms=None)) == {
        "schema_id": 10,
        "body_len": len(body),
        "created_at_ms": 1_000,
        "ttl_ms": 2_000,
        "trace_id": "112233445566778899aabbccddeeff00",
        "msg_id": 42,
        "expires_at_ms": 3_000,
        "envelope": {"type": "error.report.v1", "payload": {"$bin": "ff"}, "meta": {"opening_id": 2**128 - 1}},
    }


def test_a_frame_without_meta_shows_none(with_body: Callable[..., bytes]) -> None:
    frame = rmp.decode_frame(with_body(b"\x82\xa4type\xaferror.report.v1\xa7payload\x01"), now_ms=None)
    assert frame_view(frame)["envelope"] == {"type": "error.report.v1", "payload": 1}


def test_meta_is_a_map_like_any_other(with_body: Callable[..., bytes]) -> None:
    frame = rmp.decode_frame(with_body(b"\x83\xa4type\xaferror.report.v1\xa7payload\x01\xa4meta\x81\xa4$bin\xa200"), now_ms=None)
    assert frame_view(frame)["envelope"]["meta"] == {"$map": {"$bin": "00"}}
