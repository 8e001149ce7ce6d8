"""A run at the terminal: how it ends the command, what signals do, and records that come while a person types or nobody reads."""

import asyncio
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace

import pytest

from runloop.cli import remote
from runloop.cli.attach import _Lines
from runloop.cli.showing import Interrupts, Printer, Unshown, exit_code, text_line
from runloop.errors import Unavailable
from runloop.runs.results import RunResult


def ended(status, code=""):
    return RunResult("5b2c6a4e-0000-4000-8000-000000000001", status, "why", code, {}, {})


@pytest.mark.parametrize(
    ("status", "code", "interrupted", "expected"),
    [
        ("succeeded", "", False, 0),
        ("succeeded", "", True, 0),
        ("failed", "guest.exception", False, 1),
        ("failed", "guest.exception", True, 1),
        ("cancelled", "", False, 1),
        ("cancelled", "", True, 130),
        ("failed", "denied.net", False, 4),
        ("failed", "policy.denied", False, 4),
        ("cancelled", "approval.nobody", False, 4),
        ("failed", "http.link_local", False, 4),
        ("failed", "secrets.host_not_permitted", False, 4),
        ("failed", "secrets.missing", False, 1),
    ],
)
def test_a_run_ends_the_command_with_the_code_of_how_it_ended(status, code, interrupted, expected):
    assert exit_code(ended(status, code), interrupted=interrupted) == expected


def test_the_first_signal_cancels_the_second_waits_for_that_and_the_third_ends_the_process():
    cancelled = []
    interrupts = Interrupts(lambda: cancelled.append("cancelled"))
    interrupts.take()
    interrupts.take()
    with pytest.raises(KeyboardInterrupt):
        interrupts.take()
    assert (cancelled, interrupts.taken) == (["cancelled"], 3)


def a_record(seq, kind="node.log", **meta):
    return {"seq": seq, "kind": kind, "meta": meta, "event_id": seq}


@pytest.mark.parametrize(
    ("kind", "error", "shown"),
    [
        ("run.finished", {"code": "timeout", "hint": "raise timeout_ms"}, "    7  run failed: why\n       hint: raise timeout_ms"),
        ("run.finished", {"code": "timeout"}, "    7  run failed: why"),
        ("run.finished", None, "    7  run failed: why"),
        ("node.finished", {"code": "timeout", "hint": "raise timeout_ms"}, "    7  run failed: why"),
    ],
)
def test_the_lines_of_a_run_that_failed_end_with_what_to_do(kind, error, shown):
    record = {**a_record(7, kind, error=error), "level": "error", "message": "run failed: why"}
    assert text_line(record) == shown


def test_records_that_come_while_a_person_is_asked_are_shown_afterwards_in_their_order(capsys):
    lines = _Lines(lambda record: None if record["seq"] == 3 else str(record["seq"]))
    lines.take(a_record(1))
    lines.hold()
    for seq in (2, 3, 4):
        lines.take(a_record(seq))
    assert capsys.readouterr().out == "1\n"
    lines.release()
    lines.take(a_record(5))
    lines.release()
    assert capsys.readouterr().out == "2\n4\n5\n"


class Gone:
    """A reader that is gone."""

    def write(self, _text):
        raise BrokenPipeError

    def flush(self):
        pass

    def fileno(self):
        raise OSError


@pytest.mark.parametrize("late", [False, True])
def test_a_reader_that_is_gone_is_told_of_once_and_nothing_is_printed_any_more(monkeypatch, late):
    told, made = [], []
    printer = Printer(lambda record: made.append(record) or "line")
    monkeypatch.setattr("sys.stdout", Gone())
    if not late:
        printer.on_gone = lambda: told.append("gone")
    for seq in (1, 2):
        printer.take(a_record(seq))
    if late:
        printer.on_gone = lambda: told.append("gone")
    assert (told, [record["seq"] for record in made]) == (["gone"], [1])


def test_what_kept_the_last_model_from_answering_is_kept_and_nothing_else():
    shown, refusals = Unshown(None), [{"code": f"model.{number}", "message": "", "hint": ""} for number in (1, 2)]
    for at, (kind, name) in enumerate(
        [("effect.failed", "model.complete"), ("effect.failed", "model.embed"), ("effect.failed", "http.fetch")]
    ):
        shown.take(a_record(at, kind, name=name, error=refusals[min(at, 1)] if at < 2 else {"code": "x"}))
    shown.take(a_record(3, "effect.completed", name="model.complete"))
    shown.end(ended("failed"))
    assert (shown.refused, shown.result.status) == (refusals[1], "failed")


@pytest.mark.parametrize("refusals", [0, 2], ids=["at once", "by the next daemon"])
async def test_an_interrupt_while_the_daemon_takes_the_run_in_cancels_it_once_it_has_it(monkeypatch, refusals):
    cancelled, asked, taken_in, over = [], asyncio.Event(), asyncio.Event(), asyncio.Event()
    interrupts, tries = Interrupts(lambda: None), count()

    async def cancel(reason):
        if next(tries) < refusals:
            raise Unavailable("the daemon is stopping", code="daemon.draining")
        cancelled.append((reason, taken_in.is_set()))
        over.set()

    async def follow(_shown, *, begin):
        await begin()
        await over.wait()
        return ended("cancelled")

    @contextmanager
    def watching(stop):
        interrupts._cancel = lambda: stop("interrupted")
        yield interrupts

    async def submit(_run_id, _attended):
        asked.set()
        await taken_in.wait()

    monkeypatch.setattr(remote.Shown, "follow", follow)
    monkeypatch.setattr(remote, "_SOON_S", 60)
    monkeypatch.setattr(remote, "_AGAIN_S", 0, raising=False)
    client = SimpleNamespace(handle=lambda run_id, **_how: SimpleNamespace(id=run_id, cancel=cancel))
    said = []
    terminal = SimpleNamespace(take=None, person=None, wants_outputs=False, watching=watching, say=said.append, end=lambda _result: None)
    running = asyncio.create_task(remote.run_there(client, terminal, submit))
    await asked.wait()
    interrupts.take()
    await asyncio.sleep(0)
    assert (cancelled, len(said)) == ([], 1)
    taken_in.set()
    async with asyncio.timeout(10):
        assert (await running, cancelled) == (130, [("interrupted", True)])
