"""Entry point of `rlp`: find the verb, import only its module, turn every outcome into a message and an exit code.

`rlp --help` and `rlp version` answer from static text, so that they cost little more than bare Python.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from runloop.cli import context, output
from runloop.dataclass import dataclass
from runloop.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_PIPE_CLOSED, InvalidInput, RunloopError, Where, exhausted


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: the module that has its ``app``, and the line that ``rlp --help`` shows."""

    module: str
    summary: str


VERBS: dict[str, Verb] = {
    "init": Verb("runloop.cli.init", "Set Runloop up for this user: settings, models, shell, daemon."),
    "run": Verb("runloop.cli.run", "Run an opening and show what happens, node by node."),
    "ask": Verb("runloop.cli.ask", "Say what you want in words: an opening or the assistant does it."),
    "attach": Verb("runloop.cli.attach", "Follow a run, running, waiting or ended, from any record on."),
    "cancel": Verb("runloop.cli.cancel", "Stop a run, whatever it does."),
    "pause": Verb("runloop.cli.pause", "Hold runs of the daemon: nothing new begins in them."),
    "resume": Verb("runloop.cli.resume", "Let paused runs go on, and take up those whose process ended."),
    "inbox": Verb("runloop.cli.inbox", "Show what waits for you over all runs, and standing approvals."),
    "approve": Verb("runloop.cli.approve", "Approve what runs of the daemon wait for."),
    "revise": Verb("runloop.cli.revise", "Send the work at a gate back, with what should change."),
    "deny": Verb("runloop.cli.deny", "Refuse what a run of the daemon waits for."),
    "runs": Verb("runloop.cli.runs", "List runs, with their state and what they wait for."),
    "logs": Verb("runloop.cli.logs", "Show what a run and its agents said."),
    "show": Verb("runloop.cli.show", "Show one run: nodes, outputs, artifacts and what led to them."),
    "trace": Verb("runloop.cli.trace", "Show the crossings of a run: who, to whom, what, size, time, cost."),
    "replay": Verb("runloop.cli.replay", "Run again from the record alone, and name the first divergence."),
    "fork": Verb("runloop.cli.fork", "Go on from a point of a run with other answers, parameters or code."),
    "undo": Verb("runloop.cli.undo", "Put back the files that a run wrote."),
    "diff": Verb("runloop.cli.diff", "Compare two runs, node by node."),
    "export": Verb("runloop.cli.export", "Write a run with all that a replay needs: rlp export RUN > run.rlz"),
    "import": Verb("runloop.cli.importing", "Take in a run that `rlp export` wrote."),
    "up": Verb("runloop.cli.up", "Start the daemon."),
    "down": Verb("runloop.cli.down", "Stop the daemon."),
    "status": Verb("runloop.cli.status", "Show how the daemon is, and what it could not load."),
    "reload": Verb("runloop.cli.reload", "Let the daemon read its files anew."),
    "metrics": Verb("runloop.cli.metrics", "Show what the daemon measures, for Prometheus."),
    "doctor": Verb("runloop.cli.doctor", "Check what runs need, and say what to do."),
    "route": Verb("runloop.cli.route", "Say whether a line is for the shell or for agents."),
    "search": Verb("runloop.cli.kb.searching", "Search contacts, notes, files, facts and runs."),
    "why": Verb("runloop.cli.kb.explaining", "Explain what made something what it is."),
    "forget": Verb("runloop.cli.kb.forgetting", "Erase everything that mentions a person."),
    "secrets": Verb("runloop.cli.secrets", "Store, list and remove what models, mail and agents log in with."),
    "shell": Verb("runloop.cli.shell", "Switch the shell integration on and off."),
    "kb": Verb("runloop.cli.kb", "Query, search, import into and verify the knowledge base."),
    "agent": Verb("runloop.cli.agent", "List, check, scaffold, test, build and install agents."),
    "opening": Verb("runloop.cli.opening", "List, check, draw, format and begin openings."),
    "rmp": Verb("runloop.cli.rmp", "Decode frames of the wire protocol."),
    "config": Verb("runloop.cli.config", "Show the settings in force and where each comes from."),
    "version": Verb("runloop.cli.version", "Show the version and where it is installed."),
}


