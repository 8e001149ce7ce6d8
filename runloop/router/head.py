"""What the word in command position says, together with whether anything after it holds a sentence together."""

from __future__ import annotations

import re

from runloop.patterns import lazy
from runloop.router import words as vocabulary
from runloop.router.known import EVERYDAY, PROGRAMS, TRADITIONAL
from runloop.router.tokens import MAX_LENGTH, bare, is_path, is_plain, may_be_path
from runloop.router.values import Feature, RouterSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.router.lexer import Command

_NAME = lazy(r"(?=[A-Z_.+-]*[a-z])(?=\w*[-_.0-9])[A-Za-z_.+-][\w.+-]*|[A-Za-z]*[a-z][A-Z]\w*", re.ASCII)
_CONTINUING = frozenset("in do then else".split())  # no command begins with these
_CONVERSING = vocabulary.CONVERSATION | vocabulary.FOREIGN_THANKS | vocabulary.GREETINGS | vocabulary.POLITE | vocabulary.QUESTIONS


def of_command_word(command: Command, kind: str | None, settings: RouterSettings, *, held: bool) -> Iterator[Feature]:
    """Features of the first word. ``kind``: what the shell takes it for; ``held``: whether words follow that only sentences have."""
    if command.assignments:
        yield Feature("assignment", -4.0)
    if not command.words:
        return
    word = command.words[0]
    name, core = word.text, bare(word.text)
    if word.quoted and kind is None and not word.raw.startswith("\\"):
        yield Feature("quoted_command", -1.5)
    if kind:
        yield Feature(kind, _resolved_weight(name, kind), name)
    elif name in PROGRAMS or name in settings.known_commands:
        yield Feature("program", -2.8, name)
    elif is_path(name) and may_be_path(name):
        yield Feature("path", -4.0, name)
    elif word.expands:
        yield Feature("expansion", -2.0)
    elif core in TRADITIONAL:
        yield Feature("everyday_program", -1.3, core)
    elif core in EVERYDAY:
        yield Feature("everyday_program", -0.3 if core == name or (name.isupper() and not held) else 0.6, core)
    else:
        yield _of_unknown_word(name, core, held=held)


def _resolved_weight(name: str, kind: str) -> float:
    """How much it says that the shell resolves the first word: less where it also begins sentences."""
    if kind == "alias":
        return -3.2
    if name in TRADITIONAL or (kind == "keyword" and name in _CONTINUING):
        return -1.6
    if name in vocabulary.ASKING or name in vocabulary.QUESTIONS:
        return -1.2
    return -1.6 if name in EVERYDAY or (name in vocabulary.EVERYDAY_WORDS and len(name) > 2) else -3.2


def _of_unknown_word(name: str, core: str, *, held: bool) -> Feature:
    """A word that is nothing to the shell. An English word alone is no sentence: programs have such names."""
    if not name.isascii() and any(map(str.isalpha, name)):
        return Feature("letters_beyond_ascii", 2.0, name[:20])
    if core in vocabulary.POLITE or core in vocabulary.QUESTIONS:
        return Feature("opens_sentence", 1.5, core)
    if core in _CONVERSING:
        return Feature("conversation", 1.0, core)
    if core in vocabulary.ASKING:
        return Feature("asks", 1.5 if held else 0.0, core)
    if core == "a" or core in vocabulary.ARTICLES or (core in vocabulary.HOLDING and core not in vocabulary.LINKS):
        return Feature("everyday_word", 1.0, core)
    if core in vocabulary.EVERYDAY_WORDS or core in vocabulary.POINTING:
        return Feature("everyday_word", 1.0 if held else 0.0, core)
    if "-" in core and all(part in vocabulary.EVERYDAY_WORDS for part in core.split("-")):
        return Feature("everyday_words", 1.0 if held else -0.4, core)
    if core in vocabulary.FOREIGN:
        return Feature("foreign_word", 1.0 if held else 0.2, core)
    if core.rpartition("-")[2] in vocabulary.FOREIGN_PRONOUNS:
        return Feature("foreign_word", 1.0, core)
    if len(name) <= MAX_LENGTH and _NAME.fullmatch(name):
        return Feature("name_like", -1.2, name)
    if name[:1].islower() or len(name) < 3 or not is_plain(core) or (name.isupper() and not held):
        return Feature("unknown_word", -0.8, name[:20])
    return Feature("unknown_word", 0.4 if held else 0.2, name[:20])
