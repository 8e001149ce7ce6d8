"""The parts about the boundary of an agent: the functions of the WIT world, and the imports of commands."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import signature
from pathlib import Path

from docgen.text import table

from runloop.effects.catalogue import CATALOGUE
from runloop.sandbox import abi, wasi1

WIT = Path(__file__).resolve().parents[2] / "runloop" / "sandbox" / "wit" / "agent.wit"


def functions() -> str:
    """Every function of the world, in the order of the WIT file: what it is for there, and what the host does with it."""
    rows = []
    interface, said = "", ""
    for line in WIT.read_text(encoding="utf-8").splitlines():
        word = line.strip()
        if word.startswith("///"):
            said += word.removeprefix("///") + " "
            continue
        if opened := re.fullmatch(r"interface ([a-z-]+) \{", word):
            interface = opened[1]
        elif found := re.match(r"%?([a-z-]+): func\(request: string\) -> result<string, call-error>", word):
            name = f"{interface}.{found[1].replace('-', '_')}"
            rows.append((f"`{name}`", _in_python(name), f"{CATALOGUE[name].klass.value}", said.strip(), CATALOGUE[name].result))
        said = ""
    return table(("hostcall", "in Python", "class", "what for", "answer"), rows)


def _in_python(name: str) -> str:
    """The function of ``runloop_agent`` that makes a hostcall, as it is called, and what it returns."""
    module, function = name.split(".")
    form = signature(getattr(import_module(f"runloop_agent.{module}"), function))
    parameters = [each.replace(annotation=each.empty, default=each.empty) for each in form.parameters.values()]
    called = form.replace(parameters=parameters, return_annotation=form.empty)
    return f"`{name}{called}`" + ("" if form.return_annotation == "None" else f" → `{form.return_annotation}`")


def commands() -> str:
    """The imports of a command: upstream's module, then what exists of WASI preview 1."""
    letters = {"i": "i32", "I": "i64"}

    def shape(parameters: str, results: str) -> str:
        shown = ", ".join(letters[one] for one in parameters)
        return f"`({shown})`" + (f" → `{letters[results]}`" if results else "")

    upstream = [(f"`{name}`", shape(parameters, results)) for name, (parameters, results, _) in abi.FUNCTIONS.items()]
    wasi = ", ".join(f"`{name}`" for name in wasi1.FUNCTIONS)
    imports = table(("import of module `runloop`", "type"), upstream)
    return f"{imports}\n\nOf `wasi_snapshot_preview1` these do something: {wasi}. The rest answer `ENOSYS`."
