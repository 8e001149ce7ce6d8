"""A daemon that is killed with SIGKILL at places of its runs; `scripts/crash --all` takes all of them, this a sample."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from home import LETTER  # noqa: E402 - tests are no package
from sweep import Crash, Sweep, places_of, random_opening  # noqa: E402

SAMPLE = 8


@pytest.fixture(scope="module")
def sweep(guest_cache):
    with Sweep(guest_cache, jobs=2) as made:
        yield made


def told(found):
    def tell(crash, problems):
        if problems:
            found[crash.about] = problems

    return tell


@pytest.mark.slow
def test_the_letter_comes_to_the_same_wherever_the_daemon_dies(sweep):
    places = sweep.undisturbed(LETTER).places[0]
    letter = sweep.undisturbed(LETTER)
    assert (letter.status, letter.mails, letter.problems, letter.outputs["send"]) == ("succeeded", 1, [], {"out": ["sent"]})
    mail = [number for number, place in enumerate(places, 1) if "mail.send" in place]
    step = len(places) / SAMPLE
    chosen = sorted({*mail, *(1 + int(step * number) for number in range(SAMPLE))})
    failed = {}
    sweep.run([Crash(LETTER, (place,), about=places[place - 1]) for place in chosen], told(failed))
    assert failed == {}


@pytest.mark.slow
def test_the_letter_comes_to_the_same_when_workers_are_lost_and_the_daemon_dies_twice(sweep):
    places = places_of(sweep, LETTER)
    crashes = [Crash(LETTER, (), places // 3, "a worker"), Crash(LETTER, (places // 2, places // 4), places // 5, "all of it")]
    failed = {}
    sweep.run(crashes, told(failed))
    assert failed == {}


def test_random_openings_are_openings_that_differ():
    from runloop.openings import parse_opening

    texts = {random_opening(random.Random(seed)) for seed in range(200)}
    assert len(texts) > 150
    assert {len(parse_opening(text).nodes) for text in texts} == {1, 2, 3, 4, 5, 6}


@pytest.mark.slow
def test_the_demonstration_ends_with_nothing_paid_or_sent_twice(guest_cache):
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    command = [sys.executable, "-P", str(ROOT / "scripts" / "demo_durable.py")]
    done = subprocess.run(
        command,
        env={**kept, "XDG_CACHE_HOME": str(guest_cache)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for expected in (
        "$ kill -9 ",
        "asked twice: 1, only the call that was in flight",
        "mails on the mail server: 1; the model was asked 5 times",
        "== replayed from the record, with nothing that could act",
        "== done: nothing was paid for or sent twice",
    ):
        assert expected in done.stdout, done.stdout
