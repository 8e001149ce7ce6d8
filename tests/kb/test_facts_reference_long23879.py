"""Facts a second time, as docs/forgetting.md says it: what holds, what ended, and what is refused, from nothing but what was done."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.errors import RunloopError
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase, facts
from runloop.kb.proposing import StateDelta

SUBJECTS = {" ADA@x.example": 0, "lovelace@y.example": 0, "The Guild": 1, "the  guild!": 1}
"""Who is meant; Ada has two addresses."""
STAMPS = {False: "person", True: "validator"}
VALUES = {"Oat Milk": "oat milk", "oat milk": "oat milk", "tea": "tea", "Tea!": "tea", "coffee": "coffee"}


@dataclass
class Said:
    who: int
    predicate: str
    value: str
    status: str
    by: str
    earlier: int | None


class Told:
    """Every fact by its number; ``None`` for an answer is a refusal."""

    def __init__(self) -> None:
        self.facts: dict[int, Said] = {}

    def contradicted(self, who: int, predicate: str, value: str) -> bool:
        """Whether a person says another value, and none says this one."""
        held = [each for each in self.facts.values() if (each.who, each.predicate.casefold()) == (who, predicate.casefold())]
        values = [VALUES[each.value] for each in held if each.status == "current" and each.by == "person"]
        return bool(values) and VALUES[value] not in values

    def refused(self, number: int, agent: bool, value: str | None) -> bool:
        old = self.facts.get(number)
        if old is None or old.status != "current" or (agent and old.by == "person"):
            return True
        return agent and value is not None and self.contradicted(old.who, old.predicate, value)

    def erase(self, number: int) -> None:
        """A value that others came after is listed as erased; one alone is gone, and does not bring back what it replaced."""
        erased = self.facts[number]
        if erased.earlier is None and not any(each.earlier == number for each in self.facts.values()):
            del self.facts[number]
        else:
            erased.value, erased.status, erased.by = "", "erased", ""


class Both:
    """What was done, to a base and to the model; both take it or both refuse."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self.kb, self.told = kb, Told()
        note = {"path": "/n", "line": 1, "end_line": 1, "text": " ".join(VALUES), "file_hash": "a" * 64, "part": 0, "parts": 1}
        ada = {"name": "Ada", "email": "ada@x.example", "emails": ["ada@x.example", "lovelace@y.example"]}
        self.source = kb.ledger.append([NewEvent("note.imported", note, "user"), NewEvent("contact.upserted", ada, "user")])[0].id

    def propose(self, kind: str, agent: bool, said: dict[str, Any], *, refused: bool) -> int:
        """The number of the event."""
        if agent and "value" in said:
            said = {**said, "spans": [{"event_id": self.source, "quote": said["value"]}]}
        delta = StateDelta(kind, said, "agent:a" if agent else "user")
        with pytest.raises(RunloopError) if refused else nullcontext():
            return self.kb.propose(delta).id
        return 0

    def numbered(self, index: int) -> int:
        return sorted(self.told.facts)[index % len(self.told.facts)] if self.told.facts else 999

    def remember(self, agent: bool, subject: str, predicate: str, value: str) -> None:
        who = SUBJECTS[subject]
        refused = agent and self.told.contradicted(who, predicate, value)
        said = {"subject": subject, "predicate": predicate, "value": value}
        if number := self.propose("fact.remembered", agent, said, refused=refused):
            self.told.facts[number] = Said(who, predicate, value, "current", STAMPS[agent], None)

    def supersede(self, agent: bool, index: int, value: str) -> None:
        old = self.numbered(index)
        said, refused = {"fact": old, "value": value}, self.told.refused(old, agent, value)
        if number := self.propose("fact.superseded", agent, said, refused=refused):
            before = self.told.facts[old]
            before.status = "superseded"
            self.told.facts[number] = Said(before.who, before.predicate, value, "current", STAMPS[agent], old)

    def forget(self, agent: bool, index: int) -> None:
        old = self.numbered(index)
        if self.propose("fact.forgotten", agent, {"fact": old}, refused=self.told.refused(old, agent, None)):
            self.told.facts[old].status, self.told.facts[old].value = "forgotten", ""

    def erase(self, _agent: bool, index: int) -> None:
        number = self.numbered(index)
        if number in self.told.facts and self.told.facts[number].status != "erased":
            if self.told.facts[number].status == "current":
                self.forget(False, index)
            with self.kb.reading() as db:
                left = facts.left_of(db, number)
            self.kb.erase([left])
            self.told.erase(number)

    def check(self) -> None:
        told = self.told.facts
        with self.kb.reading() as db:
            assert {each.id: (each.predicate, each.value, each.status, each.stamp) for each in facts.select(db, ended=True)} == {
                number: (each.predicate, each.value, each.status, each.by) for number, each in told.items()
            }
            for subject, who in SUBJECTS.items():
                held = [number for number, each in sorted(told.items()) if (each.who, each.status) == (who, "current")]
                assert [each.id for each in facts.select(db, subject)] == held
        found = Counter(hit.key for word in ("milk", "tea", "coffee") for hit in self.kb.search(word, ["facts"], limit=50))
        assert found == Counter(f"fact:{number}" for number, each in told.items() if each.status == "current")


who, numbers, values = st.booleans(), st.integers(0, 9), st.sampled_from(sorted(VALUES))
REMEMBER = st.tuples(st.just("remember"), who, st.sampled_from(sorted(SUBJECTS)), st.sampled_from(["likes", "Likes", "has"]), values)
SUPERSEDE = st.tuples(st.just("supersede"), who, numbers, values)
OTHERS = st.tuples(st.sampled_from(["forget", "erase"]), who, numbers)
STEPS = st.lists(st.sampled_from([REMEMBER, REMEMBER, SUPERSEDE, OTHERS]).flatmap(lambda step: step), min_size=5, max_size=14)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_what_holds_is_what_was_said_last_and_nobody_took_back(tmp_path_factory, steps):
    with KnowledgeBase.open(tmp_path_factory.mktemp("facts")) as kb:
        both = Both(kb)
        for step, *rest in steps:
            getattr(both, step)(*rest)
        both.check()
        kb.rebuild()
        both.check()
        assert kb.problems() == []
        assert kb.verify(views=True).broken is None
