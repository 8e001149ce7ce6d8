"""`rlp rmp`: the protocol debugger. docs/protocol.md describes what it reads and prints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, BinaryIO

import typer

from runloop.cli import output, rmp_input
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import InvalidInput
from runloop.links import readable
from runloop.rmp import (
    BODY_AT,
    DEFAULT_MAX_BODY,
    Frame,
    FrameDecoder,
    FramingError,
    MessageError,
    RmpError,
    decode_frame,
    registry,
)
from runloop.rmp.header import U64_MAX, read_header
from runloop.rmp.view import frame_view, header_view

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Decode frames of the wire protocol.")

_INVALID_LINE = "InvalidLine"


@app.command()
def decode(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="A frame, binary or hex; - is standard input.")] = "-",
    now_ms: Annotated[
        int | None,
        typer.Option(
            "--now-ms", min=0, metavar="N", help="Refuse what has expired at this time (epoch ms); without it expiry is only shown."
        ),
    ] = None,
    max_body: Annotated[int, typer.Option("--max-body", min=0, metavar="N", help="Refuse bodies of more bytes.")] = DEFAULT_MAX_BODY,
    every: Annotated[bool, typer.Option("--all", help="Decode every frame of the input: a line of JSON each.")] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Read a line of JSON for each frame, {"frame": hex, "now_ms": n}, and answer each with a line.')
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a frame's header, expiry and envelope as JSON, or the name of what is wrong with it (exit code 1).

    With --json that is JSON too.
    """
    if every and jsonl:
        raise InvalidInput("--all and --jsonl exclude each other", code="cli.usage", hint="--jsonl has one frame on each line")
    with _opened(file) as stream:
        if jsonl:
            for line in stream:
                _print_answer(_answer_line(line, now_ms, max_body))
            return
        data, is_odd_text = rmp_input.frame_bytes(rmp_input.whole(stream, file))
    if is_odd_text:
        output.print_warning("rmp.input.not_hex", "the input is text but not hex; its bytes are read as a frame")
    if every:
        _decode_all(data, now_ms, max_body)
    else:
        _decode_one(data, now_ms, max_body, as_json=as_json)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    try:
        if file == "-":
            yield sys.stdin.buffer
        else:
            with readable(file) as stream:
                yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise rmp_input.unreadable(file, error) from error


def _decode_one(data: bytes, now_ms: int | None, max_body: int, *, as_json: bool) -> None:
    try:
        frame = decode_frame(data, now_ms=now_ms, max_body=max_body)
    except RmpError as error:
        header = _header_of(data)
        if as_json:
            output.print_json({"error": error.name, "header": header})
        else:
            print(error.name)
            if header is not None:
                print(f"header: {json.dumps(header)}", file=sys.stderr)
        raise
    clock = _clock_ms() if now_ms is None else now_ms
    output.print_json(
        {
            **frame_view(frame),
            "expired": frame.header.is_expired(clock),
            "now_ms": clock,
            "trailing_bytes": len(data) - len(frame.raw),
        }
    )


def _header_of(data: bytes) -> dict[str, Any] | None:
    """What the header of a refused frame says, where it can be read."""
    if len(data) < BODY_AT:
        return None
    try:
        frame_len, header = read_header(data)
    except FramingError:
        return None
    return {"frame_len": frame_len, **header_view(header)}


def _decode_all(data: bytes, now_ms: int | None, max_body: int) -> None:
    """Print an answer for each frame; end with the first error that ends the stream."""
    decoder = FrameDecoder(max_body)
    decoder.feed(data)
    try:
        for frame in decoder.frames():
            _print_answer(_answer_frame(frame, now_ms))
        decoder.finish()
    except RmpError as error:
        _print_answer({"error": error.name})
        raise


def _answer_frame(frame: Frame, now_ms: int | None) -> dict[str, Any]:
    try:
        frame.check(now_ms)
        return {"ok": frame_view(frame)}
    except MessageError as error:
        return {"error": error.name}


def _answer_line(line: bytes, now_ms: int | None, max_body: int) -> dict[str, Any]:
    """The answer to one line of --jsonl; a line's own ``now_ms`` and ``max_body`` win over the options."""
    try:
        case = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _invalid_line(f"not JSON: {error}")
    if not isinstance(case, dict):
        return _invalid_line("not a JSON object")
    text = case.get("frame")
    if not isinstance(text, str):
        return _invalid_line("no string 'frame'")
    limits = {"now_ms": now_ms, "max_body": max_body}
    for name in limits:
        given = case.get(name)
        if given is None:
            continue
        if type(given) is not int or not 0 <= given <= U64_MAX:
            return _invalid_line(f"'{name}' is not an integer from 0 to 2^64 - 1")
        limits[name] = given
    try:
        data = rmp_input.from_hex(text)
    except InvalidInput as error:
        return _invalid_line(error.message)
    if data is None:
        return _invalid_line("'frame' is not hex")
    try:
        return {"ok": frame_view(decode_frame(data, now_ms=limits["now_ms"], max_body=limits["max_body"] or 0))}
    except RmpError as error:
        return {"error": error.name}


def _invalid_line(message: str) -> dict[str, Any]:
    return {"error": _INVALID_LINE, "message": message}


def _print_answer(answer: dict[str, Any]) -> None:
    """One line, ASCII, at once: whoever is at the other end of the pipe may wait for it."""
    print(json.dumps(answer), flush=True)


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


@app.command(name="registry")
def list_registry(
    as_json: JsonOption = False,
    as_table: TableOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/protocol.md.")] = False,
) -> None:
    """List the schema ids and types that frames may have."""
    columns = ("id", "hex", "constant", "type", "json_schema_id")
    rows = [(each.schema_id, f"0x{each.schema_id:04X}", each.constant, each.type, each.json_schema_id) for each in registry.all()]
    if markdown:
        print("| Id | Hex | Constant | Type |\n|---:|---|---|---|")
        for schema_id, in_hex, constant, type_, _ in rows:
            print(f"| {schema_id} | {in_hex} | {constant} | `{type_}` |")
        return
    output.print_rows(columns, rows, as_json=as_json, as_table=as_table)
