"""Build the shared Python guest with componentize-py; standard library only, because the wheel's build hook runs it before Runloop exists.

The component lands in ``runloop/data/guest/python.wasm``, its facts beside it in ``python.json``; a build whose inputs have not
changed is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))  # the build hook loads this file by its path

from image import ImageUnfit, immortalised  # type: ignore[import-not-found]

sys.path.pop(0)

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY = "runloop_guest_main"
_OWN = (Path(__file__), Path(__file__).with_name("image.py"))
_NEEDED = ("componentize-py", "tzdata")
_RUN = "import sys; from componentize_py import script; sys.argv[0] = 'componentize-py'; sys.exit(script())"


class BuildFailed(RuntimeError):  # noqa: N818 - named for what happened
    """The guest could not be built; the message carries what componentize-py said."""


def _inputs(root: Path) -> list[Path]:
    guest = root / "runloop" / "sandbox" / "guest"
    files = [guest / f"{ENTRY}.py", *guest.glob("runloop_guest/*.py"), *(root / "runloop_agent").glob("*.py")]
    return sorted([*files, *(root / "runloop" / "sandbox" / "wit").glob("*.wit"), *_OWN])


def inputs_digest(root: Path, tools: Mapping[str, str]) -> str:
    """Digest of everything that goes into the guest: our sources, the world, the versions of componentize-py and of the time zones."""
    hasher = hashlib.blake2b(json.dumps(tools, sort_keys=True).encode(), digest_size=32)
    for path in _inputs(root):
        content = path.read_bytes()
        name = path.name if path in _OWN else path.relative_to(root).as_posix()
        hasher.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return hasher.hexdigest()


def build(root: Path, *, force: bool = False) -> Path:
    """Build the guest of the checkout or source tree at ``root`` unless it is up to date; returns the component's path."""
    target = root / "runloop" / "data" / "guest" / "python.wasm"
    facts_file = target.with_suffix(".json")
    try:
        tools = {name.replace("-", "_"): version(name) for name in _NEEDED}
    except PackageNotFoundError as missing:
        raise BuildFailed(f"{missing.name} is needed to build the Python guest: pip install {missing.name}") from None
    wanted = inputs_digest(root, tools)
    if not force and target.exists() and facts_file.exists() and json.loads(facts_file.read_text(encoding="utf-8")).get("inputs") == wanted:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="runloop-guest-") as scratch:
        fresh = _componentize(root, Path(scratch))
        try:
            code, immortals = immortalised(fresh.read_bytes())
        except ImageUnfit as unfit:
            raise BuildFailed(f"the guest's frozen memory cannot be worked on: {unfit}") from None
        facts = {
            "digest": hashlib.blake2b(code, digest_size=32).hexdigest(),
            "inputs": wanted,
            **tools,
            "bytes": str(len(code)),
            "immortals": str(immortals),
        }
        staged = target.with_name(f"python.wasm.{os.getpid()}")
        staged.write_bytes(code)
        staged.replace(target)
    facts_file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return target


def _componentize(root: Path, scratch: Path) -> Path:
    """Run componentize-py over copies, so that nothing of this machine's Python environment gets into the guest."""
    sources = scratch / "src"
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(root / "runloop" / "sandbox" / "guest" / "runloop_guest", sources / "runloop_guest", ignore=ignore)
    shutil.copytree(root / "runloop_agent", sources / "runloop_agent", ignore=ignore)
    shutil.copyfile(root / "runloop" / "sandbox" / "guest" / f"{ENTRY}.py", sources / f"{ENTRY}.py")
    shutil.copytree(Path(str(distribution("tzdata").locate_file("tzdata"))), sources / "tzdata", ignore=ignore)
    (scratch / "venv" / "lib" / "site-packages").mkdir(parents=True)
    output = scratch / "python.wasm"
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-c", _RUN, "-d", str(root / "runloop" / "sandbox" / "wit"), "-w", "agent",
         "componentize", ENTRY, "-p", str(sources), "-o", str(output)],
        cwd=scratch, env={**os.environ, "VIRTUAL_ENV": str(scratch / "venv")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not output.exists():
        raise BuildFailed(f"componentize-py failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return output


if __name__ == "__main__":
    print(build(Path(__file__).parents[3], force="--force" in sys.argv))  # noqa: T201 - a script
