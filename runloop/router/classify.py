"""Where a line goes: to the shell, to agents, or back to the person with a question. Pure: the same arguments give the same decision.

:data:`RULES` is tried from the top; the first rule that has an answer decides.
"""

from __future__ import annotations

from math import exp

from runloop.patterns import lazy
from runloop.router.deny import denied
from runloop.router.shape import Shape, shape
from runloop.router.unwrap import MAX_LAYERS, TooDeep
from runloop.router.values import Decision, Feature, RouterSettings, ShellFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[["Line"], "Decision | None"]

# Scores above which a line is a sentence.
RESOLVED = 0.25  # its first word is something that the shell runs
UNRESOLVED = 0.8  # it is not: an agent takes it
UNSURE = 0.35  # from here to UNRESOLVED: ask

_OPENING_NAME = lazy(r"[A-Za-z_][A-Za-z0-9_\-]{0,99}")
_OPENING_SUFFIXES = (".yaml", ".yml", ".opening")
_HISTORY = lazy(r"!(?:!|-?\d+|\$|\*|\?|[A-Za-z./]\S*)|\^[^^]*\^")
_TEST = lazy(r"\[\[?\s|\(\(|[{(]\s")
_SYNTAX = {"#": ("comment", None), **dict.fromkeys("!^", ("history", _HISTORY)), **dict.fromkeys("[({", ("test", _TEST))}


class Line:
    """A line with what is known about it; its shape is made when a rule asks."""

    __slots__ = ("_shape", "facts", "settings", "text")

    def __init__(self, text: str, facts: ShellFacts, settings: RouterSettings) -> None:
        self.text = text
        self.facts = facts
        self.settings = settings
        self._shape: Shape | None = None

    @property
    def shape(self) -> Shape:
        """What was seen in it."""
        if self._shape is None:
            self._shape = shape(self.text, self.facts, self.settings)
        return self._shape

    @property
    def threshold(self) -> float:
        """The score above which it is a sentence."""
        return RESOLVED if self.shape.kind else UNRESOLVED


def classify(line: str, facts: ShellFacts, settings: RouterSettings) -> Decision:
    """Decide about ``line``, as typed. Never raises; takes time linear in its length."""
    looked_at = Line(line.strip(), facts, settings)
    return next(decision for rule in RULES if (decision := rule(looked_at)) is not None)


def _empty(line: Line) -> Decision | None:
    return None if line.text else Decision("shell", "empty", "nothing was typed")


def _sigil(line: Line) -> Decision | None:
    sigil = line.settings.sigil
    if not sigil or not line.text.startswith(sigil):
        return None
    return Decision("agent", "sigil", f"the line begins with {sigil}", (Feature("sigil", 9.0, sigil),))


def _denylist(line: Line) -> Decision | None:
    expanded = line.facts.expanded
    try:
        pattern = denied(line.text, line.settings.denylist, line.facts.aliases)
        if pattern is None and expanded and expanded != line.text:
            pattern = denied(expanded, line.settings.denylist, line.facts.aliases)
    except TooDeep:
        reason = f"it starts commands more than {MAX_LAYERS} deep in one another, or too many, where router.denylist does not see them"
        return Decision("shell", "denylist:deep", reason, blocked=True)
    if pattern is None:
        return None
    features = (Feature("pattern", -9.0, pattern),)
    if _is_sentence(line):
        return Decision("agent", "denylist:sentence", f"a sentence that would start {pattern!r} of router.denylist", features, blocked=True)
    return Decision("shell", "denylist", f"it would start {pattern!r}, which router.denylist forbids", features, blocked=True)


def _allowlist(line: Line) -> Decision | None:
    lowered = line.text.lower()
    pattern = next((each for each in line.settings.allowlist if each.lower() in lowered), None)
    if pattern is None:
        return None
    return Decision("shell", "allowlist", f"it contains {pattern!r} of router.allowlist", (Feature("pattern", -9.0, pattern),))


def _fastpath_disabled(line: Line) -> Decision | None:
    if line.settings.fastpath_shell:
        return None
    return Decision("ask", "fastpath_disabled", "router.fastpath_shell is off, so every line is asked about")


def _syntax(line: Line) -> Decision | None:
    """Lines that only a shell understands, whatever their words."""
    name, pattern = _SYNTAX.get(line.text[0], ("", None))
    if not name or (pattern is not None and not pattern.match(line.text)):
        return None
    return Decision("shell", f"syntax:{name}", f"only a shell reads this: {name}", (Feature(name, -4.0),))


def _command(line: Line) -> Decision | None:
    """The shell resolves the first word, and the line does not read like a sentence."""
    seen = line.shape
    if seen.kind is None or seen.score > RESOLVED or seen.first is None:
        return None
    return _decision(line, "shell", f"command:{seen.kind}", f"{_shown(seen.first.text)} is {_articled(seen.kind)} of the shell")


def _sentence_of_command(line: Line) -> Decision | None:
    """The shell resolves the first word, but the line plainly is a sentence."""
    seen = line.shape
    if seen.kind is None or seen.first is None:
        return None
    reason = f"{_shown(seen.first.text)} is {_articled(seen.kind)}, but the line reads like a sentence"
    return _decision(line, line.settings.sentences, "sentence:command_word", reason)


def _sentence(line: Line) -> Decision | None:
    if line.shape.score <= UNRESOLVED:
        return None
    return _decision(line, "agent", "sentence", "the line reads like a sentence and its first word is no command")


def _opening(line: Line) -> Decision | None:
    """The first word is nothing to the shell, and an opening has that name."""
    seen = line.shape
    if seen.kind is not None or seen.first is None or not _OPENING_NAME.fullmatch(seen.first.text):
        return None
    names = (f"{directory}/{seen.first.text}{suffix}" for directory in line.settings.opening_dirs for suffix in _OPENING_SUFFIXES)
    if not any(map(line.facts.has_opening, names)):
        return None
    return Decision("agent", "opening", f"{_shown(seen.first.text)} is an opening, and no command", seen.features)


def _unsure(line: Line) -> Decision | None:
    if line.shape.score <= UNSURE:
        return None
    return _decision(line, "ask", "unsure", "the line may be a command that is not installed, or a request")


def _not_installed(line: Line) -> Decision:
    """What has the shape of a command is one: the shell says itself that it is not there."""
    return _decision(line, "shell", "command:not_found", "the line has the shape of a command, and its program is not installed")


RULES: tuple[Rule, ...] = (
    _empty,
    _sigil,
    _denylist,
    _allowlist,
    _fastpath_disabled,
    _syntax,
    _command,
    _sentence_of_command,
    _sentence,
    _opening,
    _unsure,
    _not_installed,
)


def _is_sentence(line: Line) -> bool:
    return line.shape.score > line.threshold


def _decision(line: Line, route: str, rule: str, reason: str) -> Decision:
    """A decision by score; the confidence is that of a logistic curve around the threshold."""
    distance = abs(line.shape.score - line.threshold)
    return Decision(route, rule, reason, line.shape.features, confidence=1 / (1 + exp(-distance)))  # type: ignore[arg-type]


def _articled(kind: str) -> str:
    return f"an {kind}" if kind == "alias" else f"a {kind}"


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:39] + "…")
