"""The shape of a line: what in it speaks for a sentence and what for a command, each with its weight.

Weights are in one unit: 1 is about what one article says. They add up to the score of the line; above 0 it reads like a sentence.
"""

from __future__ import annotations

from runloop.patterns import lazy
from runloop.router import words as vocabulary
from runloop.router.head import of_command_word
from runloop.router.known import EVERYDAY, PROGRAMS, TRADITIONAL
from runloop.router.lexer import Command, Script, Word, read
from runloop.router.tokens import (
    MAX_LENGTH,
    bare,
    is_address,
    is_file_like,
    is_glob,
    is_host,
    is_identifier,
    is_key_value,
    is_option,
    is_path,
    is_plain,
)
from runloop.router.unwrap import PREFIX_KEYWORDS, launched
from runloop.router.values import Feature, RouterSettings, ShellFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_WORDS = 300  # of a longer line only so many are looked at

_CONTRACTION = lazy(r"(?<=[A-Za-z])'(?=(?:s|t|re|ll|ve|d|m)\b)|(?<=\bo)'(?=clock\b)")
_ELISION = lazy(r"(?:(?<=(?<![\w=/$])[lLdDjJnNsScCmMtT])|(?<=\b[qQ]u)|(?<=aujourd))'(?=[a-zàâäéèêëîïôöûüh])")
_SIZE = lazy(r"\d[\d.,]*\s*[A-Za-z%€$£]{0,3}|")
_QUESTION = lazy(r"[\w)\"'’]\s*[?？]+[!)\"]*$")
_STOP = lazy(r"[^\W\d_]{2,}[.!。！]+$")

FREE_TEXT = frozenset(
    "echo printf cowsay cowthink figlet toilet banner espeak logger wall notify-send apropos rlp task jrnl say toot".split()
)
_TAKES_TIMES = frozenset("alarm at batch cal calendar date remind sleep timer".split())
_SUBCOMMANDS = frozenset("add append del done init ls rm".split())  # no English after a noun
_NEEDS_COMMAND = frozenset("time watch exec nohup nice command builtin coproc do then else if while until not and or".split())
_NEEDS_FILES = frozenset(
    """
cat clear cut date file find fold head help host join kill less link look mail make man more open paste patch sort source split
stat strip sum tail test top touch view wc which who write
""".split()
)

_TARGETS = frozenset("all build check clean deploy docs format install lint release run setup start stop test update".split())  # of `make`

_SYNTAX = PREFIX_KEYWORDS | frozenset("in done fi esac".split())  # words that join commands where there are several
_TOPICAL = frozenset("about concerning on regarding".split())  # never a recipient between two names
_NEEDS_NOTHING = frozenset("exit continue break return jobs times logout history uptime pwd".split())


_LOOP = frozenset("do done end".split())
_CLOSING = {  # what begins a later command of a compound one
    **dict.fromkeys("for foreach while until select repeat".split(), _LOOP),
    "if": frozenset("then fi end".split()),
    "case": frozenset(("esac", "end")),
    "begin": frozenset(("end",)),
}


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
        prose, contractions = _CONTRACTION.subn("’", prose)
        prose, elisions = _ELISION.subn("’", prose)
    script = read(prose)
    outer = [command for command in script.commands if command.depth == 0]
    found = [word for command in outer for word in command.words][: MAX_WORDS + 1]
    first = outer[0].words[0] if outer and outer[0].words else None
    kind = facts.kind_of(first.text) if first else None
    files = frozenset(text for text in {word.text for word in found} if not text.startswith("-") and facts.has_file(text))
    said: list[Feature] = []
    if first is None or first.text not in FREE_TEXT or not (kind or first.text in PROGRAMS or first.text in TRADITIONAL):
        if contractions:
            said.append(Feature("contraction", 1.2))
        if elisions:
            said.append(Feature("elision", 1.2))
        said += _of_words(found, files, kind, certain=first is not None and first.text in PROGRAMS, listed=len(outer) > 1)
        if first and first.text in _TAKES_TIMES:
            said = [feature for feature in said if feature.name not in ("time", "amount")]
        if first and first.text == "mail":
            said += _of_topic(outer[0])
        if kind and first:
            said += _of_operands(first.text, outer[0], facts, files)
    features: list[Feature] = []
    if outer:
        features += of_command_word(outer[0], kind, settings, held=any(feature.name in _HOLDING for feature in said))
    features += said
    features += _of_structure(script, outer, facts, settings)
    features += _of_forms(found[1:], files)
    if first and len(found) > 1 and found[1].text in _SUBCOMMANDS and first.text not in vocabulary.ASKING:
        features.append(Feature("subcommand", -2.4, found[1].text))
    return Shape(script, first, kind, tuple(features))


