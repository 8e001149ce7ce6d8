"""`rlp attach`: follow a run, from its first record or any later one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, link, masking, output
from runloop.cli.finding import RunArgument, finding, records_of
from runloop.cli.link import waited
from runloop.cli.options import LinesOption
from runloop.errors import EXIT_FAILED, RunloopError, Unavailable

if TYPE_CHECKING:
    from runloop.cli.person import TerminalPerson
    from runloop.client import RunResult
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Follow a run, running, waiting or ended.")
Record = Mapping[str, Any]
_READ_HERE = frozenset({"run.unknown", "run.imported", "run.archived"})
"""What the daemon says of runs that are read from an archive, or of a file."""


@app.command()
def attach(
    run: RunArgument = "last",
    from_seq: Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="Begin with this record.")] = 1,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as NDJSON, also on a terminal.")] = False,
    as_table: LinesOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Only watch: what the run asks is not asked here.")] = False,
) -> int:
    """Show a run's records as they come, to its end; Ctrl-C leaves it running. The exit code is that of `rlp run`.

    Without a daemon a run that has ended is shown from the ledger. A daemon that restarts is waited for.

    Examples: `rlp attach`, `rlp attach 3f2a91c0 --from 40`, `rlp attach last --watch --json`.
    """
    from runloop.cli.person import TerminalPerson, person_present
    from runloop.cli.showing import exit_code, text_line

    terminal = output.is_terminal(sys.stdout)
    lines = _Lines(output.record_line if output.wants_json(as_json=as_json, as_table=as_table) else text_line)
    person = None
    if person_present() and not watch:
        person = TerminalPerson(lines.hold, lines.release) if terminal else TerminalPerson()
    result = waited(follow(context.settings(), run, lines.take, from_seq=from_seq, person=person))
    return EXIT_FAILED if result is None else exit_code(result, interrupted=False)


class _Lines:
    """Records as lines. Those that come while a person is asked wait, so that they do not stand in what is typed."""

    def __init__(self, line: Callable[[Record], str | None]) -> None:
        self._line = line
        self._held: list[str] | None = None

    def take(self, record: Record) -> None:
        text = self._line(masking.masked(record))
        if text is not None and self._held is not None:
            self._held.append(text)
        elif text is not None:
            print(text, flush=True)

    def hold(self) -> None:
        self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        for text in held:
            print(text, flush=True)


async def follow(
    settings: Settings, ref: str, on_record: Callable[[Record], None], *, from_seq: int = 1, person: TerminalPerson | None = None
) -> RunResult | None:
    """Every record to the run's end: from the daemon, and where none answers from the ledger; with a ``person`` what it asks is asked here.

    What lies in an archive is read from there. None where the run has no end that anybody here would drive it to, which is said on stderr.

    Raises:
        Unavailable: ``daemon.unavailable`` where the run has no end and no daemon answers; what a Following raises.

    """
    from runloop.cli.remote import Shown

    client = None if link.own_settings() else await link.find(settings, reconnect_s=link.RESTART_S)
    if client is None:
        return _from_ledger(ref, from_seq, on_record)
    async with client:
        try:
            run = await client.attach(ref, from_seq, attended=person is not None)
        except RunloopError as error:
            if error.code not in _READ_HERE:
                raise
            return _from_ledger(ref, from_seq, on_record)
        try:
            return await Shown(client, run, on_record, person, waits_s=link.RESTART_S).follow()
        except RunloopError as error:
            if error.code != "run.unfinished":
                raise
            output.print_warning(error.code, f"{error.message}: this is what is recorded")
            return None


def _from_ledger(ref: str, from_seq: int, on_record: Callable[[Record], None]) -> RunResult | None:
    from runloop.client.handle import result_of
    from runloop.kb.runs import root_of

    with finding(ref) as found:
        last: Record = {}
        for record in records_of(found):
            last = record
            if record["seq"] >= from_seq:
                on_record(record)
    if last["kind"] != "run.finished" and found.archive is not None:
        output.print_warning("run.unfinished", f"run {found.run_id} has no end in its archive: this is what is recorded")
        return None
    if last["kind"] != "run.finished":
        short = root_of(last)[:8]
        message = f"no daemon answers, and run {found.run_id} has no end: this is what is recorded"
        raise Unavailable(
            message, code="daemon.unavailable", hint=f"`rlp up` starts one, which takes it up; `rlp resume {short}` does so here"
        )
    return result_of(last)
