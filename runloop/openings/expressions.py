"""Guards on edges and success expressions: grammar and evaluation (spec 8.2 and 9.1).

::

    ref     := node "." port
    guarded := ref [ op literal ]
    expr    := "exists(" ref ")" | ref op literal
    op      := ">=" | "<=" | "==" | "!=" | ">" | "<"
    literal := "true" | "false" | integer | float | '"' text '"'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from operator import eq, ge, gt, le, lt, ne
from typing import TypeAlias

from runloop.dataclass import dataclass
from runloop.openings.scalars import Json
from runloop.patterns import lazy

Ports: TypeAlias = Mapping[str, Sequence[Json]]
"""What a node produced: every port with its values, in order."""

Literal: TypeAlias = bool | int | float | str

EPSILON = 2.220446049250313e-16
"""Floats nearer than this are equal (spec 9.1: machine epsilon)."""

_OPERATOR = lazy(r">=|<=|==|!=|>|<")
_INTEGER = lazy(r"[-+]?[0-9]{1,60}")
_FLOAT = lazy(r"[-+]?(?:inf|infinity|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?)", re.IGNORECASE)
_NAME = lazy(r"[\w-]{1,64}")
_TEXT = lazy(r'"[^"]*"')
_QUOTED = lazy(r""""[^"]*"|'[^']*'|\u201c[^\u201d]*\u201d""")
_JOINED = lazy(r"(?:(?<![\w.-])(?:and|or)\s+|&&\s*|\|\|\s*)(?:not\b|exists\s*\(|[\w-]+\.)", re.IGNORECASE)
_ONE_EACH = "write two edges to the node, or two entries of 'any_of' or 'all_of'"
_TEMPLATE = lazy(r"\{\{\s*params\.")
_FIXED = "write the value itself, or hand the parameter to the agent under 'with', and let it give true or false"
NOT_INSIDE = "a port is a whole: what stands inside a value is no port"
_NO_INPUT = "'{0}' has no port: name the one that gets the value, an argument of the agent; '{0}.in' gets none and only orders"
TYPOGRAPHIC = str.maketrans("", "", "\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a")
"""Takes away the quotes that word processors make."""
_ORDER: dict[str, Callable[..., bool]] = {"==": eq, "!=": ne, ">": gt, ">=": ge, "<": lt, "<=": le}


class ExpressionError(ValueError):
    """The text is not an expression of the grammar; ``hint`` says what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class PortRef:
    """A port of a node."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison with a literal; it holds for a port if any value satisfies it."""

    op: str
    literal: Literal

    def __str__(self) -> str:
        return f"{self.op} {_shown(self.literal)}"

    @property
    def json_literal(self) -> Literal:
        """The literal as a JSON value: infinities and NaN, which JSON lacks, as text."""
        return str(self.literal) if isinstance(self.literal, float) and not isfinite(self.literal) else self.literal

    def holds(self, values: Sequence[Json] | None) -> bool:
        """Whether any of ``values`` satisfies the comparison; None (no such port) does not."""
        return values is not None and any(satisfies(value, self.op, self.literal) for value in values)


@dataclass(frozen=True, slots=True)
class Expression:
    """``exists(ref)`` where ``condition`` is None, else a comparison on the port's values."""

    ref: PortRef
    condition: Condition | None

    def __str__(self) -> str:
        return f"exists({self.ref})" if self.condition is None else f"{self.ref} {self.condition}"

    def holds(self, outputs: Mapping[str, Ports]) -> bool:
        """Whether it holds on what the nodes produced."""
        values = outputs.get(self.ref.node, {}).get(self.ref.port)
        return bool(values) if self.condition is None else self.condition.holds(values)


def valid_name(name: str) -> bool:
    """Whether ``name`` can be a node id or a port: 1 to 64 letters, digits, ``_`` or ``-``."""
    return _NAME.fullmatch(name) is not None


def parse_ref(text: str, *, into: bool = False) -> PortRef:
    """``<node>.<port>``, of an input with ``into``; raises ExpressionError, whose hint says what to write where there is none."""
    node, dot, port = text.strip().partition(".")
    node, port = node.strip(), port.strip()
    if not dot:
        raise ExpressionError(
            "port reference must be of the form '<node>.<port>'",
            "" if not node else _NO_INPUT.format(node) if into else f"'{node}' has no port; the usual one is '{node}.out'",
        )
    if not node or not port:
        raise ExpressionError("node and port identifiers must be non-empty")
    for name in (node, port):
        if not valid_name(name):
            raise ExpressionError(f"'{name}' is not an identifier; use letters, digits, '-' or '_'", _hint_of_name(name))
    return PortRef(node, port)


