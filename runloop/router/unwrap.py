"""The commands that a line really starts: those inside `sudo`, `env`, `sh -c`, `xargs`, `find -exec`, aliases and the like."""

from __future__ import annotations

import re

from runloop.patterns import lazy
from runloop.router.lexer import Command, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Argv = tuple[str, ...]

MAX_LAYERS = 8
MAX_READ = 8 * 65_536  # characters of a line with what aliases and variables make of it


class TooDeep(Exception):  # noqa: N818 - named for what it says
    """There are commands further down than anybody looks."""


PREFIX_KEYWORDS = frozenset("! - { if then elif else while until do time coproc and or not begin nocorrect noglob function".split())

# Options that take a value in the next word, by launcher; operands that stand before the command, by launcher.
_VALUED: dict[str, frozenset[str]] = {
    "sudo": frozenset("-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir --chroot".split()),
    "doas": frozenset("-u -C".split()),
    "run0": frozenset("-u -g -D -p --user --group --chdir --property --unit".split()),
    "env": frozenset("-u -C --unset --chdir".split()),
    "nice": frozenset(("-n", "--adjustment")),
    "ionice": frozenset("-c -n -p --class --classdata".split()),
    "chrt": frozenset("-T -P -D -p --sched-runtime --sched-period --sched-deadline --pid".split()),
    "timeout": frozenset("-s -k --signal --kill-after".split()),
    "stdbuf": frozenset("-i -o -e --input --output --error".split()),
    "xargs": frozenset("-I -n -P -L -d -s -E -a --max-args --max-procs --delimiter --arg-file --max-chars --process-slot-var".split()),
    "watch": frozenset("-n -q --interval --equexit".split()),
    "exec": frozenset(("-a",)),
    "time": frozenset("-f -o --format --output".split()),
    "strace": frozenset("-a -b -e -E -I -o -O -p -P -s -S -u -U -X --attach --output --string-limit --trace-path --user --env".split()),
    "ltrace": frozenset("-a -A -D -e -F -l -n -o -p -s -u -w -x --output".split()),
    "ssh": frozenset("-b -B -c -D -E -e -F -I -i -J -L -l -m -O -o -p -P -Q -R -S -W -w".split()),
    "chroot": frozenset(("--userspec", "--groups")),
    "unshare": frozenset("-R -S -G -w --root --wd --setuid --setgid --propagation --setgroups --map-user --map-group".split()),
    "nsenter": frozenset("-t -S -G --target --setuid --setgid".split()),
    "setpriv": frozenset("--reuid --regid --groups --inh-caps --ambient-caps --bounding-set --securebits --pdeathsig".split()),
    "prlimit": frozenset("-p -o --pid --output".split()),
    "choom": frozenset("-n -p --adjust --pid".split()),
    "flock": frozenset("-w -E --timeout --wait --conflict-exit-code".split()),
    "parallel": frozenset("-j -S --jobs".split()),
    "runuser": frozenset("-u -g -G -s -w --user --group --supp-group --shell --whitelist-environment".split()),
    "systemd-run": frozenset("-u -p -E -M -H --unit --property --setenv --machine --host --uid --gid --slice --description".split()),
}
_LEADING = dict.fromkeys("timeout chroot flock taskset ssh repeat chrt logsave faketime".split(), 1)
_LAUNCHERS = frozenset(_VALUED) | frozenset(
    """
builtin busybox caffeinate catchsegv chronic command dbus-run-session faketime fakeroot gdb logsave nohup pkexec proxychains repeat
setsid taskset toybox unbuffer
""".split()
)
_BRACES = lazy(r"([^{}]*)\{([^{}]*,[^{}]*)\}([^{}]*)")
_JOINING = frozenset("eval ssh watch".split())  # these give their words to a shell as one text
_SHELLS = frozenset("sh bash dash zsh fish ksh mksh ash rbash su runuser sg script flock emulate capsh".split())
_SOURCING = frozenset("source .".split())
_ENTERING = frozenset("sudo doas ssh chroot unshare nsenter".split())  # without a command they start a shell
_SCRIPT_OPTIONS = frozenset("--command --session-command --init-command -C".split())
_SPLITTING = frozenset("-S --split-string".split())
_TYPING = frozenset("set export declare typeset local readonly".split())
_PRINTING = frozenset("echo printf print".split())
_USED = lazy(r"\$(?:(\w+)|\{(\w+)(?::?[-=]([^{}]*))?\})")
_OWN_INPUT = lazy(r"-|/dev/(?:stdin|fd/\d+)|/proc/self/fd/\d+|[<=]?\(.*", re.DOTALL)


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


