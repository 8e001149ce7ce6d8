"""The same bundle, input and answers give the same bytes in every process; another seed or another answer does not."""

from __future__ import annotations

import json

from tests_sandbox_helpers import START_MS, Host, code_spec, python_spec

from runloop.sandbox import WorkerPool

PROBE = """
import collections, datetime, gc, json, math, os, random, secrets, sys, tempfile, threading, time, uuid, weakref
from runloop_agent import agent, kb, model

class Thing:
    pass

@agent
def run(words):
    seen = {}
    seen["wall"] = [time.time(), time.time_ns(), str(datetime.datetime.now()), time.strftime("%c %Z"), time.localtime().tm_hour]
    seen["steady"] = [time.monotonic(), time.perf_counter_ns(), time.process_time()]
    seen["random"] = [random.random(), random.getrandbits(99), random.sample(range(100), 5), random.gauss(0, 1), os.urandom(8).hex(), secrets.token_hex(8)]
    seen["more random"] = [random.Random().random(), random.SystemRandom().random(), str(uuid.uuid4()), str(uuid.uuid1()), uuid.getnode()]
    seen["names"] = [next(tempfile._get_candidate_names()), threading.get_ident(), os.getpid()]
    seen["sets"] = [list(set(words)), list({Thing(): 1, Thing(): 2}.values()), list(frozenset(words) | {1.5, None, "x", (1, "y")})]
    seen["hash"] = [hash("a"), hash(b"a"), hash((1, "b")), hash(Thing()), hash(1.5), hash(None)]
    seen["id"] = [id(Thing()), id(words), id(seen), id([]), repr(Thing()), repr(run), repr(object())]
    seen["answers"] = [kb.get(w) is None for w in words]
    time.sleep(1.5)
    seen["later"] = [time.time(), time.monotonic(), random.random()]
    seen["float"] = [math.sin(1e22), math.exp(0.1), sum(math.sqrt(n) for n in range(1000)), repr(float("nan")), math.copysign(1, float("nan"))]
    refs = [weakref.ref(Thing()) for _ in range(3)]
    seen["gc"] = [gc.collect(), gc.get_count(), sum(r() is None for r in refs), sys.getrefcount(Thing), sys.getsizeof(seen)]
    garbage = collections.deque(maxlen=5)
    for n in range(20000):
        garbage.append([object(), {n: str(n)}])
    seen["after garbage"] = [id(Thing()), id(garbage)]
    try:
        1 / 0
    except ZeroDivisionError as e:
        seen["traceback"] = [str(e.__traceback__), repr(e.__traceback__.tb_frame)]
    seen["modules"] = [sorted(sys.modules) == sorted(set(sys.modules)), list(sys.modules)[-5:], list(vars(sys))[:5]]
    return {key: [repr(one) if type(one) is int and abs(one) > 2**50 else one for one in values] for key, values in seen.items()}
"""
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "é"]


async def _once(cache_dir, spec, **host) -> tuple[str, list]:
    answering = Host(**host)
    async with WorkerPool(cache_dir, workers=1) as pool:
        return (await pool.run(spec, answering)).result_json, answering.calls


async def test_a_python_agent_gives_the_same_bytes_in_different_processes(cache_dir):
    spec = python_spec(PROBE, {"words": WORDS})
    first = await _once(cache_dir, spec)
    assert await _once(cache_dir, spec) == first
    seen = json.loads(first[0])
    assert seen["later"][0] - seen["wall"][0] > 0.9
    assert abs(seen["wall"][0] * 1000 - START_MS) < 1


async def test_a_python_agent_gives_the_same_bytes_however_busy_and_warm_the_worker_is(pool, cache_dir):
    import asyncio

    spec = python_spec(PROBE, {"words": WORDS})
    fresh, _ = await _once(cache_dir, spec)
    noise = [pool.run(python_spec(f"def run(): return sum(range({n}))"), Host()) for n in range(10**5, 10**5 + 5)]
    repeated = [pool.run(spec, Host()) for _ in range(5)]
    results = await asyncio.gather(*noise, *repeated)
    assert {one.result_json for one in results[5:]} == {fresh}


async def test_another_seed_gives_other_randomness_and_the_same_rest(pool):
    one, other = [
        json.loads((await pool.run(python_spec(PROBE, {"words": WORDS}, seed=bytes([n]) * 32), Host())).result_json) for n in (1, 2)
    ]
    assert one["random"] != other["random"]
    assert one["more random"] != other["more random"]
    assert (one["wall"], one["sets"], one["hash"]) == (other["wall"], other["sets"], other["hash"])


async def test_the_clock_follows_the_times_of_the_answers_and_never_goes_back(pool):
    host = Host()
    times = iter([START_MS + 5000, START_MS + 2000, START_MS + 7000])

    async def hostcall(name, args):
        host.now_ms = next(times)
        return await host(name, args)

    source = "import time\nfrom runloop_agent import kb\ndef run():\n    seen = []\n    for _ in range(3):\n        kb.get('k'); seen.append(round(time.time() * 1000))\n    return seen"
    assert json.loads((await pool.run(python_spec(source), hostcall)).result_json) == [START_MS + 5000, START_MS + 5000, START_MS + 7000]


COMMAND = b"""(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "0123456789abcdef") (data (i32.const 2000) "\\22") (data (i32.const 2100) "\\22")
  (func (export "_start") (local $n i32)
    (drop (call $random (i32.const 0) (i32.const 24)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 24)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 32)))
    (f64.store (i32.const 40) (f64.div (f64.const 0) (f64.const 0)))
    (loop $hex
      (i32.store8 (i32.add (i32.const 2001) (i32.mul (local.get $n) (i32.const 2)))
        (i32.load8_u (i32.add (i32.const 1024) (i32.shr_u (i32.load8_u (local.get $n)) (i32.const 4)))))
      (i32.store8 (i32.add (i32.const 2002) (i32.mul (local.get $n) (i32.const 2)))
        (i32.load8_u (i32.add (i32.const 1024) (i32.and (i32.load8_u (local.get $n)) (i32.const 15)))))
      (br_if $hex (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 48))))
    (i32.store8 (i32.const 2097) (i32.const 34))
    (i32.store (i32.const 3000) (i32.const 2000)) (i32.store (i32.const 3004) (i32.const 98))
    (drop (call $write (i32.const 1) (i32.const 3000) (i32.const 1) (i32.const 3008)))))"""


async def test_a_command_gives_the_same_bytes_in_different_processes(cache_dir):
    import wasmtime

    spec = code_spec("wasm32-wasip1", bytes(wasmtime.wat2wasm(COMMAND.decode())))
    first = await _once(cache_dir, spec)
    assert await _once(cache_dir, spec) == first
    seen = bytes.fromhex(json.loads(first[0]))
    assert int.from_bytes(seen[24:32], "little") // 1_000_000 == START_MS
    assert seen[40:48] == bytes.fromhex("000000000000f87f")
