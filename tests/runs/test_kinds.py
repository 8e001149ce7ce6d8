"""Agents of the other kinds run in openings like Python ones: same records, same journal, same replay."""

import pytest
import wasmtime

from runloop.bundles.seal import seal
from runloop.effects.perform.exec import ExecRun
from runloop.effects.perform.kb import KbSearch
from runloop.effects.perform.paths import PathRules
from runloop.kb import KnowledgeBase
from runloop.kb.search import DOMAINS
from runloop.runs.ports import KnowledgeForAgents
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


ASKS = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "runloop" "{function}" (func $asks (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "{text}") (data (i32.const 200) "0")
  (func (export "_start")
    (if (call $asks (i32.const 100) (i32.const {size})) (then (i32.store8 (i32.const 200) (i32.const 57))))
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


@pytest.mark.parametrize(
    ("function", "text", "grants", "answer"),
    [
        ("kb_read", "notes", 'kb_read = ["notes"]', 0), ("kb_read", "nonsense", "kb_read = true", 9),
        ("kb_read", "contacts", 'kb_read = ["notes"]', "capability denied: kb.read (namespace_not_permitted) for contacts"),
        ("exec_spawn", "true", 'exec = { read_only = [["true"]] }', 0),
        ("exec_spawn", "true", "", "capability denied: exec.spawn (cap_missing) for true"),
        ("exec_spawn", "true && true", 'exec = { read_only = [["true"]] }', 9),
    ],
)  # fmt: skip
async def test_upstreams_functions_reach_the_hosts_own_answers(bench, tmp_path, function, text, grants, answer):
    async with bench() as b:
        with KnowledgeBase.open(tmp_path / "pog") as kb:
            b.services.performers["kb.search"] = KbSearch(KnowledgeForAgents(kb), DOMAINS)
            b.services.performers["exec.run"] = ExecRun(PathRules(home=str(tmp_path)))
            await _ask(b, function, text, grants)
        [ended] = b.metas("node.finished")
        assert (ended["outputs"]["out"][0] if "outputs" in ended else ended["error"]["message"]) == answer
        if isinstance(answer, str):  # a denial has its own code, and so its exit code, though the guest ended by a trap
            assert b.metas("run.finished")[0]["error"]["code"].startswith("denied.")
            assert "policy.caps" in b.metas("run.finished")[0]["error"]["hint"]


async def _ask(b, function, text, grants):
    """Run a module that gives 0 where the function answers 0, else 9."""
    directory = b.agents_dir / "hello"
    directory.mkdir(parents=True)
    (directory / "manifest.toml").write_text(MANIFEST)
    (directory / "policy.caps").write_text(f"[capabilities]\n{grants}\n")
    code = ASKS.replace("{function}", function).replace("{text}", text).replace("{size}", str(len(text)))
    (directory / "hello.wasm").write_bytes(wasmtime.wat2wasm(code))
    assert seal(directory)[1] == []
    await b.run(TEXT)


async def test_a_module_that_is_no_webassembly_is_refused_before_anything_is_recorded(bench):
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
