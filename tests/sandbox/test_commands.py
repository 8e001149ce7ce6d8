"""Core modules as commands: WASI preview 1 with nothing behind it, and upstream's import module ``runloop``."""

from __future__ import annotations

import json

import msgpack
import pytest
import wasmtime
from tests_sandbox_helpers import START_MS, code_spec

from runloop.sandbox import CallError, CompileFailed, GuestError

SHAPES = {
    "fd_write": "i32 i32 i32 i32", "fd_read": "i32 i32 i32 i32", "args_sizes_get": "i32 i32", "args_get": "i32 i32", "environ_sizes_get": "i32 i32",
    "environ_get": "i32 i32", "fd_prestat_get": "i32 i32", "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32", "fd_readdir": "i32 i32 i32 i64 i32",
    "sock_recv": "i32 i32 i32 i32 i32 i32", "poll_oneoff": "i32 i32 i32 i32", "random_get": "i32 i32", "clock_time_get": "i32 i64 i32",
    "sock_accept": "i32 i32 i32",
}  # fmt: skip
HELPERS = """
  (func $say (param $at i32) (param $size i32)
    (i32.store (i32.const 60000) (local.get $at)) (i32.store (i32.const 60004) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 60000) (i32.const 1) (i32.const 60008))))
  (func $digits (param $n i32) (result i32) (local $at i32)
    (local.set $at (i32.const 61000))
    (loop $more
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (br_if $more (local.tee $n (i32.div_u (local.get $n) (i32.const 10)))))
    (local.get $at))
  (func $number (param $n i32) (local $at i32)
    (if (i32.lt_s (local.get $n) (i32.const 0))
      (then (i32.store8 (i32.const 59999) (i32.const 45)) (call $say (i32.const 59999) (i32.const 1)) (local.set $n (i32.sub (i32.const 0) (local.get $n)))))
    (local.set $at (call $digits (local.get $n)))
    (call $say (local.get $at) (i32.sub (i32.const 61000) (local.get $at))))
"""


def command(
    start: str, *, wasi: tuple[str, ...] = (), runloop: dict[str, tuple[str, str]] | None = None, data: str = "", memory: int = 2
) -> bytes:
    """Make a command from the body of ``_start``, what it imports and its data segments."""
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {SHAPES[name]}) (result i32)))'
        for name in dict.fromkeys(("fd_write", *wasi))
    )
    for name, (parameters, result) in (runloop or {}).items():
        imports += f'(import "runloop" "{name}" (func ${name} (param {parameters}) {f"(result {result})" if result else ""}))'
    exit_import = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    text = f'(module {imports} {exit_import} (memory (export "memory") {memory}) {data} {HELPERS} (func (export "_start") {start}))'
    return bytes(wasmtime.wat2wasm(text))


def _data(content: bytes) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in content)
    return f'(data (i32.const 0) "{escaped}")'


@pytest.fixture
def run(pool, host):
    async def run_one(code: bytes, with_=None, inputs=None, **limits):
        return json.loads((await pool.run(code_spec("wasm32-wasip1", code, with_, inputs, **limits), host)).result_json)

    return run_one


async def test_standard_output_is_the_result(run):
    assert await run(command("(call $say (i32.const 0) (i32.const 12))", data='(data (i32.const 0) "{\\22a\\22: [1]}\\n\\n")')) == {
        "a": [1]
    }


ECHO_ARGS = """
  (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
  (drop (call $args_get (i32.const 1000) (i32.const 2000)))
  (i32.store8 (i32.const 1999) (i32.const 34))
  (local $at i32) (local.set $at (i32.const 2000))
  (loop $next
    (if (i32.eqz (i32.load8_u (local.get $at))) (then (i32.store8 (local.get $at) (i32.const 124))))
    (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.add (i32.const 2000) (i32.load (i32.const 4))))))
  (i32.store8 (local.get $at) (i32.const 34))
  (call $say (i32.const 1999) (i32.add (i32.load (i32.const 4)) (i32.const 2)))
"""


