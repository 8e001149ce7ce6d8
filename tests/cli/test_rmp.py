"""`rlp rmp`, in real processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runloop import rmp
from runloop.cli.rmp_input import frame_bytes, from_hex
from runloop.errors import InvalidInput

RLP = [sys.executable, "-c", "import sys; from runloop.cli.main import main; sys.exit(main())"]
CASES = json.loads((Path(__file__).parents[1] / "data" / "rmp_vectors.json").read_text(encoding="utf-8"))["cases"]
BY_NAME = {case["name"]: case for case in CASES}
GOLDEN_HEX = BY_NAME["golden"]["frame"]
GOLDEN = bytes.fromhex(GOLDEN_HEX)
EXPIRES = 1731465660123
SHOWN = {**BY_NAME["golden"]["expect"]["ok"]}


def rlp(*arguments: str, given: bytes = b"", code: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that ends with this exit code."""
    done = subprocess.run([*RLP, "rmp", *arguments], input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def answers(lines: list[bytes], *arguments: str) -> list[dict[str, Any]]:
    out, _ = rlp("decode", "--jsonl", *arguments, given=b"\n".join(lines))
    return [json.loads(line) for line in out.splitlines()]


def line_of(frame: Any, **more: Any) -> bytes:
    return json.dumps({"frame": frame, **more}).encode()


def test_every_vector_is_answered_with_what_it_expects() -> None:
    found = answers([json.dumps(case).encode() for case in CASES])
    expected = [case["expect"] for case in CASES]
    assert [
        {"ok": {key: answer["ok"][key] for key in want["ok"]}} if "ok" in want and "ok" in answer else answer
        for answer, want in zip(found, expected, strict=True)
    ] == expected


def test_an_answer_has_exactly_the_fields_of_the_vectors() -> None:
    assert answers([line_of(GOLDEN_HEX, now_ms=0)]) == [{"ok": SHOWN}]


@pytest.mark.parametrize("ending", [b"", b"\n"], ids=["no newline at the end", "a newline at the end"])
def test_every_line_gets_one_answer_whatever_is_in_it(ending: bytes) -> None:
    good = line_of(GOLDEN_HEX)
    bad = [
        b"",
        b"   ",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"frame": "00", "now_ms": ' + b"9" * 5_000 + b"}",
        line_of(7),
        line_of("zz"),
        line_of("0"),
        line_of(GOLDEN_HEX, now_ms="1"),
        line_of(GOLDEN_HEX, now_ms=1.5),
        line_of(GOLDEN_HEX, now_ms=True),
        line_of(GOLDEN_HEX, now_ms=-1),
        line_of(GOLDEN_HEX, now_ms=2**64),
        line_of(GOLDEN_HEX, max_body="big"),
    ]
    lines = [good, *bad, good]
    found = answers([*lines[:-1], lines[-1] + ending])
    assert [answer.get("error") for answer in found] == [None, *["InvalidLine"] * len(bad), None]
    assert all(answer["message"] for answer in found[1:-1])


def test_the_name_for_a_bad_line_is_no_name_of_the_protocol() -> None:
    assert "InvalidLine" not in {"Incomplete", *(error.name for error in rmp.NAMED)}


def test_a_line_may_set_its_own_clock_and_limit_and_else_takes_those_of_the_command() -> None:
    lines = [
        line_of(GOLDEN_HEX),
        line_of(GOLDEN_HEX, now_ms=0),
        line_of(GOLDEN_HEX, now_ms=0, max_body=95),
        line_of(GOLDEN_HEX, now_ms=0, max_body=0),
        line_of(GOLDEN_HEX, now_ms=None),
    ]
    found = answers(lines, "--now-ms", str(EXPIRES))
    assert [answer.get("error") for answer in found] == ["Expired", None, "BodyTooLarge", "BodyTooLarge", "Expired"]


def test_without_any_clock_a_line_does_not_expire() -> None:
    assert answers([line_of(GOLDEN_HEX)]) == [{"ok": SHOWN}]


def test_a_line_is_answered_before_the_next_is_written() -> None:
    with subprocess.Popen([*RLP, "rmp", "decode", "--jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(line_of(GOLDEN_HEX) + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"ok": SHOWN}
        process.stdin.close()
        assert (process.stdout.read(), process.wait(timeout=60)) == (b"", 0)


@pytest.mark.parametrize("form", ["binary file", "hex file", "binary pipe", "hex pipe"])
def test_a_frame_is_shown_with_its_expiry_reported_and_not_enforced(form: str, tmp_path: Path) -> None:
    content = GOLDEN if form.startswith("binary") else GOLDEN_HEX.encode() + b"\n"
    (tmp_path / "frame").write_bytes(content)
    out, err = rlp("decode", str(tmp_path / "frame")) if form.endswith("file") else rlp("decode", given=content)
    shown = json.loads(out)
    assert shown.pop("now_ms") > EXPIRES
    assert (shown, err) == ({**SHOWN, "expired": True, "trailing_bytes": 0}, "")


def test_with_a_clock_a_frame_that_is_alive_is_shown() -> None:
    out, _ = rlp("decode", "--now-ms", str(EXPIRES - 1), "-", given=GOLDEN + b"more")
    assert json.loads(out) == {**SHOWN, "expired": False, "now_ms": EXPIRES - 1, "trailing_bytes": 4}


def test_with_a_clock_an_expired_frame_is_refused_and_its_header_shown() -> None:
    out, err = rlp("decode", "--now-ms", str(EXPIRES), given=GOLDEN, code=1)
    assert out == "Expired\n"
    header, message = err.split("\n", 1)
    assert json.loads(header.removeprefix("header: ")) == {
        "frame_len": 160,
        **{key: SHOWN[key] for key in ("schema_id", "body_len", "created_at_ms", "ttl_ms", "trace_id", "msg_id")},
    }
    assert "error[rmp.expired]" in message
    assert "hint:" in message


@pytest.mark.parametrize(
    ("given", "arguments", "name"),
    [
        (b"", (), "Incomplete"),
        (b"\x00\x00\x00", (), "Incomplete"),
        (GOLDEN_HEX.replace("524d5030", "524d5130").encode(), (), "InvalidMagic"),
        (GOLDEN, ("--max-body", "95"), "BodyTooLarge"),
        (bytes.fromhex(BY_NAME["body c1"]["frame"]), (), "BodyDecodeError"),
    ],
)
def test_a_bad_frame_is_named_on_standard_output(given: bytes, arguments: tuple[str, ...], name: str) -> None:
    out, err = rlp("decode", *arguments, given=given, code=1)
    assert out == f"{name}\n"
    assert "error[rmp." in err


def test_text_that_is_not_hex_is_read_as_bytes_with_a_warning() -> None:
    out, err = rlp("decode", given=b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nAccept: text/plain, */*\r\n\r\n" * 2, code=1)
    assert out == "InvalidMagic\n"
    assert "warning[rmp.input.not_hex]" in err


def test_all_frames_of_an_input_are_answered_a_line_each() -> None:
    case = BY_NAME["two frames back to back"]
    out, _ = rlp("decode", "--all", "--now-ms", str(case["now_ms"]), given=bytes.fromhex(case["frame"]))
    assert [json.loads(line) for line in out.splitlines()] == [{"ok": SHOWN}, {"error": "Expired"}]


@pytest.mark.parametrize(("rest", "name"), [(b"X" * 100, "InvalidMagic"), (GOLDEN[:100], "Incomplete")])
def test_all_frames_end_with_what_ends_the_stream(rest: bytes, name: str) -> None:
    out, _ = rlp("decode", "--all", given=GOLDEN + rest, code=1)
    assert [json.loads(line) for line in out.splitlines()] == [{"ok": SHOWN}, {"error": name}]


def test_binary_values_and_terminal_codes_come_out_harmless() -> None:
    payload = {"raw": b"\x1b\xff", "text": "\x1b]0;owned\x07\x9b31m é"}
    data = rmp.encode_frame(rmp.Envelope("error.report.v1", payload), trace_id=1, msg_id=1, created_at_ms=1)
    out, _ = rlp("decode", given=data)
    assert json.loads(out)["envelope"]["payload"] == {"raw": {"$bin": "1bff"}, "text": payload["text"]}
    (line,) = answers([line_of(data.hex())])
    assert line["ok"]["envelope"]["payload"] == {"raw": {"$bin": "1bff"}, "text": payload["text"]}
    assert not {"\x1b", "\x07", "\x9b"} & set(out)


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        (("decode", "no/such/file"), b"", "rmp.input.unreadable"),
        (("decode", "."), b"", "rmp.input.unreadable"),
        (("decode", "--all", "--jsonl"), b"", "cli.usage"),
        (("decode", "--now-ms", "-1"), b"", "cli.usage"),
        (("decode",), b"00000", "rmp.input.half_byte"),
    ],
)
def test_an_unusable_command_is_invalid_input_and_says_what_to_change(arguments: tuple[str, ...], given: bytes, code: str) -> None:
    out, err = rlp(*arguments, given=given, code=2)
    assert out == ""
    assert f"error[{code}]" in err
    assert "hint:" in err


def test_the_registry_is_listed_as_json() -> None:
    out, _ = rlp("registry", "--json")
    assert [(row["id"], row["hex"], row["type"]) for row in json.loads(out)] == [
        (each.schema_id, f"0x{each.schema_id:04X}", each.type) for each in rmp.registry.all()
    ]


@pytest.mark.parametrize(
    "text",
    [
        "00 ff 10",
        "00FF10",
        "0x00ff10",
        "0x00, 0xff, 0x10",
        "00:ff:10",
        "\n  00ff\r\n\t10  \n\n",
        "00000000: 00ff 10                                  ...",
        "0000: 00 ff\n0002: 10\n",
        "00000000  00 ff 10                                          |...|\n00000003\n",
    ],
)
def test_hex_is_read_as_people_and_tools_write_it(text: str) -> None:
    assert from_hex(text) == b"\x00\xff\x10"


@pytest.mark.parametrize("text", ["hello", "00 fg", "x00", "00x11", "0000: 00 ff\nhello", "0123456: zz"])
def test_other_text_is_no_hex(text: str) -> None:
    assert from_hex(text) is None


@pytest.mark.parametrize("text", ["0", "000", "0x0", "0000: 00 f"])
def test_half_a_byte_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not whole bytes"):
        from_hex(text)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (b"", False)),
        (b"3030", (b"00", False)),
        (b"\xef\xbb\xbf3030\r\n", (b"00", False)),
        (b"30\x0030", (b"30\x0030", False)),
        (b"hello", (b"hello", True)),
    ],
)
def test_binary_and_hex_are_told_apart(data: bytes, expected: tuple[bytes, bool]) -> None:
    assert frame_bytes(data) == expected
