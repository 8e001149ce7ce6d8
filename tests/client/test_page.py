"""The examples of docs/client.md do what the page says."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
GREETS = "def run(name: str = '') -> dict:\n    emit.log(f'greeting {name}')\n    return {'out': f'Hello, {name}!'}\n"
GREET = (
    "version: 0\nname: greet\nparams: {name: you}\nnodes:\n  - {id: a, use: agent:greeter, with: {name: '{{params.name}}'}}\nedges: []\n"
)
ASKS = "def run() -> dict:\n    return {'out': ask.person('Which colour?', options=['red', 'blue']).answer}\n"


@pytest.fixture(scope="module")
def home(daemon_tools, guest_cache):
    """A daemon with what the page names."""
    with tempfile.TemporaryDirectory(prefix="rl-") as root:
        made = daemon_tools.Daemon(Path(root), guest_cache)
        made.agent("greeter", daemon_tools.HEAD + GREETS)
        made.opening("greet", GREET)
        made.agent("paint", daemon_tools.HEAD + ASKS, "ask = true")
        made.opening("paint")
        made.agent("broken", daemon_tools.HEAD + "def run() -> dict:\n    raise ValueError('no')\n")
        made.opening("broken")
        made.start()
        yield made
        made.stop()


def test_every_example_of_the_page_has_its_output():
    assert len(EXAMPLES) == PAGE.count("```python") > 6


@pytest.mark.parametrize(("code", "shown"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_prints_what_the_page_shows(home, code, shown):
    done = subprocess.run([sys.executable, "-P", "-c", code], env=home.env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stderr, done.stdout) == ("", shown)
