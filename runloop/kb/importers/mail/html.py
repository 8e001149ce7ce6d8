"""HTML as text, in one pass over it: no library that looks anything up, nothing remote, linear in its size whatever it holds."""

from __future__ import annotations

import re
from html import unescape

_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]*)")
_BREAKS = frozenset("br p div tr li ul ol table h1 h2 h3 h4 h5 h6 blockquote pre hr section article header footer dt dd".split())  # noqa: SIM905
_SILENT = frozenset({"script", "style", "head", "title", "template", "noscript"})
_BLANKS = re.compile(r"[ \t\r\f\v\xa0]+")
_LINES = re.compile(r" ?\n[ \n]*\n ?| ?\n ?")


def to_text(html: str) -> str:
    """What a reader would see, roughly: words and line breaks; no scripts, no styles, no addresses of links."""
    pieces: list[str] = []
    at = 0
    while at < len(html):
        tag = html.find("<", at)
        if tag < 0:
            break
        pieces.append(_words(html[at:tag]))
        at = tag
        if html.startswith("<!--", tag):
            end = html.find("-->", tag + 4)
            at = len(html) if end < 0 else end + 3
            continue
        found = _NAME.match(html, tag + 1)
        if found is None and html[tag + 1 : tag + 2] not in {"!", "?", "/"}:
            pieces.append("<")  # a sign of comparison, not a tag
            at = tag + 1
            continue
        end = html.find(">", tag)
        if end < 0:
            break
        name = found[1].lower() if found else ""
        at = end + 1
        if name in _BREAKS:
            pieces.append("\n")
        elif name in _SILENT and html[tag + 1] != "/":
            close = re.compile(f"</{name}", re.IGNORECASE | re.ASCII).search(html, at)
            at = len(html) if close is None else close.start()
    pieces.append(_words(html[at:]))
    text = _BLANKS.sub(" ", "".join(pieces))
    return _LINES.sub(lambda match: "\n\n" if match[0].count("\n") > 1 else "\n", text).strip()


def _words(text: str) -> str:
    try:
        return unescape(text).replace("\n", " ")
    except ValueError:  # a numeric reference of thousands of digits
        return text.replace("\n", " ")
