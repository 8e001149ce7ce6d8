"""Parameters of runs as the command line takes them: `--params` and `-p`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from runloop.errors import InvalidInput, Where
from runloop.text import fitted, legible

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLE: Final = """for example --params '{"topic": "Q4"}'"""
_FILE_HINT: Final = "@FILE names a file with one JSON object, @- is standard input"
_MOST_BYTES: Final = 64 * 1024 * 1024
"""More is read by nobody: a run takes a few megabytes."""


def params_object(text: str | None) -> dict[str, Any]:
    """What `--params` gives, also by way of a file; without it nothing."""
    if text is None:
        return {}
    where = Where(key="--params")
    if text.startswith("@"):
        text, where = _read(text[1:]), Where(key="--params", file=None if text == "@-" else text[1:])
    else:
        _check_bytes(text, where)
    try:
        value = strict_json(text)
    except ValueError as error:
        raise InvalidInput(f"--params is not JSON: {error}", code="run.params", where=where, hint=_EXAMPLE) from error
    if not isinstance(value, dict):
        raise InvalidInput("params must be a JSON object", code="run.params", where=where, hint=_EXAMPLE)
    return value


def _read(name: str) -> str:
    from runloop.links import readable

    where = Where(key="--params", file=None if name == "-" else name)
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with readable(name) as file:
                data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        message = f"--params cannot be read: {error.strerror}"
        raise InvalidInput(message, code="run.params", where=where, hint=_FILE_HINT) from None
    if len(data) > _MOST_BYTES:
        message = f"--params is longer than {_MOST_BYTES >> 20} MiB"
        raise InvalidInput(message, code="run.params", where=where, hint="let the agent read large data from a file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"--params is not UTF-8 at byte {error.start}"
        raise InvalidInput(message, code="run.params", where=where, hint="convert it: iconv -f LATIN1 -t UTF-8") from None


def param_pairs(pairs: list[str], declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``key=value`` options in the type of the parameter's default: text stays text, everything else is read as JSON."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        where = Where(key=f"-p {legible(key)}")
        if not equals or not key:
            raise InvalidInput(f"-p takes KEY=VALUE, not {pair!r}", code="run.params", where=where, hint="for example -p topic='Q4 plan'")
        if key in values or key in given:
            raise InvalidInput(f"the parameter {key!r} is given twice", code="run.params", where=where, hint="give it once")
        _check_bytes(pair, where)
        default = declared.get(key)
        if default is None or isinstance(default, str):
            values[key] = text
            continue
        try:
            values[key] = strict_json(text)
        except ValueError as error:
            whole = json.dumps(default, ensure_ascii=False)
            like = fitted(whole, 80)
            why = "" if isinstance(error, json.JSONDecodeError) else f": {error}"
            message = f"the parameter {key!r} must be JSON like its default {like}, and {text[:80]!r} is not{why}"
            example = whole if like == whole and "'" not in whole else '["a", "b"]' if isinstance(default, list) else '{"key": "value"}'
            raise InvalidInput(message, code="run.params", where=where, hint=f"for example -p {key}='{example}'") from error
    return values


def _check_bytes(text: str, where: Where) -> None:
    """Refuse an argument whose bytes are no UTF-8; Python hands them on as lone surrogates."""
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        hint = "set the terminal to UTF-8, or convert it: iconv -f LATIN1 -t UTF-8"
        raise InvalidInput(f"{legible(text)[:80]!r} holds bytes that are no UTF-8", code="run.params", where=where, hint=hint)


def strict_json(text: str) -> Any:
    """``text`` as JSON, where no key stands twice; anything that is not is a ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"the key {key!r} stands twice")
        value[key] = item
    return value