@dataclass(frozen=True, slots=True)
class Global:
    """An option in front of the verb; ``metavar`` is None for a flag, ``value`` what completes it."""

    names: tuple[str, ...]
    text: str
    metavar: str | None = None
    value: Any = None


_SHELLS = ["bash", "zsh", "fish"]
GLOBALS: tuple[Global, ...] = (
    Global(("--set",), "Override one setting here; may be repeated.", "KEY=VALUE", "assignments"),
    Global(("-q", "--quiet"), "Show no progress."),
    Global(("--no-pager",), "Print long output at once."),
    Global(("--debug",), "Print the traceback of an unexpected error."),
    Global(("--install-completion",), "Install completion for the shell.", "[SHELL]", _SHELLS),
    Global(("--show-completion",), "Print the completion script.", "[SHELL]", _SHELLS),
    Global(("-V", "--version"), "Show the version and exit."),
    Global(("-h", "--help"), "Show this text and exit."),
)
TOPICS = {"exit-codes": "What the exit codes mean."}
"""What `rlp help` explains beside the verbs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `rlp` with these arguments; return the exit code. Never raises, never prints a traceback unasked."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    begin(arguments)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the last resort: a person never meets a bare traceback
        return outcome(error)
    return code


def begin(arguments: Sequence[str]) -> None:
    """Make the streams safe and start an invocation with these arguments."""
    output.prepare_streams()
    context.begin(json_errors=_wants_json_errors(arguments), debug=context.debugging())


def outcome(error: BaseException) -> int:
    """Report what ended a command; return the exit code, that of a closed pipe where nobody reads the report."""
    code = _reported(error)
    return EXIT_PIPE_CLOSED if output.unread() else code


def _reported(error: BaseException) -> int:
    if isinstance(error, RunloopError):
        return _report(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError) or (isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)):
        output.abandon_stdout()  # typer makes an exit of it
        return EXIT_PIPE_CLOSED
    if isinstance(error, SystemExit):
        return _exit_code(error.code)
    if isinstance(error, OSError) and (full := output.stdout_error()) is not None:
        output.abandon_stdout()
        return _report(output.unwritable(full))
    if isinstance(error, UnicodeEncodeError) and (bad := output.no_text(error)) is not None:
        return _report(bad)
    return _report_unexpected(error)


_HELP = frozenset({"-h", "--help", "help"})


def _dispatch(arguments: list[str]) -> int:
    rest = _take_global_options(arguments)
    if rest and rest[0] in ("--install-completion", "--show-completion"):
        from runloop.cli import completion

        handle = completion.install if rest[0] == "--install-completion" else completion.show
        return handle(rest[1] if len(rest) > 1 else None, os.environ)
    if _asks_for_version(rest):
        return _print_version()
    if set(rest) <= _HELP:
        print(help_text())
        return EXIT_OK
    verb, *own = rest
    if verb in _HELP and own[0] in TOPICS:
        from runloop.cli import exits

        print(exits.text())
        return EXIT_OK
    if verb in _HELP:
        verb, own = own[0], [*own[1:], "--help"]
    if verb == "version" and not own:
        return _print_version()
    if not output.is_terminal(sys.stdout):
        return _run_verb(verb, own)
    from runloop.cli.pager import paged

    with paged(["help"] if {"-h", "--help"} & set(own) else [verb, *own], wanted=context.current().pager):
        return _run_verb(verb, own)


def _run_verb(verb: str, arguments: list[str]) -> int:
    if verb not in VERBS:
        raise _unknown_verb(verb, arguments)
    import typer

    from runloop.cli.commands import named_command

    command, names = named_command(verb, arguments)
    path = " ".join(["rlp", verb, *names])
    usage_error = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        result = command(args=arguments[len(names) :], prog_name=path, standalone_mode=False)
    except typer.Abort:
        return EXIT_INTERRUPTED
    except usage_error as error:  # type: ignore[misc] # a class found at run time: its module moved between typer's versions
        return _usage(error, path)
    return result if isinstance(result, int) else EXIT_OK


def _usage(error: Any, path: str) -> int:
    """A usage error of typer as one of ours; asking for nothing shows the help."""
    ctx = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(ctx.get_help() if ctx is not None else error.format_message())
        return InvalidInput.exit_code
    from runloop.cli.synonyms import instead

    path = ctx.command_path if ctx is not None else path
    command = getattr(ctx, "command", None)
    message, near = _nearest(error.format_message(), command)
    option = message.removeprefix("there is no option ")
    other = instead(path, option.removeprefix("there is no command ")) or _too_many(message, path, command)
    before = next((each for each in GLOBALS if option in each.names), None)
    if before is not None:
        given = " ".join([option, *([before.metavar] if before.metavar else []), *path.split()[1:]])
        meant = f"It stands in front of the verb: `rlp {given} …`. "
    elif other:
        meant = f"{other} "
    elif near and not near.startswith("-"):
        meant = f"Did you mean `{path} {near}`? "
    elif near:
        meant = f"Did you mean {near}? "
    else:
        meant = f"{_AS_PARAM.format(f'{option[2:]}=VALUE')} " if option.startswith("--") and _takes_params(command) else ""
    raise InvalidInput(message, code="cli.usage", hint=f"{meant}Run `{path} --help` for what it takes.") from error


_AS_PARAM = "A parameter of the opening stands behind -p: `-p {}`."


def _too_many(message: str, path: str, command: Any) -> str:
    """What to say to a word too many: it is a parameter without its -p, or another verb takes it; empty where neither is so."""
    from runloop.cli.synonyms import TOO_MANY

    word = message.removeprefix("Got unexpected extra argument(s) (").removesuffix(")").partition(" ")[0]
    if not message.startswith("Got unexpected extra argument"):
        return ""
    return _AS_PARAM.format(word) if "=" in word and _takes_params(command) else TOO_MANY.get(path, "")


def _takes_params(command: Any) -> bool:
    return any("-p" in each.opts for each in getattr(command, "params", ()))


def _nearest(message: str, command: Any) -> tuple[str, str]:
    """What typer says of an unknown word, without its own guesses, and the name of the command that is nearest to it."""
    import re

    found = re.match(r"No such (?P<sort>option|command):? '?(?P<word>[^\s']+)'?", message)
    if found is None or command is None:
        return message, ""
    if found["sort"] == "command":
        known = list(getattr(command, "commands", {}))
    else:
        known = [name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("-")]
    return f"there is no {found['sort']} {found['word']}", _near(found["word"], known)


def _near(word: str, known: Iterable[str]) -> str:
    """The known word that is meant: the one with the same letters in another order, else the one that is most alike; none may be.

    The dashes of options are all alike, and do not count.
    """
    from difflib import get_close_matches

    bare = {each.lstrip("-"): each for each in known}
    found = get_close_matches(word.lstrip("-"), bare, n=3, cutoff=0.6)
    return bare[next((each for each in found if sorted(each) == sorted(word.lstrip("-"))), found[0])] if found else ""


def _take_global_options(arguments: list[str]) -> list[str]:
    """Read `--debug` and `--set` in front of the verb; return what follows them."""
    position = 0
    overrides: dict[str, str] = {}
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--debug":
            context.current().debug = True
        elif argument in ("-q", "--quiet"):
            context.current().quiet = True
        elif argument == "--no-pager":
            context.current().pager = False
        elif argument == "--set" or argument.startswith("--set="):
            if argument == "--set":
                position += 1
            pair = arguments[position] if argument == "--set" and position < len(arguments) else argument.removeprefix("--set=")
            key, equals, value = pair.partition("=")
            if not equals or not key:
                raise InvalidInput(f"--set needs KEY=VALUE, not {pair!r}", code="cli.usage", hint="For example: --set models.default=none")
            overrides[key.strip()] = value
        else:
            break
        position += 1
    context.current().overrides.update(overrides)
    return arguments[position:]


def _asks_for_version(arguments: list[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--version" in own or "-V" in own


def _print_version() -> int:
    from runloop.cli import version

    print(version.text())
    return EXIT_OK


def help_text() -> str:
    """What `rlp --help` prints: every verb and global option, a line each."""
    verbs = [f"  {name:<10} {verb.summary}" for name, verb in VERBS.items()]
    named = [(" ".join([", ".join(each.names), *([each.metavar] if each.metavar else [])]), each.text) for each in GLOBALS]
    options = [f"  {name:<30} {text}" for name, text in named]
    return "\n".join(
        [
            "Usage: rlp [OPTIONS] VERB [ARGUMENTS]",
            "",
            "Sandboxed, durable, replayable Python agents, from the terminal.",
            "",
            "Verbs:",
            *verbs,
            "",
            "Options:",
            *options,
            "",
            "`rlp help VERB` explains a verb, `rlp help exit-codes` the exit codes.",
        ]
    )


def _unknown_verb(verb: str, arguments: Sequence[str]) -> InvalidInput:
    from runloop.cli.synonyms import instead

    if verb.startswith("-"):
        near = _near(verb, [name for each in GLOBALS for name in each.names])
        behind = next((each for each in arguments if each in VERBS), None)
        after = f"Options of a verb stand behind it: `rlp {behind} {verb} …`." if behind else "`rlp --help` lists what there is."
        return InvalidInput(f"unknown option {verb!r}", code="cli.unknown_verb", hint=f"Did you mean {near}?" if near else after)
    near = _near(verb, VERBS)
    hint = instead("rlp", verb) or (f"Did you mean `rlp {near}`?" if near else "`rlp --help` lists what there is.")
    return InvalidInput(f"unknown verb {verb!r}", code="cli.unknown_verb", hint=hint)


def _wants_json_errors(arguments: Sequence[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own or os.environ.get("RUNLOOP_ERRORS") == "json"


def _report(error: RunloopError) -> int:
    if context.current().debug:
        _print_traceback(error)
    output.print_error(error, as_json=context.current().json_errors)
    return error.exit_code


def _report_unexpected(error: BaseException) -> int:
    if context.current().debug:
        _print_traceback(error)
    first_line = str(error).strip().split("\n", 1)[0]
    wrapped: RunloopError | None = exhausted(error)
    if wrapped is not None:
        output.print_error(wrapped, as_json=context.current().json_errors)
        return wrapped.exit_code
    unexpected = f"unexpected {type(error).__name__}" + (f": {first_line}" if first_line else "")
    from runloop.cli.shadowing import shadowing

    if isinstance(error, AttributeError | ImportError) and (file := shadowing(sys.modules, os.environ)) is not None:
        wrapped = InvalidInput(
            f"PYTHONPATH puts another module before the one that Runloop was installed with: {unexpected}",
            code="runloop.shadowed", where=Where(file=file), hint="start it without that directory: env -u PYTHONPATH rlp …",
        )  # fmt: skip
        output.print_error(wrapped, as_json=context.current().json_errors)
        return wrapped.exit_code
    wrapped = RunloopError(
        unexpected,
        code="runloop.internal",
        hint="This is a defect in Runloop. Run the same command with RUNLOOP_DEBUG=1 to see the traceback, and report it.",
    )
    output.print_error(wrapped, as_json=context.current().json_errors)
    return EXIT_FAILED


def _print_traceback(error: BaseException) -> None:
    from traceback import format_exception

    print(output.clean("".join(format_exception(error))), file=sys.stderr, end="")


def _exit_code(code: object) -> int:
    if code is None:
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_FAILED
