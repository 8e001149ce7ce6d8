"""A provider process for the whole folder, and brokers that talk to it without waiting in earnest."""

import importlib.util
from pathlib import Path

import pytest

from runloop.models.broker import Broker
from runloop.models.budget import Budget
from runloop.models.settings import ModelSettings, ProviderKind, ProviderSettings
from runloop.models.transport import Hooks

SUPPORT = Path(__file__).parents[1] / "support"


def load(name):
    spec = importlib.util.spec_from_file_location(f"support_{name}", SUPPORT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def provider_process():
    with load("processes").serving("model_server.py", "--port", "0") as server:
        yield server


@pytest.fixture(scope="session")
def certificates():
    return load("certificates")


@pytest.fixture
def server(provider_process):
    provider_process.reset()
    return provider_process


class Naps:
    """Takes the place of sleeping and of chance; keeps what would have been slept, in seconds."""

    def __init__(self):
        self.taken = []

    async def sleep(self, seconds):
        self.taken.append(seconds)

    def hooks(self, wall=0.0):
        return Hooks(sleep=self.sleep, jitter=lambda: 1.0, wall=lambda: wall)


@pytest.fixture
def naps():
    return Naps()


SECRET = "sk-very-secret-4711"


@pytest.fixture
async def make_broker(server, naps):
    """Make a broker on the provider process: ``make_broker(**settings)``; provider ids are openai, ollama, anthropic."""
    brokers = []

    async def secrets(secret_id):
        return {"models/key": SECRET}.get(secret_id)

    def make(*, wall=0.0, now=None, secret_id="models/key", base=None, provider=None, secrets=secrets, **settings):
        kinds = {"openai": ProviderKind.OPENAI_CHAT, "ollama": ProviderKind.OLLAMA, "anthropic": ProviderKind.ANTHROPIC}
        providers = tuple(ProviderSettings(name, kind, base or server.url, secret_id, **(provider or {})) for name, kind in kinds.items())
        options = {} if now is None else {"now": now}
        broker = Broker(ModelSettings(**{"providers": providers, **settings}), secrets, hooks=naps.hooks(wall), **options)
        brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        await broker.aclose()


@pytest.fixture
def unlimited():
    return Budget()
