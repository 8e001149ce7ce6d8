import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {path.parent.name for path in (ROOT / "runloop").glob("*/__init__.py")} - {"data"}
ABOVE = {"cli"}
"""May import everything."""


def rules():
    """The packages that each package must not import, as import-linter checks it; rules of single modules come on top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found = {}
    for contract in contracts:
        source, *others = contract["source_modules"]
        name = source.removeprefix("runloop.")
        if not others and "." not in name:
            found[name] = {each.removeprefix("runloop.") for each in contract["forbidden_modules"]} & PACKAGES
    return found


def told():
    """The packages that each package may import, as docs/architecture.md has it."""
    page = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", page[page.index("## Packages") :], re.MULTILINE)
    found = {}
    for name, cell in rows:
        named = set(re.findall(r"`(\w+)`", cell)) & PACKAGES
        found[name] = set(found) - named if cell.startswith("everything") else named
    return found


def test_every_package_has_an_import_rule_that_forbids_all_but_what_the_page_on_architecture_allows():
    allowed = told()
    assert set(allowed) == PACKAGES
    assert rules() == {name: PACKAGES - allowed[name] - {name} for name in PACKAGES - ABOVE}
