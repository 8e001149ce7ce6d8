"""Command lines as the shell reads them: commands with their words, redirections and what joins them, substitutions included.

Reads the grammar that POSIX shells, bash and zsh share (POSIX.1-2024, Shell Command Language 2.2 to 2.10) in time linear in the text.
Never raises: what is not closed is read to the end and marked ``unbalanced``.
"""

from __future__ import annotations

import re

from runloop.patterns import lazy

MAX_DEPTH = 40

_REDIRECTING = frozenset("<>&0123456789")
_BEFORE_A_COMMAND = frozenset("! { if then elif else while until do time".split())

_WORDS_ONLY = re.compile(r"[^'\"\\$`|&;<>()#\n\0]*")
_PLAIN = re.compile(r"[^\s'\"\\$`|&;<>()#]+")
_IN_DOUBLE = lazy(r"[^\"\\$`]+")
_IN_BRACES = lazy(r"[^}'\"\\$`]+")
_IN_ANSI_C = lazy(r"'((?:[^'\\]|\\.)*)'?", re.DOTALL)
_IN_BACKQUOTES = lazy(r"`((?:[^`\\]|\\.)*)`?", re.DOTALL)
_BACKQUOTED = lazy(r"\\([`$\\])")
_SPACE = re.compile(r"(?:[ \t\r\f\v\0]|\\\n|(?!\n)\s)+")
_CONTROL = lazy(r"&&|\|\||;;&|;;|;&|\|&|&(?!>)|[|;]")
_FISH_PIPE = lazy(r"[0-9]*>\|")
_FISH_ESCAPE = lazy(r"\\(['\\])")
_REDIRECT = lazy(r"[0-9]*(?:<<<|<<-?|<>|<&|>&|>>|>\||[<>](?!\())|&>>?")
_VARIABLE = lazy(r"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-])")
_ASSIGNMENT = lazy(r"[A-Za-z_]\w*(?:\[[^]]*\])?\+?=", re.ASCII)


class Word:
    """One word: ``text`` without its quotes, ``raw`` as typed."""

    __slots__ = ("expands", "quoted", "raw", "text")

    def __init__(self, text: str, raw: str, *, quoted: bool, expands: bool) -> None:
        self.text = text
        self.raw = raw
        self.quoted = quoted
        self.expands = expands


class Command:
    """One simple command. ``joined`` is what stands before it (``|``, ``&&``, ``;`` …, empty for the first one of a list)."""

    __slots__ = ("assignments", "depth", "inputs", "joined", "redirects", "words")

    def __init__(self, joined: str, depth: int) -> None:
        self.joined = joined
        self.depth = depth
        self.assignments: list[Word] = []
        self.words: list[Word] = []
        self.redirects: list[tuple[str, str]] = []
        self.inputs: list[str] = []  # bodies of here-documents and here-strings


class Script:
    """All commands of a text, outer before inner ones of the same start, and marks of what else was seen."""

    __slots__ = ("commands", "ended", "marks")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.marks: set[str] = set()
        self.ended = False  # whether it ends with a `;` or `&`


def read(text: str, *, grouping: bool = False, fish: bool = False) -> Script:
    """The commands in ``text``. With ``grouping`` any unquoted parenthesis opens commands, as in fish and in zsh's ``=(…)``.

    With ``fish`` quotes, backquotes and ``>|`` are fish's too.
    """
    if _WORDS_ONLY.fullmatch(text):
        return _read_words(text)
    reader = _Reader(text, grouping=grouping or fish, fish=fish)
    reader.commands(None, 0)
    return reader.script


def _read_words(text: str) -> Script:
    """What :class:`_Reader` makes of a text that has nothing but words, sooner."""
    script, command = Script(), Command("", 0)
    for word in text.split():
        leads = not command.words and "=" in word and _ASSIGNMENT.match(word)
        (command.assignments if leads else command.words).append(Word(word, word, quoted=False, expands=False))
    if command.words or command.assignments:
        script.commands.append(command)
    return script


