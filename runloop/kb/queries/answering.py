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
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - no path to build
        pages = int(statm.read().split()[0])
    most = pages * resource.getpagesize() + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    time = int(seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (time, time))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
