"""Makes `vN.sqlite`: a ledger of schema N with something of everything, by the steps of that schema.

Run it once for the newest schema before a step is added to ``runloop.kb.migrations.MIGRATIONS``: `python tests/data/ledgers/make.py 3`.
What is there already was shipped, and is never made again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import apsw

from runloop.events import INLINE_LIMIT, NewEvent, RunIdentity, run_event
from runloop.events.records import NodeFinished, RunFinished, RunStarted, Versions
from runloop.kb import Ledger, migrations

HERE = Path(__file__).parent
LEDGER_ID = "5d2fb6a4-5b0b-4a55-9c0e-0f6d4a7f2b11"
SALT = "00112233445566778899aabbccddeeff"
RUNS = [
    RunIdentity(f"{number}f8fad5b-d9cb-469f-a165-70867728950e", f"trace:{number}c9e6679-7425-40de-944b-e07fc1f90ae7",
                "opening:16fd2706-8baf-433b-82eb-8c7fada847da", "compose_email")
    for number in (1, 2)
]  # fmt: skip


def events() -> list[NewEvent]:
    """People, a note, a file, two runs (one without an end), a value in a blob, a raw blob, a key, evidence, odd characters."""
    from msgspec import structs

    ended, open_ = RUNS
    started = RunStarted("0" * 64, {"topic": "Grüße 世界 \U0001f600"}, Versions("0.1.0"), "local")
    note = {"path": "/n.md", "line": 1, "end_line": 2, "text": "the launch is in March", "file_hash": "0" * 64, "part": 0, "parts": 1}
    made = [
        NewEvent("contact.upserted", {"name": "Ada Lovelace", "email": "ada@example.com"}, "user", "user", {}, None, "contact:ada"),
        NewEvent("note.imported", {**note, "title": "Plan"}, "user", "user"),
        NewEvent("contact.upserted", {"name": "Bo", "email": "bo@example.com", "trust": 0.25, "evidence": [1, 2]}, "agent:x", "agent:x"),
        run_event(ended, 1, "run.started", started, "began"),
        run_event(ended, 2, "node.finished", NodeFinished("writer", 1, "ok", {"out": ["x" * INLINE_LIMIT]}), "done"),
        run_event(open_, 1, "run.started", started, "began"),
        run_event(ended, 3, "run.finished", RunFinished("succeeded", 5, "0" * 64), "done"),
        NewEvent("artifact.created", {"kind": "text", "path": "/a", "sha256": "a" * 64, "citations": [2]}, "user", "user"),
        run_event(open_, 2, "node.finished", NodeFinished("writer", 1, "error"), "failed"),
    ]
    made[7] = structs.replace(made[7], blobs=(b"what was there before",))
    return [structs.replace(event, ts_ms=1_780_000_000_000 + 1000 * number) for number, event in enumerate(made)]


def make(schema: int, path: Path) -> None:
    """Write the ledger of that schema."""
    steps = migrations.MIGRATIONS[:schema]
    with (
        mock.patch.object(migrations, "MIGRATIONS", steps),
        mock.patch.object(migrations, "new_uuid", return_value=LEDGER_ID),
        mock.patch.object(migrations.secrets, "token_hex", return_value=SALT),
        mock.patch.object(migrations.time, "time_ns", return_value=1_780_000_000_000_000_000),
    ):
        if schema == 1:  # before writers kept the numbers of runs in the file
            with mock.patch("runloop.kb.store.RunNumbers", _NoNumbers):
                _fill(path)
        else:
            _fill(path)
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "delete")
    db.execute("VACUUM")
    db.close()


def _fill(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append(events())


class _NoNumbers:
    def __init__(self, path: Path) -> None:
        pass

    def begin(self, *_: object) -> None:
        pass

    settle = commit = begin

    def admit(self, *_: object) -> None:
        return None


if __name__ == "__main__":
    number = int(sys.argv[1])
    target = HERE / f"v{number}.sqlite"
    if target.exists():
        sys.exit(f"{target} was shipped")
    make(number, target)
