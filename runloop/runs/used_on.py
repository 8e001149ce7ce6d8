"""What an allowed call was about, in a word, for its audit event: a path, a host, a program, a name; nothing that it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from runloop.policy.capabilities import secret_target

_NAMED_BY: Final = {
    "files.read": "path",
    "files.list": "path",
    "files.write": "path",
    "http.fetch": "url",
    "exec.run": "argv",
    "kb.propose": "kind",
    "kb.get": "key",
    "secrets.handle": "name",
    "spawn.agent": "name",
    "spawn.opening": "name",
    "model.complete": "model",
    "model.embed": "model",
}


def used_on(name: str, args: Mapping[str, Any]) -> str:
    """Its target; nothing where it has none, or leaves it to the settings."""
    value = args.get(_NAMED_BY.get(name, ""))
    if name == "http.fetch":
        return urlsplit(str(value)).netloc.rpartition("@")[2]
    if name == "secrets.handle":
        return secret_target(str(value))
    if name == "exec.run" and isinstance(value, list):
        return str(value[0]) if value else ""
    return "" if value is None else str(value)
