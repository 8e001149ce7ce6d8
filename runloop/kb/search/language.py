"""What a person may type to search, and what it means as an FTS5 expression. Nothing that is typed is an error: mistakes become remarks.

    words            all of them first, then any of them, then words that start so
    "some words"     one after the other;  word*  any word that starts so
    a AND b, a OR b, NOT c, -c, ( … )   exactly that: AND binds closer than OR

A word of a script without blanks is a phrase of its characters; several words that hang together (`e-mail`, `src/app.py`) are a phrase too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import field

from runloop.dataclass import dataclass
from runloop.kb.derived import spaced

MAX_TERMS = 32  # of a query; more words say no more, and the cost grows with each
_INFLECTED, _LONG = 5, 8  # letters from which a word's last one, or last two, may be an ending
MAX_DEPTH = 16  # of parentheses
MAX_REMARKS = 16  # on a query: thousands of what is no word say the same
_TOKEN = re.compile(r'(?P<phrase>"(?P<inside>[^"]*)(?P<close>"?)(?P<star>\*?))|(?P<open>\()|(?P<shut>\))|(?P<word>[^\s()"]+)')
_OPERATORS = frozenset({"AND", "OR", "NOT"})
_DASHES = "-\u2212"


@dataclass(frozen=True, slots=True)
class Remark:
    """What in a query was not taken as it stands, and at which character (from 0)."""

    at: int
    message: str


@dataclass(frozen=True, slots=True)
class Term:
    """A word, or words one after the other; with ``prefix`` the last one may go on; ``quoted`` says that they were put so on purpose."""

    text: str
    prefix: bool = False
    quoted: bool = False

    @property
    def expression(self) -> str:
        """As FTS5 reads it; quoted, so that nothing in it is syntax."""
        return '"' + spaced(self.text).replace('"', '""') + '"' + "*" * self.prefix

    @property
    def words(self) -> list[str]:
        """The words that it consists of."""
        return re.findall(r"\w+", self.text)


@dataclass(frozen=True, slots=True)
class Group:
    """Things joined by ``AND`` or ``OR``; what ``without`` matches is taken away."""

    joint: str
    items: tuple[Node, ...]
    without: tuple[Node, ...] = ()

    @property
    def expression(self) -> str:
        """As FTS5 reads it."""
        inner = f" {self.joint} ".join(f"({item.expression})" for item in self.items)
        return f"({inner}) NOT ({' OR '.join(f'({item.expression})' for item in self.without)})" if self.without else inner


Node = Term | Group


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it was understood. ``words`` are its plain terms where all it says is words to find and words to leave out."""

    exact: Node | None
    words: tuple[Term, ...] = ()
    without: tuple[Node, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def sought(self) -> str:
        """Every word that is looked for, and none that is left out: what an excerpt should show."""
        return "" if self.exact is None else " ".join(_texts(self.exact))

    def lacking(self, expression: str) -> str:
        """The expression, less what the query takes away."""
        if not self.without:
            return expression
        return f"({expression}) NOT ({' OR '.join(f'({node.expression})' for node in self.without)})"

    @property
    def loose_words(self) -> list[str]:
        """One expression for each word, for documents that hold only some of them; what was quoted stays together."""
        found: list[str] = []
        for term in self.words:
            if term.quoted or len(term.words) == 1:
                found.append(term.expression)
            else:
                found += [Term(word).expression for word in term.words if _findable(word)]
        return list(dict.fromkeys(found))[:MAX_TERMS]

    @property
    def beginnings(self) -> list[str]:
        """Expressions for words that start so, and for each two characters of a script without blanks."""
        found: list[str] = []
        for word in (word for term in self.words if not term.quoted for word in term.words):
            parts = spaced(word).split()
            if len(parts) > 1:
                found += [Term("".join(pair)).expression for pair in itertools.pairwise(parts)]
            elif len(word) >= 3 and _findable(word):
                found.append(Term(word, prefix=True).expression)
        return list(dict.fromkeys(found))[:MAX_TERMS]

    @property
    def stems(self) -> list[str]:
        """Expressions for words that start so but for the last letters, which may be an ending."""
        words = (word for term in self.words if not term.quoted for word in term.words if len(spaced(word).split()) == 1)
        found = [Term(word[: -1 if len(word) < _LONG else -2], prefix=True).expression for word in words if len(word) >= _INFLECTED]
        return list(dict.fromkeys(found))[:MAX_TERMS]


def parse(text: str) -> Query:
    """Read what was typed. Never raises; a query without a word to look for has ``exact`` None and says so."""
    parser = _Parser(_tokens(text))
    group = parser.alternatives(0)
    remarks = parser.remarks
    if group is None:
        return Query(None, remarks=(*remarks, Remark(0, "there is no word to look for")))
    if isinstance(group, Term):
        return Query(group, (group,), remarks=tuple(remarks))
    plain = tuple(item for item in group.items if isinstance(item, Term))
    soft = group.joint == "AND" and not parser.stated and len(plain) == len(group.items)
    return Query(group, plain if soft else (), group.without if soft else (), tuple(remarks))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # term, open, shut, minus, or the operator
    at: int
    term: Term | None = None


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        at = match.start()
        if match["open"] or match["shut"]:
            yield _Token("open" if match["open"] else "shut", at)
        elif match["phrase"] is not None:
            if not match["close"] and match["inside"].strip():
                yield _Token("unclosed", at)
            if _findable(match["inside"]):
                yield _Token("term", at, Term(match["inside"], bool(match["star"]), quoted=True))
        elif (word := match["word"]) in _OPERATORS:
            yield _Token(word, at)
        else:
            begins = at == 0 or text[at - 1] in " \t\n\r("
            if begins and word[0] in _DASHES and (len(word) > 1 or text[match.end() : match.end() + 1] in ('"', "(")):
                yield _Token("minus", at)
                word = word[1:]
            if _findable(word):
                yield _Token("term", at, Term(word.rstrip("*"), word.endswith("*")))


@dataclass(slots=True)
class _Parser:
    """Recursive descent over the tokens; what cannot be is left out, with a remark."""

    tokens: Iterator[_Token]
    remarks: list[Remark] = field(default_factory=list)
    stated: bool = False
    """Whether AND or OR was typed: then exactly that is meant."""
    _next: _Token | None = None
    _count: int = 0

    def __post_init__(self) -> None:
        self._advance()

    def alternatives(self, depth: int) -> Node | None:
        """What OR joins, up to a closing parenthesis or the end."""
        found: list[Node] = []
        while True:
            item = self._together(depth)
            if item is not None:
                found.append(item)
            token = self._next
            if token is None or (token.kind == "shut" and depth):
                return _joined("OR", found)
            self._advance()
            self.stated = True
            if item is None or self._next is None or self._next.kind in {"shut", "AND", "OR"}:
                self._remark(token, f"{token.kind} wants something on both sides")

    def _together(self, depth: int) -> Node | None:
        """What AND, or nothing, joins."""
        found: list[Node] = []
        without: list[Node] = []
        start = self._next
        while (token := self._next) is not None and token.kind != "OR" and not (token.kind == "shut" and depth):
            if token.kind == "shut":
                self._advance()
                self._remark(token, "nothing was opened that ) could close")
            elif token.kind == "AND":
                self.stated = True
                self._advance()
                if not (found or without) or self._next is None or self._next.kind in {"shut", "OR", "AND"}:
                    self._remark(token, "AND wants something on both sides")
            elif (taken := self._one(depth)) is not None:
                (without if token.kind in {"NOT", "minus"} else found).append(taken)
        if without and not found and start is not None:
            self._remark(start, "what is left out has to be left out of something: name a word to look for")
        if not found:
            return None
        return Group("AND", tuple(dict.fromkeys(found)), tuple(dict.fromkeys(without))) if without or len(found) > 1 else found[0]

    def _one(self, depth: int) -> Node | None:
        token = self._next
        if token is None:
            return None
        self._advance()
        if token.kind in {"NOT", "minus"}:
            following = self._next
            if following is None or following.kind not in {"term", "open", "unclosed"}:
                self._remark(token, "nothing follows that could be left out")
                return None
            return self._one(depth)
        if token.kind == "unclosed":
            self._remark(token, 'the phrase has no closing "')
            return self._one(depth)
        if token.kind == "open":
            return self._inside(token, depth)
        self._count += 1
        if self._count > MAX_TERMS:
            if self._count == MAX_TERMS + 1:
                self._remark(token, f"only the first {MAX_TERMS} words count")
            return None
        return token.term

    def _inside(self, token: _Token, depth: int) -> Node | None:
        if depth >= MAX_DEPTH:
            self._remark(token, f"parentheses go {MAX_DEPTH} deep at most")
            return None
        inner = self.alternatives(depth + 1)
        if self._next is None:
            self._remark(token, "this ( is never closed")
        self._advance()
        return inner

    def _advance(self) -> None:
        self._next = next(self.tokens, None)

    def _remark(self, token: _Token, message: str) -> None:
        if len(self.remarks) < MAX_REMARKS:
            self.remarks.append(Remark(token.at, message))


def _joined(joint: str, items: list[Node]) -> Node | None:
    items = list(dict.fromkeys(items))
    return None if not items else items[0] if len(items) == 1 else Group(joint, tuple(items))


def _texts(node: Node) -> list[str]:
    return [node.text] if isinstance(node, Term) else [text for item in node.items for text in _texts(item)]


def _findable(text: str) -> bool:
    """Whether the index has a word in it."""
    return any(char.isalnum() for char in text)
