"""Agents of the other kinds run in openings like Python ones: same records, same journal, same replay."""

import wasmtime

from runloop.bundles.seal import seal
from runloop.runs.replay import Replayer
from runloop.sandbox import guest_digest
from runloop.sandbox.spec import Limits

HELLO = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "{\"said\":\"hello\"}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 16))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
MANIFEST = """[agent]
name = "hello"
version = "1.0.0"
kind = "wasm32-wasip1"
entry = "hello.wasm"

[ports]
in = []
out = ["said"]

[caps]
file = "policy.caps"
"""
TEXT = 'version: 0\nname: wasi\nnodes: [{id: only, use: "agent:hello"}]\nedges: []\n'


async def test_a_wasi_command_runs_as_a_node_and_replays(bench):
    async with bench() as b:
        directory = b.agents_dir / "hello"
        directory.mkdir(parents=True)
        (directory / "manifest.toml").write_text(MANIFEST)
        (directory / "policy.caps").write_text("[capabilities]\n")
        (directory / "hello.wasm").write_bytes(wasmtime.wat2wasm(HELLO))
        assert seal(directory)[1] == []

        result = await b.run(TEXT)

        assert result.status == "succeeded", result.reason
        assert b.metas("node.finished")[0]["outputs"] == {"said": ["hello"]}
        replayer = Replayer(
            b.pool, lambda name, variant, _: b.services.resolve_agent(name, variant), lambda _: Limits(), {}, guest_digest()
        )
        report = await replayer.replay(b.ledger, result.run_id)
        assert ([each.verdict for each in report.attempts], report.matches) == (["same"], True)


async def test_a_module_that_is_no_webassembly_is_refused_before_anything_is_recorded(bench):
    import pytest

    from runloop.errors import RunloopError

    async with bench() as b:
        directory = b.agents_dir / "hello"
        directory.mkdir(parents=True)
        (directory / "manifest.toml").write_text(MANIFEST)
        (directory / "policy.caps").write_text("[capabilities]\n")
        (directory / "hello.wasm").write_bytes(b"not wasm")
        seal(directory)

        with pytest.raises(RunloopError) as caught:
            await b.run(TEXT)

        assert caught.value.code in {"guest.invalid", "bundle.invalid", "bundle.unsealed"}
        assert b.records == []
