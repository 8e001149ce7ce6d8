"""A statement in a process of its own: SQLite's limits on memory hold for a whole process, and some loops of it hear no interrupt."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.kb.errors import LedgerCorrupt, LedgerError, QueryLimit, QueryRefused
from runloop.kb.queries.request import QueryResult
from runloop.kb.queries.statement import greedy, late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runloop.kb.queries.request import Request

_GRACE = 2.0  # seconds over the query's own time, to start, to answer, and to notice that it is late
_MODULE = "runloop.kb.queries.answering"
_ROOT = str(Path(__file__).parents[3])
_ERRORS = {"kb.query_limit": QueryLimit, "kb.query_refused": QueryRefused, "kb.bad_query": QueryRefused, "ledger.corrupt": LedgerCorrupt}


@contextmanager
def query_process() -> Iterator[Callable[[Request], QueryResult]]:
    """A process that starts at once, and what asks it: for one statement. It raises :class:`QueryRefused` or :class:`QueryLimit`."""
    import subprocess  # not needed in the process that answers, which imports this package too

    command = [sys.executable, "-P", "-s", "-S", "-B", "-m", _MODULE]
    known = os.pathsep.join([_ROOT, *(place for place in sys.path if place)])  # found already: its own search would take longer
    environment = {
        "PYTHONPATH": known,
        "LC_ALL": "C.UTF-8",
        "MALLOC_ARENA_MAX": "1",
    }  # of the user's, the zone of the time and nothing else
    if (zone := os.environ.get("TZ")) is not None:
        environment["TZ"] = zone
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=os.sep
    ) as process:

        def ask(request: Request) -> QueryResult:
            try:
                data, _ = process.communicate(request.encoded(), request.max_seconds + _GRACE)
            except subprocess.TimeoutExpired:
                raise late(request.max_seconds) from None
            return _result(data, process.returncode)

        try:
            yield ask
        finally:
            process.kill()


def _result(data: bytes, code: int) -> QueryResult:
    if not data:
        raise greedy() if code else QueryRefused("the query's process gave no answer", code="kb.query_failed")
    answer = json.loads(data)
    if "code" in answer:
        raise _ERRORS.get(answer["code"], LedgerError)(answer["message"], code=answer["code"], hint=answer["hint"])
    return QueryResult(answer["columns"], [tuple(row) for row in answer["rows"]], answer["truncated"])
