"""What waits for a person in runs that are not in memory, or are back and have yet to ask it again."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.runs.gates import commented
from runloop.text import GATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.events import StoredEvent


@dataclass(frozen=True, slots=True)
class Aside:
    """Something that waits for a person in a run that was parked; what it is stands in the ledger."""

    root: str
    run_id: str
    event_id: int
    question: bool

    def shown(self, approval_id: str, event: StoredEvent) -> dict[str, Any]:
        """All of it as JSON, from the record that asks."""
        payload, meta = event.payload, event.payload["meta"]
        shown = {
            "approval_id": approval_id,
            "run_id": self.run_id,
            "root_run_id": self.root,
            "opening_name": payload["opening_name"],
            "node": meta["node"],
            "agent": str(event.provenance.get("agent_id", "")).removeprefix("agent:") or payload["opening_name"],
            "asked_ms": event.ts_ms,
        }
        if not self.question:
            given = {"action": meta["action"], "what": meta["what"], "reason": meta.get("reason") or ""}
            lists = {"recipients": meta.get("recipients"), "scopes": meta.get("options"), "taint": meta.get("taint")}
            return {"type": "approval", **shown, **given, **{name: each or [] for name, each in lists.items()}}
        asks = meta.get("args") or {"question": meta.get("what"), "options": meta.get("options")}
        options = list(asks.get("options") or ())
        at_gate = meta.get("action") == GATE
        closes_ms, on_timeout = (meta.get("deadline"), meta.get("on_timeout")) if at_gate else (None, None)
        if (timeout_ms := asks.get("timeout_ms")) is not None:
            closes_ms, on_timeout = event.ts_ms + timeout_ms, asks.get("default")
        return {
            "type": "question", **shown, "question": asks["question"], "options": options,
            "default": asks.get("default"), "detail": asks.get("detail", ""), "timeout_ms": timeout_ms,
            "comment_on": list(commented(options)) if at_gate else [],
            "closes_ms": closes_ms, "on_timeout": on_timeout or "",
        }  # fmt: skip


@dataclass(slots=True)
class Asides:
    """All of that, by approval id."""

    _by_id: dict[str, Aside] = field(default_factory=dict)
    _of: dict[str, set[str]] = field(default_factory=dict)
    """The ids by root."""
    _back: set[str] = field(default_factory=set)
    """Runs taken up again that have yet to ask something."""

    def __len__(self) -> int:
        return len(self._by_id)

    def items(self) -> Iterable[tuple[str, Aside]]:
        """Each with its approval id."""
        return list(self._by_id.items())

    def get(self, approval_id: str) -> Aside | None:
        """The one of that id."""
        return self._by_id.get(approval_id)

    def put(self, approval_id: str, aside: Aside) -> None:
        """A run that is parked asks this."""
        self._by_id[approval_id] = aside
        self._of.setdefault(aside.root, set()).add(approval_id)

    def come_back(self, root: str) -> None:
        """The run is taken up again, and will ask by itself."""
        if root in self._of:
            self._back.add(root)

    def is_back(self, root: str) -> bool:
        """Whether the run is taken up again, and has yet to ask something."""
        return root in self._back

    @property
    def some_are_back(self) -> bool:
        """Whether any run is."""
        return bool(self._back)

    def asked(self, approval_id: str) -> None:
        """A run that is back asks this now by itself, or need not ask it any more."""
        mine = self._by_id.get(approval_id)
        if mine is None or mine.root not in self._back:
            return
        del self._by_id[approval_id]
        left = self._of[mine.root]
        left.remove(approval_id)
        if not left:
            self.forget(mine.root)

    def forget(self, root: str) -> set[str]:
        """Nothing of this run is open any more; what was."""
        self._back.discard(root)
        names = self._of.pop(root, set())
        for name in names:
            del self._by_id[name]
        return names
