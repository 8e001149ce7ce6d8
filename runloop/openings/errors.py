"""Problems of an opening: what is wrong, the exact place of the YAML node that is wrong, and what to change."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Place(NamedTuple):
    """A position in the source text; both count from 1, the column in characters."""

    line: int
    column: int


START = Place(1, 1)

_HINTED_PROBLEMS = 50
"""Problems that get a suggestion: comparing names is slow, and nobody reads the hundredth."""
_LISTED = 12
"""Names that are listed where none is near."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct in an opening."""

    code: str
    message: str
    where: Where = field(default_factory=Where)
    hint: str = ""

    def __str__(self) -> str:
        place = str(self.where)
        return f"{place}: {self.message}" if place else self.message

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the keys of every Runloop error."""
        return {"code": self.code, "message": self.message, "where": self.where.to_dict(), "hint": self.hint, "retryable": False}


class OpeningError(InvalidInput):
    """An opening cannot be used; ``problems`` has every reason in document order, the error itself speaks for the first."""

    code = "opening.invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(first.message, code=first.code, where=first.where, hint=first.hint)
        self.problems = tuple(problems)

    @property
    def others(self) -> tuple[Problem, ...]:
        """The problems after the first, for those who print errors."""
        return self.problems[1:]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the first problem, and all of them under ``problems``."""
        return {**super().to_dict(), "problems": [problem.to_dict() for problem in self.problems]}


class Report:
    """Collects the problems of one document."""

    def __init__(self, file: str | None = None) -> None:
        self.file = file
        self._problems: list[Problem] = []

    def add(
        self,
        code: str,
        message: str,
        at: Place | None,
        *,
        hint: str = "",
        near: tuple[str, Collection[str]] | None = None,
        more: str = "",
        node: str | None = None,
        port: str | None = None,
        key: str | None = None,
    ) -> None:
        """Note one problem; ``at`` is None for what came from outside.

        ``near`` is a wrong name with the right ones, for a hint; ``more`` says how there can be others, where none of them is meant.
        """
        line, column = at or (None, None)
        where = Where(file=self.file if at else None, line=line, column=column, node=node, port=port, key=key)
        if near is not None and len(self._problems) < _HINTED_PROBLEMS:
            from runloop.nearest import did_you_mean

            hint = did_you_mean(*near, most=_LISTED) or hint
            hint += f"; {more}" if more and hint.startswith("known: ") else ""
        self._problems.append(Problem(f"opening.{code}", message, where, hint))

    def fatal(self, code: str, message: str, at: Place, *, hint: str = "") -> OpeningError:
        """The error for a problem after which nothing more can be read."""
        self.add(code, message, at, hint=hint)
        return OpeningError(self.problems)

    @property
    def count(self) -> int:
        """How many problems there are."""
        return len(self._problems)

    @property
    def problems(self) -> list[Problem]:
        """All problems in document order; those without a place come first."""
        return sorted(self._problems, key=lambda problem: (problem.where.line or 0, problem.where.column or 0))
