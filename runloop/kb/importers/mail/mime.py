"""A message's bytes as headers and parts (RFC 5322, 2045 to 2047, 2231), by offsets: nothing is copied, nothing recurses, nothing raises.

What is wrong with a message becomes a problem that is noted; the rest of it is read as well as it can be.
"""

from __future__ import annotations

import binascii
import itertools
import re
from dataclasses import field
from email.message import Message as _Parameters
from typing import NamedTuple

from runloop.dataclass import dataclass

MAX_PARTS = 1000
MAX_DEPTH = 32
MAX_HEADER_BYTES = 1 << 20
MAX_PARAMETERS = 100
_LONGEST_PARAMETERS = 8192  # bytes of a header that has some
_BLANK = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[ \t]*")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


class ContentType(NamedTuple):
    """The media type in lower case, and the parameters that matter."""

    type: str
    boundary: bytes | None
    charset: str | None
    name: str | None


class Part(NamedTuple):
    """A part without parts of its own: headers, what it says it is, where its body lies, the ``alternative`` it belongs to (0 for none)."""

    headers: Headers
    kind: ContentType
    start: int
    end: int
    alternative: int


@dataclass(slots=True)
class Headers:
    """Fields in order, names in lower case, values unfolded and otherwise raw."""

    fields: list[tuple[str, bytes]] = field(default_factory=list)

    def get(self, name: str) -> bytes | None:
        """The first field of that name."""
        return next((value for each, value in self.fields if each == name), None)

    def every(self, name: str) -> list[bytes]:
        """All fields of that name."""
        return [value for each, value in self.fields if each == name]


