"""docs/agtop.md shows screens as they are, and all commands and views."""

import re
from pathlib import Path

from runloop.tui.plain import _COMMANDS
from runloop.tui.themes import NAMES as THEMES
from runloop.tui.views import NAMES

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "agtop.md").read_text()


def test_the_screens_on_the_page_are_those_that_are_tested():
    kept = {path.read_text().rstrip("\n") for path in (ROOT / "tests" / "data" / "tui" / "screens").glob("*.txt")}
    shown = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert len(shown) == 1
    assert set(shown) <= kept


def test_the_page_names_every_view_theme_and_command():
    wanted = {f"{number} {name}" for number, name in enumerate(NAMES, start=1)} | {f"`{theme}`" for theme in THEMES}
    wanted |= {f"`{name.split()[0]}" for names, _ in _COMMANDS for name in names.split(", ")}
    assert [word for word in sorted(wanted) if word not in PAGE] == []
