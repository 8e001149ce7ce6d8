"""The brace form, second half: tokens to the same tree of values and places that the YAML form gives.

Only syntax is known here: keys, nodes and edges become the mappings that their YAML would be, and every check is made on those. A syntax
error ends the reading; nesting and size have the limits of the YAML form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.openings.brace_tokens import COMPARISONS, END, STRING, TEMPLATE, WORD, tokenize
from runloop.openings.lines import Lines
from runloop.openings.scalars import UnsupportedScalarError, plain
from runloop.openings.yamltree import MAX_DEPTH, MAX_VALUES, Entry, Fields, Items, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings.brace_tokens import Token
    from runloop.openings.errors import OpeningError, Place, Report
    from runloop.openings.yamltree import Tree

VERSION = 0
"""The version of the language that a brace form without ``version`` is written in."""
HEADED = ("id", "use", "with")
"""Keys of a node that its head gives: ``id := agent("name", argument=value)``."""

_START = 'an opening starts with: opening "name" {'
_NAMES = {WORD: "a word", STRING: "text in quotes", TEMPLATE: "a template", END: "the end of the file"}


def compose(text: str, report: Report) -> Tree:
    """The opening in ``text``; a syntax error is raised as OpeningError, lesser problems go to the report."""
    return _Parser(text.removeprefix("\ufeff"), report).document()


class _Parser:
    """Reads tokens one by one; depth counts the collections around a value, as in the YAML form."""

    def __init__(self, text: str, report: Report) -> None:
        self._report = report
        self._lines = Lines(text)
        self._tokens, _ = tokenize(text, report)
        self._next = 0
        self._values = 0

    def document(self) -> Fields:
        start = self._take(WORD, _START)
        if start.text != "opening":
            raise self._wrong(start, "the word opening", _START)
        name = self._name("the opening's name")
        at = self._at(start)
        entries = {
            "version": Entry(at, Scalar(VERSION, at)),
            "name": Entry(self._at(name), Scalar(name.text, self._at(name))),
        }
        self._take("{", "the opening's parts stand in braces")
        given: dict[str, Entry] = {}
        while self._peek().kind != "}":
            key = self._key("}")
            self._take(":", f"write '{key.text}: …'")
            statement = {"nodes": self._node, "edges": self._edge}.get(key.text)
            value = self._section(statement, self._at(key)) if statement else self._value(2)
            self._put(given, key, value, ("name",), "the name stands behind 'opening'")
        self._take("}")
        if self._peek().kind != END:
            raise self._wrong(self._peek(), "the end of the file", "a file holds one opening")
        return Fields({**entries, **given}, at)

    def _section(self, statement: Callable[[], Fields], at: Place) -> Items:
        """Statements up to the next key or the closing brace."""
        items = []
        while self._peek().kind in (WORD, STRING) and self._peek(1).kind != ":":
            items.append(statement())
        return Items(tuple(items), at)

    def _node(self) -> Fields:
        name = self._take(WORD, 'a node is written: id := agent("name", argument=value)')
        self._take(":=", 'a node is written: id := agent("name", argument=value)')
        kind = self._take(WORD, 'write agent("name") or opening("name")')
        opened = self._take("(", f'write {kind.text}("name")')
        used = self._name(f"the name of the {kind.text}")
        arguments: dict[str, Entry] = {}
        self._separator(")")
        while self._peek().kind != ")":
            key = self._key(")")
            self._take("=", f"write {key.text}=value")
            self._put(arguments, key, self._value(5))
            self._separator(")")
        self._take(")")
        at, use_at, with_at = self._at(name), self._at(kind), self._at(opened)
        head = {
            "id": Entry(at, Scalar(name.text, at)),
            "use": Entry(use_at, Scalar(f"{kind.text}:{used.text}", use_at)),
        }
        if arguments:
            head["with"] = Entry(with_at, Fields(arguments, with_at))
        return Fields({**head, **self._block(HEADED, 'the head of the node says it: id := agent("name", argument=value)')}, at)

    def _edge(self) -> Fields:
        hint = "an edge is written: a.out -> b.in, with a guard: a.ok == true -> b.in"
        source = self._endpoint(hint)
        self._take("->", hint)
        target = self._endpoint(hint)
        ends = {"from": Entry(source.at, source), "to": Entry(target.at, target)}
        return Fields({**ends, **self._block(tuple(ends), "the arrow says it: a.out -> b.in")}, source.at)

    def _endpoint(self, hint: str) -> Scalar:
        token = self._peek()
        if token.kind not in (WORD, STRING):
            raise self._wrong(token, "a port", hint)
        self._next += 1
        return Scalar(self._expression(token) if token.kind == WORD else token.text, self._at(token))

    def _block(self, taken: tuple[str, ...], head: str) -> dict[str, Entry]:
        """The keys in braces behind a node or an edge, if there are any."""
        if self._peek().kind != "{":
            return {}
        self._next += 1
        return self._entries(3, taken, head)

    def _entries(self, depth: int, taken: tuple[str, ...] = (), head: str = "") -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while self._peek().kind != "}":
            key = self._key("}")
            self._take(":", f"write '{key.text}: value'")
            self._put(entries, key, self._value(depth + 1), taken, head)
            self._separator("}")
        self._take("}")
        return entries

    def _value(self, depth: int) -> Tree:
        """A value that would be the collection number ``depth`` from the root."""
        token = self._peek()
        at = self._at(token)
        self._count(at)
        if token.kind in ("{", "["):
            if depth > MAX_DEPTH:
                raise self._report.fatal("limit", f"values are nested more than {MAX_DEPTH} levels deep", at, hint="flatten the value")
            self._next += 1
            return Fields(self._entries(depth), at) if token.kind == "{" else self._list(depth, at)
        if token.kind not in (WORD, STRING, TEMPLATE):
            raise self._wrong(token, "a value", "put text that is not a plain word in double quotes")
        self._next += 1
        if token.kind != WORD:
            return Scalar(token.text, at)
        text = self._expression(token)
        try:
            return Scalar(plain(text) if text == token.text else text, at)
        except UnsupportedScalarError as error:
            return Scalar(None, at, str(error))

    def _list(self, depth: int, at: Place) -> Items:
        items = []
        while self._peek().kind != "]":
            items.append(self._value(depth + 1))
            self._separator("]")
        self._next += 1
        return Items(tuple(items), at)

    def _expression(self, word: Token) -> str:
        """The word itself, or with what follows it: ``word == literal``, ``exists(word)``."""
        following = self._peek()
        if following.kind in COMPARISONS:
            self._next += 1
            literal = self._name("true, false, a number or text in quotes")
            shown = f'"{literal.text}"' if literal.kind == STRING else literal.text
            return f"{word.text} {following.kind} {shown}"
        if following.kind == "(" and word.text == "exists":
            self._next += 1
            port = self._take(WORD, "write exists(node.port)")
            self._take(")", "write exists(node.port)")
            return f"exists({port.text})"
        return word.text

    def _put(self, entries: dict[str, Entry], key: Token, value: Tree, taken: tuple[str, ...] = (), head: str = "") -> None:
        at = self._at(key)
        if key.text in entries or key.text in taken:
            hint = head if key.text in taken else f"it is already set on line {entries[key.text].key_at.line}; keep one"
            self._report.add("duplicate_key", f"duplicate key '{key.text}'", at, key=key.text, hint=hint)
        else:
            self._count(at)
            entries[key.text] = Entry(at, value)

    def _separator(self, closing: str) -> None:
        """A comma, or a line break, or the end of the collection."""
        token = self._peek()
        if token.kind == ",":
            self._next += 1
        elif token.kind != closing and not token.fresh:
            raise self._wrong(token, f"',', a line break or '{closing}'", "separate what stands on one line with commas")

    def _key(self, closing: str) -> Token:
        token = self._peek()
        if token.kind not in (WORD, STRING):
            hint = "a template is {{params.NAME}}" if token.kind in ("{", TEMPLATE) else ""
            raise self._wrong(token, f"a key or '{closing}'", hint)
        self._next += 1
        return token

    def _name(self, what: str) -> Token:
        token = self._peek()
        if token.kind not in (WORD, STRING):
            raise self._wrong(token, what, "")
        self._next += 1
        return token

    def _take(self, kind: str, hint: str = "") -> Token:
        token = self._peek()
        if token.kind != kind:
            raise self._wrong(token, _NAMES.get(kind, f"'{kind}'"), hint)
        self._next += 1
        return token

    def _peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def _at(self, token: Token) -> Place:
        return self._lines.place(token.start)

    def _count(self, at: Place) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._report.fatal("limit", f"an opening holds at most {MAX_VALUES} values", at, hint="split it into nested openings")

    def _wrong(self, token: Token, expected: str, hint: str) -> OpeningError:
        shown = token.text if len(token.text) <= 40 else token.text[:39] + "…"
        found = _NAMES[END] if token.kind == END else f"'{shown}'"
        return self._report.fatal("syntax", f"expected {expected}, found {found}", self._at(token), hint=hint)
