"""The line that a person types into."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.events import Key


class Line(Input):
    """A line whose keys count in the order in which they were typed, also where they come at once.

    The library's own obeys letters at once, and what edits, Enter and Escape only after it has asked everything that stands around
    the line: letters overtake them, and "run", taken back and "yes" becomes "run". After Enter or Escape it takes nothing before
    whoever reads it has set ``taking`` again: what was typed ahead was not typed for what is seen then.
    """

    BINDINGS: ClassVar = [Binding("escape", "leave", show=False)]
    taking = True

    class Left(Message):
        """Escape was typed."""

    async def on_key(self, event: Key) -> None:
        """Obey it here."""
        bound = None if event.is_printable else self._bindings.key_to_bindings.get(event.key)
        if bound or not self.taking:
            event.stop()
            event.prevent_default()
        if bound and self.taking:
            self.taking = event.key not in {"enter", "escape"}
            await self.run_action(bound[0].action)

    def action_leave(self) -> None:
        """Tell who reads it."""
        self.post_message(self.Left())
