"""Note text as a person would put it into a message: no Markdown, no front matter, one line."""

from __future__ import annotations

import html
import re

_FRONT_MATTER = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\n.*?\n\1[ \t]*(?:\n|\Z)", re.DOTALL)
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL), " "),
    (re.compile(r"^\s*(?:```|~~~).*$", re.MULTILINE), " "),
    (re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)"), r"\1"),
    (re.compile(r"\[\[(?:[^\]|\n]*\|)?([^\]\n]+)\]\]"), r"\1"),
    (re.compile(r"\[([^\]\n]+)\]\([^)\n]*\)"), r"\1"),
    (re.compile(r"\[([^\]\n]+)\]\[[^\]\n]*\]"), r"\1"),
    (re.compile(r"\[\^[^\]\n]+\]:?"), ""),
    (re.compile(r"<((?:https?://|mailto:)[^>\s]+)>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>\n]*>"), " "),
    (re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:>[ \t]?)+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*\[[ xX-]\][ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:TODO|FIXME|TBD)\b[ \t]*:?[ \t]*", re.MULTILINE), ""),
    (re.compile(r"`+([^`\n]+)`+"), r"\1"),
    (re.compile(r"(\*\*\*|\*\*|~~|==)(?=\S)(.+?)(?<=\S)\1", re.DOTALL), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)(__|_)(?=[^\s_])([^\n]+?)(?<=[^\s_])\1(?!\w)"), r"\2"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|>~-])"), r"\1"),
    (re.compile(r"^[ \t]*\|[ \t]*|[ \t]*\|[ \t]*$", re.MULTILINE), ""),
    (re.compile(r"^([^|\n]+?)[ \t]+\|[ \t]+([^|\n]+)$", re.MULTILINE), r"\1: \2"),
    (re.compile(r"[ \t]+\|[ \t]+"), "; "),
    (re.compile(r"\[(\d{1,3})\]"), r"(\1)"),
)


def plain(text: str) -> str:
    """One line of plain text; numbers in brackets become `(3)`, since `[3]` is how a message cites."""
    text = _FRONT_MATTER.sub("", text.replace("\r\n", "\n"))
    for pattern, instead in _STEPS:
        text = pattern.sub(instead, text)
    return one_line(html.unescape(text))


def one_line(text: str) -> str:
    """Control characters and line breaks become spaces, runs of spaces one."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def spoken(text: str) -> str:
    """A name or a topic on one line, with no number that could pose as a citation."""
    return re.sub(r"\[(\d{1,3})\]", r"(\1)", one_line(text))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut after a word."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    space = head.rfind(" ")
    return head[: space if space > limit // 2 else len(head)].rstrip(" ,;:.") + "\u2026"
