"""The crash sweep: the same run again and again, each time with a daemon that kills itself with SIGKILL at another place.

`scripts/crash --all` takes every place of the letter, `scripts/crash N` takes N random places of random openings. What a person and the
world see in the end (outputs, hash, costs, mails, what the model was asked) must be what they see of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import local

from home import AGENTS, Home

SINGLE = tuple(AGENTS)
PORT_OF = {"writer": "plan", "moody": "plan", "sender": "text"}


@dataclass(frozen=True)
class Crash:
    """One run of the sweep: its opening, the places at which the daemon dies, and the one at which it loses a worker."""

    opening: str
    die_at: tuple = ()
    worker_at: int = 0
    about: str = ""


def random_opening(chance):
    """An opening of one to six of the letter's agents, joined at random."""
    size, nodes, edges = chance.randint(1, 6), [], []
    for number in range(size):
        kind = chance.choice((*SINGLE, "nested", "moody", "sender"))
        use = "opening:nested" if kind == "nested" else f"agent:{kind}"
        retry = ", retry: {max_attempts: 9, initial_ms: 10, max_ms: 20}" if kind == "moody" else ""
        nodes.append((f"n{number}", kind, f'  - {{id: n{number}, use: "{use}"{retry}, on_failure: continue}}'))
        for source in sorted(set(chance.choices(range(number), k=chance.randint(0, 2)))) if number else ():
            port = "in" if nodes[source][1] == "nested" else PORT_OF.get(kind, "in")
            edges.append(f"  - {{from: n{source}.out, to: n{number}.{port}}}")
    listed = "\n".join(line for _, _, line in nodes)
    joined = "edges:\n" + "\n".join(edges) if edges else "edges: []"
    return f"version: 0\nname: random\nnodes:\n{listed}\n{joined}\n"


class Sweep:
    """Homes for as many crashes at a time as there are jobs; an undisturbed run of each opening to compare with."""

    def __init__(self, cache, jobs, *, delay_ms=20):
        self.cache, self.jobs, self.delay_ms = cache, jobs, delay_ms
        self._mine = local()
        self._homes = []
        self._undisturbed = {}

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for directory, home in self._homes:
            home.close()
            directory.cleanup()

    def home(self):
        """This thread's home."""
        if not hasattr(self._mine, "home"):
            directory = tempfile.TemporaryDirectory(prefix="rl-")
            home = Home(Path(directory.name), self.cache, delay_ms=self.delay_ms)
            self._homes.append((directory, home))
            home.letter()
            self._mine.home = home
        return self._mine.home

    def undisturbed(self, opening):
        """What the opening comes to when nobody disturbs it."""
        if opening not in self._undisturbed:
            self._undisturbed[opening] = self.home().run(opening)
        return self._undisturbed[opening]

    def check(self, crash):
        """Everything that is not as it would be without the crash; empty is good."""
        expected = self.undisturbed(crash.opening)
        home = self.home()
        try:
            actual = home.run(crash.opening, crash.die_at, crash.worker_at)
        except AssertionError as error:
            return [str(error)]
        except Exception:  # noqa: BLE001 - whatever it is, it is what came of this run, and the sweep goes on
            return [traceback.format_exc()]
        return compare(expected, actual, len(crash.die_at) + bool(crash.worker_at), crash.opening.count("{id: "))

    def run(self, crashes, tell):
        """Check them all; how many failed."""
        failed = 0
        with ThreadPoolExecutor(self.jobs) as threads:
            futures = {threads.submit(self.check, crash): crash for crash in crashes}
            for future in as_completed(futures):
                problems = future.result()
                failed += bool(problems)
                tell(futures[future], problems)
        return failed


def compare(expected, actual, disturbances, nodes):
    """What differs between a run of an opening of so many nodes and the undisturbed one."""
    problems = list(actual.problems)
    for name in ("status", "outputs", "tokens", "usd", "mails"):
        if getattr(expected, name) != getattr(actual, name):
            problems.append(f"{name}: {getattr(actual, name)!r} instead of {getattr(expected, name)!r}")
    again = actual.prompts - expected.prompts
    if expected.prompts - actual.prompts or again.keys() - expected.prompts.keys():
        problems.append(f"the model was asked {dict(actual.prompts)} instead of {dict(expected.prompts)}")
    # what was in flight may be asked again: at most one call of each node, and so each call at most once for each disturbance
    if any(count > disturbances * expected.prompts[prompt] for prompt, count in again.items()) or again.total() > disturbances * nodes:
        problems.append(f"the model was asked again: {dict(again)}")
    return problems


def places_of(sweep, opening):
    """How many places a run of the opening has."""
    return len(sweep.undisturbed(opening).places[0])


def main(argv=None):
    """The exit code: 0 when every run came to what it should."""
    from home import LETTER

    parser = argparse.ArgumentParser(
        prog="scripts/crash", description="Kill the daemon at places of its runs and see that nothing changes; docs/durability.md."
    )
    parser.add_argument("count", nargs="?", type=int, default=100, help="how many random places of random openings (100)")
    parser.add_argument(
        "--all", action="store_true", help="every place of the six-node letter instead, once with the daemon, once with a worker"
    )
    parser.add_argument("--seed", type=int, help="repeat what this seed chose (printed)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="homes side by side")
    options = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    began = time.monotonic()
    with Sweep(cache, options.jobs) as sweep:
        if options.all:
            count = places_of(sweep, LETTER)
            crashes = [Crash(LETTER, (place,), about=f"place {place} of {count}") for place in range(1, count + 1)]
            crashes += [Crash(LETTER, (), place, about=f"a worker lost at place {place}") for place in range(1, count + 1)]
        else:
            crashes = random_crashes(sweep, random.Random(seed), options.count)
            print(f"seed {seed}", flush=True)
        done = [0]

        def tell(crash, problems):
            done[0] += 1
            if problems:
                print(f"\n{crash.about}: {'; '.join(problems)}\n{crash.opening if not options.all else ''}", flush=True)
            elif done[0] % 50 == 0:
                print(f"{done[0]} of {len(crashes)}", flush=True)

        failed = sweep.run(crashes, tell)
    print(f"{len(crashes)} runs were disturbed, {failed} came to something else; {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def random_crashes(sweep, chance, count):
    """Random places of random openings: one death, two, a lost worker, or both."""
    crashes = []
    while len(crashes) < count:
        opening = random_opening(chance)
        places = places_of(sweep, opening)
        for _ in range(min(10, count - len(crashes))):
            die_at = tuple(chance.randint(1, places) for _ in range(chance.choice((1, 1, 1, 2, 0))))
            worker_at = chance.randint(1, places) if not die_at or chance.random() < 0.2 else 0
            crashes.append(Crash(opening, die_at, worker_at, f"deaths at {die_at}, worker lost at {worker_at}, of {places} places"))
    return crashes


if __name__ == "__main__":
    sys.exit(main())
