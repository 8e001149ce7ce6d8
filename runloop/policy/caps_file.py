"""Reading ``policy.caps`` and its overrides (spec 11, extended by mail, ask, spawn and command lists).

Every refusal carries the line and column of the entry and says what to write instead. Where upstream has a wording, the
message begins with it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from runloop.errors import InvalidInput
from runloop.policy.capabilities import Capabilities, Override
from runloop.policy.commands import Argv, ExecGrants, entry_problem
from runloop.policy.located import TomlDocument, parse_toml
from runloop.policy.names import NameGrants
from runloop.policy.net import NetGrants, parse_target, split_host
from runloop.policy.paths import PathGrants, canonical_root
from runloop.policy.unasked import unasked_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Read the capability set of a policy file; ``InvalidInput`` with file, line and column otherwise.

    ``home`` and ``env`` expand ``~`` and ``$NAME`` in directories; this module never reads the environment itself.
    """
    return parse_override(text, file=file, home=home, env=env).caps


def parse_override(text: str, *, file: str | None = None, home: str | None = None, env: Mapping[str, str] | None = None) -> Override:
    """Read the same file as an override, which also knows which capabilities were stated."""
    document = parse_toml(text, file=file, code="policy.syntax", max_bytes=MAX_BYTES)
    table = document.data.get(_TABLE)
    if not isinstance(table, dict):
        raise InvalidInput(
            "policy manifest missing `capabilities` table",
            code="policy.missing_table",
            where=document.where(_TABLE),
            hint="begin the file with [capabilities]",
        )
    document.refuse_unknown([_TABLE], code="policy.unknown_key", what="table")
    document.refuse_unknown(KEYS, _TABLE, code="policy.unknown_key", what="capability", meant=_MEANT)
    reader = _Reader(document, table, home, env or {})
    return Override(reader.capabilities(), frozenset("fs" if key in _FS_KEYS else key for key in table))


