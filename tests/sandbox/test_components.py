"""Components of the world that bundles bring, here written by hand: the same boundary, limits and errors as for Python agents."""

from __future__ import annotations

import json

import pytest
import wasmtime
from tests_sandbox_helpers import Host, code_spec

from runloop.sandbox import CallError, GuestError


def component(body: str, *, extra: str = "", core: str = "") -> bytes:
    """Make a component whose ``run`` has this body: it gets $at and $size and leaves a pointer to its result at 16."""
    text = f"""(component
      {extra}
      (core module $main
        {core}
        (memory (export "memory") 2)
        (global $free (mut i32) (i32.const 1024))
        (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
          (global.set $free (i32.add (local.get $at) (local.get 3)))
          (loop $grow
            (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
              (then (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (br $grow))))
          (local.get $at))
        (data (i32.const 200) "it broke") (data (i32.const 300) "line 1\\nline 2")
        (func (export "run") (param $at i32) (param $size i32) (result i32)
          {body}
          (i32.const 16)))
      {"" if "(core instance $i" in extra else "(core instance $i (instantiate $main))"}
      (type $kind (enum "exception" "memory" "bad-result" "bad-agent")) (export $k "failure-kind" (type $kind))
      (type $failure (record (field "kind" $k) (field "message" string) (field "detail" string))) (export $f "failure" (type $failure))
      (func $run (param "request" string) (result (result string (error $f)))
        (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "cabi_realloc"))))
      (export "run" (func $run)))"""
    return bytes(wasmtime.wat2wasm(text))


ECHO = "(i32.store8 (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (local.get $at)) (i32.store (i32.const 24) (local.get $size))"


def _failure(kind: int) -> str:
    return f"""(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const {kind}))
      (i32.store (i32.const 24) (i32.const 200)) (i32.store (i32.const 28) (i32.const 8))
      (i32.store (i32.const 32) (i32.const 300)) (i32.store (i32.const 36) (i32.const 13))"""


async def test_a_component_gets_the_plain_request_and_returns_its_result(pool):
    done = await pool.run(code_spec("component", component(ECHO), {"a": "ü"}, {"p": [1]}), Host())
    assert json.loads(done.result_json) == {
        "with": {"a": "ü"},
        "inputs": {"p": [1]},
        "run": {"run_id": "0000feed-0000-0000-0000-0000feedface", "node": "n", "attempt": 1},
    }


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        (0, "guest.exception", "line 1\nline 2"),
        (1, "guest.memory", "it broke"),
        (2, "guest.result", "it broke"),
        (3, "guest.request", "it broke"),
    ],
)
async def test_a_components_failure_has_the_code_of_its_kind(pool, kind, code, message):
    with pytest.raises(GuestError) as failed:
        await pool.run(code_spec("component", component(_failure(kind))), Host())
    assert (failed.value.code, failed.value.message) == (code, message)


@pytest.mark.parametrize(
    ("body", "limits", "code"),
    [
        ("(loop $l (br $l))", {"wall_ms": 100}, "guest.timeout"),
        ("(loop $l (br $l))", {"fuel": 100_000}, "guest.fuel"),
        ("unreachable", {}, "guest.trap"),
        ("(i32.store8 (i32.const 16) (i32.const 9))", {}, "guest.trap"),
        ("(i32.store8 (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const -5)) (i32.store (i32.const 24) (i32.const 100))", {}, "guest.trap"),
        ("(i32.store8 (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 200)) (i32.store (i32.const 24) (i32.const 8))", {}, "guest.result"),
        ("(i32.store8 (i32.const 16) (i32.const 0)) (i32.store8 (i32.const 400) (i32.const 255)) (i32.store (i32.const 20) (i32.const 400)) (i32.store (i32.const 24) (i32.const 1))",
         {}, "guest.trap"),
    ],
)  # fmt: skip
async def test_a_hostile_component_ends_with_its_own_error(pool, body, limits, code):
    with pytest.raises(GuestError) as failed:
        await pool.run(code_spec("component", component(body), **limits), Host())
    assert failed.value.code == code
    assert (await pool.run(code_spec("component", component(ECHO)), Host())).result_json.startswith("{")


def calling_component() -> bytes:
    """A component that passes its request to ``kb.get`` and returns the answer, or the refusal's message as a failure."""
    text = """(component
      (type $kb (instance
        (type $c (enum "denied" "invalid" "budget" "timeout" "unavailable" "cancelled")) (export "error-code" (type $code (eq $c)))
        (type $e (record (field "code" $code) (field "message" string) (field "hint" string))) (export "call-error" (type $error (eq $e)))
        (type $r (result string (error $error)))
        (export "get" (func (param "request" string) (result $r)))))
      (import "runloop:agent/kb@0.1.0" (instance $kb (type $kb)))
      (core module $memory
        (memory (export "memory") 2) (global $free (mut i32) (i32.const 1024))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
          (global.set $free (i32.add (local.get $at) (local.get 3))) (local.get $at)))
      (core instance $m (instantiate $memory))
      (core func $get (canon lower (func $kb "get") (memory (core memory $m "memory")) (realloc (core func $m "cabi_realloc"))))
      (core module $main
        (import "m" "memory" (memory 2)) (import "kb" "get" (func $get (param i32 i32 i32)))
        (func (export "run") (param i32 i32) (result i32)
          (call $get (local.get 0) (local.get 1) (i32.const 64))
          (if (i32.eqz (i32.load8_u (i32.const 64)))
            (then (i32.store8 (i32.const 16) (i32.const 0)) (i64.store (i32.const 20) (i64.load (i32.const 68))))
            (else (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 3))
              (i64.store (i32.const 24) (i64.load (i32.const 72))) (i64.store (i32.const 32) (i64.load (i32.const 80)))))
          (i32.const 16)))
      (core instance $kbi (export "get" (func $get)))
      (core instance $i (instantiate $main (with "m" (instance $m)) (with "kb" (instance $kbi))))
      (type $kind (enum "exception" "memory" "bad-result" "bad-agent")) (export $k "failure-kind" (type $kind))
      (type $failure (record (field "kind" $k) (field "message" string) (field "detail" string))) (export $f "failure" (type $failure))
      (func $run (param "request" string) (result (result string (error $f)))
        (canon lift (core func $i "run") (memory (core memory $m "memory")) (realloc (core func $m "cabi_realloc"))))
      (export "run" (func $run)))"""
    return bytes(wasmtime.wat2wasm(text))


async def test_a_component_calls_the_host_and_gets_answers_and_refusals(pool):
    host = Host(answers={"kb.get": {"key": "k", "title": "ü"}})
    done = await pool.run(code_spec("component", calling_component(), {"a": 1}), host)
    assert json.loads(done.result_json) == {"key": "k", "title": "ü"}
    assert host.calls[0][0] == "kb.get"
    assert host.calls[0][1]["with"] == {"a": 1}
    with pytest.raises(GuestError) as failed:
        await pool.run(code_spec("component", calling_component()), Host(answers={"kb.get": CallError("denied", "no kb for you", "ask")}))
    assert (failed.value.code, failed.value.message) == ("guest.request", "no kb for you")


@pytest.mark.parametrize("text", ["(component)", '(component (import "evil:host/x" (func)))', "(module)"])
async def test_a_component_of_another_world_is_refused_or_traps(pool, text):
    from runloop.errors import RunloopError

    with pytest.raises(RunloopError):
        await pool.run(code_spec("component", bytes(wasmtime.wat2wasm(text))), Host())
    assert (await pool.run(code_spec("component", component(ECHO)), Host())).hostcalls == 0
