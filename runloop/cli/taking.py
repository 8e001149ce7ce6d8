"""Unfinished runs taken up in this process: found in the ledger, driven to their end with the person at this terminal (ADR 5)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.cli import output
from runloop.cli.person import TerminalPerson
from runloop.cli.showing import RunShown, exit_code, show_compiling, text_of_many
from runloop.dataclass import dataclass
from runloop.errors import EXIT_DENIED, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, RunloopError, Unavailable, Where
from runloop.runs.errors import NeedsPerson, RunEnded, child_of
from runloop.runs.pausing import resume
from runloop.runs.results import RunHalted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.config import Settings
    from runloop.effects.perform.ports import PersonAnswer, Question
    from runloop.effects.types import CallContext
    from runloop.runs.compose import Session
    from runloop.runs.operator import ApprovalDecision, ApprovalRequest
    from runloop.runs.results import RunResult
    from runloop.runs.services import Lookup

_HINT = "resume it on a terminal; or a daemon that starts (`rlp up`) takes it up, and `rlp approve` decides"


def find(ref: str | None) -> list[str]:
    """The id of the unfinished run that ``ref`` names, or with None of all of them, oldest first; child runs come with their parents.

    Raises:
        InvalidInput: ``run.no_ledger``, ``run.unknown``, ``run.imported``, ``run.ambiguous``, ``run.ended``, ``run.child``.
        Unavailable: ``run.driven`` where a process drives it.

    """
    from runloop.cli.ledger import reading_base
    from runloop.runs.owners import living_owners
    from runloop.runs.unfinished import own_run, unfinished_runs

    with reading_base() as kb:
        owners = living_owners(kb.root)
        if ref is None:
            return [each.identity.run_id for each in unfinished_runs(kb) if each.owner not in owners]
        run_id = own_run(kb, ref)
        _check(kb.run(run_id) or {}, owners)
        return [run_id]


def _check(row: Mapping[str, Any], owners: Mapping[str, str]) -> None:
    from runloop.kb.runs import root_of

    run_id = row["run_id"]
    if row["finished_ms"] is not None:
        raise RunEnded(run_id, row["status"])
    if row["parent_run_id"] is not None:
        raise child_of(run_id, root_of(row))
    if row["owner"] in owners:
        message = f"run {run_id} is driven by process {owners[row['owner']]}"
        raise Unavailable(message, code="run.driven", hint="let it, or end that process first", retryable=False)


@dataclass(slots=True)
class PersonWanted:
    """The person at this terminal; what nobody is there to decide stays open, and the run unfinished."""

    terminal: TerminalPerson
    present: bool = True

    def has_said_no(self, question_id: str) -> bool:
        """As the terminal."""
        return self.terminal.has_said_no(question_id)

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """Ask. Raises NeedsPerson where nobody is there."""
        self._require(f"node {request.node} waits for an approval of {request.action}", request.node)
        return await self.terminal.decide(request)

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Ask. Raises NeedsPerson where nobody is there."""
        self._require(f"node {ctx.node} waits for an answer: {output.clean_line(question.text)}", ctx.node)
        return await self.terminal.ask(question, ctx)

    def _require(self, message: str, node: str) -> None:
        if not self.terminal.present:
            raise NeedsPerson(f"{message}, and nobody is there", where=Where(node=node), hint=_HINT)


@dataclass(slots=True)
class _Taking:
    """What goes on while runs are taken up."""

    opened: Session
    settings: Settings
    why: str
    left: bool = False

    def leave(self, _reason: str) -> None:
        """Stop, and leave every run to the next resumption."""
        self.left = True
        for run in self.opened.manager.active:
            run.halt()

    async def drive(self, run_id: str, shown: RunShown) -> RunResult:
        """One run to its end. Raises RunHalted where it was left, NeedsPerson, and what makes going on impossible."""
        run = await self.opened.manager.recover(run_id, lookup=self._lookup, subscribers=(shown.take,))
        if self.left:
            raise RunHalted
        await resume(run, self.why)
        return await self.opened.manager.drive(run)

    def _lookup(self, workdir: str | None) -> Lookup | None:
        """The names of the directory where the run's submitter was, while it is there."""
        from runloop.runs.disk import DiskLookup

        there = workdir is not None and Path(workdir).is_dir()
        return DiskLookup(self.settings, Path(str(workdir))) if there else None


async def take_up(settings: Settings, runs: list[str], *, why: str, as_json: bool = False) -> int:
    """Drive the runs to their ends side by side; the exit code. ``why`` is recorded where a pause ends.

    Raises NeedsPerson and what else keeps the only run from going on; of several it is said on stderr.
    """
    from runloop.runs.compose import session

    if as_json or not output.is_terminal(sys.stdout):
        shown = RunShown(None)
    elif len(runs) > 1:
        shown = RunShown(None, line=text_of_many)
    else:
        shown = _viewed(runs[0])
    async with session(settings, PersonWanted(shown.person()), progress=show_compiling) as opened:
        taking = _Taking(opened, settings, why)
        with shown.watching(taking.leave) as interrupts:
            ended = await asyncio.gather(*(taking.drive(run_id, shown) for run_id in runs), return_exceptions=True)
        if len(runs) == 1 and not isinstance(ended[0], BaseException):
            shown.end(ended[0])
    return _exit_code(runs, ended, interrupted=interrupts.taken > 0)


def _viewed(run_id: str) -> RunShown:
    """A live view that shows what was recorded before."""
    from runloop.cli.ledger import reading_ledger
    from runloop.events import record_of
    from runloop.runs.fork import told_events
    from runloop.runs.submitted import opening_of

    with reading_ledger() as ledger:
        records = [record_of(event) for event in told_events(ledger, run_id)]
    shown = RunShown(opening_of(records[0]["meta"]))
    shown.recall(records)
    return shown


async def cancel(settings: Settings, run_id: str, reason: str) -> str:
    """Take the run up with the cancellation first, so that every call that was begun gets an outcome; its state then."""
    from runloop.runs.compose import session

    async with session(settings, progress=show_compiling) as opened:
        run = await opened.manager.recover(run_id, ending=reason)
        return (await opened.manager.drive(run)).status


def _exit_code(runs: list[str], ended: list[RunResult | BaseException], *, interrupted: bool) -> int:
    """The code of the only run; of several that of the worst: interrupted, then denied, then failed."""
    codes = [EXIT_OK]
    for run_id, result in zip(runs, ended, strict=True):
        if isinstance(result, RunHalted):
            hint = f"`rlp resume {run_id[:8]}` takes it up again"
            output.print_warning("run.left", f"run {run_id} stays unfinished; {hint}")
            codes.append(EXIT_INTERRUPTED if interrupted else EXIT_FAILED)
        elif isinstance(result, RunloopError) and len(runs) > 1:
            output.print_error(result)
            codes.append(result.exit_code)
        elif isinstance(result, BaseException):
            raise result
        else:
            codes.append(exit_code(result, interrupted=False))
    return next((code for code in (EXIT_INTERRUPTED, EXIT_DENIED) if code in codes), max(codes))
