"""Time and randomness inside the guest: the clock is the host's virtual one, sleep is a hostcall, seeds come from the run."""

import random
import time

_SLEEP_LIMIT_S = 10 * 365 * 86_400

_seed = random.seed


def _sleep(seconds: float, /) -> None:
    """Wait through the host: the virtual clock moves on, and the agent costs nothing meanwhile."""
    from runloop_agent import timer

    if not seconds >= 0:
        raise ValueError("sleep length must be non-negative")
    if seconds > _SLEEP_LIMIT_S:
        raise OverflowError("sleep length is too long")
    timer.sleep(seconds)


def _keep_seed(*_arguments: object) -> None:
    """Stand in for ``random.seed`` while the interpreter starts: it would fetch 2,496 bytes that :func:`seed` replaces anyway."""


def prepare() -> None:
    """Put the virtual functions in place before anything else is imported."""
    _sleep.__name__ = _sleep.__qualname__ = "sleep"
    setattr(time, "sleep", _sleep)  # noqa: B010 - replaces a C function, whose type checkers know
    for name in ("process_time", "thread_time"):  # the C library makes the first of the date, and wraps; a run has one clock
        setattr(time, name, time.perf_counter)
        setattr(time, f"{name}_ns", time.perf_counter_ns)
    pause_seed()


def pause_seed() -> None:
    """Before the snapshot: componentize-py calls ``random.seed`` when a run starts, which must cost nothing."""
    setattr(random, "seed", _keep_seed)  # noqa: B010 - as above


def seed(material: str) -> None:
    """Seed ``random`` from the run's seed (hexadecimal)."""
    random.seed = _seed
    _seed(int(material, 16))
