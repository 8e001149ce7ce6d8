"""`rlp up`: start the daemon, detached from the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, link, output
from runloop.cli.link import waited
from runloop.cli.options import JsonOption
from runloop.errors import RunloopError, Unavailable, Where

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Start the daemon.")
READY_FD = "RUNLOOP_READY_FD"
_PAUSE_S = 0.05
_BEGIN_S = 5.0  # a machine that is slower than that has it start unseen
_OTHER_S = 5.0  # how long another one that starts is waited for without --wait
_SILENT_S = 1.0  # one that has not answered for so long may never do so, which a person is told


@app.command()
def up(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the daemon is ready, or with the reason why it is not.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait with --wait.")] = 60.0,
    as_json: JsonOption = False,
) -> int:
    """Start the daemon in the background; nothing to do where one answers already."""
    settings = context.settings()
    began = time.monotonic()
    running = waited(_running(settings))
    asked = time.monotonic()
    until = asked + timeout_s
    if running is not None:
        _say({"state": "already_running", **running}, as_json=as_json)
        return 0
    _check_ledger(settings)
    log = _log_file(settings)
    reading, process = _start(settings, log)
    with os.fdopen(reading, "rb") as pipe:
        if not wait and _begun(pipe.fileno(), settings, process.pid):
            _say({"state": "starting", "pid": process.pid, "log": str(log)}, as_json=as_json)
            return 0
        answer = _wait(pipe.fileno(), until)
    if answer is None:
        raise _failed(process, log, timeout_s)
    if not answer["ready"]:
        process.wait()
        from runloop.bus.errors import from_wire

        error = from_wire(answer["error"])
        if error.code != "bus.already_running":
            raise error
        if asked - began > _SILENT_S:
            print(f"note: {error.message} and does not answer: waiting for it", file=sys.stderr, flush=True)
        other = _other(settings, until if wait else min(until, time.monotonic() + _OTHER_S))
        if other is None:
            hint = "it still starts, or hangs: its log says which; `rlp down` ends it"
            raise Unavailable(f"{error.message} and does not answer", code="daemon.slow", where=error.where, hint=hint)
        _say({"state": "already_running", **other}, as_json=as_json)
        return 0
    _say({"state": "ready", "pid": answer["pid"], "socket": answer["socket"], "log": str(log)}, as_json=as_json)
    return 0


async def _running(settings: Settings) -> dict[str, Any] | None:
    try:
        client = await link.find(settings)
    except Unavailable:
        return None  # the socket that is set, without a daemon: that is what this verb is for
    if client is None:
        return None
    async with client:
        status = await client.status()
        return {"pid": status["pid"], "socket": status["socket"]}


def _other(settings: Settings, until: float) -> dict[str, Any] | None:
    """The daemon that is there, started by somebody else in the same moment or hanging, once it answers."""
    while (running := waited(_running(settings))) is None and time.monotonic() < until:
        time.sleep(_PAUSE_S)
    return running


def _check_ledger(settings: Settings) -> None:
    """Refuse to start a daemon that could only write into its log why it ends: the ledger is of another Runloop."""
    from runloop.kb.database import connected
    from runloop.kb.migrations import refuse_other

    path = settings.directories.pog / settings.get("kb.events_db")
    if path.exists():
        with connected(path, readonly=True) as db:
            refuse_other(db, path)


def _log_file(settings: Settings) -> Path:
    from runloop.config import ensure

    configured: Path | None = settings.get("logging.file")
    return configured or ensure(settings.base.state / "log") / "runloopd.log"


def _start(settings: Settings, log: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """The daemon in a session of its own, with nothing of the terminal, and the pipe on which it says that it is ready."""
    from runloop.config import ensure

    overrides = {"logging.file": str(log).replace("$", "$$"), **context.current().overrides}
    command = [sys.executable, "-P", "-m", "runloop.daemon.main", "--foreground"]
    command += [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    env = dict(os.environ)
    if env.get("RUNLOOP_CONFIG", "").strip():
        env["RUNLOOP_CONFIG"] = os.path.abspath(env["RUNLOOP_CONFIG"])  # noqa: PTH100 - the file may be a link
    reading, writing = os.pipe()
    try:
        errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        where = Where(file=str(log), key="logging.file")
        raise Unavailable(
            f"the log cannot be written: {error.strerror}", code="daemon.log", where=where, hint="set logging.file"
        ) from error
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=(writing,),
            start_new_session=True,
            cwd=ensure(settings.base.state),
            env={**env, READY_FD: str(writing)},
        )
    finally:
        os.close(errors)
        os.close(writing)
    return reading, process


def _begun(descriptor: int, settings: Settings, pid: int) -> bool:
    """Wait until the daemon holds its socket, so that `rlp down` finds it from now on; False where it said more, or ended, before that."""
    import select

    from runloop.bus.listen import holder
    from runloop.client.places import places

    sockets = [place.socket for place in places(settings) if not place.of_the_machine]
    until = time.monotonic() + _BEGIN_S
    while time.monotonic() < until and all(holder(socket) != pid for socket in sockets):
        if select.select([descriptor], [], [], _PAUSE_S / 5)[0]:
            return False
    return True


def _wait(descriptor: int, until: float) -> dict[str, Any] | None:
    """The daemon's one line; None where it ended without one, or the time is up."""
    import select

    text = b""
    while b"\n" not in text:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        data = os.read(descriptor, 65_536) if ready else b""
        if not data:
            return None
        text += data
    answer: dict[str, Any] = json.loads(text)
    return answer


def _failed(process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> RunloopError:
    code = process.poll()
    where = Where(file=str(log))
    if code is None:
        return Unavailable(
            f"the daemon is not ready after {timeout_s:g} s", code="daemon.slow", where=where, hint="its log says what it does"
        )
    return Unavailable(f"the daemon ended with code {code} before it was ready", code="daemon.start", where=where, hint="its log says why")


def _say(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(facts)
        return
    words = {"already_running": "the daemon already runs", "starting": "the daemon is starting", "ready": "the daemon is ready"}
    place = f" at {facts['socket']}" if "socket" in facts else ""
    output.print_line(f"{words[facts['state']]} (process {facts['pid']}){place}")
