"""A file system that really is full, and the real ledger on it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap

import pytest

MAIN = "import sys; from runloop.cli.main import main; sys.exit(main())"

RECORDS = textwrap.dedent("""
    import sys
    import threading
    from pathlib import Path
    from runloop.events import NewEvent
    from runloop.kb import KnowledgeBase

    def session(root, make_full, make_room):
        told = []
        stalled = threading.Event()

        def listen(full):
            told.append(None if full is None else full.to_dict())
            if full is not None:
                stalled.set()

        with KnowledgeBase.open(root, on_stall=listen) as kb:
            def event(number):
                return NewEvent("contact.upserted", {"name": f"N{number}", "email": f"{number}@example.com", "source": "x" * 3000}, "user")

            kept = [kb.ledger.append([event(0)])[0]]
            kb.sync()
            make_full(root)
            futures = [kb.ledger.submit([event(number)]) for number in range(1, 101)]
            assert stalled.wait(60)
            assert not any(future.done() for future in futures[-1:])
            kb.sync()
            make_room(root)
            kb.ledger.poke()
            kept += [future.result(60)[0] for future in futures]
            assert kb.ledger.stalled is None
            assert [event.id for event in kept] == list(range(1, len(kept) + 1))
            assert kb.ledger.read(limit=100_000) == kept
            assert kb.verify().ok
            kb.sync()
            assert kb.behind is None
            assert len(kb.search("N0")) >= 1
            assert told[-1] is None
            first = told[0]
            assert first["code"] == "kb.disk_full", first
            assert first["where"]["file"] == str(kb.ledger.path)
            assert str(kb.ledger.path) in first["hint"] and "bytes free" in first["hint"]
            print("stored", len(kept))
""")

ON_TMPFS = RECORDS + textwrap.dedent("""
    def make_full(root):
        with (Path(root) / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass

    session(sys.argv[1], make_full, lambda root: (Path(root) / "filler").unlink())
""")

AT_THE_LIMIT = RECORDS + textwrap.dedent("""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    room = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    session(sys.argv[1], lambda root: None, lambda root: resource.setrlimit(resource.RLIMIT_FSIZE, room))
""")


def run(script, root):
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[1])


@pytest.fixture
def small_disk(tmp_path):
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(tmp_path)], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_ledger_on_a_full_file_system_waits_and_goes_on(small_disk):
    assert run(ON_TMPFS, small_disk) == 101


def test_a_ledger_at_the_limit_of_file_sizes_waits_and_goes_on(tmp_path):
    assert run(AT_THE_LIMIT, tmp_path) == 101


def test_a_new_ledger_on_a_full_file_system_says_so(small_disk):
    script = ON_TMPFS[: ON_TMPFS.rindex("session(")] + textwrap.dedent("""
        from runloop.errors import RunloopError

        make_full(sys.argv[1])
        try:
            KnowledgeBase.open(sys.argv[1])
        except RunloopError as error:
            assert (error.code, error.exit_code) == ("kb.disk_full", 1), error.to_dict()
            print("refused 1")
    """)
    assert run(script, small_disk) == 1


def test_the_command_line_says_in_one_line_that_it_waits_for_room_and_that_it_goes_on(tmp_path):
    people = "\n".join(f"P{number},p{number}@example.com,{'Guild of Very Long Names ' * 9}" for number in range(3000))
    (tmp_path / "people.csv").write_text(f"name,email,org\n{people}\n")
    command = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY)); {MAIN}"
    words = ["kb", "import", "contacts", str(tmp_path / "people.csv"), "--json"]
    env = {**os.environ, "HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "home")}
    child = subprocess.Popen([sys.executable, "-c", command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        line = child.stderr.readline()
        warning = json.loads(line)["warning"]
        assert warning["code"] == "kb.disk_full"
        assert warning["message"].startswith("waiting for room on the disk, nothing is lost: make room where ")
        assert "events.sqlite" in warning["message"]
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
    assert (child.returncode, err) == (0, "there is room again: going on\n")
    assert '"taken": 3000' in out
