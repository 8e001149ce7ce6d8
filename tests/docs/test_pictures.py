"""The pictures of agtop: every story has its own, none asks a host for anything, and the page shows them."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from docgen.pictures import PICTURES, STORIES
from docgen.svg import svg
from rich.segment import Segment
from rich.style import Style

NAMES = {f"agtop-{name}-{across}x{down}.svg" for name, _, _, sizes in STORIES for across, down in sizes}
MAIN = {"runs", "plan", "ladder", "asking", "metrics"}


def test_the_main_views_are_there_at_both_sizes_and_nothing_else_lies_about():
    assert {f"agtop-{name}-{size}.svg" for name in MAIN for size in ("80x24", "200x60")} <= NAMES
    assert {path.name for path in PICTURES.iterdir()} == NAMES


def test_a_picture_is_drawn_of_text_and_fetches_nothing():
    for path in PICTURES.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        drawn = ET.fromstring(text)
        assert {each.tag.rpartition("}")[2] for each in drawn.iter()} == {"svg", "title", "rect", "text"}
        assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]


def test_every_picture_is_on_the_page_of_agtop():
    page = (PICTURES.parent / "agtop.md").read_text(encoding="utf-8")
    assert set(re.findall(r"pictures/(agtop-[a-z]+-\d+x\d+\.svg)", page)) == NAMES


def test_colours_places_and_reversed_texts_are_those_of_the_screen():
    lines = [[Segment("  a<b ", Style.parse("bold #ff0000")), Segment("re", Style.parse("reverse #00ff00 on #000000"))], [Segment("日本")]]
    drawn = ET.fromstring(svg(lines, 8, "T & t", "#ffffff", "#000000"))
    texts = [
        (each.get("x"), each.get("y"), each.get("fill"), each.get("textLength"), each.text) for each in drawn if each.tag.endswith("text")
    ]
    assert texts == [
        ("24.8", "21", "#ff0000", "25.2", "a<b"),
        ("58.4", "21", "#000000", "16.8", "re"),
        ("8", "39", "#ffffff", "33.6", "日本"),
    ]
    assert [(each.get("x"), each.get("fill")) for each in drawn if each.tag.endswith("rect")] == [(None, "#000000"), ("58.4", "#00ff00")]