async def test_with_becomes_arguments_strings_verbatim_and_others_as_json(run):
    body = ECHO_ARGS.replace("(local $at i32)", "")
    code = command("(local $at i32) " + body, wasi=("args_sizes_get", "args_get"))
    assert await run(code, {"topic": "two words", "n": 3, "flag": True}) == "tool|--topic|two words|--n|3|--flag|true|"


async def test_the_environment_holds_with_as_json_and_nothing_else(run):
    body = """
      (drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
      (drop (call $environ_get (i32.const 1000) (i32.const 2000)))
      (call $say (i32.const 2019) (i32.sub (i32.load (i32.const 4)) (i32.const 20)))"""
    code = command(body, wasi=("environ_sizes_get", "environ_get"))
    assert await run(code, {"topic": "x", "n": [1]}) == {"topic": "x", "n": [1]}


READ_INPUT = """
  (i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 4000))
  (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (call $say (i32.const 1000) (i32.load (i32.const 8)))"""


async def test_standard_input_holds_the_whole_request(run):
    seen = await run(command(READ_INPUT, wasi=("fd_read",)), {"a": 1}, {"port": [2]})
    assert seen == {
        "with": {"a": 1},
        "inputs": {"port": [2]},
        "run": {"run_id": "0000feed-0000-0000-0000-0000feedface", "node": "n", "attempt": 1},
    }


def _stderr(text: str) -> str:
    return f"""(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const {len(text)}))
      (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))"""


async def test_standard_error_is_logged_and_does_not_fail_the_agent(run, host):
    code = command(
        _stderr("careful\nagain") + "(call $say (i32.const 200) (i32.const 1))",
        data='(data (i32.const 100) "careful\\nagain") (data (i32.const 200) "7")',
    )
    assert await run(code) == 7
    assert host.logged() == [("warn", "careful"), ("warn", "again")]


@pytest.mark.parametrize(("code", "fails"), [(0, False), (1, True), (255, True)])
async def test_the_exit_code_decides(run, host, code, fails):
    module = command(
        f"{_stderr('why')} (call $say (i32.const 200) (i32.const 1)) (call $exit (i32.const {code})) unreachable",
        data='(data (i32.const 100) "why") (data (i32.const 200) "7")',
    )
    if not fails:
        assert await run(module) == 7
    else:
        with pytest.raises(GuestError) as failed:
            await run(module)
        assert (failed.value.code, failed.value.message) == ("guest.exception", f"the agent ended with exit code {code}\nwhy")
    assert host.logged() == [("warn", "why")]  # a line that has no end


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", "wrote nothing"),
        ("{", "not valid JSON"),
        ("NaN", "NaN"),
        ("[" * 60 + "]" * 60, "nested deeper"),
        ("99999999999999999999", "2^53"),
        ("\\ff\\fe", "UTF-8"),
    ],
)
async def test_output_that_is_no_json_document_fails(run, output, said):
    size = 2 if output.startswith("\\ff") else len(output)
    with pytest.raises(GuestError) as failed:
        await run(command(f"(call $say (i32.const 0) (i32.const {size}))", data=f'(data (i32.const 0) "{output}")'))
    assert failed.value.code == "guest.result"
    assert said in failed.value.message


async def test_notes_on_standard_output_are_told_with_their_beginning_and_where_they_belong(run):
    with pytest.raises(GuestError) as failed:
        await run(command("(call $say (i32.const 0) (i32.const 12))", data='(data (i32.const 0) "working on it")'))
    assert failed.value.message.endswith("its standard output begins with 'working on i'")
    assert "standard error" in failed.value.hint