def names_program(name: str, facts: ShellFacts, settings: RouterSettings) -> bool:
    """Whether ``name`` in command position is plausible: the shell resolves it, or it is the name or path of a program."""
    known = name in PROGRAMS or name in settings.known_commands
    return bool(known or facts.kind_of(name) or is_path(name) or name in ("[", "[[", "{", "(("))


# What one word in a sentence says: a name, its weight, and the words.
_FUNCTION_WORDS: tuple[tuple[str, float, frozenset[str]], ...] = (
    ("article", 1.9, vocabulary.ARTICLES),
    ("determiner", 1.7, vocabulary.DETERMINERS),
    ("pronoun", 1.3, vocabulary.PRONOUNS),
    ("polite", 2.2, vocabulary.POLITE),
    ("verb", 1.1, vocabulary.VERBS),
    ("question", 1.0, vocabulary.QUESTIONS),
    ("pointing", 1.2, vocabulary.POINTING),
    ("strong_link", 1.2, vocabulary.STRONG_LINKS),
    ("link", 0.8, vocabulary.LINKS),
    ("weak_link", 0.6, vocabulary.WEAK_LINKS),
    ("foreign", 0.9, vocabulary.FOREIGN),
    ("time", 0.7, vocabulary.TIMES),
    ("amount", 0.7, vocabulary.AMOUNTS),
    ("describing", 0.5, vocabulary.DESCRIBING),
    ("everyday", 0.3, vocabulary.EVERYDAY_WORDS),
)
_WORD_WEIGHTS: dict[str, tuple[str, float]] = {
    word.replace("'", "’"): (name, weight) for name, weight, group in reversed(_FUNCTION_WORDS) for word in group
}
_GRAMMAR = frozenset("article determiner pronoun verb pointing link strong_link polite question".split())
_HOLDING = _GRAMMAR | frozenset("weak_link foreign time comma contraction elision question_mark full_stop".split())
_LINKING = frozenset("link strong_link weak_link pointing".split())  # subcommands and operands of some programs, too: `ip`, `tc`, `tar`
_MOST: dict[str, float] = {"everyday": 0.8, "weak_link": 0.9, "foreign": 3.6, "verb": 3.3, "time": 1.4, "name": 0.6}
_MOST_LINKING = 2.2  # of a line that begins with the name of a program
_QUANTIFYING = frozenset("all any both".split())
_SPOKEN_LAST = frozenset("some that these this those".split())
_TRAILING = 0.3  # what links and points says nothing more at the end of a line


def _of_words(found: list[Word], files: frozenset[str], kind: str | None, *, certain: bool, listed: bool) -> Iterator[Feature]:
    """Function words, punctuation and everyday words after the first one. ``certain``: that is the name of a program, and no other word."""
    spent: dict[str, float] = {}
    plain = 0
    for position, word in enumerate(found):
        if word.quoted or word.expands or len(word.text) > MAX_LENGTH:
            continue
        core = bare(word.text)
        plain += bool(is_plain(core))
        if position and not word.text.startswith("-") and not (listed and core in _SYNTAX) and word.text not in files:
            for feature in _at(found, position, core):
                if _spend(feature, spent, certain=certain):
                    yield feature
        if word.text.endswith(",") and is_plain(core) and position + 1 < len(found) and "comma" not in spent:
            spent["comma"] = 0.8
            yield Feature("comma", 0.8)
    if plain >= 6 and plain >= 0.8 * len(found) and spent.keys() & _GRAMMAR:
        yield Feature("many_words", 0.8)
    if len(found) == 2 and " ".join(bare(word.raw) for word in found) in vocabulary.IDIOMS:
        yield Feature("idiom", 3.2)
    if found:
        yield from _of_ending(found[-1], len(found), files, kind)


def _spend(feature: Feature, spent: dict[str, float], *, certain: bool) -> bool:
    """Whether a feature may still be added; adds it to what was spent on its name, and on links."""
    if feature.name in _LINKING or feature.name == "trailing":
        linking = spent.get("linking", 0.0) + feature.weight
        spent["linking"] = linking
        if certain and linking > _MOST_LINKING:
            return False
    if spent.get(feature.name, 0.0) >= _MOST.get(feature.name, 4.8):
        return False
    spent[feature.name] = spent.get(feature.name, 0.0) + feature.weight
    return True


def _at(found: list[Word], position: int, core: str) -> Iterator[Feature]:
    """What the word says where it stands."""
    word, last = found[position], position == len(found) - 1
    if position > 1 and word.text.istitle() and is_plain(core) and bare(found[position - 1].text) in vocabulary.NAMING:
        yield Feature("name", 0.6, core[:20])
    feature = _of_word(core, found[position + 1 : position + 2])
    if feature is None:
        return
    if last and feature.name == "polite" and position > 1:
        yield Feature("polite", 3.2, core)
    elif last and feature.name in _LINKING and word.text == core and core not in _SPOKEN_LAST:
        yield Feature("trailing", min(feature.weight, _TRAILING), core)
    else:
        yield feature
    if core in _QUANTIFYING and any(_is_plural(each) for each in found[position + 1 : position + 4]):
        yield Feature("quantified", 0.5, core)
    if position == 1 and not last and feature.name in ("article", "determiner", "amount"):
        yield Feature("object", 0.6, core)


