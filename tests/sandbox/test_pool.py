"""Workers that die, hang or are left alone; callers that leave; and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
import wasmtime
from tests_sandbox_helpers import START_MS, Host, code_spec, python_spec

from runloop.errors import InvalidInput, Unavailable
from runloop.sandbox import Answer, GuestError, Limits, WorkerPool
from runloop.sandbox import pool as pool_module
from runloop.sandbox.frames import MAX_ANSWER
from runloop.sandbox.worker import Worker

LOOP = "def run():\n    while True: pass"
WAIT = "from runloop_agent import kb\ndef run():\n    return kb.get('x') is None"

LONG = "def run():\n    for i in range(2_000_000): pass"
QUICK = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "42")
  (func (export "_start")
    (i32.store (i32.const 104) (i32.const 2))
    (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108)))))"""


class Slow:
    """A host that answers when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self.count = 0
        self.cancelled = False

    async def __call__(self, name: str, args: str) -> Answer:
        self.count += 1
        self.asked.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Answer("null", START_MS)


async def until(condition) -> None:
    """Yield until something the loop does has happened; pytest's own limit is the end."""
    while not condition():
        await asyncio.sleep(0.005)


async def stopped(task: asyncio.Task[object]) -> bool:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


async def test_cancelling_stops_a_guest_that_runs(pool):
    task = asyncio.create_task(pool.run(python_spec(LOOP), Host()))
    await until(lambda: pool.live == 1)
    assert await stopped(task)
    assert pool.live == 0


async def test_cancelling_stops_a_guest_that_waits_for_a_hostcall_and_the_hostcall(pool):
    host = Slow()
    task = asyncio.create_task(pool.run(python_spec(WAIT), host))
    await host.asked.wait()
    assert await stopped(task)
    assert (pool.live, host.cancelled) == (0, True)


async def test_nothing_of_a_guest_that_was_stopped_in_a_call_waits_for_the_collector(pool):
    host = Slow()
    task = asyncio.create_task(pool.run(python_spec(WAIT), host))
    await host.asked.wait()
    left = weakref.ref(host)
    gc.disable()
    try:
        assert await stopped(task)
        del task, host
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()


async def test_nothing_of_a_guest_that_its_host_threw_out_waits_for_the_collector(pool):
    class Out(Exception):  # noqa: N818 - the test's own
        pass

    class Host:
        async def __call__(self, name: str, args: str) -> Answer:
            await asyncio.sleep(0)
            raise Out

    host = Host()
    left = weakref.ref(host)
    gc.disable()
    try:
        with pytest.raises(Out):
            await pool.run(python_spec(WAIT), host)
        del host
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()


async def test_nothing_of_a_guest_whose_stopping_was_stopped_waits_for_the_collector(pool):
    class Out(Exception):  # noqa: N818 - the test's own
        pass

    class Host:
        async def __call__(self, name: str, args: str) -> Answer:
            await asyncio.sleep(0)
            for worker in pool.pids:
                os.kill(worker, signal.SIGSTOP)  # the guest does not stop yet
            thrown.set()
            raise Out

    thrown, host = asyncio.Event(), Host()
    left = weakref.ref(host)
    task = asyncio.create_task(pool.run(python_spec(WAIT), host))
    gc.disable()
    try:
        await thrown.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (task.done(), await stopped(task)) == (False, True)
        for worker in pool.pids:
            os.kill(worker, signal.SIGCONT)
        del task, host
        await until(lambda: pool.live == 0)
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()


