"""JSON Schemas, derived from the registry: one per kind, and the published schema of a run record."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import msgspec

from runloop.events.ids import UUID_PATTERN
from runloop.events.kinds import KINDS, Kind, is_run_payload, kind_of, payload_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ID = "https://runloop.local/schemas/"


def _components(types: Sequence[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """The schemas of the types and of what they are made of, the same whether or not this Python keeps the indentation of docstrings."""
    from inspect import cleandoc

    schemas, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for each in definitions.values():
        if "description" in each:
            each["description"] = cleandoc(each["description"])
    return schemas, definitions


@functools.cache
def payload_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a kind's stored payload; a kind with two forms takes either."""
    kind = kind_of(name)
    forms = [payload_type(kind, run=run) for run in (True, False) if (kind.meta if run else kind.payload) is not None]
    schemas, definitions = _components(forms)
    body = schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}
    schema = {
        "$schema": DIALECT,
        "$id": f"{_ID}{name}.v{kind.version}.json",
        "title": name,
        "description": kind.doc,
        **body,
        "$defs": definitions,
    }
    if name == "contact.upserted":
        evidence = definitions["ContactUpserted"]["properties"]["evidence"]
        next(form for form in evidence["anyOf"] if form.get("type") == "array")["uniqueItems"] = True
    return schema


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of every kind that is stored."""
    return {name: payload_schema(name) for name, kind in KINDS.items() if not kind.live}


@functools.cache
def record_schema() -> dict[str, Any]:
    """The JSON Schema of a run record as it is printed, published and attached to: the outer keys, and ``meta`` by kind."""
    run_kinds = [kind for kind in KINDS.values() if kind.meta is not None]
    metas, definitions = _components([kind.meta for kind in run_kinds])
    uuid_form = {"type": "string", "pattern": f"^{UUID_PATTERN}$"}
    outer: dict[str, Any] = {
        "v": {"const": 1, "description": "Version of this schema."},
        "seq": {"type": "integer", "minimum": 0, "description": "From 1, dense per run; live records repeat the last stored one."},
        "ts_ms": {"type": "integer", "description": "Unix time in milliseconds."},
        "run_id": uuid_form,
        "trace_id": {"type": "string", "pattern": f"^trace:{UUID_PATTERN}$"},
        "opening_id": {"type": "string", "pattern": f"^opening:{UUID_PATTERN}$"},
        "opening_name": {"type": "string"},
        "parent_run_id": {"anyOf": [uuid_form, {"type": "null"}]},
        "kind": {"enum": [kind.name for kind in run_kinds]},
        "level": {"enum": ["debug", "info", "warn", "error"]},
        "message": {"type": "string", "pattern": r"^[^\n\r]*$", "description": "One line for people."},
        "meta": {"type": "object", "description": "By kind."},
        "event_id": {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}],
            "description": "The ledger's event; null for live records.",
        },
    }
    live, stored = {"event_id": {"type": "null"}}, {"event_id": {"type": "integer"}, "seq": {"minimum": 1}}
    rules = [
        {
            "if": {"properties": {"kind": {"const": kind.name}}},
            "then": {"description": kind.doc, "properties": {"meta": meta, **(live if kind.live else stored)}},
        }
        for kind, meta in zip(run_kinds, metas, strict=True)
    ]
    return {
        "$schema": DIALECT,
        "$id": f"{_ID}run-record.v1.json",
        "title": "Run record",
        "description": "One line of `rlp run --json`, one message of a run's topic, one event of a run in the ledger.",
        "type": "object",
        "additionalProperties": False,
        "required": list(outer),
        "properties": outer,
        "allOf": rules,
        "$defs": definitions,
    }


def record_schema_text() -> str:
    """The published file, byte for byte."""
    return json.dumps(record_schema(), indent=2, ensure_ascii=False) + "\n"


def violations(kind: Kind, payload: Mapping[str, Any]) -> list[str]:
    """Every way in which the payload breaks its kind's schema, as ``path: message``."""
    from jsonschema import Draft202012Validator

    schema = payload_schema(kind.name)
    if "oneOf" in schema:
        chosen = schema["oneOf"][0 if is_run_payload(kind, payload) else 1]
        schema = {**{key: value for key, value in schema.items() if key != "oneOf"}, **chosen}
    found = sorted(Draft202012Validator(schema).iter_errors(dict(payload)), key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{'.'.join(map(str, error.absolute_path)) or '(root)'}: {error.message}" for error in found]
