"""Where two JSON values differ, as paths in the form of JSONPath: ``$``, ``$.out[0].text``, ``$['odd key']``. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from runloop.dataclass import dataclass

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Missing:
    """The side of a difference that has no value at all; its JSON form is ``null``, beside ``missing: true``."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two values differ: ``expected`` and ``actual`` are what stands there, or :data:`MISSING`."""

    path: str
    expected: Any
    actual: Any

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; a side that has no value is null and named in ``missing``."""
        form: dict[str, Any] = {"path": self.path}
        for side, value in (("expected", self.expected), ("actual", self.actual)):
            form[side] = None if value is MISSING else value
            if value is MISSING:
                form["missing"] = side
        return form


def differences(expected: Any, actual: Any, path: str = "$") -> Iterator[Difference]:
    """Every place where the values differ, in the order of the expected one; true is not 1, and 1 is 1.0."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            yield from differences(expected.get(key, MISSING), actual.get(key, MISSING), path + _step(key))
    elif isinstance(expected, list) and isinstance(actual, list):
        for index in range(max(len(expected), len(actual))):
            one, other = (each[index] if index < len(each) else MISSING for each in (expected, actual))
            yield from differences(one, other, f"{path}[{index}]")
    elif not _same(expected, actual):
        yield Difference(path, expected, actual)


def first_difference(expected: Any, actual: Any) -> Difference | None:
    """The first place where the values differ, or None."""
    return next(differences(expected, actual), None)


def shown(found: Difference, limit: int = 120) -> tuple[str, str]:
    """Both sides as text for people, at most ``limit`` characters each; of two long texts the part where they first differ."""
    one, other = found.expected, found.actual
    if isinstance(one, str) and isinstance(other, str):
        common = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other)))
        start = max(0, common - limit // 3) if max(len(one), len(other)) > limit else 0
        one, other = ("…" * bool(start) + side[start:] for side in (one, other))
    first, second = (repr(side) if side is MISSING else json.dumps(side, ensure_ascii=False) for side in (one, other))
    return _cut(first, limit), _cut(second, limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _step(key: str) -> str:
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
