"""The wheel as a user gets it: built here without a network, installed into a fresh environment, and run from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
PARTS = (
    "runloop",
    "runloop_agent",
    "agents",
    "openings",
    "hatch_build.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "scripts",
    "docs/man",
)

pytestmark = [pytest.mark.wheel, pytest.mark.slow]


def _build(source: Path, what: str, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, what, str(target)], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A source tree as a clone has it, with the built guest so that nothing is built twice."""
    target = tmp_path_factory.mktemp("tree") / "src"
    target.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            shutil.copyfile(source, target / name)
    return target


@pytest.fixture(scope="session")
def sdist(tree, tmp_path_factory) -> Path:
    return _build(tree, "build_sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel built from the source distribution, guest and all."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        # Python before 3.11.4 has no filters
        archive.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (source,) = unpacked.iterdir()
    assert not (source / "runloop/data/guest").exists()
    return _build(source, "build_wheel", tmp_path_factory.mktemp("wheel"))


def _environment(tmp_path_factory, package: Path) -> Path:
    """A fresh environment with the package; its dependencies are borrowed from the environment of the tests."""
    place = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(package)]
    subprocess.run(command, check=True, capture_output=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    return _environment(tmp_path_factory, wheel)


AGENT = """
import asyncio, json, pathlib, sys
import runloop
from runloop.sandbox import Answer, GuestSpec, WorkerPool, guest_digest
async def main():
    async def hostcall(name, args): return Answer('{"text": "hello"}', 1_763_600_000_000)
    source = "from runloop_agent import agent, model\\n@agent\\ndef run(n):\\n    return [n + 1, model.complete('x').text]"
    request = json.dumps({"with": {"n": 1}, "inputs": {}})
    spec = GuestSpec("python", "d", "agent.py", request, bytes(32), 1_763_600_000_000, sources={"agent.py": source})
    async with WorkerPool(pathlib.Path(sys.argv[1])) as pool:
        done = await pool.run(spec, hostcall)
        print(json.dumps([str(pathlib.Path(runloop.__file__).parent), guest_digest(), json.loads(done.result_json)]))
asyncio.run(main())
"""


def _run(python: Path, code: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [str(python), "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_wheel_fits_every_platform_and_carries_guest_agents_openings_and_types(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        "runloop/data/guest/python.wasm",
        "runloop/data/guest/python.json",
        "runloop/py.typed",
        "runloop_agent/py.typed",
        "runloop/sandbox/wit/agent.wit",
    }
    assert wanted - names == set()
    assert {f"runloop/data/agents/{path.name}/manifest.toml" for path in (ROOT / "agents").iterdir() if path.is_dir()} - names == set()
    assert {f"runloop/data/openings/{path.name}" for path in (ROOT / "openings").glob("*.yaml")} - names == set()
    assert [name for name in names if "__pycache__" in name or name.startswith(("tests/", "runloop/sandbox/guest/"))] == []
    assert wheel.stat().st_size < 25_000_000


def test_the_same_sources_elsewhere_and_later_make_the_same_bytes(tree, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(tree, other)
    for number, path in enumerate(sorted(other.rglob("*"))):
        if path.is_file():
            os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
            path.chmod(path.stat().st_mode & 0o100 | 0o600)
    for what in ("build_sdist", "build_wheel"):
        made = [_build(source, what, tmp_path / f"{what}-{name}").read_bytes() for name, source in (("here", tree), ("there", other))]
        assert made[0] == made[1], what


def test_an_agent_runs_from_the_installed_wheel_without_any_build_tool(installed, tmp_path):
    place, digest, result = json.loads(_run(installed, AGENT, str(tmp_path / "cache"), cwd=tmp_path))
    assert place.startswith(str(installed.parent.parent))
    assert len(digest) == 64
    assert result == [2, "hello"]


def test_the_command_is_installed(installed, tmp_path):
    done = subprocess.run([str(installed.with_name("rlp")), "--help"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "run" in done.stdout) == (0, True)


def _nodes(grammar, path=()):
    yield path, grammar
    for name, below in grammar["commands"].items():
        yield from _nodes(below, (*path, name))


GRAMMAR = "import json; from runloop.cli.grammar import whole; print(json.dumps(whole()))"
HELPS = """
import contextlib, io, json, sys
from runloop.cli.main import main
printed = {}
for words in json.loads(sys.stdin.read()):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*words, "--help"])
    printed[" ".join(words)] = [code, out.getvalue()]
print(json.dumps(printed))
"""


def test_every_verb_and_command_of_the_installed_rlp_has_help_a_page_of_the_manual_and_completion(installed, tmp_path):
    """Help in one process, which is what takes long; the entry point itself is started for every verb."""
    grammar = json.loads(_run(installed, GRAMMAR, cwd=tmp_path))
    commands = [path for path, _ in _nodes(grammar) if path and path[0] != "help"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "100"}
    given = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
    printed = json.loads(subprocess.run([str(installed), "-P", "-c", HELPS], input=json.dumps(commands), check=True, **given).stdout)
    assert {name: code for name, (code, _) in printed.items() if code} == {}
    assert [name for name, (_, text) in printed.items() if not text.startswith(f"Usage: rlp {name}")] == []
    rlp = str(installed.with_name("rlp"))
    for path, node in _nodes(grammar):
        if len(path) == 1 and path[0] != "help":
            words = subprocess.run([rlp, "__complete", "fish", *path, "--"], check=True, **given).stdout.splitlines()
            inner = {name for each in node["options"] for name in each["names"] if name.startswith("--")}
            assert (words[0], {word.partition("\t")[0] for word in words[1:]}) == (":words", inner | {"--help"})
    manual = installed.parent.parent / "share/man"
    assert {f"rlp-{path[0]}.1" for path in commands} | {"rlp.1", "agtop.1", "runloop.1"} == {
        page.name for page in (manual / "man1").iterdir()
    }
    assert (manual / "man8/runloopd.8").is_file()
    for path in commands:
        text = (manual / "man1" / f"rlp-{path[0]}.1").read_text().replace("\\-", "-")
        assert f"rlp {' '.join(path)}" in text
    share = installed.parent.parent / "share"
    for name in ("bash-completion/completions/rlp", "zsh/site-functions/_rlp", "fish/vendor_completions.d/rlp.fish"):
        assert "__complete" in (share / name).read_text()


def test_an_editable_install_uses_the_checkout_and_builds_no_guest_that_is_up_to_date(tree, tmp_path_factory, tmp_path):
    guest = tree / "runloop/data/guest/python.wasm"
    before = guest.stat().st_mtime_ns
    package = _build(tree, "build_editable", tmp_path_factory.mktemp("editable"))
    assert guest.stat().st_mtime_ns == before
    python = _environment(tmp_path_factory, package)
    assert _run(python, "import runloop, runloop_agent; print(runloop.__file__)", cwd=tmp_path).strip() == str(tree / "runloop/__init__.py")


def test_the_guest_is_built_again_when_a_source_changes():
    sys.path.insert(0, str(ROOT / "runloop/sandbox/guest"))
    try:
        import build
    finally:
        sys.path.pop(0)
    facts = json.loads((ROOT / "runloop/data/guest/python.json").read_text())
    assert facts["inputs"] == build.inputs_digest(ROOT, {name: facts[name] for name in ("componentize_py", "tzdata")})
    assert build.inputs_digest(ROOT, "another version") != facts["inputs"]
