"""What a run hands back is saved before it ends; a full disk is waited for, as records wait for it."""

import errno
import os

import pytest

from runloop.effects.perform import storage
from runloop.runs import artifacts
from runloop.runs.results import RunHalted

AGENT = "@agent\ndef run():\n    return {'out': 'the text'}\n"
TEXT = 'version: 0\nname: saves\nnodes: [{id: a, use: "agent:one"}]\nedges: []\nartifacts: {save: [a.out]}\n'


@pytest.fixture
def disk(monkeypatch):
    """Errors that the next writes of artifacts meet."""
    errors = []

    def write_new(path, data):
        if errors:
            number = errors.pop(0)
            raise OSError(number, os.strerror(number))
        return storage.write_new(path, data)

    monkeypatch.setattr(artifacts, "write_new", write_new)
    monkeypatch.setattr(artifacts, "_LOOKS_S", 0)
    return errors


async def test_a_run_whose_artifacts_find_no_room_says_so_once_and_ends_when_there_is_room(bench, disk):
    async with bench() as b:
        b.agent("one", AGENT)
        disk += [errno.ENOSPC, errno.EDQUOT]

        result = await b.run(TEXT)

        (said,) = b.metas("node.log")
        assert (result.status, disk, said["level"], said["node"]) == ("succeeded", [], "warn", "a")
        assert result.record == b.records[-1]
        assert said["text"].startswith("cannot save a.out to ")
        assert said["text"].endswith(": No space left on device; the run ends when there is room")
        (kept,) = b.metas("artifact.created")
        assert (b.root / "artifacts" / result.run_id / kept["path"].rpartition("/")[2]).read_text() == "the text"
        assert b.kinds()[-4:] == ["node.log", "node.finished", "artifact.created", "run.finished"]


async def test_artifacts_that_may_not_be_written_fail_the_run(bench, disk):
    async with bench() as b:
        b.agent("one", AGENT)
        disk += [errno.EACCES]

        result = await b.run(TEXT)

        assert (result.status, result.code, b.metas("artifact.created")) == ("failed", "run.artifact_write", [])


async def test_a_run_that_has_failed_says_why_also_where_its_artifacts_cannot_be_written(bench, disk):
    async with bench() as b:
        b.agent("one", AGENT)
        b.agent("two", "@agent\ndef run(**_):\n    raise ValueError('no')\n", ports_in=("in",))
        disk += [errno.EACCES]

        result = await b.run(TEXT.replace("}]", '}, {id: b, use: "agent:two"}]').replace("edges: []", "edges: [{from: a.out, to: b.in}]"))

        assert (result.status, result.code, disk) == ("failed", "guest.exception", [])


async def test_a_process_may_leave_a_run_that_waits_for_room_and_the_next_one_ends_it(bench, disk):
    async with bench() as b:
        b.agent("one", AGENT)
        run = await b.submit(TEXT)
        disk += [errno.ENOSPC] * 100_000
        run.recorder.subscribe(lambda record: run.halt() if record["kind"] == "node.log" else None)

        with pytest.raises(RunHalted):
            await b.manager.drive(run)
        disk.clear()
        result = await b.manager.drive(await b.manager.recover(run.run_id))

        kinds = [event.kind for event in b.ledger.read(run_id=run.run_id)]
        assert (result.status, kinds.count("run.finished"), kinds[-2:]) == ("succeeded", 1, ["artifact.created", "run.finished"])
