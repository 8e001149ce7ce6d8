"""A full disk holds the runs where they are, says so, and lets them go on when there is room."""

import asyncio
import os
import subprocess
import uuid
from contextlib import suppress

import pytest

HEAD = "from runloop_agent import *\nfrom runloop_agent import agent\n\n\n@agent\n"
WRITES = HEAD + "def run():\n    for _ in range(4):\n        emit.log('x' * 15000)\n    return {'out': 'done'}\n"


@pytest.fixture
def small_disk(daemon):
    """The knowledge base on a file system of its own, of 96 MB, since the guest is kept there too."""
    if os.geteuid():
        pytest.skip("mounting a small file system needs root")
    place = daemon.state / "pog"
    place.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    daemon.stop()
    subprocess.run(["umount", "-l", place], check=True)


async def filled(link, place):
    """Let the disk be full, whatever is given back on it meanwhile, and runs be held by that; what was submitted for it, each a run."""
    asked = []
    async with asyncio.timeout(30):
        while (await link.ask("status"))["state"] != "stalled":
            room = os.statvfs(place)
            with (place / "filler").open("ab", buffering=0) as filler, suppress(OSError):
                filler.write(b"x" * max(0, room.f_bavail * room.f_frsize - 64 * 1024))
            if all(each.done() for each in asked):
                asked += [asyncio.ensure_future(link.ask("submit", opening="writes", request_id=str(uuid.uuid4()))) for _ in range(8)]
            await asyncio.sleep(0.02)
    return asked


async def test_runs_wait_for_room_and_go_on(daemon, small_disk):
    daemon.agent("writes", WRITES)
    daemon.opening("writes")
    daemon.start()
    async with daemon.client() as link:
        await link.run((daemon.state / "openings" / "writes.yaml").read_text())  # what runs need is kept from here on
        asked = await filled(link, small_disk)
        assert (await link.ask("status"))["runs"]["failed"] == 0
        (small_disk / "filler").unlink()
        await asyncio.gather(*asked)
        async with asyncio.timeout(60):
            while (status := await link.ask("status"))["runs"]["succeeded"] < 1 + len(asked):
                await asyncio.sleep(0.02)
        assert (status["state"], status["runs"]["failed"]) == ("ready", 0)
    assert "the disk is full: runs wait for room" in daemon.log()
    assert "there is room on the disk again" in daemon.log()
    assert daemon.rlp("kb", "verify").returncode == 0


async def test_a_submission_whose_requester_waits_no_longer_runs_once_there_is_room_and_is_no_second_run(daemon, small_disk, words):
    daemon.agent("writes", WRITES)
    daemon.opening("writes")
    daemon.start()
    request_id = str(uuid.uuid4())
    submit = {"verb": "submit", "opening": "writes", "request_id": request_id}
    async with daemon.client() as link:
        await link.run((daemon.state / "openings" / "writes.yaml").read_text())  # what runs need is kept from here on
        filling = await filled(link, small_disk)
        told = (await link.client.request("rlp/ctrl", "intent.ctrl.request.v1", submit, 2000)).payload["error"]
        (small_disk / "filler").unlink()
        records = await link.follow(request_id)
        ended = (await words.to_end(records))[-1]["kind"]
        again = await link.ask("submit", opening="writes", request_id=request_id)
        await asyncio.gather(*filling)
    assert (told["code"], told["retryable"]) == ("kb.disk_full", True)
    assert (ended, again["repeated"], again["run_id"]) == ("run.finished", True, request_id)