def started(
    text: str, aliases: Mapping[str, str], layers: int = MAX_LAYERS, room: _Room | None = None, fed: Sequence[str] = ()
) -> Iterator[tuple[str, Argv]]:
    """Every command that running ``text`` would start, each with what joins it to the one before. ``fed`` is what it may read.

    Raises:
        TooDeep: after those of ``layers`` layers, where there are more, and after ``MAX_READ`` characters.

    """
    room = room or _Room()
    room.take(text)
    text = text.replace("${IFS}", " ").replace("$IFS", " ")
    readings = [read(text)]
    if "(" in text:
        readings.append(read(text, grouping=True))
    if ("\\" in text and "'" in text) or "`" in text or ">|" in text:
        readings.append(read(text, fish=True))
    for script in readings:
        variables: dict[str, str] = {}
        said = list(fed)
        piped = bool(fed) or not script.marks.isdisjoint(("|", "|&"))
        for command in script.commands:
            for assignment in command.assignments:
                name, _, value = assignment.text.partition("=")
                variables[name.removesuffix("+")] = _filled(value, variables, room)
            argv = _expanded(command, variables, room)
            said += command.inputs
            texts = said if piped else command.inputs
            for words in (argv, *_bodies(command, argv)):
                part = _assigned(words, variables)
                _remember(part, variables)
                for inner in _layers(part, aliases, layers, room):
                    yield command.joined, inner
                for given, read_by in _scripts(part, texts, said):
                    yield from started(given, aliases, _one_less(layers), room, read_by)
                if part and part[0] in aliases:
                    own = {name: body for name, body in aliases.items() if name != part[0]}
                    yield from started(" ".join((aliases[part[0]], *map(quoted, part[1:]))), own, _one_less(layers), room)
            if argv and program(argv[0]) in _PRINTING:
                said.append(_printed(argv))


def _remember(argv: Argv, variables: dict[str, str]) -> None:
    """The variables that a command sets: of a loop whatever they are in turn, and those of ``set`` and ``export``."""
    name, words = argv[0] if argv else "", argv[1:]
    if name in ("for", "foreach") and (words[1:2] == ("in",) or (words[1:2] and words[1].startswith("("))):
        variables[words[0]] = " ".join(words[1:]).removeprefix("in ").removeprefix("(")
    elif name in _TYPING:
        own = [word for word in words if not word.startswith("-")]
        _assigned(tuple(own), variables)
        if name == "set" and own and own[0].isidentifier():  # fish
            variables[own[0]] = " ".join(words[words.index(own[0]) + 1 :])


def _bodies(command: Command, argv: Argv) -> Iterator[Argv]:
    """What follows a ``{``, a ``]]`` or the words of a ``for``: the short forms of zsh, and what ``coproc`` and ``function`` name."""
    if argv[:1] in (("for",), ("foreach",)) and argv[2:3] != ("in",):
        yield argv[2:]
    marks = [word.text for word in command.words if not word.quoted and word.text in ("{", "]]")]
    for at, word in enumerate(argv[:-1] if marks else ()):
        if word in marks:
            yield argv[at + 1 :]


def _printed(argv: Argv) -> str:
    """What ``echo`` and its like say."""
    words = list(argv[1:])
    while words and (words[0] == "--" or (len(words[0]) > 1 and words[0].startswith("-"))):
        del words[0]
    text = words[0] if words else ""
    for word in words[1:]:
        text = text.replace("%s", word, 1) if "%s" in text else f"{text} {word}"
    return text.replace("\\n", "\n")


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
        if not words and before == "time" and word.text in ("-p", "--"):
            continue
        if not words and _is_assignment(word.raw):
            name, _, value = word.text.partition("=")
            variables[name] = value
            continue
        text = _filled(word.text, variables, room) if word.expands else word.text
        if text != word.text:
            words += text.split() if _is_variable(word.text) or not word.quoted else [text]
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


def _is_variable(text: str) -> bool:
    return _USED.fullmatch(text) is not None


