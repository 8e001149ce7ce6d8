"""What a refused capability check answers."""

from __future__ import annotations

from runloop.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal by the capability set: labels as upstream's audit (spec 11), and what the person can change."""

    cap: str
    op: str
    reason: str
    target: str
    hint: str

    @property
    def code(self) -> str:
        """Dotted stable name, for records: ``denied.net.http.host_not_permitted``."""
        return f"denied.{self.cap}.{self.reason}"

    @property
    def message(self) -> str:
        """One line for people; the form upstream's denials have."""
        text = f"capability denied: {self.cap} ({self.reason})"
        return f"{text} for {self.target}" if self.target else text

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form, as an audit event holds it."""
        return {"cap": self.cap, "op": self.op, "reason": self.reason, "target": self.target, "hint": self.hint}
