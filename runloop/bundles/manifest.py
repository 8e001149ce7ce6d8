"""``manifest.toml``: what an agent is (spec 10.3, extended by kinds, entry, limits and file digests; see docs/agents.md)."""

from __future__ import annotations

import json
import re
from dataclasses import field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

from runloop.bundles.errors import BundleInvalid
from runloop.bundles.tree import path_problem
from runloop.bundles.units import SIZES, TIMES, amount
from runloop.dataclass import dataclass
from runloop.policy.located import TomlDocument, parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.errors import RunloopError

Kind = Literal["python", "component", "wasm32-wasip1"]
KINDS: tuple[Kind, ...] = ("python", "component", "wasm32-wasip1")

MANIFEST = "manifest.toml"
MAX_BYTES = 1 << 20
_TABLES = ("agent", "ports", "caps", "schemas", "limits", "artifacts", "files", "entry_wasm", "entry_native")
_AGENT_KEYS = ("name", "version", "variant", "kind", "entry", "description", "entry_wasm", "entry_native")
_AMOUNTS = {"memory": SIZES, "output": SIZES, "wall": TIMES, "fuel": {}, "hostcalls": {}, "tokens": {}}
_LIMIT_KEYS = (*_AMOUNTS, "usd")

NAME = re.compile(r"[a-z][a-z0-9_]*")
VARIANT = re.compile(r"[A-Za-z0-9_-]+")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PORT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Port:
    """A named way in or out; ``type`` is a JSON type name or a content type of the wire protocol, None where any value goes."""

    name: str
    type: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the manifest asks the host to cap; None leaves a limit to the configuration. Money in millionths of a dollar."""

    memory_bytes: int | None = None
    wall_ms: int | None = None
    fuel: int | None = None
    output_bytes: int | None = None
    hostcalls: int | None = None
    tokens: int | None = None
    usd_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose every key was understood. ``files`` maps relative paths to BLAKE3 hex digests."""

    name: str
    version: str
    variant: str | None
    kind: Kind
    entry: str
    description: str = ""
    ports_in: Mapping[str, Port] = field(default_factory=dict)
    ports_out: Mapping[str, Port] = field(default_factory=dict)
    with_schema: Mapping[str, Any] | None = None
    limits: Limits = field(default_factory=Limits)
    caps_file: str = "policy.caps"
    tools_file: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def read_manifest(text: str, *, file: str | None = None) -> tuple[Manifest, list[RunloopError]]:
    """Read a manifest and everything that is wrong with it, in document order; the value is meaningful only where nothing is.

    Raises ``BundleInvalid`` when the text is not TOML at all.
    """
    reader = _Reader(parse_toml(text, file=file, code="bundle.syntax", max_bytes=MAX_BYTES))
    manifest = reader.manifest()
    return manifest, sorted(reader.problems, key=lambda problem: (problem.where.line or 0, problem.where.column or 0))