def _filled(text: str, variables: Mapping[str, str], room: _Room) -> str:
    """A text with the variables that the line itself set."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name in variables:
            return room.take(variables[name])
        return found[0] if found[3] is None else str(found[3])

    return _USED.sub(value, text) if "$" in text else text


def launched(argv: Argv) -> Argv:
    """The command that a launcher starts; empty for what is none."""
    name = program(argv[0])
    if name not in _LAUNCHERS:
        return ()
    valued, at = _VALUED.get(name, frozenset()), 1
    assigning, leading, ended = name in ("env", "sudo", "doas"), _LEADING.get(name, 0), False
    while at < len(argv) and ((argv[at].startswith("-") and not ended) or (assigning and _assigns(argv[at]))):
        ended |= argv[at] == "--"
        at += 2 if not ended and _takes_next(argv[at], valued) else 1
    return _assigned(argv[at + leading :], {}) if name == "repeat" else argv[at + leading :]


def _assigned(argv: Argv, variables: dict[str, str]) -> Argv:
    """A command without the assignments in front, which go into ``variables``."""
    end = next((at for at, word in enumerate(argv) if not _is_assignment(word)), len(argv))
    variables.update((word.partition("=")[0], word.partition("=")[2]) for word in argv[:end])
    return argv[end:]


def _takes_next(option: str, valued: frozenset[str]) -> bool:
    """Whether the value of an option, or of the last one of a bundle, is the next word."""
    if option.startswith("--") or option in valued:
        return option in valued
    first = next((at for at, letter in enumerate(option) if at and "-" + letter in valued), 0)
    return 0 < first == len(option) - 1


def _assigns(word: str) -> bool:
    """Whether `env` takes a word for a variable: whatever its name is."""
    return not word.startswith("=") and "=" in word


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


def _scripts(argv: Argv, inputs: Sequence[str], said: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Texts that the command gives to a shell, each with what that one may read itself: of `-c`, of `eval`, of a here-document, of a pipe.

    ``inputs`` may come from its standard input, ``said`` is what the line has printed so far.
    """
    inner = argv
    while inner:
        name = program(inner[0])
        rest = launched(inner)
        if name in _JOINING and (rest or name == "eval"):
            yield " ".join(rest if name != "eval" else inner[1:]), inputs
            return
        if name == "trap":
            yield from ((word, ()) for word in inner[1:3])
        elif name == "env":
            yield from ((text, ()) for text in _split_strings(inner))
        elif name in _SHELLS:
            yield from ((text, ()) for text in _shell_scripts(inner, inputs, said))
        elif name in _SOURCING and (not inner[1:] or _OWN_INPUT.fullmatch(inner[1])):
            yield from ((text, ()) for text in (inputs or said))
        elif name in _ENTERING and not rest:
            yield from ((text, ()) for text in inputs)
        for each in _executed(inner):
            yield from _scripts(each, inputs, said)
        inner = rest


def _split_strings(argv: Argv) -> Iterator[str]:
    """The commands that `env -S` splits by itself."""
    for at, word in enumerate(argv[1:], 1):
        long, _, value = word.partition("=")
        bundle, found, rest = word.partition("S")
        if long in _SPLITTING:
            yield " ".join((value, *argv[at + 1 :]))
        elif found and bundle.startswith("-") and not bundle.startswith("--"):
            yield " ".join((rest, *argv[at + 1 :]))
        elif not word.startswith("-"):
            return


def _shell_scripts(argv: Argv, inputs: Sequence[str], said: Sequence[str]) -> Iterator[str]:
    for at, word in enumerate(argv[1:], 1):
        option, _, value = word.partition("=")
        if option in _SCRIPT_OPTIONS:
            yield value or next(iter(argv[at + 1 :]), "")
        elif word.startswith("-") and not word.startswith("--") and (found := word.find("c")) > 0:
            yield word[found + 1 :]
            yield next((each for each in argv[at + 1 :] if not each.startswith(("-", "+"))), "")
            return
    if program(argv[0]) == "sg":
        yield " ".join(argv[2:])
    operand = next((word for word in argv[1:] if word == "-" or not word.startswith(("-", "+"))), "-")
    yield from said if operand.startswith(("<(", "=(", "(")) else inputs


def quoted(word: str) -> str:
    """``word`` so that the shell reads it as one word."""
    return "'" + word.replace("'", "'\\''") + "'"
