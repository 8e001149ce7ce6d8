"""The policy a second time, as docs/agents.md and docs/security.md say it, over the plain file: who may do what."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.errors import SeveralInvalid
from runloop.policy.caps_file import parse_caps, parse_override

HOME, ENV = "/home/ada", {"DATA": "/data/", "UP": "/a/.."}
FLAGS = ("time", "model", "mail", "ask")
WRITTEN = {
    "a.example": "a.example", "A.Example.": "a.example", "b.example": "b.example", "Bücher.example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example", "10.0.0.5": "10.0.0.5", "::1": "::1", "[0:0::1]": "::1",
    "[2001:DB8::0:1]": "2001:db8::1",
    "2001:db8::1": "2001:db8::1", "localhost": "localhost", "sub.a.example": "sub.a.example", "a.example.b.example": "a.example.b.example",
}  # fmt: skip
"""How a host may be written, and the one form that is compared."""
WRONG_HOSTS = [
    "*.example",
    "a.example:0",
    "a.example:65536",
    "a.example:",
    "https://a.example",
    "u@a.example",
    "127.1",
    "0x7f.1",
    "",
    " ",
    "a b",
    "::1%eth0",
]


PROCESSES = [("1",), ("self",), ("thread-self",), ("kcore",)]


def directory(text: str) -> PurePosixPath | None:
    """The directory that an entry names, or None where it may not be granted."""
    for name, value in ENV.items():
        text = text.replace(f"${{{name}}}", value).replace(f"${name}", value)
    if text == "~" or text.startswith("~/"):
        text = HOME + text[1:]
    path = PurePosixPath("/", *PurePosixPath(text).parts[1:]) if text.startswith("/") else None
    return None if path is None or "$" in text or ".." in path.parts or path == PurePosixPath("/") else path


def below(path: PurePosixPath, root: PurePosixPath) -> bool:
    return path.parts[: len(root.parts)] == root.parts


def host_of(text: str) -> tuple[str, str]:
    """An entry or the authority of a URL: its host in the one form, its port or nothing."""
    if text in WRITTEN:
        return WRITTEN[text], ""
    host, _, port = text.rpartition(":")
    return WRITTEN[host], port


class Told:
    """What one policy file lets through."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table
        self.net = table.get("net", [])

    def path(self, text: str, write: bool) -> bool:
        path = directory(text) if text.startswith("/") else None
        if path is None or (path.parts[1] == "proc" and path.parts[2:3] in PROCESSES):
            return False
        keys = ("fs_rw",) if write else ("fs", "fs_ro", "fs_rw")
        return any(below(path, directory(root) or path / "x") for key in keys for root in self.table.get(key, []))

    def url(self, scheme: str, host: str, port: str) -> bool:
        table = self.net if isinstance(self.net, dict) else {"hosts": self.net}
        if scheme == "http" and not table.get("allow_http", False):
            return False
        entries = [host_of(entry) for entry in table["hosts"]]
        return any(entry == (WRITTEN[host], each) for entry in entries for each in ("", port or {"http": "80", "https": "443"}[scheme]))

    def dialled(self, scheme: str, host: str, port: str, address: str) -> bool:
        """Whether the host may be asked where its name leads to this address: one that is not public must be granted itself."""
        private = isinstance(self.net, dict) and self.net.get("allow_private", False)
        return self.url(scheme, host, port) and (private or address in ("8.8.8.8", WRITTEN[host]))

    def command(self, argv: list[str]) -> bool:
        table = self.table.get("exec") or {}
        return any(argv[: len(words)] == words for key in ("commands", "read_only") for words in table.get(key, []))

    def unasked(self, argv: list[str]) -> bool:
        entries = (self.table.get("exec") or {}).get("read_only", [])
        return any(argv[: len(words)] == words and not any(word[:1] == "-" for word in argv[len(words) :]) for words in entries)

    def name(self, key: str, name: str) -> bool:
        value = self.table.get(key, False)
        return name not in ("query", "contacts_raw") if value is True else name in (value or [])


ROOTS = [
    "/a",
    "/a/b",
    "/a//b/./",
    "/ab",
    "~",
    "~/notes",
    "$DATA",
    "${DATA}in",
    "/home/ada/notes/x",
    "/proc",
    "/data/in/x",
    "/a/b/c",
    "/Ä",
    "/A",
]
WRONG_ROOTS = ["/", "//", "/.", "$UP", "/a/../b", "notes", "~bob", "$NOWHERE", "", " ", "./a", "/a/..", "$DATA/../x"]
PROBES = [
    *(root for root in ROOTS if root[0] == "/"), "/", "/a/b/c/d", "/a/..", "/a/../etc", "/abc", "/a/b/..c", "/home/ada", "/home/ada/notes",
    "/home/ada/notesx", "/data/in", "/data/inx", "/proc/1", "/proc/1/environ", "/proc/self/mem", "/proc//thread-self", "/proc/kcore",
    "/proc/kcores",
    "/proc/meminfo", "/proc/./self", "/proc/selfish", "/A\u0308",
    "//a/b", "a", "~/notes", "/a/~", "/a\n", "/a/ ", "/data",
]  # fmt: skip
WAYS = [("https", ""), ("https", "443"), ("https", "8443"), ("http", ""), ("http", "443")]
WORDS = st.sampled_from(["git", "log", "status", "-n1", "--", "ls", "x y", ""])
COMMANDS = [["git"], ["git", "log"], ["git", "log", "-n1"], ["ls"], ["/bin/ls"], ["python3", "x.py"], ["git", "log", "--", "x"]]
READING = [["git", "log"], ["git", "status"], ["ls"], ["ls", "-l"], ["git", "log", "-n1"], ["cat"]]
WRONG_COMMANDS = [
    [],
    ["bash"],
    ["env", "ls"],
    ["python3", "-c"],
    ["./ls"],
    [""],
    ["sudo", "ls"],
    ["python3.11"],
    ["/usr/bin/xargs", "ls"],
    ["sh", "-c"],
]
WRONG_READING = [["curl"], ["tee"], ["git", "push"], ["make"], ["ps"], ["jq"], ["git"], ["rm"], ["find", "-delete"], ["/usr/bin/curl"]]
DOMAINS = ["notes", "contacts", "query", "contacts_raw"]
ENTRIES = [f"{host}{port}" for host in WRITTEN for port in ("", ":443", ":80", ":8443") if not port or "[" in host or ":" not in host]


