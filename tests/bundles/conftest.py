"""Bundles written to a temporary directory, sound unless a test spoils them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runloop.bundles import inspect_bundle
from runloop.bundles.seal import seal

MANIFEST = """\
[agent]
name = "{name}"
version = "0.1.0"

[ports.in]
topic = "string"

[ports.out]
out = "object"
"""
AGENT = "from runloop_agent import agent\n\n\n@agent\ndef run(topic: str) -> dict:\n    return {'out': topic}\n"


@pytest.fixture
def write_bundle(tmp_path):
    """Write a sealed bundle: ``write_bundle("agents/reader", name="reader", files={...}, manifest="...")`` returns its directory."""

    def write(
        place: str = "agents/reader", *, name: str = "reader", files: dict | None = None, manifest: str = MANIFEST, sealed: bool = True
    ) -> Path:
        root = tmp_path / place
        contents = {"manifest.toml": manifest.format(name=name), "policy.caps": "[capabilities]\nmodel = true\n", "agent.py": AGENT}
        for path, content in (contents | (files or {})).items():
            if content is None:
                continue
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        if sealed:
            _, problems = seal(root)
            assert problems == []
        return root

    return write


@pytest.fixture
def codes():
    """The codes of everything that is wrong with a directory."""
    return lambda root: [problem.code for problem in inspect_bundle(root).problems]
