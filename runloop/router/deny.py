"""The denylist: patterns compared with the commands that a line starts, never with its text.

A pattern is a command. A line matches if it starts that program with at least these options, in any order and bundling, and with at
least these operands; a pattern without operands matches whatever they are. A pattern of several commands matches them in a row.
``*`` within a word of the pattern stands for anything. A pattern that is no command matches the line that is equal but for white space.
"""

from __future__ import annotations

import re

from runloop.patterns import lazy
from runloop.router.lexer import read
from runloop.router.unwrap import Argv, TooDeep, program, started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The short form of long options that destructive programs share, so that either is found by the other.
_SHORT = {"--recursive": "r", "-R": "r", "--force": "f", "--interactive": "i", "--verbose": "v", "--dir": "d"}


_EVERYTHING = lazy(r"\.?[*?]*\*[*?]*\(?")  # in zsh with what follows the parenthesis: `/*(D)`


def denied(line: str, patterns: Sequence[str], aliases: Mapping[str, str]) -> str | None:
    """The first pattern that forbids ``line``; None if there is none. Raises TooDeep where there may be one further down."""
    if not patterns:
        return None
    lists: list[list[Argv]] = [[]]
    deep: TooDeep | None = None
    try:
        for joined, argv in started(line, aliases):
            if joined not in ("|", "|&", "&&", "||", ";", "\n") and lists[-1]:
                lists.append([])
            lists[-1].append(argv)
    except TooDeep as error:
        deep = error
    plain = "".join(line.split())
    for pattern in patterns:
        wanted = _pattern(pattern)
        if wanted is None:
            if "".join(pattern.split()) == plain:
                return pattern
        elif any(_in_a_row(wanted, commands) for commands in lists):
            return pattern
    if deep is not None:
        raise deep
    return None


def _pattern(text: str) -> list[Argv] | None:
    script = read(text)
    if script.marks & {"function", "unbalanced", "group"}:
        return None
    return [tuple(word.text for word in command.words) for command in script.commands if command.words]


def _in_a_row(wanted: list[Argv], commands: list[Argv]) -> bool:
    """Whether the wanted commands appear in this order."""
    rest = iter(commands)
    return bool(wanted) and all(any(_matches(pattern, argv) for argv in rest) for pattern in wanted)


def _matches(pattern: Argv, argv: Argv) -> bool:
    if not argv or not _same(pattern[0], argv[0] if "/" in pattern[0] else program(argv[0])):
        return False
    options, operands = _split(pattern[1:])
    own_options, own_operands = _split(argv[1:])
    return all(any(_same(each, own) for own in own_options) for each in options) and all(
        any(_same(each, own) for own in own_operands) for each in operands
    )


def _split(words: Sequence[str]) -> tuple[set[str], set[str]]:
    """Options, single letters apart, and operands, paths in their plain form."""
    options: set[str] = set()
    operands: set[str] = set()
    ended = False
    for word in words:
        if ended or not word.startswith("-") or word == "-":
            operands.add(_path(word))
        elif word == "--":
            ended = True
        elif word in _SHORT:
            options.add(_SHORT[word])
        elif word.startswith("--"):
            options.add(word)
        else:
            options.update("r" if letter == "R" else letter for letter in word[1:])
    return options, operands


def _path(word: str) -> str:
    """A path without what changes nothing; all that lies in the root is the root."""
    if not word.startswith("/"):
        return word
    parts: list[str] = []
    for part in word.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" if len(parts) == 1 and _EVERYTHING.fullmatch(parts[0]) else "/" + "/".join(parts)


def _same(pattern: str, word: str) -> bool:
    if "*" not in pattern:
        return pattern == word
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), word, re.DOTALL) is not None
