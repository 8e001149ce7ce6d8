"""JSON Schemas that people write, checked and applied (draft 2020-12).

What they are applied to was written by agents, in a process for which others wait: so a pattern is matched by RE2, whose time grows with
the text alone, and what must not be there twice is looked up instead of compared with everything. What takes long all the same, such as
references that lead on in ever more ways, ends after so many steps. Nothing is ever fetched.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema import ValidationError

    Path = tuple[str | int, ...]

_NO_SCHEMA = ("const", "enum", "default", "examples")
"""Keywords whose values are data."""
_BY_NAME = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Keywords with schemas by names that people choose: these may be what keywords are called elsewhere."""
_MEMORY = 1 << 20
"""Bytes that a pattern may take once it is compiled, and so a bound of its time for each character."""
MOST_STEPS: Final = 4_000_000
"""How much may be looked at to check one value, in some seconds. Counted and not measured, so that it ends at the same place everywhere."""
MOST_PARTS: Final = 10_000
"""Objects of a schema: to check that each is one takes half a millisecond."""
_STEP_BYTES: Final = 64
"""So much of a value counts as a step each time it is looked at, or told."""
_PART_STEPS: Final = 8
_ERROR_STEPS: Final = 16
"""What it takes to begin with a part of a schema, and to hand what is wrong to the part around it: a step is one or two microseconds."""
_ESCAPE = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\u([0-9a-f]{4})|\\.", re.IGNORECASE | re.DOTALL)


def faults(schema: Any) -> Iterator[tuple[str, Path]]:
    """Why ``schema`` cannot be used, each with the path to the part that is wrong."""
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError

    if sum(1 for _ in islice(_parts(schema, ()), MOST_PARTS + 1)) > MOST_PARTS:
        yield f"a schema has at most {MOST_PARTS:,} parts; say once under $defs what is there more often", ()
        return
    formats = FormatChecker.checkers.keys() - {"regex"}
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=tuple(formats)))
    except SchemaError as error:
        yield str(error.message), tuple(error.absolute_path)
        return
    yield from unusable(schema)


def unusable(schema: Any) -> Iterator[tuple[str, Path]]:
    """Why what is a JSON Schema cannot be used all the same."""
    seen: set[str] = set()
    for part, at in _parts(schema, ()):
        seen.update(part)
        by_name = part.get("patternProperties")
        found = [(part["pattern"], "pattern")] if isinstance(part.get("pattern"), str) else []
        found += [(each, "patternProperties") for each in by_name] if isinstance(by_name, dict) else []
        for pattern, keyword in found:
            try:
                _compiled(pattern)
            except ValueError as error:
                yield str(error), (*at, keyword)
    if {"unevaluatedProperties", "patternProperties"} <= seen:
        yield "unevaluatedProperties does not go with patternProperties; use additionalProperties", ()


def foreign_refs(schema: Any) -> Iterator[tuple[str, Path]]:
    """Each ``$ref`` in ``schema`` that leads out of it, with the path to it."""
    for part, at in _parts(schema, ()):
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(ref := part.get(keyword), str) and not ref.startswith("#"):
                yield ref, (*at, keyword)


class StepsError(ValueError):
    """Checking takes more steps than it may."""


def errors(schema: Any, value: Any, most: int | None = None) -> Iterator[ValidationError]:
    """How ``value`` breaks ``schema``.

    Raises ``referencing.exceptions.Unresolvable`` for a reference that leads out of the schema, StepsError where it takes more than
    ``most`` steps (``MOST_STEPS``), and ValueError for a pattern that cannot be used and stands where no schema is expected, but a
    reference leads.
    """
    from referencing import Registry

    registry: Registry[Any] = Registry()  # empty and its own: the default one would fetch a remote $ref
    work, found = _Work(most or MOST_STEPS), _bounded()(schema, registry=registry).iter_errors(value)
    while True:
        before = _at_work.set(work)
        try:
            error = next(found, None)
        finally:
            _at_work.reset(before)
        if error is None:
            return
        yield error


