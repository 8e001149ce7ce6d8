from __future__ import annotations

import json

import pytest

from runloop.bundles.errors import BundleInvalid
from runloop.bundles.tools import read_tools

EXEC = {"id": "ls", "description": "Lists.", "transport": {"kind": "exec", "command": "ls", "args": []}}
HTTP = {
    "id": "get",
    "description": "Gets.",
    "transport": {"kind": "http", "method": "GET", "url": "https://x", "headers": {}},
    "input_schema": {},
    "result_schema": True,
    "schema_refs": {},
    "capabilities": [],
    "secrets": [],
    "budget": {"tokens": 1},
    "requires_confirmation": False,
    "observability": {"tags": []},
}


def write(*tools, version=1, **more):
    return json.dumps({"version": version, "tools": list(tools), **more})


def test_a_file_of_every_key_is_read():
    assert read_tools(write(EXEC, HTTP)) == (EXEC, HTTP)
    assert read_tools(write()) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON: Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "values are nested too deeply"),
        ("[]", "it must be an object"),
        (write(version=2), "unsupported tools.json version 2 (expected 1)"),
        (write(version=True), "unsupported tools.json version True (expected 1)"),
        ("{}", "unsupported tools.json version None (expected 1)"),
        (write(verison=1), "unknown key 'verison'"),
        ('{"version": 1, "tools": {}}', "tools must be a list"),
        (write(3), "tool #0: it must be an object"),
        (write(EXEC, {**EXEC, "id": " "}), "tool #1: tool id cannot be empty"),
        (write({**EXEC, "description": 1}), "tool #0: tool description cannot be empty"),
        (write({**EXEC, "descripton": ""}), "tool #0: unknown key 'descripton'"),
        (write({**EXEC, "secrets": {}}), "tool #0: secrets has the wrong type"),
        (write({**EXEC, "transport": None}), "tool #0: transport must have the kind exec or http"),
        (write({**EXEC, "transport": {"kind": "ftp"}}), "tool #0: transport must have the kind exec or http"),
        (write({**EXEC, "transport": {"kind": "exec"}}), "tool #0: exec transport requires a command"),
        (write({**EXEC, "transport": {"kind": "http", "url": "x"}}), "tool #0: http transport requires a method"),
        (write({**EXEC, "transport": {"kind": "http", "method": "GET", "url": ""}}), "tool #0: http transport requires a url"),
        (write({**EXEC, "transport": {"kind": "exec", "command": "x", "url": ""}}), "tool #0: transport: unknown key 'url'"),
        (write(EXEC, EXEC), "tool #1: the id 'ls' is there twice"),
    ],
    ids=range(20),
)
def test_a_faulty_file_is_refused_with_the_tool_and_the_fault(text, message):
    with pytest.raises(BundleInvalid) as caught:
        read_tools(text, file="tools.json")
    assert caught.value.message == message
    assert caught.value.where.file == "tools.json"


def test_a_syntax_error_has_its_place():
    with pytest.raises(BundleInvalid) as caught:
        read_tools('{\n  "version": x}', file="tools.json")
    assert str(caught.value.where) == "tools.json:2:14"


def test_a_file_beyond_the_limit_is_not_read(monkeypatch):
    monkeypatch.setattr("runloop.bundles.tools.MAX_BYTES", 5)
    with pytest.raises(BundleInvalid, match="larger than 5 bytes"):
        read_tools(write())