async def test_the_last_words_of_a_command_that_crashes_are_told_and_logged(run, host):
    with pytest.raises(GuestError) as failed:
        await run(command(f"{_stderr('no key')} unreachable", data='(data (i32.const 100) "no key")'))
    assert (failed.value.code, failed.value.message.splitlines()[-1]) == ("guest.trap", "no key")
    assert host.logged() == [("warn", "no key")]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("fd_prestat_get", "(call $fd_prestat_get (i32.const 3) (i32.const 0))"),
        ("path_open", "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0))"),
        ("fd_readdir", "(call $fd_readdir (i32.const 3) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0))"),
        ("sock_accept", "(call $sock_accept (i32.const 3) (i32.const 0) (i32.const 0))"),
        ("fd_read", "(call $fd_read (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 0))"),
    ],
)  # fmt: skip
async def test_files_directories_and_sockets_do_not_exist(run, name, body):
    code = command(f"(call $number {body})", wasi=(name,))
    assert await run(code) in (8, 52)


@pytest.mark.parametrize(
    ("body", "limits", "code"),
    [
        ("(loop $for_ever (br $for_ever))", {"wall_ms": 100}, "guest.timeout"),
        ("(loop $for_ever (br $for_ever))", {"fuel": 1_000_000}, "guest.fuel"),
        ("(drop (call $kb_read (i32.const 0) (i32.const 3)))", {"hostcalls": 0}, "guest.hostcalls"),
        ("(drop (call $kb_read (i32.const 0) (i32.const 3)))", {}, "guest.trap"),
        ("unreachable", {}, "guest.trap"),
    ],
    ids=["timeout", "fuel", "hostcalls", "denied", "crashed"],
)
async def test_a_command_that_is_stopped_has_said_what_it_had_begun_to_say(run, host, body, limits, code):
    host.answers["kb.get"] = host.answers["kb.search"] = CallError("denied", "no")
    say = "(i32.store (i32.const 60000) (i32.const 0)) (i32.store (i32.const 60004) (i32.const 8))"
    say += " (drop (call $fd_write (i32.const 2) (i32.const 60000) (i32.const 1) (i32.const 60008)))"
    with pytest.raises(GuestError) as failed:
        await run(command(say + body, runloop={"kb_read": ("i32 i32", "i32")}, data='(data (i32.const 0) "one\\0atwo!")'), **limits)
    assert (failed.value.code, host.logged()) == (code, [("warn", "one"), ("warn", "two!")])


