"""The types of settings: each reads an unread value into a Python one, or says what it should have been.

The key decides the type, never the text: ``1`` is a number for a number key, true for a yes-or-no key and text for a text key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from runloop.config.errors import ConfigError
from runloop.config.paths import Expansion, expand
from runloop.config.raw import Raw
from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.patterns import lazy

TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")
_ODD = lazy(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INTEGER = lazy(r"[+-]?(0|[1-9][0-9]*(_[0-9]+)*)")


class Kind(Protocol):
    """A type of setting."""

    @property
    def name(self) -> str:
        """What to call it in tables and messages."""
        ...

    def read(self, raw: Raw, expansion: Expansion) -> Any:
        """The value; raises :class:`ConfigError` with the place of what is wrong."""
        ...


def _wrong(raw: Raw, wanted: str, hint: str = "", *, got: str | None = None) -> ConfigError:
    return ConfigError(f"must be {wanted} (found {got or raw.shape})", where=raw.where, hint=hint)


def _scalar(raw: Raw, wanted: str) -> str:
    if not isinstance(raw.value, str):
        raise _wrong(raw, wanted)
    return raw.value


@dataclass(frozen=True, slots=True)
class Boolean:
    """true, yes, on, 1 or false, no, off, 0, in any case; ``never`` is one that cannot be true."""

    never: bool = False
    name: str = "bool"

    def read(self, raw: Raw, expansion: Expansion) -> bool:
        text = _scalar(raw, "true or false").strip().lower()
        if text in TRUE and self.never:
            raise _wrong(raw, "false")
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise _wrong(raw, "true or false", f"True is written {', '.join(TRUE)}; false {', '.join(FALSE)}.")


@dataclass(frozen=True, slots=True)
class Switch:
    """A boolean that was once a level: strict and standard are true."""

    name: str = "bool"

    def read(self, raw: Raw, expansion: Expansion) -> bool:
        text = _scalar(raw, "true or false").strip().lower()
        if text in TRUE or text in {"strict", "standard"}:
            return True
        if text in FALSE:
            return False
        raise _wrong(raw, "true or false")


@dataclass(frozen=True, slots=True)
class Streaming:
    """auto or off, in any case; what means yes or no is taken for them, as `off` itself means no elsewhere."""

    name: str = "one of auto, off"

    def read(self, raw: Raw, expansion: Expansion) -> str:
        text = _scalar(raw, "auto or off").strip().lower()
        if text == "auto" or text in TRUE:
            return "auto"
        if text in FALSE:
            return "off"
        raise _wrong(raw, "auto or off")


@dataclass(frozen=True, slots=True)
class Integer:
    """A decimal whole number within bounds, both included."""

    low: int = 0
    high: int = 2**63 - 1
    wanted: str = ""

    @property
    def name(self) -> str:
        return "int"

    def read(self, raw: Raw, expansion: Expansion) -> int:
        text = _scalar(raw, "a whole number").strip()
        if len(text) > 40 or not _INTEGER.fullmatch(text):
            raise _wrong(raw, "a whole number")
        number = int(text)
        if not self.low <= number <= self.high:
            if self.wanted:
                raise ConfigError(self.wanted.format(n=number), where=raw.where)
            beyond = number > self.high
            bounds = f"at least {self.low}" if self.high >= 2**31 - 1 and not beyond else f"between {self.low} and {self.high}"
            raise _wrong(raw, bounds, got=str(number))
        return number


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within bounds, both included."""

    low: float = 0.0
    high: float = 1e12

    @property
    def name(self) -> str:
        return "number"

    def read(self, raw: Raw, expansion: Expansion) -> float:
        text = _scalar(raw, "a number").strip()
        try:
            number = float(text)
        except ValueError:
            raise _wrong(raw, "a number") from None
        if not math.isfinite(number) or not self.low <= number <= self.high:
            raise _wrong(raw, f"between {self.low:g} and {self.high:g}", got=text)
        return number


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text, without control characters; one of ``choices`` if there are any; blank only where ``blank`` says so.

    ``unserved`` are choices of other versions, each with what to use instead; ``others`` are read as the choice that does the same.
    """

    choices: tuple[str, ...] = ()
    blank: bool = False
    pattern: str = ""
    wanted: str = "text"
    unserved: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "one of " + ", ".join(self.choices) if self.choices else "text"

    def read(self, raw: Raw, expansion: Expansion) -> str:
        text = _scalar(raw, self.wanted)
        if self.choices:
            lowered = self.others.get(text.strip().lower(), text.strip().lower())
            if lowered in self.choices:
                return lowered
            from runloop.nearest import nearest  # only who mistypes needs it

            near = nearest(lowered, self.choices)
            hint = self.unserved.get(lowered) or (f"Did you mean {near}?" if near else "")
            raise _wrong(raw, f"one of {', '.join(self.choices)}", hint)
        if not self.blank and not text.strip():
            raise _wrong(raw, f"{self.wanted} that is not blank")
        if (odd := _ODD.search(text)) is not None:
            what = "bytes that are no UTF-8" if "\ud800" <= odd[0] <= "\udfff" else f"the control character U+{ord(odd[0]):04X}"
            raise _wrong(raw, "one line of plain text", "Write it again without.", got=what)
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise _wrong(raw, self.wanted)
        return text


@dataclass(frozen=True, slots=True)
class PublisherKind:
    """A kind of client, in any case; the words are the specification's (2.1)."""

    choices: tuple[str, ...]

    @property
    def name(self) -> str:
        return "one of " + ", ".join(self.choices)

    def read(self, raw: Raw, expansion: Expansion) -> str:
        text = _scalar(raw, "text").strip().lower()
        if text not in self.choices:
            what = f"unknown publisher kind {text!r}" if text else "empty publisher kind entry"
            raise ConfigError(what, where=raw.where, hint=f"Use {', '.join(self.choices)}.")
        return text


