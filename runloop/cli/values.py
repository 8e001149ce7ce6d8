"""What can stand in a place of the command line on this machine now, for completion: names, each with a word on what it is.

Fast before complete: derived tables are read as they are, nothing is brought up to date, and what cannot be read has no names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from runloop.cli import context

if TYPE_CHECKING:
    from pathlib import Path

Named = list[tuple[str, str]]
_MOST = 200
_BUSY_MS = 200
_ENDS = ("succeeded", "failed", "cancelled")


def runs(begun: str) -> Named:
    """Ids of runs that begin so, newest first, with opening and state."""
    return _runs(begun, "")


def unfinished(begun: str) -> Named:
    """As :func:`runs`, without those that ended."""
    return _runs(begun, f"AND status NOT IN {_ENDS}")


def _runs(begun: str, where: str) -> Named:
    sql = f"""SELECT run_id, opening_name, status FROM runs WHERE substr(run_id, 1, ?) = ? {where}
              ORDER BY first_event DESC LIMIT {_MOST}"""  # noqa: S608 - fixed text
    found = [(str(run_id), f"{opening} {state}") for run_id, opening, state in _views(sql, (len(begun), begun))]
    return [("last", "the newest run"), *found] if found and "last".startswith(begun) else found


def entities(begun: str) -> Named:
    """Things of the knowledge base whose keys begin so; without a colon in it, the sorts that there are."""
    if ":" not in begun:
        sql = """SELECT DISTINCT substr(node_key, 1, instr(node_key, ':')), kind, '' FROM nodes
                 WHERE substr(node_key, 1, ?) = ? AND instr(node_key, ':') > 0"""
    else:
        sql = f"""SELECT node_key, kind, label FROM nodes WHERE substr(node_key, 1, ?) = ? AND ended_event IS NULL
                  ORDER BY source_event DESC LIMIT {_MOST}"""  # noqa: S608 - fixed text
    found = _views(sql, (len(begun), begun))
    return [(str(key), str(kind) if "@" in label else f"{kind} {label}".strip()) for key, kind, label in found]  # addresses stay masked


def people(begun: str) -> Named:
    """Contacts whose names begin so."""
    sql = f"SELECT name FROM contacts WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT {_MOST}"  # noqa: S608 - fixed text
    return [(str(name), "contact") for (name,) in _views(sql, (len(begun), begun))]


def openings(_begun: str) -> Named:
    """The openings that are found by name."""
    from runloop.runs.places import opening_dirs

    return _stems(opening_dirs(context.settings()), (".yaml", ".yml", ".opening"))


def agents(_begun: str) -> Named:
    """The agents that are found by name."""
    from runloop.runs.places import bundle_store

    found: dict[str, str] = {}
    for place in bundle_store(context.settings()).search_dirs:
        for path in sorted(place.glob("*/manifest.toml")):
            found.setdefault(path.parent.name, f"in {place}")
    return list(found.items())


def settings(_begun: str) -> Named:
    """The keys of the settings."""
    from runloop.config import all_keys

    return [(path, key.doc.split(". ")[0].rstrip(".")) for path, key in all_keys().items() if key.effect or key.tighten]


def assignments(begun: str) -> Named:
    """Keys of the settings, as `--set` takes them."""
    return [] if "=" in begun else [(f"{path}=", text) for path, text in settings(begun)]


def waiting(_begun: str) -> Named:
    """What a daemon's runs wait for a person with."""
    from runloop.cli import link
    from runloop.cli.answering import line_of, short_ids

    listed = link.approvals_if_there(context.settings(), operators_only=True)
    names = short_ids([each["approval_id"] for each in listed])
    newest = [("last", "the newest")] if listed else []
    return newest + [(names[each["approval_id"]], line_of(each)) for each in listed]


def grants(_begun: str) -> Named:
    """What was approved beyond a run."""
    from runloop.runs.grants import FILE, StandingGrants

    standing = StandingGrants(context.settings().base.state / FILE).covering()
    return [(each.id, f"{each.grant.action} {', '.join(sorted(each.grant.targets))}") for each in standing]


VALUES: dict[str, Callable[[str], Named]] = {
    each.__name__: each for each in (runs, unfinished, entities, people, openings, agents, settings, assignments, waiting, grants)
}


def _stems(places: Iterable[Path], suffixes: tuple[str, ...]) -> Named:
    found: dict[str, str] = {}
    for place in places:
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.suffix in suffixes:
                    found.setdefault(path.stem, f"in {place}")
    return list(found.items())


def _views(sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Rows of the derived tables, read-only; none where there are no such tables."""
    import apsw

    now = context.settings()
    path = now.get("kb.root_dir") / now.get("kb.view_db")
    if not path.exists():
        return []
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            db.set_busy_timeout(_BUSY_MS)
            return db.execute(sql, values).fetchall()
    except apsw.Error:
        return []
