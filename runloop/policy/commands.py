"""Commands that an agent may run, by whole leading arguments; never by substring and never through a shell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from runloop.dataclass import dataclass
from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Argv = tuple[str, ...]

_SHELLS = lazy(r"sh|bash|dash|zsh|fish|m?ksh|t?csh|ash")
_INTERPRETERS = lazy(r"(?:python|pypy|perl|ruby|node|deno|bun|php|lua|tclsh|Rscript|osascript|[gm]?awk)[0-9.]*")
_LAUNCHERS = lazy(
    r"env|sudo|doas|su|pkexec|xargs|nohup|setsid|nice|ionice|timeout|stdbuf|busybox|toybox|chroot|unshare|nsenter|ssh|parallel|watch|script"
)
_DESTRUCTIVE = lazy(
    r"rm|rmdir|shred|dd|mkfs(\..*)?|wipefs|fdisk|parted|truncate|shutdown|reboot|halt|poweroff|kill|killall|pkill|userdel|chown|chmod|mv"
)
_DESTRUCTIVE_WORDS = {
    "git": lazy(r"push|reset|clean|rebase|filter-branch|gc|prune|checkout|restore"),
    "docker": lazy(r"rm|rmi|prune|system|volume|kill|stop"),
    "kubectl": lazy(r"delete|drain|replace"),
    "systemctl": lazy(r"stop|disable|mask|kill|isolate|poweroff|reboot|halt"),
    "apt": lazy(r"remove|purge|autoremove"),
    "apt-get": lazy(r"remove|purge|autoremove"),
    "pip": lazy(r"uninstall"),
    "sed": lazy(r"-i.*"),
    "terraform": lazy(r"destroy|apply"),
}
_DESTRUCTIVE_OPTIONS = lazy(r"(?:--?delete|--force|-exec|-execdir|--remove|--purge|--in-place)(?:=.*)?", re.DOTALL)


def program(argv: Argv) -> str:
    """Return the name of the program without its folder."""
    return argv[0].rsplit("/", 1)[-1] if argv else ""


def entry_problem(argv: Argv) -> str | None:
    """Why a policy entry would grant more than it says; None if it is fit to grant."""
    if not argv or not argv[0].strip():
        return "it names no program"
    if any("\0" in argument for argument in argv):
        return "it contains a NUL byte"
    if "/" in argv[0] and not argv[0].startswith("/"):
        return "the program must be a plain name or an absolute path"
    name = program(argv)
    if name in {"", ".", ".."}:
        return "it names no program"
    if _LAUNCHERS.fullmatch(name):
        return f"{name} starts other programs, so it would grant all of them; name the program itself"
    if (_SHELLS.fullmatch(name) or _INTERPRETERS.fullmatch(name)) and (len(argv) < 2 or argv[1].startswith("-")):
        return f"{name} runs whatever it is given; name the script as the second word"
    return None


def is_destructive(argv: Argv) -> bool:
    """Whether a command is of the kind that destroys or overwrites; a hint for approvals, not a wall.

    Unknown programs are not called destructive: they still need a grant and, unless listed as read-only, an approval.
    """
    name = program(argv)
    if _DESTRUCTIVE.fullmatch(name):
        return True
    words = _DESTRUCTIVE_WORDS.get(name)
    return any(_DESTRUCTIVE_OPTIONS.fullmatch(word) or (words and words.fullmatch(word)) for word in argv[1:])


@dataclass(frozen=True, slots=True)
class ExecGrants:
    """``commands`` may be asked for; those of them in ``read_only`` need no approval while they add only operands."""

    commands: frozenset[Argv] = frozenset()
    read_only: frozenset[Argv] = frozenset()

    @classmethod
    def of(cls, commands: Iterable[Argv], read_only: Iterable[Argv] = ()) -> Self:
        """From both lists of the policy file; what is read-only is granted too."""
        quiet = frozenset(read_only)
        return cls(frozenset(commands) | quiet, quiet)

    def allows(self, argv: Argv) -> bool:
        """Whether ``argv`` starts with a granted list of words."""
        return any(_starts(argv, prefix) for prefix in self.commands)

    def operands(self, argv: Argv) -> Argv | None:
        """What ``argv`` adds to a read-only entry, the longest that fits; None where it is none followed by operands only.

        An option that the entry does not spell out may write (``git log --output=x``, ``find -delete``), so it asks.
        """
        spelled = [len(prefix) for prefix in self.read_only if _adds_operands(argv, prefix)]
        return argv[max(spelled) :] if spelled else None

    def option_added(self, argv: Argv) -> tuple[Argv, str]:
        """The longest read-only entry with which ``argv`` begins, and the first option that it adds; nothing where there is none."""
        begun = max((prefix for prefix in self.read_only if _starts(argv, prefix)), key=len, default=())
        return begun, next((word for word in argv[len(begun) :] if word.startswith("-")), "") if begun else ""

    def intersect(self, other: ExecGrants) -> ExecGrants:
        """Return what both allow, and without approval only what both allow without."""
        return ExecGrants(_inner(self.commands, other.commands, _starts), _inner(self.read_only, other.read_only, _adds_operands))


def _starts(argv: Argv, prefix: Argv) -> bool:
    return argv[: len(prefix)] == prefix


def _adds_operands(argv: Argv, prefix: Argv) -> bool:
    return _starts(argv, prefix) and not any(word.startswith("-") for word in argv[len(prefix) :])


def _inner(mine: frozenset[Argv], theirs: frozenset[Argv], extends: Callable[[Argv, Argv], bool]) -> frozenset[Argv]:
    return frozenset(max(one, two, key=len) for one in mine for two in theirs if extends(one, two) or extends(two, one))
