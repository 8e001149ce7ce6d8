"""The commands that a line really starts: those inside `sudo`, `env`, `sh -c`, `xargs`, `find -exec`, aliases and the like."""

from __future__ import annotations

from runloop.patterns import lazy
from runloop.router.lexer import Command, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Argv = tuple[str, ...]

MAX_LAYERS = 8
MAX_READ = 8 * 65_536  # characters of a line with what aliases and variables make of it


class TooDeep(Exception):  # noqa: N818 - named for what it says
    """There are commands further down than anybody looks."""


PREFIX_KEYWORDS = frozenset("! - { if then elif else while until do time coproc and or not begin nocorrect noglob function".split())

# Options that take a value, by launcher; operands that stand before the command, by launcher.
_VALUED: dict[str, frozenset[str]] = {
    "sudo": frozenset("-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir --chroot".split()),
    "doas": frozenset("-u -C".split()),
    "env": frozenset("-u -C -S --unset --chdir".split()),
    "nice": frozenset(("-n", "--adjustment")),
    "ionice": frozenset("-c -n -p --class --classdata".split()),
    "timeout": frozenset("-s -k --signal --kill-after".split()),
    "stdbuf": frozenset("-i -o -e --input --output --error".split()),
    "xargs": frozenset("-I -i -n -P -L -d -s -E -a --max-args --max-procs --delimiter --replace --arg-file --max-lines".split()),
    "watch": frozenset("-n --interval".split()),
    "exec": frozenset(("-a",)),
    "time": frozenset("-f -o --format --output".split()),
    "strace": frozenset("-e -o -p -s -u".split()),
    "ssh": frozenset("-b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w".split()),
    "chroot": frozenset(("--userspec", "--groups")),
    "flock": frozenset("-w -E --timeout --conflict-exit-code".split()),
    "parallel": frozenset("-j -S --jobs".split()),
    "systemd-run": frozenset("-u -p -E --unit --property --setenv".split()),
}
_LEADING: dict[str, int] = {"timeout": 1, "chroot": 1, "flock": 1, "taskset": 1, "ssh": 1, "repeat": 1}
_LAUNCHERS = frozenset(_VALUED) | frozenset(
    """
builtin busybox caffeinate catchsegv chronic command gdb ltrace nohup nsenter pkexec proxychains repeat setsid taskset toybox unbuffer
unshare
""".split()
)
_BRACES = lazy(r"([^{}]*)\{([^{}]*,[^{}]*)\}([^{}]*)")
_JOINING = frozenset("eval ssh watch".split())  # these give their words to a shell as one text
_SHELLS = frozenset("sh bash dash zsh fish ksh mksh ash rbash su script".split())


def program(name: str) -> str:
    """The name of a program without its folder, and without the `=` by which zsh looks it up."""
    return name.rsplit("/", 1)[-1].removeprefix("=")


