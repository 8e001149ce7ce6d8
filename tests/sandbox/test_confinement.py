"""The outer wall, felt from inside: what a process of ours can still do after it gave up its privileges."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROBE = """
import json, os, socket, sys
from runloop.sandbox import confine
confine.limit()
privileges = confine.no_new_privileges()
abi = confine.landlock([sys.argv[1]])
def attempt(work):
    try: work()
    except OSError as error: return type(error).__name__
    return "worked"
listener = socket.socket()
seen = {
    "abi": abi, "no_new_privileges": privileges,
    "read elsewhere": attempt(lambda: open("/etc/passwd").read()), "read cache": attempt(lambda: open(sys.argv[1] + "/file").read()),
    "write cache": attempt(lambda: open(sys.argv[1] + "/new", "w")), "list cache": attempt(lambda: os.listdir(sys.argv[1])),
    "remove": attempt(lambda: os.unlink(sys.argv[1] + "/file")), "run": attempt(lambda: os.execv("/bin/true", ["true"])),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])))), "signal": attempt(lambda: os.kill(os.getppid(), 0)),
}
print(json.dumps(seen))
"""


def test_a_confined_process_reads_the_cache_and_nothing_else(tmp_path):
    import socket

    (tmp_path / "file").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", PROBE, str(tmp_path), str(server.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    seen = json.loads(done.stdout)
    if seen["abi"] == 0:
        pytest.skip("this kernel has no Landlock; the wall is WebAssembly and the process alone")
    assert seen["no_new_privileges"] is True
    assert seen["read cache"] == "worked"
    forbidden = [
        "read elsewhere",
        "write cache",
        "list cache",
        "remove",
        "run",
        *(["connect"] if seen["abi"] >= 4 else []),
        *(["signal"] if seen["abi"] >= 6 else []),
    ]
    assert {name: seen[name] for name in forbidden} == dict.fromkeys(forbidden, "PermissionError")


def test_a_process_whose_parent_is_gone_does_not_start():
    code = "from runloop.sandbox import confine; confine.die_with_parent(1 << 30); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
