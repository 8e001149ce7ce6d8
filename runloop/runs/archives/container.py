"""The outer form of an archive: a plain POSIX tar of members in order, the same bytes for the same members.

A member's header says its name and its size and nothing else that could vary: reading makes the one header that writing would have
made and compares the bytes. So there is no owner, mode or time to believe, no link, no device, no second spelling of a size. Nothing
is compressed, so a small file cannot unfold into a large one. Any tar lists and unpacks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from runloop.errors import InvalidInput, VerificationFailed, Where

BLOCK = 512
MAX_BYTES = 512 << 20
MAX_MEMBER_BYTES = 128 << 20
MAX_MEMBERS = 50_000
_NAME = re.compile(rb"[a-z]+(?:/[0-9a-f-]{1,64})?(?:\.jsonl?)?")
_NAME_BYTES = 100
_SAID = 500
_BEGINS = b"manifest.json"
_END = bytes(2 * BLOCK)
_SIZE = slice(124, 136)
_NO_ARCHIVE = (
    "archives are made by `rlp export`; `rlp trace` shows a trace as JSON, and events, contacts, mail and such go in with `rlp kb import`"
)
_HINT = "get the archive again from whoever made it; `rlp export` writes a sound one"


class ArchiveInvalid(InvalidInput):
    """The bytes are no archive at all."""

    code = "archive.member"


class ArchiveAltered(VerificationFailed):
    """What is in an archive is not what ``rlp export`` wrote."""

    code = "archive.altered"


def brief(said: str) -> str:
    """A message about what somebody else wrote, which may be as long as the archive."""
    return said if len(said) <= _SAID else f"{said[:_SAID]}…"


def pack(members: Iterable[tuple[str, bytes]]) -> bytes:
    """The archive of ``(name, content)`` in this order. Raises InvalidInput ``archive.too_large`` beyond what :func:`unpack` takes."""
    parts: list[bytes] = []
    total = len(_END)
    for count, (name, content) in enumerate(members, 1):
        padding = bytes(-len(content) % BLOCK)
        total += BLOCK + len(content) + len(padding)
        if total > MAX_BYTES or count > MAX_MEMBERS or len(content) > MAX_MEMBER_BYTES:
            raise _too_large("the run", None)
        parts += (_header(name.encode("ascii"), len(content)), content, padding)
    return b"".join((*parts, _END))


def unpack(data: bytes, *, file: str | None = None) -> dict[str, bytes]:
    """The members by name, in order.

    Raises :class:`ArchiveInvalid` for what does not begin as an archive, :class:`ArchiveAltered` for anything else that :func:`pack` would
    not have written, and InvalidInput ``archive.too_large``.
    """
    if len(data) > MAX_BYTES:
        raise _too_large("the archive", file)
    members: dict[str, bytes] = {}
    at = 0
    while data[at : at + BLOCK] != bytes(BLOCK):
        name, size = _read_header(data[at : at + BLOCK], file, first=not at)
        if name in members:
            raise _spoiled(f"{name} is there twice", "archive.duplicate", file)
        if len(members) >= MAX_MEMBERS or size > MAX_MEMBER_BYTES:
            raise _too_large("the archive", file)
        start, end = at + BLOCK, at + BLOCK + size
        at = end + -size % BLOCK
        if at > len(data):
            raise _spoiled(f"it ends in the middle of {name}", "archive.cut_off", file)
        if any(data[end:at]):
            raise _spoiled(f"there is something behind the content of {name}", "archive.header", file)
        members[name] = data[start:end]
    if data[at:] != _END:
        code = "archive.cut_off" if len(data) < at + len(_END) else "archive.trailing"
        raise _spoiled("it does not end where its members end", code, file)
    return members


def first_member(file: BinaryIO, *, name: str) -> bytes:
    """The content of the first member, without looking at the rest. Raises :class:`ArchiveInvalid`, :class:`ArchiveAltered`."""
    _, size = _read_header(file.read(BLOCK), name, first=True)
    content = file.read(min(size, MAX_MEMBER_BYTES + 1))
    if len(content) < size:
        raise _spoiled("it ends in its first member", "archive.cut_off", name)
    return content


def _read_header(block: bytes, file: str | None, *, first: bool) -> tuple[str, int]:
    name = block[:_NAME_BYTES].rstrip(b"\0")
    foreign = first and not _BEGINS.startswith(block[: len(_BEGINS)])
    if len(block) < BLOCK and not foreign:
        raise _spoiled("it ends in the middle of a header", "archive.cut_off", file)
    if not _NAME.fullmatch(name) or not re.fullmatch(rb"[0-7]{11}\0", block[_SIZE]):
        message = f"{name.decode('ascii', 'backslashreplace')[:40]!r} is no member of an archive"
        if foreign:
            raise ArchiveInvalid(message, where=Where(file=file), hint=_NO_ARCHIVE)
        raise _spoiled(message, "archive.member", file)
    size = int(block[_SIZE][:-1], 8)
    if block != _header(name, size):
        message = f"the header of {name.decode()} says more than a name and a size (a link, an owner, a time, another kind of file)"
        raise _spoiled(message, "archive.header", file)
    return name.decode("ascii"), size


def _header(name: bytes, size: int) -> bytes:
    """A ustar header of a plain file of nobody, readable, made at time 0."""
    fields = (
        name.ljust(_NAME_BYTES, b"\0"),
        b"0000644\0" + b"0000000\0" + b"0000000\0",
        b"%011o\0" % size,
        b"00000000000\0",
        b" " * 8,
        b"0" + bytes(100),
        b"ustar\x0000" + bytes(64),
        b"0000000\0" + b"0000000\0",
        bytes(167),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _too_large(what: str, file: str | None) -> InvalidInput:
    limit = f"{MAX_BYTES >> 20} MiB, {MAX_MEMBERS} members or {MAX_MEMBER_BYTES >> 20} MiB in one of them"
    return InvalidInput(
        f"{what} is larger than {limit}", code="archive.too_large", where=Where(file=file), hint="`rlp export --select NODE` takes less"
    )


def _spoiled(message: str, code: str, file: str | None) -> ArchiveAltered:
    return ArchiveAltered(message, code=code, where=Where(file=file), hint=_HINT)
