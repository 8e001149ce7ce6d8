"""``schema_hints.with``: short notation to JSON Schema, and a node's arguments checked against it (spec 8.4).

The validator is imported only for an opening that has hints. Schemas are checked against draft 2020-12; a ``$ref`` never leaves the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runloop.openings.scalars import Json

_SCHEMA_KEYS = frozenset(
    {"type", "$schema", "properties", "required", "allOf", "anyOf", "oneOf", "not", "items", "const", "$defs", "definitions", "$ref"}
)


_NO_SCHEMA = " is not a JSON Schema"


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


def violations(schema: Json, value: Json, supplied: Iterable[str] = ()) -> Iterator[Violation]:
    """How ``value`` breaks ``schema``; names in ``supplied`` count as present."""
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    from runloop.backtracking import exploding_patterns, said_of

    for pattern, path in exploding_patterns(schema):
        yield Violation(f"its schema is not used: {said_of(pattern)}", (), path)
        return
    supplied = frozenset(supplied)
    if isinstance(schema, dict) and isinstance(schema.get("required"), list):
        schema = {**schema, "required": [name for name in schema["required"] if name not in supplied]}
    # an empty registry of its own: the default one would fetch a remote $ref
    registry: Registry[Any] = Registry()
    try:
        for error in Draft202012Validator(schema, registry=registry).iter_errors(value):
            yield Violation(error.message, tuple(error.absolute_path), tuple(error.absolute_schema_path))
    except Unresolvable as error:
        yield Violation(f"its schema has a $ref that leads nowhere: {error.ref}", (), ())
    except RecursionError:
        yield Violation("its schema refers to itself without end", (), ())


def check_schema(schema: Json, label: str, prefix: tuple[str | int, ...] = ()) -> None:
    """Raise HintError if ``schema`` is no JSON Schema (draft 2020-12), or has a pattern that can take for ever."""
    from jsonschema import Draft202012Validator, SchemaError

    from runloop.backtracking import exploding_patterns, said_of

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise HintError(f"{label}: {error.message}", (*prefix, *error.absolute_path)) from None
    for pattern, path in exploding_patterns(schema):
        raise HintError(f"{label.removesuffix(_NO_SCHEMA)}: {said_of(pattern)}", (*prefix, *path))


def foreign_refs(schema: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Each ``$ref`` in ``schema`` that leads out of it: a message, and the path to it."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(inner, str) and not inner.startswith("#"):
                yield f"'{inner}' leads out of the document; nothing is fetched", (*path, name)
            elif name not in ("const", "enum", "default", "examples"):
                yield from foreign_refs(inner, (*path, name))
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from foreign_refs(inner, (*path, index))
