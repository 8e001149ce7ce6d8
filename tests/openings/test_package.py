"""What `runloop.openings` shows, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import runloop.openings
from runloop.openings.errors import Place
from runloop.openings.fields import place_at
from runloop.openings.yamltree import Fields, compose


def test_every_name_that_is_offered_is_there():
    assert all(getattr(runloop.openings, name) is not None for name in runloop.openings.__all__)
    assert sorted(runloop.openings._HOMES) == sorted(runloop.openings.__all__)
    assert callable(runloop.openings.check)


def test_a_name_that_is_not_offered_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'runloop\.openings' has no attribute 'nothing'"):
        runloop.openings.nothing  # noqa: B018


@pytest.mark.parametrize(
    "statement", ["import runloop.openings", "from runloop.openings import Plan, Opening", "import runloop.openings.states"]
)
def test_the_plan_is_imported_without_a_yaml_library_or_a_schema_validator(statement):
    code = f"{statement}; import sys; print(sorted({{'yaml', 'jsonschema', 'difflib', 'asyncio'}} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_reading_an_opening_without_hints_does_not_import_the_schema_validator(base):
    code = f"from runloop.openings import parse_opening; parse_opening({base!r}); import sys; print('jsonschema' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("path", "place"),
    [((), (1, 1)), (("a",), (1, 4)), (("a", 1), (1, 8)), (("a", 1, "b"), (1, 12)), (("a", 7), (1, 4)), (("zz", 1), (1, 1)), ((0,), (1, 1))],
)
def test_a_json_path_leads_to_the_place_of_the_nearest_value(path, place):
    tree = compose("a: [1, {b: 2}]", runloop.openings.errors.Report())
    assert isinstance(tree, Fields)
    assert place_at(tree, path) == Place(*place)
