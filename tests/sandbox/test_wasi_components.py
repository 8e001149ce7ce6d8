"""What compilers of other languages bring along in a component: standard streams and waits of WASI 0.2, here written by hand."""

from __future__ import annotations

import pytest
import wasmtime
from tests_sandbox_helpers import Host, code_spec

from runloop.sandbox import CallError, GuestError

WORDS = "one\ntwo"


def component(body: str) -> bytes:
    """A component whose ``run`` has this body, and then returns ``true``."""
    text = f"""(component
      (type $poll-type (instance
        (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))
        (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
        (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
      (import "wasi:io/poll@0.2.0" (instance $poll (type $poll-type)))
      (alias export $poll "pollable" (type $pollable))
      (type $clock-type (instance (alias outer 1 $pollable (type $p))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))
        (export "subscribe-instant" (func (param "when" u64) (result (own $p))))
        (export "now" (func (result u64)))))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (type $clock-type)))
      (type $streams-type (instance
        (alias outer 1 $pollable (type $p))
        (export "output-stream" (type $o (sub resource)))
        (export "input-stream" (type $i (sub resource)))
        (export "[method]output-stream.subscribe" (func (param "self" (borrow $o)) (result (own $p))))
        (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $o)) (param "contents" (list u8)) (result (result))))
        (export "[method]input-stream.blocking-read" (func (param "self" (borrow $i)) (param "len" u64) (result (result (list u8)))))))
      (import "wasi:io/streams@0.2.0" (instance $streams (type $streams-type)))
      (alias export $streams "output-stream" (type $out)) (alias export $streams "input-stream" (type $in))
      (type $stdout-type (instance (alias outer 1 $out (type $o)) (export "get-stdout" (func (result (own $o))))))
      (import "wasi:cli/stdout@0.2.0" (instance $stdout (type $stdout-type)))
      (type $stderr-type (instance (alias outer 1 $out (type $o)) (export "get-stderr" (func (result (own $o))))))
      (import "wasi:cli/stderr@0.2.0" (instance $stderr (type $stderr-type)))
      (type $stdin-type (instance (alias outer 1 $in (type $i)) (export "get-stdin" (func (result (own $i))))))
      (import "wasi:cli/stdin@0.2.0" (instance $stdin (type $stdin-type)))
      (core module $memory
        (memory (export "memory") 2) (global $free (mut i32) (i32.const 4096))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
          (global.set $free (i32.add (local.get $at) (local.get 3))) (local.get $at)))
      (core instance $m (instantiate $memory))
      (alias core export $m "memory" (core memory $mem)) (alias core export $m "cabi_realloc" (core func $realloc))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $ready (canon lower (func $poll "[method]pollable.ready")))
      (core func $poll-all (canon lower (func $poll "poll") (memory $mem) (realloc $realloc)))
      (core func $for (canon lower (func $clock "subscribe-duration")))
      (core func $until (canon lower (func $clock "subscribe-instant")))
      (core func $now (canon lower (func $clock "now")))
      (core func $subscribe (canon lower (func $streams "[method]output-stream.subscribe")))
      (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
      (core func $read (canon lower (func $streams "[method]input-stream.blocking-read") (memory $mem) (realloc $realloc)))
      (core func $out (canon lower (func $stdout "get-stdout"))) (core func $err (canon lower (func $stderr "get-stderr")))
      (core func $in (canon lower (func $stdin "get-stdin")))
      (core func $drop (canon resource.drop $pollable))
      (core module $main
        (import "m" "memory" (memory 2))
        (import "w" "block" (func $block (param i32))) (import "w" "ready" (func $ready (param i32) (result i32)))
        (import "w" "poll" (func $poll (param i32 i32 i32)))
        (import "w" "for" (func $for (param i64) (result i32))) (import "w" "until" (func $until (param i64) (result i32)))
        (import "w" "now" (func $now (result i64))) (import "w" "drop" (func $drop (param i32)))
        (import "w" "subscribe" (func $subscribe (param i32) (result i32)))
        (import "w" "write" (func $write (param i32 i32 i32) (result i32))) (import "w" "read" (func $read (param i32 i64 i32)))
        (import "w" "out" (func $out (result i32))) (import "w" "err" (func $err (result i32))) (import "w" "in" (func $in (result i32)))
        (data (i32.const 200) "one\\ntwo") (data (i32.const 300) "true")
        (func (export "run") (param i32 i32) (result i32) (local $n i32)
          {body}
          (i32.store8 (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 300)) (i32.store (i32.const 24) (i32.const 4))
          (i32.const 16)))
      (core instance $wasi
        (export "block" (func $block)) (export "ready" (func $ready)) (export "poll" (func $poll-all)) (export "for" (func $for))
        (export "until" (func $until)) (export "now" (func $now)) (export "drop" (func $drop)) (export "subscribe" (func $subscribe))
        (export "write" (func $write)) (export "read" (func $read)) (export "out" (func $out)) (export "err" (func $err)) (export "in" (func $in)))
      (core instance $i (instantiate $main (with "m" (instance $m)) (with "w" (instance $wasi))))
      (type $kind (enum "exception" "memory" "bad-result" "bad-agent")) (export $k "failure-kind" (type $kind))
      (type $failure (record (field "kind" $k) (field "message" string) (field "detail" string))) (export $f "failure" (type $failure))
      (func $run (param "request" string) (result (result string (error $f)))
        (canon lift (core func $i "run") (memory $mem) (realloc $realloc)))
      (export "run" (func $run)))"""
    return bytes(wasmtime.wat2wasm(text))


