"""The commands of `rlp` as typer makes them: all of a verb, or the one that is called. Help is plain text, like all that `rlp` says."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command, get_command_from_info, get_command_name

from runloop.cli.main import VERBS
from runloop.cli.typed import read_plainly


def command_of(verb: str) -> Any:
    """The command of a verb with all under it, ready to be called with its arguments; imports its modules."""
    return read_plainly(get_command(_app_of(verb)))


def named_command(verb: str, words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and its names under the verb; of a family the others are neither imported nor made."""
    app, names = _app_of(verb, *words[:1]), list[str]()
    while len(names) < len(words) and app.info.no_args_is_help:  # a family
        found = _under(app, words[len(names)])
        if found is None:
            break
        names.append(words[len(names)])
        if not isinstance(found, typer.Typer):
            return read_plainly(get_command_from_info(found, pretty_exceptions_short=False, rich_markup_mode=None)), names
        app = found
    return read_plainly(get_command(app)), names


def _under(app: typer.Typer, name: str) -> typer.Typer | Any | None:
    """The family or the command of that name in a family."""
    for group in app.registered_groups:
        if group.name == name:
            return group.typer_instance
    own = ((each.name or get_command_name(getattr(each.callback, "__name__", "")), each) for each in app.registered_commands)
    return next((each for known, each in own if known == name), None)


def _app_of(verb: str, name: str = "") -> typer.Typer:
    """The app of a verb; with no more than the command of that name where its commands have modules of their own."""
    module: Any = import_module(VERBS[verb].module)
    apart = getattr(module, "COMMANDS", None)
    app: typer.Typer = module.app if apart is None else module.app_of([name] if name in apart else apart)
    app.rich_markup_mode = None
    return app
