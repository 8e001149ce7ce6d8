"""Token and money accounts of a run and its nodes."""

from __future__ import annotations

from runloop.dataclass import dataclass


@dataclass(slots=True)
class Account:
    """What was spent against what may be; None is no limit. Money is in millionths of a dollar."""

    token_limit: int | None
    usd_limit: int | None
    tokens: int = 0
    usd_micros: int = 0

    def spend(self, tokens: int, usd_micros: int) -> None:
        """Add to what was spent."""
        self.tokens += tokens
        self.usd_micros += usd_micros

    def excess(self) -> str:
        """What was overdrawn, for people; empty if nothing was."""
        if self.token_limit is not None and self.tokens > self.token_limit:
            return f"{self.tokens} of {self.token_limit} tokens"
        if self.usd_limit is not None and self.usd_micros > self.usd_limit:
            return f"${self.usd_micros / 1e6:.6f} of ${self.usd_limit / 1e6:.6f}"
        return ""

    def tokens_left(self) -> int | None:
        """Tokens that may still be spent."""
        return None if self.token_limit is None else max(0, self.token_limit - self.tokens)

    def usd_left(self) -> int | None:
        """Money that may still be spent."""
        return None if self.usd_limit is None else max(0, self.usd_limit - self.usd_micros)


def least(first: int | None, second: int | None) -> int | None:
    """The smaller of two limits."""
    return second if first is None or (second is not None and second < first) else first
