"""Masking what a run said: the shape, the course, the times and the cost of a run stay, its content goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runloop.dataclass import dataclass
from runloop.events.records import CONTENT_HASHES, FORM, SAID_IN_ERRORS
from runloop.openings.clauses import ACCEPT, APPROVE, REJECT, RETRY, REVISE
from runloop.runs.approvals import OUTCOMES
from runloop.text import CHANGED

_CHOSEN = frozenset({"decision", "on_timeout"})
_WORDS = frozenset({"approved", "rejected", "expired", CHANGED, APPROVE, REJECT, REVISE, ACCEPT, RETRY, *OUTCOMES})
"""What is chosen where the author of an opening gave no words for it."""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_NO_HASH = "0" * 64


@dataclass(slots=True)
class Redactor:
    """Masks payloads of run records and counts what it masked."""

    masked: int = 0

    def payload(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload of a run record without content; ids, nodes, names of agents and calls, states, times and costs stay."""
        return {**payload, "message": self._value(payload["message"]), "meta": self._meta(payload["meta"])}

    def _meta(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._field(key, value) for key, value in meta.items()}

    def _field(self, key: str, value: Any) -> Any:
        if key in CONTENT_HASHES:
            self.masked += 1
            return _NO_HASH
        if key == "artifacts" and isinstance(value, list):
            return [self._meta(each) for each in value]
        if key == "sources" and isinstance(value, list):
            return [{name: self._field(name, said) for name, said in each.items() if name != "line"} for each in value]
        if key in FORM or (key in _CHOSEN and value in _WORDS):
            return value
        if key == "overrides" and isinstance(value, Mapping):
            return {**value, **self._overridden(value)}
        if key == "by" and isinstance(value, Mapping):
            return {"role": value["role"]}
        if key == "error" and isinstance(value, Mapping):
            return {name: self._value(said) if name in SAID_IN_ERRORS else said for name, said in value.items()}
        return self._value(value)

    def _overridden(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """What a fork has other than its parent, without the answers and the values; digests of agents stay."""
        answers = [{**each, "result": self._value(each["result"])} for each in overrides.get("answers") or ()]
        said = {"answers": answers, "params": self._value(overrides.get("params") or {})}
        return {name: masked for name, masked in said.items() if masked}

    def _value(self, value: Any) -> Any:
        """A value of the same shape that says nothing: texts become their length, numbers 0, unusual keys a number."""
        if isinstance(value, Mapping):
            return {self._key(key, at): self._value(item) for at, (key, item) in enumerate(value.items())}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        self.masked += 1
        return f"[{len(value)} characters]" if isinstance(value, str) else 0

    def _key(self, key: str, at: int) -> str:
        if _NAME.fullmatch(key):
            return key
        self.masked += 1
        return f"key_{at}_"
