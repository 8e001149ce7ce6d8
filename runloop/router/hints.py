"""What a shell needs to know to let a plain command through by itself: everything else is asked about."""

from __future__ import annotations

from runloop.router.lexer import read
from runloop.router.words import (
    AMOUNTS,
    ARTICLES,
    DESCRIBING,
    DETERMINERS,
    FOREIGN,
    LINKS,
    POINTING,
    POLITE,
    PRONOUNS,
    QUESTIONS,
    TIMES,
    VERBS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.router.values import RouterSettings

SENTENCE_WORDS = frozenset({"a"}).union(
    AMOUNTS, ARTICLES, DESCRIBING, DETERMINERS, FOREIGN, LINKS, POINTING, POLITE, PRONOUNS, QUESTIONS, TIMES, VERBS
)
"""A line without any of these, whose first word the shell resolves, is a command."""


def needles(denylist: Sequence[str]) -> list[str]:
    """Texts of which each denied line holds at least one, once quotes are taken out and aliases put in; "" is in every line."""
    found: list[str] = []
    for pattern in denylist:
        script = read(pattern)
        programs = [command.words[0].text for command in script.commands if command.words]
        known = [] if script.marks & {"function", "unbalanced", "group"} else programs
        found.append(max((_literal(program) for program in known), key=len, default=""))
    return sorted(set(found))


def hints(settings: RouterSettings, configs: Sequence[str], where: str) -> str:
    """Lines: ``for`` (what chose the configuration), ``config`` (files that change it), ``sigil``, ``needle``, ``always``, ``words``.

    ``always`` says that every line is asked about.
    """
    lines = [f"for {where}", *(f"config {path}" for path in configs if "\n" not in path)]
    lines += [f"sigil {settings.sigil}"] if settings.sigil else []
    needed = needles(settings.denylist)
    lines += [f"needle {each}" for each in needed if each]
    if "" in needed or not settings.fastpath_shell:
        lines.append("always")
    lines.append("words " + " ".join(sorted(SENTENCE_WORDS)))
    return "\n".join(lines) + "\n"


def _literal(program: str) -> str:
    """The longest part without a wildcard of a program's name, without its directory."""
    return max(program.rpartition("/")[2].split("*"), key=len)
