"""The part of a text that shows why it was found, and where in it the words are."""

from __future__ import annotations

from runloop.kb.derived import WORD, fold

EXCERPT_CHARS = 320


def excerpt_of(text: str, query: str) -> tuple[str, int]:
    """The lines of the text, up to ``EXCERPT_CHARS``, that hold most of the query's words, and the number of lines before them."""
    lines = text.split("\n")
    wanted = set(WORD.findall(fold(query)))
    found = [len(wanted.intersection(WORD.findall(fold(line)))) for line in lines]
    best = max(range(len(lines)), key=lambda number: (found[number], -number))
    start = end = best
    size = len(lines[best])
    while end + 1 < len(lines) and size + len(lines[end + 1]) < EXCERPT_CHARS:
        end += 1
        size += len(lines[end]) + 1
    while start > 0 and size + len(lines[start - 1]) < EXCERPT_CHARS:
        start -= 1
        size += len(lines[start]) + 1
    while start < best and not lines[start].strip():
        start += 1
    excerpt = "\n".join(lines[start : end + 1]).rstrip()
    return (excerpt if len(excerpt) <= EXCERPT_CHARS else _window(excerpt, wanted)), start


def _window(line: str, wanted: set[str]) -> str:
    """An exact part of one long line, around the first wanted word, cut at blanks where there are any."""
    at = next((match.start() for match in WORD.finditer(line) if fold(match[0]) in wanted), 0)
    start = max(0, at - EXCERPT_CHARS // 3)
    if start:
        start = line.find(" ", start, at) + 1 or start
    piece = line[start : start + EXCERPT_CHARS]
    return piece[: piece.rfind(" ")] if start + EXCERPT_CHARS < len(line) and " " in piece[EXCERPT_CHARS // 2 :] else piece


def marks_of(excerpt: str, query: str, *, most: int = 32) -> list[list[int]]:
    """Where the query's words are in the excerpt: ``[start, end]`` in characters, words that only start so included."""
    words = frozenset(WORD.findall(fold(query)))
    beginnings = tuple(word for word in words if len(word) > 2)
    found: list[list[int]] = []
    plain = excerpt.isascii()  # then lower case is all that folding does, at the same places
    for match in WORD.finditer(excerpt.lower() if plain else excerpt):
        word = match[0] if plain else fold(match[0])
        if word in words or word.startswith(beginnings):
            found.append([match.start(), match.end()])
            if len(found) == most:
                break
    return found
