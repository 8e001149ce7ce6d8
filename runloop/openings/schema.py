"""The JSON Schema of an opening's document, for editors; the parser says more, and in better words (docs/openings.md)."""

from __future__ import annotations

from typing import Any

from runloop.openings.clauses import ContractRetry, MergeRule, VoteRule
from runloop.openings.examples import MAX_EXAMPLES, MAX_LENGTH
from runloop.openings.fields import SAFE_INTEGER
from runloop.openings.model import ACTIONS, OnFailure
from runloop.openings.nodes import U32_MAX
from runloop.openings.parse import NAME_BREAKS, NAME_CHARACTERS, VERSION
from runloop.openings.read_clauses import MAX_ITEMS, MAX_OPTIONS, MAX_ROUNDS

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_NAME = {"type": "string", "pattern": r"^[\w-]{1,64}$"}
_DURATION = {"type": "string", "description": "2d, 36h, 1h 30m, 90s or 500ms; or {{params.NAME}}"}
_PORT = {"type": "string", "pattern": r"^[^.]*\..*$"}
_BUDGETS = {"budget_tokens": {"$ref": "#/$defs/count"}, "budget_usd": {"type": "number", "minimum": 0, "maximum": 1_000_000}}


def document_schema() -> dict[str, Any]:
    """A new copy of the schema, draft 2020-12. Whatever the parser accepts satisfies it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Runloop opening",
        **_mapping(
            {
                "version": {"const": VERSION},
                "name": {**_TEXT, "maxLength": NAME_CHARACTERS, "not": {"pattern": NAME_BREAKS}},
                "goals": _TEXTS,
                "examples": {
                    "type": "array",
                    "maxItems": MAX_EXAMPLES,
                    "items": {"type": "string", "maxLength": MAX_LENGTH, "description": "what people say; a slot is {PARAMETER}"},
                },
                "params": {"type": "object", "description": "Values for templates; whoever starts the run may give others."},
                "policy": {"$ref": "#/$defs/policy"},
                "nodes": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/node"}},
                "edges": {"type": "array", "items": {"$ref": "#/$defs/edge"}},
                "success": {"$ref": "#/$defs/success"},
                "artifacts": _mapping({"save": {"type": "array", "items": _PORT}}),
            },
            required=["version", "name", "nodes", "edges"],
        ),
        "$defs": {
            "count": {"type": "integer", "minimum": 0, "maximum": SAFE_INTEGER},
            "some": {"type": "integer", "minimum": 1, "maximum": SAFE_INTEGER},
            "rounds": {"type": "integer", "minimum": 1, "maximum": MAX_ROUNDS},
            "policy": _policy(),
            "node": _node(),
            "edge": _mapping(
                {"from": {**_PORT, "description": "NODE.PORT, or with a guard NODE.PORT OP LITERAL"}, "to": _PORT}, required=["from", "to"]
            ),
            "success": {**_mapping({"any_of": _some(_TEXTS), "all_of": _some(_TEXTS)}), "minProperties": 1, "maxProperties": 1},
            "retry": _retry(),
            "merge": _merge(),
            "wait": {
                **_mapping({"for": _DURATION, "until": {"type": "string", "description": "RFC 3339 with a zone; or {{params.NAME}}"}}),
                "minProperties": 1,
                "maxProperties": 1,
            },
            "for_each": _for_each(),
            "output": _output(),
            "gate": _gate(),
        },
    }


def _policy() -> dict[str, Any]:
    return _mapping(
        {
            **_BUDGETS,
            "timeout_ms": {"$ref": "#/$defs/some"},
            "confirm_external": {"type": "boolean", "default": True},
            "approve_in_advance": {"type": "array", "items": {"enum": list(ACTIONS)}},
            "max_parallel": {"$ref": "#/$defs/some"},
        }
    )


def _node() -> dict[str, Any]:
    clauses = {name: {"$ref": f"#/$defs/{name}"} for name in ("retry", "merge", "wait", "for_each", "output", "gate")}
    return _mapping(
        {
            "id": _NAME,
            "use": {"type": "string", "pattern": r"^\s*(agent:[A-Za-z0-9_-]+(@[A-Za-z0-9_-]+)?|opening:[A-Za-z0-9_-]+)\s*$"},
            "with": {"type": "object"},
            "schema_hints": _mapping({"with": True}),
            "timeout_ms": {"$ref": "#/$defs/some"},
            **_BUDGETS,
            "tags": _TEXTS,
            "on_failure": {"enum": [choice.value for choice in OnFailure], "default": OnFailure.FAIL.value},
            **clauses,
        },
        required=["id", "use"],
    )


def _retry() -> dict[str, Any]:
    return _mapping(
        {
            "max_attempts": {"type": "integer", "minimum": 0, "maximum": U32_MAX},
            "backoff_ms": {"$ref": "#/$defs/count"},
            "initial_ms": {"$ref": "#/$defs/count"},
            "max_ms": {"$ref": "#/$defs/count"},
            "multiplier": {"type": "number", "exclusiveMinimum": 0, "default": 2.0},
            "jitter": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.2},
        }
    )


def _merge() -> dict[str, Any]:
    vote = _mapping(
        {
            "of": {**_TEXT, "description": "PORT or PORT/FIELD"},
            "rule": {"enum": [rule.value for rule in VoteRule]},
            "quorum": {"$ref": "#/$defs/some"},
            "on_tie": {"enum": ["fail", "first"]},
        },
        required=["of"],
    )
    return {
        "oneOf": [
            {"enum": [MergeRule.ALL.value, MergeRule.ANY.value, MergeRule.FIRST_OK.value]},
            _mapping({"at_least": {"$ref": "#/$defs/some"}}, required=["at_least"]),
            _mapping({"vote": vote}, required=["vote"]),
        ]
    }


def _for_each() -> dict[str, Any]:
    return _mapping(
        {
            "in": {**_TEXT, "description": "an input port, or params.NAME"},
            "as": _NAME,
            "width": {"$ref": "#/$defs/some"},
            "max": {"type": "integer", "minimum": 1, "maximum": MAX_ITEMS, "default": 1000},
            "on_failure": {"enum": ["fail", "continue"]},
        },
        required=["in"],
    )


def _output() -> dict[str, Any]:
    return _mapping(
        {
            "port": {**_NAME, "default": "out"},
            "schema": {"type": ["object", "boolean"], "description": "JSON Schema, draft 2020-12"},
            "retry": {"enum": [choice.value for choice in ContractRetry]},
            "attempts": {"$ref": "#/$defs/rounds"},
            "on_exhausted": {"enum": ["fail", "warn"]},
        },
        required=["schema"],
    )


def _gate() -> dict[str, Any]:
    return _mapping(
        {
            "ask": _TEXT,
            "options": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MAX_OPTIONS + 1, "uniqueItems": True},
            "timeout": _DURATION,
            "on_timeout": _TEXT,
            "revise_to": _NAME,
            "max_revisions": {"$ref": "#/$defs/rounds"},
        },
        required=["ask"],
    )


def _mapping(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties, **({"required": required} if required else {})}


def _some(array: dict[str, Any]) -> dict[str, Any]:
    return {**array, "minItems": 1}
