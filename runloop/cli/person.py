"""The person at the terminal: shown exactly what an approval is about, asked, and heard, without stopping the run's loop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.cli.output import broken, clean, clean_line, exact, is_terminal, lookalikes, terminal_width, use_color
from runloop.cli.times import clock
from runloop.dataclass import dataclass
from runloop.effects.perform.ports import PersonAnswer, in_time
from runloop.policy import Scope
from runloop.runs.operator import ApprovalDecision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.effects.perform.ports import Question
    from runloop.effects.types import CallContext
    from runloop.runs.operator import ApprovalRequest

_SCOPE_WORDS = {
    Scope.ONCE: ("y", "yes, this once"),
    Scope.RUN: ("r", "yes, and the like for the rest of this run"),
    Scope.OPENING: ("o", "yes, and the like whenever this opening runs"),
    Scope.ALWAYS: ("a", "yes, and the like from this agent always"),
}
_NO = ("n", "no")
_RULE = 55
_SHORT = 40
"""Characters of a default answer that stand in the prompt itself."""
_FAR = 12
"""Lines below a question after which it is said again: it may have scrolled away."""


def person_present() -> bool:
    """Whether somebody can be asked: both the input and the error stream are a terminal."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


@dataclass(slots=True)
class TerminalPerson:
    """Asks on stderr, hears on stdin; one question at a time. ``hide`` and ``show`` take a live view away and bring it back."""

    hide: Callable[[], None] = lambda: None
    show: Callable[[], None] = lambda: None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def present(self) -> bool:
        """Whether an approval could be given now."""
        return person_present()

    def has_said_no(self, _question_id: str) -> bool:
        """Never before it is asked."""
        return False

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """Show everything the approval is about and wait for a decision; the end of the input is a no."""
        words = {key: scope for scope, (key, _) in _SCOPE_WORDS.items() if scope in request.scopes}
        choices = [f"  [{key}] {text}" for scope, (key, text) in _SCOPE_WORDS.items() if scope in request.scopes]
        async with self._lock:
            with self._view_hidden():
                _say("\n".join([_approval_text(request), *choices]))
                forget_typed_ahead()
                while True:
                    answer = await self._line(f"  [{_NO[0]}] {_NO[1]}: ")
                    word = (answer or "").strip().lower()
                    if answer is None or word in {"n", "no"}:
                        why = "the input ended" if answer is None else "rejected at the terminal"
                        return ApprovalDecision(approved=False, uid=os.getuid(), rationale=why)
                    scope = words.get({"yes": "y"}.get(word, word))
                    if scope is not None:
                        return ApprovalDecision(approved=True, scope=scope, uid=os.getuid(), rationale="approved at the terminal")
                    _say("Please answer with one of the letters in brackets.")

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Put an agent's question; None where nobody is there."""
        return await self.put(question, ctx.agent)

    async def put(self, question: Question, agent: str) -> PersonAnswer | None:
        """As :meth:`ask`, for an agent of that name."""
        if not self.present:
            return None
        async with self._lock:
            with self._view_hidden():
                try:
                    async with asyncio.timeout(None if question.timeout_ms is None else question.timeout_ms / 1000):
                        return await self._put(question, agent)
                except TimeoutError:
                    _say("(no answer in time)")
                    return in_time(question)

    async def _put(self, question: Question, agent: str) -> PersonAnswer | None:
        asks = _bold(f"{clean_line(agent)} asks:")
        first, *more = question.text.split("\n", 1)
        asked = ["", *_labelled(asks, first)]
        below = [line for text in (*more, question.detail) if text for line in _gutter(text)]
        _say("\n".join([*asked, *below, *(asked if len(below) > _FAR else ())]))
        if question.closes_ms is not None:
            _say(f"  (without an answer by {clock(question.closes_ms)}: {clean_line(question.on_timeout) or 'nobody answered'})")
        for number, option in enumerate(question.options, start=1):
            _say("\n".join(_labelled(f"  {number})", option)))
        prompt = "Number: " if question.options else "Answer: "
        if question.default is not None:
            shown = clean_line(question.default)
            if len(shown) > _SHORT:
                _say("\n".join(_labelled("  Enter alone answers:", shown)))
                shown = "that"
            prompt = f"{prompt.removesuffix(': ')} [{shown}]: "
        while True:
            answer = await self._line(prompt)
            if answer is None:
                return None
            text = answer.strip()
            if not text and question.default is not None:
                return PersonAnswer(question.default, "operator", uid=os.getuid())
            if not question.options and text:
                return PersonAnswer(text, "operator", uid=os.getuid())
            if text.isdecimal() and 1 <= int(text) <= len(question.options):
                text = question.options[int(text) - 1]
            if text in question.options:
                comment = (await self._line("What should change? ") or "").strip() if text in question.comment_on else ""
                return PersonAnswer(text, "operator", comment, os.getuid())
            _say(f"Please give a number from 1 to {len(question.options)}." if question.options else "Please give an answer.")

    @contextmanager
    def _view_hidden(self) -> Iterator[None]:
        self.hide()
        try:
            yield
        finally:
            self.show()

    async def _line(self, prompt: str) -> str | None:
        """One line from the terminal, or None at its end; the loop goes on meanwhile. A terminal that was closed says nothing at all."""
        print(prompt, end="", file=sys.stderr, flush=True)
        loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
        line: asyncio.Future[str | None] = loop.create_future()

        def readable() -> None:
            if _taken(descriptor):
                loop.remove_reader(descriptor)
                return
            try:
                data = os.read(descriptor, 65_536)
            except OSError:
                data = b""
            if not data and not os.isatty(descriptor):  # the end is seen before the signal that comes with it
                loop.remove_reader(descriptor)
                signal.raise_signal(signal.SIGHUP)
            elif not line.done():
                line.set_result(data.decode("utf-8", "replace") if data else None)

        loop.add_reader(descriptor, readable)
        try:
            return await line
        except asyncio.CancelledError as error:
            print(*error.args, file=sys.stderr, flush=True)  # closed, or the time is up: what follows gets a line of its own
            raise
        finally:
            loop.remove_reader(descriptor)


