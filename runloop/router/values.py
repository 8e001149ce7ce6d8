"""What the router works with: what the shell knows, the settings, and the decision. Plain classes: the command line must start fast."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Literal

    Route = Literal["shell", "agent", "ask"]
    Lookup = Callable[[str], bool]


class ShellFacts:
    """What the shell that asks knows. ``commands``, ``files`` and ``openings`` are names, or a function that says whether a name is one.

    ``commands`` are programs of PATH; ``files`` are names as one would type them in the working directory, ``openings`` whole paths.
    ``expanded`` is the line as far as the shell knows what it becomes: variables and aliases put in.
    """

    __slots__ = ("aliases", "builtins", "expanded", "functions", "has_command", "has_file", "has_opening", "keywords", "shell")

    def __init__(
        self,
        shell: str = "bash",
        *,
        commands: Collection[str] | Lookup = (),
        files: Collection[str] | Lookup = (),
        openings: Collection[str] | Lookup = (),
        aliases: Mapping[str, str] | None = None,
        functions: Collection[str] = (),
        builtins: Collection[str] | None = None,
        keywords: Collection[str] | None = None,
        expanded: str = "",
    ) -> None:
        from runloop.router import shells

        self.shell = shell
        self.expanded = expanded
        self.aliases: Mapping[str, str] = aliases or {}
        self.functions = functions
        self.builtins: Collection[str] = shells.builtins(shell) if builtins is None else builtins
        self.keywords: Collection[str] = shells.keywords(shell) if keywords is None else keywords
        self.has_command = _lookup(commands)
        self.has_file = _lookup(files)
        self.has_opening = _lookup(openings)

    def kind_of(self, name: str) -> str | None:
        """What the shell would take ``name`` for in command position: alias, keyword, function, builtin or command; None if for nothing."""
        if name in self.aliases:
            return "alias"
        for kind, names in (("keyword", self.keywords), ("function", self.functions), ("builtin", self.builtins)):
            if name in names:
                return kind
        return "command" if name and self.has_command(name) else None


def _lookup(names: Collection[str] | Lookup) -> Lookup:
    return names if callable(names) else frozenset(names).__contains__


class RouterSettings:
    """The keys ``router.*`` that decide, and ``openings.search_dirs``; see ``docs/router.md``."""

    __slots__ = ("allowlist", "denylist", "fastpath_shell", "known_commands", "opening_dirs", "sentences", "sigil")

    def __init__(
        self,
        *,
        sigil: str = "?",
        sentences: Literal["ask", "agent", "shell"] = "ask",
        fastpath_shell: bool = True,
        allowlist: Collection[str] = (),
        denylist: Collection[str] = ("rm -rf /",),
        known_commands: Collection[str] = (),
        opening_dirs: Collection[str] = (),
    ) -> None:
        self.sigil = sigil
        self.sentences: Route = sentences
        self.fastpath_shell = fastpath_shell
        self.allowlist = tuple(allowlist)
        self.denylist = tuple(denylist)
        self.known_commands = frozenset(known_commands)
        self.opening_dirs = tuple(opening_dirs)

    def to_dict(self) -> dict[str, object]:
        """The arguments that make the same settings, fit for JSON."""
        lists = {"allowlist": list(self.allowlist), "denylist": list(self.denylist), "known_commands": sorted(self.known_commands)}
        lists["opening_dirs"] = list(self.opening_dirs)
        return {"sigil": self.sigil, "sentences": self.sentences, "fastpath_shell": self.fastpath_shell, **lists}


class Feature:
    """One thing seen in a line. ``weight`` above 0 speaks for a sentence, below 0 for a command."""

    __slots__ = ("detail", "name", "weight")

    def __init__(self, name: str, weight: float, detail: str = "") -> None:
        self.name = name
        self.weight = weight
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.name}:{self.detail}" if self.detail else self.name


class Decision:
    """Where a line goes and why. ``blocked``: no shell may run it. ``confidence`` is from 0 to 1, for the route that was chosen."""

    __slots__ = ("blocked", "confidence", "features", "reason", "route", "rule")

    def __init__(
        self, route: Route, rule: str, reason: str, features: tuple[Feature, ...] = (), *, blocked: bool = False, confidence: float = 1.0
    ) -> None:
        self.route = route
        self.rule = rule
        self.reason = reason
        self.features = features
        self.blocked = blocked
        self.confidence = confidence
