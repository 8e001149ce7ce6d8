from __future__ import annotations

import pytest

from runloop.effects.catalogue import CATALOGUE
from runloop.policy import Capabilities, parse_caps
from runloop.testing.grants import denial

EVERYTHING = """
[capabilities]
net = ["api.example"]
exec = { commands = [["git", "log"]] }
kb_read = ["notes", "query"]
kb_write = ["notes"]
spawn = ["agent:writer", "opening:mail"]
secrets = ["s"]
model = true
mail = true
ask = true
"""
CALLS = [
    ("model.complete", {"prompt": "x"}, "model.use"),
    ("model.embed", {"texts": ["x"]}, "model.use"),
    ("kb.search", {"query": "x"}, "kb.read"),
    ("kb.search", {"query": "x", "domains": ["notes"]}, "kb.read"),
    ("kb.get", {"key": "x"}, "kb.read"),
    ("kb.query", {"sql": "SELECT 1"}, "kb.read"),
    ("kb.propose", {"kind": "note.added", "payload": {}}, "kb.write"),
    ("http.fetch", {"url": "https://api.example/"}, "net.http"),
    ("exec.run", {"argv": ["git", "log"]}, "exec.spawn"),
    ("mail.send", {}, "mail.send"),
    ("ask.person", {"question": "x"}, "ask.person"),
    ("secrets.handle", {"name": "s"}, "secrets.get"),
    ("spawn.agent", {"name": "writer"}, "spawn.start"),
    ("spawn.opening", {"name": "mail"}, "spawn.start"),
]


@pytest.mark.parametrize(("call", "args", "cap"), CALLS)
def test_a_call_needs_its_capability(call, args, cap):
    assert denial(parse_caps(EVERYTHING), call, args) is None
    assert denial(Capabilities(), call, args).cap == cap


def test_a_domain_that_is_not_granted_is_denied_beside_one_that_is():
    assert denial(parse_caps(EVERYTHING), "kb.search", {"query": "x", "domains": ["notes", "contacts"]}).target == "contacts"


def test_a_call_without_capability_is_let_through():
    for call in set(CATALOGUE) - {name for name, _, _ in CALLS} - {"files.read", "files.list", "files.write"}:
        assert denial(Capabilities(), call, {}) is None
