"""What is said where the plan itself ended a node or a run."""

import json
import re
from pathlib import Path

import pytest

from runloop import openings
from runloop.openings.remedies import HINTS, RUN_TIMEOUT, SAME_AGAIN
from runloop.openings.schema import document_schema

LANGUAGE = set(re.findall(r'"(\w+)": ', json.dumps(document_schema())))
PACKAGE = "".join(path.read_text() for path in Path(openings.__file__).parent.glob("*.py") if path.name != "remedies.py")


@pytest.mark.parametrize("hint", [*HINTS.values(), RUN_TIMEOUT, SAME_AGAIN])
def test_a_hint_names_keys_that_an_opening_has(hint):
    assert set(re.findall(r"\b[a-z]+_[a-z_]+\b", hint)) <= LANGUAGE


@pytest.mark.parametrize("code", HINTS)
def test_a_hint_is_for_a_code_that_a_plan_gives(code):
    assert f'"{code}"' in PACKAGE