@pytest.mark.parametrize(
    ("body", "limits", "code"),
    [
        ("(loop $for_ever (br $for_ever))", {"wall_ms": 100}, "guest.timeout"),
        ("(loop $for_ever (br $for_ever))", {"fuel": 1_000_000}, "guest.fuel"),
        ("(loop $more (call $say (i32.const 0) (i32.const 5000)) (br $more))", {"output_bytes": 50_000}, "guest.output"),
        ("(loop $more (call $say (i32.const 0) (i32.const 0)) (br $more))", {"wall_ms": 100}, "guest.timeout"),
        ("(if (i32.ne (memory.grow (i32.const 10000)) (i32.const -1)) (then unreachable)) (call $say (i32.const 0) (i32.const 1))", {}, None),
        ("unreachable", {}, "guest.trap"),
        ("(drop (i32.load (i32.const -1)))", {}, "guest.trap"),
        ("(drop (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 0)))", {}, "guest.trap"),
        ("(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0)))", {}, "guest.trap"),
        ("(call $say (i32.const 0) (i32.const -1))", {}, "guest.output"),
        ("(call $say (i32.const 131000) (i32.const 1000))", {}, "guest.trap"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", {}, "guest.trap"),
        ("(call $digits (call $digits (i32.const 1))) (call $exit) unreachable", {}, "guest.exception"),
    ],
)  # fmt: skip
async def test_a_hostile_command_ends_with_its_own_error(run, body, limits, code):
    module = command(body, data='(data (i32.const 0) "1")')
    if code is None:
        assert await run(module, memory_bytes=1 << 20, **limits) == 1
        return
    with pytest.raises(GuestError) as failed:
        await run(module, **limits)
    assert failed.value.code == code
    assert await run(command("(call $number (i32.const 5))")) == 5


async def test_recursion_in_a_command_is_a_trap_that_says_so(pool, host):
    code = bytes(
        wasmtime.wat2wasm(
            '(module (memory (export "memory") 1) (func $f (call $f) (drop (i32.const 0))) (func (export "_start") (call $f)))'
        )
    )
    with pytest.raises(GuestError, match="call stack exhausted"):
        await pool.run(code_spec("wasm32-wasip1", code), host)


async def test_waiting_on_a_clock_is_a_timer_call(run, host):
    body = """(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 2500000))
      (call $number (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))"""
    assert await run(command(body, wasi=("poll_oneoff",))) == 0
    assert host.calls == [("timer.sleep", {"ms": 3})]


async def test_code_that_is_no_webassembly_is_refused_with_the_reason(pool, host):
    with pytest.raises(CompileFailed, match="does not compile"):
        await pool.run(code_spec("wasm32-wasip1", b"not wasm"), host)
    with pytest.raises(CompileFailed, match=r"does not compile: unexpected end"):
        await pool.run(code_spec("wasm32-wasip1", b"\0asm\1\0\0\0\1\x40"), host)


async def test_a_module_with_unknown_imports_or_no_start_is_refused_with_the_reason(pool, host):
    for text, said in (
        ('(module (import "env" "evil" (func)) (func (export "_start")) (func))', "`env::evil`"),
        ("(module (func))", "_start"),
    ):
        with pytest.raises(CompileFailed, match=said) as failed:
            await pool.run(code_spec("wasm32-wasip1", bytes(wasmtime.wat2wasm(text))), host)
        assert failed.value.code == "guest.invalid"


# -- the import module runloop

TWO = ("i32 i32", "i32")
SIX = ("i32 i32 i32 i32 i32 i32", "i32")


async def test_time_now_gives_virtual_microseconds(run):
    body = "(call $number (i32.wrap_i64 (i64.div_u (call $time_now) (i64.const 1000000))))"
    assert await run(command(body, runloop={"time_now": ("", "i64")})) == START_MS // 1000


async def test_exec_spawn_gives_the_exit_status_and_capture_gives_the_output(run, host):
    host.answers["exec.run"] = {"exit_code": 0, "stdout": "hi", "stderr": "", "timed_out": False, "truncated": False}
    code = command(
        "(call $number (call $exec_spawn (i32.const 0) (i32.const 4)))", runloop={"exec_spawn": TWO}, data='(data (i32.const 0) "true")'
    )
    assert await run(code) == 0
    assert host.calls == [("exec.run", {"argv": ["true"]})]
    body = """(call $number (call $exec_spawn_capture (i32.const 0) (i32.const 9) (i32.const 100) (i32.const 32) (i32.const 200) (i32.const 32)))
      (i32.store8 (i32.const 103) (i32.const 34)) (i32.store8 (i32.const 106) (i32.const 34))
      (drop (i32.const 0))"""
    code = command(body, runloop={"exec_spawn_capture": SIX}, data='(data (i32.const 0) "printf hi")')
    assert await run(code) == 0
    show = "(drop (call $exec_spawn_capture (i32.const 0) (i32.const 9) (i32.const 100) (i32.const 32) (i32.const 200) (i32.const 32))) (call $number (i32.load (i32.const 100)))"
    assert await run(command(show, runloop={"exec_spawn_capture": SIX}, data='(data (i32.const 0) "printf hi")')) == 2


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("git log --format='%h (%s)' -n1", ["git", "log", "--format=%h (%s)", "-n1"]), ('\t printf  "a b"\'c d\' ', ["printf", "a bc d"]),
        ("true; false", None), ("true && false", None), ("cat a|wc", None), ("echo hi > f", None), ("echo $HOME", None), ('echo "$HOME"', None),
        ("echo `id`", None), ("ls *.py", None), ("ls ~", None), ("A=1 env", None), ("true\nfalse", None), ("echo 'open", None), (" ", None),
        ("echo a\\ b", None), ("true # why", None),
    ],
)  # fmt: skip
async def test_a_command_line_is_words_and_what_needs_a_shell_is_refused_and_said(run, host, line, argv):
    host.answers["exec.run"] = {"exit_code": 0}
    text = line.encode()
    body = f"(call $number (call $exec_spawn (i32.const 0) (i32.const {len(text)})))"
    assert await run(command(body, runloop={"exec_spawn": TWO}, data=_data(text))) == (-1 if argv is None else 0)
    assert [name for name, _ in host.calls] == (["emit.log"] if argv is None else ["exec.run"])
    assert argv is None or host.calls[0][1] == {"argv": argv}


