"""The parts about the command line: verbs, the help of every command, exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

from docgen.text import table

from runloop.cli.commands import command_of
from runloop.cli.exits import EXITS
from runloop.cli.grammar import Node, whole
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
    parts, tree = [], whole()
    for name in VERBS:
        parts += _sections(command_of(name), tree["commands"][name], f"rlp {name}", 2)
    return "\n\n".join(parts)


def _sections(command: Any, node: Node, path: str, level: int) -> list[str]:
    """A command and those below it; ``node`` is what completion knows of it."""
    below = getattr(command, "commands", {})
    own = f"{'#' * level} `{path}`\n\n" + _described(command, node, path + (" COMMAND" if below else ""))
    return [
        own, *(part for name, each in below.items() for part in _sections(each, node["commands"][name], f"{path} {name}", level + 1))
    ]  # fmt: skip


def _described(command: Any, node: Node, path: str) -> str:
    words = {each["names"][0]: each["value"] for each in node["options"] if isinstance(each["value"], list)}
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden and each.name != "help"]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    rows = [(f"`{_argument(each)}`", _meaning(each)) for each in arguments] + [
        (f"`{_option(each)}`", _meaning(each, words.get(each.opts[0], ()))) for each in options
    ]
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


def _meaning(parameter: Any, words: Sequence[str] = ()) -> str:
    text = parameter.help or ""
    if any(word not in text for word in words):
        text += f" One of {', '.join(words)}."
    shown = parameter.default if not callable(parameter.default) else None
    if parameter.param_type_name == "option" and shown not in (None, False, "", (), []):
        text += f" Default: {shown}."
    return text
