"""How long a guest ran: not while it waits, and not while its worker stands still."""

from __future__ import annotations

from types import SimpleNamespace

from runloop.sandbox import execution
from runloop.sandbox.execution import Execution
from runloop.sandbox.spec import Answer, Limits


def test_a_guest_whose_worker_was_stopped_or_frozen_has_as_much_time_left_as_before(monkeypatch):
    now_s = 0.0
    monkeypatch.setattr(execution, "time", SimpleNamespace(monotonic=lambda: now_s, thread_time=lambda: 0.0))

    def passes(seconds):
        nonlocal now_s
        now_s += seconds

    def ask(_name, _args):
        passes(600)
        return Answer("{}", 0)

    guest = Execution(Limits(wall_ms=10_000), bytes(32), 0, ask)
    passes(60)
    guest.begin()
    for _ in range(3):
        passes(3)
        assert not guest.must_stop()
    passes(3600)
    assert not guest.must_stop()
    guest.call("timer.sleep", '{"ms":600000}')
    passes(0.5)
    assert not guest.must_stop()
    assert guest.ran_s == 9.5
    passes(1)
    assert guest.must_stop()
    assert guest.reason == ("guest.timeout", "the agent ran for more than 10000 ms")
