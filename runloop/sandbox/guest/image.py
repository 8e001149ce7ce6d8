"""Marks the objects in a Python guest's frozen memory as immortal; standard library only, as the build that uses it.

An agent looks at thousands of objects that were there before it: modules, classes, functions, names. Counting who refers to them changes
them, and each page with a changed one has to be copied for each agent. They never go, so nothing is lost by not counting.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"\0runloop: the objects in this snapshot\0\0"
"""Stands before the list that the guest has made (``runloop_guest/census.py``)."""
PYTHON = (3, 14)
"""The interpreter whose objects these constants describe (CPython's ``Include/refcount.h``, 32 bits)."""
_IMMORTAL, _IMMORTAL_FROM = 5 << 28, 1 << 30
_MOST = 1 << 20
"""More references than anything has; what is above was never counted, or is no count."""
_SHARE = 0.95
"""Of the listed objects so many are still there, or the list is not of this memory."""
_CORE, _COMPONENT = b"\0asm\1\0\0\0", b"\0asm\r\0\1\0"
_MODULE_SECTION, _COMPONENT_SECTION, _DATA_SECTION = 1, 4, 11
_I32_CONST, _END = 0x41, 0x0B


class ImageUnfit(ValueError):  # noqa: N818 - named for what it is
    """The component's memory is not as it is expected; the message says in what."""


def immortalised(component: bytes) -> tuple[bytes, int]:
    """The component with its listed objects immortal and the list wiped out, and how many objects these are.

    An object that went after it was listed is left alone: what lies there has another type, or no count. Raises ImageUnfit.
    """
    image = bytearray(component)
    memory = _Memory(component)
    listed = component.rfind(MARK)
    if listed < 0:
        raise ImageUnfit("it has no list of objects")
    begin = listed + len(MARK)
    major, minor, count = struct.unpack_from("<BBxxI", component, begin)
    if (major, minor) != PYTHON:
        raise ImageUnfit(f"it holds Python {major}.{minor}, and how {PYTHON[0]}.{PYTHON[1]} counts references is known")
    end = begin + 8 + 8 * count
    marked = 0
    for place, kind in struct.iter_unpack("<II", component[begin + 8 : end]):
        at = memory.find(place, 8)
        if at is None:
            continue
        references, found = struct.unpack_from("<II", component, at)
        if found == kind and (0 < references < _MOST or references >= _IMMORTAL_FROM):
            marked += 1
            if references < _MOST:
                struct.pack_into("<I", image, at, _IMMORTAL)
    if marked < _SHARE * count:
        raise ImageUnfit(f"of {count} listed objects only {marked} are where the list says")
    image[listed:end] = bytes(end - listed)
    return bytes(image), marked


class _Memory:
    """Where in a component what is at an address of its frozen memory stands."""

    def __init__(self, component: bytes) -> None:
        self._segments = sorted(_segments(component, 0, len(component)))

    def find(self, address: int, length: int) -> int | None:
        """The offset of so many bytes at ``address``; None where they are not in one segment."""
        at = bisect_right(self._segments, address, key=itemgetter(0)) - 1
        if at < 0:
            return None
        begin, offset, size = self._segments[at]
        return offset + address - begin if address + length <= begin + size else None


def _segments(code: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Address, offset and size of every data segment with a constant address, in all modules of a component."""
    nested = {_CORE: (_DATA_SECTION,), _COMPONENT: (_MODULE_SECTION, _COMPONENT_SECTION)}.get(code[begin : begin + 8])
    if nested is None:
        raise ImageUnfit(f"at byte {begin} there is neither a module nor a component")
    at = begin + 8
    while at < end:
        section = code[at]
        size, at = _number(code, at + 1)
        if section in nested:
            yield from _data(code, at) if section == _DATA_SECTION else _segments(code, at, at + size)
        at += size


def _data(code: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    count, at = _number(code, at)
    for _ in range(count):
        flags, at = _number(code, at)
        if flags == 2:  # with the number of its memory
            _, at = _number(code, at)
        address = None
        if flags != 1:  # not passive
            if code[at] == _I32_CONST:
                address, at = _number(code, at + 1, signed=True)
            else:
                at = code.index(_END, at)
            if code[at] != _END:
                raise ImageUnfit(f"the data segment at byte {at} has an address that is computed")
            at += 1
        size, at = _number(code, at)
        if address is not None:
            yield address & 0xFFFFFFFF, at, size
        at += size


def _number(code: bytes, at: int, *, signed: bool = False) -> tuple[int, int]:
    """A LEB128 number and where it ends."""
    value = shift = 0
    while True:
        byte = code[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value - (1 << shift) if signed and byte & 0x40 else value), at
