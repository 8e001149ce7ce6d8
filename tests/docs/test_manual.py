"""The pages of the manual are sound for the programs that show them."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/man").glob("man?/*"))


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_has_nothing_to_say_about_any_page():
    assert len(PAGES) > 30
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", "-K", "utf8", *map(str, PAGES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc here")
def test_mandoc_finds_nothing_but_that_pages_have_no_date():
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *map(str, PAGES)], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.skipif(shutil.which("man") is None, reason="no man here")
def test_man_shows_what_a_page_is_about():
    (page,) = [each for each in PAGES if each.name == "rlp-approve.1"]
    done = subprocess.run(
        ["man", "-l", str(page)], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    )
    assert "rlp approve [OPTIONS] [ID]" in done.stdout
    assert "EXAMPLES" in done.stdout


def test_every_program_has_a_page():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) - {page.stem for page in PAGES} == set()
