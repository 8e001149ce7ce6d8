"""Parameters: the document's values with the caller's over them, and ``{{params.NAME}}`` filled in (spec 8.3).

Only a value that is entirely one template is replaced, by the parameter's typed value. Nothing is ever spliced into a string.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from runloop.openings.fields import SAFE_INTEGER
from runloop.openings.scalars import INT_MAX, INT_MIN, Json
from runloop.openings.yamltree import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES, Fields, Items, Scalar, Weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.openings.errors import Place, Report
    from runloop.openings.yamltree import Tree

_TEMPLATE = re.compile(r"\{\{\s*params\.([A-Za-z0-9_-]+)\s*\}\}")
_BARE = re.compile(r"\{\{\s*([A-Za-z0-9_-]+)\s*\}\}")
_PORT = re.compile(r"\{\{\s*((?!params\.)[\w-]+\.[\w-]+)[^{}]*\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
_SAYS_OF_A_PARAMETER = frozenset(
    {"type", "default", "required", "optional", "description", "title", "help", "label", "enum", "choices", "options", "format", "pattern"}
    | {"minimum", "maximum", "min", "max", "example", "examples", "deprecated", "secret"}
)
"""What other workflow languages write under a parameter, where a value stands here."""


class Params:
    """The merged parameters and their use; counts what templates expand to, so that a small document cannot become a huge one."""

    def __init__(self, values: dict[str, Json], places: Mapping[str, Place], report: Report) -> None:
        self.values = values
        self._places = places
        self._report = report
        self._weights: dict[str, Weight] = {}
        self._braced: dict[str, str | None] = {}
        self._values = 0
        self._characters = 0

    def render(self, tree: Tree, node: str, key: str = "with", depth: int = 1) -> Json:
        """The JSON value of ``tree`` with its templates filled in; every problem stands at the value's own place."""
        if isinstance(tree, Items):
            return [self.render(item, node, key, depth + 1) for item in tree.items]
        if isinstance(tree, Fields):
            for place in tree.odd_keys:
                self._report.add("type", f"keys in {key} must be strings", place, node=node, key=key, hint="quote the key")
            for name, entry in tree.entries.items():
                if _BRACES.search(name):
                    self._report.add("template", f"a key cannot be a template: '{name}'", entry.key_at, node=node, key=name)
            return {name: self.render(entry.value, node, name, depth + 1) for name, entry in tree.entries.items()}
        if tree.fault:
            self._report.add("type", f"unsupported value type for key '{key}': {tree.fault}", tree.at, node=node, key=key)
        if not isinstance(tree.value, str) or not _BRACES.search(tree.value):
            return tree.value
        return self._fill(tree, node, key, depth)

    def _template_hint(self, text: str, node: str, key: str) -> str:
        if (port := _PORT.fullmatch(text.strip())) is not None:
            return f"an edge hands over what a node gave: {{from: {port[1]}, to: {node}.{key}}}"
        if (bare := _BARE.fullmatch(text.strip())) is not None:
            return f'write "{{{{params.{bare[1]}}}}}"' + ("" if bare[1] in self.values else f", and declare it: params: {{{bare[1]}: …}}")
        return "a template is the whole value, not a part of it: hand the parameter over, and let the agent make the text"

    def _fill(self, tree: Scalar, node: str, key: str, depth: int) -> Json:
        match = _TEMPLATE.fullmatch(tree.value.strip())
        if match is None:
            message = f"unsupported template syntax in value '{tree.value}'; only '{{{{params.*}}}}' is allowed"
            self._report.add("template", message, tree.at, node=node, key=key, hint=self._template_hint(tree.value, node, key))
            return tree.value
        name = match[1]
        if name not in self.values:
            message = f"template '{{{{params.{name}}}}}' references missing parameter"
            hint = f"declare it: params: {{{name}: …}}"
            self._report.add("template", message, tree.at, node=node, key=key, hint=hint, near=(name, self.values))
            return None
        if name not in self._weights:
            self._weights[name] = weigh(self.values[name])
            self._braced[name] = _find_braces(self.values[name])
        if (braced := self._braced[name]) is not None:
            at = self._places.get(name, tree.at)
            message = f"embedded template syntax not allowed in parameter value '{braced}'"
            self._report.add(
                "template", message, at, node=node, key=f"params.{name}", hint="parameters are not templates; remove '{{' and '}}'"
            )
        self._expand(name, tree.at, depth)
        return self.values[name]

    def _expand(self, name: str, at: Place, depth: int) -> None:
        weight = self._weights[name]
        self._values += weight.values
        self._characters += weight.characters
        if self._values > MAX_VALUES or self._characters > MAX_CHARACTERS:
            message = f"templates expand to more than {MAX_VALUES} values or {MAX_CHARACTERS} characters"
            size = f"{weight.values} value{'' if weight.values == 1 else 's'} and {weight.characters} characters"
            hint = f"the parameter '{name}' adds {size}: give less, or the path of a file that the agent may read"
            raise self._report.fatal("limit", message, at, hint=hint)
        if depth + weight.height > MAX_DEPTH:
            raise self._report.fatal("limit", f"values are nested more than {MAX_DEPTH} levels deep", at, hint="flatten the value")


def template_name(value: Json) -> str | None:
    """The parameter whose template ``value`` is; None where it is none."""
    match = _TEMPLATE.fullmatch(value.strip()) if isinstance(value, str) else None
    return None if match is None else match[1]


