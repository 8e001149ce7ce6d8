"""A daemon for the benchmarks: a home of its own, started and stopped by the script that measures."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = """[agent]
name = "{name}"
version = "1.0.0"
kind = "{kind}"
entry = "{entry}"

[ports]
in = []
out = ["out"]

[caps]
file = "policy.caps"
"""
COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 0) "{\\22out\\22:42}")
  (func (export "_start")
    (i32.store (i32.const 100) (i32.const 0)) (i32.store (i32.const 104) (i32.const 10))
    (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108)))))"""


class Home:
    """A home with a daemon."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.state = root, root / "state"
        self.socket = self.state / "sock" / "rmp.sock"
        self.env = {**os.environ, "HOME": str(root), "RUNLOOP_HOME": str(self.state), "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[bytes] | None = None
        self.state.mkdir(mode=0o700)

    def agent(self, name: str, kind: str, entry: str, code: bytes, caps: str = "") -> Path:
        """Write and seal a bundle; ``caps`` is what it may do, as lines of its policy."""
        from runloop.bundles.seal import seal

        directory = self.state / "agents" / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "manifest.toml").write_text(MANIFEST.format(name=name, kind=kind, entry=entry))
        (directory / "policy.caps").write_text(f"[capabilities]\n{caps}\n")
        (directory / entry).write_bytes(code)
        sealed, problems = seal(directory)
        if sealed is None:
            raise SystemExit(f"{name}: {problems}")
        return directory

    def opening(self, name: str, text: str) -> Path:
        """Write an opening."""
        directory = self.state / "openings"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}.yaml"
        path.write_text(text)
        return path

    def start(self, *flags: str) -> float:
        """Start the daemon; seconds until it said that it is ready."""
        reading, writing = os.pipe()
        arguments = [part for flag in flags for part in ("--set", flag)]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runloop.daemon.main", "--set", "logging.level=warn", *arguments],
            env={**self.env, "RUNLOOP_READY_FD": str(writing)}, pass_fds=(writing,), stdin=subprocess.DEVNULL, cwd=self.root,
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as pipe:
            line = pipe.readline()
        took = time.perf_counter() - began
        if not line or not json.loads(line)["ready"]:
            raise SystemExit(f"the daemon did not start: {line}")
        return took

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def token(self) -> str:
        """The operator token."""
        return (self.state / "token").read_text().strip()


@contextlib.contextmanager
def home() -> Iterator[Home]:
    """A home that is gone afterwards; compiled guests are kept in the person's own cache, as in real life."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    with tempfile.TemporaryDirectory(prefix="rl-") as root:
        made = Home(Path(root), cache)
        try:
            yield made
        finally:
            made.stop()