async def test_cancelling_takes_a_queued_guest_out_of_the_queue(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        first = asyncio.create_task(pool.run(python_spec(LOOP), Host()))
        await until(lambda: pool.live == 1)
        queued = [asyncio.create_task(pool.run(python_spec(LOOP), Host())) for _ in range(3)]
        last = asyncio.create_task(pool.run(python_spec("def run(): return 1"), Host()))
        await asyncio.sleep(0)
        for task in queued:
            assert await stopped(task)
        assert not first.done()
        assert not last.done()
        assert await stopped(first)
        assert (await last).result_json == "1"


async def test_cancelling_stops_a_guest_whose_sources_are_being_compiled(pool):
    heavy = "def run(): return 1\n" + "\n".join(f"def f{n}(a, b=[{n}]*{n}): return [x for x in a if x > {n}]" for n in range(20_000))
    task = asyncio.create_task(pool.run(python_spec(heavy), Host()))
    await until(lambda: pool.live == 1)
    assert await stopped(task)
    assert pool.live == 0


async def test_guests_that_wait_leave_their_places_to_others(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        host = Slow()
        waiting = [asyncio.create_task(pool.run(python_spec(WAIT), host)) for _ in range(20)]
        await until(lambda: host.count == 20)
        assert json.loads((await pool.run(python_spec("def run(): return 'between'"), Host())).result_json) == "between"
        host.release.set()
        assert [done.result_json for done in await asyncio.gather(*waiting)] == ["true"] * 20


async def test_guests_for_which_there_is_no_place_begin_when_others_end(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        await pool.prepare()
        runs = [asyncio.create_task(pool.run(python_spec("def run(): return 1"), Host())) for _ in range(40)]
        await asyncio.sleep(0)
        assert pool.live + pool.in_line == 40
        assert pool.in_line > 0
        assert [done.result_json for done in await asyncio.wait_for(asyncio.gather(*runs), 60)] == ["1"] * 40


async def test_those_who_wait_for_a_place_get_one_in_the_order_in_which_they_came(cache_dir):
    came, got = [], []

    @contextlib.contextmanager
    def waiting(number):
        came.append(number)
        yield
        got.append(number)

    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        await pool.prepare()
        spec = python_spec("def run(): return 1")
        runs = [asyncio.create_task(pool.run(spec, Host(), (), lambda _tried, number=number: waiting(number))) for number in range(40)]
        await asyncio.sleep(0)
        first = list(came)  # who had a place at once may be given back later, and goes before them
        await asyncio.gather(*runs)
    assert len(first) > 10
    assert [number for number in dict.fromkeys(got) if number in first] == first


async def test_places_of_those_who_left_just_when_they_got_them_go_to_others(cache_dir):
    quick = code_spec("wasm32-wasip1", bytes(wasmtime.wat2wasm(QUICK)))
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool, asyncio.timeout(60):
        await pool.prepare(quick)
        runs = [asyncio.create_task(pool.run(quick, Host())) for _ in range(60)]
        await asyncio.sleep(0)
        assert pool.in_line > 40
        while before := pool.in_line:
            await asyncio.sleep(0)
            for task in runs[60 - before : 60 - pool.in_line]:  # a place was found for them; they have not heard of it
                task.cancel()
        await asyncio.wait(runs)
        assert sum(task.cancelled() for task in runs) > 20
        assert (await pool.run(quick, Host())).result_json == "42"


async def test_who_was_stopped_while_waiting_for_somebody_leaves_the_worker_as_many_places_as_before(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        host, places = Slow(), pool.places
        waiting = [asyncio.create_task(pool.run(python_spec(WAIT), host)) for _ in range(20)]
        await until(lambda: host.count == 20)
        for task in waiting:
            assert await stopped(task)
        runs = [asyncio.create_task(pool.run(python_spec(LOOP), Host())) for _ in range(40)]
        await until(lambda: pool.in_line)
        assert pool.live <= places
        for task in runs:
            task.cancel()
        await asyncio.wait(runs)


async def test_a_worker_gets_many_quick_guests_ahead_and_few_that_take_long(cache_dir):
    import wasmtime

    async with WorkerPool(cache_dir, workers=1, threads=2) as pool:
        quick = code_spec("wasm32-wasip1", bytes(wasmtime.wat2wasm(QUICK)))
        first = pool.places
        for _ in range(40):
            await pool.run(quick, Host())
        many = pool.places
        for _ in range(10):
            await pool.run(python_spec(LONG), Host())
        assert (many > first, pool.places) == (True, 2 + 2)


async def test_a_worker_that_is_woken_does_not_take_the_processor_from_who_woke_it(pool):
    assert {os.sched_getscheduler(pid) for pid in pool.pids} == {os.SCHED_BATCH}


async def test_where_memory_runs_out_the_kernel_takes_a_worker_and_not_the_process_that_keeps_the_record(pool):
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert {int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pool.pids} == {max(own, 300)}


async def test_a_killed_worker_fails_its_attempt_as_retryable_and_nothing_else(cache_dir):
    async with WorkerPool(cache_dir, workers=2, threads=1) as pool:
        hosts = [Slow(), Slow()]
        tasks = []
        for host in hosts:
            tasks.append(asyncio.create_task(pool.run(python_spec(WAIT), host)))
            await host.asked.wait()
        before = set(pool.pids)
        victim = next(iter(pool._peers))
        held = next(iter(victim.jobs.values())).hostcall
        os.kill(victim.pid, signal.SIGKILL)
        lost, kept = (0, 1) if held is hosts[0] else (1, 0)
        with pytest.raises(GuestError) as failed:
            await tasks[lost]
        assert (failed.value.code, failed.value.retryable) == ("worker.crashed", True)
        hosts[kept].release.set()
        assert (await tasks[kept]).result_json == "true"
        await until(lambda: len(pool.pids) == 2)
        assert len(before & set(pool.pids)) == 1
        results = await asyncio.gather(*(pool.run(python_spec("def run(): return 1"), Host()) for _ in range(8)))
        assert {done.result_json for done in results} == {"1"}


async def test_every_worker_can_die_and_queued_work_still_gets_done(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        running = asyncio.create_task(pool.run(python_spec(LOOP), Host()))
        await until(lambda: pool.live == 1)
        queued = asyncio.create_task(pool.run(python_spec("def run(): return 2"), Host()))
        os.kill(pool.pids[0], signal.SIGKILL)
        with pytest.raises(GuestError):
            await running
        assert (await queued).result_json == "2"


async def test_a_worker_that_does_not_obey_is_killed_and_replaced(cache_dir):
    async with WorkerPool(cache_dir, workers=1) as pool:
        task = asyncio.create_task(pool.run(python_spec(LOOP), Host()))
        await until(lambda: pool.live == 1)
        (hung,) = pool.pids
        os.kill(hung, signal.SIGSTOP)
        assert await stopped(task)
        assert (await pool.run(python_spec("def run(): return 3"), Host())).result_json == "3"
        assert hung not in pool.pids


async def test_no_guest_goes_to_a_worker_that_was_killed_before_its_end_is_heard_of(cache_dir):
    async with WorkerPool(cache_dir, workers=1) as pool:
        await pool.run(python_spec("def run(): return 1"), Host())
        (peer,) = pool._peers
        peer.kill()
        assert (await pool.run(python_spec("def run(): return 2"), Host())).result_json == "2"


async def test_a_worker_whose_guest_runs_on_beyond_its_limit_is_killed_by_the_pool(cache_dir, monkeypatch):
    from runloop.sandbox import pool as module

    monkeypatch.setattr(module, "_GRACE_S", 0.0)
    monkeypatch.setattr(module, "_SWEEP_S", 0.01)
    async with WorkerPool(cache_dir, workers=1) as pool:
        task = asyncio.create_task(pool.run(python_spec(LOOP, wall_ms=300), Host()))
        await until(lambda: pool.live == 1)
        (hung,) = pool.pids
        with contextlib.suppress(ProcessLookupError):  # its limit was over before
            os.kill(hung, signal.SIGSTOP)
        with pytest.raises(GuestError) as failed:
            await task
        assert (failed.value.code, "did not stop" in failed.value.message) == ("guest.timeout", True)
        await until(lambda: pool.pids not in ([], [hung]))


async def test_threads_of_a_crowd_of_waiting_guests_do_not_stay(cache_dir):
    async with WorkerPool(cache_dir, workers=1) as pool:
        host = Slow()
        tasks = [asyncio.create_task(pool.run(python_spec(WAIT), host)) for _ in range(40)]
        await until(lambda: host.count == 40)
        threads = Path(f"/proc/{pool.pids[0]}/task")
        assert len(list(threads.iterdir())) > 40
        host.release.set()
        await asyncio.gather(*tasks)
        await until(lambda: len(list(threads.iterdir())) < 16)


async def test_a_worker_that_speaks_nonsense_is_killed_and_replaced(cache_dir):
    async with WorkerPool(cache_dir, workers=1) as pool:
        (before,) = pool.pids
        pool._peers[0].data_received(b"\xff" * 100)
        await until(lambda: pool.pids not in ([], [before]))
        assert (await pool.run(python_spec("def run(): return 4"), Host())).result_json == "4"


async def test_what_the_host_raises_comes_out_of_run_and_the_guest_is_stopped(pool):
    class Mine(Exception):  # noqa: N818 - the test's own
        pass

    async def hostcall(name: str, args: str) -> Answer:
        raise Mine(name)

    with pytest.raises(Mine, match=r"kb\.get"):
        await pool.run(python_spec(WAIT.replace("kb.get('x')", "[kb.get('x') for _ in iter(int, 1)]")), hostcall)
    assert pool.live == 0


async def test_an_answer_that_no_frame_can_carry_comes_out_as_an_error_and_the_worker_goes_on(pool):
    async def hostcall(name: str, args: str) -> Answer:
        return Answer('"' + "x" * MAX_ANSWER + '"', START_MS)

    before = pool.pids
    with pytest.raises(Exception, match=r"body|large|bytes"):
        await pool.run(python_spec(WAIT), hostcall)
    assert pool.pids == before


async def test_an_agent_whose_input_is_too_large_is_refused_before_it_starts(pool):
    with pytest.raises(GuestError) as failed:
        await pool.run(python_spec("def run(x): return 1", {"x": "y" * (5 << 20)}), Host())
    assert failed.value.code == "guest.request"


async def test_closing_leaves_no_process_and_ends_those_who_wait(cache_dir):
    pool = WorkerPool(cache_dir, workers=2, threads=1)
    await pool.start()
    pids = pool.pids
    tasks = [asyncio.create_task(pool.run(python_spec(LOOP), Host())) for _ in range(4)]
    await until(lambda: pool.live == 2)
    await pool.close()
    codes = sorted(error.code for error in await asyncio.gather(*tasks, return_exceptions=True))
    assert codes == ["pool.closed", "pool.closed", "worker.crashed", "worker.crashed"]
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    with pytest.raises(Unavailable):
        await pool.run(python_spec(LOOP), Host())


PARENT = """
import asyncio, pathlib, sys
from runloop.sandbox import WorkerPool
from tests_sandbox_helpers import Host, python_spec
async def main():
    pool = WorkerPool(pathlib.Path(sys.argv[1]), workers=2)
    await pool.start()
    asyncio.create_task(pool.run(python_spec("def run():\\n    while True: pass"), Host()))
    while not pool.live: await asyncio.sleep(0.01)
    print(*pool.pids, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


async def test_a_parent_that_is_killed_takes_its_workers_along(cache_dir, pool):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", PARENT, str(cache_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:  # noqa: ASYNC220
        assert parent.stdout is not None
        pids = [int(pid) for pid in (await asyncio.to_thread(parent.stdout.readline)).split()]
        assert len(pids) == 2
        parent.kill()
    await until(lambda: all(_gone(pid) for pid in pids))


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_worker_holds_no_file_no_environment_and_no_privileges(pool, monkeypatch, cache_dir):
    monkeypatch.setenv("RUNLOOP_TEST_SECRET", "leaked")
    async with WorkerPool(cache_dir, workers=1) as fresh:
        await fresh.run(python_spec("def run(): return 1"), Host())
        (pid,) = fresh.pids
        opened = sorted(str(fd.readlink()).split(":")[0].partition(" ")[0] for fd in Path(f"/proc/{pid}/fd").iterdir())
        # libffi keeps its own file open from 3.5 on, to make its trampolines of
        assert [name for name in opened if not name.endswith(".cwasm") and "/libffi.so" not in name] == ["/dev/null"] * 2 + [
            "/memfd",
            "socket",
        ]
        assert b"RUNLOOP_TEST_SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert os.getsid(pid) == pid
        limits = {line[:25].strip(): line[26:].split()[0] for line in Path(f"/proc/{pid}/limits").read_text().splitlines()}
        assert (limits["Max core file size"], limits["Max open files"], limits["Max file size"]) == ("0", "256", "1048576")
        assert fresh.confinement[0]["no_new_privileges"] is True


def test_limits_that_make_no_sense_are_refused_with_the_name_of_the_limit():
    with pytest.raises(InvalidInput) as refused:
        Limits(wall_ms=0)
    assert refused.value.code == "guest.limits"
    assert "wall_ms" in refused.value.message


async def test_code_is_found_by_what_it_is_and_not_by_the_digest_that_a_caller_names(pool):
    import dataclasses

    import wasmtime

    first, second = (dataclasses.replace(python_spec(f"def run(): return {n}"), digest="same") for n in (1, 2))
    assert [(await pool.run(spec, Host())).result_json for spec in (first, second, first)] == ["1", "2", "1"]
    text = '(module (memory (export "memory") 1) (func (export "_start") (i32.store8 (i32.const -1) (i32.const {n}))))'
    modules = [bytes(wasmtime.wat2wasm(text.format(n=n).replace("i32.const -1", "i32.const 0" if n else "i32.const -1"))) for n in (0, 1)]
    codes = []
    for code in modules:
        with pytest.raises(GuestError) as failed:
            await pool.run(dataclasses.replace(code_spec("wasm32-wasip1", code), digest="same"), Host())
        codes.append(failed.value.code)
    assert codes == ["guest.trap", "guest.result"]


async def test_guests_behind_one_that_takes_long_go_to_a_worker_that_is_free(cache_dir):
    async with WorkerPool(cache_dir, workers=2, threads=1) as pool:
        long = [asyncio.create_task(pool.run(python_spec(LOOP), Host())) for _ in range(2)]
        await until(lambda: pool.live == 2)
        short = [asyncio.create_task(pool.run(python_spec(f"def run(): return {n}"), Host())) for n in range(6)]
        await asyncio.sleep(0)
        assert await stopped(long[0])
        assert [done.result_json for done in await asyncio.gather(*short)] == [str(n) for n in range(6)]
        assert not long[1].done()
        assert await stopped(long[1])


async def test_a_guest_that_waits_behind_another_is_stopped_at_once_and_the_other_goes_on(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        before = pool.pids
        first = asyncio.create_task(pool.run(python_spec(LOOP), Host()))
        await until(lambda: pool.live == 1)
        behind = asyncio.create_task(pool.run(python_spec("def run(): return 1"), Host()))
        await until(lambda: pool.live == 2)
        assert await stopped(behind)
        assert (pool.live, pool.pids, first.done()) == (1, before, False)
        assert await stopped(first)


async def test_a_guest_that_had_not_begun_in_a_worker_that_died_runs_in_another(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=1) as pool:
        running = asyncio.create_task(pool.run(python_spec(LOOP), Host()))
        await until(lambda: pool.live == 1)
        behind = asyncio.create_task(pool.run(python_spec("def run(): return 2"), Host()))
        os.kill(pool.pids[0], signal.SIGSTOP)
        await until(lambda: pool.live == 2)
        os.kill(pool.pids[0], signal.SIGKILL)
        with pytest.raises(GuestError):
            await running
        assert (await behind).result_json == "2"


@pytest.mark.parametrize("killed", [True, False])
async def test_compiled_code_that_was_removed_meanwhile_is_compiled_again(tmp_path, killed):
    spec = code_spec("wasm32-wasip1", bytes(wasmtime.wat2wasm(QUICK)))
    async with WorkerPool(tmp_path / "cache", workers=1) as pool:
        await pool.run(spec, Host())
        (before,) = pool.pids
        shutil.rmtree(tmp_path / "cache")
        if killed:
            os.kill(before, signal.SIGKILL)
            await until(lambda: pool.pids not in ([], [before]))

        assert (await pool.run(spec, Host())).result_json == "42"


def test_a_worker_that_gets_no_thread_ends_and_says_why(monkeypatch, capsys):
    def none_left(_thread):
        raise RuntimeError("can't start new thread")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = Worker(theirs, 1)
        made._reader = threading.get_ident()
        monkeypatch.setattr(threading.Thread, "start", none_left)
        monkeypatch.setattr(os, "_exit", sys.exit)
        for needs_one in (made.serve, made._hand_over):
            with pytest.raises(SystemExit):
                needs_one()
            assert "can't start new thread" in (said := capsys.readouterr().err)
            assert ("ulimit -u" in said, "ulimit -d" in said, "Traceback" in said) == (True, True, False)


async def test_a_worker_for_which_the_system_has_no_process_now_is_started_when_it_has_one(cache_dir, monkeypatch):
    real, refused = pool_module.start_worker, []

    def none_left(*_arguments):
        refused.append(True)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(pool_module, "_MOST_BETWEEN_STARTS_S", 0.01)
    async with WorkerPool(cache_dir, workers=1) as pool:
        monkeypatch.setattr(pool_module, "start_worker", none_left)
        os.kill(pool.pids[0], signal.SIGKILL)
        await until(lambda: len(refused) > 5)
        with pytest.raises(Unavailable) as told:
            await pool.run(python_spec("def run(): return 1"), Host())
        assert told.value.code == "system.exhausted"

        monkeypatch.setattr(pool_module, "start_worker", real)
        await until(lambda: pool.pids)
        assert (await pool.run(python_spec("def run(): return 2"), Host())).result_json == "2"


async def test_a_worker_that_takes_too_long_to_start_is_ended_and_told(cache_dir):
    pool = WorkerPool(cache_dir, workers=1, ready_s=0)
    with pytest.raises(Unavailable) as caught:
        await pool.start()
    await pool.close()
    assert (caught.value.code, pool.pids) == ("worker.start", [])


async def test_how_long_a_guest_runs_is_told_by_the_clock_that_the_pool_was_given(cache_dir):
    seconds = 0.0
    async with WorkerPool(cache_dir, workers=1, clock_s=lambda: seconds) as pool:
        await pool.prepare()
        host = Host()
        running = asyncio.create_task(pool.run(python_spec("def run():\n    print('on')\n    while True: pass\n", wall_ms=600_000), host))
        await until(host.logged)  # it is compiled, which is none of its time
        seconds = 700.0
        with pytest.raises(GuestError) as failed:
            await running
        assert (failed.value.code, "did not stop" in failed.value.message) == ("guest.timeout", True)
