"""A list of the objects that are in the snapshot, for the build: none of them ever goes, so none needs its references counted.

An object whose references are counted changes whenever a run looks at it, and each page with such a one has to be copied. The build
marks them as immortal in the memory that it froze (``image.py``), as the interpreter itself does with ``None``.
"""

import gc
import struct
import sys

MARK = b"\0runloop: the objects in this snapshot\0\0"
"""Stands before the list: the interpreter's version in two bytes, two empty ones, their number, and the place of each and of its type."""
_HEADER, _ENTRY = struct.Struct("<BBxxI"), struct.Struct("<II")
_UNIT = 8
"""Objects lie at multiples of this."""
_ROOM = 1 << 20
"""Bytes for the list: some 130,000 objects. So much is free only where the heap ends."""


def count() -> bytearray:
    """Every object that can be reached from one that the collector knows, and lives on."""
    end = id(bytes(_ROOM))  # itself, unlike that of a bytearray, whose small head lies anywhere
    listed = bytearray(_ROOM)  # first, so that what else is needed lies behind it and is free again afterwards
    seen = bytearray(end // _UNIT // 8 + 1)
    at = begin = len(MARK) + _HEADER.size
    for known in gc.get_objects():
        at = _count_from(known, seen, listed, at)
    listed[: len(MARK)] = MARK
    _HEADER.pack_into(listed, len(MARK), *sys.version_info[:2], (at - begin) // _ENTRY.size)
    return listed


def _count_from(first: object, seen: bytearray, listed: bytearray, at: int) -> int:
    todo = [first]
    while todo:
        each = todo.pop()
        place = id(each)
        byte, bit = divmod(place // _UNIT, 8)
        if byte < len(seen) and not seen[byte] >> bit & 1:
            seen[byte] |= 1 << bit
            _ENTRY.pack_into(listed, at, place, id(type(each)))
            at += _ENTRY.size
            todo += gc.get_referents(each)
    return at