def parse_guarded(text: str) -> tuple[PortRef, Condition | None]:
    """An edge's ``from``: a port, perhaps with a guard; raises ExpressionError."""
    _refuse_joined(text)
    split = _OPERATOR.search(text)
    try:
        if split is None:
            return parse_ref(text), None
        return parse_ref(text[: split.start()]), _condition(split[0], text[split.end() :])
    except ExpressionError as error:
        raise ExpressionError(str(error), _meant(text) or error.hint) from None


def parse_expression(text: str) -> Expression:
    """A success expression; raises ExpressionError."""
    stripped = text.strip()
    _refuse_joined(stripped)
    if stripped.startswith("exists(") and stripped.endswith(")"):
        return Expression(parse_ref(stripped[len("exists(") : -1]), None)
    ref_and_condition = parse_guarded(stripped) if _OPERATOR.search(stripped) else None
    if ref_and_condition is None:
        raise ExpressionError(
            "comparison expression must include an operator (==, !=, >, >=, <, <=)",
            _meant(stripped) or f"to ask whether the port has a value, write exists({stripped.partition(' ')[0]})",
        )
    return Expression(*ref_and_condition)


def parse_literal(text: str) -> Literal:
    """``true``, ``false``, a number or a quoted string; raises ExpressionError."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        if _TEMPLATE.search(text):
            raise ExpressionError("a comparison is with a fixed value, no template is filled in here", _FIXED)
        return text[1:-1]
    bare = (text[1:-1] if len(text) >= 2 and text[0] == text[-1] == "'" else text).translate(TYPOGRAPHIC)
    raise ExpressionError(
        "unsupported literal value; use booleans, numbers, or quoted strings",
        f'write "{bare}" in double quotes if it is text' if bare and '"' not in bare else "",
    )


def satisfies(value: Json, op: str, literal: Literal) -> bool:
    """Whether ``value op literal``; values of another type than the literal never do.

    Integers compare exactly. If either side is a float both are compared as floats, equal within EPSILON; NaN is unequal to everything.
    Strings compare by code point. Booleans know only ``==`` and ``!=``.
    """
    if isinstance(literal, bool) or isinstance(value, bool):
        return isinstance(literal, bool) and isinstance(value, bool) and op in ("==", "!=") and _ORDER[op](value, literal)
    if isinstance(literal, str):
        return isinstance(value, str) and _ORDER[op](value, literal)
    if not isinstance(value, (int, float)):
        return False
    if isinstance(value, int) and isinstance(literal, int):
        return _ORDER[op](value, literal)
    left, right = _as_float(value), _as_float(literal)
    if left == right or abs(left - right) <= EPSILON:
        return op in ("==", ">=", "<=")
    return _ORDER[op](left, right)


def _hint_of_name(name: str) -> str:
    if "{" in name or "}" in name:
        return "write it without braces: NODE.PORT; templates stand in 'with' and in clauses"
    return NOT_INSIDE if "." in name else ""


def _meant(text: str) -> str:
    from runloop.openings.elsewhere import meant_in_expression

    return meant_in_expression(_QUOTED.sub('""', text))


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _refuse_joined(text: str) -> None:
    """Raise where two conditions stand in one, which a text in quotes would else swallow: ``a.b == "x" and c.d == "y"``."""
    if (joined := _JOINED.search(_TEXT.sub('""', text))) is not None:
        word = joined[0].partition(" ")[0]
        raise ExpressionError(f"'{word}' joins two conditions, and each stands for itself", _ONE_EACH)


def _condition(op: str, literal_text: str) -> Condition:
    literal = parse_literal(literal_text)
    if isinstance(literal, bool) and op not in ("==", "!="):
        raise ExpressionError(f"'{op}' cannot compare booleans, so it never holds", "use == or !=")
    return Condition(op, literal)


def _shown(literal: Literal) -> str:
    if isinstance(literal, bool):
        return "true" if literal else "false"
    return f'"{literal}"' if isinstance(literal, str) else repr(literal)
