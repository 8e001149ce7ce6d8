"""Compiled guests on disk: native code, so only what this user's Runloop wrote is ever loaded."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import stat
import sys
import threading

import pytest
import wasmtime

from runloop.errors import InvalidInput, Unavailable
from runloop.sandbox import CompiledCache, CompileFailed

CODE = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start")))'))
OTHER = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 2) (func (export "_start") unreachable))'))


class Counting:
    """Gives code and counts how often it was asked for, which is once a compilation."""

    def __init__(self, code: bytes = CODE) -> None:
        self.code = code
        self.asked = 0

    def __call__(self) -> bytes:
        self.asked += 1
        return self.code


@pytest.fixture
def cache(tmp_path):
    return CompiledCache(tmp_path / "cache")


async def _ensure(cache, source, digest="d"):
    return await cache.ensure("wasm32-wasip1", digest, source)


async def test_code_is_compiled_once_and_found_again_by_another_process_of_the_user(cache):
    source = Counting()
    path = await _ensure(cache, source)
    assert await _ensure(CompiledCache(cache.directory), source) == path
    assert source.asked == 1
    assert wasmtime.Module.deserialize_file(_engine(), str(path)).exports[0].name == "memory"


def _engine() -> wasmtime.Engine:
    from runloop.sandbox.engine import new_engine

    return new_engine(fuel=False)


async def test_nothing_is_compiled_into_a_file_system_without_locks(cache, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Unavailable) as raised:
        await _ensure(cache, Counting())
    assert (raised.value.code, raised.value.where.file) == ("system.no_locks", str(cache.directory))


async def test_only_the_user_can_touch_what_is_written(cache):
    await _ensure(cache, Counting())
    modes = {path.name.rpartition(".")[2]: stat.S_IMODE(path.stat().st_mode) for path in cache.directory.iterdir()}
    assert modes == {"cwasm": 0o600, "seal": 0o600, "lock": 0o600, "key": 0o600}
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


SPOILS = {
    "a flipped bit": lambda path, seal: _flip(path),
    "a cut": lambda path, seal: path.write_bytes(path.read_bytes()[:-1]),
    "an appended byte": lambda path, seal: path.write_bytes(path.read_bytes() + b"\0"),
    "an empty file": lambda path, seal: path.write_bytes(b""),
    "a missing seal": lambda path, seal: seal.unlink(),
    "a wrong seal": lambda path, seal: seal.write_text("0" * 64),
    "an empty seal": lambda path, seal: seal.write_text(""),
    "modes that let others write": lambda path, seal: path.chmod(0o666),
    "a seal that others may read": lambda path, seal: seal.chmod(0o644),
    "a second name": lambda path, seal: os.link(path, path.with_name("second")),
}


@pytest.mark.parametrize("name", SPOILS)
async def test_a_spoiled_entry_is_built_again_and_never_loaded(cache, name):
    source = Counting()
    path = await _ensure(cache, source)
    good = path.read_bytes()
    SPOILS[name](path, path.with_suffix(".seal"))
    assert cache.verified("d", fuel=False) is None
    assert await _ensure(cache, source) == path
    assert (source.asked, path.read_bytes()) == (2, good)


async def test_an_entry_under_another_name_is_not_taken(cache):
    first, second = await _ensure(cache, Counting(), "one"), await _ensure(cache, Counting(OTHER), "two")
    for suffix in (".cwasm", ".seal"):
        second.with_suffix(suffix).write_bytes(first.with_suffix(suffix).read_bytes())
    assert cache.verified("two", fuel=False) is None


async def test_an_entry_of_a_cache_with_another_key_is_not_taken(cache, tmp_path):
    path = await _ensure(cache, Counting())
    other = CompiledCache(tmp_path / "other")
    for suffix in (".cwasm", ".seal"):
        target = other.path("d", fuel=False).with_suffix(suffix)
        target.write_bytes(path.with_suffix(suffix).read_bytes())
        target.chmod(0o600)
    assert other.verified("d", fuel=False) is None


async def test_a_symbolic_link_is_not_followed(cache, tmp_path):
    source = Counting()
    path = await _ensure(cache, source)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert cache.verified("d", fuel=False) is None
    assert elsewhere.exists()
    assert not (await _ensure(cache, source)).is_symlink()


async def test_a_lost_or_loose_key_makes_everything_new(cache):
    source = Counting()
    await _ensure(cache, source)
    (cache.directory / "key").chmod(0o644)
    fresh = CompiledCache(cache.directory)
    assert fresh.verified("d", fuel=False) is None
    assert stat.S_IMODE((cache.directory / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_directory_that_others_can_enter_is_refused_with_the_repair(tmp_path, mode):
    directory = tmp_path / "loose"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(InvalidInput) as refused:
        CompiledCache(directory)
    assert refused.value.code == "cache.unsafe"
    assert "chmod 700" in refused.value.hint
    assert "another file system" in refused.value.hint


def test_a_link_to_a_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InvalidInput):
        CompiledCache(tmp_path / "link")


def test_something_else_in_the_place_of_the_cache_is_named_with_the_repair(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable) as refused:
        CompiledCache(tmp_path / "file")
    assert (refused.value.code, refused.value.where.file) == ("cache.unusable", str(tmp_path / "file"))
    assert "XDG_CACHE_HOME" in refused.value.hint


async def test_a_cache_where_nothing_may_be_executed_is_refused_before_anything_runs(cache, monkeypatch):
    real = os.statvfs

    def noexec(path):
        found = real(path)
        return os.statvfs_result((*found[:8], found.f_flag | os.ST_NOEXEC, *found[9:]))

    monkeypatch.setattr(os, "statvfs", noexec)
    counting = Counting()
    with pytest.raises(Unavailable, match="noexec") as refused:
        await _ensure(cache, counting)
    assert (refused.value.code, refused.value.where.file) == ("cache.noexec", str(cache.directory))
    assert "XDG_CACHE_HOME" in refused.value.hint


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_key_that_is_no_file_is_replaced_or_named_and_never_waited_for(cache, make):
    key = cache.directory / "key"
    key.unlink()
    make(key)
    if make is os.mkfifo:
        CompiledCache(cache.directory)
        assert key.is_file()
    else:
        with pytest.raises(Unavailable, match="cannot be used"):
            CompiledCache(cache.directory)


async def test_something_else_in_the_place_of_an_entry_is_removed_or_named(cache):
    entry = cache.path("d", fuel=False)
    os.mkfifo(entry)
    entry.with_suffix(".seal").touch(mode=0o600)
    assert await _ensure(cache, Counting()) == entry
    entry.unlink()
    entry.mkdir()
    with pytest.raises(Unavailable) as refused:
        await _ensure(cache, Counting())
    assert refused.value.code == "cache.unusable"


async def test_a_full_disk_is_told_as_that_and_not_as_bad_code(cache, monkeypatch):
    from runloop.sandbox import cache as module

    real = os.open

    def full(path, flags, *mode):
        full_now = ".cwasm." in str(path) and flags & os.O_CREAT
        return real("/dev/full", os.O_RDWR) if full_now else real(path, flags, *mode)

    monkeypatch.setattr(module.os, "open", full)
    with pytest.raises(Unavailable) as refused:
        await _ensure(cache, Counting())
    assert "No space left" in refused.value.message


async def test_users_who_come_at_once_wait_for_one_compilation(cache):
    source = Counting()
    caches = [cache, CompiledCache(cache.directory), CompiledCache(cache.directory)]
    paths = await asyncio.gather(*(_ensure(one, source) for one in caches * 2))
    assert (len(set(paths)), source.asked) == (1, 1)


async def test_progress_is_told_from_the_beginning_to_the_end(cache):
    told = []
    await cache.ensure("wasm32-wasip1", "d", Counting(), name="the tool", progress=told.append)
    assert (told[0].name, told[0].done, told[-1].done, told[-1].bytes) == ("the tool", False, True, len(CODE))


@pytest.mark.parametrize("kind", ["wasm32-wasip1", "component", "python"])
async def test_code_that_does_not_compile_says_why_and_leaves_nothing(cache, kind):
    with pytest.raises(CompileFailed) as failed:
        await cache.ensure(kind, "d", lambda: b"\0asm nonsense", name="mine")
    assert failed.value.code == "guest.invalid"
    assert "mine" in failed.value.message
    assert [path.name for path in cache.directory.iterdir() if path.suffix not in (".lock", "")] == []


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("sys.stderr.write('panicked: no memory\\nnote: run again'); os.abort()", "signal 6: panicked: no memory"),
        ("sys.exit('MemoryError')", "code 1: MemoryError"),
    ],
)
async def test_a_compiler_that_the_system_ends_says_nothing_of_the_code(cache, monkeypatch, end, said):
    async def started(_module, _arguments, *, keep):
        script = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); sys.stdin.buffer.read(); {end}"
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=pipe, stdout=pipe, stderr=pipe)

    with monkeypatch.context() as patched:
        patched.setattr("runloop.sandbox.process.start_python", started)
        with pytest.raises(Unavailable) as ended:
            await _ensure(cache, Counting())
    assert (ended.value.code, ended.value.message) == (
        "cache.compiler_ended",
        f"guest was not compiled: the compiler was ended with {said}",
    )
    assert "memory" in ended.value.hint
    assert await _ensure(cache, Counting()) == cache.path("d", fuel=False)


async def test_a_cancelled_compilation_leaves_nothing(cache):
    begun = asyncio.Event()
    task = asyncio.create_task(cache.ensure("wasm32-wasip1", "d", Counting(), progress=lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path.name for path in cache.directory.iterdir() if path.suffix not in (".lock", "")] == []
    assert await _ensure(cache, Counting()) == cache.path("d", fuel=False)


def test_code_for_another_processor_configuration_or_fuel_has_another_name(cache, monkeypatch):
    from runloop.sandbox import cache as module

    plain = cache.path("d", fuel=False)
    assert cache.path("d", fuel=True) != plain
    assert cache.path("e", fuel=False) != plain
    module.build_key.cache_clear()
    monkeypatch.setattr(module, "cpu_features", lambda: "another processor")
    assert cache.path("d", fuel=False) != plain
    module.build_key.cache_clear()


async def test_who_stops_while_an_entry_is_sealed_leaves_nothing_and_keeps_nobody_from_it(cache, monkeypatch):
    seal, sealing, go_on = cache.seal, threading.Event(), threading.Event()

    def slowly(name, content):
        sealing.set()
        go_on.wait()
        return seal(name, content)

    monkeypatch.setattr(cache, "seal", slowly)
    task = asyncio.create_task(_ensure(cache, Counting()))
    await asyncio.to_thread(sealing.wait)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    left_early = task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()
    assert not left_early  # the file that is read stays open until then

    path = await _ensure(cache, Counting())

    assert cache.verified("d", fuel=False) == path
    assert [each.name for each in cache.directory.glob(f"{path.name}.*")] == []


async def test_what_a_process_that_was_killed_left_is_in_nobodys_way(cache):
    path = cache.path("d", fuel=False)
    cache.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (f"{path.name}.sealing", f"{path.name}.0123456789abcdef"):
        path.with_name(name).write_bytes(b"half")

    assert await _ensure(cache, Counting()) == path

    assert [each.name for each in cache.directory.glob(f"{path.name}.*")] == []


async def test_what_nobody_looked_up_for_a_month_goes_when_something_else_is_compiled(cache):
    unused, used, killed = (
        await _ensure(cache, Counting(), "unused"),
        await _ensure(cache, Counting(), "used"),
        cache.directory / "x.cwasm.0f.seal",
    )
    killed.touch()
    for each in (unused, unused.with_suffix(".seal"), used, killed):
        os.utime(each, (0, 0))
    assert cache.verified("used", fuel=False) == used

    new = await _ensure(cache, Counting(OTHER), "new")

    left = {each.name for each in cache.directory.iterdir() if each.suffix not in (".lock", "")}
    assert left == {name for path in (used, new) for name in (path.name, path.with_suffix(".seal").name)}


async def test_a_cache_that_was_removed_under_a_process_is_made_again(cache):
    path = await _ensure(cache, Counting())
    shutil.rmtree(cache.directory)

    assert await _ensure(cache, Counting()) == path
    assert CompiledCache(cache.directory).verified("d", fuel=False) == path


async def test_a_key_that_was_removed_under_a_process_does_not_set_it_against_the_next(cache):
    await _ensure(cache, Counting(), "one")
    (cache.directory / "key").unlink()
    other = CompiledCache(cache.directory)
    path, source = await _ensure(other, Counting()), Counting()

    assert await _ensure(cache, source) == path
    assert (other.verified("d", fuel=False), source.asked) == (path, 0)
