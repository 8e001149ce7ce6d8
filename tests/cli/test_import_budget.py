"""What each verb imports before it has something to do. Modules are counted, never time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import runloop
from runloop.cli.grammar import whole
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase

HEAVY = {
    *("aiohttp", "apsw", "asyncio", "cryptography", "email.message", "httpx2", "jsonschema", "keyring", "logging", "msgpack", "msgspec"),
    *(
        "numpy",
        "prometheus_client",
        "pydantic",
        "rich",
        "secrets",
        "sqlite3",
        "sqlite_vec",
        "ssl",
        "structlog",
        "tarfile",
        "textual",
        "tomllib",
    ),
    *("typer", "wasmtime", "yaml"),
}
PROBE = """
import json, os, sys
from runloop.cli import entry

def loaded(words):
    reading, writing = os.pipe()
    if not os.fork():
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        sys.argv = ["rlp", *words]
        code = entry.main()
        with os.fdopen(writing, "w") as pipe:
            json.dump([code, sorted(sys.modules)], pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return json.load(pipe)

print(json.dumps([loaded(words) for words in json.load(sys.stdin)]))
"""
STORE = {"typer", "apsw", "msgspec"}
LOOP = {"asyncio", "logging", "ssl"}  # asyncio needs the other two
DAEMON = {"typer", *LOOP, "msgspec", "msgpack", "secrets"}
BUDGET: dict[str, tuple[str, set[str], int]] = {
    "init": ("init --help", {"typer"}, 16),
    "run": ("run --help", {*LOOP, "typer"}, 20),
    "ask": ("ask --help", {*LOOP, "typer"}, 20),
    "attach": ("attach last", {*DAEMON, *STORE}, 131),
    "cancel": ("cancel last", {*DAEMON, *STORE}, 167),
    "pause": ("pause", {"typer"}, 20),
    "resume": ("resume --help", {"typer"}, 20),
    "inbox": ("inbox", STORE, 108),
    "approve": ("approve x", DAEMON, 70),
    "revise": ("revise x y", DAEMON, 70),
    "deny": ("deny x", DAEMON, 70),
    "runs": ("runs", STORE, 107),
    "logs": ("logs last", STORE, 87),
    "show": ("show last", STORE, 96),
    "trace": ("trace last", STORE, 86),
    "replay": ("replay --help", {"typer"}, 20),
    "undo": ("undo --help", {"typer"}, 20),
    "fork": ("fork --help", {*LOOP, "typer"}, 21),
    "diff": ("diff last last", STORE, 103),
    "export": ("export --help", {"typer"}, 20),
    "import": ("import nothing", {"msgspec", "typer"}, 45),
    "up": ("up --help", {"typer"}, 16),
    "down": ("down", DAEMON, 70),
    "status": ("status", DAEMON, 70),
    "reload": ("reload", DAEMON, 70),
    "metrics": ("metrics", DAEMON, 70),
    "doctor": ("doctor --help", {"typer"}, 16),
    "route": ("route git", set(), 45),
    "search": ("search ada", {*STORE, "sqlite3", "sqlite_vec"}, 117),
    "why": ("why ada", STORE, 132),
    "forget": ("forget nobody", STORE, 111),
    "secrets set": ("secrets set --help", {"typer"}, 20),
    "secrets list": ("secrets list", {"typer"}, 60),
    "secrets remove": ("secrets remove --help", {"typer"}, 20),
    "shell enable": ("shell enable --dry-run --shell zsh", {"typer"}, 20),
    "shell disable": ("shell disable --dry-run --shell zsh", {"typer"}, 20),
    "shell status": ("shell status", {"typer"}, 20),
    "kb search": ("kb search ada", {*STORE, "sqlite3", "sqlite_vec"}, 117),
    "kb embed": ("kb embed --help", {"typer"}, 20),
    "kb query": ("kb query SELECT+1", STORE, 110),
    "kb tables": ("kb tables", STORE, 110),
    "kb why": ("kb why event:1", STORE, 132),
    "kb remember": ("kb remember --help", {"typer"}, 25),
    "kb supersede": ("kb supersede 1 x", STORE, 114),
    "kb forget": ("kb forget 1", STORE, 111),
    "kb facts": ("kb facts", STORE, 111),
    "kb show": ("kb show event:1", STORE, 113),
    "kb timeline": ("kb timeline", STORE, 107),
    "kb rebuild": ("kb rebuild --help", {"typer"}, 25),
    "kb verify": ("kb verify", {*STORE, "cryptography"}, 117),
    "kb migrate": ("kb migrate", STORE, 107),
    "kb vacuum": ("kb vacuum --help", {"typer"}, 25),
    "kb stats": ("kb stats", {*STORE, "sqlite3", "sqlite_vec"}, 117),
    "kb backup": ("kb backup --help", {"typer"}, 30),
    "kb restore": ("kb restore nothing", STORE, 108),
    "kb prune": ("kb prune", STORE, 60),
    "kb export": ("kb export", STORE, 110),
    "kb import contacts": ("kb import contacts nothing", STORE, 117),
    "kb import notes": ("kb import notes nothing", STORE, 115),
    "kb import mail": ("kb import mail nothing", {*STORE, "email.message"}, 121),
    "kb import shell": ("kb import shell nothing", STORE, 117),
    "kb import calendar": ("kb import calendar nothing", STORE, 117),
    "kb import git": ("kb import git nothing", STORE, 114),
    "kb import events": ("kb import events nothing", STORE, 112),
    "kb poison list": ("kb poison list", STORE, 103),
    "kb poison retry": ("kb poison retry", STORE, 103),
    "agent list": ("agent list", {"tomllib", "typer"}, 63),
    "agent show": ("agent show critic", {"tomllib", "typer"}, 63),
    "agent check": ("agent check critic", {"jsonschema", "tomllib", "typer"}, 74),
    "agent scaffold": ("agent scaffold --help", {"typer"}, 25),
    "agent build": ("agent build --help", {"typer"}, 25),
    "agent install": ("agent install nothing", {"tarfile", "tomllib", "typer"}, 67),
    "agent sign": ("agent sign --help", {"typer"}, 25),
    "agent test": ("agent test --help", {"typer"}, 25),
    "opening list": ("opening list", {"typer", "yaml"}, 73),
    "opening check": ("opening check compose_email", {"jsonschema", "tomllib", "typer", "yaml"}, 86),
    "opening graph": ("opening graph compose_email", {"typer", "yaml"}, 70),
    "opening fmt": ("opening fmt compose_email", {"typer", "yaml"}, 72),
    "opening schema": ("opening schema", {"typer", "yaml"}, 45),
    "opening new": ("opening new x --from pipeline -o -", {"typer", "yaml"}, 61),
    "rmp decode": ("rmp decode frame", {"msgpack", "typer"}, 25),
    "rmp registry": ("rmp registry", {"msgpack", "typer"}, 25),
    "config show": ("config show", {"typer"}, 35),
    "config explain": ("config explain kb.events_db", {"typer"}, 35),
    "config path": ("config path", {"typer"}, 25),
    "version": ("version --json", {"typer"}, 15),
    "help": ("help exit-codes", set(), 15),
    "__complete": ("__complete zsh runs --st", set(), 35),
    "--version": ("--version", set(), 15),
    "--help": ("--help", set(), 15),
}
"""For each command: what is typed, and what it may import of HEAVY and how many modules of ours. There is a record, and no daemon.

Where a verb begins to work (runs something, waits, asks), its help is typed: what is imported before it knows what to do.
"""


def commands(node, path=()):
    for name, each in node["commands"].items():
        if each["commands"] and (*path, name) != ("help",):
            yield from commands(each, (*path, name))
        else:
            yield " ".join((*path, name))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with KnowledgeBase.open(home / ".runloop" / "pog") as kb:
        kb.ledger.append([NewEvent("contact.upserted", {"name": "Ada", "email": "ada@home.example"}, "user")])
        kb.sync()
    (home / "frame").write_bytes(b"\0")
    environment = {"HOME": str(home), "PATH": "", "PYTHONPATH": str(Path(runloop.__file__).parents[1])}
    probe = subprocess.run(
        [sys.executable, "-P", "-c", PROBE],
        input=json.dumps([words.split(" ") for words in ("__complete zsh runs", *(words for words, _, _ in BUDGET.values()))]),
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(BUDGET, json.loads(probe.stdout)[1:], strict=True))  # the first completion makes the grammar that the others read


def test_every_verb_has_a_budget():
    assert set(BUDGET) - set(commands(whole())) == {"--version", "--help", "__complete"}
    assert set(commands(whole())) <= set(BUDGET)


@pytest.mark.parametrize("verb", BUDGET)
def test_a_verb_imports_no_more_than_it_needs(verb, loaded):
    _, may, most = BUDGET[verb]
    _, modules = loaded[verb]
    assert HEAVY & set(modules) <= may
    assert sum(name.startswith("runloop") for name in modules) <= most


def test_version_and_help_import_no_verb(loaded):
    parts = ("cli", "cli.context", "cli.entry", "cli.main", "cli.output", "cli.version", "errors", "patterns", "text", "dataclass")
    light = {"runloop", *(f"runloop.{name}" for name in parts)}
    for verb in ("--version", "--help"):
        assert {name for name in loaded[verb][1] if name.startswith("runloop")} <= light


def test_what_reads_the_record_imports_nothing_that_works(loaded):
    for verb in ("runs", "show", "logs", "trace", "diff", "inbox", "search", "kb query"):
        packages = {name.split(".")[1] for name in loaded[verb][1] if name.startswith("runloop.")}
        assert packages & {"sandbox", "models", "daemon"} == set(), verb