def merge(declared: dict[str, Json], given: Mapping[str, Json] | None, report: Report) -> dict[str, Json]:
    """``given`` over ``declared``; a name that is not declared, or a value of another JSON type than the default, is a problem."""
    merged = dict(declared)
    for name, value in (given or {}).items():
        key = f"params.{name}"
        if name not in declared:
            handed = f'{name}: "{{{{params.{name}}}}}"'
            hint = f"the opening declares none: write params: {{{name}: …}} into it, and {handed} under `with` of a node"
            report.add("param", f"unknown parameter '{name}'", None, key=key, hint=hint, near=(str(name), declared))
            continue
        if _too_many(value):
            message = f"parameter '{name}' has more than {MAX_VALUES} values, which no template takes"
            report.add("limit", message, None, key=key, hint="give less, or the path of a file that the agent may read")
            continue
        try:
            weigh(value)
        except ValueError as error:
            hint = f"give JSON: text in whole characters, finite numbers in range, texts as keys, at most {MAX_DEPTH} levels"
            report.add("param", f"parameter '{name}' {error}", None, key=key, hint=hint)
            continue
        if refuse_inexact(name, value, None, report):
            continue
        wanted, got = json_type(declared[name]), json_type(value)
        if wanted not in ("null", got):
            report.add(
                "param",
                f"parameter '{name}' must be {_a(wanted)}, not {_a(got)}",
                None,
                key=key,
                hint=f"the opening's default is {_shown(declared[name])}{_meant(name, declared[name])}",
            )
            continue
        merged[name] = value
    return merged


def _too_many(value: Json) -> bool:
    """Whether it has more values than templates may expand to; looks at no more of them than that, a level at a time."""
    total, boxes = 1, [value]
    while boxes:
        inner = [box.values() if isinstance(box, dict) else box for box in boxes if isinstance(box, (dict, list))]
        total += sum(map(len, inner))
        if total > MAX_VALUES:
            return True
        boxes = [child for children in inner for child in children]
    return False


def refuse_declaration(name: str, value: Json, at: Place | None, report: Report) -> bool:
    """Whether what stands under a parameter says things of it, as in other languages, and is no value; that is a problem then."""
    if not isinstance(value, dict) or len(value) < 2 or not value.keys() <= _SAYS_OF_A_PARAMETER:
        return False
    if "default" not in value and not isinstance(value.get("required"), bool):
        return False  # a JSON Schema is a value like any other
    message = f"what stands under the parameter '{name}' is its default, and this says what it may be"
    report.add("param", message, at, key=f"params.{name}", hint=_write(name, value) + "; what else there is to say is a comment")
    return True


def _meant(name: str, value: Json) -> str:
    """What to add where a default is not of the wanted type; empty where it is nothing but a value."""
    declares = isinstance(value, dict) and "type" in value and value.keys() <= _SAYS_OF_A_PARAMETER
    return f"; if that should say what it may be, {_write(name, value)}" if declares else ""


def _write(name: str, value: Json) -> str:
    default = value.get("default") if isinstance(value, dict) else None
    return f"write '{name}: {_shown(default)}', for which {'any value' if default is None else 'another value of its type'} can be given"


def refuse_inexact(name: str, value: Json, at: Place | None, report: Report) -> bool:
    """Whether a parameter holds an integer that records cannot keep; that is a problem then."""
    found = _inexact(value)
    if found is None:
        return False
    message = f"parameter '{name}' holds {found}, which is beyond 2^53 - 1: no record keeps it exactly"
    report.add("param", message, at, key=f"params.{name}", hint="give it as text")
    return True


def _inexact(value: Json) -> int | None:
    if isinstance(value, (dict, list)):
        children = value.values() if isinstance(value, dict) else value
        return next((found for child in children if (found := _inexact(child)) is not None), None)
    return value if isinstance(value, int) and abs(value) > SAFE_INTEGER else None


def json_type(value: Json) -> str:
    """The name that JSON gives to the type of ``value``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def weigh(value: Json, depth: int = 0) -> Weight:
    """What ``value`` costs; raises ValueError if it is no JSON value, or one that a run cannot carry."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
    if value is None or isinstance(value, bool):
        return Weight(1, 0, 0)
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("holds half of a surrogate pair")
        return Weight(1, len(value), 0)
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise ValueError("is out of range (-2^63 to 2^64-1)")
        return Weight(1, 0, 0)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("is not a finite number")
        return Weight(1, 0, 0)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("has a key that is not a string")
        return _sum([*(weigh(child, depth + 1) for child in value.values()), Weight(0, sum(map(len, value)), 0)])
    if isinstance(value, list):
        return _sum([weigh(child, depth + 1) for child in value])
    raise ValueError(f"holds a {type(value).__name__}, which is not a JSON value")


def _a(json_type_name: str) -> str:
    if json_type_name == "null":
        return "null"
    return f"{'an' if json_type_name[0] in 'ao' else 'a'} {json_type_name}"


def _sum(weights: list[Weight]) -> Weight:
    return Weight(1 + sum(w.values for w in weights), sum(w.characters for w in weights), 1 + max((w.height for w in weights), default=0))


def _find_braces(value: Json) -> str | None:
    if isinstance(value, str):
        return value if _BRACES.search(value) else None
    children = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for child in children if (found := _find_braces(child)) is not None), None)


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