def _is_plural(word: Word) -> bool:
    core = bare(word.text)
    return len(core) > 3 and core.endswith("s") and is_plain(core) and not word.quoted


def _of_word(core: str, following: list[Word]) -> Feature | None:
    if core == "a":
        follows = bool(following) and len(following[0].text) > 2 and is_plain(bare(following[0].text))
        return Feature("article", 1.7, core) if follows else None
    if core in _WORD_WEIGHTS:
        name, weight = _WORD_WEIGHTS[core]
        return Feature(name, weight, core)
    if not core.isascii() and is_plain(core):
        return Feature("foreign", 0.7, core[:20])
    return None


def _of_ending(last: Word, count: int, files: frozenset[str], kind: str | None) -> Iterator[Feature]:
    text = last.raw[-MAX_LENGTH:]
    if not text or text[-1] not in '?？!.。！)"' or last.raw in files:
        return
    if _QUESTION.search(text) and "/" not in text and "*" not in text:
        yield Feature("question_mark", 2.0 if count > 1 or kind is None else 0.6)
    elif count > 2 and _STOP.search(text) and not set(text) & set("/*="):
        yield Feature("full_stop", 0.8)


def _of_operands(name: str, command: Command, facts: ShellFacts, files: frozenset[str]) -> Iterator[Feature]:
    """Whether the operands of a command are what it takes."""
    operands = [word for word in command.words[1:] if not word.text.startswith("-")]
    if name in _NEEDS_COMMAND and command.words[1:]:
        inner = launched(tuple(word.text for word in command.words)) if name not in PREFIX_KEYWORDS - {"time", "coproc"} else ()
        target = inner[0] if inner else command.words[1].text
        if not (facts.kind_of(target) or target in PROGRAMS or not (target.isascii() and is_plain(target) and target.islower())):
            yield Feature("operand_no_command", 1.6, target)
    elif name == "for" and operands:
        if len(command.words) > 2 and command.words[2].text != "in" and not operands[0].text.startswith("("):
            yield Feature("no_syntax", 2.4, name)
    elif name in ("case", "select") and operands and "in" not in [word.text for word in operands[:3]]:
        yield Feature("no_syntax", 2.4, name)
    elif name == "who" and len(operands) > 1 and operands[0].text in vocabulary.VERBS - {"am"}:  # `who am i` is one
        yield Feature("operand_is_verb", 1.4, operands[0].text)
    elif name in _NEEDS_NOTHING and any(is_plain(word.text) for word in operands):
        yield Feature("operand_of_none", 1.4, operands[0].text)
    if name in _NEEDS_FILES and len(operands) >= 2:
        known = files | _TARGETS if name == "make" else files
        missing = [word for word in operands if _is_everyday(word) and word.text not in known]
        if len(missing) >= 2:
            yield Feature("operands_no_files", min(0.5 * len(missing), 1.5), " ".join(word.text for word in missing[:3]))


def _of_topic(command: Command) -> Iterator[Feature]:
    """Whether a mail is to be *about* something: a program that sends mail takes recipients only."""
    words = [word.text for word in command.words[1:]]
    at = next((number for number, word in enumerate(words) if word in _TOPICAL), 0)
    if 0 < at < len(words) - 1 and all(is_plain(word) for word in words[: at + 2]):
        yield Feature("topic", 1.0, words[at])


def _is_everyday(word: Word) -> bool:
    return not word.quoted and bare(word.text) in vocabulary.EVERYDAY_WORDS


def _of_structure(script: Script, outer: list[Command], facts: ShellFacts, settings: RouterSettings) -> Iterator[Feature]:
    """What only the shell's grammar has."""
    yield from _of_marks(script.marks)
    closing = _CLOSING.get(outer[0].words[0].text, frozenset()) if outer and outer[0].words else frozenset()
    if any(command.words and command.words[0].text in closing for command in outer[1:]):
        yield Feature("compound", -9.0)
    if script.ended:
        yield Feature("terminator", -1.0)
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
            weight = -0.4 if _SIZE.fullmatch(target) and operator in "<>" else -2.2
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


# How an operand may look that a sentence seldom has: a name, the weight of the first, of each further one, and the test.
_FORMS: tuple[tuple[str, float, float, Callable[[str], bool]], ...] = (
    ("option", -2.6, -0.6, is_option),
    ("key_value", -1.6, -0.4, is_key_value),
    ("glob", -1.4, -0.2, is_glob),
    ("address", -1.2, -0.2, is_address),
    ("host", -0.7, -0.2, is_host),
    ("identifier", -0.7, -0.2, is_identifier),
    ("file_like", -0.6, -0.2, is_file_like),
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
