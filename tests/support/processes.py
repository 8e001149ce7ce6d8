"""Starting a server process of tests/support and ending exactly that one. Loaded by path, since tests are no package."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


class ServerProcess:
    """A running server: its port, and what it was asked (for servers that keep that)."""

    def __init__(self, process, lines):
        self.process, self.lines = process, lines
        self.port = int(lines[0])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def control(self, path, document=None):
        data = None if document is None else json.dumps(document).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, data=data), timeout=30) as response:
            return json.loads(response.read())

    def requests(self):
        return self.control("/_requests")

    def reset(self):
        self.control("/_reset", {})


@contextmanager
def serving(script, *arguments, lines=1):
    """Run ``tests/support/<script>`` until the block ends; it prints its port first and ends when its input closes."""
    command = [sys.executable, str(HERE / script), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield ServerProcess(process, [process.stdout.readline().strip() for _ in range(lines)])
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