async def test_of_a_long_command_line_that_is_not_run_the_beginning_is_said(run, host):
    body = """(memory.fill (i32.const 0) (i32.const 59) (i32.const 65536))
      (call $number (call $exec_spawn (i32.const 0) (i32.const 65536)))"""
    assert await run(command(body, runloop={"exec_spawn": TWO}, memory=4)) == -1
    [(level, text)] = host.logged()
    assert (level, text.count(";")) == ("warn", 1001)


@pytest.mark.parametrize(("beyond", "name"), [(0, "exec.run"), (1, "emit.log")])
async def test_a_command_line_has_an_end(run, host, beyond, name):
    """To split one of megabytes takes longer than a guest may run, and nobody in that worker would go on meanwhile."""
    host.answers["exec.run"] = {"exit_code": 0}
    size = 65_536 + beyond
    body = f"""(memory.fill (i32.const 65536) (i32.const 97) (i32.const {size}))
      (call $number (call $exec_spawn (i32.const 65536) (i32.const {size})))"""
    assert await run(command(body, runloop={"exec_spawn": TWO}, memory=4)) == -beyond
    assert [called for called, _ in host.calls] == [name]
    assert not beyond or host.logged() == [("warn", "not run: the command line has 65537 characters; at most 65536 are taken")]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"exit_code": 7}, 7), ({"exit_code": None, "timed_out": True}, -3), ({"exit_code": -9}, -3), (CallError("unavailable", "no"), -2),
        (CallError("invalid", "no"), -1), ({"exit_code": 0, "stdout": "x" * 100}, -4), ({"exit_code": 0, "truncated": True}, -4),
    ],
)  # fmt: skip
async def test_exec_codes_are_upstreams(run, host, answer, status):
    host.answers["exec.run"] = answer
    body = "(call $number (call $exec_spawn_capture (i32.const 0) (i32.const 1) (i32.const 100) (i32.const 32) (i32.const 200) (i32.const 32)))"
    assert await run(command(body, runloop={"exec_spawn_capture": SIX}, data='(data (i32.const 0) "x")')) == status


@pytest.mark.parametrize(
    ("answer", "out_cap", "status"),
    [
        ({"text": "hi there", "tokens_in": 3, "tokens_out": 2, "provider": "local", "model": "m", "cached": False}, 100, 8),
        ({"text": "hi there"}, 4, -6), (CallError("budget", "x"), 100, -2), (CallError("timeout", "x"), 100, -3),
        (CallError("unavailable", "x"), 100, -4), (CallError("invalid", "x"), 100, -5), (CallError("cancelled", "x"), 100, -7),
    ],
)  # fmt: skip
async def test_model_complete_takes_messagepack_and_answers_with_upstreams_codes(run, host, answer, out_cap, status):
    host.answers["model.complete"] = answer
    request = msgpack.packb({"model": "m", "prompt": "hi", "role_system": "be brief", "params": {"max_tokens": 5}})
    data = _data(request)
    body = f"(call $number (call $model_complete (i32.const 0) (i32.const {len(request)}) (i32.const 500) (i32.const {out_cap}) (i32.const 900) (i32.const 300)))"
    assert await run(command(body, runloop={"model_complete": SIX}, data=data)) == status
    assert host.calls[0] == ("model.complete", {"prompt": "hi", "system": "be brief", "model": "m", "max_tokens": 5})


