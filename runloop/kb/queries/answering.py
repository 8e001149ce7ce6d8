"""The process of a query: one request on standard input, one answer on standard output, within limits that the kernel keeps."""

from __future__ import annotations

import resource
import sys

import apsw
import msgspec

from runloop.errors import RunloopError
from runloop.kb.queries.request import Answer, Request
from runloop.kb.queries.statement import MAX_HEAP, answer, greedy

MAX_MEMORY = 512 * 1024 * 1024  # bytes beyond what the process takes when it starts


def main() -> None:
    """Answer one request."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    _confine(request.max_seconds)
    try:
        said = Answer(answer(request))
        data = msgspec.msgpack.encode(said)
    except MemoryError:
        data = msgspec.msgpack.encode(_error(greedy()))
    except RunloopError as error:
        data = msgspec.msgpack.encode(_error(error))
    sys.stdout.buffer.write(data)


def _error(error: RunloopError) -> Answer:
    return Answer(code=error.code, message=error.message, hint=error.hint or "")


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
