"""One span, the trace that it belongs to, and which traces are exported."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, Literal

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.events.traceparent import Origin

_RANDOM: Final = (1 << 56) - 1
"""The end of a trace id, by which a share of the traces is chosen (W3C Trace Context 2); what is before is not random in a UUID."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that ended; times are Unix milliseconds, ``parent`` is a span of the same trace."""

    name: str
    trace_id: int
    span_id: int
    parent: int | None
    start_ms: int
    end_ms: int
    attributes: Mapping[str, Any]
    failed: str | None = None
    """The stable code of what went wrong."""
    kind: Literal["internal", "client", "server"] = "internal"
    events: tuple[tuple[str, int], ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    """Spans of other traces, by trace and span."""
    remote_parent: bool = False


def span_id(run_id: str, *what: object) -> int:
    """The id of a span: the same whenever it is made, so that what is told twice can be known as such."""
    digest = blake3("/".join(map(str, (run_id, *what))).encode()).digest(length=8)
    return int.from_bytes(digest) or 1


def trace_of(run_id: str) -> int:
    """The trace of a run that nobody's trace is about: its id without the dashes."""
    return uuid.UUID(run_id).int


def exported(sampling: str, trace_id: int, origin: Origin | None) -> bool:
    """Whether a trace goes out: ``parent`` as the submitter's does, else always; ``always_on``; or a share, ``ratio:N``."""
    if sampling == "parent":
        return origin is None or origin.sampled
    share = 1.0 if sampling == "always_on" else float(sampling.removeprefix("ratio:"))
    return trace_id & _RANDOM >= round((1 - share) * (_RANDOM + 1))
