"""The reference of errors: no code is missing, none is without what it says and what to do, and what it tells people to type is there."""

import ast
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from docgen import error_table, errors, hints

from runloop.cli.showing import exit_code
from runloop.runs.results import RunResult

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
ROWS = {row[0].strip("` "): [cell.strip() for cell in row[1:]] for line in PAGE.splitlines() if line.startswith("| `")
        for row in [re.split(r"(?<!\\)\|", line)[1:-1]]}  # fmt: skip
RAISED = re.compile(r'\bcode="([a-z]+(?:\.[a-z0-9_]+)+)"')
"""The plainest form of a code in the source, found without the parser that makes the page."""


def test_every_code_that_the_source_raises_is_in_the_reference():
    raised = {code for path in (ROOT / "runloop").rglob("*.py") for code in RAISED.findall(path.read_text(encoding="utf-8"))}
    assert len(raised) > 200
    assert sorted(raised - ROWS.keys()) == []


def test_the_codes_of_openings_are_those_that_their_page_names():
    page = (ROOT / "docs/openings.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"`(opening\.[a-z_]+)`", page)) - ROWS.keys()) == []


@pytest.mark.parametrize("code", [code for code, (exit_code, _, _, places) in ROWS.items() if exit_code == "4" and "`effects/" in places])
def test_a_run_that_fails_over_a_refusal_ends_with_the_exit_code_of_the_reference(code):
    failed = RunResult("", "failed", "refused", code, {}, {})
    assert exit_code(failed, interrupted=False) == 4


def test_every_code_has_what_it_says_and_what_to_do():
    assert [code for code, (_, says, do, _) in ROWS.items() if len(says) < 4 or len(do.replace("…", "").split()) < 2] == []


def test_what_to_do_names_commands_that_there_are():
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    known = {"rlp help", *re.findall(r"^#+ `(rlp [a-z ]+)`", page, re.MULTILINE)}
    named = {found for _, _, do, _ in ROWS.values() for found in re.findall(r"`(rlp [a-z]+(?: [a-z]+)?)(?=[ `])", do)}
    assert sorted(named - known) == []


def test_a_code_without_a_remedy_is_named(monkeypatch):
    real = hints.remedies()
    without = {"says": real["says"], "do": {code: text for code, text in real["do"].items() if code != "guest.fuel"} | {"no.code": "x"}}
    monkeypatch.setattr(error_table, "remedies", lambda: without)
    with pytest.raises(ValueError, match=r"lacks guest\.fuel; no error has the code no\.code"):
        error_table.entries()


def test_functions_of_one_name_in_two_modules_are_told_apart():
    made = "def _refused(message, code) -> {}:\n    ...\n\n\n{}\n"
    trees = {
        "runloop/a.py": ast.parse(made.format("Denied", 'raise _refused("it is so", code="x.one")')),
        "runloop/b.py": ast.parse(made.format("Unavailable", 'raise _refused("it is so", code="x.two")')),
        "runloop/c.py": ast.parse('from runloop.b import _refused as no\nraise no("it is so", code="x.three")\n'),
    }
    found = errors.codes(trees)
    assert {code: place.exit_code for code, (place,) in found.items()} == {"x.one": "4", "x.two": "3", "x.three": "3"}
