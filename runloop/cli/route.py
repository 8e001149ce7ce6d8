"""`rlp route`: say where a line typed at the prompt goes. Starts with the standard library alone unless something is wrong."""

from __future__ import annotations

import json
import os
import sys

from runloop.router.reply import EXIT_TIMEOUT, route_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_TIMEOUT_MS = 200
MAX_TIMEOUT_MS = 3_600_000
_MOST_FACTS = 16 * 1024 * 1024  # bytes
_TIMEOUT_VARIABLE = "RUNLOOP_ROUTER_TIMEOUT_MS"
_FLAGS = {"--stdin": "stdin", "--lines": "lines", "--requests": "requests", "--hints": "hints", "--json": "explain"}
_VALUED = {"--timeout-ms": "timeout_ms", "--shell-facts": "shell_facts"}


class _TimedOut(Exception):  # noqa: N818 - never leaves this module
    """The decision took longer than it may."""


def quick(arguments: list[str]) -> int | None:
    """Run `rlp route` if the arguments are plain; None leaves them to the command-line library, which explains itself."""
    options = _plain(arguments)
    if options is None or None in (sys.stdin, sys.stdout, sys.stderr):  # a stream that was closed: the usual way has something in its place
        return None
    try:
        code = run(**options)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - every outcome becomes a message and an exit code
        from runloop.cli import main

        main.begin(["route", *arguments])
        return main.outcome(error)
    return code


def _plain(arguments: list[str]) -> dict[str, Any] | None:
    options: dict[str, Any] = {}
    lines: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--":
            lines += rest
        elif argument in _FLAGS:
            options[_FLAGS[argument]] = True
        elif name in _VALUED:
            options[_VALUED[name]] = value if equals else next(rest, None)
        elif argument.startswith("-"):
            return None
        else:
            lines.append(argument)
    if len(lines) > 1 or None in options.values():
        return None
    return {**options, "line": lines[0] if lines else None}


def run(
    line: str | None = None,
    *,
    stdin: bool = False,
    lines: bool = False,
    requests: bool = False,
    hints: bool = False,
    explain: bool = False,
    timeout_ms: str | None = None,
    shell_facts: str | None = None,
    overridden: bool = False,
) -> int:
    """Decide about the line, or about every one of standard input; print JSON and return the exit code.

    ``overridden`` is whether ``--set`` stands in front of the verb.
    """
    if (line is not None) + stdin + lines + requests + hints != 1:
        raise _invalid("give one of LINE, --stdin, --lines, --requests and --hints", "For example: rlp route 'git status'")
    if hints:
        from runloop.cli import route_settings

        print(route_settings.hints(os.environ, overridden=overridden), end="")
        return 0
    timeout = _timeout(timeout_ms)
    given = _given(shell_facts)
    if lines or requests:
        from runloop.cli import route_lines

        return route_lines.serve(given, requests=requests, explain=explain, overridden=overridden)
    try:
        reply = _within(timeout, line, given, explain=explain, overridden=overridden)
    except _TimedOut:
        print(f"router timeout after {timeout} ms", file=sys.stderr)
        return EXIT_TIMEOUT
    print(json.dumps(reply))
    code = reply["exit"]
    return code if isinstance(code, int) else EXIT_TIMEOUT


def _within(timeout_ms: int, line: str | None, given: dict[str, Any] | None, *, explain: bool, overridden: bool) -> dict[str, object]:
    """The reply, or :class:`_TimedOut` once the time is over."""
    import signal

    from runloop.cli import route_settings
    from runloop.router import machine

    settings, facts = (
        route_settings.load(os.environ, overridden=overridden),
        machine.facts(os.environ, given),
    )  # before the clock runs: without them nothing is safe

    def give_up(*_: object) -> None:
        raise _TimedOut

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, timeout_ms / 1000)
    try:
        if line is None:
            line = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").rstrip("\r\n")
        return route_reply(line, facts, settings, explain=explain)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _timeout(text: str | None) -> int:
    source = "--timeout-ms"
    if text is None:
        source, text = _TIMEOUT_VARIABLE, os.environ.get(_TIMEOUT_VARIABLE) or str(DEFAULT_TIMEOUT_MS)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_TIMEOUT_MS):
        raise _invalid(f"{source} must be milliseconds from 1 to {MAX_TIMEOUT_MS} (found {text!r})", f"For example: {DEFAULT_TIMEOUT_MS}")
    return int(text)


def _given(source: str | None) -> dict[str, Any] | None:
    """The facts that a file holds, or standard input for `-`."""
    if source is None:
        return None
    try:
        if source == "-":
            text = sys.stdin.readline()
        else:
            from runloop.links import readable

            with readable(source) as file:
                text = file.read(_MOST_FACTS + 1).decode("utf-8")
        if len(text) > _MOST_FACTS:
            raise _invalid(f"the shell's facts in {source} are larger than {_MOST_FACTS >> 20} MiB", "Give a file with one JSON object.")
        given = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(f"the shell's facts cannot be read from {source}: {error}", "Give a file with one JSON object.") from None
    if not isinstance(given, dict):
        raise _invalid(f"the shell's facts in {source} are not a JSON object", "See docs/router.md for its members.")
    return given


def _invalid(problem: str, hint: str) -> Exception:
    from runloop.errors import InvalidInput

    return InvalidInput(f"invalid parameters: {problem}", code="cli.usage", hint=hint)


def __getattr__(name: str) -> object:
    """Build the typer app only when somebody asks for it: help, completion, usage errors."""
    if name == "app":
        return _build_app()
    raise AttributeError(name)


def _build_app() -> object:
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def route(
        line: str | None = typer.Argument(None, metavar="LINE", help="The line, as typed at the prompt."),
        stdin: bool = typer.Option(False, "--stdin", help="Read the line, which may have several lines, from standard input."),
        lines: bool = typer.Option(False, "--lines", help="Read one prompt a line, write one JSON object a line, until the end."),
        requests: bool = typer.Option(False, "--requests", help="As --lines, but each line is a JSON object: line, facts."),
        hints: bool = typer.Option(False, "--hints", help="Print what a shell needs to let plain commands through by itself."),
        timeout_ms: str = typer.Option(None, "--timeout-ms", metavar="MS", help="Time for the decision; default 200."),
        shell_facts: str = typer.Option(None, "--shell-facts", metavar="FILE", help="What the shell knows, as JSON; - is standard input."),
        json: bool = typer.Option(False, "--json", help="Also print the features with their weights and the reason."),
    ) -> int:
        """Say where a line goes, as JSON and as the exit code: 10 shell, 11 agent, 12 timeout, 13 ask, 14 denied."""
        from runloop.cli import context

        return run(
            line,
            stdin=stdin,
            lines=lines,
            requests=requests,
            hints=hints,
            explain=json,
            timeout_ms=timeout_ms,
            shell_facts=shell_facts,
            overridden=bool(context.current().overrides),
        )

    return app
