"""Shell completion: what can follow the words typed so far. Nothing of typer is imported unless the code of a verb has changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runloop.dataclass import dataclass

FILES, DIRS, WORDS = ":files", ":dirs", ":words"
_PATHS: Final = {"files": FILES, "dirs": DIRS}
_OR_FILES: Final = frozenset({"openings", "agents"})
"""Values that may be files as well."""
_SCRIPTS: Final = {"bash": "rlp.bash", "zsh": "_rlp", "fish": "rlp.fish"}
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What the shell is told: words with what they are, or that it shall complete paths by itself."""

    kind: str = WORDS
    words: tuple[tuple[str, str], ...] = ()


Values = Callable[[str, str], Sequence[tuple[str, str]]]
"""The words of a named sort that may begin so."""


def complete(grammar: Mapping[str, Any], words: Sequence[str], values: Values) -> Answer:
    """What can stand in the place of the last of ``words``, which are those after `rlp`; the last may be empty."""
    node, at, pending, literal, used = grammar, 0, None, False, set[str]()
    *before, last = words or ("",)
    for word in before:
        if pending is not None:
            pending = None
        elif word == "--" and not literal:
            literal = True
        elif word.startswith("-") and len(word) > 1 and not literal:
            name, equals, _ = word.partition("=")
            option = _option(node, name)
            used.add(name)
            pending = option if option is not None and not option["flag"] and not equals else None
        elif node["commands"]:
            if word not in node["commands"]:
                return Answer()
            node, used = node["commands"][word], set()
        else:
            at += 1
    if pending is not None:
        return _of_value(pending["value"], last, values)
    if last.startswith("-") and not literal:
        return _of_option(node, last, used, values)
    if node["commands"]:
        return _matching([(name, each["summary"]) for name, each in node["commands"].items()], last)
    arguments = node["arguments"]
    if not arguments or (at >= len(arguments) and not arguments[-1]["many"]):
        return Answer()
    return _of_value(arguments[min(at, len(arguments) - 1)]["value"], last, values)


def _option(node: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    return next((each for each in node["options"] if name in each["names"]), None)


def _of_option(node: Mapping[str, Any], last: str, used: set[str], values: Values) -> Answer:
    name, equals, begun = last.partition("=")
    if equals:
        option = _option(node, name)
        found = Answer() if option is None or option["flag"] else _of_value(option["value"], begun, values)
        return Answer(found.kind, tuple((f"{name}={word}", text) for word, text in found.words))
    open_ones = [each for each in node["options"] if each["many"] or used.isdisjoint(each["names"])]
    named = [(name, each["help"]) for each in open_ones for name in each["names"] if name.startswith("--") or len(last) < 2]
    helping = [] if used & {"--help", "-h"} or any("--help" in each["names"] for each in node["options"]) else [("--help", "Explain it.")]
    return _matching(named + helping, last)


def _of_value(value: Any, last: str, values: Values) -> Answer:
    if isinstance(value, list):
        return _matching([(str(word), "") for word in value], last)
    if value in _PATHS:
        return Answer(_PATHS[value])
    if value is None:
        return Answer()
    found = _matching(values(value, last), last)
    return Answer(FILES) if not found.words and value in _OR_FILES else found


def _matching(named: Sequence[tuple[str, str]], last: str) -> Answer:
    return Answer(WORDS, tuple((word, text) for word, text in named if word.startswith(last)))


def answer(arguments: Sequence[str]) -> int:
    """`rlp __complete SHELL WORD…`: print the answer, a line each; nothing at all where something is wrong."""
    shell, *words = arguments or ("bash",)
    try:
        for line in _lines(shell, _answer(words)):
            print(line)
    except Exception:  # noqa: BLE001 - a shell that completes shows no errors
        return 1
    return 0


def _answer(words: Sequence[str]) -> Answer:
    from runloop.cli import context, grammar
    from runloop.cli.values import VALUES

    context.begin()
    tree = grammar.cached(context.settings().directories.cache)
    return complete(tree, words, lambda sort, begun: VALUES[sort](begun))


def _lines(shell: str, found: Answer) -> list[str]:
    from runloop.cli.output import clean_line, fitted

    lines = [found.kind]
    for word, text in found.words:
        if clean_line(word) != word:
            continue  # a name that could drive the terminal is not offered
        about = fitted(clean_line(" ".join(text.split())), _LONGEST)
        lines.append(word if shell == "bash" or not about else f"{word}\t{about}")
    return lines


def script(shell: str) -> str:
    """The script that a shell reads once. Raises InvalidInput ``cli.shell`` for a shell that has none."""
    from runloop.errors import InvalidInput, Where

    if shell not in _SCRIPTS:
        hint = "there is one for " + ", ".join(_SCRIPTS)
        raise InvalidInput(f"there is no completion for {shell!r}", code="cli.shell", where=Where(key="SHELL"), hint=hint)
    return (Path(__file__).resolve().parent.parent / "data/completion" / _SCRIPTS[shell]).read_text(encoding="utf-8")


def show(shell: str | None, environment: Mapping[str, str]) -> int:
    """`rlp --show-completion`."""
    sys.stdout.write(script(shell or _own(environment)))
    return 0


def install(shell: str | None, environment: Mapping[str, str]) -> int:
    """`rlp --install-completion`: write the script where the shell looks for it, and say where, and what else is needed."""
    from runloop.cli.output import print_line
    from runloop.cli.whole import write_whole

    name = shell or _own(environment)
    text, path = script(name), place(name, environment)
    try:
        same = path.exists() and path.read_text(encoding="utf-8", errors="replace") == text
        if not same:
            write_whole(path, text)
    except OSError as error:
        from runloop.errors import RunloopError, Where

        hint = f"`rlp --show-completion {name}` prints it, to be put somewhere else"
        raise RunloopError(
            f"the completion cannot be written: {error.strerror}", code="cli.completion", where=Where(file=str(path)), hint=hint
        ) from error
    print_line(f"{'already there' if same else 'written'}: {path}; remove it to undo this")
    if needed := needs(name, path):
        print_line(needed)
    return 0


def needs(shell: str, path: Path) -> str:
    """What the shell needs besides to find its script there; empty where that is nothing."""
    from shlex import quote

    if shell == "zsh":
        return f"zsh finds it once ~/.zshrc has, before compinit:  fpath=({quote(str(path.parent))} $fpath)"
    if shell == "bash":
        return f"bash finds it with the package bash-completion; without that, once ~/.bashrc has:  source {quote(str(path))}"
    return ""


def place(shell: str, environment: Mapping[str, str]) -> Path:
    """The file that a new shell loads completion of `rlp` from; for zsh its directory must be in fpath."""
    from runloop.cli.whole import home

    own = home(environment)
    data = Path(environment.get("XDG_DATA_HOME") or own / ".local/share")
    return {
        "bash": data / "bash-completion/completions/rlp",
        "zsh": data / "zsh/site-functions/_rlp",
        "fish": Path(environment.get("XDG_CONFIG_HOME") or own / ".config") / "fish/completions/rlp.fish",
    }[shell]


def _own(environment: Mapping[str, str]) -> str:
    return Path(environment.get("SHELL") or "bash").name
