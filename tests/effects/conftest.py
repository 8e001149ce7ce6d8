"""Contexts, capabilities and server processes for the performers."""

import importlib.util
import os
import ssl
import stat
from pathlib import Path

import pytest

from runloop.effects.perform.secrets import SecretHandles, SecretStore
from runloop.effects.types import CallContext, CallError
from runloop.policy import Capabilities

SUPPORT = Path(__file__).parents[1] / "support"


def load(name):
    spec = importlib.util.spec_from_file_location(f"support_{name}", SUPPORT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_ctx():
    def make(caps=None, **over):
        facts = {
            "run_id": "5b2c6a4e-0000-4000-8000-000000000001",
            "node": "n",
            "attempt": 1,
            "call": 1,
            "idempotency_key": "run/n/1",
            "agent": "tester",
            "caps": caps or Capabilities(),
            "taint": frozenset(),
            "now_ms": 1_795_000_000_000,
            "deadline_ms": None,
        }
        return CallContext(**{**facts, **over})

    return make


@pytest.fixture
def crossing():
    """Carry a call through both halves; answers the outcome."""

    async def cross(performer, args, ctx):
        return await performer.perform(performer.prepare(args, ctx), ctx)

    return cross


@pytest.fixture
def refusal():
    """The error in which a call ends, through whichever half."""

    async def refuse(performer, args, ctx):
        with pytest.raises(CallError) as caught:
            await performer.perform(performer.prepare(args, ctx), ctx)
        return caught.value

    return refuse


class Drawer:
    """Secrets in memory."""

    def __init__(self, **values):
        self.values = values

    def get(self, secret_id):
        return self.values.get(secret_id)


@pytest.fixture
def store():
    return SecretStore([Drawer(token="s3cr3t-value-of-the-token", other="other-value")])


@pytest.fixture
def handles(store):
    return SecretHandles(store, lambda name: {"token": ("site.test", "127.0.0.1")}.get(name, ()))


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Paths of a certificate authority and of a server's certificate for site.test and mail.test."""
    return load("certificates").make_authority(tmp_path_factory.mktemp("ca"), ["site.test", "mail.test", "localhost"])


@pytest.fixture(scope="session")
def trusting(authority):
    return lambda: ssl.create_default_context(cafile=str(authority[0]))


@pytest.fixture(scope="session")
def serving():
    return load("processes").serving


@pytest.fixture
def durable(monkeypatch):
    """The names in each directory, by its inode, when they were last made to outlive a loss of power."""
    names, fsync = {}, os.fsync

    def noted(handle):
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            names[found.st_ino] = set(os.listdir(handle))  # noqa: PTH208 - of a descriptor
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    return lambda directory: names.get(directory.stat().st_ino)