def some(right: list[Any], wrong: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(right * 8 + wrong), max_size=3)


names = st.booleans() | st.lists(st.sampled_from(DOMAINS), max_size=3)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "fs": some(ROOTS, WRONG_ROOTS), "fs_ro": some(ROOTS, WRONG_ROOTS), "fs_rw": some(ROOTS, WRONG_ROOTS),
        "net": some(ENTRIES, WRONG_HOSTS)
        | st.fixed_dictionaries(
            {"hosts": some(ENTRIES, WRONG_HOSTS)}, optional={"allow_http": st.booleans(), "allow_private": st.booleans()}
        ),
        "exec": st.just(False)
        | st.fixed_dictionaries({}, optional={"commands": some(COMMANDS, WRONG_COMMANDS), "read_only": some(READING, WRONG_READING)}),
        "kb_read": names, "kb_write": names, "secrets": st.lists(st.sampled_from(["a/b", "a/c"]), max_size=2),
        "spawn": st.booleans() | st.lists(st.sampled_from(["agent:x", "agent:x@v", "opening:x"]), max_size=2),
        **dict.fromkeys(FLAGS, st.booleans()),
    },
)  # fmt: skip


def wrong(table: dict[str, Any]) -> bool:
    net, run = table.get("net", []), table.get("exec") or {}
    return (
        any(directory(root) is None for key in ("fs", "fs_ro", "fs_rw") for root in table.get(key, []))
        or any(entry in WRONG_HOSTS for entry in (net["hosts"] if isinstance(net, dict) else net))
        or any(words in WRONG_COMMANDS for words in run.get("commands", []))
        or any(words in WRONG_READING for words in run.get("read_only", []))
    )


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(map(inline, value)) + "]" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def written(table: dict[str, Any]) -> str:
    return "[capabilities]\n" + "".join(f"{key} = {inline(value)}\n" for key, value in table.items())


@settings(max_examples=200, deadline=None)
@given(TABLES, TABLES, st.data())
def test_a_policy_file_and_its_override_let_through_what_the_page_says(table, narrower, data):
    """An override counts only for what it mentions, and both must allow that."""
    files = [table, *([narrower] if data.draw(st.booleans()) else [])]
    read = []
    for each in files:
        try:
            read.append(parse_override(written(each), home=HOME, env=ENV))
        except SeveralInvalid:
            assert wrong(each)
            return
        assert not wrong(each)
    caps = parse_caps(written(table), home=HOME, env=ENV)
    if len(files) == 2:
        caps = caps.intersect(read[1])

    def told(key: str, question: Callable[..., bool], *args: Any) -> bool:
        keys = {"fs", "fs_ro", "fs_rw"} if key == "fs" else {key}
        return all(question(Told(each), *args) for each in files if each is table or keys & each.keys())

    for text, write in product(PROBES, (False, True)):
        assert (caps.check_path(text, write) is None) == told("fs", Told.path, text, write), (text, write)
    for (host, plain), (scheme, port), address in product(WRITTEN.items(), WAYS, ("10.0.0.5", "::1", "8.8.8.8")):
        url = f"{scheme}://{f'[{host}]' if ':' in host and host[0] != '[' else host}{port and ':'}{port}/x"
        asked = caps.check_net(url) is None
        assert asked == told("net", Told.url, scheme, host, port), url
        assert (asked and caps.check_address(plain, address) is None) == told("net", Told.dialled, scheme, host, port, address), (
            url,
            address,
        )
    for argv in [*COMMANDS, *READING, *(data.draw(st.lists(WORDS, max_size=4)) for _ in range(3))]:
        assert (caps.check_exec(argv) is None) == told("exec", Told.command, argv), argv
        assert (caps.exec.operands(tuple(argv)) is not None) == told("exec", Told.unasked, argv), argv
    for key, check, asked_for in (
        ("kb_read", caps.check_kb, DOMAINS),
        ("kb_write", partial(caps.check_kb, write=True), DOMAINS),
        ("spawn", caps.check_spawn, ["agent:x", "agent:x@v", "opening:x", "agent:y"]),
        ("secrets", caps.check_secret, ["a/b", "a/c", "a"]),
    ):
        assert [name for name in asked_for if check(name) is None] == [name for name in asked_for if told(key, Told.name, key, name)]
    for key in FLAGS:
        assert (getattr(caps, f"check_{key}")() is None) == told(key, lambda one, key: one.table.get(key, False), key)
