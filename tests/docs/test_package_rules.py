import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRONT_ENDS = {"cli", "testing"}


def test_every_package_has_an_import_rule_that_names_every_package_it_must_not_import():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    packages = {path.parent.name for path in (ROOT / "runloop").glob("*/__init__.py")} - {"data"}
    ruled = {contract["source_modules"][0].removeprefix("runloop."): contract for contract in contracts if ":" in contract["name"]}
    ruled = {name: contract for name, contract in ruled.items() if "." not in name}  # rules of single modules come on top
    assert sorted(packages - set(ruled) - FRONT_ENDS) == []
    for name, contract in ruled.items():
        assert {f"runloop.{front}" for front in FRONT_ENDS - {name}} <= set(contract["forbidden_modules"]) | {"runloop.testing"}
