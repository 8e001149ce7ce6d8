"""The brace form, first half: text to tokens and comments, in one pass and linear time (docs/openings.md has the grammar)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from runloop.openings.lines import Lines, first_not_text
from runloop.patterns import lazy

if TYPE_CHECKING:
    from runloop.openings.errors import OpeningError, Report

WORD, STRING, TEMPLATE, END = "word", "string", "template", "end"
BRACE_SUFFIX = ".opening"
"""How a file's name ends if it holds the brace form, and nothing else."""
COMPARISONS = frozenset({"==", "!=", ">=", "<=", ">", "<"})

_TOKEN = lazy(
    r"""(?P<space>[ \t\r\n]++)
    | (?P<comment>\#[^\r\n]*+)
    | (?P<string>"(?:[^"\\\r\n]++|\\[^\r\n])*+")
    | (?P<template>\{\{[ \t]*+params\.[A-Za-z0-9_-]++[ \t]*+\}\})
    | (?P<mark>:=|->|==|!=|>=|<=|[><{}\[\](),:=])
    | (?P<word>[\w.+-]+(?<!-(?=>)))""",
    re.VERBOSE,
)
"""Where a word ends at an arrow, it gives the ``-`` back. ``(?:…|-(?!>))++`` keeps it before Python 3.11.5 (gh-106052)."""
_ESCAPE = lazy(r'\\(?:(["\\/bfnrt])|u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))')
_SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_OPENS = lazy(r"(?:[ \t\r\n]++|#[^\r\n]*+)*+opening\b(?![ \t]*+:)(?!-)")


class Token(NamedTuple):
    """``kind`` is WORD, STRING, TEMPLATE, END or the mark itself; ``text`` is decoded; ``fresh`` says that it begins a line."""

    kind: str
    text: str
    start: int
    fresh: bool


class Comment(NamedTuple):
    """A comment with its ``#``, and where it starts."""

    text: str
    start: int


def is_brace(text: str) -> bool:
    """Whether the first token of ``text`` is the word ``opening``, as in the brace form and in nothing else."""
    return _OPENS.match(text.removeprefix("\ufeff")) is not None


def tokenize(text: str, report: Report) -> tuple[list[Token], list[Comment]]:
    """All tokens, with END as the last one, and all comments; raises OpeningError at what is no token."""
    if bad := first_not_text(text):
        message = f"character U+{ord(bad[0]):04X} is not allowed"
        raise report.fatal("syntax", message, Lines(text).place(bad.start()), hint=r"remove it, or write it as \uXXXX in quotes")
    tokens: list[Token] = []
    comments: list[Comment] = []
    position, fresh = 0, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _no_token(text, position, report)
        kind, found = match.lastgroup, match[0]
        if kind == "space":
            fresh = fresh or "\n" in found or "\r" in found
        elif kind == "comment":
            comments.append(Comment(found, position))
        else:
            value = _unescape(text, match, report) if kind == "string" else found
            tokens.append(Token(found if kind == "mark" else str(kind), value, position, fresh))
            fresh = False
        position = match.end()
    tokens.append(Token(END, "", len(text), fresh))
    return tokens, comments


def _unescape(text: str, match: re.Match[str], report: Report) -> str:
    raw = match[0][1:-1]
    if "\\" not in raw:
        return raw

    def character(escape: re.Match[str]) -> str:
        simple, high, low, unit, _ = escape.groups()
        if simple:
            return _SIMPLE[simple]
        if high:
            return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
        if unit and not 0xD800 <= int(unit, 16) <= 0xDFFF:
            return chr(int(unit, 16))
        message = f"half of a surrogate pair: {escape[0]}" if unit else f"unknown escape {escape[0]}"
        at = Lines(text).place(match.start() + 1 + escape.start())
        raise report.fatal("syntax", message, at, hint=r"escapes are \" \\ \/ \b \f \n \r \t and \uXXXX, as in JSON")

    return _ESCAPE.sub(character, raw)


def _no_token(text: str, position: int, report: Report) -> OpeningError:
    at = Lines(text).place(position)
    if text[position] == '"':
        return report.fatal("syntax", "this text has no closing quote on its line", at, hint=r"close it; a line break inside it is \n")
    return report.fatal("syntax", f"unexpected character {text[position]!r}", at, hint="put text that is not a plain word in double quotes")
