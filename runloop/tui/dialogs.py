"""What opens over the views: a sheet to read, and the sheet on which something is decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from runloop.errors import RunloopError
from runloop.text import broken, clean, clean_line, display_width
from runloop.tui.changing import Change, confirmed
from runloop.tui.deciding import Decision, choices, decide, needs_comment
from runloop.tui.draw_runs import asked_lines
from runloop.tui.line import Line
from runloop.tui.page import Page, Row, paragraphs
from runloop.tui.panel import Panel

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.widget import Widget

    from runloop.tui.signs import Signs

_Result = TypeVar("_Result")
_Wanted = TypeVar("_Wanted")
Lines = Callable[[int], list[Row]]
"""Lines for a width."""
_CSS = """
Over { align: center middle; }
#sheet { width: 100%; height: 100%; background: $surface; border: round $accent; padding: 0 1; }
#choices { height: auto; color: $accent; }
#problem, #news { height: auto; color: $error; display: none; }
#problem.-told, #news.-told { display: block; }
#sheet Panel { min-height: 1; }
#decision { dock: bottom; height: 1; border: none; padding: 0 1; background: $panel; }
"""

_LOW: Final = 7
"""Rows of a screen from which on what may be typed has room below the content."""
_WHAT_CHANGES: Final = "What should change? Say it in a line and press Enter."


def _title(text: str) -> Content:
    """A title with names that others chose, as it stands: a text would be read as markup, which can style, and act on a click."""
    return Content(clean_line(text))


class Over(ModalScreen[_Result]):
    """What opens over the views, in a frame: a page, and a line of what happens meanwhile, since nothing else of the views is seen.

    ``run_id`` is the run that it is about, where it is about one, and ``seen`` the state that the run had when it was opened.
    """

    CSS = _CSS
    run_id: str | None = None
    seen = ""
    _news = ""

    @property
    def decides(self) -> str | None:
        """The id of what can be decided on it."""
        return None

    def told(self, width: int) -> Sequence[Row]:
        """What its page says."""
        raise NotImplementedError

    def framed(self, title: str, keys: str, *below: Widget) -> ComposeResult:
        """The frame with the page and what stands below it."""
        with Vertical(id="sheet") as sheet:
            sheet.border_title, sheet.border_subtitle = _title(title), keys
            yield Panel()
            yield Static("", id="news", markup=False)
            yield from below

    def on_panel_resized(self, event: Panel.Resized) -> None:
        """Lines are broken for the width there is."""
        event.stop()
        panel = self.query_one(Panel)
        panel.show(Page(rows=tuple(self.told(max(1, panel.size.width - 1)))))

    def tell_news(self, text: str) -> None:
        """Say what happens; where nothing does it takes no room."""
        if text != self._news and self.is_mounted:
            self._news = text
            line_of_news = self.query_one("#news", Static)
            line_of_news.set_class(bool(text), "-told")
            line_of_news.update(clean(text))


class Sheet(Over[None]):
    """Lines to read. ``copied`` is what `c` puts into the clipboard."""

    BINDINGS: ClassVar = [
        Binding("escape,q,enter", "dismiss_sheet", "Close"),
        Binding("c", "copy", "Copy"),
    ]

    def __init__(self, title: str, lines: Lines, copied: str | None = None, run_id: str | None = None) -> None:
        super().__init__()
        self._title, self._lines, self._copied, self.run_id = title, lines, copied, run_id

    def compose(self) -> ComposeResult:
        """The sheet."""
        return self.framed(self._title, "Esc closes, c copies")

    def told(self, width: int) -> Sequence[Row]:
        """Its lines."""
        return self._lines(width)

    def action_dismiss_sheet(self) -> None:
        """Back."""
        self.dismiss()

    def action_copy(self) -> None:
        """The whole text into the clipboard of the terminal."""
        text = self._copied if self._copied is not None else "\n".join(row.plain for row in self.query_one(Panel).page.rows)
        self.app.copy_to_clipboard(text)
        self.notify(f"{len(text)} characters copied")


class Typed(Over[bool], Generic[_Wanted]):
    """What a word and Enter decides: the page, what may be typed, and the line. Closed with Escape, nothing is decided.

    What was typed before all this was painted goes nowhere. ``send`` carries out what the line was read as.
    """

    BINDINGS: ClassVar = [
        Binding("escape", "leave", "Decide later"),
        Binding("pagedown,down", "scroll(1)", show=False, priority=True),
        Binding("pageup,up", "scroll(-1)", show=False, priority=True),
        Binding("ctrl+home", "edge(0)", show=False, priority=True),
        Binding("ctrl+end", "edge(-1)", show=False, priority=True),
    ]

    def __init__(self, send: Callable[[_Wanted], Awaitable[None]]) -> None:
        super().__init__()
        self._send = send
        self._sent = False

    def framed(self, title: str, keys: str, *below: Widget) -> ComposeResult:
        """The content, the choices, the line."""
        line_in = Line(id="decision", disabled=True)
        return super().framed(title, keys, *below, Static("", id="choices", markup=False), Static("", id="problem", markup=False), line_in)

    def choices(self, width: int, room: int) -> Sequence[str]:
        """What may be typed, in so many lines if that is possible."""
        raise NotImplementedError

    def read(self, typed: str) -> _Wanted | None:
        """What the line stands for, or None where a second line is needed. Raises RunloopError."""
        raise NotImplementedError

    def too_late(self, error: RunloopError) -> str:
        """What to say where the error means that there is nothing left to decide; empty where it does not."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Only what is typed after it was painted counts."""
        self.call_after_refresh(self._ready)

    def _ready(self) -> None:
        decision = self.query_one("#decision", Line)
        decision.disabled, decision.placeholder = False, "your decision"
        decision.focus()

    def on_panel_resized(self, event: Panel.Resized) -> None:
        """Lines are broken for the width there is."""
        super().on_panel_resized(event)
        choices = self.query_one("#choices", Static)
        choices.update("\n".join(self.choices(self.query_one(Panel).size.width, self.size.height // 4)))
        choices.display = self.size.height >= _LOW  # the content goes before

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Decide."""
        event.stop()
        try:
            wanted = self.read(event.value)
        except RunloopError as error:
            self._tell(f"{error.message}. {error.hint}")
            wanted = None
        if wanted is None:
            self.query_one("#decision", Line).taking = True
        else:
            event.input.disabled = self._sent = True
            self._tell("sent; the daemon has not answered yet. Escape leaves, and takes nothing back")
            self.app.run_worker(self._carry_out(wanted), group="deciding", exit_on_error=True)

    async def _carry_out(self, wanted: _Wanted) -> None:
        """Hand it over, however long that takes; who left meanwhile is told what became of it where it failed."""
        try:
            await self._send(wanted)
        except RunloopError as error:
            if late := self.too_late(error):
                self.app.notify(late, severity="warning")
            elif self.is_current:
                self._tell(f"{error.message}. {error.hint}")
                decision_line = self.query_one("#decision", Line)
                decision_line.disabled = self._sent = False
                decision_line.taking = True
                decision_line.focus()
                return
            else:
                self.app.notify(f"not decided: {error.message}. {error.hint}", severity="error")
        if self.is_current:
            self.dismiss(result=True)

    def _tell(self, text: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.add_class("-told")
        problem.update(clean(text))

    def action_scroll(self, by: int) -> None:
        """Read on."""
        self.query_one(Panel).action_page(by)

    def action_edge(self, which: int) -> None:
        """To the beginning or the end; without Ctrl the keys are the line's."""
        self.query_one(Panel).action_edge(which)

    def on_line_left(self) -> None:
        """Escape in the line."""
        self.action_leave()

    def action_leave(self) -> None:
        """Nothing is decided."""
        self.dismiss(result=False)


class Asking(Typed[Decision]):
    """Exactly what would leave, whole, and a line to decide it with. ``shown`` is what is open, ``signs`` what the terminal lacks."""

    def __init__(self, shown: Mapping[str, Any], send: Callable[[Decision], Awaitable[None]], signs: Signs | None = None) -> None:
        super().__init__(send)
        self.shown, self.run_id, self._signs = shown, shown["run_id"], signs
        self._incomplete: Decision | None = None

    def compose(self) -> ComposeResult:
        """The sheet."""
        keys = "type a word and press Enter; Esc decides nothing; arrows scroll"
        return self.framed(f"{self.shown['type']} {self.shown['approval_id']}", keys)

    @property
    def decides(self) -> str | None:
        """What is open, until it is decided here."""
        return None if self._sent else str(self.shown["approval_id"])

    def told(self, width: int) -> Sequence[Row]:
        """Everything that the decision is about."""
        shown = self.shown if self._signs is None else {name: self._signs.exactly(value) for name, value in self.shown.items()}
        return asked_lines(shown, width)

    def choices(self, width: int, room: int) -> Sequence[str]:
        """The answers, or what is asked for behind one."""
        return choice_lines(self.shown, width, room) if self._incomplete is None else [_WHAT_CHANGES]

    def read(self, typed: str) -> Decision | None:
        """The decision, or None where a second line is needed."""
        if self._incomplete is not None:
            return Decision(answer=self._incomplete.answer, rationale=typed.strip() or None)
        decision = decide(self.shown, typed)
        if not needs_comment(self.shown, decision):
            return decision
        self._incomplete = decision
        line_in = self.query_one("#decision", Line)
        line_in.value, line_in.placeholder = "", "What should change?"
        self.query_one("#choices", Static).update(_WHAT_CHANGES)
        return None

    def too_late(self, error: RunloopError) -> str:
        """Somebody else decided it."""
        return "somebody else was first, or its run has ended" if error.code == "approval.unknown" else ""


class Changing(Typed[Change]):
    """What it means to cancel a run, or to pause or resume all, and a line for its verb. ``lines`` tell what it is about."""

    def __init__(self, change: Change, lines: Lines, send: Callable[[Change], Awaitable[None]]) -> None:
        super().__init__(send)
        self._change, self._lines, self.run_id = change, lines, change.run_id

    def compose(self) -> ComposeResult:
        """The sheet."""
        about = "every run" if self.run_id is None else f"run {self.run_id}"
        return self.framed(f"{self._change.verb} {about}", f"type {self._change.verb} and press Enter; Esc changes nothing")

    def told(self, width: int) -> Sequence[Row]:
        """What it is about."""
        return self._lines(width)

    def choices(self, _width: int, _room: int) -> Sequence[str]:
        """The verb."""
        return [f"{self._change.verb} [reason]"]

    def read(self, typed: str) -> Change:
        """The change with its reason."""
        return confirmed(self._change, typed)

    def too_late(self, error: RunloopError) -> str:
        """It ended by itself."""
        return error.message if error.code == "run.ended" else ""


def choice_lines(shown: Mapping[str, Any], width: int, room: int) -> list[str]:
    """What may be typed and what it means, as many a line as fit; where that takes more lines than ``room``, the words alone."""
    lines: list[str] = []
    allowed = choices(shown)
    for word, meaning in allowed:
        told = clean_line(f"{word} = {meaning}")
        if lines and display_width(lines[-1]) + 3 + display_width(told) <= width:
            lines[-1] += f"   {told}"
        else:
            lines += broken(told, width)
    if len(lines) <= room:
        return lines
    options = len(shown["options"]) if shown["type"] == "question" else 0
    short = f"1 to {options} = the option above" if options else ", ".join(word for word, _ in allowed)
    return broken(short, width)


def failure(error: RunloopError) -> Lines:
    """An error as a sheet shows it."""
    return lambda width: [*paragraphs(f"{error.code}: {error.message}", width, "error"), *paragraphs(error.hint or "", width, "dim")]
