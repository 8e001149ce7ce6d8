"""Requests at the command line: the openings that can be asked for, and what a line becomes."""

from __future__ import annotations

import os
import time
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.text import legible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runloop.cli.run import Chosen
    from runloop.client import RunResult as RemoteResult
    from runloop.config import Settings
    from runloop.openings import Opening
    from runloop.router.requests.matching import Candidate, Match, Meant
    from runloop.runs.lookup import OpeningText
    from runloop.runs.results import RunResult

OPENING_VARIABLE = "RUNLOOP_ROUTER_OPENING_PATH"
"""Names a file whose opening takes the place of the default one: what `rlp shell enable --opening` sets."""
_ANOTHER_DEFAULT = {
    OPENING_VARIABLE: "`rlp shell enable --opening FILE` names another, and without --opening none",
    "router.default_opening": "set router.default_opening to one of `rlp opening list`",
}
"""What says which opening is the default one, and how to say another."""
CHOOSER = "choose_opening"
"""The opening that asks a model which of several a request means; no request means it."""
LINE_PARAMS = ("question", "prompt", "request", "text")
"""Parameters of the default opening that may take the whole line, the first that it has."""
UNUSABLE_NAMED = 8
"""So many openings that cannot be read are told by name before a list or an answer; the rest are counted."""
ZONE_PARAM = "utc_offset_s"
"""The parameter of the default opening that takes how far the clock of who asks is ahead of UTC, where it has it."""


@dataclass(frozen=True, slots=True)
class Askable:
    """An opening that requests can mean."""

    candidate: Candidate
    opening: Opening
    found: OpeningText


@dataclass(frozen=True, slots=True)
class Request:
    """A line, what it was found to mean, and which of the matches is taken; ``answers`` where nothing fits and the line is a question."""

    line: str
    known: Sequence[Askable]
    found: Meant
    taken: int | None
    answers: bool = False
    given: Mapping[str, Any] | None = None
    typed: frozenset[str] = field(default=frozenset())

    @property
    def match(self) -> Match | None:
        """The opening that is taken; None where nobody has chosen, or nothing is wanted."""
        return None if self.taken is None else self.found.matches[self.taken]

    @property
    def askable(self) -> Askable:
        """The same, as it was read. Raises where there is none."""
        match = self.match
        return next(each for each in self.known if match is not None and each.candidate.name == match.name)

    @property
    def name(self) -> str:
        """The name of the opening."""
        return self.askable.candidate.name

    @property
    def goal(self) -> str:
        """What it is for."""
        return next(iter(self.askable.opening.goals), "")

    @property
    def declared(self) -> Mapping[str, Any]:
        """The opening's parameters with their defaults."""
        return self.askable.opening.params

    @property
    def own(self) -> Mapping[str, Any]:
        """The parameters that the line, or the person, gives."""
        if self.given is not None:
            return self.given
        return {each.name: each.value for each in self.match.params} if self.match is not None else {}

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter with the value that it would have."""
        return {**self.declared, **self.own}

    @property
    def missing(self) -> tuple[str, ...]:
        """The parameters that such a request has to say, and neither the line nor the person gives."""
        return () if self.match is None else tuple(name for name in self.match.missing if name not in {*self.own, *self.typed})

    @property
    def reason(self) -> str:
        """Why this opening."""
        return self.found.reason

    def origin(self, name: str) -> str:
        """Where the value of a parameter comes from."""
        if name in self.typed:
            return "as you typed it"
        if name not in self.own:
            return "default; the line does not say it" if name in self.missing else "default"
        filled = next((each for each in self.match.params if each.name == name), None) if self.match is not None else None
        return "the line" if filled is None else f"from: {filled.by}"

    def without(self) -> Request:
        """Nothing is to be run."""
        return replace(self, taken=None)

    def with_params(self, given: Mapping[str, Any], asked: Iterable[str]) -> Request:
        """The same opening with ``given``; ``asked`` are the parameters that the person decided about."""
        return replace(self, given=given, typed=self.typed | frozenset(asked))

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON: the opening, its parameters, and every match with the words that speak for it."""
        return {
            "line": self.line,
            "outcome": "answer" if self.answers else self.found.outcome,
            "opening": None if self.match is None else self.name,
            "params": {} if self.match is None else self.params,
            "from_line": sorted(name for name in self.own if name != ZONE_PARAM),
            "missing": sorted(self.missing),
            "reason": self.reason,
            "matches": [match.to_dict() for match in self.found.matches],
        }


