from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

from runloop.kb import Ledger

APPEND = textwrap.dedent("""
    import sys
    from runloop.events import NewEvent
    from runloop.kb import Ledger

    path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with Ledger.open(path) as ledger:
        number = 0
        while count < 0 or number < count:
            number += 1
            event = NewEvent("contact.upserted", {"name": f"{name}-{number}", "email": "a@example.com"}, "user")
            [stored] = ledger.append([event])
            print(stored.id, stored.payload["name"], stored.chain_hash.hex(), flush=True)
""")


def start(path, name, count):
    return subprocess.Popen([sys.executable, "-c", APPEND, str(path), name, str(count)], stdout=subprocess.PIPE, text=True)


def test_everything_that_was_acknowledged_is_there_after_the_process_was_killed(tmp_path):
    path = tmp_path / "events.sqlite"
    child = start(path, "child", -1)
    acknowledged = [child.stdout.readline().split() for _ in range(150)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [line.split() for line in child.stdout.read().splitlines() if len(line.split()) == 3 and len(line.split()[2]) == 64]
    child.wait()
    child.stdout.close()
    with Ledger.open(path) as ledger:
        stored = [[str(event.id), event.payload["name"], event.chain_hash.hex()] for event in ledger.read(limit=100_000)]
        assert stored[: len(acknowledged)] == acknowledged
        assert len(stored) - len(acknowledged) <= 1  # the one that was under way may be there too
        assert ledger.verify().ok
        assert ledger.append(ledger_event())[0].id == len(stored) + 1
        assert ledger.verify().ok


def ledger_event():
    from runloop.events import NewEvent

    return [NewEvent("contact.upserted", {"name": "after", "email": "a@example.com"}, "user")]


def test_several_processes_append_to_one_file_and_share_one_chain(tmp_path):
    path = tmp_path / "events.sqlite"
    children = [start(path, name, 60) for name in ("a", "b", "c")]
    outputs = {name: [line.split() for line in child.communicate()[0].splitlines()] for name, child in zip("abc", children, strict=True)}
    assert [child.returncode for child in children] == [0, 0, 0]
    with Ledger.open(path) as ledger:
        events = ledger.read(limit=1000)
        assert [event.id for event in events] == list(range(1, 181))
        by_id = {event.id: event for event in events}
        for name, lines in outputs.items():
            assert [line[1] for line in lines] == [f"{name}-{number}" for number in range(1, 61)]
            assert all(by_id[int(number)].chain_hash.hex() == chain for number, _, chain in lines)
        assert ledger.verify().ok


def test_two_processes_can_make_the_same_new_ledger_at_once(tmp_path):
    paths = [tmp_path / f"{number}" / "events.sqlite" for number in range(3)]
    for path in paths:
        children = [start(path, name, 1) for name in ("a", "b")]
        assert [child.communicate()[0].count("\n") for child in children] == [1, 1]
        with Ledger.open(path) as ledger:
            assert ledger.verify().events == 2


def test_a_head_that_another_ledger_object_moved_is_noticed(tmp_path, contact):
    with Ledger.open(tmp_path / "e.sqlite") as one, Ledger.open(tmp_path / "e.sqlite") as two:
        for number in range(10):
            (one if number % 2 else two).append([contact(f"N{number}")])
        assert [event.payload["name"] for event in one.read()] == [f"N{number}" for number in range(10)]
        assert two.verify().ok
