"""What every test folder may use: hypothesis profiles, and one compiled-guest cache for the whole session."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.pop("PYTHONUNBUFFERED", None)  # with it no process would find out only at its end that its output cannot be written

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def guest_cache(request):
    """The compiled guests are kept between test runs, as XDG_CACHE_HOME of a person's would: their cache finds out what is stale."""
    directory = request.config.cache.mkdir("runloop-compiled")
    directory.chmod(0o700)  # the cache refuses a directory that others may read
    return directory


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A directory that nobody may look into (the tests may run as root, who may)."""
    place, real = tmp_path / "closed", Path.stat

    def stat(self, **how):
        if self.is_relative_to(place):
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, **how)

    monkeypatch.setattr(Path, "stat", stat)
    return place


class _Said(logging.Handler):
    """What asyncio says went wrong where nobody waits: a callback's exception, a task's that nobody retrieved."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.messages = []

    def emit(self, record):
        self.messages.append(self.format(record))


@pytest.fixture(autouse=True)
def nothing_fails_unseen():
    """A test fails with what went wrong in an event loop of its process, though nobody waited for it."""
    said, logger = _Said(), logging.getLogger("asyncio")
    logger.addHandler(said)
    yield
    logger.removeHandler(said)
    assert said.messages == []
