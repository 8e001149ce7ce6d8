"""The capability set of an agent: what it may ask for at all. Everything is denied until it is granted (spec 11)."""

from __future__ import annotations

import re
import shlex
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.hosts import host_text, split_host
from runloop.policy.commands import ExecGrants
from runloop.policy.denial import Denial
from runloop.policy.names import ONLY_BY_NAME, NameGrants
from runloop.policy.net import NetGrants, is_public, parse_target
from runloop.policy.paths import PathGrants, collapse, path_problem, within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_FILE = "in policy.caps"
_USER_INFO = re.compile(r"//[^/?#]*@")
_PROCESS = re.compile(r"/proc/(?:[0-9]+|self|thread-self|kcore)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an agent may ask for. Each ``check_*`` answers None (granted) or the :class:`Denial`; none looks outside."""

    fs: PathGrants = field(default_factory=PathGrants)
    net: NetGrants = field(default_factory=NetGrants)
    exec: ExecGrants = field(default_factory=ExecGrants)
    kb_read: NameGrants = field(default_factory=NameGrants)
    kb_write: NameGrants = field(default_factory=NameGrants)
    spawn: NameGrants = field(default_factory=NameGrants)
    secrets: frozenset[str] = frozenset()
    time: bool = False
    model: bool = False
    mail: bool = False
    ask: bool = False

    def grants(self, key: str) -> bool:
        """Whether anything is granted under a key of the policy file; ``fs_rw`` is a directory that may be written to."""
        if key == "fs_rw":
            return any(write for _, write in self.fs.roots)
        return bool(getattr(self, key) != getattr(_NOTHING, key))

    def intersect(self, other: Capabilities | Override) -> Capabilities:
        """Return what both grant; an override narrows only the capabilities that it states."""
        caps, stated = (other.caps, other.stated) if isinstance(other, Override) else (other, ALL)
        narrowed: dict[str, Any] = {}
        for name in stated:
            mine, theirs = getattr(self, name), getattr(caps, name)
            narrowed[name] = mine & theirs if isinstance(mine, (bool, frozenset)) else mine.intersect(theirs)
        return replace(self, **narrowed)

    def also_at(self, resolve: Callable[[str], str]) -> Capabilities:
        """Return the same set with each directory granted at its resolved place too (see :meth:`PathGrants.also_at`)."""
        return replace(self, fs=self.fs.also_at(resolve))

    def check_path(self, path: str, write: bool = False, *, protected: Iterable[str] = ()) -> Denial | None:
        """Whether ``path`` may be read or written; ``protected`` paths (and what is below them) never may."""
        op = "fs_write" if write else "fs_read"
        if problem := path_problem(path):
            return Denial("fs.access", op, "path_invalid", path, f"give a path that is absolute or begins with ~/, without '..': {problem}")
        plain = collapse(path)
        if _PROCESS.match(plain):  # the environment and the memory of whoever hosts the run, and of all else that this user runs
            hint = "it is what a process has in its environment and memory, keys too; no policy file can grant it"
            return Denial("fs.access", op, "path_protected", path, hint)
        if any(within(plain, guarded) for guarded in protected):
            return Denial("fs.access", op, "path_protected", path, "this belongs to Runloop itself; no policy file can grant it")
        if self.fs.allows(plain, write=write):
            return None
        if write and self.fs.allows(plain, write=False):
            return Denial("fs.access", op, "read_only", path, f"move its directory from fs or fs_ro to fs_rw {_FILE}")
        return Denial("fs.access", op, "path_not_permitted", path, f"add its directory to {'fs_rw' if write else 'fs'} {_FILE}")

    def check_net(self, url: str) -> Denial | None:
        """Whether ``url`` may be fetched: scheme, host and effective port, compared in canonical form."""
        if not self.net.hosts:
            return _no_net("no_hosts", url, f"list the host under net {_FILE}")
        try:
            target = parse_target(url)
        except ValueError as error:
            return _no_net("url_invalid", _USER_INFO.sub("//…@", url), f"the URL cannot be used: {error}")
        if target.scheme == "http" and not self.net.allow_http:
            return _no_net("http_not_permitted", url, f"use https, or write net = {{ hosts = [...], allow_http = true }} {_FILE}")
        if not self.net.allows_host(target.host, target.port):
            return _no_net("host_not_permitted", url, f'add "{target}" to net {_FILE}')
        return None

    def check_address(self, host: str, address: str) -> Denial | None:
        """Whether ``host``, once resolved to ``address``, may be dialled.

        Private, loopback, link-local, shared and translated ranges are refused unless the policy names the address itself
        or says ``allow_private``. Ask for every address, on every redirect, and dial the address that was asked about.
        """
        if is_public(address) or self.net.allow_private:
            return None
        try:
            literal = split_host(address)[0]
        except ValueError:
            return _no_net("address_invalid", address, "the resolver gave something that is no address")
        if literal == host and any(granted == host for granted, _ in self.net.hosts):
            return None  # a name that resolves to it is not the address that was granted
        hint = f"write net = {{ hosts = [...], allow_private = true }} {_FILE} if this is meant"
        return _no_net("address_private", f"{host} ({address})", hint)

    def check_kb(self, domain: str, write: bool = False) -> Denial | None:
        """Whether a knowledge domain may be read or written; ``contacts_raw`` lifts the masking of addresses, ``query`` is SQL."""
        key = "kb_write" if write else "kb_read"
        if (self.kb_write if write else self.kb_read).allows(domain):
            return None
        hint = f'add "{domain}" to {key} {_FILE}'
        if domain in ONLY_BY_NAME:
            hint += "; it must be named, 'true' does not include it"
        return Denial("kb.write" if write else "kb.read", key, "namespace_not_permitted", domain, hint)

    def check_propose(self, kind: str) -> Denial | None:
        """Whether an event of ``kind`` may be proposed; its domain is called as in ``kb_read``: ``contact.upserted`` is of ``contacts``."""
        sort = kind.partition(".")[0]
        return None if self.kb_write.allows(sort) else self.check_kb(f"{sort}s", write=True)

    def check_exec(self, argv: Sequence[str]) -> Denial | None:
        """Whether ``argv`` starts, word by word, with a granted command."""
        words = tuple(argv)
        shown = shlex.join(words)
        if not self.exec.commands:
            return Denial("exec.spawn", "exec_spawn", "cap_missing", shown, f"list the command: exec = {{ commands = [[...]] }} {_FILE}")
        if not words or any("\0" in word for word in words):
            return Denial("exec.spawn", "exec_spawn", "argv_invalid", shown, "give at least a program, and no NUL bytes")
        if not self.exec.allows(words):
            return Denial("exec.spawn", "exec_spawn", "command_not_permitted", shown, f"add its leading words to exec.commands {_FILE}")
        return None

    def check_model(self) -> Denial | None:
        """Whether a model may be asked."""
        return None if self.model else _missing("model.use", "model_complete", "model")

    def check_mail(self) -> Denial | None:
        """Whether a message may be handed to the mail performer."""
        return None if self.mail else _missing("mail.send", "mail_send", "mail")

    def check_ask(self) -> Denial | None:
        """Whether the person may be asked a question."""
        return None if self.ask else _missing("ask.person", "ask_person", "ask")

    def check_time(self) -> Denial | None:
        """Whether the agent may wait for a timer (the virtual clock itself needs no grant)."""
        return None if self.time else _missing("timer.sleep", "timer_sleep", "time")

    def check_spawn(self, ref: str) -> Denial | None:
        """Whether ``agent:NAME[@VARIANT]`` or ``opening:NAME`` may be started."""
        if self.spawn.allows(ref):
            return None
        return Denial("spawn.start", "spawn", "target_not_permitted", ref, f'add "{ref}" to spawn {_FILE}')

    def check_secret(self, name: str) -> Denial | None:
        """Whether a handle to a secret may be given; the denial names only a hash of it."""
        if name in self.secrets:
            return None
        target = secret_target(name)
        return Denial("secrets.get", "resolve_secret", "secret_not_permitted", target, f"add the secret's id to secrets {_FILE}")

    def to_dict(self) -> dict[str, Any]:
        """Return the set as a policy file would say it, for people, JSON output and audit events."""
        net = self.net
        return {
            "fs_ro": sorted(root for root, write in self.fs.roots if not write),
            "fs_rw": sorted(root for root, write in self.fs.roots if write),
            "net": {
                "hosts": sorted(host_text(host, port) for host, port in net.hosts),
                "allow_http": net.allow_http,
                "allow_private": net.allow_private,
            },
            "exec": {"commands": _argv_lists(self.exec.commands), "read_only": _argv_lists(self.exec.read_only)},
            "kb_read": self.kb_read.to_json(),
            "kb_write": self.kb_write.to_json(),
            "spawn": self.spawn.to_json(),
            "secrets": sorted(self.secrets),
            "time": self.time,
            "model": self.model,
            "mail": self.mail,
            "ask": self.ask,
        }


_NOTHING = Capabilities()
#: The capabilities that an override can state, each on its own.
ALL = frozenset(item.name for item in fields(Capabilities))


@dataclass(frozen=True, slots=True)
class Override:
    """A capability set that narrows another: only the capabilities in ``stated`` count."""

    caps: Capabilities
    stated: frozenset[str]


def secret_target(secret_id: str) -> str:
    """How an audit names a secret: by a hash of its id (spec 11)."""
    from blake3 import blake3

    return f"secret#{blake3(secret_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _missing(cap: str, op: str, key: str) -> Denial:
    return Denial(cap, op, "cap_missing", "", f"write {key} = true {_FILE}")


def _no_net(reason: str, target: str, hint: str) -> Denial:
    return Denial("net.http", "http_request", reason, target, hint)


def _argv_lists(commands: Collection[tuple[str, ...]]) -> list[list[str]]:
    return [list(argv) for argv in sorted(commands)]