class _Reader:
    """Turns one ``[capabilities]`` table into values; holds only what every reading needs."""

    def __init__(self, document: TomlDocument, table: dict[str, Any], home: str | None, env: Mapping[str, str]) -> None:
        self._document = document
        self._table = table
        self._home = home
        self._env = env

    def capabilities(self) -> Capabilities:
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
            for index, entry in enumerate(self._strings(key, "invalid filesystem capability entry")):
                try:
                    roots.append((canonical_root(entry, home=self._home, env=self._env), write))
                except ValueError as error:
                    raise self._invalid(
                        "invalid filesystem capability entry", f"{entry!r}: {error}", key, index, hint="name one directory"
                    ) from None
        return PathGrants.of(roots)

    def _net(self) -> NetGrants:
        value = self._table.get("net", [])
        if isinstance(value, list):
            return NetGrants.of(self._hosts("net"))
        if not isinstance(value, dict):
            raise self._invalid(
                "invalid capability entry",
                "net must be a list or a table",
                "net",
                hint='write net = ["host"] or net = { hosts = ["host"] }',
            )
        self._document.refuse_unknown(("hosts", "allow_http", "allow_private"), _TABLE, "net", code="policy.unknown_key", what="key of net")
        if "hosts" not in value:
            raise self._invalid("invalid network host entry", "missing net.hosts", "net", hint='write net = { hosts = ["host"] }')
        if not isinstance(value["hosts"], list):
            raise self._invalid("invalid network host entry", "net.hosts must be array", "net", "hosts", hint='write hosts = ["host"]')
        return NetGrants.of(
            self._hosts("net", "hosts"), allow_http=self._flag("net", "allow_http"), allow_private=self._flag("net", "allow_private")
        )

    def _hosts(self, *path: str) -> list[tuple[str, int | None]]:
        hosts = []
        for index, entry in enumerate(self._at(*path, default=[])):
            if not isinstance(entry, str) or not entry.strip():
                raise self._invalid(
                    "invalid network host entry", f"{entry!r} is not a host name", *path, index, hint='write "host" or "host:443"'
                )
            try:
                hosts.append(split_host(entry))
            except ValueError as error:
                wrong, example = str(error), '"host" or "host:443"'
                if "/" in entry:
                    wrong, example = "it is a URL or a path, and a host is meant", _host_of(entry) or example
                raise self._invalid("invalid network host entry", f"{entry!r}: {wrong}", *path, index, hint=f"write {example}") from None
        return hosts

    def _exec(self) -> ExecGrants:
        value = self._table.get("exec", False)
        example = 'write exec = { commands = [["git", "log"]] }'
        if value is False:
            return ExecGrants()
        if value is True:
            raise self._invalid(
                "invalid capability entry", "exec = true would let the agent run any program", "exec", hint=f"{example}, or leave exec out"
            )
        if not isinstance(value, dict):
            raise self._invalid("invalid capability entry", "exec must be false or a table of commands", "exec", hint=example)
        self._document.refuse_unknown(("commands", "read_only"), _TABLE, "exec", code="policy.unknown_key", what="key of exec")
        return ExecGrants.of(self._commands("commands", example), self._commands("read_only", example))

    def _commands(self, key: str, example: str) -> list[Argv]:
        entries = self._at("exec", key, default=[])
        if not isinstance(entries, list):
            raise self._invalid("invalid capability entry", f"exec.{key} must be a list of commands", "exec", key, hint=example)
        commands = []
        for index, entry in enumerate(entries):
            if not isinstance(entry, list) or not all(isinstance(word, str) for word in entry):
                raise self._invalid(
                    "invalid capability entry",
                    f"a command is a list of words, not {entry!r}",
                    "exec",
                    key,
                    index,
                    hint='write ["git", "log"], not "git log"',
                )
            if problem := entry_problem(tuple(entry)):
                raise self._invalid("invalid capability entry", problem, "exec", key, index, hint=example)
            if key == "read_only" and (problem := unasked_problem(tuple(entry))):
                hint = f"move {json.dumps(entry)} to commands, where each is asked about"
                raise self._invalid("invalid capability entry", problem, "exec", key, index, hint=hint)
            commands.append(tuple(entry))
        return commands

    def _names(self, key: str, pattern: re.Pattern[str], expected: str) -> NameGrants:
        value = self._table.get(key, False)
        if isinstance(value, bool):
            return NameGrants(everything=value)
        return NameGrants(names=frozenset(self._matching(key, pattern, expected)))

    def _matching(self, key: str, pattern: re.Pattern[str], expected: str) -> list[str]:
        entries = self._strings(key, "invalid capability entry")
        for index, entry in enumerate(entries):
            if not pattern.fullmatch(entry):
                raise self._invalid(
                    "invalid capability entry", f"{entry!r} is not of the form expected here", key, index, hint=f"write {expected}"
                )
        return entries

    def _strings(self, key: str, message: str) -> list[str]:
        value = self._table.get(key, [])
        if not isinstance(value, list):
            raise self._invalid("invalid capability entry", f"{key} must be a list of strings", key, hint=f'write {key} = ["..."]')
        for index, entry in enumerate(value):
            if not isinstance(entry, str) or not entry.strip():
                raise self._invalid(message, f"{entry!r} is not a non-empty string", key, index, hint="put it in quotes")
        return value

    def _flag(self, *path: str) -> bool:
        value = self._at(*path, default=False)
        if not isinstance(value, bool):
            raise self._invalid(
                "invalid capability entry",
                f"{'.'.join(path)} must be true or false, not {value!r}",
                *path,
                hint="write true or false, without quotes",
            )
        return value

    def _at(self, *path: str, default: Any = None) -> Any:
        value: Any = self._table
        for step in path[:-1]:
            value = value[step]
        return value.get(path[-1], default)

    def _invalid(self, message: str, detail: str, *path: str | int, hint: str) -> InvalidInput:
        return InvalidInput(f"{message}: {detail}", code="policy.invalid_entry", where=self._document.where(_TABLE, *path), hint=hint)


def _host_of(entry: str) -> str | None:
    """The entry that the URL in its place would be, in quotes; None where there is none."""
    try:
        return f'"{parse_target(entry)}"'
    except ValueError:
        return None


def override_key(name: str, variant: str | None) -> str:
    """Return the file stem under which overrides of an agent are kept (spec 11): non-alphanumerics become ``_``."""
    return re.sub(r"[^A-Za-z0-9]", "_", f"{name}_{variant}" if variant else name)
