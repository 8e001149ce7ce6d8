"""Reading ``policy.caps`` and its overrides (spec 11, extended by mail, ask, spawn and command lists).

Every refusal carries the line and column of the entry and says what to write instead; an author sees all of a file at once. Where
upstream has a wording, the message begins with it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from runloop.errors import SeveralInvalid
from runloop.hosts import split_host
from runloop.policy.capabilities import Capabilities, Override
from runloop.policy.commands import Argv, ExecGrants, entry_problem
from runloop.policy.located import TomlDocument, parse_toml
from runloop.policy.names import NameGrants
from runloop.policy.net import NetGrants, parse_target
from runloop.policy.paths import PathGrants, canonical_root
from runloop.policy.unasked import unasked_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_BYTES = 256 << 10
_TABLE = "capabilities"
_FS_KEYS = {"fs": False, "fs_ro": False, "fs_rw": True}
_FLAGS = ("time", "model", "mail", "ask")
KEYS = (*_FS_KEYS, "net", "exec", "kb_read", "kb_write", "spawn", "secrets", *_FLAGS)
_READING, _WRITING = "write fs = [DIRECTORY, …], to read below it", "write fs_rw = [DIRECTORY, …], to read and write below it"
_MEANT = (
    dict.fromkeys(("fs_read", "files", "file", "read", "filesystem", "paths"), _READING)
    | dict.fromkeys(("fs_write", "write", "fs_wr"), _WRITING)
    | dict.fromkeys(("network", "http", "https", "internet", "hosts", "urls", "web", "fetch"), "write net = [HOST, …], to fetch over https")
    | dict.fromkeys(("shell", "commands", "command", "run", "process", "subprocess"), 'write exec = { commands = [["git", "log"]] }')
    | dict.fromkeys(("kb", "search", "knowledge"), "write kb_read = [DOMAIN, …], such as notes or contacts")
    | dict.fromkeys(("models", "llm", "ai"), "write model = true")
    | dict.fromkeys(("email", "smtp", "send"), "write mail = true")
    | dict.fromkeys(("sleep", "timer", "timers", "clock"), "write time = true")
    | dict.fromkeys(("person", "human", "input", "prompt"), "write ask = true")
    | dict.fromkeys(("agents", "openings"), 'write spawn = ["agent:NAME"]')
)
"""What people call a capability that has another name here."""

_DOMAIN = re.compile(r"[a-z][a-z0-9_.-]*")
_SPAWN = re.compile(r"agent:[A-Za-z0-9_-]+(?:@[A-Za-z0-9_-]+)?|opening:[A-Za-z0-9_-]+")
_SECRET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


def parse_caps(text: str, *, file: str | None = None, home: str | None = None, env: Mapping[str, str] | None = None) -> Capabilities:
    """Read the capability set of a policy file; ``SeveralInvalid`` with every file, line and column otherwise.

    ``home`` and ``env`` expand ``~`` and ``$NAME`` in directories; this module never reads the environment itself.
    """
    return parse_override(text, file=file, home=home, env=env).caps


def parse_override(text: str, *, file: str | None = None, home: str | None = None, env: Mapping[str, str] | None = None) -> Override:
    """Read the same file as an override, which also knows which capabilities were stated."""
    override, problems = read_override(text, file=file, home=home, env=env)
    if problems:
        raise problems[0].with_others(problems[1:])
    return override


def read_override(
    text: str, *, file: str | None = None, home: str | None = None, env: Mapping[str, str] | None = None
) -> tuple[Override, list[SeveralInvalid]]:
    """Read a policy file and everything that is wrong with it, in document order; the value is meaningful only where nothing is.

    Raises ``InvalidInput`` when the text is not TOML at all.
    """
    document = parse_toml(text, file=file, code="policy.syntax", max_bytes=MAX_BYTES)
    reader = _Reader(document, home, env or {})
    override = reader.override()
    return override, sorted(reader.problems, key=lambda problem: (problem.where.line or 0, problem.where.column or 0))


class _Reader:
    """Turns one ``[capabilities]`` table into values, noting problems as it goes."""

    def __init__(self, document: TomlDocument, home: str | None, env: Mapping[str, str]) -> None:
        self._document = document
        self._table: dict[str, Any] = {}
        self._home = home
        self._env = env
        self.problems: list[SeveralInvalid] = []

    def override(self) -> Override:
        table = self._document.data.get(_TABLE)
        if isinstance(table, dict):
            self._table = table
            self._unknown([_TABLE], what="table")
            self._unknown(KEYS, _TABLE, what="capability", meant=_MEANT)
        else:  # and then what stands without it is no mistake of its own
            self.problems.append(
                SeveralInvalid(
                    "policy manifest missing `capabilities` table",
                    code="policy.missing_table",
                    where=self._document.where(_TABLE),
                    hint="begin the file with [capabilities]",
                )
            )
        return Override(self._capabilities(), frozenset("fs" if key in _FS_KEYS else key for key in self._table))

    def _capabilities(self) -> Capabilities:
        return Capabilities(
            fs=self._fs(),
            net=self._net(),
            exec=self._exec(),
            kb_read=self._names("kb_read", _DOMAIN, 'a domain such as "contacts"'),
            kb_write=self._names("kb_write", _DOMAIN, 'a domain such as "artifacts"'),
            spawn=self._names("spawn", _SPAWN, '"agent:NAME", "agent:NAME@VARIANT" or "opening:NAME"'),
            secrets=frozenset(self._matching("secrets", _SECRET, '"runloop/SCOPE/NAME"')),
            **{name: self._flag(name) for name in _FLAGS},
        )

    def _fs(self) -> PathGrants:
        roots = []
        for key, write in _FS_KEYS.items():
            for index, entry in self._strings(key, "invalid filesystem capability entry"):
                try:
                    roots.append((canonical_root(entry, home=self._home, env=self._env), write))
                except ValueError as error:
                    self._wrong("invalid filesystem capability entry", f"{entry!r}: {error}", key, index, hint="name one directory")
        return PathGrants.of(roots)

    def _net(self) -> NetGrants:
        value = self._table.get("net", [])
        if isinstance(value, list):
            return NetGrants.of(self._hosts("net"))
        if not isinstance(value, dict):
            hint = 'write net = ["host"] or net = { hosts = ["host"] }'
            self._wrong("invalid capability entry", "net must be a list or a table", "net", hint=hint)
            return NetGrants()
        self._unknown(("hosts", "allow_http", "allow_private"), _TABLE, "net", what="key of net")
        if "hosts" not in value:
            self._wrong("invalid network host entry", "missing net.hosts", "net", hint='write net = { hosts = ["host"] }')
        return NetGrants.of(
            self._hosts("net", "hosts"), allow_http=self._flag("net", "allow_http"), allow_private=self._flag("net", "allow_private")
        )

    def _hosts(self, *path: str) -> list[tuple[str, int | None]]:
        hosts: list[tuple[str, int | None]] = []
        entries = self._at(*path, default=[])
        if not isinstance(entries, list):
            self._wrong("invalid network host entry", f"{'.'.join(path)} must be array", *path, hint='write hosts = ["host"]')
            return hosts
        for index, entry in enumerate(entries):
            if not isinstance(entry, str) or not entry.strip():
                hint = 'write "host" or "host:443"'
                self._wrong("invalid network host entry", f"{entry!r} is not a host name", *path, index, hint=hint)
                continue
            try:
                hosts.append(split_host(entry))
            except ValueError as error:
                wrong, example = str(error), '"host" or "host:443"'
                if "/" in entry:
                    wrong, example = "it is a URL or a path, and a host is meant", _host_of(entry) or example
                self._wrong("invalid network host entry", f"{entry!r}: {wrong}", *path, index, hint=f"write {example}")
        return hosts

    def _exec(self) -> ExecGrants:
        value = self._table.get("exec", False)
        example = 'write exec = { commands = [["git", "log"]] }'
        if value is False:
            return ExecGrants()
        if value is True:
            hint = f"{example}, or leave exec out"
            self._wrong("invalid capability entry", "exec = true would let the agent run any program", "exec", hint=hint)
            return ExecGrants()
        if not isinstance(value, dict):
            self._wrong("invalid capability entry", "exec must be false or a table of commands", "exec", hint=example)
            return ExecGrants()
        self._unknown(("commands", "read_only"), _TABLE, "exec", what="key of exec")
        return ExecGrants.of(self._commands("commands", example), self._commands("read_only", example))

    def _commands(self, key: str, example: str) -> list[Argv]:
        entries = self._at("exec", key, default=[])
        commands: list[Argv] = []
        if not isinstance(entries, list):
            self._wrong("invalid capability entry", f"exec.{key} must be a list of commands", "exec", key, hint=example)
            return commands
        for index, entry in enumerate(entries):
            problem: str | None
            if not isinstance(entry, list) or not all(isinstance(word, str) for word in entry):
                problem, hint = f"a command is a list of words, not {entry!r}", 'write ["git", "log"], not "git log"'
            elif problem := entry_problem(tuple(entry)):
                hint = example
            elif key == "read_only" and (problem := unasked_problem(tuple(entry))):
                hint = f"move {json.dumps(entry)} to commands, where each is asked about"
            else:
                commands.append(tuple(entry))
                continue
            self._wrong("invalid capability entry", problem, "exec", key, index, hint=hint)
        return commands

    def _names(self, key: str, pattern: re.Pattern[str], expected: str) -> NameGrants:
        value = self._table.get(key, False)
        if isinstance(value, bool):
            return NameGrants(everything=value)
        return NameGrants(names=frozenset(self._matching(key, pattern, expected)))

    def _matching(self, key: str, pattern: re.Pattern[str], expected: str) -> list[str]:
        found = []
        for index, entry in self._strings(key, "invalid capability entry"):
            if pattern.fullmatch(entry):
                found.append(entry)
            else:
                hint = f"write {expected}"
                self._wrong("invalid capability entry", f"{entry!r} is not of the form expected here", key, index, hint=hint)
        return found

    def _strings(self, key: str, message: str) -> Iterator[tuple[int, str]]:
        """The texts of a list, each with its index."""
        value = self._table.get(key, [])
        if not isinstance(value, list):
            self._wrong("invalid capability entry", f"{key} must be a list of strings", key, hint=f'write {key} = ["..."]')
            return
        for index, entry in enumerate(value):
            if isinstance(entry, str) and entry.strip():
                yield index, entry
            else:
                self._wrong(message, f"{entry!r} is not a non-empty string", key, index, hint="put it in quotes")

    def _flag(self, *path: str) -> bool:
        value = self._at(*path, default=False)
        if isinstance(value, bool):
            return value
        message = f"{'.'.join(path)} must be true or false, not {value!r}"
        self._wrong("invalid capability entry", message, *path, hint="write true or false, without quotes")
        return False

    def _at(self, *path: str, default: Any = None) -> Any:
        value: Any = self._table
        for step in path[:-1]:
            value = value[step]
        return value.get(path[-1], default)

    def _unknown(self, allowed: Iterable[str], *path: str, what: str, meant: Mapping[str, str] | None = None) -> None:
        self.problems.extend(self._document.unknown_keys(allowed, *path, code="policy.unknown_key", what=what, meant=meant))

    def _wrong(self, message: str, detail: str, *path: str | int, hint: str) -> None:
        where = self._document.where(_TABLE, *path)
        self.problems.append(SeveralInvalid(f"{message}: {detail}", code="policy.invalid_entry", where=where, hint=hint))


def _host_of(entry: str) -> str | None:
    """The entry that the URL in its place would be, in quotes; None where there is none."""
    try:
        return f'"{parse_target(entry)}"'
    except ValueError:
        return None


def override_key(name: str, variant: str | None) -> str:
    """Return the file stem under which overrides of an agent are kept (spec 11): non-alphanumerics become ``_``."""
    return re.sub(r"[^A-Za-z0-9]", "_", f"{name}_{variant}" if variant else name)
