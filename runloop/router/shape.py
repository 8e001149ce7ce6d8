"""The shape of a line: what in it speaks for a sentence and what for a command, each with its weight.

Weights are in one unit: 1 is about what one article says. They add up to the score of the line; above 0 it reads like a sentence.
"""

from __future__ import annotations

import re

from runloop.router import words as vocabulary
from runloop.router.known import EVERYDAY, PROGRAMS, TRADITIONAL
from runloop.router.lexer import Command, Script, Word, read
from runloop.router.patterns import Pattern
from runloop.router.unwrap import PREFIX_KEYWORDS, launched
from runloop.router.values import Feature, RouterSettings, ShellFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_WORDS = 300  # of a longer line only so many are looked at
MAX_LENGTH = 200  # a longer word is neither a name nor a form

_CONTRACTION = Pattern(r"(?<=[A-Za-z])'(?=(?:s|t|re|ll|ve|d|m)\b)|(?<=\bo)'(?=clock\b)")
_ELISION = Pattern(r"(?:(?<=\b[lLdDjJnNsScCmMtT])|(?<=\b[qQ]u)|(?<=aujourd))'(?=[a-zàâäéèêëîïôöûüh])")
_OPTION = Pattern(r"-[A-Za-z0-9?@#]|--[A-Za-z]|\+[A-Za-z]$")
_FILE_LIKE = Pattern(r"[^\s/]*/\S*|~\S*|\S*[\w*]\.[A-Za-z][A-Za-z0-9]{0,5}|\.\w[\w.-]*|\.\.?")
_ALTERNATIVES = Pattern(r"[^\W\d_]{2,}/[^\W\d_]{2,}|[wW]/o?|n/a|N/A|e\.g\.?|i\.e\.?|a\.m|p\.m")
_KEY_VALUE = Pattern(r"[A-Za-z_][\w.-]*=\S*")
_HOST = Pattern(r"(?!\d{1,2}:\d\d$)(?:[\w.-]+@[\w-]+[\w.-]*(?::\S*)?|[\w.-]+:[\w./~-]+|\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?)")
_GLOB = Pattern(r"[^*]*\*[^*]*|.*\[[^]]+\].*|.*\{[^}]*,[^}]*\}.*|.*\{\w+\.\.\w+\}.*", re.DOTALL)
_EMPHASIS = Pattern(r"\*+[\w’-]+\*+[,.:!?]?")
_SIZE = Pattern(r"\d[\d.,]*\s*[A-Za-z%€$£]{0,3}|")
_NAME = Pattern(r"(?=[A-Z_.+-]*[a-z])(?=\w*[-_.0-9])[A-Za-z_.+-][\w.+-]*|[a-z]+[A-Z]\w*", re.ASCII)
_PATH_COMMAND = Pattern(r"(?:~[\w.-]*|\.{1,2})?/\S+|[A-Za-z]:[\\/]\S+|\\\\\S+|(?:[\w.-]+/)+[\w.-]+")
_QUESTION = Pattern(r"[\w)\"'’]\s*[?？]+[!)\"]*$")
_STOP = Pattern(r"[^\W\d_]{2,}[.!。！]+$")
_STRIPPED = ",.;:!?()[]\"'…¿¡«»„“”‘’。、？！"

FREE_TEXT = frozenset("echo printf cowsay cowthink figlet toilet banner espeak logger wall notify-send apropos rlp task jrnl".split())
_NEEDS_COMMAND = frozenset("time watch exec nohup nice command builtin coproc do then else if while until not and or".split())
_NEEDS_FILES = frozenset(
    """
at cat clear cut date file find fold head help host join kill less link look mail make man more open paste patch sort source split
stat strip sum tail test top touch view wc which who write
""".split()
)

_SYNTAX = PREFIX_KEYWORDS | frozenset("in done fi esac".split())  # words that join commands where there are several
_NEEDS_NOTHING = frozenset("exit continue break return jobs times logout history uptime pwd".split())


class Shape:
    """What was seen in a line. ``first`` is the word in command position, ``kind`` what the shell takes it for."""

    __slots__ = ("features", "first", "kind", "script")

    def __init__(self, script: Script, first: Word | None, kind: str | None, features: tuple[Feature, ...]) -> None:
        self.script = script
        self.first = first
        self.kind = kind
        self.features = features

    @property
    def score(self) -> float:
        """The sum of all weights."""
        return sum(feature.weight for feature in self.features)