class _Room:
    """What may still be read of one line: aliases and variables may make it as long as they like, again and again."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_READ

    def take(self, text: str) -> str:
        """The text; raises TooDeep where it is too much."""
        self.left -= len(text)
        if self.left < 0:
            raise TooDeep
        return text


def started(text: str, aliases: Mapping[str, str], layers: int = MAX_LAYERS, room: _Room | None = None) -> Iterator[tuple[str, Argv]]:
    """Every command that running ``text`` would start, each with what joins it to the one before.

    Raises:
        TooDeep: after those of ``layers`` layers, where there are more, and after ``MAX_READ`` characters.

    """
    room = room or _Room()
    room.take(text)
    variables: dict[str, str] = {}
    before: tuple[Argv, list[str]] = ((), [])
    text = text.replace("${IFS}", " ").replace("$IFS", " ")
    for command in [*read(text).commands, *(read(text, grouping=True).commands if "(" in text else ())]:
        for assignment in command.assignments:
            name, _, value = assignment.text.partition("=")
            variables[name] = value
        argv = _expanded(command, variables, room)
        if argv[:1] == ("for",) and argv[2:3] == ("in",):
            variables[argv[1]] = " ".join(argv[3:])  # whatever it is in turn
        for inner in _layers(argv, aliases, layers, room):
            yield command.joined, inner
        for script in _scripts(argv, command, before):
            yield from started(script, aliases, _one_less(layers), room)
        if argv and argv[0] in aliases:
            own = {name: body for name, body in aliases.items() if name != argv[0]}
            yield from started(" ".join((aliases[argv[0]], *map(quoted, argv[1:]))), own, _one_less(layers), room)
        before = (argv, command.inputs)


def _one_less(layers: int) -> int:
    if not layers:
        raise TooDeep
    return layers - 1


def _expanded(command: Command, variables: dict[str, str], room: _Room) -> Argv:
    """The words of a command without keywords in front; variables that the line itself set and brace lists are put in."""
    words: list[str] = []
    before = ""
    for word in command.words:
        if not words and not word.quoted and (word.text in PREFIX_KEYWORDS or before == "function"):
            before = word.text
            continue
        if not words and _is_assignment(word.raw):
            name, _, value = word.text.partition("=")
            variables[name] = value
            continue
        if word.expands and (name := word.text.strip("${}")) in variables:
            words += room.take(variables[name]).split()
        elif not word.quoted and "{" in word.text and (braces := _BRACES.fullmatch(word.text)):
            words += [braces[1] + each + braces[3] for each in braces[2].split(",")]
        else:
            words.append(word.text)
    return tuple(words)


def _layers(argv: Argv, aliases: Mapping[str, str], layers: int, room: _Room) -> Iterator[Argv]:
    """The command itself, then the one that it launches, and so on."""
    while argv:
        yield argv
        inner = launched(argv)
        for each in _executed(argv):
            yield from _layers(each, aliases, _one_less(layers), room)
        if not inner:
            return
        layers = _one_less(layers)
        if inner[0] in aliases:
            own = {name: body for name, body in aliases.items() if name != inner[0]}
            yield from (each for _, each in started(" ".join((aliases[inner[0]], *map(quoted, inner[1:]))), own, layers, room))
        argv = inner


def launched(argv: Argv) -> Argv:
    """The command that a launcher starts; empty for what is none."""
    name = program(argv[0])
    if name not in _LAUNCHERS:
        return ()
    valued, at = _VALUED.get(name, frozenset()), 1
    while at < len(argv) and (argv[at].startswith("-") or (name in ("env", "sudo", "doas") and _is_assignment(argv[at]))):
        if argv[at] == "--":
            at += 1
            break
        at += 2 if argv[at] in valued else 1
    return argv[at + _LEADING.get(name, 0) :]


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _executed(argv: Argv) -> Iterator[Argv]:
    """The commands of `find -exec`."""
    inner: list[str] | None = None
    for word in argv if program(argv[0]) == "find" else ():
        if inner is None:
            inner = [] if word in ("-exec", "-execdir", "-ok", "-okdir") else None
        elif word in (";", "+"):
            yield tuple(inner)
            inner = None
        else:
            inner.append(word)
    if inner:
        yield tuple(inner)


def _scripts(argv: Argv, command: Command, before: tuple[Argv, list[str]]) -> Iterator[str]:
    """Texts that the command gives to a shell: of `-c`, of `eval`, of a here-document, of an `echo` piped into it."""
    inner = argv
    while inner:
        name = program(inner[0])
        if name in _JOINING:
            yield " ".join(launched(inner) if name != "eval" else inner[1:])
            return
        if name == "trap":
            yield from inner[1:2]
        if name == "env" and inner[1:2] == ("-S",):
            yield " ".join(inner[2:])
        if name in _SHELLS:
            yield from _shell_scripts(inner, command, before)
        for each in _executed(inner):
            yield from _scripts(each, command, before)
        inner = launched(inner)


def _shell_scripts(argv: Argv, command: Command, before: tuple[Argv, list[str]]) -> Iterator[str]:
    for at, word in enumerate(argv[1:], 1):
        if (word == "--command" or (word[:1] == "-" and word[1:2] != "-" and word.endswith("c"))) and at + 1 < len(argv):
            yield argv[at + 1]
            return
    yield from command.inputs
    source, bodies = before
    if command.joined in ("|", "|&") and source:
        yield from bodies
        if program(source[0]) in ("echo", "printf", "print"):
            yield " ".join(word for word in source[1:] if not word.startswith("-"))


def quoted(word: str) -> str:
    """``word`` so that the shell reads it as one word."""
    return "'" + word.replace("'", "'\\''") + "'"
