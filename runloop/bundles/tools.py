"""``tools.json`` version 1: the tools an agent documents (spec 10.4). They are checked and shown; nothing runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runloop.bundles.errors import BundleInvalid
from runloop.errors import Where

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_BYTES = 1 << 20
_TOOL_KEYS = (
    "id", "description", "transport", "input_schema", "result_schema", "schema_refs", "capabilities", "secrets", "budget",
    "requires_confirmation", "observability",
)  # fmt: skip
_TRANSPORTS = {"exec": ("kind", "command", "args"), "http": ("kind", "method", "url", "headers")}
_REQUIRED = {"exec": ("command",), "http": ("method", "url")}
_SHAPES: dict[str, type | tuple[type, ...]] = {
    "input_schema": (dict, bool), "result_schema": (dict, bool), "schema_refs": dict, "capabilities": list, "secrets": list,
    "budget": dict, "requires_confirmation": bool, "observability": dict,
}  # fmt: skip


def read_tools(text: str, *, file: str | None = None) -> tuple[Mapping[str, Any], ...]:
    """Return the tools of the file, each checked; raises ``BundleInvalid`` for the first fault."""
    if len(text) > MAX_BYTES:
        raise _wrong(f"the file is larger than {MAX_BYTES} bytes", file, "make it smaller")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        where = Where(file=file, line=error.lineno, column=error.colno)
        raise BundleInvalid(f"not valid JSON: {error.msg}", code="bundle.tools", where=where, hint="check the place named") from None
    except RecursionError:
        raise _wrong("values are nested too deeply", file, "flatten them") from None
    if not isinstance(document, dict):
        raise _wrong("it must be an object", file, 'write {"version": 1, "tools": []}')
    _known(document, ("version", "tools"), "", file)
    version = document.get("version")
    if version != 1 or isinstance(version, bool):
        raise _wrong(f"unsupported tools.json version {version} (expected 1)", file, 'write "version": 1')
    tools = document.get("tools")
    if not isinstance(tools, list):
        raise _wrong("tools must be a list", file, 'write "tools": []')
    for index, tool in enumerate(tools):
        _check_tool(tool, f"tool #{index}: ", file)
    identities = [tool["id"] for tool in tools]
    for index, identity in enumerate(identities):
        if identity in identities[:index]:
            raise _wrong(f"tool #{index}: the id {identity!r} is there twice", file, "give each tool its own id")
    return tuple(tools)


def _check_tool(tool: Any, prefix: str, file: str | None) -> None:
    if not isinstance(tool, dict):
        raise _wrong(f"{prefix}it must be an object", file, "see docs/agents.md")
    _known(tool, _TOOL_KEYS, prefix, file)
    for key in ("id", "description"):
        if not isinstance(tool.get(key), str) or not tool[key].strip():
            raise _wrong(f"{prefix}tool {key} cannot be empty", file, f'give "{key}" a text')
    for key, shape in _SHAPES.items():
        if key in tool and not isinstance(tool[key], shape):
            raise _wrong(f"{prefix}{key} has the wrong type", file, "see docs/agents.md")
    _check_transport(tool.get("transport"), prefix, file)


def _check_transport(transport: Any, prefix: str, file: str | None) -> None:
    kind = transport.get("kind") if isinstance(transport, dict) else None
    if kind not in ("exec", "http"):
        raise _wrong(f"{prefix}transport must have the kind exec or http", file, 'write "transport": {"kind": "http", ...}')
    _known(transport, _TRANSPORTS[kind], f"{prefix}transport: ", file)
    for key in _REQUIRED[kind]:
        if not isinstance(transport.get(key), str) or not transport[key].strip():
            raise _wrong(f"{prefix}{kind} transport requires a {key}", file, f'give "{key}" a text')


def _known(table: Mapping[str, Any], allowed: Iterable[str], prefix: str, file: str | None) -> None:
    for key in table:
        if key not in allowed:
            from runloop.nearest import did_you_mean

            raise _wrong(f"{prefix}unknown key {key!r}", file, did_you_mean(key, allowed), key=key)


def _wrong(message: str, file: str | None, hint: str, key: str | None = None) -> BundleInvalid:
    return BundleInvalid(message, code="bundle.tools", where=Where(file=file, key=key), hint=hint)
