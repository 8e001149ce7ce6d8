"""Keys as other workflow languages have them are answered with what they are called here."""

import pytest

from runloop.openings import OpeningError, parse_once

WHOLE = "version: 0\nname: x\nnodes:\n- id: a\n  use: agent:greeter\n{node}\nedges: [{edge}]\n{document}\n"


def hints(**parts: str) -> list[tuple[str, str]]:
    with pytest.raises(OpeningError) as refused:
        parse_once(WHOLE.format(**({"node": "", "edge": "", "document": ""} | parts)), file="x.yaml")
    return [(problem.where.key, problem.hint) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("name", "a node is named by 'id'"),
        ("agent", "'use: agent:NAME' or 'use: opening:NAME' says what runs"),
        ("params", "'with' gives values; an edge hands over what another node gave"),
        ("depends_on", "edges give the order, beside 'nodes': {from: FIRST.PORT, to: NEXT.PORT}"),
        ("when", "a condition stands on an edge: {from: NODE.PORT.KEY == true, to: NODE.PORT}"),
        ("loop", "write 'for_each'"),
        ("approval", "a gate asks a person: 'gate: {ask: …}'"),
        ("foreach", "did you mean 'for_each'?"),
    ],
)
def test_of_a_node(key, hint):
    assert hints(node=f"  {key}: x") == [(key, hint)]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("steps", "write 'nodes', a list with 'id' and 'use'"),
        ("inputs", "write 'params: {NAME: DEFAULT}'"),
        ("outputs", "write 'artifacts: {save: [NODE.PORT]}' for what is kept as files"),
        ("description", "write 'goals', a list of texts"),
        ("budget_tokens", "it stands under 'policy'"),
    ],
)
def test_of_the_document(key, hint):
    assert hints(document=f"{key}: x") == [(key, hint)]


def test_of_an_edge():
    found = dict(hints(edge="{source: a.out, target: a.in, if: x}"))
    assert (found["source"], found["target"]) == ("write 'from'", "write 'to'")
    assert found["if"] == "the condition stands in 'from': {from: NODE.PORT.KEY == true, to: NODE.PORT}"


def test_no_key_that_is_known_is_called_otherwise():
    from runloop.openings.elsewhere import _MEANT

    assert not [(here, key) for here, words in _MEANT.items() for key in words if key == here]
