"""A real run's records (a letter: two agents read, one asks for a colour, one sends a mail that waits for a person), and a desk."""

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parent.parent / "data" / "tui"


@pytest.fixture(scope="session")
def records():
    return [json.loads(line) for line in (DATA / "letter.ndjson").read_text().splitlines()]


@pytest.fixture(scope="session")
def waiting(records):
    """The records until the mail waits."""
    return records[:18]
