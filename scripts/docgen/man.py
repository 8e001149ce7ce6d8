"""The manual: rlp(1) and a page for each verb, from the same grammar that completion uses; agtop(1) and runloopd(8), from their options."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from runloop import __version__
from runloop.cli import agtop
from runloop.cli.exits import EXITS
from runloop.cli.grammar import whole
from runloop.cli.main import VERBS
from runloop.daemon import main as runloopd

_TAGLINE = "sandboxed, durable, replayable Python agents, from the terminal"
_ENVIRONMENT = (
    ("RUNLOOP_HOME", "Where the state is kept, instead of ~/.runloop."),
    ("RUNLOOP_CONFIG", "A configuration file that is read after the others."),
    ("RUNLOOP__SECTION__KEY", "Any setting, by its key with two underscores for each dot."),
    ("RUNLOOP_DEBUG", "Print the traceback of an unexpected error."),
    ("RUNLOOP_ERRORS", "With json, errors are one JSON object each on stderr."),
    ("NO_COLOR", "Never colour anything."),
    ("PAGER", "What shows output that is longer than the terminal; cat or nothing is none."),
)
_FILES = (
    ("~/.runloop/config.yaml", "The person's settings; /etc/runloop/config.yaml are the machine's."),
    ("~/.runloop/pog/", "The ledger and the tables that are derived from it."),
    ("~/.runloop/agents/, ~/.runloop/openings/", "Agents and openings that were installed."),
    ("$XDG_RUNTIME_DIR/runloop/rmp.sock, ~/.runloop/sock/rmp.sock", "The daemon's sockets."),
)


def pages() -> dict[str, str]:
    """Every page by its place below ``docs/man``."""
    grammar = whole()
    found = {"man1/rlp.1": _rlp(grammar), "man1/agtop.1": _monitor(), "man1/runloop.1": _other_name(), "man8/runloopd.8": _daemon()}
    for name in VERBS:
        found[f"man1/rlp-{name}.1"] = _verb(name, grammar["commands"][name])
    return found


def _rlp(grammar: dict[str, Any]) -> str:
    parts = [
        _head("RLP", 1, "rlp", _TAGLINE),
        ".SH SYNOPSIS\n.B rlp\n[\\fIOPTIONS\\fR] \\fIVERB\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION\n" + _text("`rlp` runs openings: graphs of agents, each in a sandbox, whose every step is on record before it "
        "counts. Each verb has a page of its own: rlp-VERB(1)."),
        ".SH VERBS\n" + "\n".join(_item(f"\\fBrlp\\-{_dash(name)}\\fR(1)", verb.summary) for name, verb in VERBS.items()),
        _options(grammar["options"]),
        _exits(),
        ".SH ENVIRONMENT\n" + "\n".join(_item(f"\\fB{_dash(name)}\\fR", text) for name, text in _ENVIRONMENT),
        ".SH FILES\n" + "\n".join(_item(f"\\fI{_plain(name)}\\fR", text) for name, text in _FILES),
        ".SH SEE ALSO\n\\fBagtop\\fR(1), \\fBrunloopd\\fR(8)",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _other_name() -> str:
    parts = [
        _head("RUNLOOP", 1, "runloop", _TAGLINE),
        ".SH SYNOPSIS\n.B runloop\n[\\fIOPTIONS\\fR] \\fIVERB\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION\n" + _text("`runloop` is another name of `rlp`."),
        ".SH SEE ALSO\n\\fBrlp\\fR(1)",
    ]
    return "\n".join(parts) + "\n"


def _verb(name: str, node: dict[str, Any]) -> str:
    parts = [
        _head(f"RLP-{name.upper()}", 1, f"rlp-{name}", VERBS[name].summary),
        ".SH SYNOPSIS\n" + _synopses(f"rlp {name}", node),
        ".SH DESCRIPTION\n" + _described(node),
    ]
    parts += [part for part in (_arguments(node), _options(node["options"])) if part]
    if node["commands"]:
        parts.append(".SH COMMANDS\n" + "\n".join(_command(f"rlp {name} {each}", below) for each, below in node["commands"].items()))
    parts += [part for part in (_examples(node),) if part]
    parts += [_exits(routes=name == "route"), ".SH SEE ALSO\n\\fBrlp\\fR(1), \\fBrunloopd\\fR(8)"]
    return "\n".join(parts) + "\n"


def _daemon() -> str:
    parts = [
        _head("RUNLOOPD", 8, "runloopd", "the daemon that runs openings, keeps the ledger and performs what agents may do"),
        ".SH SYNOPSIS\n.B runloopd\n[\\fIOPTIONS\\fR]",
        ".SH DESCRIPTION\n" + _text("`runloopd` is started by `rlp up`, by systemd, or by hand. It is the only process that has keys and "
        "the network; agents run in its workers, which have neither. After a crash it takes up every run where the ledger says it was. "
        "SIGTERM stops it: no new runs, a grace for nodes that work, then the end. SIGHUP lets it read its files anew."),
        _parsed(runloopd._parser()),  # noqa: SLF001 - what the program itself reads
        _exits(routes=False),
        ".SH FILES\n" + "\n".join(_item(f"\\fI{_plain(name)}\\fR", text) for name, text in _FILES),
        ".SH SEE ALSO\n\\fBrlp\\fR(1), \\fBrlp\\-up\\fR(1), \\fBsystemd.service\\fR(5)",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _monitor() -> str:
    parts = [
        _head("AGTOP", 1, "agtop", "see what agents do, and decide what would leave"),
        ".SH SYNOPSIS\n.B agtop\n[\\fIOPTIONS\\fR]",
        ".SH DESCRIPTION\n" + _text("`agtop` shows every run of the daemon as it goes, what it waits for, and the exact content of what an "
        "agent would send or change, to be approved or refused there. `?` shows its keys, `q` ends it. It also shows a file of run "
        "records, or the runs as they were at an earlier time."),
        _parsed(agtop._parser()),  # noqa: SLF001 - what the program itself reads
        _exits(routes=False),
        ".SH EXAMPLES\n" + "\n.br\n".join(f".B {_dash(each)}" for each in agtop.EXAMPLES),
        ".SH SEE ALSO\n\\fBrlp\\fR(1), \\fBrlp\\-inbox\\fR(1), \\fBrunloopd\\fR(8)",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _parsed(parser: ArgumentParser) -> str:
    """The options of a program that reads them with argparse, which shows them nowhere else."""
    listed = []
    for action in parser._actions:  # noqa: SLF001
        value = "" if action.nargs == 0 else f" \\fI{_plain(str(action.metavar or action.dest.upper()))}\\fR"
        listed.append(_item(_bold(", ".join(action.option_strings)) + value, action.help or ""))
    return ".SH OPTIONS\n" + "\n".join(listed)


def _head(title: str, section: int, name: str, summary: str) -> str:
    line = summary[:1].lower() + summary[1:].rstrip(".") if summary[1:2].islower() else summary.rstrip(".")
    return f'.TH {_dash(title)} {section} "" "Runloop {__version__}" "Runloop"\n.SH NAME\n{_dash(name)} \\- {_inline(line)}'


def _synopses(path: str, node: dict[str, Any]) -> str:
    if not node["commands"]:
        return _synopsis(path, node)
    return "\n.br\n".join(_synopses(f"{path} {name}", each) for name, each in node["commands"].items())


def _synopsis(path: str, node: dict[str, Any]) -> str:
    words = ["[\\fIOPTIONS\\fR]"] if node["options"] else []
    for each in node["arguments"]:
        shown = f"\\fI{_plain(each['metavar'])}\\fR" + ("..." if each["many"] else "")
        words.append(shown if each["required"] else f"[{shown}]")
    return " ".join([f"\\fB{_dash(path)}\\fR", *words])


def _described(node: dict[str, Any]) -> str:
    paragraphs = [each for each in node["help"].split("\n\n") if not each.startswith("Examples: ")]
    return "\n.PP\n".join(_text(each) for each in paragraphs)


def _examples(node: dict[str, Any]) -> str:
    found = next((each for each in node["help"].split("\n\n") if each.startswith("Examples: ")), "")
    lines = [f".B {_dash(each)}" for each in re.findall(r"`([^`]+)`", " ".join(found.split()))]
    return ".SH EXAMPLES\n" + "\n.br\n".join(lines) if lines else ""


def _arguments(node: dict[str, Any]) -> str:
    listed = [_item(f"\\fI{_plain(each['metavar'])}\\fR", each["help"]) for each in node["arguments"] if each["help"]]
    return ".SH ARGUMENTS\n" + "\n".join(listed) if listed else ""


def _options(options: list[dict[str, Any]]) -> str:
    return ".SH OPTIONS\n" + "\n".join(map(_option, options)) if options else ""


def _option(option: dict[str, Any]) -> str:
    value = "" if option["metavar"] is None else f" \\fI{_plain(option['metavar'])}\\fR"
    words = option["value"] if isinstance(option["value"], list) else []
    text = option["help"]
    text += f" One of {', '.join(words)}." if words and not all(word in text for word in words) else ""
    text += f" Default: {option['default']}." if option["default"] not in (None, False) else ""
    return _item(_bold(", ".join(option["names"])) + value, text)


def _command(path: str, node: dict[str, Any]) -> str:
    if node["commands"]:
        return "\n".join(_command(f"{path} {name}", each) for name, each in node["commands"].items())
    parts = [f".SS {_dash(path)}", _synopsis(path, node), ".PP", _described(node)]
    listed = [_item(f"\\fI{_plain(each['metavar'])}\\fR", each["help"]) for each in node["arguments"] if each["help"]]
    return "\n".join([*parts, *listed, *map(_option, node["options"])])


def _exits(*, routes: bool = True) -> str:
    shown = [(code, meaning) for code, meaning in EXITS if routes or not 10 <= code < 20]
    return ".SH EXIT STATUS\n" + "\n".join(_item(f"\\fB{code}\\fR", meaning) for code, meaning in shown)


def _item(term: str, text: str) -> str:
    return f".TP\n{term}\n{_text(text)}"


def _bold(names: str) -> str:
    return ", ".join(f"\\fB{_dash(name)}\\fR" for name in names.split(", "))


def _text(text: str) -> str:
    """A paragraph: filled by the formatter, words in backquotes bold."""
    return _inline(" ".join(text.split())) or "\\&"


def _inline(text: str) -> str:
    parts = re.split(r"`([^`]+)`", text)
    line = "".join(f"\\fB{_dash(part)}\\fR" if at % 2 else _plain(part) for at, part in enumerate(parts))
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")


def _dash(text: str) -> str:
    """Text in which a hyphen is the one that can be typed."""
    return _plain(text).replace("-", "\\-").replace("`", "\\(ga").replace('"', "\\(dq")
