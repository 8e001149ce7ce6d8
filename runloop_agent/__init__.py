"""What an agent's author imports: ``from runloop_agent import agent, kb, model``.

Inside an agent every function here asks the host, which checks the policy, records the call and answers. Outside an agent there is
no host: calls raise :class:`OutsideGuest`, except under :func:`runloop_agent.testing.answering`.
"""

from __future__ import annotations

from runloop_agent import ask, checkpoint, emit, exec, files, http, kb, mail, model, secrets, spawn, timer  # noqa: A004 - named as the hostcalls are
from runloop_agent._calls import BudgetSpent, CallError, Cancelled, Denied, Invalid, OutsideGuest, TimedOut, Unavailable
from runloop_agent._entry import agent

__all__ = [
    "BudgetSpent", "CallError", "Cancelled", "Denied", "Invalid", "OutsideGuest", "TimedOut", "Unavailable",
    "agent", "ask", "checkpoint", "emit", "exec", "files", "http", "kb", "mail", "model", "secrets", "spawn", "timer",
]  # fmt: skip
