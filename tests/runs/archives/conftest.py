"""A run with a child run, a large value and a failed node, and archives of it."""

from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runloop.runs.archives.making import make_archive

RELAY = """@agent
def run(topic='tea'):
    said = model.complete('write to ada@example.org about ' + topic, max_tokens=31337).text
    return {'out': {'said': said, 'long': 'é' * 20000}}
"""
INNER = 'version: 0\nname: inner\nnodes: [{id: only, use: "agent:quiet"}]\nedges: []\n'
OUTER = """version: 0
name: outer
params: {topic: secret plan}
nodes:
  - {id: talk, use: "agent:relay", with: {topic: "{{params.topic}}"}}
  - {id: below, use: "opening:inner"}
  - {id: fails, use: "agent:broken", on_failure: continue}
edges: []
"""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def recorded(bench):
    """Opens a bench in which one such run was made: ``async with recorded() as (b, run_id)``."""

    @asynccontextmanager
    async def make():
        async with bench() as b:
            b.agent("relay", RELAY, caps="model = true")
            b.agent("quiet", "@agent\ndef run():\n    return {'out': 7}\n")
            b.agent("broken", "@agent\ndef run():\n    raise ValueError('a secret reason')\n")
            b.openings["inner"] = INNER
            result = await b.run(OUTER)
            yield b, result.run_id

    return make


@pytest.fixture
def archived():
    """Makes archives: ``archived(b, run_id, select=…, redact=…, key=…)``."""

    def make(b, run_id, **options):
        def bundle_of(name, variant, digest):
            bundle = b.services.resolve_agent(name, variant)
            return bundle if bundle.digest == digest else None

        return make_archive(b.ledger, run_id, ledger_id=b.ledger.id, bundle_of=bundle_of, **{"key": KEY, **options})

    return make


@pytest.fixture
def public_key():
    return KEY.public_key().public_bytes_raw().hex()
