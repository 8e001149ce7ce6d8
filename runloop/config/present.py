"""Values as they may be shown: plain data for JSON and one line for people, with every secret masked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runloop.config.kinds import Kind, ListOf, MapOf, Record
from runloop.config.raw import MASK, masked
from runloop.config.registry import Key


def plain(key: Key, value: Any) -> Any:
    """The value as JSON data. Secrets, header values, and the user part and query values of URLs are masked."""
    if value is None:
        return None
    return MASK if key.secret else _plain(key.kind, value)


def _plain(kind: Kind | None, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, (tuple, list)):
        return [_plain(kind.item if isinstance(kind, ListOf) else None, each) for each in value]
    if isinstance(value, dict):
        return {name: _entry(kind, name, each) for name, each in value.items()}
    return value


def _entry(kind: Kind | None, name: str, value: Any) -> Any:
    if isinstance(kind, Record):
        field = kind.fields[name]
        if field.secret and value:
            return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
        return _plain(field.kind, value)
    return _plain(kind.item if isinstance(kind, MapOf) else None, value)


def line(key: Key, value: Any) -> str:
    """The value on one line, for people; ``–`` where it is not set."""
    shown = plain(key, value)
    if shown is None:
        return "–"
    if isinstance(shown, str):
        return shown
    if isinstance(shown, list) and all(isinstance(each, str) for each in shown):
        return ", ".join(shown) or "(none)"
    return json.dumps(shown, ensure_ascii=False)