def shape(line: str, facts: ShellFacts, settings: RouterSettings) -> Shape:
    """Look at the whole line."""
    prose, contractions, elisions = line, 0, 0
    if "'" in line:
        prose, contractions = _CONTRACTION.re.subn("’", prose)
        prose, elisions = _ELISION.re.subn("’", prose)
    script = read(prose)
    outer = [command for command in script.commands if command.depth == 0]
    found = [word for command in outer for word in command.words][: MAX_WORDS + 1]
    first = outer[0].words[0] if outer and outer[0].words else None
    kind = facts.kind_of(first.text) if first else None
    files = frozenset(text for text in {word.text for word in found} if not text.startswith("-") and facts.has_file(text))
    features: list[Feature] = []
    if outer:
        features += _of_command_word(outer[0], kind, settings)
    if first is None or first.text not in FREE_TEXT or not (kind or first.text in PROGRAMS):
        if contractions:
            features.append(Feature("contraction", 1.2))
        if elisions:
            features.append(Feature("elision", 1.2))
        features += _of_words(found, files, kind, listed=len(outer) > 1)
        if kind and first:
            features += _of_operands(first.text, outer[0], facts, files)
    features += _of_structure(script, outer, facts, settings)
    features += _of_forms(found[1:], files)
    return Shape(script, first, kind, tuple(features))


def bare(text: str) -> str:
    """A word as it stands in a dictionary."""
    return text.strip(_STRIPPED).replace("'", "’").lower()


def names_program(name: str, facts: ShellFacts, settings: RouterSettings) -> bool:
    """Whether ``name`` in command position is plausible: the shell resolves it, or it is the name or path of a program."""
    known = name in PROGRAMS or name in settings.known_commands
    return bool(known or facts.kind_of(name) or is_path(name) or name in ("[", "[[", "{", "(("))


def _of_command_word(command: Command, kind: str | None, settings: RouterSettings) -> Iterator[Feature]:
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
    elif is_path(name) and not _ALTERNATIVES.re.fullmatch(name):
        yield Feature("path", -4.0, name)
    elif word.expands:
        yield Feature("expansion", -2.0)
    elif core in TRADITIONAL:
        yield Feature("everyday_program", -1.3, core)
    elif core in EVERYDAY:
        yield Feature("everyday_program", -0.3 if core == name else 0.6, core)
    else:
        yield from _of_unknown_word(name, core)


def _resolved_weight(name: str, kind: str) -> float:
    """How much it says that the shell resolves the first word: less where it also begins sentences."""
    if kind == "alias":
        return -3.2
    if name in TRADITIONAL:
        return -1.6
    if name in vocabulary.ASKING or name in vocabulary.QUESTIONS:
        return -1.2
    return -1.6 if name in EVERYDAY or (name in vocabulary.EVERYDAY_WORDS and len(name) > 2) else -3.2


def _of_unknown_word(name: str, core: str) -> Iterator[Feature]:
    if not name.isascii() and any(map(str.isalpha, name)):
        yield Feature("letters_beyond_ascii", 2.0, name[:20])
    elif core in vocabulary.ASKING:
        yield Feature("asks", 1.5, core)
    elif core in vocabulary.POLITE or core in vocabulary.QUESTIONS:
        yield Feature("opens_sentence", 1.5, core)
    elif core in vocabulary.EVERYDAY_WORDS or core in vocabulary.ARTICLES or core in vocabulary.POINTING or core == "a":
        yield Feature("everyday_word", 1.0, core)
    elif core in vocabulary.FOREIGN:
        yield Feature("foreign_word", 1.0, core)
    elif "-" in core and all(part in vocabulary.EVERYDAY_WORDS for part in core.split("-")):
        yield Feature("everyday_word", 1.0, core)
    elif len(name) <= MAX_LENGTH and _NAME.re.fullmatch(name):
        yield Feature("name_like", -1.2, name)
    else:
        yield Feature("unknown_word", -0.8 if name[:1].islower() or len(name) < 3 else 0.4, name[:20])