def says(stream: str, at: int = 200, size: int = len(WORDS)) -> str:
    return f"(drop (call $write (call ${stream}) (i32.const {at}) (i32.const {size})))"


async def test_what_it_writes_to_its_streams_is_in_the_log(pool):
    await pool.run(code_spec("component", component(says("out") + says("err", size=4) + says("out", 203, 1))), host := Host())
    assert host.logged() == [("info", "one"), ("warn", "one"), ("info", "two")]


async def test_the_last_of_it_says_why_it_crashed_and_is_in_the_log(pool):
    with pytest.raises(GuestError) as failed:
        await pool.run(code_spec("component", component(says("err") + "unreachable")), host := Host())
    assert (failed.value.code, failed.value.message.endswith(f"instruction executed\n{WORDS}")) == ("guest.trap", True)
    assert not failed.value.hint  # what it said says more than we know
    assert host.logged() == [("warn", "one"), ("warn", "two")]


async def test_standard_input_may_be_opened_and_is_told_of_where_it_is_read(pool):
    opened = "(local.set $n (call $in))"
    assert (await pool.run(code_spec("component", component(opened)), Host())).result_json == "true"
    with pytest.raises(GuestError, match="read standard input"):
        await pool.run(code_spec("component", component(opened + "(call $read (local.get $n) (i64.const 1) (i32.const 100))")), Host())


@pytest.mark.parametrize(
    ("wait", "ms"),
    [
        ("(call $block (call $for (i64.const 1500500000)))", 1501),
        ("(call $block (call $until (i64.add (call $now) (i64.const 700000000))))", 700),
        ("(i32.store (i32.const 100) (call $for (i64.const 5000000))) (call $poll (i32.const 100) (i32.const 1) (i32.const 200))", 5),
    ],
)
async def test_a_wait_for_the_clock_is_one_call_of_the_timer(pool, wait, ms):
    host = Host()
    host.now_ms += ms
    assert (await pool.run(code_spec("component", component(wait)), host)).result_json == "true"
    assert host.calls == [("timer.sleep", {"ms": ms})]


async def test_what_is_ready_waits_for_nobody_and_waits_that_were_dropped_are_forgotten(pool):
    body = """(call $block (call $subscribe (call $out)))
      (if (i32.eqz (call $ready (call $for (i64.const 0)))) (then unreachable))
      (if (call $ready (call $for (i64.const 1000000000))) (then unreachable))
      (loop $again
        (call $drop (call $for (i64.const 1)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5000))))"""
    assert (await pool.run(code_spec("component", component(body)), host := Host())).result_json == "true"
    assert host.calls == []


async def test_waits_without_end_are_bounded(pool):
    body = "(loop $again (local.set $n (call $for (i64.const 1))) (br $again))"
    with pytest.raises(GuestError, match="waits for more than 4096 things"):
        await pool.run(code_spec("component", component(body)), Host())


async def test_a_wait_that_is_refused_says_so(pool):
    host = Host(answers={"timer.sleep": CallError("denied", "capability denied: timer.sleep (cap_missing)", "grant `time`")})
    with pytest.raises(GuestError, match=r"the agent waits, but capability denied: timer\.sleep"):
        await pool.run(code_spec("component", component("(call $block (call $for (i64.const 1000000)))")), host)