class _Reader:
    """Reads one document, noting problems as it goes so that an author sees them all at once."""

    def __init__(self, document: TomlDocument) -> None:
        self._document = document
        self.problems: list[RunloopError] = []

    def manifest(self) -> Manifest:
        data = self._document.data
        self._unknown(_TABLES, what="table")
        agent = self._table("agent")
        if "agent" not in data:
            self._wrong("missing [agent] table", "agent", hint='begin with [agent], name = "..." and version = "..."')
        self._unknown(_AGENT_KEYS, "agent", what="key of [agent]")
        variant = self._text("agent", "variant", pattern=VARIANT, expected="letters, digits, '_' and '-'") if "variant" in agent else None
        kind, entry = self._kind_and_entry(agent)
        return Manifest(
            name=self._text("agent", "name", pattern=NAME, expected="lowercase letters, digits and '_', starting with a letter"),
            version=self._text("agent", "version", pattern=_VERSION, expected='a version such as "0.1.0"'),
            variant=variant,
            kind=kind,
            entry=entry,
            description=self._text("agent", "description") if "description" in agent else "",
            ports_in=self._ports("in"),
            ports_out=self._ports("out"),
            with_schema=self._schema(),
            limits=self._limits(),
            caps_file=self._caps_file(),
            tools_file=self._tools_file(),
            files=self._files(),
        )

    def _kind_and_entry(self, agent: Mapping[str, Any]) -> tuple[Kind, str]:
        self._refuse_native(agent)
        wasm = self._entry_wasm(agent)
        kind = agent.get("kind", "wasm32-wasip1" if wasm else "python")
        if kind not in KINDS:
            from runloop.nearest import did_you_mean

            hint = did_you_mean(kind, KINDS) if isinstance(kind, str) else f"known: {', '.join(KINDS)}"
            self._wrong(f"unknown kind {kind!r}", "agent", "kind", hint=hint)
            kind = "python"
        if wasm and "entry" in agent:
            self._wrong("both entry and entry_wasm are given", "agent", "entry", hint="keep one of them")
        entry = self._path("agent", "entry") if "entry" in agent else wasm or ("agent.py" if kind == "python" else "")
        suffix = ".py" if kind == "python" else ".wasm"
        if not entry.endswith(suffix):
            hint = f'write entry = "{"agent" if kind == "python" else "bin/agent"}{suffix}" under [agent]'
            self._wrong(f"the entry of a {kind} agent must be a {suffix} file", "agent", "entry", hint=hint)
        return cast("Kind", kind), entry

    def _refuse_native(self, agent: Mapping[str, Any]) -> None:
        for path in (("agent", "entry_native"), ("entry_native",)):
            if path[-1] in (agent if len(path) == 2 else self._document.data):
                self._wrong(
                    "entry_native would run outside the sandbox", *path, hint="build the agent for WebAssembly, or as a Python agent"
                )

    def _entry_wasm(self, agent: Mapping[str, Any]) -> str | None:
        path = ("agent", "entry_wasm") if "entry_wasm" in agent else ("entry_wasm",)
        entry = agent.get("entry_wasm", self._document.data.get("entry_wasm"))
        if entry is None:
            return None
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            self._wrong("entry_wasm needs a path", *path, hint='write entry_wasm = { path = "bin/agent.wasm", blake3 = "..." }')
            return None
        self._unknown(("path", "blake3"), *path, what="key of entry_wasm")
        self._same_digest(entry, path)
        return self._path(*path, "path")

    def _same_digest(self, entry: Mapping[str, Any], path: tuple[str, ...]) -> None:
        """Refuse a second digest of a file that disagrees with the one under [files]. Where there is none, the file is refused itself."""
        listed = self._table("files").get(str(entry.get("path")))
        if listed is not None and entry.get("blake3", listed) != listed:
            message = f"the digest of {entry.get('path')!r} differs from the one under [files]"
            self._wrong(message, *path, "blake3", hint="run `rlp agent build NAME|DIR`", code="bundle.digest_stale")

    def _ports(self, side: str) -> dict[str, Port]:
        self._unknown(("in", "out"), "ports", what="key of [ports]")
        value = self._table("ports").get(side, [])
        if isinstance(value, list):
            named = [self._listed_port(side, index, entry) for index, entry in enumerate(value)]
        elif isinstance(value, dict):
            named = [self._described_port(side, name, entry) for name, entry in value.items()]
        else:
            self._wrong(
                f"ports.{side} must be a list or a table", "ports", side, hint=f'write {side} = ["name"] or [ports.{side}] name = "string"'
            )
            return {}
        ports: dict[str, Port] = {}
        for index, port in enumerate(named):
            if port.name in ports:
                self._wrong(f"the port {port.name!r} is there twice", "ports", side, index, hint="give each port its own name")
            ports[port.name] = port
        return ports

    def _listed_port(self, side: str, index: int, entry: object) -> Port:
        text = entry if isinstance(entry, str) else ""
        if "." in text and _TYPE.fullmatch(text):
            return Port(side, text)  # upstream's form: the type of the one port of that side
        if not _PORT.fullmatch(text):
            self._wrong(f"{entry!r} is not a port name", "ports", side, index, hint="use lowercase letters, digits and '_', at most 64")
        return Port(text)

    def _described_port(self, side: str, name: str, entry: object) -> Port:
        fields = {"type": entry} if isinstance(entry, str) else entry
        if not _PORT.fullmatch(name):
            self._wrong(f"{name!r} is not a port name", "ports", side, name, hint="use lowercase letters, digits and '_', at most 64")
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            self._wrong(f"the port {name!r} must be a type or a table", "ports", side, name, hint=f'write {name} = "string"')
            return Port(name)
        if isinstance(entry, dict):
            self._unknown(("type", "description"), "ports", side, name, what="key of a port")
        if "type" in fields and not _TYPE.fullmatch(fields["type"]):
            self._wrong(
                f"{fields['type']!r} is not a type",
                "ports",
                side,
                name,
                hint='write "string", "object" or a type such as "artifact.draft.email.v1"',
            )
        return Port(name, fields.get("type"), fields.get("description", ""))

    def _schema(self) -> dict[str, Any] | None:
        self._unknown(("with",), "schemas", what="key of [schemas]")
        schema: dict[str, Any] | None = self._table("schemas", "with", optional=True)
        if schema is None:
            return None
        try:
            json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError):
            self._wrong(
                "schemas.with holds a value that JSON has not", "schemas", "with", hint="use strings, finite numbers, true, false and lists"
            )
        return schema

    def _limits(self) -> Limits:
        table = self._table("limits")
        self._unknown(_LIMIT_KEYS, "limits", what="limit")
        read: dict[str, int] = {}
        for key, units in _AMOUNTS.items():
            if key in table:
                try:
                    read[key] = amount(table[key], units)
                except ValueError as error:
                    self._wrong(f"limits.{key} must be {error}", "limits", key, hint=f"found {table[key]!r}")
        return Limits(
            memory_bytes=read.get("memory"),
            wall_ms=read.get("wall"),
            fuel=read.get("fuel"),
            output_bytes=read.get("output"),
            hostcalls=read.get("hostcalls"),
            tokens=read.get("tokens"),
            usd_micros=self._usd(table),
        )

    def _usd(self, table: Mapping[str, Any]) -> int | None:
        if "usd" not in table:
            return None
        usd = table["usd"]
        if isinstance(usd, bool) or not isinstance(usd, (int, float)) or not 0 <= usd <= 1e6:
            self._wrong("limits.usd must be an amount of dollars from 0 to 1000000", "limits", "usd", hint="write usd = 0.05")
            return None
        return int(Decimal(str(usd)).scaleb(6))

    def _caps_file(self) -> str:
        self._unknown(("file",), "caps", what="key of [caps]")
        return self._path("caps", "file") if "file" in self._table("caps") else "policy.caps"

    def _tools_file(self) -> str | None:
        self._unknown(("tools",), "artifacts", what="key of [artifacts]")
        tools = self._table("artifacts", "tools", optional=True)
        if tools is None:
            return None
        self._unknown(("path", "blake3", "version"), "artifacts", "tools", what="key of [artifacts.tools]")
        version = tools.get("version", 1)
        if version != 1:
            self._wrong(
                f"unsupported tools.json version {version} (supported: 1)", "artifacts", "tools", "version", hint="write version = 1"
            )
        self._same_digest(tools, ("artifacts", "tools"))
        return self._path("artifacts", "tools", "path")

    def _files(self) -> dict[str, str]:
        files: dict[str, str] = {}
        for path, digest in self._table("files").items():
            if problem := path_problem(path):
                fault = f"{path!r} cannot be in a bundle: {problem}"
            elif path == MANIFEST:
                fault = "the manifest cannot hold its own digest"
            elif not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                fault = f"the digest of {path!r} is not 64 lowercase hex digits"
            else:
                files[path] = digest
                continue
            self._wrong(fault, "files", path, hint="run `rlp agent build NAME|DIR`", code="bundle.files_entry")
        return files

    def _table(self, *path: str, optional: bool = False) -> Any:
        value: Any = self._document.data
        for step in path:
            value = value.get(step)
            if value is None:
                return None if optional else {}
            if not isinstance(value, dict):
                if not any(problem.where == self._document.where(*path) for problem in self.problems):
                    self._wrong(f"{'.'.join(path)} must be a table", *path, hint=f"write [{'.'.join(path)}]")
                return None if optional else {}
        return value

    def _text(self, *path: str, pattern: re.Pattern[str] | None = None, expected: str = "a string") -> str:
        value = self._table(*path[:-1]).get(path[-1])
        if value is None:
            self._wrong(f"missing {'.'.join(path)}", *path, hint=f"it must be {expected}")
        elif not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
            self._wrong(f"{'.'.join(path)} is {value!r}", *path, hint=f"it must be {expected}")
        else:
            return value
        return ""

    def _path(self, *path: str) -> str:
        value = self._text(*path, expected="a path inside the bundle")
        if value and (problem := path_problem(value)):
            self._wrong(f"{value!r} cannot be in a bundle: {problem}", *path, hint="give a path inside the bundle")
        return value

    def _unknown(self, allowed: tuple[str, ...], *path: str, what: str) -> None:
        if self._table(*path, optional=True) is not None:
            self.problems.extend(self._document.unknown_keys(allowed, *path, code="bundle.unknown_key", what=what))

    def _wrong(self, message: str, *path: str | int, hint: str, code: str = BundleInvalid.code) -> None:
        self.problems.append(BundleInvalid(message, code=code, where=self._document.where(*path), hint=hint))
