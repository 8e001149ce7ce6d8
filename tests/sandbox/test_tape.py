"""Answers ahead: a taped re-run is the live run byte for byte, whoever drives it, and the worker's word counts for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_sandbox_helpers import START_MS, Host, code_spec, python_spec

from runloop.effects.catalogue import CATALOGUE
from runloop.errors import InvalidInput
from runloop.sandbox import Answer, CallError, GuestError, Taped, WorkerPool, frames
from runloop.sandbox.frames import MAX_ANSWER
from runloop.sandbox.tape import BATCH_CALLS, CHUNK_BYTES, LIVE_AHEAD, WINDOW_BYTES, WINDOW_ENTRIES, Feed, Player, pack, unpack
from runloop.sandbox.world import LIVE_NAMES, NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPTED = """
import random, time
from runloop_agent import _calls

def run(steps):
    seen = []
    for name, request in steps:
        if name == "time":
            seen.append(time.time())
        elif name == "random":
            seen.append(random.random())
        elif name == "print":
            print(request)
        else:
            try:
                seen.append(_calls._dispatch(name, request))
            except _calls.CallError as error:
                seen.append([type(error).__name__, error.message, error.hint])
    return [seen, time.time()]
"""
GETS = "from runloop_agent import kb\ndef run(n):\n    return [kb.get(f'contacts/{i}') for i in range(n)]"


class Diverged(Exception):  # noqa: N818 - as the journal's
    """The guest asked for something else than the record says."""


@dataclass
class Journalled:
    """A host with a record: it compares what is recorded and records what is not; ``slow`` gives it a wait for every call."""

    answers: list[str | CallError]
    record: list[tuple[str, str, Answer]] = field(default_factory=list)
    slow: bool = False
    asked: int = 0
    heard: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, name: str, args: str) -> Answer:
        """Answer one call."""
        if self.slow:
            await asyncio.sleep(0)
        self.heard.append((name, args))
        if name in LIVE_NAMES:
            return Answer("{}", 0)
        if name == "secrets.handle":
            return Answer(json.dumps({"handle": args}), 0)
        self.asked += 1
        if self.asked <= len(self.record):
            known_name, known_args, answer = self.record[self.asked - 1]
            if (name, args) != (known_name, known_args):
                raise Diverged(self.asked)
            return answer
        answer = Answer(self.answers[self.asked % len(self.answers)], START_MS + self.asked * 1_000)
        self.record.append((name, args, answer))
        return answer

    def tape(self, length: int) -> list[Taped]:
        """The first entries of the record."""
        return [Taped(name, answer) for name, _args, answer in self.record[:length]]


async def ended(pool: WorkerPool, spec: Any, host: Journalled, tape: list[Taped] | tuple[()] = ()) -> tuple[Any, ...]:
    """How a run ended, in everything that must not depend on how it was answered."""
    try:
        done = await pool.run(spec, host, tape)
    except GuestError as error:
        return error.code, error.message, error.said
    return done.result_json, done.hostcalls, done.output_bytes


refusals = st.builds(
    CallError,
    st.sampled_from(["denied", "invalid", "budget", "timeout", "unavailable", "cancelled"]),
    st.text(max_size=9),
    st.text(max_size=9),
)
values = st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
answers = st.lists(
    values.map(json.dumps) | st.text(min_size=1, max_size=30).map(lambda t: json.dumps(t, ensure_ascii=False)) | refusals,
    min_size=1,
    max_size=6,
)
requests = st.dictionaries(st.text("abc", max_size=3), values, max_size=2).map(json.dumps) | st.sampled_from(["[1]", '{"n": 1e999}', "{"])
steps = st.lists(
    st.tuples(st.sampled_from([*sorted(NAMES), "kb.get", "emit.log", "secrets.handle", "time", "random", "print"]), requests), max_size=25
)


@pytest.fixture(scope="module")
def ended_now(cache_dir: Path) -> Iterator[Callable[..., tuple[Any, ...]]]:
    """:func:`ended` with a pool and a loop of its own, since generated examples do not run on the pool's loop of the session."""
    with asyncio.Runner() as runner:
        pool = WorkerPool(cache_dir, workers=1)
        runner.run(pool.start())
        yield lambda *given: runner.run(ended(pool, *given))
        runner.run(pool.close())


