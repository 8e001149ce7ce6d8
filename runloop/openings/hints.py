"""``schema_hints.with``: short notation to JSON Schema, and a node's arguments checked against it (spec 8.4).

The validator is imported only for an opening that has hints. Schemas are checked against draft 2020-12; a ``$ref`` never leaves the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runloop.openings.scalars import Json

_SCHEMA_KEYS = frozenset(
    {"type", "$schema", "properties", "required", "allOf", "anyOf", "oneOf", "not", "items", "const", "$defs", "definitions", "$ref"}
)


class HintError(ValueError):
    """The hint is not a JSON Schema; ``path`` leads to the part that is wrong."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def to_schema(hints: Json) -> Json:
    """The JSON Schema that ``hints`` stands for; raises HintError."""
    if not isinstance(hints, dict) or _SCHEMA_KEYS & hints.keys():
        check_schema(hints, "invalid schema_hints.with entry")
        return hints
    properties: dict[str, Json] = {}
    required = []
    for name, fragment in hints.items():
        if isinstance(fragment, dict) and isinstance(fragment.get("required"), bool):
            if fragment["required"]:
                required.append(name)
            fragment = {key: value for key, value in fragment.items() if key != "required"}  # noqa: PLW2901 - the same fragment, stripped
        check_schema(fragment, f"invalid schema hint for '{name}'", (name,))
        properties[name] = fragment
    return {"type": "object", "properties": properties, "required": required}


class Violation(NamedTuple):
    """How a value breaks a schema: the paths lead to the part of the value, and to the rule that it breaks."""

    message: str
    path: tuple[str | int, ...]
    rule: tuple[str | int, ...]


def violations(schema: Json, value: Json, supplied: Iterable[str] = (), most: int | None = None) -> Iterator[Violation]:
    """How ``value`` breaks ``schema``; names in ``supplied`` count as present.

    Raises :class:`runloop.schemas.StepsError` where it takes more than ``most`` steps; without ``most`` that is a violation.
    """
    from referencing.exceptions import Unresolvable

    from runloop.schemas import StepsError, errors, unusable

    for message, path in unusable(schema):
        yield Violation(f"its schema is not used: {message}", (), path)
        return
    supplied = frozenset(supplied)
    if isinstance(schema, dict) and isinstance(schema.get("required"), list):
        schema = {**schema, "required": [name for name in schema["required"] if name not in supplied]}
    try:
        for error in errors(schema, value, most):
            yield Violation(error.message, tuple(error.absolute_path), tuple(error.absolute_schema_path))
    except Unresolvable as error:
        yield Violation(f"its schema has a $ref that leads nowhere: {error.ref}", (), ())
    except ValueError as error:
        if most and isinstance(error, StepsError):
            raise
        yield Violation(f"its schema is not used: {error}", (), ())
    except RecursionError:
        yield Violation("its schema refers to itself without end", (), ())


def check_schema(schema: Json, label: str, prefix: tuple[str | int, ...] = ()) -> None:
    """Raise HintError if ``schema`` is no JSON Schema (draft 2020-12), or one that cannot be used."""
    from runloop.schemas import faults

    for message, path in faults(schema):
        raise HintError(f"{label}: {message}", (*prefix, *path))