@pytest.mark.parametrize(
    ("request_", "status"), [(b"\xc1", -5), (msgpack.packb({"model": "m"}), -5), (msgpack.packb({"prompt": "p", "stream": True}), -1)]
)
async def test_model_requests_that_cannot_be_used_do_not_reach_the_host(run, host, request_, status):
    data = _data(request_)
    body = f"(call $number (call $model_complete (i32.const 0) (i32.const {len(request_)}) (i32.const 500) (i32.const 100) (i32.const 0) (i32.const 0)))"
    assert await run(command(body, runloop={"model_complete": SIX}, data=data)) == status
    assert host.calls == []


LARGE = 4 << 20
PADDED = msgpack.packb({"prompt": "hi", "pad": bytes(LARGE)})[:-LARGE]


@pytest.mark.parametrize(
    ("call", "kind", "head", "status"),
    [
        (f"$model_complete (i32.const 0) (i32.const {len(PADDED) + LARGE})" + " (i32.const 500) (i32.const 100) (i32.const 0) (i32.const 0)", SIX, PADDED, -5),
        (f"$kb_write (i32.const 0) (i32.const {LARGE + 1})", TWO, b'{"kind":"note"}', -1),
    ],
)  # fmt: skip
async def test_a_request_that_is_too_large_is_not_taken_apart(run, host, call, kind, head, status):
    """What is an empty list in it takes a byte there, and seventy here."""
    host.answers |= {"model.complete": {"text": "hi"}, "kb.propose": {"event_id": 9}}
    fill = f"(memory.fill (i32.const {len(head)}) (i32.const 32) (i32.const {LARGE}))"
    code = command(f"{fill} (call $number (call {call}))", runloop={call[1:].split()[0]: kind}, data=_data(head), memory=66)
    assert await run(code) == status
    assert host.calls == []


@pytest.mark.parametrize(
    ("budget", "max_tokens", "status", "asked"),
    [(1, None, -2, None), (3, None, -2, None), (10, None, 2, 7), (10, 5, 2, 5), (10, 50, 2, 7), (None, 50, 2, 50), ("ten", None, -5, None)],
)
async def test_budget_tokens_bound_prompt_and_answer_together(run, host, budget, max_tokens, status, asked):
    host.answers["model.complete"] = {"text": "hi"}
    request = msgpack.packb({"prompt": "eight by", "role_system": "four", "budget_tokens": budget, "params": {"max_tokens": max_tokens}})
    body = f"(call $number (call $model_complete (i32.const 0) (i32.const {len(request)}) (i32.const 500) (i32.const 100) (i32.const 0) (i32.const 0)))"
    assert await run(command(body, runloop={"model_complete": SIX}, data=_data(request))) == status
    assert [args.get("max_tokens") for _, args in host.calls] == ([asked] if asked else [])


@pytest.mark.parametrize("said", ["host_not_permitted", "capability denied: net.http (host_not_permitted)"])
async def test_a_denied_capability_traps_as_upstream_does_and_says_so_once(said, run, host):
    host.answers["http.fetch"] = CallError("denied", said)
    with pytest.raises(GuestError) as failed:
        await run(
            command(
                "(call $number (call $http_request (i32.const 0) (i32.const 8)))",
                runloop={"http_request": TWO},
                data='(data (i32.const 0) "http://x")',
            )
        )
    assert (failed.value.code, failed.value.message) == ("guest.trap", "capability denied: net.http (host_not_permitted)")