class _Reader:
    """A position in a text, and what was found up to it."""

    def __init__(self, text: str, *, grouping: bool = False, fish: bool = False) -> None:
        self.text = text
        self.grouping = grouping
        self.fish = fish
        self.at = 0
        self.script = Script()
        self.arithmetic = 0
        self.cases = 0  # that are open within the innermost commands
        self.waiting: list[tuple[Command, Word, bool]] = []  # here-documents whose body follows the line

    def find(self, char: str) -> int:
        """The next ``char`` from here, -1 for none; whoever finds none goes to the end, so that all searches together are linear."""
        return self.text.find(char, self.at)

    def commands(self, end: str | None, depth: int, *, collect: bool = True) -> None:
        """Read commands up to and with ``end``."""
        text, size = self.text, len(self.text)
        current = Command("", depth)
        outer, self.cases = self.cases, 0
        while self.at < size:
            char = text[self.at]
            if char == end and not (char == ")" and self.cases + _opened(current) > 0):
                break
            if self.skip(char):
                continue
            if char == "\n":
                self.at += 1
                current = self.finish(current, "\n", collect=collect)
                self.here_documents(depth)
            elif char == ")":
                self.at += 1  # after the pattern of a case, which is no command
                pattern = self.cases > 0 and _opened(current) <= 0
                current = self.finish(current, ")", collect=collect and not pattern)
            elif char == "(" and (self.grouping or not current.words):
                self.at += 1
                self.script.marks.add("group")
                self.nested(")", depth)
            elif char in "&|;" and (control := _CONTROL.match(text, self.at)):
                self.at = control.end()
                self.script.marks.add(control[0])
                current = self.finish(current, control[0], collect=collect)
            elif self.fish and char in _REDIRECTING and (pipe := _FISH_PIPE.match(text, self.at)):
                self.at = pipe.end()
                self.script.marks.add("|")
                current = self.finish(current, "|", collect=collect)
            elif char in _REDIRECTING and (redirect := _REDIRECT.match(text, self.at)):
                self.at = redirect.end()
                self.redirect(redirect[0], current, depth)
            else:
                current = self.take_word(current, depth)
        self.script.ended = current.joined in (";", "&") and not (current.words or current.assignments)
        self.finish(current, "", collect=collect)
        self.cases = outer
        if end is not None:
            if self.at >= size:
                self.script.marks.add("unbalanced")
            self.at += 1

    def finish(self, command: Command, joined: str, *, collect: bool) -> Command:
        """Keep the command unless it is empty, and begin the next."""
        self.cases += _opened(command)
        if collect and (command.words or command.assignments or command.redirects):
            self.script.commands.append(command)
        return Command(joined, command.depth)

    def skip(self, char: str) -> bool:
        """Go past white space or a comment, if one begins here."""
        if space := _SPACE.match(self.text, self.at):
            self.at = space.end()
            return True
        if char == "#":
            self.script.marks.add("comment")
            line_end = self.find("\n")
            self.at = len(self.text) if line_end < 0 else line_end
        return char == "#"

    def take_word(self, current: Command, depth: int) -> Command:
        word = self.word(depth)
        if self.text.startswith("()", self.at) and not current.words:
            self.at += 2
            self.script.marks.add("function")
            return Command("()", depth)
        if not current.words and "=" in word.raw and _ASSIGNMENT.match(word.raw):
            current.assignments.append(word)
        else:
            current.words.append(word)
        return current

    def redirect(self, operator: str, current: Command, depth: int) -> None:
        space = _SPACE.match(self.text, self.at)
        if space:
            self.at = space.end()
        target = self.word(depth) if self.at < len(self.text) and self.text[self.at] not in "\n|&;<>)" else None
        current.redirects.append((operator, target.text if target else ""))
        if operator.endswith("<<<") and target:
            current.inputs.append(target.text)
        elif operator.endswith(("<<", "<<-")) and target and not self.arithmetic:
            self.script.marks.add("heredoc")
            self.waiting.append((current, target, operator.endswith("-")))

    def here_documents(self, depth: int) -> None:
        """The bodies of the here-documents that the line before announced; what stands in them expands where no quote forbids it."""
        for command, delimiter, strip in self.waiting:
            lines = []
            while self.at < len(self.text):
                end = self.find("\n")
                line = self.text[self.at :] if end < 0 else self.text[self.at : end]
                self.at = len(self.text) if end < 0 else end + 1
                line = line.lstrip("\t") if strip else line
                if line == delimiter.text:
                    break
                lines.append(line)
            command.inputs.append("\n".join(lines))
            if not delimiter.quoted:
                self.within(command.inputs[-1], depth)
        self.waiting = []

    def within(self, body: str, depth: int) -> None:
        """The commands that stand in a here-document."""
        reader = _Reader(body, grouping=self.grouping)
        while reader.at < len(body) and depth < MAX_DEPTH:  # a double quote is a character like others there
            reader.double([], depth + 1)
        self.script.commands += reader.script.commands
        self.script.marks |= reader.script.marks - {"unbalanced"}

    def backquoted(self, depth: int) -> None:
        """The commands between backquotes, where a backslash quotes a backquote, a dollar sign or a backslash."""
        inner = _IN_BACKQUOTES.match(self.text, self.at)
        assert inner is not None  # noqa: S101 - a backquote stands here
        self.at = inner.end()
        self.script.marks |= {"backquote"} if inner.end(1) < inner.end() else {"backquote", "unbalanced"}
        reader = _Reader(_BACKQUOTED.sub(r"\1", inner[1]), grouping=self.grouping)
        if depth >= MAX_DEPTH:
            self.script.marks |= {"too_deep", "unbalanced"}
            return
        reader.commands(None, depth + 1)
        self.script.commands += reader.script.commands
        self.script.marks |= reader.script.marks

    def nested(self, end: str, depth: int, *, collect: bool = True) -> None:
        """Commands within; too deep, they are left unread."""
        if depth >= MAX_DEPTH:
            self.script.marks |= {"too_deep", "unbalanced"}
            self.at = len(self.text)
        else:
            self.commands(end, depth + 1, collect=collect)

    def word(self, depth: int) -> Word:
        """One word from here on; always takes at least one character."""
        text, size, start = self.text, len(self.text), self.at
        parts: list[str] = []
        quoted = expands = False
        while self.at < size:
            char = text[self.at]
            if char in "\\'\"":
                quoted = True
                expands |= self.quotation(char, parts, depth)
            elif self.expands_here():
                quoted |= not self.fish and text.startswith(("$'", '$"'), self.at)
                parts.append(self.expansion(depth, quotes=True))
                expands = True
            elif char == "(" and self.at > start and not text.startswith("()", self.at):
                parts.append(char)
                self.at += 1
                array = text[self.at - 2] == "=" and self.at - 2 > start
                self.nested(")", depth, collect=self.grouping and not array)  # else it is an array or a pattern
            elif plain := _PLAIN.match(text, self.at):
                parts.append(plain[0])
                self.at = plain.end()
            elif self.at == start or char == "#":
                parts.append(char)
                self.at += 1
            else:
                break
        self.at = min(self.at, size)
        return Word("".join(parts), text[start : self.at], quoted=quoted, expands=expands)

    def expands_here(self) -> bool:
        """Whether an expansion begins here, and not the end of the one around this word."""
        char = self.text[self.at]
        if char in "<>":
            return self.text.startswith("(", self.at + 1)
        return char == "$" or (char == "`" and not self.fish)

    def quotation(self, char: str, parts: list[str], depth: int) -> bool:
        """A backslash or a quote and what it quotes, into ``parts``; whether anything in it expands."""
        if char == "\\":
            parts.append(self.text[self.at + 1 : self.at + 2].replace("\n", ""))
            self.at += 2
        elif char == "'":
            parts.append(self.single())
        else:
            self.at += 1
            return self.double(parts, depth)
        return False

    def single(self) -> str:
        """What stands between single quotes."""
        self.at += 1
        if self.fish:
            self.at -= 1
            return _FISH_ESCAPE.sub(r"\1", self.ansi_c())
        end = self.find("'")
        if end < 0:
            self.script.marks.add("unbalanced")
            end = len(self.text)
        inner = self.text[self.at : end]
        self.at = end + 1
        return inner

    def double(self, parts: list[str], depth: int) -> bool:
        """What stands between double quotes, into ``parts``; whether anything in it expands."""
        text, size, expands = self.text, len(self.text), False
        while self.at < size:
            char = text[self.at]
            if char == '"':
                self.at += 1
                return expands
            if inner := _IN_DOUBLE.match(text, self.at):
                parts.append(inner[0])
                self.at = inner.end()
            elif char == "\\":
                escaped = text[self.at + 1 : self.at + 2]
                parts.append(escaped if escaped in ("$", "`", '"', "\\") else "" if escaped == "\n" else char + escaped)
                self.at += 2
            else:
                parts.append(self.expansion(depth))
                expands = True
        self.script.marks.add("unbalanced")
        return expands

    def expansion(self, depth: int, *, quotes: bool = False) -> str:
        """A ``$``, a backquote or ``<(`` and what it expands: commands are read, the rest is text as typed.

        ``quotes``: whether quotes count here, which within double ones they do not.
        """
        text, start = self.text, self.at
        if text[start] in "<>":
            self.at += 2
            self.script.marks.add("substitution")
            self.nested(")", depth)
        elif text[start] == "`" and not self.fish:
            self.backquoted(depth)
        elif text.startswith("$(", start):
            self.script.marks.add("substitution")
            arithmetic = text.startswith("$((", start)
            self.at += 2
            self.arithmetic += arithmetic
            self.nested(")", depth)
            self.arithmetic -= arithmetic
        elif text.startswith("${", start):
            self.at += 2
            self.braced(depth + 1, quotes=quotes)
        elif quotes and not self.fish and text.startswith("$'", start):
            self.at += 1
            return self.ansi_c()
        elif quotes and not self.fish and text.startswith('$"', start):
            self.at += 1
            return ""
        elif variable := _VARIABLE.match(text, start):
            self.at = variable.end()
            if not variable[0][1:].isdigit():
                self.script.marks.add("variable")
        else:
            self.at += 1
        return text[start : self.at]

    def ansi_c(self) -> str:
        """What stands between a quote and the next one that no backslash is before."""
        inner = _IN_ANSI_C.match(self.text, self.at)
        assert inner is not None  # noqa: S101 - a quote stands here
        self.at = inner.end()
        if inner.end(1) == inner.end():
            self.script.marks.add("unbalanced")
        return str(inner[1])

    def braced(self, depth: int, *, quotes: bool) -> None:
        """What follows ``${`` up to and with its ``}``."""
        text, size = self.text, len(self.text)
        while self.at < size and depth < MAX_DEPTH:
            char = text[self.at]
            if char == "}":
                self.at += 1
                self.script.marks.add("variable")
                return
            if inner := _IN_BRACES.match(text, self.at):
                self.at = inner.end()
            elif char == "\\":
                self.at += 2
            elif char == '"':
                self.at += 1
                self.double([], depth)
            elif char == "'":
                if quotes:
                    self.single()
                else:
                    self.at += 1
            else:
                self.expansion(depth, quotes=quotes)
        self.script.marks.add("unbalanced")
        self.at = size


def _opened(command: Command) -> int:
    """1 for a command that begins a ``case``, -1 for one that ends one."""
    words = [word.text for word in command.words]
    first = next((at for at, word in enumerate(words) if word not in _BEFORE_A_COMMAND), 0)
    return (words[first : first + 3 : 2] == ["case", "in"]) - (words[first : first + 1] == ["esac"])
