from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runloop.events import INLINE_LIMIT, RunIdentity, new_uuid, run_event
from runloop.events import records as r
from runloop.kb.pruning.prune import prune

HASH = "c" * 64
OLD, NEW = 1_000, 9_000
BEFORE = 5_000


def records(run, *, at_ms=OLD, status="succeeded", artifact=None, large=None, key=None, forked_from=None, sources=None, end=True):
    """The records of a small run: submitted, one node with one call, and its end."""
    identity = r.RunStarted("d", {"topic": "piers"}, r.Versions("0"), "local", forked_from=forked_from and r.ForkedFrom(forked_from, 3))
    steps = [
        ("run.submitted", identity),
        ("run.started", identity),
        ("node.started", r.NodeStarted("a", 1, r.AgentRef("writer"))),
        ("effect.requested", r.EffectRequested("a", 1, 1, "kb.search", "read", HASH, {"query": "piers"})),
        ("effect.completed", r.EffectEnded("a", 1, 1, result={"hits": large or "x"})),
    ]
    if artifact is not None:
        steps.append(("artifact.created", r.ArtifactCreated("a", "note", artifact, HASH, HASH, "about piers", sources)))
    steps.append(("node.finished", r.NodeFinished("a", 1, "ok", {"out": [1]}, HASH)))
    if end:
        steps.append(("run.finished", r.RunFinished(status, 5, HASH)))
    events = [run_event(run, seq, kind, meta, "m", ts_ms=at_ms) for seq, (kind, meta) in enumerate(steps, 1)]
    if key is not None:
        events[0] = run_event(run, 1, "run.submitted", identity, "m", ts_ms=at_ms, key=key)
    return events


def identity(parent=None, opening="compose_email"):
    return RunIdentity(new_uuid(), f"trace:{new_uuid()}", f"opening:{new_uuid()}", opening, parent and parent.run_id)


LARGE = "y" * (INLINE_LIMIT + 1)


@pytest.fixture
def signer():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def pruned(kb, signer):
    """Prunes the base; what was done."""

    def do(before_ms=BEFORE, **more):
        plan, done = prune(kb.ledger, before_ms, key=signer, **more)
        return done or plan

    return do


@pytest.fixture
def scratch_dir():
    """A directory in memory where the machine has one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="runloop-prune-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)
