"""The block that switches the shell integration on in a shell's start file: adding, replacing and removing it, as text."""

from __future__ import annotations

import re

from runloop.dataclass import dataclass

SHELLS = ("zsh", "bash", "fish")


class Broken(ValueError):  # noqa: N818 - it says what the block is
    """A block that begins and does not end, or ends and does not begin; ``line`` is where, from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True, slots=True)
class Edited:
    """What becomes of a start file: ``action`` is added, updated, present, removed or not_found."""

    action: str
    text: str


def block(shell: str, snippet: str, variables: dict[str, str]) -> str:
    """The block for this shell (spec 19): variables, then the snippet; paths in single quotes."""
    put = "set -gx {} {}" if shell == "fish" else "export {}={}"
    lines = [put.format(name, quoted(value)) for name, value in variables.items()]
    return "\n".join([_first(shell), *lines, f"source {quoted(snippet)}", _last(shell)]) + "\n"


def variables(found: str, shell: str) -> dict[str, str]:
    """The variables that a block sets."""
    put = r"set -gx (\w+) " if shell == "fish" else r"export (\w+)="
    return {name: unquoted(word) for name, word in re.findall(rf"^{put}('.*'|[^'\"\s]+)$", found, re.MULTILINE)}


def snippet(found: str) -> str | None:
    """The file that a block sources."""
    line = re.search(r"^source ('.*')$", found, re.MULTILINE)
    return None if line is None else unquoted(line[1])


def quoted(text: str) -> str:
    """A word in single quotes, as zsh, bash and fish all read it."""
    return "'" + text.replace("'", "'\\''") + "'"


def unquoted(word: str) -> str:
    """What :func:`quoted` was given; any other word as it stands."""
    return word[1:-1].replace("'\\''", "'") if word[:1] == word[-1:] == "'" and len(word) > 1 else word


def enabled(text: str, shell: str, wanted: str) -> Edited:
    """The file with the wanted block, once. Raises :class:`Broken`."""
    found = _find(text, shell)
    if not found:
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return Edited("added", text + gap + wanted)
    first, *others = found
    if not others and text[first[0] : first[1]] == wanted:
        return Edited("present", text)
    for start, end in reversed(others):
        text = text[:start] + text[end:]
    return Edited("updated", text[: first[0]] + wanted + text[first[1] :])


def disabled(text: str, shell: str) -> Edited:
    """The file without its blocks, and without the blank lines that they leave at its end. Raises :class:`Broken`."""
    found = _find(text, shell)
    if not found:
        return Edited("not_found", text)
    for start, end in reversed(found):
        text = text[:start] + text[end:]
    rest = text.rstrip(" \t\r\n")
    return Edited("removed", rest + "\n" if rest else "")


def current(text: str, shell: str) -> str | None:
    """The block that stands in the file, or None. Raises :class:`Broken`."""
    found = _find(text, shell)
    return text[slice(*found[0])] if found else None


def _first(shell: str) -> str:
    return f"# >>> runloop shell ({shell}) >>>"


def _last(shell: str) -> str:
    return f"# <<< runloop shell ({shell}) <<<"


def _find(text: str, shell: str) -> list[tuple[int, int]]:
    """Where the blocks are, their line ends included."""
    blocks: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for mark in re.finditer(rf"^(?:{re.escape(_first(shell))}|{re.escape(_last(shell))})[ \t]*\r?(?:\n|\Z)", text, re.MULTILINE):
        line = text.count("\n", 0, mark.start()) + 1
        if mark[0].startswith("# >>>"):
            if opened is not None:
                raise Broken(line, "a block begins inside another")
            opened = mark
        elif opened is None:
            raise Broken(line, "a block ends that did not begin")
        else:
            blocks.append((opened.start(), mark.end()))
            opened = None
    if opened is not None:
        raise Broken(text.count("\n", 0, opened.start()) + 1, "a block begins and does not end")
    return blocks
