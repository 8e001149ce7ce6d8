"""``exec.run``: a program that policy lists, by its words and never through a shell's reading of them."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.perform.paths import PathRules, directory, on_one_line, refused
from runloop.effects.perform.process import Command, Finished, ResourceLimits, run_command
from runloop.effects.perform.repository import obeyed
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, invalid, require
from runloop.errors import Where, exhausted
from runloop.policy.commands import program as name_of
from runloop.policy.unasked import unasked_problem
from runloop.tasks import shielded

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TIMEOUT_MS = 30_000
_OPTION_SHOWN = 60
DEFAULT_OUTPUT_BYTES = 256 * 1024
PATH = "/usr/local/bin:/usr/bin:/bin"
_HAS_PROC = Path("/proc/self/fd").is_dir()
_OWN_DIRECTORY = "a directory of its own, removed afterwards"


class ExecRun:
    """Runs a program with a clean environment and limits, in a granted directory or one of its own.

    Only the working directory is confined: a program can do what the user can, which is why every command is asked about that
    policy does not call read-only, or that names a file which the agent may not read.
    """

    def __init__(
        self, rules: PathRules, *, limits: ResourceLimits | None = None, output_bytes: int = DEFAULT_OUTPUT_BYTES, search_path: str = PATH
    ) -> None:
        self._rules, self._limits, self._output_bytes, self._path = rules, limits or ResourceLimits(), output_bytes, search_path

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check command and directory; the content is the command as it will run."""
        argv = tuple(args["argv"])
        if any("\0" in word for word in argv):
            raise invalid("exec.run: an argument holds a NUL byte", key="argv", hint="leave it out", code="exec.argv")
        require(ctx.caps.check_exec(argv))
        program = self._program(argv[0])
        cwd = None if args.get("cwd") is None else self._directory(args["cwd"], ctx)
        stdin = args.get("stdin", "")
        shown = f"{_command((program, *argv[1:]))}\nin {on_one_line(cwd or _OWN_DIRECTORY)}"
        shown += f"\nwith the input:\n{stdin}" if stdin else ""
        data = {
            "argv": argv,
            "program": program,
            "cwd": args.get("cwd"),
            "real": cwd,
            "stdin": stdin,
            "timeout_ms": args.get("timeout_ms", DEFAULT_TIMEOUT_MS),
        }
        doubt = self._doubt(argv, cwd, ctx)
        if doubt is None:
            return Prepared("exec.run", EffectClass.READ, shown, data=data)
        target = _target((program, *argv[1:]), cwd, stdin)
        return Prepared("exec.run", EffectClass.EXTERNAL, shown, (target,), external=True, leaves_machine=True, because=doubt, data=data)

    def _doubt(self, argv: tuple[str, ...], cwd: str | None, ctx: CallContext) -> str | None:
        """Why a command is asked about, empty where no more is to be said.

        None where policy calls it read-only, it names no file that the agent may not read itself, and it obeys no
        repository that makes it do more.
        """
        operands = ctx.caps.exec.operands(argv)
        if operands is None:
            begun, option = ctx.caps.exec.option_added(argv)
            return f"policy.caps lists {shlex.join(begun)} as read-only, but not with {option[:_OPTION_SHOWN]}" if begun else ""
        if unasked_problem(argv) is not None:
            return ""
        hidden = next((word for word in operands if _is_file(word, cwd) and not self._readable(word, cwd, ctx)), None)
        if hidden is not None:
            return f"it names {hidden}, which fs in policy.caps does not grant"
        if cwd is None or name_of(argv) != "git":
            return None
        return obeyed(cwd, [root for root, may_write in ctx.caps.fs.roots if may_write])

    def _readable(self, word: str, cwd: str | None, ctx: CallContext) -> bool:
        path = _path(word, cwd)
        try:
            self._rules.judge(os.path.realpath(path) if path.startswith("/") else path, ctx.caps, write=False)
        except CallError:
            return False
        return True

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Run it; a time-out is a result, and everything it started is gone by then."""
        data = prepared.data
        timeout_ms = data["timeout_ms"] if ctx.remaining_ms is None else min(data["timeout_ms"], ctx.remaining_ms)
        try:
            own = await asyncio.to_thread(tempfile.mkdtemp, prefix="runloop-exec-")
        except OSError as error:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"cannot start {data['program']}: no directory of its own can be made for it: {error.strerror or error}",
                code="exec.start",
                hint="let TMPDIR of what hosts the run, the daemon or `rlp run`, name a directory that can be written and has room",
            ) from error
        try:
            finished = await self._run(data, own, timeout_ms / 1000, ctx, unasked=not prepared.external)
        except OSError as error:
            lacks = exhausted(error)
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"cannot start {data['program']}: {error.strerror or error}",
                code="exec.start",
                hint="check that the program can be run by the user of Runloop" if lacks is None else lacks.hint,
                retryable=lacks is not None,
            ) from error
        finally:
            await shielded(asyncio.to_thread(shutil.rmtree, own, ignore_errors=True))
        return Outcome(_result(finished), taint=frozenset({f"exec:{Path(data['program']).name}"}))

    async def _run(self, data: Mapping[str, Any], own: str, timeout_s: float, ctx: CallContext, *, unasked: bool) -> Finished:
        env = (
            *(("PATH", self._path), ("HOME", own), ("TMPDIR", own), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("TERM", "dumb")),
            *((("GIT_OPTIONAL_LOCKS", "0"),) if unasked else ()),  # nor write the index of a repository, and run its hook for that
        )
        argv = (data["program"], *data["argv"][1:])

        def command(cwd: str) -> Command:
            return Command(argv, cwd, env, data["stdin"].encode(), timeout_s, self._output_bytes, self._limits)

        if data["cwd"] is None:
            return await run_command(command(own))
        real = self._directory(data["cwd"], ctx)
        if real != data["real"]:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"{data['cwd']} leads to another directory than when the command was prepared",
                code="exec.changed",
                hint="look where it leads and run it anew",
                where=Where(key="cwd"),
            )
        try:
            with directory(real) as handle:
                # Through the descriptor, so that the directory cannot be exchanged after the check.
                return await run_command(command(f"/proc/self/fd/{handle}" if _HAS_PROC else real))
        except FileNotFoundError as error:
            raise refused(data["cwd"], error) from error

    def _directory(self, asked: str, ctx: CallContext) -> str:
        path = self._rules.judge(asked, ctx.caps, write=False)
        try:
            is_directory = stat.S_ISDIR(os.lstat(path.real).st_mode)
        except OSError as error:
            raise refused(path.shown, error) from error
        if not is_directory:
            raise CallError(
                CallErrorKind.INVALID, f"{path.shown} is not a directory", code="exec.cwd", hint="give a directory", where=Where(key="cwd")
            )
        return path.real

    def _program(self, name: str) -> str:
        """The absolute path of the program, so that the person sees what will run."""
        if "/" in name and not name.startswith("/"):
            hint = "give the program's name, or its absolute path"
            raise invalid(f"exec.run: {name!r} is a relative path", key="argv.0", hint=hint, code="exec.relative")
        found = shutil.which(name, path=self._path)
        if found is None:
            raise invalid(f"there is no program {name!r}", key="argv.0", hint=f"it is looked for in {self._path}", code="exec.not_found")
        return found


def _is_file(word: str, cwd: str | None) -> bool:
    """Whether an operand reads as a file elsewhere, or there is one of that name in the working directory."""
    return word.startswith("/") or ".." in word.split("/") or (cwd is not None and os.path.lexists(_path(word, cwd)))


def _path(word: str, cwd: str | None) -> str:
    return word if cwd is None or word.startswith("/") else f"{cwd}/{word}"


def _command(argv: tuple[str, ...]) -> str:
    """The words as a shell reads them, on one line: none of them looks like what is shown behind the command."""
    return " ".join(map(_word, argv))


def _word(word: str) -> str:
    if "\n" not in word and "\r" not in word:
        return shlex.quote(word)
    return "$'" + on_one_line(word.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def _target(argv: tuple[str, ...], cwd: str | None, stdin: str) -> str:
    """What an approval beyond this once is for: the same command with the same input in the same directory.

    No word of a command stands without quotes where it holds ``&`` or ``<``.
    """
    target = _command(argv) if cwd is None else f"cd {shlex.quote(cwd)} && {_command(argv)}"
    return f"{target} < blake3:{blake3(stdin.encode()).hexdigest()[:32]}" if stdin else target


def _result(finished: Finished) -> dict[str, Any]:
    return {
        "exit_code": finished.exit_code,
        "signal": finished.signal_name,
        "stdout": finished.stdout.decode("utf-8", "replace"),
        "stderr": finished.stderr.decode("utf-8", "replace"),
        "timed_out": finished.timed_out,
        "truncated": finished.truncated,
    }