@settings(max_examples=40)
@given(steps, answers, st.data())
def test_a_taped_run_is_the_live_run_byte_for_byte_from_any_point_of_its_record(ended_now, script, given_answers, data):
    limits = data.draw(st.sampled_from([{}, {}, {"hostcalls": 7}, {"output_bytes": 700}]))
    spec = python_spec(SCRIPTED, {"steps": script}, **limits)
    live = Journalled(given_answers)
    outcome = ended_now(spec, live)
    length = data.draw(st.integers(0, len(live.record)))
    again = Journalled(given_answers, live.record[:length], slow=data.draw(st.booleans()))
    assert ended_now(spec, again, live.tape(length)) == outcome
    assert again.record == live.record
    recorded = [call for call in live.heard if call[0] not in LIVE_NAMES]
    assert [call for call in again.heard if call[0] not in LIVE_NAMES] == recorded


async def test_log_lines_of_the_recorded_part_are_not_told_again_and_those_after_it_are(pool):
    script = [("emit.log", '{"text":"1"}'), ("kb.get", "{}"), ("emit.log", '{"text":"2"}'), ("kb.get", "{}"), ("emit.log", '{"text":"3"}')]
    spec, live = python_spec(SCRIPTED, {"steps": script}), Journalled(["1"])
    await pool.run(spec, live)
    again = Journalled(["1"], live.record)
    await pool.run(spec, again, live.tape(2))
    assert [name for name, _args in live.heard] == [name for name, _args in script]
    assert again.heard == [("kb.get", "{}"), ("kb.get", "{}"), ("emit.log", '{"text":"3"}')]


@pytest.mark.parametrize("slow", [False, True])
async def test_lines_do_not_wait_for_their_answers_and_come_in_order_among_the_calls_and_before_the_end(pool, slow):
    script = [(name, json.dumps({"text": str(at)})) for at in range(400) for name in (["kb.get"] if at % 150 == 149 else []) + ["emit.log"]]
    host = Journalled(["1", "2"], slow=slow)
    await pool.run(python_spec(SCRIPTED, {"steps": script}), host)
    assert host.heard == script


def test_of_many_lines_in_a_row_one_waits_so_that_no_guest_floods_who_hears_them():
    told: list[list[list[str]]] = []
    player = Player(0, told.append, list)
    names = ["emit.log"] * 130 + ["kb.get"] + ["emit.progress"] * 64
    asked = [at for at, name in enumerate(names) if player.answer(name, str(at)) is None]
    assert asked == [LIVE_AHEAD - 1, 2 * LIVE_AHEAD - 1, 130, 130 + LIVE_AHEAD]
    assert [call for batch in told for call in batch] == [[name, str(at)] for at, name in enumerate(names) if at not in asked]


COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "runloop" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "runloop" "take" (func $take (param i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "kb.get") (data (i32.const 16) "{}")
  (func (export "_start")
    (drop (call $call (i32.const 0) (i32.const 6) (i32.const 16) (i32.const 2)))
    (i32.store (i32.const 100) (i32.const 1000)) (i32.store (i32.const 104) (call $take (i32.const 1000) (i32.const 500)))
    (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108)))))"""


async def test_a_command_is_answered_from_its_tape_too(pool):
    import wasmtime

    spec = code_spec("wasm32-wasip1", bytes(wasmtime.wat2wasm(COMMAND)))
    host = Journalled(['"a"'], [("kb.get", "{}", Answer('{"recorded":true}', START_MS))])
    assert (await pool.run(spec, host, host.tape(1))).result_json == '{"recorded":true}'
    assert host.heard == [("kb.get", "{}")]


# -- divergence


@pytest.mark.parametrize("slow", [False, True])
async def test_a_taped_call_with_other_arguments_stops_the_guest_and_comes_out_of_run(pool, slow):
    live = Journalled(["1"])
    await pool.run(python_spec(GETS, {"n": 300}), live)
    live.record[200] = ("kb.get", '{"key":"contacts/changed"}', live.record[200][2])
    before = pool.pids
    again = Journalled(["1"], live.record, slow=slow)
    with pytest.raises(Diverged, match="201"):
        await pool.run(python_spec(GETS, {"n": 300}), again, live.tape(300))
    assert (again.asked, pool.live, pool.pids) == (201, 0, before)


async def test_a_divergence_in_the_last_calls_of_a_guest_wins_over_its_result(pool):
    record = [("kb.get", '{"key":"contacts/other"}', Answer("1", START_MS))]
    host = Journalled(["1"], record)
    with pytest.raises(Diverged):
        await pool.run(python_spec(GETS, {"n": 1}), host, host.tape(1))


async def test_calls_of_a_guest_that_ends_before_its_record_does_are_compared_too(pool):
    host = Journalled(["1"], [("kb.get", f'{{"key":"contacts/{i}"}}', Answer("1", START_MS)) for i in range(3)])
    live = Journalled(["1"])
    await pool.run(python_spec(GETS, {"n": 2}), live)
    host.record[1] = (*host.record[1][:1], "{}", host.record[1][2])
    host.record[0] = live.record[0]
    with pytest.raises(Diverged, match="2"):
        await pool.run(python_spec(GETS, {"n": 2}), host, host.tape(3))


async def test_a_call_of_another_name_is_asked_and_not_answered_from_the_tape(pool):
    host = Journalled(["1"], [("kb.search", "{}", Answer("1", START_MS))])
    with pytest.raises(Diverged, match="1"):
        await pool.run(python_spec(GETS, {"n": 1}), host, host.tape(1))
    assert [name for name, _args in host.heard] == ["kb.get"]


async def test_a_record_cannot_hold_the_answer_of_a_call_that_does_not_exist_or_only_tells():
    for name in ("kb.frob", "emit.log"):
        with pytest.raises(InvalidInput) as refused:
            Taped(name, Answer("{}", 0))
        assert refused.value.code == "guest.tape"


def test_the_calls_that_only_tell_are_those_of_the_catalogue():
    assert {name for name, effect in CATALOGUE.items() if effect.live} == LIVE_NAMES


# -- a handler that waits


class Held(Journalled):
    """A handler that waits at its third call until the test releases it."""

    def __init__(self, record: list[tuple[str, str, Answer]]) -> None:
        super().__init__(["1"], record)
        self.at_third, self.release, self.was_cancelled = asyncio.Event(), asyncio.Event(), False

    async def __call__(self, name: str, args: str) -> Answer:
        """Answer one call."""
        if self.asked == 2:
            self.at_third.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
        return await super().__call__(name, args)


async def test_a_guest_that_has_ended_waits_for_a_handler_that_still_compares(pool):
    live = Journalled(["1"])
    await pool.run(python_spec(GETS, {"n": 5}), live)
    held = Held(live.record)
    task = asyncio.create_task(pool.run(python_spec(GETS, {"n": 5}), held, live.tape(5)))
    await held.at_third.wait()
    assert (await pool.run(python_spec("def run(): return 2"), Host())).result_json == "2"
    assert not task.done()
    held.release.set()
    assert json.loads((await task).result_json) == [None] * 5
    assert held.heard == live.heard


async def test_cancelling_while_the_handler_compares_stops_the_guest_and_keeps_the_worker(pool):
    live = Journalled(["1"])
    await pool.run(python_spec(GETS, {"n": 100}), live)
    before = pool.pids
    held = Held(live.record)
    task = asyncio.create_task(pool.run(python_spec(GETS, {"n": 100}), held, live.tape(100)))
    await held.at_third.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (task.cancelled(), held.was_cancelled, pool.live, pool.pids) == (True, True, 0, before)


# -- size


async def test_fifty_megabytes_of_answers_pass_without_being_held_in_the_worker(cache_dir):
    answer = Answer(json.dumps("x" * 500_000), START_MS)
    source = "from runloop_agent import _calls\ndef run():\n    return sum(len(_calls._dispatch('kb.get', '{}')) for _ in range(100))"
    host = Journalled(["1"], [("kb.get", "{}", answer)] * 100)
    async with WorkerPool(cache_dir, workers=1) as pool:
        await pool.run(python_spec(source.replace("100", "1")), host, host.tape(1))
        peak = _peak_bytes(pool.pids[0])
        host.asked = 0
        assert (await pool.run(python_spec(source), host, host.tape(100))).result_json == "50000200"
        assert _peak_bytes(pool.pids[0]) - peak < 30 << 20


def _peak_bytes(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def test_an_answer_that_no_frame_can_carry_comes_out_as_an_error(pool):
    host = Journalled(["1"], [("kb.get", "{}", Answer('"' + "x" * MAX_ANSWER + '"', START_MS))])
    before = pool.pids
    with pytest.raises(Exception, match=r"body|large|bytes"):
        await pool.run(python_spec(GETS, {"n": 1}), host, host.tape(1))
    assert pool.pids == before


# -- workers that lie


@pytest.mark.parametrize(
    "said",
    [
        {"taped": [["kb.get", "{}"]] * 3},
        {"taped": [["kb.search", "{}"]]},
        {"taped": [["kb.get", 5]]},
        {"taped": [["kb.get"]]},
        {"taped": 7},
        {"call": 0, "name": "kb.get", "args": "{}"},
        {"call": 0, "name": "emit.log", "args": "{}"},
        {"taped": [["emit.log", "{}"]]},
        {"call": 0, "name": "kb.search", "args": 5},
    ],
    ids=[
        "more than there is",
        "another name",
        "no text",
        "no arguments",
        "no list",
        "asks what it has",
        "tells what it must not",
        "tells a line ahead of its tape",
        "asks without text",
    ],
)
async def test_a_worker_that_says_what_it_cannot_have_is_killed(cache_dir, said):
    record = [("kb.get", "{}", Answer("1", START_MS))] * 2
    host = Journalled(["1"], record)
    async with WorkerPool(cache_dir, workers=1) as pool:
        (peer,) = pool._peers
        task = asyncio.create_task(pool.run(python_spec("def run():\n    while True: pass"), host, host.tape(2)))
        while not peer.jobs:
            await asyncio.sleep(0)
        before, (number,) = pool.pids, peer.jobs
        peer.data_received(frames.encode(frames.HOSTCALL, {"run": number, **said}))
        with pytest.raises(GuestError) as failed:
            await task
        assert failed.value.code == "worker.crashed"
        while pool.pids in ([], before):
            await asyncio.sleep(0.005)
        assert host.record == record


async def test_a_worker_that_talks_on_while_the_handler_waits_is_killed(cache_dir, monkeypatch):
    from runloop.sandbox import job

    monkeypatch.setattr(job, "_MAX_HELD", 1_000)
    held = Held([("kb.get", "{}", Answer("1", START_MS))] * 3)
    async with WorkerPool(cache_dir, workers=1) as pool:
        (peer,) = pool._peers
        task = asyncio.create_task(pool.run(python_spec("def run():\n    while True: pass"), held, held.tape(3)))
        while not peer.jobs:
            await asyncio.sleep(0)
        before, (number,) = pool.pids, peer.jobs
        peer.data_received(frames.encode(frames.HOSTCALL, {"run": number, "taped": [["kb.get", "{}"]] * 3}))
        await held.at_third.wait()
        peer.data_received(frames.encode(frames.HOSTCALL, {"run": number, "taped": [["kb.get", "x" * 2_000]]}))
        with pytest.raises(GuestError) as failed:
            await task
        assert failed.value.code == "worker.crashed"
        while pool.pids in ([], before):
            await asyncio.sleep(0.005)


# -- the two sides alone


def wired(tape: list[Taped], calls: list[tuple[str, str]]) -> tuple[list[Answer | None], list[str], int, int]:
    """Play ``calls`` against a tape without processes: the answers, the names that the pool heard of, and the most that was ahead."""
    feed, heard, sent, most_ahead, most_bytes = Feed(tape), [], 0, 0, 0
    sizes = [len(str(entry.answer.value)) for entry in tape]

    def chunks() -> list[dict[str, Any]]:
        nonlocal sent, most_ahead, most_bytes
        entries: list[dict[str, Any]] = []
        for chunk in feed.chunks():
            size = sum(sizes[sent : (sent := sent + len(chunk))])
            assert len(chunk) == 1 or size <= CHUNK_BYTES
            entries += chunk
        most_ahead = max(most_ahead, sent - len(heard))
        if sent - len(heard) > 1:
            most_bytes = max(most_bytes, sum(sizes[len(heard) : sent]))
        return entries

    arrived = chunks()

    def tell(batch: list[list[str]]) -> None:
        assert 0 < len(batch) <= BATCH_CALLS
        for name, _args in batch:
            feed.tell(name)
            feed.compared()
            heard.append(name)
        arrived.extend(chunks())

    def more() -> list[dict[str, Any]]:
        assert arrived, "the worker would wait for ever"
        entries = arrived[:]
        arrived.clear()
        return entries

    player = Player(len(tape), tell, more)
    answers = []
    for name, args in calls:
        answer = player.answer(name, args)
        if answer is None:
            feed.ask(name)
        answers.append(answer)
    player.flush()
    return answers, heard, most_ahead, most_bytes


recorded_names = st.sampled_from(["kb.get", "kb.search", "model.complete"])
sizes = st.integers(0, 50) | st.sampled_from([CHUNK_BYTES // 2, CHUNK_BYTES + 1, WINDOW_BYTES + 1])


@given(
    st.lists(st.tuples(recorded_names, sizes), max_size=30),
    st.integers(1, 60),
    st.lists(st.sampled_from([*sorted(LIVE_NAMES), "secrets.handle"])),
)
def test_answers_come_in_order_and_never_further_ahead_than_the_window(entries, times, between):
    tape = [Taped(name, Answer("x" * size, at)) for at, (name, size) in enumerate(entries)] * (
        times if sum(s for _, s in entries) < 500 else 1
    )
    calls = [(name, "{}") for entry in tape for name in (*between, entry.name)]
    answered, heard, ahead, ahead_bytes = wired(tape, calls)
    told = [answer for (name, _args), answer in zip(calls, answered, strict=True) if name not in {*LIVE_NAMES, "secrets.handle"}]
    assert told == [entry.answer for entry in tape]
    assert heard == [entry.name for entry in tape]
    assert {answer for (name, _args), answer in zip(calls, answered, strict=True) if name == "secrets.handle"} <= {None}
    assert {answer for (name, _args), answer in zip(calls, answered, strict=True) if name in LIVE_NAMES} <= {Answer("{}", 0)}
    assert ahead <= WINDOW_ENTRIES
    assert ahead_bytes <= WINDOW_BYTES


def test_a_worker_cannot_have_answered_from_entries_that_were_not_sent_yet():
    feed = Feed([Taped("kb.get", Answer("1", 0))] * (WINDOW_ENTRIES + 1))
    assert sum(len(chunk) for chunk in feed.chunks()) == WINDOW_ENTRIES
    for _ in range(WINDOW_ENTRIES):
        feed.tell("kb.get")
    with pytest.raises(ValueError, match="does not have"):
        feed.tell("kb.get")


def test_a_hundred_thousand_taped_calls_are_never_more_than_a_window_ahead():
    tape = [Taped("kb.get", Answer("x" * 100, 0))] * 100_000
    answered, heard, ahead, _bytes = wired(tape, [("kb.get", "{}")] * 100_000)
    assert (len(answered), len(heard), ahead) == (100_000, 100_000, WINDOW_ENTRIES)


@given(st.builds(Answer, st.text() | refusals, st.integers(0, 2**53)))
def test_an_answer_keeps_its_value_in_frames(answer):
    assert unpack(pack(answer)) == answer
