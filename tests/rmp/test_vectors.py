"""The published cases, each whole, byte by byte, and with bytes after the frame."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from runloop import rmp
from runloop.rmp.view import frame_view

CASES = json.loads((Path(__file__).parents[1] / "data" / "rmp_vectors.json").read_text(encoding="utf-8"))["cases"]
GOLDEN = bytes.fromhex(CASES[0]["frame"])
NAMES = {"Incomplete", *(error.name for error in rmp.NAMED)}

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])


def outcome_of(frame: rmp.Frame) -> dict[str, Any]:
    return {"ok": frame_view(frame)}


def decoded_whole(data: bytes, now_ms: int, max_body: int = rmp.DEFAULT_MAX_BODY) -> dict[str, Any]:
    try:
        return outcome_of(rmp.decode_frame(data, now_ms=now_ms, max_body=max_body))
    except rmp.RmpError as error:
        return {"error": error.name}


def decoded_as_stream(slices: Iterable[bytes], now_ms: int) -> dict[str, Any]:
    """The outcome of the first frame of a stream."""
    decoder = rmp.FrameDecoder()
    try:
        for part in slices:
            decoder.feed(part)
            for frame in decoder.frames():
                frame.check(now_ms)
                return outcome_of(frame)
        decoder.finish()
    except rmp.RmpError as error:
        return {"error": error.name}
    return {"error": "Incomplete"}  # no bytes at all: a stream may end there, a frame may not


def only(keys: Iterable[str], outcome: dict[str, Any]) -> dict[str, Any]:
    return {"ok": {key: outcome["ok"][key] for key in keys}} if "ok" in outcome else outcome


def test_there_are_forty_four_cases() -> None:
    assert len(CASES) == 44


def test_the_cases_meet_every_named_error_but_duplicate_which_needs_a_history() -> None:
    assert {case["expect"]["error"] for case in CASES if "error" in case["expect"]} == NAMES - {"Duplicate"}


@by_case
def test_a_case_decodes_as_expected_when_it_comes_whole(case: dict[str, Any]) -> None:
    outcome = decoded_whole(bytes.fromhex(case["frame"]), case["now_ms"])
    assert only(case["expect"].get("ok", ()), outcome) == case["expect"]


@by_case
def test_a_case_decodes_as_expected_when_it_comes_byte_by_byte(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["frame"])
    outcome = decoded_as_stream((data[at : at + 1] for at in range(len(data))), case["now_ms"])
    assert only(case["expect"].get("ok", ()), outcome) == case["expect"]


@pytest.mark.parametrize("case", [case for case in CASES if case["expect"].get("error") != "Incomplete"], ids=lambda case: case["name"])
@pytest.mark.parametrize("trailing", [b"\x00", b"\xff" * 200, GOLDEN], ids=["a zero", "garbage", "another frame"])
def test_a_complete_case_decodes_the_same_with_bytes_after_it(case: dict[str, Any], trailing: bytes) -> None:
    data = bytes.fromhex(case["frame"])
    assert decoded_whole(data + trailing, case["now_ms"]) == decoded_whole(data, case["now_ms"])
    assert decoded_as_stream([data + trailing], case["now_ms"]) == decoded_as_stream([data], case["now_ms"])


@by_case
def test_a_case_decodes_the_same_from_every_kind_of_buffer(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["frame"])
    expected = decoded_whole(data, case["now_ms"])
    assert decoded_whole(bytearray(data), case["now_ms"]) == expected  # type: ignore[arg-type]
    assert decoded_whole(memoryview(data), case["now_ms"]) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("case", [case for case in CASES if "ok" in case["expect"]], ids=lambda case: case["name"])
def test_a_valid_case_encodes_to_the_bytes_it_came_from(case: dict[str, Any]) -> None:
    frame = rmp.decode_frame(bytes.fromhex(case["frame"]), now_ms=case["now_ms"])
    header = frame.header
    encoded = rmp.encode_frame(
        frame.envelope, trace_id=header.trace_id, msg_id=header.msg_id, created_at_ms=header.created_at_ms, ttl_ms=header.ttl_ms
    )
    assert encoded == frame.raw
    assert bytes.fromhex(case["frame"]).startswith(encoded)


def test_a_stream_yields_every_frame_of_a_case_and_leaves_expiry_to_the_caller() -> None:
    case = next(case for case in CASES if case.get("frames") == 2)
    decoder = rmp.FrameDecoder()
    decoder.feed(bytes.fromhex(case["frame"]))
    frames = list(decoder.frames())
    assert [frame.header.msg_id for frame in frames] == [42, 1]
    frames[0].check(case["now_ms"])
    with pytest.raises(rmp.Expired):
        frames[1].check(case["now_ms"])


@pytest.mark.parametrize("cut", range(len(GOLDEN)))
def test_every_beginning_of_a_frame_is_incomplete_and_says_how_much_is_missing(cut: int) -> None:
    with pytest.raises(rmp.Incomplete) as caught:
        rmp.decode_frame(GOLDEN[:cut], now_ms=None)
    assert caught.value.facts == {"missing": 4 - cut if cut < 4 else len(GOLDEN) - cut}
