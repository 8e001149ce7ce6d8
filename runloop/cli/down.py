"""`rlp down`: stop the daemon and wait until it is gone."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, link, output
from runloop.cli.link import waited
from runloop.cli.options import JsonOption
from runloop.errors import RunloopError, Unavailable
from runloop.rmp.errors import FramingError

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Stop the daemon.")


@app.command()
def down(
    *,
    grace_s: Annotated[float | None, typer.Option("--grace", min=0, help="Seconds that working nodes may go on.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the end, beyond the grace.")] = 30.0,
    as_json: JsonOption = False,
) -> int:
    """Stop the daemon: no new runs, a grace for nodes that work, then the end. Runs without an end stay unfinished in the ledger."""
    settings = context.settings_for_the_daemon()
    grace_ms = settings.get("runtime.drain_grace_ms") if grace_s is None else int(grace_s * 1000)
    why: RunloopError | None = None
    try:
        handle = waited(_ask_to_stop(settings, grace_ms))
    except (Unavailable, FramingError) as error:  # also of a version that speaks otherwise: a signal reaches it
        handle, why = None, error
    silent = handle is None
    if handle is None:
        handle = _signal(settings)
    if handle is None:
        if why is not None and not _is_nobody(why):
            raise why
        _say(None, as_json=as_json)
        return 0
    pid, descriptor = handle
    try:
        ended, _, _ = select.select([descriptor], [], [], timeout_s + grace_ms / 1000)
    finally:
        os.close(descriptor)
    if not ended:
        hint = f"kill -9 {pid} ends it; the next daemon goes on with its runs" if silent else f"its log says why; kill {pid} ends the grace"
        answers = " answers nobody and" if silent else ""
        raise Unavailable(f"the daemon (process {pid}){answers} has not ended yet", code="daemon.slow", hint=hint)
    _say(pid, as_json=as_json)
    return 0


def _signal(settings: Settings) -> tuple[int, int] | None:
    """As :func:`_ask_to_stop`, of a daemon that holds its socket and answers nobody: it still starts, or hangs."""
    from runloop.bus.listen import holder
    from runloop.client.places import places

    for place in places(settings):
        pid = None if place.of_the_machine else holder(place.socket)
        if pid is not None:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                return pid, descriptor
    return None


def _is_nobody(why: RunloopError) -> bool:
    """Whether it was not to be asked since there is none, and not since the one that is there cannot be."""
    from runloop.bus.listen import nobody_listens

    return isinstance(why, Unavailable) and (why.where.file is None or nobody_listens(Path(why.where.file)))


def _say(pid: int | None, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"state": "none" if pid is None else "stopped", "pid": pid})
    else:
        output.print_line("no daemon runs" if pid is None else f"the daemon (process {pid}) has stopped")


async def _ask_to_stop(settings: Settings, grace_ms: int) -> tuple[int, int] | None:
    """The daemon's process and a descriptor that becomes readable at its end; None where it goes away meanwhile.

    Raises Unavailable where nobody answers, FramingError where who answers speaks otherwise.
    """
    async with link.linked(settings) as client:
        try:
            pid = (await client.status())["pid"]
            descriptor = os.pidfd_open(pid)  # before it is told: its number cannot have gone to another process
        except (Unavailable, ProcessLookupError):  # it goes away in this moment, or has yet to answer: a signal reaches it
            return None
        try:
            await client.ask("drain", grace_ms=grace_ms)
        except Unavailable:  # it may have heard, and have ended before its answer was out
            with suppress(OSError):  # it has ended, or is another user's, whom only the verb stops
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        except BaseException:
            os.close(descriptor)
            raise
        return pid, descriptor
