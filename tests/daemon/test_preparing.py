"""`runloopd --prepare`: the Python guest is compiled before anybody needs it."""

import os
import subprocess
import sys

from runloop.sandbox.cache import CompiledCache
from runloop.sandbox.guestfile import guest_digest

PREPARE = [sys.executable, "-P", "-m", "runloop.daemon.main", "--prepare"]


def prepare(tmp_path, cache):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache)}
    return subprocess.run(PREPARE, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_preparing_compiles_the_guest_into_the_cache_that_the_daemon_uses_and_starts_none(tmp_path, guest_cache):
    done = prepare(tmp_path, guest_cache)
    path = CompiledCache(guest_cache / "runloop").verified(guest_digest(), fuel=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"the Python guest is compiled: {path}\n", "")
    assert not (tmp_path / ".runloop").exists()


def test_preparing_says_what_is_wrong_with_the_cache(tmp_path):
    cache = tmp_path / "cache" / "runloop"
    cache.mkdir(parents=True)
    cache.chmod(0o755)
    done = prepare(tmp_path, cache.parent)
    assert (done.returncode, "error[cache.unsafe]" in done.stderr) == (2, True)
