"""Sizes and times as people write them: ``"64 MiB"``, ``"30 s"``, or a bare number of bytes or milliseconds."""

from __future__ import annotations

import re

SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
TIMES = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
_AMOUNT = re.compile(r"([0-9]{1,15}) ?([A-Za-z]+)")


def amount(value: object, units: dict[str, int]) -> int:
    """Read a positive amount in the smallest unit; ValueError says what would be accepted."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if found and found[2] in units and int(found[1]) > 0:
        return int(found[1]) * units[found[2]]
    raise ValueError("a positive whole number" + (f", or one with a unit: {', '.join(units)}" if units else ""))
