"""The parts about settings, from the registry."""

from __future__ import annotations

import json

from docgen.text import table

from runloop.config.registry import Key, all_keys

RULES = {
    "min": "the smaller number",
    "any": "true if any layer says so",
    "all": "true only if every layer says so",
    "intersect": "what every list contains",
    "union": "everything in any list",
}


def _default(key: Key) -> str:
    if key.default is None:
        return "–"
    text = key.default if isinstance(key.default, str) else json.dumps(key.default)
    for placeholder, shown in (
        ("{state}", "~/.runloop"),
        ("{sockets}", "$XDG_RUNTIME_DIR/runloop, else ~/.runloop/sock"),
        ("{cache}", "~/.cache/runloop"),
    ):
        text = text.replace(placeholder, shown)
    return f"`{text}`"


def keys() -> str:
    """One table a section: key, type, default, meaning, what reads it, and whether a daemon that runs takes a change."""
    found: dict[str, list[Key]] = {}
    for key in all_keys().values():
        if key.tighten is None and key.effect:
            found.setdefault(key.path.split(".")[0], []).append(key)
    parts = []
    for section, members in found.items():
        rows = [
            (
                f"`{key.path}`",
                key.kind.name,
                _default(key),
                key.doc + (f" Held by `{key.limit}`." if key.limit else ""),
                key.effect,
                "yes" if key.reloadable else "",
            )
            for key in members
        ]
        parts.append(f"### `{section}`\n\n" + table(("key", "type", "default", "meaning", "read by", "reload"), rows))
    return "\n\n".join(parts)


def without_effect() -> str:
    """The settings of upstream that nothing reads, and what holds in their place."""
    rows = [(f"`{key.path}`", key.kind.name, _default(key), key.doc, key.instead) for key in all_keys().values() if not key.effect]
    return table(("key", "type", "default", "meaning there", "what holds here"), rows)


def limits() -> str:
    """The hard limits and how each combines over the layers."""
    rows = []
    for key in all_keys().values():
        if key.tighten is not None:
            held = [f"`{other.path}`" for other in all_keys().values() if other.limit == key.path]
            rows.append(
                (
                    f"`{key.path}`",
                    key.kind.name,
                    _default(key),
                    RULES[key.tighten],
                    key.doc + (f" Holds {', '.join(held)}." if held else ""),
                )
            )
    return table(("key", "type", "default", "combined", "meaning"), rows)


def variables() -> str:
    """The short names of the environment and the old names of keys."""
    rows = [(f"`{alias}`", "variable", f"`{key.path}`") for key in all_keys().values() for alias in key.aliases]
    rows += [(f"`{old}`", "old key", f"`{key.path}`") for key in all_keys().values() for old in key.deprecated]
    return table(("name", "what", "sets"), rows)