async def test_http_kb_and_secrets_forward_to_their_hostcalls(run, host):
    host.answers = {"http.fetch": {"status": 204}, "kb.propose": {"event_id": 9}, "secrets.handle": {"handle": "rlsec_abc"}}
    runloop = {"http_request": TWO, "kb_read": TWO, "kb_write": TWO, "resolve_secret": TWO, "notify_ready": ("", "")}
    body = """(call $notify_ready) (call $number (call $http_request (i32.const 0) (i32.const 8)))
      (call $say (i32.const 99) (i32.const 1))"""
    assert await run(command(body, runloop=runloop, data='(data (i32.const 0) "http://x") (data (i32.const 99) " ")')) == 204
    assert (
        await run(
            command("(call $number (call $kb_read (i32.const 0) (i32.const 5)))", runloop=runloop, data='(data (i32.const 0) "notes")')
        )
        == 0
    )
    proposal = "{\\22kind\\22:\\22note\\22}"
    assert (
        await run(
            command(
                "(call $number (call $kb_write (i32.const 0) (i32.const 15)))", runloop=runloop, data=f'(data (i32.const 0) "{proposal}")'
            )
        )
        == 9
    )
    secret = """(i32.store8 (i32.const 99) (i32.const 34)) (i32.store8 (i32.add (i32.const 100) (call $resolve_secret (i32.const 100) (i32.const 4))) (i32.const 34))
      (call $say (i32.const 99) (i32.const 11))"""
    assert await run(command(secret, runloop=runloop, data='(data (i32.const 100) "name")')) == "rlsec_abc"
    assert host.calls[1:3] == [("kb.search", {"query": "notes", "domains": ["notes"], "limit": 1}), ("kb.propose", {"kind": "note"})]


async def test_the_mailbox_describes_and_gives_the_request_once(run):
    runloop = {"mailbox_peek_meta": TWO, "mailbox_recv": TWO}
    peek = "(call $say (i32.const 100) (call $mailbox_peek_meta (i32.const 100) (i32.const 500)))"
    meta = {
        "trace_id": "0000feed00000000000000000000feedface"[:12] + "0" * 12 + "feedface",
        "msg_id": 1,
        "created_at_ms": START_MS,
        "ttl_ms": 30000,
        "schema_id": 4000,
    }
    seen = await run(command(peek, runloop=runloop))
    assert {**seen, "trace_id": seen["trace_id"][-8:]} == {**meta, "trace_id": "feedface"}
    body = "(call $say (i32.const 100) (call $mailbox_recv (i32.const 100) (i32.const 900)))"
    assert (await run(command(body, runloop=runloop), {"a": 1}))["with"] == {"a": 1}
    twice = (
        "(drop (call $mailbox_recv (i32.const 100) (i32.const 900))) (call $number (call $mailbox_recv (i32.const 100) (i32.const 900)))"
    )
    assert await run(command(twice, runloop=runloop)) == 0
    with pytest.raises(GuestError, match="the guest's buffer 3"):
        await run(command("(drop (call $mailbox_recv (i32.const 100) (i32.const 3)))", runloop=runloop))


async def test_call_and_take_reach_every_hostcall(run, host):
    host.answers["kb.get"] = {"key": "k"}
    runloop = {"call": ("i32 i32 i32 i32", "i32"), "take": TWO}
    data = '(data (i32.const 0) "kb.get") (data (i32.const 10) "{\\22key\\22:\\22k\\22}")'
    body = "(drop (call $call (i32.const 0) (i32.const 6) (i32.const 10) (i32.const 11))) (call $say (i32.const 100) (call $take (i32.const 100) (i32.const 900)))"
    assert await run(command(body, runloop=runloop, data=data)) == {"key": "k"}
    assert host.calls == [("kb.get", {"key": "k"})]
    for name, code in (("kb.get", -1), ("kb.no!", -2)):
        host.answers["kb.get"] = CallError("denied", "no", "ask")
        refused = data.replace('"kb.get"', f'"{name}"')
        body = "(call $number (call $call (i32.const 0) (i32.const 6) (i32.const 10) (i32.const 11)))"
        assert await run(command(body, runloop=runloop, data=refused)) == code