@dataclass(frozen=True, slots=True)
class Host:
    """``host`` or ``host:port``, read into the one form in which hosts are compared; the host alone where another setting has the port."""

    port_key: str = ""
    name: str = "host"

    def read(self, raw: Raw, expansion: Expansion) -> str:
        wanted = "a host, without a scheme or port" if self.port_key else "a host or host:port, without a scheme"
        text = _scalar(raw, wanted)
        from runloop.hosts import host_text, split_host  # few settings name one

        try:
            host, port = split_host(text)
        except ValueError as error:
            raise _wrong(raw, wanted, got=raw.shape if "/" in text else f"{raw.shape}: {error}") from None
        if self.port_key and port is not None:
            raise _wrong(raw, wanted, f"The port is {self.port_key}.")
        return host if self.port_key else host_text(host, port)


@dataclass(frozen=True, slots=True)
class PathText:
    """A path: ``~``, ``$VAR``, ``${VAR}`` and ``env:VAR`` are expanded, a relative one starts at the working directory.

    A blank one is an error, with ``empty_message`` where that is given, or ``None`` where it ``may_be_blank``.
    """

    empty_message: str = ""
    may_be_blank: bool = False

    @property
    def name(self) -> str:
        return "path"

    def read(self, raw: Raw, expansion: Expansion) -> Path | None:
        text = _scalar(raw, "a path")
        if not text.strip():
            if self.may_be_blank:
                return None
            raise ConfigError(self.empty_message or f"must be a path (found {raw.shape})", where=raw.where)
        return expand(text.strip(), expansion, raw.where)


