from __future__ import annotations

import pytest

from runloop.events import RunIdentity


@pytest.fixture
def run():
    return RunIdentity(
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "trace:7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
        "compose_email",
    )
