"""The parts about the command line: verbs, the help of every command, exit codes."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

from docgen.text import table

from runloop.cli.commands import command_of
from runloop.cli.exits import EXITS
from runloop.cli.main import VERBS, help_text


def exit_codes() -> str:
    """The table of exit codes."""
    return table(("exit", "meaning"), [(str(code), meaning) for code, meaning in EXITS])


def verbs() -> str:
    """What `rlp --help` prints."""
    return f"```text\n{help_text()}\n```"


def reference() -> str:
    """Every verb and subcommand: usage, what it does, arguments and options.

    Made from the parameters and not from the help text, which looks different in every version of typer.
    """
    parts = []
    for name in VERBS:
        command: Any = command_of(name)
        subcommands = getattr(command, "commands", {})
        parts.append(f"## `rlp {name}`\n\n" + _described(command, f"rlp {name}" + (" COMMAND" if subcommands else "")))
        parts += [f"### `rlp {name} {sub}`\n\n" + _described(each, f"rlp {name} {sub}") for sub, each in subcommands.items()]
    return "\n\n".join(parts)


def _described(command: Any, path: str) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden and each.name != "help"]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    rows = [(f"`{_argument(each)}`", _meaning(each)) for each in arguments] + [(f"`{_option(each)}`", _meaning(each)) for each in options]
    parts = [f"```text\n{usage}\n```", cleandoc(command.help or "").split("\f")[0].strip()]
    return "\n\n".join(part for part in (*parts, table(("argument or option", "meaning"), rows) if rows else "") if part)


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[]{}")
    name += "" if parameter.nargs == 1 or name.endswith("...") else "..."
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if getattr(parameter, "is_flag", False):
        return names
    return f"{names} {parameter.metavar or 'VALUE'}"


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    shown = parameter.default if not callable(parameter.default) else None
    if parameter.param_type_name == "option" and shown not in (None, False, "", (), []):
        text += f" Default: {shown}."
    return text
