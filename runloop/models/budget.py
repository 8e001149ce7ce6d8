"""Budgets and prices: what a call may cost is set aside before it is made, what it did cost is booked after."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.models.errors import ModelError
from runloop.models.settings import PriceSettings, matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.models.types import Usage

_MILLION = 1_000_000
_LESS = "give the call a smaller max_tokens"


def price_of(prices: Sequence[PriceSettings], provider: str, model: str) -> PriceSettings | None:
    """The first price whose provider and model pattern fit, or None: an unknown price is never 0."""
    return next((price for price in prices if price.provider in {None, provider} and matches(price.model, model)), None)


def cost_micros(price: PriceSettings | None, tokens_in: int, tokens_out: int) -> int | None:
    """Micro-dollars, rounded up; None without a price."""
    if price is None:
        return None
    exact = tokens_in * price.micros_in_per_million + tokens_out * price.micros_out_per_million
    return -(-exact // _MILLION)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call has set aside."""

    tokens: int
    usd_micros: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a budget is, and the keys that set it, as errors name them."""

    whose: str = "the run's budget"
    tokens_key: str = "policy.budget_tokens of the opening"
    usd_key: str = "policy.budget_usd of the opening"


RUN = Holder()
"""A run's own budget, as its opening gives it."""


class Budget:
    """Tokens and money of one run, shared by its parallel nodes. None means no limit.

    ``set_aside`` before a call and ``settle`` or ``release`` after it, so that two calls at once cannot both spend the rest.
    """

    def __init__(self, tokens: int | None = None, usd_micros: int | None = None, *, holder: Holder | None = None) -> None:
        self.tokens, self.usd_micros, self.holder = tokens, usd_micros, holder or RUN
        self.spent_tokens = self.spent_usd_micros = 0
        self._held_tokens = self._held_usd = 0
        self._waiters: list[asyncio.Future[None]] = []

    def narrow(self, tokens: int | None = None, usd_micros: int | None = None, *, tokens_key: str = "", usd_key: str = "") -> None:
        """Lower the limits to these, where they are lower; the keys that set these are named from then on."""
        if tokens is not None and (self.tokens is None or tokens < self.tokens):
            self.tokens, self.holder = tokens, replace(self.holder, tokens_key=tokens_key)
        if usd_micros is not None and (self.usd_micros is None or usd_micros < self.usd_micros):
            self.usd_micros, self.holder = usd_micros, replace(self.holder, usd_key=usd_key)

    @property
    def remaining_tokens(self) -> int | None:
        """Tokens that are neither spent nor set aside, at least 0."""
        return None if self.tokens is None else max(0, self.tokens - self.spent_tokens - self._held_tokens)

    @property
    def remaining_usd_micros(self) -> int | None:
        """Micro-dollars that are neither spent nor set aside, at least 0."""
        return None if self.usd_micros is None else max(0, self.usd_micros - self.spent_usd_micros - self._held_usd)

    def reserve(self, tokens: int, usd_micros: int | None) -> Reservation:
        """Set aside what a call may need. ``usd_micros`` None means that its price is not known.

        Raises:
            ModelError: ``budget`` when it does not fit, or when money is limited and the price is not known.

        """
        left, left_usd = self.remaining_tokens, self.remaining_usd_micros
        if left is not None and tokens > left:
            raise ModelError(
                "budget",
                "model.budget_tokens",
                f"the call may need {tokens} tokens, {left} of {self.tokens} are left of {self.holder.whose}",
                hint=f"raise {self.holder.tokens_key}, shorten the prompt, or {_LESS}",
            )
        if left_usd is not None:
            if usd_micros is None:
                raise ModelError(
                    "budget",
                    "model.price_unknown",
                    f"{self.holder.whose} is capped in US dollars and the price of this model is not known",
                    hint=f"add the model to models.broker.prices (0 for a model that costs nothing), or remove {self.holder.usd_key}",
                )
            if usd_micros > left_usd:
                raise ModelError(
                    "budget",
                    "model.budget_usd",
                    f"the call may cost {dollars(usd_micros)}, {dollars(left_usd)} of {dollars(self.usd_micros or 0)} "
                    f"are left of {self.holder.whose}",
                    hint=f"raise {self.holder.usd_key}, or {_LESS}",
                )
        held = Reservation(tokens, usd_micros or 0)
        self._held_tokens += held.tokens
        self._held_usd += held.usd_micros
        return held

    async def set_aside(self, tokens: int, usd_micros: int | None) -> Reservation:
        """As :meth:`reserve`; where nothing but what calls under way have set aside is in the way, waits until one of them ends.

        What a run comes to therefore does not depend on how many of its calls happen to be under way at once.
        """
        while True:
            try:
                return self.reserve(tokens, usd_micros)
            except ModelError:
                if not self.fits_alone(tokens, usd_micros):
                    raise
            await self.changed()

    def fits_alone(self, tokens: int, usd_micros: int | None) -> bool:
        """Whether a call could be made if no other were under way."""
        in_tokens = self.tokens is None or self.spent_tokens + tokens <= self.tokens
        in_usd = self.usd_micros is None or (usd_micros is not None and self.spent_usd_micros + usd_micros <= self.usd_micros)
        return in_tokens and in_usd

    async def changed(self) -> None:
        """Return when something was given back that had been set aside."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def release(self, held: Reservation) -> None:
        """Give back what a failed call had set aside."""
        self._held_tokens -= held.tokens
        self._held_usd -= held.usd_micros
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def settle(self, held: Reservation, usage: Usage) -> None:
        """Book what the call did use.

        Raises:
            ModelError: ``budget`` with the usage, when the provider used more than was left; it is booked all the same.

        """
        self.release(held)
        self.spent_tokens += usage.tokens
        self.spent_usd_micros += usage.usd_micros or 0
        over_tokens = self.tokens is not None and self.spent_tokens > self.tokens
        over_usd = self.usd_micros is not None and self.spent_usd_micros > self.usd_micros
        if over_tokens or over_usd:
            what = f"{self.spent_tokens} of {self.tokens} tokens" if over_tokens else dollars(self.spent_usd_micros)
            key = self.holder.tokens_key if over_tokens else self.holder.usd_key
            raise ModelError(
                "budget",
                "model.budget_overrun",
                f"the provider used more than was asked for: {what} of {self.holder.whose} are used now",
                hint=f"raise {key}, or use a provider that keeps to max_tokens",
                usage=usage,
            )


def dollars(micros: int) -> str:
    """Micro-dollars for people, exact."""
    return f"${micros // _MILLION}.{micros % _MILLION:06d}"
