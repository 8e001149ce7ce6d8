"""Sets of names that an agent was granted: knowledge domains, agents and openings to spawn."""

from __future__ import annotations

from runloop.dataclass import dataclass

#: Unmasked addresses. "Everything" does not include it: whoever lifts redaction has to write the word.
CONTACTS_RAW = "contacts_raw"
#: SQL over every masked table, whatever its domain.
QUERY = "query"
#: What is recorded, event by event; it is got by key, and not searched.
EVENTS = "events"
ONLY_BY_NAME = frozenset({CONTACTS_RAW, QUERY})


@dataclass(frozen=True, slots=True)
class NameGrants:
    """``everything`` (the TOML value ``true``) or the names listed."""

    everything: bool = False
    names: frozenset[str] = frozenset()

    def allows(self, name: str) -> bool:
        """Whether ``name`` is granted; those that lift a limit only when they are listed."""
        return name in self.names or (self.everything and name not in ONLY_BY_NAME)

    def intersect(self, other: NameGrants) -> NameGrants:
        """Return what both allow."""
        both = frozenset(name for name in self.names | other.names if self.allows(name) and other.allows(name))
        everything = self.everything and other.everything
        return NameGrants(everything, both & ONLY_BY_NAME if everything else both)

    def to_json(self) -> bool | list[str]:
        """As the policy file would say it."""
        return sorted(self.names) if self.names or not self.everything else True
