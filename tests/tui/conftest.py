"""A real run's records (a letter: two agents read, one asks for a colour, one sends a mail that waits), a desk, and daemons."""

import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from runloop.errors import InvalidInput
from runloop.tui.changing import became
from runloop.tui.ports import Hit

TESTS = Path(__file__).parents[1]
DATA = TESTS / "data" / "tui"
sys.path.insert(0, str(TESTS / "support"))


def loaded(path, name):
    """A module of another folder of tests, which are no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_daemon = loaded(TESTS / "daemon" / "conftest.py", "tests_daemon_conftest_of_tui")
daemon = _daemon.daemon
pytest_runtest_makereport = _daemon.pytest_runtest_makereport
ASKS = _daemon.HEAD + "def run():\n    emit.log('before')\n    return {'out': ask.person('Which colour?', options=['red', 'blue'])}\n"
MAILS = _daemon.HEAD + (
    "def run():\n    text = 'Dear Ada, the pier is repaired.'\n"
    "    return {'out': mail.send([{'email': 'ada@example.org'}], subject='The pier', text=text).status}\n"
)


def _asking(daemon):
    """Give it an opening that asks, and one that is done at once, and start it."""
    daemon.agent("asks", ASKS, "ask = true")
    daemon.opening("asks")
    daemon.agent("done", _daemon.QUICK)
    daemon.opening("done")
    daemon.start()
    return daemon


@pytest.fixture
def asking(daemon):
    """A daemon that asks, for a test that stops it, changes it or counts its events."""
    return _asking(daemon)


@pytest.fixture(scope="module")
def shared(guest_cache):
    """A daemon that asks, for all tests of a file that only begin runs in it."""
    with tempfile.TemporaryDirectory(prefix="rl-") as root:
        made = _asking(_daemon.Daemon(Path(root), guest_cache))
        yield made
        made.stop()


@pytest.fixture
def mailing(daemon):
    """A daemon with an opening that sends a mail, which waits for a person."""
    daemon.agent("mails", MAILS, "mail = true")
    daemon.opening("mails")
    daemon.start()
    return daemon


@pytest.fixture
def begin():
    """Leave a run to a daemon; its id."""
    return lambda daemon, name: re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.rlp("run", name, "--detach").stdout)[0]


@pytest.fixture(scope="session")
def records():
    return [json.loads(line) for line in (DATA / "letter.ndjson").read_text().splitlines()]


@pytest.fixture(scope="session")
def waiting(records):
    """The records until the mail waits."""
    return records[:18]


class Desk:
    """A knowledge base that knows one mail."""

    def __init__(self):
        self.asked = []

    def mask(self, value):
        return value

    def search(self, words):
        self.asked.append(words)
        return [Hit("event:24", "messages", "The pier", "the pier is repaired", "2026-11-20")] if "pier" in words else []

    def why(self, key):
        self.asked.append(key)
        if key == "nothing":
            raise InvalidInput("nothing is called so", code="kb.unknown_entity", hint="search for it")
        return [f"why {key}", "└─ approved by operator"]


class Feed:
    """A daemon in the process: the records that are given to it, what is open, and the decisions that came."""

    mode = "LIVE"

    def __init__(self, records, opened=(), blobs=None):
        self.records, self.opened, self.blobs = list(records), list(opened), blobs or {}
        self.decided, self.changed_runs, self.known, self.problem = [], [], [], None
        self.now = self.records[-1]["ts_ms"] + 500 if self.records else 0

    def now_ms(self):
        return self.now

    async def fill(self, board, changed):
        self.board, self.changed = board, changed
        board.know(link="connected", status={"version": "1.0", "state": "ready", "pid": 7, "uptime_ms": 60_000, "problems": []})
        for record in self.records:
            board.take(record)
        board.list_approvals(self.opened)
        changed()

    async def know(self, run_id):
        self.known.append(run_id)

    async def whole(self, value):
        return self.blobs[value["$blob"]] if isinstance(value, dict) and "$blob" in value else value

    async def change(self, change):
        if self.problem is not None:
            raise self.problem
        self.changed_runs.append(change)
        return became(change, {"runs": 3} if change.run_id is None else {"run_id": change.run_id, "state": f"{change.verb}d"})

    async def answer(self, approval_id, decision):
        if self.problem is not None:
            raise self.problem
        self.decided.append((approval_id, decision))
        self.board.ask({"state": "closed", "approval_id": approval_id})
        self.changed()


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    """Times of day are shown where the machine is."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def opened(waiting):
    """What the daemon lists as open at that time."""
    run_id, meta = waiting[0]["run_id"], waiting[15]["meta"]
    shared = {"run_id": run_id, "root_run_id": run_id}
    return [
        {
            **shared, "type": "question", "approval_id": f"{run_id}/colour/1/1", "node": "colour", "agent": "ask",
            "question": "Which colour?", "options": ["red", "blue"], "default": None, "detail": "", "comment_on": [],
            "asked_ms": waiting[14]["ts_ms"],
        },
        {
            **shared, "type": "approval", "approval_id": meta["approval_id"], "node": "send", "agent": "mails", "action": meta["action"],
            "what": meta["what"], "recipients": meta["recipients"], "reason": "it changes something outside Runloop",
            "scopes": ["once", "run"], "taint": [], "asked_ms": waiting[15]["ts_ms"],
        },
    ]  # fmt: skip


@pytest.fixture
def feed(waiting, opened):
    return Feed(waiting, opened)


def text_of(app):
    """What stands on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


@pytest.fixture
def same(request):
    """Compare a screen with the one kept under its name; AGTOP_SCREENS=keep keeps what is there now."""

    def compare(app, name):
        path = DATA / "screens" / f"{name}.txt"
        if os.environ.get("AGTOP_SCREENS") == "keep":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text_of(app))
        assert text_of(app) == path.read_text()

    return compare


@pytest.fixture
def words():
    """What tests share."""
    return SimpleNamespace(text=text_of, Feed=Feed, Desk=Desk)
