"""A prune that is killed, or whose disk fails or loses power, anywhere: all records are in the ledger, or all are in the archive."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random

import apsw
import pytest
from small_runs import BEFORE, LARGE, NEW, identity, records

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from faulty_disk import HOW, Disk, Fault, chance, faulty, follow, pieces_of

from runloop.errors import RunloopError
from runloop.kb import KnowledgeBase, Ledger
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.kb.pruning.prune import DIRECTORY, prune

RUNS = 6
KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from unittest import mock
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from runloop.kb import KnowledgeBase
    from runloop.kb import store
    from runloop.kb.pruning import archive, checkpoints, prune

    root, where, when = sys.argv[1:]
    places = {
        "archive": (archive.ArchiveWriter, "family"), "reading back": (prune, "_read_back"), "renaming": (Path, "rename"),
        "removing": (prune, "_remove"), "planning anew": (prune, "changed_since"), "checkpoint": (checkpoints, "put"),
        "commit": (store.Store, "append"), "views": (KnowledgeBase, "sync"),
    }
    owner, name = places[where]
    real = getattr(owner, name)

    def killed(*args, **more):
        if when == "after":
            real(*args, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    with KnowledgeBase.open(root) as kb:
        with mock.patch.object(owner, name, killed):
            prune.prune(kb.ledger, 5_000, key=Ed25519PrivateKey.generate())
            kb.sync()
""")
PLACES = ("archive", "reading back", "renaming", "removing", "planning anew", "checkpoint", "commit", "views")


def fill(ledger):
    """Old runs, their records between each other's, and a new one; the ids of the old ones."""
    old = [identity() for _ in range(RUNS)]
    told = [records(run, large=LARGE if number % 3 == 0 else None) for number, run in enumerate(old)]
    ledger.append([event for step in zip(*told, strict=True) for event in step])
    ledger.append(records(identity(), at_ms=NEW))
    return [run.run_id for run in old]


def whole(ledger, runs):
    """Every record of these runs is there, in the ledger or in the archive, and of all of them in the same one; which."""
    report = ledger.verify()
    assert report.ok, report.broken
    here = [len(list(ledger.read_run(run))) for run in runs]
    archived = ArchivedRuns(ledger)
    there = [len([archived.full(event) for event in archived.read_run(run)]) for run in runs]
    assert (here, there) in (([7] * RUNS, [0] * RUNS), ([0] * RUNS, [7] * RUNS)), (here, there)
    return "archive" if there[0] else "ledger"


@pytest.mark.parametrize(("where", "when"), [*((each, "before") for each in PLACES), ("archive", "after"), ("commit", "after")])
def test_a_prune_that_is_killed_loses_nothing_and_the_next_one_ends_it(tmp_path, signer, where, when):
    root = tmp_path / "pog"
    with KnowledgeBase.open(root) as kb:
        runs = fill(kb.ledger)
        kb.sync()
    killed = subprocess.run([sys.executable, "-P", "-c", KILLED, str(root), where, when], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    with KnowledgeBase.open(root) as kb:
        place = whole(kb.ledger, runs)
        assert place == ("archive" if where == "views" or (where, when) == ("commit", "after") else "ledger")
        assert kb.verify(views=True).ok
        _, done = prune(kb.ledger, BEFORE, key=signer)
        assert (done is None) == (place == "archive")
        assert whole(kb.ledger, runs) == "archive"
        assert [path.name for path in sorted((root / DIRECTORY).iterdir())] == [f"runs-0001-{kb.ledger.id[:8]}.jsonl.gz"]
        assert [row["finished_ms"] for row in kb.runs()] == [NEW]
        assert kb.verify(views=True).ok


def held(folder, signer, fault_at=None, code=apsw.SQLITE_IOERR, **more):
    """Prune over a disk that fails at that call of the prune: its steps with what was known at each, and the calls that were made."""
    with faulty() as vfs:
        with Ledger.open(folder / "events.sqlite") as ledger:
            runs = fill(ledger)
            first = vfs.calls
            if fault_at is not None:
                vfs.fault = Fault(first + fault_at, code, **more)
            vfs.note("filled")
            try:
                prune(ledger, BEFORE, key=signer)
            except RunloopError as error:
                vfs.note(f"failed {error.code}")
            else:
                vfs.note("pruned")
            vfs.fault = None
        return runs, vfs.steps, vfs.calls - first


@pytest.mark.parametrize("kind", ["device", "sync", "full"])
def test_a_disk_that_fails_anywhere_in_a_prune_loses_nothing(scratch_dir, signer, kind):
    code, on = {
        "device": (apsw.SQLITE_IOERR, {}),
        "sync": (apsw.SQLITE_IOERR_FSYNC, {"on": frozenset({"sync"})}),
        "full": (apsw.SQLITE_FULL, {"on": frozenset({"write", "truncate"})}),
    }[kind]
    _, _, calls = held(scratch_dir / "whole", signer)
    for at in range(0, calls, max(1, calls // 12)):
        folder = scratch_dir / f"{at}"
        runs, steps, _ = held(folder, signer, at, code, **on)
        ended = next(step[1] for step in reversed(steps) if step[0] == "note")
        assert ended in {"pruned", "failed kb.io", "failed kb.disk_full", "failed ledger.broken"}
        with Ledger.open(folder / "events.sqlite") as ledger:
            whole(ledger, runs)
            prune(ledger, BEFORE, key=signer)
            assert whole(ledger, runs) == "archive"


def test_a_power_cut_anywhere_in_a_prune_loses_nothing(scratch_dir, signer):
    runs, steps, _ = held(scratch_dir / "whole", signer)
    random = Random(5)
    begun, ended = (next(at for at, step in enumerate(steps) if step[:2] == ("note", said)) for said in ("filled", "pruned"))
    seen = set()
    for number, at in enumerate([*random.sample(range(begun, len(steps)), min(25, len(steps) - begun)), len(steps)]):
        disk = Disk()
        how = random.choice(HOW)
        for step in steps[:at]:
            if step[0] != "note":
                follow(disk, step, chance(how, random, 20))
        folder = scratch_dir / f"cut-{number}"
        folder.mkdir()
        for name, data in disk.left(chance(how, random, pieces_of(disk)), random).items():
            (folder / name).write_bytes(data)
        (folder / DIRECTORY).symlink_to(scratch_dir / "whole" / DIRECTORY)
        with Ledger.open(folder / "events.sqlite") as ledger:
            place = whole(ledger, runs)
            seen.add(place)
            assert place == "archive" or at <= ended
    assert seen == {"archive", "ledger"}