def _parts(schema: Any, path: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Every object of a schema that holds keywords, the outer ones first."""
    if isinstance(schema, dict):
        yield schema, path
        for keyword, inner in schema.items():
            if keyword in _BY_NAME and isinstance(inner, dict):
                for name, each in inner.items():
                    yield from _parts(each, (*path, keyword, name))
            elif keyword not in _NO_SCHEMA:
                yield from _parts(inner, (*path, keyword))
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from _parts(inner, (*path, index))


# ── patterns ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    """The pattern for RE2. Raises ValueError for one that it does not know, or that would take too much memory."""
    import re2

    options = re2.Options()
    options.log_errors, options.max_mem = False, _MEMORY
    try:
        return re2.compile(_ESCAPE.sub(_as_re2, pattern), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise ValueError(f"pattern {pattern[:80]!r}: {_said(error)}") from None


def _said(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    said = first.decode(errors="replace") if isinstance(first, bytes) else "it is no well-formed Unicode"
    if said.startswith("invalid perl operator") or re.fullmatch(r"invalid escape sequence: \\\d", said):
        return f"{said}; patterns know no look-around and no back-references (RE2), so that they cannot take for ever"
    if said.startswith("invalid repetition size"):
        return f"{said}; at most 1000, lengths are for minLength and maxLength"
    return said


def _as_re2(escape: re.Match[str]) -> str:
    r"""``\uXXXX``, alone or as a pair of surrogates, as RE2 writes it; any other escape as it is."""
    high, low, alone = escape.groups()
    if high is not None:
        return f"\\x{{{0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00:x}}}"
    return escape[0] if alone is None else f"\\x{{{alone}}}"


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text.encode(errors="replace").decode()) is not None


# ── how long it takes ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Work:
    """What is left of the steps of one value."""

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._sizes: dict[int, int] = {}

    def spend(self, steps: int) -> None:
        """Take steps. Raises StepsError where there are none left."""
        self._left -= steps
        if self._left < 0:
            raise StepsError(f"checking takes more than {self._most:,} steps; make the schema simpler, or the value smaller")

    def size(self, value: Any) -> int:
        """About the length of a value as text; of a part of it, too, without looking at it again."""
        if isinstance(value, str):
            return len(value)
        if not isinstance(value, (dict, list)):
            return 1
        if (known := self._sizes.get(id(value))) is None:
            inner = (
                sum(len(name) + self.size(each) for name, each in value.items()) if isinstance(value, dict) else sum(map(self.size, value))
            )
            known = self._sizes[id(value)] = inner + len(value)
        return known


_at_work: ContextVar[_Work] = ContextVar("_at_work")


def _weight(schema: Any) -> int:
    return 1 + sum(len(value) for value in schema.values() if isinstance(value, (dict, list))) if isinstance(schema, dict) else 1


# ── keywords ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _bounded() -> Any:
    """The validator of :func:`_linear`, with a count of its steps, whatever dialect a part of the schema names."""
    made = _linear()
    descend = made.descend

    def evolve(self: Any, **changes: Any) -> Any:
        """For a part of the schema, by the same rules: jsonschema's own goes by a ``$schema`` in it, to keywords that nothing bounds."""
        schema = changes.get("schema", self.schema)
        _at_work.get().spend(_weight(schema))
        return made(schema, registry=self._registry, _resolver=changes.get("_resolver", self._resolver))

    def counted(self: Any, instance: Any, schema: Any, *args: Any, **options: Any) -> Iterator[Any]:
        work = _at_work.get()
        work.spend(_PART_STEPS + work.size(instance) // _STEP_BYTES)
        for error in descend(self, instance, schema, *args, **options):
            work.spend(_ERROR_STEPS)
            yield error

    made.evolve, made.descend = evolve, counted
    return made


def _linear() -> Any:
    """A class of validators without the keywords whose time is not bounded."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(_checker: Any, wanted: str, value: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(value, str) and not _matches(wanted, value):
            yield ValidationError(f"{value!r} does not match {wanted!r}")

    def pattern_properties(checker: Any, patterns: Mapping[str, Any], value: Any, _schema: Any) -> Iterator[Any]:
        for wanted, inner in patterns.items() if isinstance(value, dict) else ():
            _at_work.get().spend(len(value))
            for name in value:
                if _matches(wanted, name):
                    yield from checker.descend(value[name], inner, path=name, schema_path=wanted)

    def additional_properties(checker: Any, allowed: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        names = list(value) if isinstance(value, dict) else []
        _at_work.get().spend(len(names) * len(schema.get("patternProperties", ())))
        found = [name for name in names if any(_matches(wanted, name) for wanted in schema.get("patternProperties", ()))]
        others = {"properties": {**schema.get("properties", {}), **dict.fromkeys(found, True)}}
        yield from Draft202012Validator.VALIDATORS["additionalProperties"](checker, allowed, value, others)

    def unique_items(_checker: Any, wanted: bool, value: Any, _schema: Any) -> Iterator[Any]:
        if wanted and isinstance(value, list) and len({_identity(item) for item in value}) < len(value):
            yield ValidationError(f"{value!r} has non-unique elements")

    keywords = {"pattern": pattern, "patternProperties": pattern_properties, "uniqueItems": unique_items}
    return extend(Draft202012Validator, {**keywords, "additionalProperties": additional_properties})  # type: ignore[no-untyped-call] # as its stubs are


def _identity(value: Any) -> Any:
    """What two JSON values share only where they are equal: true is not 1, and 1.0 is."""
    if isinstance(value, dict):
        return frozenset((name, _identity(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_identity, value))
    return (value,) if isinstance(value, bool) else value
