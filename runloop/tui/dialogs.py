"""What opens over the views: a sheet to read, and the sheet on which something is decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from runloop.errors import RunloopError
from runloop.text import clean, clean_line, display_width
from runloop.tui.deciding import Decision, choices, decide, needs_comment
from runloop.tui.draw_runs import asked_lines
from runloop.tui.page import Page, Row, paragraphs
from runloop.tui.panel import Panel

if TYPE_CHECKING:
    from textual.app import ComposeResult

Lines = Callable[[int], list[Row]]
"""Lines for a width."""
_CSS = """
Sheet, Asking { align: center middle; }
#sheet { width: 100%; height: 100%; background: $surface; border: round $accent; padding: 0 1; }
#choices { height: auto; color: $accent; }
#problem { height: auto; color: $error; display: none; }
#problem.-told { display: block; }
#decision { height: 1; border: none; padding: 0 1; background: $panel; }
"""


def _title(text: str) -> Content:
    """A title with names that others chose, as it stands: a text would be read as markup, which can style, and act on a click."""
    return Content(clean_line(text))


class Sheet(ModalScreen[None]):
    """Lines to read. ``copied`` is what `c` puts into the clipboard."""

    CSS = _CSS
    BINDINGS: ClassVar = [
        Binding("escape,q,enter", "dismiss_sheet", "Close"),
        Binding("c", "copy", "Copy"),
    ]

    def __init__(self, title: str, lines: Lines, copied: str | None = None) -> None:
        super().__init__()
        self._title, self._lines, self._copied = title, lines, copied

    def compose(self) -> ComposeResult:
        """The sheet."""
        with Vertical(id="sheet") as sheet:
            sheet.border_title = _title(self._title)
            sheet.border_subtitle = "Esc closes, c copies"
            yield Panel()

    def on_panel_resized(self, event: Panel.Resized) -> None:
        """Lines are broken for the width there is."""
        event.stop()
        panel = self.query_one(Panel)
        panel.show(Page(rows=tuple(self._lines(max(20, panel.size.width - 1)))))

    def action_dismiss_sheet(self) -> None:
        """Back."""
        self.dismiss()

    def action_copy(self) -> None:
        """The whole text into the clipboard of the terminal."""
        text = self._copied if self._copied is not None else "\n".join(row.plain for row in self.query_one(Panel).page.rows)
        self.app.copy_to_clipboard(text)
        self.notify(f"{len(text)} characters copied")


class Asking(ModalScreen[bool]):
    """Exactly what would leave, whole, and a line to decide it with: a word and Enter.

    What was typed before all this was painted goes nowhere. ``shown`` is what is open; ``send`` carries the decision out. Closed with
    Escape, nothing is decided.
    """

    CSS = _CSS
    BINDINGS: ClassVar = [
        Binding("escape", "leave", "Decide later"),
        Binding("pagedown,down", "scroll(1)", show=False, priority=True),
        Binding("pageup,up", "scroll(-1)", show=False, priority=True),
    ]

    def __init__(self, shown: Mapping[str, Any], send: Callable[[Decision], Awaitable[None]]) -> None:
        super().__init__()
        self.shown, self._send = shown, send
        self._incomplete: Decision | None = None

    def compose(self) -> ComposeResult:
        """The content, the choices, the line."""
        with Vertical(id="sheet") as sheet:
            sheet.border_title = _title(f"{self.shown['type']} {self.shown['approval_id']}")
            sheet.border_subtitle = "type a word and press Enter; Esc decides nothing; arrows scroll"
            yield Panel()
            yield Static("", id="choices", markup=False)
            yield Static("", id="problem", markup=False)
            yield Input(id="decision", disabled=True)

    def on_mount(self) -> None:
        """Only what is typed after it was painted counts."""
        self.call_after_refresh(self._ready)

    def _ready(self) -> None:
        decision = self.query_one("#decision", Input)
        decision.disabled, decision.placeholder = False, "your decision"
        decision.focus()

    def on_panel_resized(self, event: Panel.Resized) -> None:
        """Lines are broken for the width there is."""
        event.stop()
        panel = self.query_one(Panel)
        panel.show(Page(rows=tuple(asked_lines(self.shown, max(20, panel.size.width - 1)))))
        if self._incomplete is None:
            self.query_one("#choices", Static).update("\n".join(choice_lines(self.shown, panel.size.width)))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Decide."""
        event.stop()
        try:
            decision = self._read(event.input.value)  # Enter overtakes letters that are still on their way to the line
        except RunloopError as error:
            self._tell(f"{error.message}. {error.hint}")
            return
        if decision is not None:
            event.input.disabled = True
            self._tell("sent; the daemon has not answered yet. Escape leaves, and takes nothing back")
            self.app.run_worker(self._carry_out(decision), group="deciding", exit_on_error=True)

    async def _carry_out(self, decision: Decision) -> None:
        """Hand the decision over, however long that takes; who left meanwhile is told what became of it where it failed."""
        try:
            await self._send(decision)
        except RunloopError as error:
            if error.code == "approval.unknown":
                self.app.notify("somebody else was first, or its run has ended", severity="warning")
            elif self.is_current:
                self._tell(f"{error.message}. {error.hint}")
                decision_line = self.query_one("#decision", Input)
                decision_line.disabled = False
                decision_line.focus()
                return
            else:
                self.app.notify(clean(f"not decided: {error.message}. {error.hint}"), severity="error", markup=False)
        if self.is_current:
            self.dismiss(result=True)

    def _tell(self, text: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.add_class("-told")
        problem.update(clean(text))

    def _read(self, typed: str) -> Decision | None:
        """The decision, or None where a second line is needed."""
        if self._incomplete is not None:
            return Decision(answer=self._incomplete.answer, rationale=typed.strip() or None)
        decision = decide(self.shown, typed)
        if not needs_comment(self.shown, decision):
            return decision
        self._incomplete = decision
        line_in = self.query_one("#decision", Input)
        line_in.value, line_in.placeholder = "", "What should change?"
        self.query_one("#choices", Static).update("What should change? Say it in a line and press Enter.")
        return None

    def action_scroll(self, by: int) -> None:
        """Read on."""
        self.query_one(Panel).action_page(by)

    def action_leave(self) -> None:
        """Nothing is decided."""
        self.dismiss(result=False)


def choice_lines(shown: Mapping[str, Any], width: int) -> list[str]:
    """What may be typed and what it means, as many a line as have room; no choice is torn apart."""
    lines: list[str] = []
    for word, meaning in choices(shown):
        told = clean_line(f"{word} = {meaning}")
        if lines and display_width(lines[-1]) + 3 + display_width(told) <= width:
            lines[-1] += f"   {told}"
        else:
            lines.append(told)
    return lines


def failure(error: RunloopError) -> Lines:
    """An error as a sheet shows it."""
    return lambda width: [*paragraphs(f"{error.code}: {error.message}", width, "error"), *paragraphs(error.hint or "", width, "dim")]
