"""A run goes on with the Python guest that it began with, whatever is installed meanwhile."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import stat
from types import SimpleNamespace

import pytest
from tests_sandbox_helpers import SEED, START_MS, Host, python_spec

from runloop.errors import InvalidInput, Unavailable
from runloop.sandbox import CompiledCache, Limits, WorkerPool, guest_digest, guestfile, keep_guest, kept
from runloop.sandbox import execution as execution_module
from runloop.sandbox.execution import Execution, Stopped
from runloop.sandbox.guestfile import WASM, guest_code
from runloop.sandbox.guests import Guests
from runloop.sandbox.job import Job
from runloop.sandbox.kept import kept_code, kept_path


def test_the_installed_guest_is_kept_once_as_a_link_to_the_installed_file(tmp_path):
    assert keep_guest(tmp_path) == guest_digest()
    path = kept_path(tmp_path, guest_digest())
    assert (path.parent.stat().st_mode & 0o777, list(path.parent.iterdir())) == (0o700, [path])
    first = path.stat()
    assert (first.st_ino, first.st_size) == (WASM.stat().st_ino, WASM.stat().st_size) or first.st_dev != WASM.stat().st_dev
    assert keep_guest(tmp_path) == guest_digest()
    assert path.stat().st_ino == first.st_ino
    assert kept_code(tmp_path, guest_digest()) == guest_code()


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM])
def test_where_no_link_can_be_made_the_guest_is_copied(tmp_path, monkeypatch, reason):
    def refuse(*_paths):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(kept.os, "link", refuse)
    keep_guest(tmp_path)
    path = kept_path(tmp_path, guest_digest())
    assert path.stat().st_ino != WASM.stat().st_ino
    assert path.read_bytes() == WASM.read_bytes()


def test_a_copy_is_this_users_alone_whatever_the_umask_is(tmp_path, monkeypatch):
    def refuse(_source, _target):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(kept.os, "link", refuse)
    before = os.umask(0)
    try:
        digest = keep_guest(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept_path(tmp_path, digest).stat().st_mode) == 0o600


def test_a_guest_that_cannot_be_kept_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(*_paths):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(kept.os, "link", refuse)
    with pytest.raises(OSError, match="no space"):
        keep_guest(tmp_path)
    assert list((tmp_path / "guests").iterdir()) == []


@pytest.mark.parametrize(("content", "said"), [(None, "not there"), (b"other", "another content")])
def test_a_guest_that_is_not_kept_or_was_changed_is_refused_with_what_to_do(tmp_path, content, said):
    digest = "ab" * 32
    if content is not None:
        kept_path(tmp_path, digest).parent.mkdir()
        kept_path(tmp_path, digest).write_bytes(content)
    with pytest.raises(Unavailable, match=said) as refused:
        kept_code(tmp_path, digest)
    error = refused.value
    assert (error.code, error.retryable, error.where.file) == ("guest.not_kept", False, str(kept_path(tmp_path, digest)))
    assert "fork" in error.hint


async def test_a_pool_without_kept_guests_refuses_another_guest_than_the_installed(pool):
    with pytest.raises(Unavailable) as refused:
        await pool.run(dataclasses.replace(python_spec("def run(): return 1"), guest="ab" * 32), Host())
    assert (refused.value.code, pool.live) == ("guest.not_kept", 0)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "AB" * 32])
def test_what_is_no_digest_of_a_guest_is_refused(digest):
    with pytest.raises(InvalidInput) as refused:
        dataclasses.replace(python_spec("def run(): return 1"), guest=digest)
    assert refused.value.code == "guest.digest"


async def test_a_kept_guest_runs_beside_the_installed_one(cache_dir, tmp_path, monkeypatch):
    note = b"\x04note" + b"kept"
    other = guest_code() + b"\x00" + bytes([len(note)]) + note  # a custom section: the same guest with another digest
    digest = hashlib.blake2b(other, digest_size=32).hexdigest()
    kept_path(tmp_path, digest).parent.mkdir()
    kept_path(tmp_path, digest).write_bytes(other)
    compiled, ensure = [], CompiledCache.ensure

    async def compile_installed(self, kind, named, code, **rest):
        compiled.append((named, code()))
        return await ensure(self, kind, guest_digest(), guest_code, **rest)  # compiling the same guest again would take half a minute

    monkeypatch.setattr(CompiledCache, "ensure", compile_installed)
    spec = python_spec("def run(): return 1")
    async with WorkerPool(cache_dir, workers=1, kept=tmp_path) as pool:
        for guest in (digest, None, guest_digest(), digest):
            assert (await pool.run(dataclasses.replace(spec, guest=guest), Host())).result_json == "1"
    assert compiled == [(digest, other), (guest_digest(), guest_code())]


def test_bytecode_of_one_guest_is_not_given_to_another(monkeypatch):
    guests, compiled = Guests(), []

    def compile_one(prepared, sources, execution):
        compiled.append(sources)
        return '{"made": "here"}'

    monkeypatch.setattr(guests, "_compile", compile_one)
    execution = Execution(Limits(), SEED, START_MS, None)
    message = {"digest": "d", "sources": "{}", "data": "{}", "entry": "agent.py", "seed": SEED, "request": "{}"}
    for path in ("one", "other", "one"):
        guests._wrapped(None, execution, {**message, "path": path})
    assert len(compiled) == 2


@pytest.mark.parametrize(("ends_s", "wall_ms", "made"), [(50, 300_000, '{"a.py": ""}'), (None, 300_000, "{}"), (None, 1000, "{}")])
def test_compiling_has_its_time_by_the_processor_and_no_longer_than_the_pool_grants(monkeypatch, ends_s, wall_ms, made):
    clock = SimpleNamespace(cpu=0.0, monotonic=lambda: 4 * clock.cpu, thread_time=lambda: clock.cpu)  # a machine with much else to do
    monkeypatch.setattr(execution_module, "time", clock)

    class Compiler:
        def run(self, execution, _request):
            while clock.cpu != ends_s:
                if execution.must_stop():
                    raise Stopped
                clock.cpu += 1
            return True, '{"a.py": ""}'

    assert Guests()._compile(Compiler(), "{}", Execution(Limits(wall_ms=wall_ms), SEED, START_MS, None)) == made
    assert clock.cpu == {50: 50, None: 61 if wall_ms > 1000 else 3}[ends_s]


async def test_the_time_of_compiling_is_not_the_guests_and_told_once(cache_dir, monkeypatch):
    compiled, told = Job.compiled, []

    def note(job):
        told.append(job.number)
        compiled(job)

    monkeypatch.setattr(Job, "compiled", note)
    async with WorkerPool(cache_dir, workers=1) as pool:
        for _ in range(2):
            await pool.run(python_spec("def run(): return 1"), Host())
    assert told == [1]
    seconds = iter([100.0, 170.0])
    job = Job(1, Host(), 60.0, None, clock_s=lambda: next(seconds))
    assert job.overdue(175.0, 10.0)
    job.compiled()
    assert (job.overdue(175.0, 10.0), job.overdue(241.0, 10.0)) == (False, True)
    with pytest.raises(ValueError, match="twice"):
        job.compiled()


def test_a_process_whose_guest_was_replaced_takes_nothing_else_for_it(tmp_path, monkeypatch):
    other = tmp_path / "python.wasm"
    monkeypatch.setattr(guestfile, "WASM", other)
    monkeypatch.setattr(kept, "WASM", other)
    for content in (None, b"that of another version"):
        if content is not None:
            other.write_bytes(content)
            with pytest.raises(Unavailable) as refused:
                keep_guest(tmp_path)
            assert (refused.value.code, list((tmp_path / "guests").iterdir())) == ("guest.replaced", [])
        with pytest.raises(Unavailable) as refused:
            guest_code()
        assert (refused.value.code, refused.value.where.file, "rlp up" in refused.value.hint) == ("guest.replaced", str(other), True)


@pytest.mark.parametrize(("rest_s", "stays"), [(-60.0, False), (60.0, True)])
def test_what_a_killed_process_left_of_a_copy_is_removed_before_the_next_one_needs_the_room(tmp_path, monkeypatch, rest_s, stays):
    monkeypatch.setattr(kept, "_LEFT_S", rest_s)
    left = tmp_path / "guests" / f"{guest_digest()}.wasm.0123456789abcdef"
    other = tmp_path / "guests" / "of-another.wasm"
    left.parent.mkdir()
    for path in (left, other):
        path.write_bytes(b"half")

    keep_guest(tmp_path)

    assert (left.exists(), other.exists()) == (stays, True)
