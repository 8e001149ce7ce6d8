"""What every test folder may use: hypothesis profiles, and one compiled-guest cache for the whole session."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def guest_cache(tmp_path_factory):
    """A directory for compiled guests: the Python guest takes seconds to compile, so a session does it once."""
    return tmp_path_factory.mktemp("guest-cache")
