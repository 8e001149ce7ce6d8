"""Feeds of what is over: records of a file or a pipe, and the ledger as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from functools import partial
from io import BufferedIOBase
from types import NoneType
from typing import Any, Final

from runloop.dataclass import dataclass
from runloop.errors import Denied, InvalidInput, RunloopError, Where
from runloop.tasks import unattended
from runloop.text import clean_line, sort_of
from runloop.tui.board import Board
from runloop.tui.changing import Change
from runloop.tui.deciding import Decision
from runloop.tui.model import ENDED, Record

_KEYS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "seq": int, "ts_ms": int, "run_id": str, "opening_name": str, "parent_run_id": (str, NoneType), "kind": str, "level": str,
    "message": str, "meta": dict, "event_id": (int, NoneType),
}  # fmt: skip
"""What a record has to have, and of what type."""
_BATCH: Final = 200
_CHUNK: Final = 64 * 1024
_ANSWERED: Final = frozenset({"effect.completed", "effect.failed", "effect.unknown"})
_LIVE: Final = "start agtop without --input and --at"


def read_record(line: bytes, number: int, name: str) -> Record | None:
    """A line of NDJSON as a record, None for an empty one. Raises InvalidInput ``tui.input``."""
    if not line.strip():
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise _wrong(name, number, "it is no JSON") from None
    if not isinstance(found, dict) or found.get("v") != 1:
        raise _wrong(name, number, "it is no run record of version 1")
    if missing := [key for key in _KEYS if key not in found]:
        raise _wrong(name, number, f"it lacks {', '.join(missing)}")
    if other := [key for key, kind in _KEYS.items() if not isinstance(found[key], kind)]:
        raise _wrong(name, number, f"of another type than in a record: {', '.join(other)}")
    record: Record = found
    return record


def _wrong(name: str, number: int, why: str) -> InvalidInput:
    hint = "give what `rlp run --json`, `rlp attach --json` or `rlp logs --json` prints"
    return InvalidInput(f"line {number} cannot be shown: {why}", code="tui.input", where=Where(file=name, line=number), hint=hint)


class _Recorded:
    """Nothing can be decided in what is over."""

    async def whole(self, value: Any) -> Any:
        """As it is: a large value stands as the name of its blob."""
        return value

    async def answer(self, approval_id: str, decision: Decision) -> None:
        """Raise Denied ``tui.recorded``."""
        raise Denied("nothing can be decided in what is over", code="tui.recorded", hint=_LIVE)

    async def change(self, change: Change) -> str:
        """Raise Denied ``tui.recorded``."""
        raise Denied(f"nothing is left to {change.verb} in what is over", code="tui.recorded", hint=_LIVE)


@dataclass(slots=True)
class StreamFeed(_Recorded):
    """Records of NDJSON in ``stream``, as they come; ``name`` is what errors call it."""

    stream: BufferedIOBase
    name: str
    mask: Callable[[Any], Any] = lambda value: value
    mode: str = "FILE"
    _last_ms: int = 0

    def now_ms(self) -> int:
        """When the newest record was written."""
        return self._last_ms

    async def know(self, run_id: str) -> None:
        """There is nothing else."""

    async def fill(self, board: Board, changed: Callable[[], None]) -> None:
        """As :class:`runloop.tui.ports.Feed`. Raises InvalidInput ``tui.input`` for a line that is no record."""
        with self.stream:
            number = await self._read(board, changed)
        board.know(link=f"{self.name}: {number} lines, to the end")
        changed()

    async def _read(self, board: Board, changed: Callable[[], None]) -> int:
        """Every line, as soon as it is there; how many there were."""
        number, rest, more = 0, b"", True
        unbuffered = getattr(self.stream, "raw", self.stream)  # a buffer is locked while it is read, and then it cannot be closed
        while more:
            data = await unattended(partial(unbuffered.read, _CHUNK))
            more = bool(data)
            *lines, rest = (rest + (data or b"\n")).split(b"\n")
            if not more and lines == [b""]:
                break  # it ended with its last line's end
            for line in lines:
                number += 1
                record = read_record(line, number, self.name)
                if record is not None:
                    try:
                        self._take(board, record)
                    except (AttributeError, LookupError, TypeError, ValueError):
                        raise _wrong(self.name, number, f"its meta is none of {clean_line(record['kind'])}") from None
                if number % _BATCH == 0:
                    changed()
                    await asyncio.sleep(0)  # the screen has its turn
            changed()
        return number

    def _take(self, board: Board, record: Record) -> None:
        self._last_ms = max(self._last_ms, record["ts_ms"])
        run = board.run(record["run_id"])
        if not run.seq and record["seq"] > 1:
            run.seq = record["seq"] - 1  # the file begins in the middle of the run
        if board.take(self.mask(record)):
            _ask_or_close(board, record)


def _ask_or_close(board: Board, record: Record) -> None:
    """What was asked, and decided, as the inbox showed it then."""
    kind, meta, run_id = record["kind"], record["meta"], record["run_id"]
    node = meta.get("node") or ""
    call_id = f"{run_id}/{node}/{meta.get('attempt')}/{meta.get('call')}"
    if kind == "approval.requested":
        shown = _opened(board, record, meta["approval_id"])
        if sort_of(meta["approval_id"]) != "approval":
            board.ask({**shown, "type": "question", "question": meta["what"], "options": meta.get("options") or []})
            return
        lists = {"recipients": meta.get("recipients") or [], "scopes": [], "taint": meta.get("taint") or []}
        asked = {"action": meta.get("action") or "an action", "what": meta["what"], "reason": meta.get("reason") or ""}
        board.ask({**shown, "type": "approval", **asked, **lists})
    elif kind == "effect.requested" and meta["name"] == "ask.person" and _is_question(meta):
        board.ask({"options": [], **meta["args"], **_opened(board, record, call_id), "type": "question"})
    elif kind in {"approval.decided", "approval.expired"}:
        board.ask({"state": "closed", "approval_id": meta["approval_id"]})
    elif kind in _ANSWERED:
        board.ask({"state": "closed", "approval_id": call_id})
    elif kind == "run.finished":
        for approval_id in [name for name, each in board.approvals.items() if each["run_id"] == run_id]:
            board.ask({"state": "closed", "approval_id": approval_id})


def _is_question(meta: Mapping[str, Any]) -> bool:
    """Whether a person saw it: one that is refused may say anything, and of a large one only the blob is named."""
    args = meta.get("args")
    return isinstance(args, Mapping) and isinstance(args.get("question"), str) and not meta.get("refused")


def _opened(board: Board, record: Record, approval_id: str) -> dict[str, Any]:
    """Who asks, and since when."""
    run_id, node = record["run_id"], record["meta"].get("node") or ""
    known = board.run(run_id).nodes.get(node)
    named = {"run_id": run_id, "node": node, "agent": known.agent if known else "", "asked_ms": record["ts_ms"]}
    return {"state": "open", "approval_id": approval_id, **named}


@dataclass(slots=True)
class PastFeed(_Recorded):
    """The runs of the ledger as it was at ``at_ms``: ``rows`` as the daemon lists them, ``history`` gives a run's records up to then."""

    rows: Iterable[Mapping[str, Any]]
    history: Callable[[str], Iterable[Record]]
    at_ms: int
    told: str
    mode: str = "PAST"
    older: bool = False
    """Whether there were older runs than those of ``rows``."""
    _board: Board = field(default_factory=Board)
    _changed: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        """The time that is shown."""
        return self.at_ms

    async def fill(self, board: Board, changed: Callable[[], None]) -> None:
        """As :class:`runloop.tui.ports.Feed`."""
        self._board, self._changed = board, changed
        rows = list(self.rows)
        board.list_runs(rows)
        board.older = self.older
        board.know(link=self.told)
        changed()
        for row in rows:
            if row["state"] not in ENDED:
                await self.know(row["run_id"])

    async def know(self, run_id: str) -> None:
        """Read a run's records."""
        try:
            records = await asyncio.to_thread(lambda: list(self.history(run_id)))
        except RunloopError as error:
            self._board.tell(f"{error.code}: {error.message}")
            records = []
        for record in records:
            if self._board.take(record):
                _ask_or_close(self._board, record)
        self._changed()
