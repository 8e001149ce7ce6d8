"""`rlp up`: start the daemon, detached from the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, link, output
from runloop.cli.addresses import LIFT, few_addresses, too_few
from runloop.cli.link import waited
from runloop.cli.options import JsonOption
from runloop.errors import RunloopError, Unavailable, Where

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Start the daemon.")
READY_FD = "RUNLOOP_READY_FD"
_SOON_S = 0.01
_LOOK_S = 0.25  # how often it is looked how far a start is; that it is over is told at once
_PATIENCE_S = 60.0
_WAITS = "it goes on with that; `rlp up --wait` returns when it is ready"
_BEGIN_S = 5.0  # a machine that is slower than that has it start unseen
_OTHER_S = 5.0  # how long another one that starts is waited for without --wait
_SILENT_S = 1.0  # one that has not answered for so long may never do so, which a person is told


@app.command()
def up(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the daemon is ready, or with the reason why it is not.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="Seconds to wait with --wait; else 60 without a word of how far it is.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Start the daemon in the background; nothing to do where one answers already."""
    settings = context.settings()
    began = time.monotonic()
    running = waited(_running(settings))
    asked = time.monotonic()
    patience = _Patience(settings, asked, timeout_s)
    if running is not None:
        _say({"state": "already_running", **running}, as_json=as_json)
        return 0
    if (pid := _starting(settings)) is not None:
        return _join(settings, pid, patience, wait=wait, as_json=as_json)
    _check_ledger(settings)
    log = _log_file(settings)
    reading, process = _start(log)
    with os.fdopen(reading, "rb") as pipe:
        if not wait and _begun(pipe.fileno(), settings, process.pid):
            _say({"state": "starting", "pid": process.pid, "log": str(log)}, as_json=as_json)
            return 0
        answer = _wait(pipe.fileno(), patience)
    patience.done()
    if answer is None:
        raise _failed(process, log, patience)
    if not answer["ready"]:
        process.wait()
        from runloop.bus.errors import from_wire

        error = from_wire(answer["error"])
        if error.code != "bus.already_running":
            raise error
        if asked - began > _SILENT_S:
            print(f"note: {error.message} and does not answer: waiting for it", file=sys.stderr, flush=True)
        other = _other(settings, patience if wait else _Patience(settings, time.monotonic(), min(_OTHER_S, timeout_s or _OTHER_S)))
        if other is None:
            hint = "it still starts, or hangs: its log says which; `rlp down` ends it"
            if patience.says is not None:
                raise Unavailable(f"{error.message} and starts: {patience.says}", code="daemon.slow", where=error.where, hint=_WAITS)
            raise Unavailable(f"{error.message} and does not answer", code="daemon.slow", where=error.where, hint=hint)
        _say({"state": "already_running", **other}, as_json=as_json)
        return 0
    _say({"state": "ready", "pid": answer["pid"], "socket": answer["socket"], "log": str(log)}, as_json=as_json)
    return 0


def _starting(settings: Settings) -> int | None:
    """The process of a daemon that says how far its start is."""
    from runloop.bus.listen import holder
    from runloop.client.places import places

    return next((holder(place.socket) for place in places(settings) if place.starting is not None), None)


def _join(settings: Settings, pid: int, patience: _Patience, *, wait: bool, as_json: bool) -> int:
    """Wait for the daemon that starts already, or say that it does."""
    if not wait:
        _say({"state": "starting", "pid": pid, "log": str(_log_file(settings))}, as_json=as_json)
        return 0
    found = _other(settings, patience)
    if found is None:
        raise Unavailable(
            f"the daemon (process {pid}) is not ready yet: {patience.says or 'it still starts'}", code="daemon.slow", hint=_WAITS
        )
    _say({"state": "already_running", **found}, as_json=as_json)
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


