"""What differs each time something is recorded, and how it is written down instead."""

from __future__ import annotations

import re
from pathlib import Path

NORMAL = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "00000000-0000-0000-0000-000000000000"),
    (re.compile(r"\b[a-z2-7]{32}(?=@|\.eml)"), "0" * 32),
    (re.compile(r"<M\w{6}@ACME"), "<Mxxxxxx@ACME"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "000000000000"),
    (re.compile(r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8}\b"), "00000000"),
    (re.compile(r"\b(?=[a-z]*[2-7])[a-z2-7]{20,31}$"), "0" * 24),
    (re.compile(r"\b\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "Thu, 01 Jan 2026 09:00:00 +0000"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "2026-01-01"),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?\b"), "09:00"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s)\b"), r"0 \2"),
)


def normal(screen: str, home: Path) -> str:
    """The screen without what is different each time; a frame's right side stays where it was."""
    return "\n".join(_line(line, str(home)) for line in screen.strip("\n").split("\n"))


def _line(line: str, home: str) -> str:
    text = line.replace(home, "~")
    for pattern, instead in NORMAL:
        text = pattern.sub(instead, text)
    if text.endswith("│"):
        text = text[:-1] + " " * (len(line) - len(text)) + "│"
    return text.rstrip()
