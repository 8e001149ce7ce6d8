"""Budgets within budgets: that of an attempt within its node's, that within its run's; that of a child run within its node's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from runloop.models.budget import Budget, Holder, Reservation

if TYPE_CHECKING:
    from runloop.models.types import Usage
    from runloop.runs.history import Spent


Whose = Literal["agent", "node", "opening"]
_KEYS: dict[Whose, str] = {"agent": "limits.{} in its manifest.toml", "node": "its budget_{}", "opening": "its policy.budget_{}"}


class InnerBudget(Budget):
    """The budget of a part. Every call is set aside and booked here and in ``whole``, before and after it, or in neither.

    What was ``spent`` here before is in ``whole`` already. ``whose`` is the part and its name, for errors.
    """

    def __init__(
        self, whole: Budget, tokens: int | None, usd_micros: int | None, whose: tuple[Whose, str], spent: Spent | None = None
    ) -> None:
        super().__init__(tokens, usd_micros, holder=None if tokens is None and usd_micros is None else _holder(*whose))
        self._whole = whole
        if spent is not None:
            self.spent_tokens, self.spent_usd_micros = spent.tokens, spent.usd_micros

    def reserve(self, tokens: int, usd_micros: int | None) -> Reservation:
        """Set aside in both; the narrower one refuses."""
        held = super().reserve(tokens, usd_micros)
        try:
            self._whole.reserve(tokens, usd_micros)
        except BaseException:
            super().release(held)
            raise
        return held

    def fits_alone(self, tokens: int, usd_micros: int | None) -> bool:
        """Whether a call could be made in both if no other were under way."""
        return super().fits_alone(tokens, usd_micros) and self._whole.fits_alone(tokens, usd_micros)

    async def changed(self) -> None:
        """As the outermost one: whatever is given back in a part is given back there."""
        await self._whole.changed()

    def release(self, held: Reservation) -> None:
        """Give back in both what a failed call had set aside."""
        super().release(held)
        self._whole.release(held)

    def settle(self, held: Reservation, usage: Usage) -> None:
        """Book in both what the call did use."""
        try:
            # Budget.settle releases through this class, which gives back in the whole too; so the whole only books.
            super().settle(held, usage)
        finally:
            self._whole.settle(_NOTHING, usage)


def _holder(kind: Whose, name: str) -> Holder:
    key = _KEYS[kind].format
    return Holder(f"the budget of {kind} {name}", key("tokens"), key("usd"))


_NOTHING = Reservation(0, 0)