def _approval_text(request: ApprovalRequest) -> str:
    """Everything that would happen, whole: nothing is cut, nothing in it can drive the terminal, and nothing in it can pass for ours.

    What it is about stands below it once more where it is long: who decides there may not see where it began.
    """
    about = _about(request)
    rule = min(_RULE, terminal_width() - 3)
    what = _gutter(request.what)
    lines = ["", *about, *_labelled("  because ", request.reason), "  ┌─ exactly this ".ljust(rule + 3, "─"), *what, "  └" + "─" * rule]
    return "\n".join([*lines, f"  {len(what)} lines above", *about] if len(what) > _FAR else lines)


def _about(request: ApprovalRequest) -> list[str]:
    lines = [
        _bold(f"Approval needed: {clean_line(request.action)}"),
        f"  run      {clean_line(request.opening_name)}  {request.run_id}",
        f"  asked by {clean_line(request.agent)}, node {clean_line(request.node)}",
    ]
    if request.recipients:
        lines += _labelled("  to      ", ", ".join(request.recipients))
        for each in request.recipients:
            if odd := lookalikes(each):
                lines += _labelled("  careful ", f"{each}: {', '.join(odd)}")
    if request.taint:
        lines += _labelled("  contains content from:", ", ".join(sorted(request.taint)))
    return lines


def _labelled(label: str, text: str) -> list[str]:
    """A label of ours and, on its line, what others wrote; where that goes on, below, after a mark."""
    room, shown = terminal_width() - 5, exact(clean_line(text), sys.stderr)
    first = broken(shown, max(8, room - len(label)))[0]
    rest = shown[len(first) :]
    return [f"{label} {first}", *(f"  ┆ {each}" for each in broken(rest, max(8, room)) if rest)]


def _gutter(text: str) -> list[str]:
    """What others wrote, as lines that no terminal has to break: each begins with a mark, another one where a line goes on."""
    room = max(8, terminal_width() - 4)
    lines = []
    for line in exact(clean(text.replace("\r\n", "\n")), sys.stderr).split("\n"):
        first, *more = broken(line.expandtabs(8), room)
        lines += [f"  │ {first}", *(f"  ┆ {each}" for each in more)]
    return lines


def forget_typed_ahead() -> None:
    """Drop what was typed before the request was on the screen: nobody approves what they have not seen."""
    import termios

    with suppress(termios.error):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _taken(descriptor: int) -> bool:
    """Whether another program has the terminal, a pager or agtop behind a pipe: it hears keys, not lines, and they are meant for it."""
    import termios

    try:
        return not termios.tcgetattr(descriptor)[3] & termios.ICANON
    except termios.error:
        return False


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if use_color(sys.stderr) else text


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