@dataclass(slots=True)
class Taken:
    """A message taken apart: attached messages count as parts and are also read for theirs."""

    headers: Headers
    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Note what is wrong, once."""
        if problem not in self.problems:
            self.problems.append(problem)


class _Node(NamedTuple):
    headers: Headers
    start: int
    end: int
    depth: int
    alternative: int


def take_apart(raw: bytes) -> Taken:
    """The headers and the leaves of a message, in their order."""
    problems: list[str] = []
    headers, body = read_headers(raw, 0, len(raw), problems)
    taken = Taken(headers, problems=problems)
    waiting = [_Node(headers, body, len(raw), 0, 0)]
    groups = 0
    while waiting:
        node = waiting.pop()
        if len(taken.parts) >= MAX_PARTS:
            taken.note(f"more than {MAX_PARTS} parts; only those were read")
            break
        kind = content_type(node.headers)
        inner: list[_Node] = []
        if node.depth >= MAX_DEPTH and (kind.type.startswith("multipart/") or kind.type == "message/rfc822"):
            taken.note(f"parts are nested deeper than {MAX_DEPTH}; the innermost are kept as one attachment")
        elif kind.type.startswith("multipart/"):
            groups += kind.type == "multipart/alternative"
            alternative = groups if kind.type == "multipart/alternative" else node.alternative
            inner = _children(raw, node, kind, alternative, taken)
        elif kind.type == "message/rfc822":
            taken.parts.append(Part(node.headers, kind, node.start, node.end, 0))
            attached, start = read_headers(raw, node.start, node.end, taken.problems)
            waiting.append(_Node(attached, start, node.end, node.depth + 1, 0))
            continue
        if inner:
            waiting += reversed(inner)
        else:
            taken.parts.append(Part(node.headers, kind, node.start, node.end, node.alternative))
    return taken


def read_headers(raw: bytes, start: int, end: int, problems: list[str]) -> tuple[Headers, int]:
    """The header fields from ``start`` on, and where the body starts."""
    if raw[start : start + 1] == b"\n" or raw[start : start + 2] == b"\r\n":
        return Headers(), start + (1 if raw[start : start + 1] == b"\n" else 2)
    blank = _BLANK.search(raw, start, end)
    stop, body = (blank.start(), blank.end()) if blank else (end, end)
    if stop - start > MAX_HEADER_BYTES:
        problems.append(f"headers of more than {MAX_HEADER_BYTES} bytes; only those were read")
        stop = start + MAX_HEADER_BYTES
    headers = Headers()
    lines: list[bytes] = []
    for line in raw[start:stop].replace(b"\r\n", b"\n").split(b"\n"):
        if line[:1] in {b" ", b"\t"} and lines:
            lines.append(b" " + line.strip())
            continue
        _add(headers, lines, problems)
        lines = [line]
    _add(headers, lines, problems)
    return headers, body


def _add(headers: Headers, lines: list[bytes], problems: list[str]) -> None:
    if not lines or not lines[0]:
        return
    found = _FIELD.match(lines[0])
    if found is not None:
        headers.fields.append((found[1].decode("ascii").lower(), b"".join((lines[0][found.end() :], *lines[1:])).strip()))
    elif not lines[0].startswith((b"From ", b">From ")) and (problem := "a header line without a name") not in problems:
        problems.append(problem)


def _children(raw: bytes, node: _Node, kind: ContentType, alternative: int, taken: Taken) -> list[_Node]:
    """The parts of a multipart body; none where its boundary never stands there."""
    if not kind.boundary:
        taken.note(f"{kind.type} without a boundary; read as one part")
        return []
    marks, closed = _boundaries(raw, node.start, node.end, b"--" + kind.boundary)
    if not marks:
        taken.note(f"{kind.type} whose boundary never stands in it; read as one part")
        return []
    if not closed:
        taken.note(f"{kind.type} without its closing boundary")
        marks.append((node.end, node.end))
    inner: list[_Node] = []
    for (_, begin), (stop, _) in itertools.pairwise(marks):
        if len(inner) > MAX_PARTS:
            break
        headers, body = read_headers(raw, begin, stop, taken.problems)
        inner.append(_Node(headers, min(body, stop), stop, node.depth + 1, alternative))
    return inner


def _boundaries(raw: bytes, start: int, end: int, mark: bytes) -> tuple[list[tuple[int, int]], bool]:
    """Where boundary lines begin (with the line end before them) and end, up to the closing one; whether that is there."""
    found: list[tuple[int, int]] = []
    at = raw.find(mark, start, end)
    while at >= 0 and len(found) <= MAX_PARTS + 1:
        after = at + len(mark)
        if at == start or raw[at - 1 : at] == b"\n":
            stop = raw.find(b"\n", after, end)
            stop = end if stop < 0 else stop + 1
            tail = raw[after : min(stop, after + 100)].strip()
            if tail in {b"", b"--"}:
                before = at - (2 if raw[at - 2 : at] == b"\r\n" else 1)
                found.append((max(before, start), stop))
            if tail == b"--":
                return found, True
        at = raw.find(mark, after, end)
    return found, False


def content_type(headers: Headers) -> ContentType:
    """What a part says that it is; plain text where it says nothing that can be read."""
    value = headers.get("content-type")
    if value is None:
        return ContentType("text/plain", None, None, _file_name(headers, None))
    parameters = _parameters(value)
    boundary = _parameter(parameters, "boundary")
    charset = _parameter(parameters, "charset")
    name = _file_name(headers, _parameter(parameters, "name"))
    return ContentType(parameters.get_content_type(), boundary.encode() if boundary else None, charset, name)


def _file_name(headers: Headers, stated: str | None) -> str | None:
    value = headers.get("content-disposition")
    if value is not None:
        parameters = _parameters(value)
        stated = _parameter(parameters, "filename") or stated
    return stated


def _parameters(value: bytes) -> _Parameters:
    """A header for the library, which takes time with the square of its semicolons."""
    said = value[:_LONGEST_PARAMETERS].split(b";", MAX_PARAMETERS + 1)[: MAX_PARAMETERS + 1]
    parameters = _Parameters()
    parameters["Content-Type"] = b";".join(said).decode("utf-8", "replace")
    return parameters


def _parameter(parameters: _Parameters, name: str) -> str | None:
    """One parameter, put together and decoded (RFC 2231)."""
    from email.utils import collapse_rfc2231_value

    try:
        value = parameters.get_param(name)
        return None if value is None else collapse_rfc2231_value(value).strip() or None
    except (LookupError, TypeError, ValueError):
        return None


def body_of(raw: bytes, part: Part, problems: list[str]) -> bytes:
    """The bytes of a part with its transfer encoding undone, as far as that can be."""
    data = raw[part.start : part.end]
    encoding = (part.headers.get("content-transfer-encoding") or b"").strip().lower().decode("ascii", "replace")
    if encoding == "base64":
        plain = data.translate(None, _NOT_BASE64)
        if len(plain) % 4 == 1:
            problems.append("base64 that ends too early")
            plain = plain[:-1]
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    if encoding not in {"", "7bit", "8bit", "binary"}:
        problems.append(f"transfer encoding {encoding[:40]!r} is unknown; taken as it is")
    return data
