"""Budgets within budgets: an attempt may spend what its agent and its node allow, and never more than the run has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.models.budget import Budget, Reservation

if TYPE_CHECKING:
    from runloop.models.types import Usage


class AttemptBudget(Budget):
    """The budget of one attempt. Every call is set aside and booked here and in ``run``, before and after it, or in neither."""

    def __init__(self, run: Budget, tokens: int | None, usd_micros: int | None) -> None:
        super().__init__(tokens, usd_micros)
        self._run = run

    def reserve(self, tokens: int, usd_micros: int | None) -> Reservation:
        """Set aside in both; the narrower one refuses."""
        held = super().reserve(tokens, usd_micros)
        try:
            self._run.reserve(tokens, usd_micros)
        except BaseException:
            super().release(held)
            raise
        return held

    def fits_alone(self, tokens: int, usd_micros: int | None) -> bool:
        """Whether a call could be made in both if no other were under way."""
        return super().fits_alone(tokens, usd_micros) and self._run.fits_alone(tokens, usd_micros)

    async def changed(self) -> None:
        """As the run's: an attempt makes one call at a time."""
        await self._run.changed()

    def release(self, held: Reservation) -> None:
        """Give back in both what a failed call had set aside."""
        super().release(held)
        self._run.release(held)

    def settle(self, held: Reservation, usage: Usage) -> None:
        """Book in both what the call did use."""
        try:
            # Budget.settle releases through this class, which gives back in the run too; so the run only books.
            super().settle(held, usage)
        finally:
            self._run.settle(_NOTHING, usage)


_NOTHING = Reservation(0, 0)
