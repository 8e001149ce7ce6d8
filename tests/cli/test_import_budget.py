"""What `rlp` imports before it has something to do. Modules are counted, never time."""

import json
import subprocess
import sys

import pytest

from runloop.kb import KnowledgeBase

HEAVY = (
    "wasmtime",
    "textual",
    "keyring",
    "apsw",
    "asyncio",
    "pydantic",
    "typer",
    "rich",
    "yaml",
    "httpx2",
    "msgspec",
    "msgpack",
    "jsonschema",
)
PROBE = "import json, sys; from runloop.cli.main import main; main({arguments!r}); print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def modules(arguments, tmp_path):
    result = subprocess.run(
        [sys.executable, "-I", "-c", PROBE.format(arguments=arguments)],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(result.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["--help"], []])
def test_version_and_help_import_nothing_heavy_and_no_verb(arguments, tmp_path):
    loaded = modules(arguments, tmp_path)
    assert [name for name in HEAVY if name in loaded] == []
    ours = {name for name in loaded if name.startswith("runloop")}
    allowed = {
        "runloop",
        "runloop.errors",
        "runloop.text",
        "runloop.cli",
        "runloop.cli.main",
        "runloop.cli.context",
        "runloop.cli.output",
        "runloop.cli.version",
    }
    assert ours <= allowed


def test_config_imports_settings_and_typer_but_nothing_that_works(tmp_path):
    loaded = modules(["config", "show", "--json"], tmp_path)
    assert [name for name in HEAVY if name in loaded and name not in ("typer", "pydantic")] == []  # typer needs pydantic to run a command
    packages = {name.split(".")[1] for name in loaded if name.startswith("runloop.")}
    assert packages <= {"cli", "config", "errors", "text"}


@pytest.mark.parametrize("arguments", [["runs", "--json"], ["show", "last"], ["logs", "last"]])
def test_reading_runs_where_no_daemon_listens_imports_no_loop_and_nothing_that_works(arguments, tmp_path):
    KnowledgeBase.open(tmp_path / ".runloop" / "pog").close()
    loaded = modules(arguments, tmp_path)
    assert [name for name in ("asyncio", "wasmtime", "textual", "keyring", "rich", "httpx2", "jsonschema", "yaml") if name in loaded] == []
    packages = {name.split(".")[1] for name in loaded if name.startswith("runloop.")}
    assert packages & {"sandbox", "models", "daemon"} == set()
