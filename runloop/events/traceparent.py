"""W3C Trace Context: what a ``traceparent`` says of the span that a run is part of."""

from __future__ import annotations

import re

from runloop.dataclass import dataclass

_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Origin:
    """The span that a run is part of; ``sampled`` is whether its trace is kept."""

    trace_id: int
    span_id: int
    sampled: bool


def origin_of(traceparent: str | None) -> Origin | None:
    """What it says; None where there is none or it cannot be understood, which the standard wants to be the same."""
    found = None if traceparent is None or len(traceparent) > _LONGEST else _FORM.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[5]):  # only later versions may say more
        return None
    return Origin(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & 1))
