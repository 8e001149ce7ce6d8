"""What every verb takes, as plain data: for completion and for the manual. Read from typer's commands once, then from a cache.

A node is ``{"summary", "help", "options", "arguments", "commands"}``, an argument ``{"metavar", "help", "many", "required", "value"}``, an
option ``{"names", "metavar", "help", "flag", "many", "default", "value"}``; ``value`` says what stands there: a list of words, or a
name of :data:`runloop.cli.values.VALUES`, ``files``, ``dirs`` or None.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from typing import Any

from runloop.private import make_private

Node = dict[str, Any]
_PLACE = Path(__file__).resolve().parent
_BY_METAVAR = {
    "RUN": "runs",
    "RUN1": "runs",
    "RUN2": "runs",
    "RUN[:NODE]": "runs",
    "ENTITY": "entities",
    "ENTITY|LINE": "entities",
    "SUBJECT": "entities",
    "PERSON": "people",
    "NAME|DIR": "agents",
    "AGENT": "agents",
    "[ROLE=]AGENT": "agents",
    "OPENING": "openings",
    "SECTION": "settings",
    "ID": "waiting",
    "GRANT": "grants",
    "FILE": "files",
    "FILE|-": "files",
    "PATH": "files",
    "SOURCE": "files",
    "BACKUP": "files",
    "PLACE": "files",
    "REPO": "dirs",
    "DIR": "dirs",
}
_BY_PLACE = {
    "run opening": "openings",
    "cancel run": "unfinished",
    "pause run": "unfinished",
    "resume run": "unfinished",
    "config explain key": "settings",
    "opening check files": "openings",
    "opening graph file": "openings",
    "opening fmt files": "openings",
    "ask --opening": "openings",
    "runs --opening": "openings",
}
"""What the metavar alone does not say."""


def cached(cache: Path) -> Node:
    """The grammar of this installation, from ``cache`` where that is of the same code; else built, and kept there if that can be."""
    stamp = _stamp()
    file = cache / "completion.json"
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        kept = json.loads(file.read_bytes())
        if kept["stamp"] == stamp:
            found: Node = kept["grammar"]
            return found
    built = whole()
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        make_private(cache)
        new.write_text(json.dumps({"stamp": stamp, "grammar": built}), encoding="utf-8")
        new.replace(file)
    return built


def whole() -> Node:
    """The grammar of `rlp`; imports every verb."""
    from runloop.cli.commands import command_of
    from runloop.cli.main import GLOBALS, TOPICS, VERBS

    verbs = {name: _node(command_of(name), (name,)) for name in VERBS}
    for name, verb in VERBS.items():
        verbs[name]["summary"] = verb.summary
    explained = {**{name: verb.summary for name, verb in VERBS.items()}, **TOPICS}
    helping = {**_leaf("Explain a verb or a topic."), "commands": {name: _leaf(text) for name, text in explained.items()}}
    options = [
        {"names": list(each.names), "metavar": each.metavar, "help": each.text, "flag": each.metavar is None, "many": False,
         "default": None, "value": each.value}
        for each in GLOBALS
    ]  # fmt: skip
    return {**_leaf(""), "options": options, "commands": {**verbs, "help": helping}}


def _leaf(text: str) -> Node:
    return {"summary": text, "help": text, "options": [], "arguments": [], "commands": {}}


def _node(command: Any, path: tuple[str, ...]) -> Node:
    choices = _choices(command)
    options = [_option(each, path, choices) for each in command.params if each.param_type_name == "option" and not each.hidden]
    arguments = [_argument(each, path, choices) for each in command.params if each.param_type_name == "argument"]
    commands = {name: _node(each, (*path, name)) for name, each in getattr(command, "commands", {}).items() if not each.hidden}
    text = cleandoc(command.help or "").split("\f")[0].strip()
    summary = " ".join(text.split("\n\n")[0].split())
    return {"summary": summary, "help": text, "options": options, "arguments": arguments, "commands": commands}


def _option(parameter: Any, path: tuple[str, ...], choices: Mapping[str, list[str]]) -> dict[str, Any]:
    flag, names = bool(getattr(parameter, "is_flag", False)), [*parameter.opts, *parameter.secondary_opts]
    default = None if callable(parameter.default) or flag else parameter.default
    shown = default.value if isinstance(default, Enum) else default
    return {
        "names": names, "metavar": None if flag else parameter.metavar or "VALUE", "help": parameter.help or "", "flag": flag,
        "many": bool(getattr(parameter, "multiple", False)), "default": None if shown in ("", (), []) else shown,
        "value": None if flag else _value(parameter, (*path, names[0]), choices),
    }  # fmt: skip


def _argument(parameter: Any, path: tuple[str, ...], choices: Mapping[str, list[str]]) -> dict[str, Any]:
    metavar = _bare(parameter.metavar or parameter.name.upper())
    return {
        "metavar": metavar, "help": getattr(parameter, "help", None) or "", "many": parameter.nargs == -1,
        "required": bool(parameter.required), "value": _value(parameter, (*path, parameter.name), choices),
    }  # fmt: skip


def _bare(metavar: str) -> str:
    """The metavar without the brackets and dots that say how often."""
    text = metavar.removesuffix("...")
    return text[1:-1].removesuffix("...") if text.startswith("[") and text.endswith("]") else text


def _value(parameter: Any, place: tuple[str, ...], choices: Mapping[str, list[str]]) -> Any:
    if parameter.name in choices:
        return choices[parameter.name]
    words = _words(place)
    if words is not None:
        return words
    return _BY_PLACE.get(" ".join(place)) or _BY_METAVAR.get(_bare(parameter.metavar or ""))


def _words(place: tuple[str, ...]) -> list[str] | None:
    """Fixed words that no type says."""
    option = place[-1]
    if place == ("runs", "--state"):
        from runloop.kb.runs import STATES

        return list(STATES)
    if option == "--scope":
        from runloop.policy import Scope

        return [each.value for each in Scope]
    if place == ("logs", "--level"):
        from runloop.cli.logs import LEVELS

        return list(LEVELS)
    if option == "--kind":
        from runloop.kb.search import DOMAINS

        return sorted(DOMAINS)
    return None


def _choices(command: Any) -> dict[str, list[str]]:
    """The words that parameters of an enumeration take."""
    from inspect import unwrap
    from typing import get_args, get_type_hints

    if command.callback is None:
        return {}
    found = {}
    for name, hint in get_type_hints(unwrap(command.callback)).items():
        kind = next((each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Enum)), None)
        if kind is not None:
            found[name] = [str(each.value) for each in kind]
    return found


def _stamp() -> list[Any]:
    """What changes when the code of a verb does."""
    from runloop import __version__

    files = [entry.stat() for place in (_PLACE, _PLACE / "kb") for entry in os.scandir(place) if entry.name.endswith(".py")]
    return [__version__, str(_PLACE), len(files), max(each.st_mtime_ns for each in files)]
