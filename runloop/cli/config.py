"""`rlp config`: the settings in force, why each is what it is, and which files were read."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.config import Explanation, Settings, registry, sources
from runloop.config.present import line, plain

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Show the settings in force and where each comes from."
)

_RESTART = "counts when what reads it is started; a daemon that runs keeps what it began with"
NO_FILE = "no config file found; using defaults + environment overrides"


@app.command()
def show(
    prefix: Annotated[str, typer.Argument(metavar="[SECTION]", help="Only keys of this section.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Also show the keys that have their default.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> None:
    """Show the settings that differ from their defaults, or all of them. Secrets are never shown."""
    settings = context.settings()
    paths = _below(prefix) if prefix else list(settings.resolved)
    changed = set(settings.changed())
    shown = [settings.explain(path) for path in paths if every or path in changed]
    output.print_rows(
        ("key", "value", "layer", "where"),
        [(each.key.path, line(each.key, each.value), each.layer, str(each.where)) for each in shown],
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty="every setting has its default; `rlp config show --all` lists them",
        data={each.key.path: {"value": plain(each.key, each.value), "layer": each.layer, "where": each.where.to_dict()} for each in shown},
    )


def _below(section: str) -> list[str]:
    """The keys of a section, or the key itself; raises for neither."""
    section = section.strip(".")
    if section in registry.sections():
        return [path for path in registry.all_keys() if path.startswith(section + ".")]
    return [registry.lookup(section).path]


@app.command()
def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key such as models.default.")],
    json: JsonOption = False,
    table: TableOption = False,
) -> None:
    """Explain one setting: its value, the layer that decided, what every layer says, what it means and what reads it."""
    explanation = context.settings().explain(key)
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(_explained(explanation))
        return
    for text in _explain_lines(explanation):
        output.print_line(text)


def _explained(explanation: Explanation) -> dict[str, Any]:
    key = explanation.key
    return {
        "key": key.path,
        "value": plain(key, explanation.value),
        "layer": explanation.layer,
        "where": explanation.where.to_dict(),
        "note": explanation.note,
        "type": key.kind.name,
        "doc": key.doc,
        "read_by": key.effect or None,
        "instead": key.instead or None,
        "reload": key.reloadable,
        "variable": key.variable,
        "aliases": list(key.aliases),
        "deprecated": list(key.deprecated),
        "limited_by": key.limit,
        "layers": [
            {"layer": each.layer, "source": each.source, "where": each.where.to_dict(), "value": plain(key, each.value)}
            for each in explanation.assignments
        ],
    }


def _explain_lines(explanation: Explanation) -> list[str]:
    key = explanation.key
    place = str(explanation.where)
    facts = [
        ("decided by", explanation.layer + (f", {place}" if place else "")),
        ("note", explanation.note),
        ("meaning", key.doc),
        ("type", key.kind.name + (", may be unset" if key.nullable else "")),
        ("read by", key.effect or f"nothing: {key.instead}"),
        ("a change", ("counts from the next run on, also of a daemon that runs" if key.reloadable else _RESTART) if key.effect else ""),
        ("variable", " or ".join((key.variable, *key.aliases))),
        ("old names", ", ".join(key.deprecated)),
        ("limited by", key.limit or ""),
    ]
    lines = [f"{key.path} = {line(key, explanation.value)}"]
    lines += [f"  {name:<12} {text}" for name, text in facts if text]
    lines.append("  layers, lowest first")
    for each in explanation.assignments:
        at = str(each.where)
        lines.append(f"    {each.layer:<12} {line(key, each.value)}" + (f"  ({at})" if at else ""))
    return lines


@app.command()
def path(
    every: Annotated[bool, typer.Option("--all", help="List every source, and what it changes.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> None:
    """Print the configuration file that decides, or with --all every source in rising precedence."""
    if not every:
        _print_deciding_file(json)
        return
    settings = context.settings()
    rows = _sources(settings)
    overrides = _overrides(settings)
    data = {
        "sources": rows,
        "overrides": overrides,
        "resolved": {name: plain(each.key, each.value) for name, each in settings.resolved.items()},
    }
    as_json = output.wants_json(as_json=json, as_table=table)
    output.print_rows(
        ("order", "layer", "source", "status", "details"),
        [(row["order"], row["layer"], row["source"], row["status"], row["details"]) for row in rows],
        as_json=as_json,
        as_table=not as_json,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        data=data,
    )
    if not as_json:
        for each in overrides:
            key = registry.lookup(each["key"])
            output.print_line(f"{each['key']}: {line(key, each['previous'])} -> {line(key, each['new_value'])} ({each['source']})")


def _print_deciding_file(as_json: bool) -> None:
    place = sources.find(os.environ)
    candidates = [place.only_file] if place.only_file else [place.system_file, *place.expansion.base.user_files]
    found = next((file for file in reversed(candidates) if file.exists()), None)
    if as_json:
        output.print_json({"path": str(found) if found else None})
    elif found:
        output.print_line(str(found))
    else:
        print(NO_FILE, file=sys.stderr)


def _sources(settings: Settings) -> list[dict[str, Any]]:
    count = len(settings.resolved)
    rows: list[dict[str, Any]] = [
        {"order": 0, "layer": "default", "source": "built-in defaults", "status": "baseline", "details": f"{count} keys"}
    ]
    for order, layer in enumerate(settings.layers, 1):
        number = len(layer.values)
        details = "" if layer.status == "missing" else f"{number} {'key' if number == 1 else 'keys'}"
        rows.append({"order": order, "layer": layer.name, "source": layer.source, "status": layer.status, "details": details})
    return rows


def _overrides(settings: Settings) -> list[dict[str, Any]]:
    """Every value that one layer put in the place of another's, in the order of the layers."""
    found: list[dict[str, Any]] = []
    for explanation in settings.resolved.values():
        for before, after in zip(explanation.assignments, explanation.assignments[1:], strict=False):
            if before.value != after.value:
                previous, new = plain(explanation.key, before.value), plain(explanation.key, after.value)
                found.append({"source": after.source, "key": explanation.key.path, "previous": previous, "new_value": new})
    return found
