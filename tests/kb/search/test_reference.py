"""Searching a second time, as docs/search.md says it: which of the texts a query means, by reading each of them."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.events import NewEvent
from runloop.kb import KnowledgeBase

WORDS = [
    "launch", "Launch", "launchpad", "plan", "plans", "planner", "Straße", "strasse", "Zoë", "Zoe\u0308", "naïve", "e-mail", "mail", "E",
    "src/app.py", "Łukasz", "snake_case", "case", "計画", "計", "画計画", "don't", "x1", "1", "ΓΙΏΡΓΟΣ", "γιωργος", "ёлка", "AND", "or",
    "budget", "budgets", "ラーメン",
]  # fmt: skip
LETTERS = str.maketrans({"Ł": "l", "ł": "l"})


def tokens(text: str) -> list[str]:
    """Words without accents and case; every character of a script without blanks is one."""
    plain = "".join(char for char in unicodedata.normalize("NFD", text.casefold().translate(LETTERS)) if not unicodedata.combining(char))
    return re.findall(
        r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+", plain.replace("\u03c2", "\u03c3")
    )  # a sigma at the end of a word


rng = random.Random(7)
TEXTS = [" ".join(rng.choices(WORDS, k=rng.randrange(1, 7))) for _ in range(80)]
READ = [tokens(text) for text in TEXTS]


@dataclass(frozen=True)
class Term:
    text: str
    prefix: bool = False
    quoted: bool = False

    def __str__(self) -> str:
        return (f'"{self.text}"' if self.quoted else self.text) + "*" * self.prefix

    def holds(self, read: list[str]) -> bool:
        wanted = tokens(self.text)
        places = (read[at : at + len(wanted)] for at in range(len(read)))
        return any(
            found[:-1] == wanted[:-1]
            and len(found) == len(wanted)
            and (found[-1].startswith(wanted[-1]) if self.prefix else found == wanted)
            for found in places
        )


@dataclass(frozen=True)
class Join:
    joint: str
    items: tuple[Term | Join, ...]
    without: tuple[Term | Join, ...] = ()

    def __str__(self) -> str:
        shown = [f"({item})" if isinstance(item, Join) else str(item) for item in self.items]
        return self.joint.join(shown) + "".join(f" -({item})" if isinstance(item, Join) else f" -{item}" for item in self.without)

    def holds(self, read: list[str]) -> bool:
        every = any if self.joint == " OR " else all
        return every(item.holds(read) for item in self.items) and not any(item.holds(read) for item in self.without)


plain = st.builds(Term, st.sampled_from([word for word in WORDS if word != "AND"]))
phrases = st.builds(Term, st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join), st.booleans(), st.just(True))
prefixes = st.builds(Term, st.sampled_from(["pl", "LAUN", "launch", "stra", "計", "Zo", "x", "src/ap", "e-ma"]), st.just(True))
terms = plain | phrases | prefixes


def joins(inner: st.SearchStrategy[Term | Join]) -> st.SearchStrategy[Term | Join]:
    several = st.lists(inner, min_size=2, max_size=3, unique=True).map(tuple)
    together = st.builds(Join, st.sampled_from([" AND "]), several, st.lists(inner, max_size=1).map(tuple))
    return together | st.builds(Join, st.just(" OR "), several)


QUERIES = joins(st.recursive(terms, joins, max_leaves=5))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with KnowledgeBase.open(tmp_path_factory.mktemp("search")) as kb:
        for number, text in enumerate(TEXTS):
            said = {"path": f"/q/{number}", "line": 1, "end_line": 1, "text": text, "file_hash": "a" * 64, "part": 0, "parts": 1}
            kb.ledger.append([NewEvent("note.imported", {**said, "title": "zzz"}, "user", "user")])
        yield kb


def found(base: KnowledgeBase, query: str, limit: int = 200) -> list[int]:
    return [int(hit.path.rpartition("/")[2]) for hit in base.search(query, ["notes"], limit=limit)]


@settings(max_examples=300, deadline=None)
@given(query=QUERIES | phrases)
def test_operators_phrases_and_beginnings_find_exactly_the_texts_that_they_say(base, query):
    assert sorted(found(base, str(query))) == [number for number, read in enumerate(READ) if query.holds(read)]


def stages(words: list[str], read: list[str]) -> int | None:
    """0 for a text with all of the words, 1 with some, 2 with words that start so, 3 with another ending; None for no relation."""
    wanted = [tokens(word)[0] for word in words]
    if all(word in read for word in wanted):
        return 0
    if any(word in read for word in wanted):
        return 1
    if any(each.startswith(word) for word in wanted for each in read):
        return 2
    ends = [word[: -1 if len(word) < 8 else -2] for word in wanted if len(word) >= 5]
    return 3 if any(each.startswith(end) for end in ends for each in read) else None


SIMPLE = [word for word in WORDS if len(tokens(word)) == 1 and len(word) >= 3 and word != "AND"] + [
    "launches",
    "budgeting",
    "Łukasza",
    "plänen",
    "nothing",
]


@settings(max_examples=200, deadline=None)
@given(words=st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=3, unique_by=str.casefold), limit=st.integers(1, 200))
def test_plain_words_find_what_has_all_of_them_then_some_then_what_begins_so(base, words, limit):
    told = {number: stage for number, read in enumerate(READ) if (stage := stages(words, read)) is not None}
    if any(stage < 3 for stage in told.values()):
        told = {number: stage for number, stage in told.items() if stage < 3}

    hits = found(base, " ".join(words), limit)

    assert [told[number] for number in hits] == sorted(told.values())[:limit]
    assert len(set(hits)) == len(hits)
