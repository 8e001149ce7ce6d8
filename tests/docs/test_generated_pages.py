import re
import subprocess
import sys
from pathlib import Path

import pytest

from runloop.cli.grammar import whole

ROOT = Path(__file__).resolve().parents[2]


def test_a_page_that_is_out_of_date_is_named_and_repaired(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Kept\n<!-- generated: exit-codes -->\nold\n<!-- end generated -->\nkept\n")
    program = (
        "import runpy, sys; from pathlib import Path;"
        "space = runpy.run_path(sys.argv[1]); page = Path(sys.argv[2]); page.write_text(space['rendered'](page.read_text()))"
    )
    subprocess.run([sys.executable, "-c", program, str(ROOT / "scripts/gen-docs"), str(page)], check=True)
    text = page.read_text()
    assert text.startswith("# Kept\n<!-- generated: exit-codes -->\n| exit | meaning |\n")
    assert text.endswith("| 141 | whoever read the output has closed it, as `head` does |\n<!-- end generated -->\nkept\n")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_link_of_a_page_to_another_page_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_page_of_the_command_line_has_every_command_at_every_depth_and_the_words_that_options_take():
    page = (ROOT / "docs/cli.md").read_text()

    def paths(node, path):
        for name, each in node["commands"].items():
            yield f"{path} {name}", each
            yield from paths(each, f"{path} {name}")

    found = {path: node for path, node in paths(whole(), "rlp") if not path.startswith("rlp help")}
    assert "rlp kb import contacts" in found
    assert [path for path in found if f"# `{path}`\n" not in page] == []
    words = {word for node in found.values() for option in node["options"] if isinstance(option["value"], list) for word in option["value"]}
    assert [word for word in words if word not in page] == []