def _inside(step: str, kind: Kind, raw: Raw, expansion: Expansion) -> Any:
    """The value of a part; an error says which part, as in ``[0].kind must be …``."""
    try:
        return kind.read(raw, expansion)
    except ConfigError as error:
        space = "" if error.message.startswith(("[", ".")) else " " if error.message.startswith("must ") else ": "
        raise ConfigError(step + space + error.message, code=error.code, where=error.where, hint=error.hint) from None


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; one line of text is a list of its comma-separated parts.

    Where something is ``always`` in it, that cannot be left out, and nothing counts twice. ``by`` is the key of its records that tells
    them apart.
    """

    item: Kind
    always: tuple[str, ...] = ()
    by: str | None = None

    @property
    def name(self) -> str:
        return f"list of {self.item.name}"

    def read(self, raw: Raw, expansion: Expansion) -> tuple[Any, ...]:
        if isinstance(raw.value, dict) or raw.value is None:
            raise _wrong(raw, "a list")
        if isinstance(raw.value, str):
            parts = [part.strip() for part in raw.value.split(",")] if raw.value.strip() else []
            found = tuple(self.item.read(Raw(part, raw.where), expansion) for part in parts)
        else:
            found = tuple(_inside(f"[{number}]", self.item, each, expansion) for number, each in enumerate(raw.value))
            if self.by is not None:
                self._refuse_twins(self.by, found, raw.value)
        if not all(each in found for each in self.always):
            raise _wrong(raw, f"a list with {' and '.join(self.always)} in it", got=", ".join(found) or "an empty list")
        return tuple(dict.fromkeys(found)) if self.always else found

    @staticmethod
    def _refuse_twins(by: str, found: Sequence[Mapping[str, Any]], raw: Sequence[Raw]) -> None:
        names = [entry[by] for entry in found]
        for number, name in enumerate(names):
            if name in names[:number]:
                message = f"[{number}].{by} is {name!r}, as that of [{names.index(name)}]"
                raise ConfigError(message, where=raw[number].where, hint=f"Give each its own {by}.")


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map from text to one type of value."""

    item: Kind

    @property
    def name(self) -> str:
        return f"map of {self.item.name}"

    def read(self, raw: Raw, expansion: Expansion) -> dict[str, Any]:
        if not isinstance(raw.value, dict):
            raise _wrong(raw, "a map")
        return {key: _inside(f".{key}", self.item, each, expansion) for key, each in raw.value.items()}


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of a record; without ``required`` it may be absent, and is then ``default``."""

    kind: Kind
    required: bool = False
    default: Any = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A map with fixed keys; others are errors. ``label`` is how messages name it."""

    label: str
    fields: Mapping[str, Field]

    @property
    def name(self) -> str:
        return self.label

    def read(self, raw: Raw, expansion: Expansion) -> dict[str, Any]:
        if not isinstance(raw.value, dict):
            raise _wrong(raw, f"a map with {', '.join(self.fields)}")
        found: dict[str, Any] = {}
        for key, entry in self.fields.items():  # first what is there: where a kind is none of ours, its further keys are none either
            given = raw.value.get(key)
            if given is not None and given.value is not None:
                found[key] = _inside(f".{key}", entry.kind, given, expansion)
        for key, each in raw.value.items():
            if key not in self.fields:
                raise unknown_key(f"{self.label} has no {key!r}", key, tuple(self.fields), each.key_where or each.where)
        for key, entry in self.fields.items():
            if entry.required and key not in found:
                raise ConfigError(f"{self.label} needs {key!r}", where=raw.where, hint=f"Its keys are {', '.join(self.fields)}.")
        return {key: found.get(key, entry.default) for key, entry in self.fields.items()}


def keys_of_secrets(key: str, known: Iterable[str]) -> str:
    """The hint for a key or password that somebody wrote where only its name stands; empty for any other key."""
    if "secret_id" not in known or key.lower() not in {"api_key", "apikey", "key", "token", "password", "passwd", "pass", "secret"}:
        return ""
    return "No key or password stands in a file: `rlp secrets set NAME` stores it, and `secret_id: NAME` says which it is."


def unknown_key(message: str, key: str, known: tuple[str, ...], where: Where) -> ConfigError:
    """The error for a key that does not exist, with the nearest that does."""
    from runloop.nearest import nearest

    near = nearest(key, known)
    hint = keys_of_secrets(key, known) or (f"Did you mean {near!r}?" if near else f"Known here: {', '.join(known)}.")
    return ConfigError(message, code="config.unknown_key", where=where, hint=hint)
