"""A statement in a process of its own: SQLite's limits on memory hold for a whole process, and some loops of it hear no interrupt."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runloop.kb.errors import LedgerCorrupt, LedgerError, QueryLimit, QueryRefused
from runloop.kb.queries.request import Answer, QueryResult
from runloop.kb.queries.statement import greedy, late

if TYPE_CHECKING:
    from runloop.kb.queries.request import Request

_GRACE = 2.0  # seconds over the query's own time, to start, to answer, and to notice that it is late
_MODULE = "runloop.kb.queries.answering"
_ROOT = str(Path(__file__).parents[3])
_ERRORS = {"kb.query_limit": QueryLimit, "kb.query_refused": QueryRefused, "kb.bad_query": QueryRefused, "ledger.corrupt": LedgerCorrupt}


def run_query(request: Request) -> QueryResult:
    """Run one read-only statement over the masked tables; raises :class:`QueryRefused` or :class:`QueryLimit`."""
    import subprocess  # not needed in the process that answers, which imports this package too

    command = [sys.executable, "-P", "-s", "-B", "-m", _MODULE]
    environment = {"PYTHONPATH": _ROOT, "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}  # of the user's, nothing
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=os.sep
    ) as process:
        try:
            data, _ = process.communicate(msgspec.msgpack.encode(request), request.max_seconds + _GRACE)
        except subprocess.TimeoutExpired:
            raise late(request.max_seconds) from None
        finally:
            process.kill()
    if not data:
        raise greedy() if process.returncode else QueryRefused("the query's process gave no answer", code="kb.query_failed")
    answer = msgspec.msgpack.decode(data, type=Answer)
    if answer.result is None:
        raise _ERRORS.get(answer.code, LedgerError)(answer.message, code=answer.code, hint=answer.hint)
    return answer.result
