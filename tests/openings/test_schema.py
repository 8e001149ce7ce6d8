"""The document's JSON Schema: it knows every key, and never objects to what the parser accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runloop.openings import examine, parse_opening
from runloop.openings.errors import Report
from runloop.openings.fields import to_json
from runloop.openings.nodes import NODE_KEYS, RETRY_KEYS
from runloop.openings.parse import OPENING_KEYS, POLICY_KEYS
from runloop.openings.read_clauses import FOR_EACH_KEYS, GATE_KEYS, MERGE_KEYS, OUTPUT_KEYS, VOTE_KEYS, WAIT_KEYS
from runloop.openings.schema import document_schema
from runloop.openings.yamltree import compose

ROOT = Path(__file__).parents[2]
SCHEMA = document_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def objections(text):
    report = Report()
    value = to_json(compose(text, report), report, "document")
    assert report.problems == []
    return ["/".join(map(str, error.path)) for error in VALIDATOR.iter_errors(value)]


def test_it_is_a_schema_and_published():
    Draft202012Validator.check_schema(SCHEMA)

    published = (ROOT / "docs" / "schemas" / "opening.schema.json").read_text("utf-8")
    assert published == json.dumps(SCHEMA, indent=2, ensure_ascii=False) + "\n", "write it anew: rlp opening schema"


def test_it_knows_every_key_of_the_language_and_no_other():
    def keys(*path):
        schema = SCHEMA
        for step in path:
            schema = schema[step]
        return set(schema["properties"])

    assert keys() == set(OPENING_KEYS)
    merges = SCHEMA["$defs"]["merge"]["oneOf"]
    assert {name for merge in merges for name in merge.get("properties", ())} == set(MERGE_KEYS)
    assert set(merges[2]["properties"]["vote"]["properties"]) == set(VOTE_KEYS)
    expected = {
        "policy": POLICY_KEYS,
        "node": NODE_KEYS,
        "retry": RETRY_KEYS,
        "wait": WAIT_KEYS,
        "gate": GATE_KEYS,
        "for_each": FOR_EACH_KEYS,
        "output": OUTPUT_KEYS,
    }
    assert {name: keys("$defs", name) for name in expected} == {name: set(names) for name, names in expected.items()}


DOCUMENTS = [
    *re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "openings.md").read_text("utf-8"), re.DOTALL),
    *(path.read_text("utf-8") for path in sorted((ROOT / "openings").glob("*.yaml"))),
    *(path.read_text("utf-8") for path in sorted((ROOT / "tests" / "data" / "openings").glob("*.yaml"))),
]


@pytest.mark.parametrize("text", DOCUMENTS)
def test_it_accepts_what_the_parser_accepts(text):
    assert examine(text).problems == ()
    assert objections(text) == []


NODE = "version: 0\nname: t\nnodes: [{{id: a, use: agent:a, {}}}]\nedges: []\n"


@pytest.mark.parametrize(
    "clause",
    [
        "retry: {max_attempts: 0, backoff_ms: 1, max_ms: 0, multiplier: 0.5, jitter: 1}",
        "wait: {for: 2d}",
        "gate: {ask: q, options: [a, b, revise], timeout: 1h, on_timeout: a, revise_to: a, max_revisions: 100}",
        "output: {port: x, schema: true, retry: fresh, attempts: 1, on_exhausted: warn}",
        "timeout_ms: 1, budget_tokens: 0, budget_usd: 0.5, tags: [], on_failure: skip, schema_hints: {with: {}}, with: {}",
    ],
)
def test_it_accepts_every_clause(clause):
    text = NODE.format(clause)

    assert parse_opening(text)
    assert objections(text) == []


@pytest.mark.parametrize(
    ("clause", "path"),
    [
        ("wait: {}", "nodes/0/wait"),
        ("wait: {for: 2d, until: x}", "nodes/0/wait"),
        ("gate: {}", "nodes/0/gate"),
        ("gate: {ask: q, options: []}", "nodes/0/gate/options"),
        ("output: {}", "nodes/0/output"),
        ("for_each: {in: x, width: 0}", "nodes/0/for_each/width"),
        ("merge: some", "nodes/0/merge"),
        ("merge: {at_least: 0}", "nodes/0/merge"),
        ("on_failure: stop", "nodes/0/on_failure"),
        ("unknown: 1", "nodes/0"),
    ],
)
def test_it_objects_where_an_editor_can_help(clause, path):
    assert objections(NODE.format(clause)) == [path]
