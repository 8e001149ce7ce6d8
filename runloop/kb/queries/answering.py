"""The process of a query: one request on standard input, one answer on standard output, within limits that the kernel keeps."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import apsw

from runloop.errors import RunloopError
from runloop.kb.queries.request import decoded
from runloop.kb.queries.statement import MAX_HEAP, answer, greedy

MAX_MEMORY = 512 * 1024 * 1024  # bytes beyond what the process takes when it starts
STATM = "/proc/self/statm"
_TAKEN_AT_MOST = 256 * 1024 * 1024  # more than it takes when it starts, where no /proc says how much that is


def main() -> None:
    """Answer one request."""
    request = decoded(sys.stdin.buffer.read())
    _confine(request.max_seconds)
    try:
        result = answer(request)
        said = json.dumps({"columns": result.columns, "rows": result.rows, "truncated": result.truncated})
    except MemoryError:
        said = json.dumps(_error(greedy()))
    except RunloopError as error:
        said = json.dumps(_error(error))
    sys.stdout.buffer.write(said.encode())


def _error(error: RunloopError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _confine(seconds: float) -> None:
    """Bound memory and processor time, whatever the statement makes of them: a parent that dies leaves nothing running."""
    apsw.hard_heap_limit(MAX_HEAP)
    for what, value in ((resource.RLIMIT_AS, _taken() + MAX_MEMORY), (resource.RLIMIT_CPU, int(seconds) + 5), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)  # the hard limit cannot be raised
        resource.setrlimit(what, (most, most))


def _taken() -> int:
    """Bytes of addresses that this process has."""
    try:
        with open(STATM, encoding="ascii") as statm:  # noqa: PTH123 - no path to build
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return _TAKEN_AT_MOST


if __name__ == "__main__":
    main()