# What one word in a sentence says: a name, its weight, and the words.
_FUNCTION_WORDS: tuple[tuple[str, float, frozenset[str]], ...] = (
    ("article", 1.9, vocabulary.ARTICLES),
    ("determiner", 1.7, vocabulary.DETERMINERS),
    ("pronoun", 1.3, vocabulary.PRONOUNS),
    ("polite", 2.2, vocabulary.POLITE),
    ("verb", 1.1, vocabulary.VERBS),
    ("question", 1.0, vocabulary.QUESTIONS),
    ("pointing", 0.9, vocabulary.POINTING),
    ("strong_link", 1.2, vocabulary.STRONG_LINKS),
    ("link", 0.8, vocabulary.LINKS),
    ("weak_link", 0.6, vocabulary.WEAK_LINKS),
    ("foreign", 0.9, vocabulary.FOREIGN),
    ("everyday", 0.3, vocabulary.EVERYDAY_WORDS),
)
_WORD_WEIGHTS: dict[str, tuple[str, float]] = {
    word.replace("'", "’"): (name, weight) for name, weight, group in reversed(_FUNCTION_WORDS) for word in group
}
_HOLDING = frozenset("article determiner pronoun verb pointing link strong_link polite question".split())
_MOST: dict[str, float] = {"everyday": 0.8, "weak_link": 0.9, "foreign": 3.6, "verb": 3.3}


def _of_words(found: list[Word], files: frozenset[str], kind: str | None, *, listed: bool) -> Iterator[Feature]:
    """Function words, punctuation and everyday words after the first one."""
    spent: dict[str, float] = {}
    plain = 0
    for position, word in enumerate(found):
        if word.quoted or word.expands or len(word.text) > MAX_LENGTH:
            continue
        core = bare(word.text)
        plain += bool(_is_plain(core))
        if position and not word.text.startswith("-") and not (listed and core in _SYNTAX) and word.text not in files:
            feature = _of_word(core, found[position + 1 : position + 2])
            if feature and spent.get(feature.name, 0.0) < _MOST.get(feature.name, 4.8):
                spent[feature.name] = spent.get(feature.name, 0.0) + feature.weight
                yield feature
        if word.text.endswith(",") and _is_plain(core) and position + 1 < len(found) and "comma" not in spent:
            spent["comma"] = 0.8
            yield Feature("comma", 0.8)
    if plain >= 6 and plain >= 0.8 * len(found) and spent.keys() & _HOLDING:
        yield Feature("many_words", 0.8)
    if found:
        yield from _of_ending(found[-1], len(found), files, kind)


def _of_word(core: str, following: list[Word]) -> Feature | None:
    if core == "a":
        follows = bool(following) and len(following[0].text) > 2 and _is_plain(bare(following[0].text))
        return Feature("article", 1.7, core) if follows else None
    if core in _WORD_WEIGHTS:
        name, weight = _WORD_WEIGHTS[core]
        return Feature(name, weight, core)
    if not core.isascii() and _is_plain(core):
        return Feature("foreign", 0.7, core[:20])
    return None


def _of_ending(last: Word, count: int, files: frozenset[str], kind: str | None) -> Iterator[Feature]:
    text = last.raw[-MAX_LENGTH:]
    if not text or text[-1] not in '?？!.。！)"' or last.raw in files:
        return
    if _QUESTION.re.search(text) and "/" not in text and "*" not in text:
        yield Feature("question_mark", 2.0 if count > 1 or kind is None else 0.6)
    elif count > 2 and _STOP.re.search(text) and not set(text) & set("/*="):
        yield Feature("full_stop", 0.8)


def _of_operands(name: str, command: Command, facts: ShellFacts, files: frozenset[str]) -> Iterator[Feature]:
    """Whether the operands of a command are what it takes."""
    operands = [word for word in command.words[1:] if not word.text.startswith("-")]
    if name in _NEEDS_COMMAND and command.words[1:]:
        inner = launched(tuple(word.text for word in command.words)) if name not in PREFIX_KEYWORDS - {"time", "coproc"} else ()
        target = inner[0] if inner else command.words[1].text
        if not (facts.kind_of(target) or target in PROGRAMS or not (target.isascii() and _is_plain(target) and target.islower())):
            yield Feature("operand_no_command", 1.6, target)
    elif name == "for" and operands:
        if len(command.words) > 2 and command.words[2].text != "in" and not operands[0].text.startswith("("):
            yield Feature("no_syntax", 2.4, name)
    elif name in ("case", "select") and operands and "in" not in [word.text for word in operands[:3]]:
        yield Feature("no_syntax", 2.4, name)
    elif name in _NEEDS_NOTHING and any(_is_plain(word.text) for word in operands):
        yield Feature("operand_of_none", 1.4, operands[0].text)
    if name in _NEEDS_FILES and len(operands) >= 2:
        missing = [word for word in operands if _is_everyday(word) and word.text not in files]
        if len(missing) >= 2:
            yield Feature("operands_no_files", min(0.5 * len(missing), 1.5), " ".join(word.text for word in missing[:3]))