def candidates(settings: Settings) -> tuple[list[Askable], list[str]]:
    """Every opening that can be found by name, without the default one; and what is wrong with those that cannot be read."""
    from runloop.openings import parse_opening
    from runloop.router.requests.matching import Candidate
    from runloop.runs.lookup import find_opening, known_openings
    from runloop.runs.places import opening_dirs

    found: list[Askable] = []
    unusable: list[str] = []
    directories = opening_dirs(settings)
    for name in known_openings(directories):
        try:
            text = find_opening(name, directories)
            opening = parse_opening(text.source, file=text.file)
        except RunloopError as error:
            unusable.append(f"{name} cannot be asked for: {error.message}")
            continue
        examples = tuple((example.text, example.pieces) for example in opening.examples)
        found.append(Askable(Candidate(name, opening.goals, examples, opening.params), opening, text))
    return found, unusable


def warn_unusable(unusable: Sequence[str]) -> None:
    """Say on stderr which openings were left out and why: the first ones by name, the others by their number."""
    from runloop.cli import output

    named = UNUSABLE_NAMED if len(unusable) > UNUSABLE_NAMED + 1 else len(unusable)
    for why in unusable[:named]:
        output.print_warning("ask.unusable_opening", why)
    if rest := len(unusable) - named:
        output.print_warning("ask.unusable_opening", f"{rest} more openings cannot be asked for; `rlp opening check FILE` tells why")


def bare(words: str, settings: Settings) -> str:
    """A request without the sigil that handed it to agents."""
    return legible(words).strip().removeprefix(settings.get("router.sigil")).strip()


def understood(line: str, settings: Settings, known: Sequence[Askable]) -> Request:
    """What the line asks for. Where openings are too close to tell apart, none is taken: somebody has to choose."""
    from runloop.router.requests.matching import meant

    serving = (settings.get("router.default_opening"), CHOOSER)
    found = meant(line, [each.candidate for each in known if each.candidate.name not in serving])
    if found.outcome == "none":
        return fallback(line, settings, known, found)
    return Request(line, known, found, 0 if found.outcome == "one" else None)


def fallback(line: str, settings: Settings, known: Sequence[Askable], found: Meant) -> Request:
    """The default opening with the line as its question."""
    from runloop.router.requests.filling import Filled
    from runloop.router.requests.matching import Match, Meant

    key = OPENING_VARIABLE if os.environ.get(OPENING_VARIABLE) else "router.default_opening"
    name = os.environ.get(OPENING_VARIABLE) or settings.get("router.default_opening")
    if os.path.isabs(name) and os.path.isfile(name):  # noqa: PTH113, PTH117 - it may name no file at all
        known = [*known, _by_path(name)]
    askable = next((each for each in known if each.candidate.name == name), None)
    if askable is None:
        raise InvalidInput(
            f"no opening fits, and the default one, {name!r}, is not there",
            code="ask.no_default",
            where=Where(key=key),
            hint=_ANOTHER_DEFAULT[key],
        )
    param = next((each for each in LINE_PARAMS if isinstance(askable.opening.params.get(each), str)), None)
    if param is None:
        raise InvalidInput(
            f"the default opening {name!r} has no parameter for the line",
            code="ask.no_line_param",
            where=Where(key=key),
            hint=f"give it one of {', '.join(LINE_PARAMS)}, with a text as its default",
        )
    filled = [Filled(param, line, line, "the line")]
    if ZONE_PARAM in askable.opening.params:
        offset_s = time.localtime().tm_gmtoff
        filled.append(Filled(ZONE_PARAM, offset_s, f"{offset_s}", "the time zone here"))
    match = Match(name, 0.0, (), None, tuple(filled))
    return Request(line, known, Meant("none", (match, *found.matches), found.reason), 0, answers=name == "assistant")


def _by_path(path: str) -> Askable:
    """The opening in a file that the shell's block names."""
    from runloop.openings import parse_opening
    from runloop.router.requests.matching import Candidate
    from runloop.runs.lookup import find_opening

    text = find_opening(path, ())
    opening = parse_opening(text.source, file=text.file)
    return Askable(Candidate(path, opening.goals, (), opening.params), opening, text)


def chosen_of(request: Request) -> Chosen:
    """What `rlp run` would run for it."""
    from runloop.cli.run import Chosen
    from runloop.openings import parse_opening

    found = request.askable.found
    return Chosen(parse_opening(found.source, file=found.file, params=dict(request.own) or None), found, dict(request.own))


def output_of(result: RunResult | RemoteResult, node: str) -> Mapping[str, Any]:
    """What a node gave at its port `out`, in a run that succeeded; empty where it gave no object."""
    saved = getattr(result, "saved", None)
    values = saved.get(f"{node}.out", []) if saved is not None else result.outputs.get(node, {}).get("out", [])  # type: ignore[union-attr] # the other kind of result
    return values[0] if values and isinstance(values[0], dict) else {}
