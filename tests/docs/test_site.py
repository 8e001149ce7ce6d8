"""The documentation site: it builds without a word, every link in it leads somewhere, and it asks no other host for anything."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src", "audio": "src"}
FOREIGN = re.compile(r"(?:@import\s+|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)")
HARMLESS = {"canonical", "next", "prev"}  # links that a browser does not follow by itself


class Page(HTMLParser):
    """The anchors of a page, what it links to, and what a browser would fetch to show it."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.fetched = {"", "top"}, [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(value for name in ("id", "name") if (value := values.get(name)))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if (address := values.get(FETCHED.get(tag, ""))) and values.get("rel") not in HARMLESS:
            self.fetched.append(address)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-P", "-m", "properdocs", "build", "--strict", "--site-dir", str(site)]
    return site, subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def pages(built):
    return {path: Page(path) for path in sorted(built[0].rglob("*.html"))}


def test_the_site_builds_without_a_warning_or_a_remark_about_a_page(built):
    usual = re.compile(r"INFO +-  (Cleaning site directory|Building documentation to directory: .*|Documentation built in .*)")
    said = [line for line in built[1].stderr.splitlines() if not usual.fullmatch(line)]
    assert (built[1].returncode, said) == (0, [])


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor_that_are_there(pages):
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of a server's root
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file() and (target not in pages or unquote(parts.fragment) in pages[target].anchors)
            if not there:
                broken.append((path.name, link))
    assert broken == []


def test_a_page_fetches_nothing_from_another_host(pages):
    assert [(path.name, address) for path, page in pages.items() for address in page.fetched if urlsplit(address).netloc] == []


def test_no_style_sheet_fetches_anything_from_another_host(built):
    sheets = {path.name: path.read_text(encoding="utf-8") for path in built[0].rglob("*.css")}
    assert "theme.css" in sheets
    assert [(name, address) for name, text in sheets.items() for address in FOREIGN.findall(text)] == []


def test_every_page_and_record_of_decision_is_in_the_site(built):
    found = [path for folder in (".", "adr", "guides") for path in (ROOT / "docs" / folder).glob("*.md")]
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in found}
    assert sorted(str(path) for path in sources if not (built[0] / path).is_file()) == []


def test_troubleshooting_speaks_of_codes_that_there_are():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "runloop").rglob("*.py"))
    tables = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    named = re.findall(r"^## `([a-z0-9_.]+)`", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) >= 12
    assert [code for code in named if f'"{code}"' not in source and f"| `{code}` |" not in tables] == []