def _is_everyday(word: Word) -> bool:
    return not word.quoted and bare(word.text) in vocabulary.EVERYDAY_WORDS


def _of_structure(script: Script, outer: list[Command], facts: ShellFacts, settings: RouterSettings) -> Iterator[Feature]:
    """What only the shell's grammar has."""
    yield from _of_marks(script.marks)
    for command in outer[1:]:
        joined = command.joined
        if joined in ("|", "|&", "&&", "||", ";", "&", "\n", ";;", "()") and command.words:
            if names_program(command.words[0].text, facts, settings):
                everyday = command.words[0].text in EVERYDAY
                yield Feature("operator", -1.0 if everyday and joined in (";", "&", "\n") else -2.6, joined.strip() or "newline")
                break
            if joined in ("|", "|&", "&&", "||"):
                yield Feature("operator", -1.6, joined)
                break
    for command in outer:
        for operator, target in command.redirects:
            weight = -0.4 if _SIZE.re.fullmatch(target) and operator in "<>" else -2.2
            yield Feature("redirection", weight, operator)
            break


_MARKS: tuple[tuple[str, float], ...] = (
    ("substitution", -2.6),
    ("variable", -1.6),
    ("backquote", -0.8),
    ("heredoc", -3.0),
    ("function", -4.0),
)


def _of_marks(marks: set[str]) -> Iterator[Feature]:
    for mark, weight in _MARKS:
        if mark in marks:
            yield Feature(mark, weight)


def is_path(name: str) -> bool:
    """Whether a word in command position is a path to a program, in the way of Unix or Windows."""
    return ("/" in name or "\\" in name) and len(name) <= MAX_LENGTH and _PATH_COMMAND.re.fullmatch(name) is not None


def _is_plain(text: str) -> bool:
    """Whether a word has letters only, of any script; hyphens, apostrophes and slashes may stand between them."""
    return text[:1].isalpha() and text[-1:].isalpha() and text.replace("-", "").replace("’", "").replace("/", "").isalpha()


def _is_option(text: str) -> bool:
    return text.startswith(("-", "+")) and _OPTION.re.match(text) is not None


def _is_key_value(text: str) -> bool:
    return "=" in text and _KEY_VALUE.re.fullmatch(text) is not None


def _is_glob(text: str) -> bool:
    return bool(_GLOBBING.intersection(text)) and _GLOB.re.fullmatch(text) is not None and not _EMPHASIS.re.fullmatch(text)


def _is_host(text: str) -> bool:
    return ("@" in text or ":" in text or text[:1].isdigit()) and _HOST.re.fullmatch(text) is not None


def _is_file_like(text: str) -> bool:
    if text in _FILE_NAMES:
        return True
    return bool(_PATHING.intersection(text)) and _FILE_LIKE.re.fullmatch(text) is not None and not _ALTERNATIVES.re.fullmatch(text)


_GLOBBING = frozenset("*[{")
_PATHING = frozenset("./~")
_FILE_NAMES = frozenset("Makefile Dockerfile Vagrantfile Gemfile Procfile Jenkinsfile README LICENSE CHANGELOG".split())

# How an operand may look that a sentence seldom has: a name, the weight of the first, of each further one, and the test.
_FORMS: tuple[tuple[str, float, float, Callable[[str], bool]], ...] = (
    ("option", -2.6, -0.6, _is_option),
    ("key_value", -1.6, -0.4, _is_key_value),
    ("glob", -1.4, -0.2, _is_glob),
    ("host", -0.7, -0.2, _is_host),
    ("file_like", -0.6, -0.2, _is_file_like),
)


def _of_forms(found: list[Word], files: frozenset[str]) -> Iterator[Feature]:
    """Options, globs, files, hosts and settings among the operands."""
    seen: dict[str, int] = {}
    for word in found:
        text = word.text if word.raw[:1] in "\"'" else word.raw
        if len(text) > MAX_LENGTH:
            continue
        if word.text in files:
            name, first, further = "file", -1.0, -0.3
        else:
            matching = next((form for form in _FORMS if form[3](text)), None)
            if matching is None or (word.quoted and matching[0] in ("glob", "host")):
                continue
            name, first, further = matching[:3]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= 4:
            yield Feature(name, first if seen[name] == 1 else further, text[:40])
