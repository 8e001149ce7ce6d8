"""A real daemon, as tests/daemon has it; and a bus without one, for what needs peers that misbehave."""

import importlib.util
import sys
from pathlib import Path

import pytest

from runloop.bus import BusServer
from runloop.client import Client, agent_token
from runloop.config import load

TOKEN = "f" * 64
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))


def loaded(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_daemon = loaded(HERE.parent / "daemon" / "conftest.py", "tests_daemon_conftest")
daemon, running, words = _daemon.daemon, _daemon.running, _daemon.words
pytest_runtest_makereport = _daemon.pytest_runtest_makereport


@pytest.fixture(scope="session")
def daemon_tools():
    """What tests/daemon makes daemons with."""
    return _daemon


class Bus:
    """A bus on a socket that can be stopped and started again, and clients of it."""

    def __init__(self, root):
        self.path = root / "bus" / "rmp.sock"
        self.settings = load(env={"HOME": str(root)})
        self.server = None

    async def start(self, **options):
        self.server = BusServer(token=TOKEN, **options)
        await self.server.start(self.path)
        return self.server

    async def stop(self):
        if self.server is not None:
            await self.server.close()

    def client(self, **options):
        """An operator, or with ``agent`` an agent that has its token."""
        token = TOKEN if options.get("agent") is None else agent_token(TOKEN, options["agent"])
        return Client(self.path, settings=self.settings, **{"token": token, **options})


@pytest.fixture
async def bus(tmp_path):
    made = Bus(tmp_path)
    await made.start()
    yield made
    await made.stop()