class _Patience:
    """How long a daemon is waited for: so many seconds, or where nobody said how many, as long as it says every so often how far it is."""

    def __init__(self, settings: Settings, now: float, timeout_s: float | None) -> None:
        self._settings, self._fixed = settings, timeout_s is not None
        self.seconds = _PATIENCE_S if timeout_s is None else timeout_s
        self._until = now + self.seconds
        self.says: str | None = None

    @property
    def pause_s(self) -> float:
        """Until the next look."""
        return min(_LOOK_S, max(0.0, self._until - time.monotonic()))

    def done(self) -> None:
        """Take away what was drawn."""
        if self.says is not None and output.shows_progress():
            output.write_over()

    def is_over(self) -> bool:
        """Whether the time is up; a person at a terminal sees what the daemon says of its start."""
        from runloop.client.places import places

        before, self.says = self.says, next((says for place in places(self._settings) if (says := place.starting) is not None), None)
        if self.says != before:
            if output.shows_progress():
                output.write_over(self.says or "")
            if self.says is not None and not self._fixed:
                self._until = time.monotonic() + self.seconds
        return time.monotonic() >= self._until


def _other(settings: Settings, patience: _Patience) -> dict[str, Any] | None:
    """The daemon that is there, started by somebody else in the same moment or hanging, once it answers."""
    pause_s = _SOON_S
    while (running := waited(_running(settings))) is None and not patience.is_over():
        time.sleep(min(pause_s, patience.pause_s))  # nobody tells this process of it
        pause_s *= 2
    patience.done()
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


def _start(log: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """The daemon in a session of its own, with nothing of the terminal, and the pipe on which it says that it is ready."""
    from runloop.config import as_setting

    overrides = {"logging.file": as_setting(log), **context.current().overrides}
    command = [sys.executable, "-P", "-m", "runloop.daemon.main", "--foreground", "--at-home"]
    command += [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    reading, writing = os.pipe()
    try:
        errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        where = Where(file=str(log), key="logging.file")
        hint = (
            "name a file of this user in logging.file; `rlp config explain logging.file` says where it is set, "
            "and what is for the machine's daemon alone belongs in /var/lib/runloop/config.yaml"
        )
        raise Unavailable(f"the log cannot be written: {error.strerror}", code="daemon.log", where=where, hint=hint) from error
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=(writing,),
            start_new_session=True,
            env={**os.environ, READY_FD: str(writing)},
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
        if select.select([descriptor], [], [], _SOON_S)[0]:
            return False
    return True


def _wait(descriptor: int, patience: _Patience) -> dict[str, Any] | None:
    """The daemon's one line; None where it ended without one, or the time is up."""
    import select

    text = b""
    while b"\n" not in text:
        ready, _, _ = select.select([descriptor], [], [], patience.pause_s)
        if not ready and not patience.is_over():
            continue
        data = os.read(descriptor, 65_536) if ready else b""
        if not data:
            return None
        text += data
    answer: dict[str, Any] = json.loads(text)
    return answer


def _failed(process: subprocess.Popen[bytes], log: Path, patience: _Patience) -> RunloopError:
    where = Where(file=str(log))
    with suppress(subprocess.TimeoutExpired):
        process.wait(0 if patience.is_over() else _BEGIN_S)  # one that ends closes its pipe some time before it is gone
    code = process.returncode
    if code is None:
        if patience.says is not None:
            return Unavailable(f"the daemon is not ready yet: {patience.says}", code="daemon.slow", where=where, hint=_WAITS)
        return Unavailable(
            f"the daemon is not ready after {patience.seconds:g} s", code="daemon.slow", where=where, hint="its log says what it does"
        )
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    hint = "its log says why" if code >= 0 else "where its log does not say why, the system did: SIGKILL (9) where there is no memory left"
    return Unavailable(f"the daemon {how} before it was ready", code="daemon.start", where=where, hint=hint)


def _say(facts: dict[str, Any], *, as_json: bool) -> None:
    if (few := few_addresses(facts["pid"])) is not None:
        print(f"warning: {too_few(few)}\n  hint: {LIFT}", file=sys.stderr)
    if as_json:
        output.print_json(facts)
        return
    words = {"already_running": "the daemon already runs", "starting": "the daemon is starting", "ready": "the daemon is ready"}
    place = f" at {facts['socket']}" if "socket" in facts else ""
    output.print_line(f"{words[facts['state']]} (process {facts['pid']}){place}")
