"""The published pages about events, made from the registry: `python -m runloop.events.reference [--check]` in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from runloop.events.ids import UUID_PATTERN
from runloop.events.kinds import KINDS, VERSION_KEY, Kind
from runloop.events.runrecord import OUTER_KEYS
from runloop.events.schema import payload_schema, record_schema, record_schema_text

ROOT = Path(__file__).parents[2]

_INTRODUCTION = """# Events and run records

<!-- Made by `python -m runloop.events.reference`; edit that module or the kinds in `runloop/events`. -->

Everything that happens is an **event** in one append-only, hash-chained file, the ledger (`events.sqlite`). Events of a run are
**run records**; the same record is a line of `rlp run --json`, a message on the run's topic and a row of the ledger. The JSON Schema of
a record is [run-record.schema.json](schemas/run-record.schema.json).

## A run record

One JSON object a line (NDJSON, UTF-8). The outer keys are always there, all of them:
"""

_AFTER_KEYS = """
Stored records have an `event_id` and count `seq` from 1 without gaps. Live records (`node.progress`, `effect.delta`) are shown and not
kept: their `event_id` is `null`, their `seq` repeats that of the last stored record, and they may be dropped. A run that ended has
exactly one `run.finished`, and it is its last record. Optional fields of `meta` that have nothing to say are left out.

A value of `meta` whose canonical JSON is larger than 16 KiB is stored once as a blob and stands in the record as
`{"$blob": "<BLAKE3>", "bytes": n}`; only fields marked *blob* below can be one. Data that has a key `$blob` or `$data` at such a place
is wrapped as `{"$data": …}`, so the two cannot be confused.

## Hashes

All hashes are BLAKE3 over canonical JSON (RFC 8785); integers beyond ±(2^53-1), NaN and infinities are refused.

* `content_hash`: of `{"actor", "kind", "payload", "provenance", "scope"}`. It names what an event says, not when.
* `chain_hash`: of the previous event's chain hash, the event's id, time, content hash and idempotency key. It fixes the event's place.
* `outputs_hash`: for ports sorted by name, the name's bytes and then the canonical JSON of each value.
* `final_hash`: for nodes in the order of the opening, the bytes of the outputs hash and the text of the error, of those that have one.

`rlp kb verify` recomputes them all and names the first event that was changed, moved, lost or cut off. Cutting off the end is noticed
because the head is kept beside the events and again in `pog.sqlite`. Somebody who can write both files can still make up a whole new
history: note the head that `rlp kb verify` prints somewhere else, and check it later with `--head`.

## Versions and erased events

Every kind has a version. The payload of version 1 is as it always was; a later one carries `"$v": n`. What is stored is never rewritten:
an older payload is brought up when it is read (`runloop/events/upcast.py`); one of a
version that the program does not know is set aside.

An event whose content was erased keeps its place and both hashes; its payload is `{"$erased": "<erasure>"}`, or, in a record of a run,
has that key and texts that were taken out; of a fact that has later values it keeps what names it (`subject` and `predicate`, or
`fact`). A later `events.erased` names it, and `rlp kb verify` accepts nothing else.

## Kinds of run records
"""

_OTHER = """## Other events

What was learned or done outside of a run; these have only a payload.
"""


def events_page() -> str:
    """The text of docs/events.md."""
    record = record_schema()
    lines = [_INTRODUCTION, "| key | form |", "|---|---|"]
    lines += [f"| `{key}` | {_form(record['properties'][key], record)} |" for key in OUTER_KEYS]
    lines.append(_AFTER_KEYS)
    metas = {rule["if"]["properties"]["kind"]["const"]: rule["then"]["properties"]["meta"] for rule in record["allOf"]}
    for kind in KINDS.values():
        if kind.meta is not None:
            lines += _kind_section(kind, _resolve(metas[kind.name], record), record, [path[1] for path in kind.blob_fields])
    lines.append(_OTHER)
    for kind in KINDS.values():
        if kind.payload is not None:
            schema = payload_schema(kind.name)
            body = schema["oneOf"][1] if "oneOf" in schema else schema
            lines += _kind_section(kind, _resolve(body, schema), schema, [path[0] for path in kind.blob_fields if kind.meta is None])
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[Path, str]:
    """Every published file with its text."""
    return {
        ROOT / "docs/events.md": events_page(),
        ROOT / "docs/schemas/run-record.schema.json": record_schema_text(),
        ROOT / "runloop/events/run-record.schema.json": record_schema_text(),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name those that are out of date (exit code 1)."""
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{'out of date' if '--check' in arguments else 'written'}: {path.relative_to(ROOT)}\n")
    return 1 if stale and "--check" in arguments else 0


def _kind_section(kind: Kind, schema: dict[str, Any], root: dict[str, Any], blobs: list[str]) -> list[str]:
    live = " Live only." if kind.live else ""
    lines = [f"### {kind.name}\n", f"{kind.doc}{live} {_version(kind)}\n", "| field | form |", "|---|---|"]
    required = schema.get("required", [])
    for name, form in schema["properties"].items():
        notes = [_form(form, root), *(["optional"] if name not in required else []), *(["*blob*"] if name in blobs else [])]
        lines.append(f"| `{name}` | {', '.join(notes)} |")
    return [*lines, ""]


def _version(kind: Kind) -> str:
    return (
        f"Version {kind.version}."
        if kind.version == 1
        else f'Version {kind.version}; the stored payload has `"{VERSION_KEY}": {kind.version}`.'
    )


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _form(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """A schema in a few words."""
    schema = _resolve(schema, root)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_form(each, root) for each in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    form = str(schema.get("type", "any JSON"))
    if form == "array":
        return f"list of {_form(schema.get('items', {}), root)}"
    if form == "object" and "properties" in schema:
        return "{" + ", ".join(f"`{name}`" for name in schema["properties"]) + "}"
    limits = [f"from {schema['minimum']}" if "minimum" in schema else "", f"to {schema['maximum']}" if "maximum" in schema else ""]
    if "pattern" in schema:
        limits.append(f"`{schema['pattern']}`".replace(UUID_PATTERN, "UUID").replace("|", "\\|"))
    return " ".join(part for part in (form, *limits) if part)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
