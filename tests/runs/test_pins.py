"""An opening is checked against its agents once, and again as soon as one of them, the services or the opening is another one."""

from types import SimpleNamespace

import pytest

from runloop.errors import InvalidInput, Where
from runloop.openings import OpeningError, parse_opening
from runloop.runs.pins import Pins
from runloop.runs.submission import Submission
from runloop.sandbox.spec import Limits

TEXT = """version: 0
name: two
nodes:
  - {id: a, use: agent:one}
  - {id: b, use: agent:two}
edges:
  - {from: a.out, to: b.in}
"""


def bundle(**ports):
    return SimpleNamespace(**{"ports_in": (), "ports_out": ("out",), "with_schema": None, "kind": "component", **ports})


class Shop:
    """Agents by name, and how often guests were prepared."""

    def __init__(self):
        self.agents = {"one": bundle(), "two": bundle()}
        self.prepared = 0
        self.pins = Pins(self.prepare)

    async def prepare(self, _nodes):
        self.prepared += 1

    def resolve(self, name, _variant):
        if name not in self.agents:
            raise InvalidInput(f"no agent {name}", code="bundle.not_found")
        return self.agents[name]

    async def pin(self, opening, services="services"):
        return await self.pins.pin(opening, services, self.resolve)


async def test_the_same_opening_with_the_same_agents_is_not_prepared_again():
    shop, opening = Shop(), parse_opening(TEXT)
    first, second = await shop.pin(opening), await shop.pin(opening)
    assert (first, second) == ({"a": shop.agents["one"], "b": shop.agents["two"]}, first)
    assert shop.prepared == 1


async def test_another_bundle_opening_or_service_is_looked_at_anew():
    shop, opening = Shop(), parse_opening(TEXT)
    await shop.pin(opening)
    shop.agents["two"] = bundle()
    assert (await shop.pin(opening))["b"] is shop.agents["two"]
    await shop.pin(parse_opening(TEXT))
    await shop.pin(opening, "others")
    assert shop.prepared == 4


async def test_an_agent_that_no_longer_fits_is_found_though_the_opening_was_checked_before():
    shop, opening = Shop(), parse_opening(TEXT)
    await shop.pin(opening)
    shop.agents["one"] = bundle(ports_out=("other",))
    with pytest.raises(OpeningError, match="out"):
        await shop.pin(opening)
    assert shop.prepared == 1


async def test_an_agent_that_is_gone_is_named_with_its_node_and_line():
    shop, opening = Shop(), parse_opening(TEXT)
    await shop.pin(opening)
    del shop.agents["two"]
    with pytest.raises(InvalidInput) as caught:
        await shop.pin(opening)
    assert caught.value.where == Where(node="b")
    opening = parse_opening(TEXT, file="o.yaml")
    with pytest.raises(InvalidInput) as caught:
        await shop.pin(opening)
    assert (caught.value.where.file, caught.value.where.line, caught.value.where.node) == ("o.yaml", 5, "b")


async def test_a_guest_that_counts_its_fuel_is_compiled_before_anything_is_recorded(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        b.agent("two", "@agent\ndef run(**inputs):\n    return {'out': 2}\n")
        compiled = []

        async def prepare(spec):
            compiled.append((spec.kind, spec.limits.fuel))

        object.__setattr__(b.services, "limits_of", lambda bundle: Limits(fuel=10**9 if bundle.name == "two" else None))
        object.__setattr__(b.services, "guests", SimpleNamespace(prepare=prepare))
        await b.manager.submit(Submission(parse_opening(TEXT)))
    assert compiled == [("python", None), ("python", 10**9)]


async def test_only_so_many_openings_are_remembered(monkeypatch):
    monkeypatch.setattr("runloop.runs.pins._REMEMBERED", 2)
    shop, openings = Shop(), [parse_opening(TEXT) for _ in range(3)]
    for opening in openings:
        await shop.pin(opening)
    assert len(shop.pins._known) == 2
    await shop.pin(openings[0])
    assert shop.prepared == 4
