"""Random openings with random comments: what is printed says the same, keeps every comment, and is printed the same again."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.openings import Opening, examine, parse_opening
from runloop.openings.fmt import Form, format_opening
from runloop.openings.parse import NAME_BREAKS

NASTY = st.sampled_from(
    ["yes", "null", "~", "1e3", "0x1f", ".inf", "007", "12:30", "a: b", "a #b", "#a", "- a", "? a", "a,b", "[a]", "{a}", "'a'", '"a"', "",
     " a ", "a\nb", "a\nb\n", "a\n\n", "\na", "a\n  b\n \n", "a\tb", "a\\nb", "\x85", "\u2028", "\x00", "\ufeff", "😀", "a.b == \"c\\\"",
     'a.b == "x"y"', "a.b > 1", "exists(a.b)", "exists(", "2d", "http://x/y", "{{params.p}}", "opening", "...", "---", "word " * 39 + "end",
     "a->b", "a-", "-", "<<", "=", "!x", "&a", "*a", "%", "@", "`", "|", ">"]
)  # fmt: skip
TEXTS = NASTY | st.text(max_size=12).filter(lambda text: "{{" not in text and "}}" not in text)
PLAIN_TEXTS = TEXTS.filter(lambda text: "{{" not in text)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(PLAIN_TEXTS, children, max_size=4),
    max_leaves=12,
)
GUARDS = st.sampled_from(["", "==true", " != false", ' ==  "x y"', '=="a\\"b"', " >= -1.5e3", "< +7", ' > "}{"'])
NAMES = st.from_regex(r"[\w-]{1,8}", fullmatch=True)


def plain(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" not in value
    return all(map(plain, value)) if isinstance(value, list) else not isinstance(value, dict) or all(map(plain, value.values()))


def exact(value: Any) -> Any:
    """The value with its integers brought into the range that parameters have."""
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    return value % 2**53 if isinstance(value, int) and not isinstance(value, bool) else value


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    nodes = []
    for name in names:
        node: dict[str, Any] = {"id": name, "use": draw(st.sampled_from(["agent:a", "agent:b@c", " opening:d"]))}
        node |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "with": st.dictionaries(PLAIN_TEXTS, VALUES, max_size=4),
                    "retry": st.fixed_dictionaries({}, optional={"max_attempts": st.integers(0, 5), "jitter": st.floats(0, 1)}),
                    "timeout_ms": st.integers(1, 10**6),
                    "tags": st.lists(TEXTS, max_size=3),
                    "on_failure": st.sampled_from(["fail", "skip", "continue"]),
                    "schema_hints": st.just({"with": {"$defs": {"x": {"enum": [1, "a: b"]}}}}),
                },
            )
        )
        keys = draw(st.permutations(list(node)))
        nodes.append({key: node[key] for key in keys})
    edges: list[dict[str, str]] = []
    for target in range(1, len(names)):
        for source in draw(st.lists(st.integers(0, target - 1), max_size=2, unique=True)):
            edges.append({"from": f"{names[source]}.out{draw(GUARDS)}", "to": f"{names[target]} . p"})
    document: dict[str, Any] = {
        "version": 0,
        "name": draw(TEXTS.filter(lambda text: text.strip() and re.search(NAME_BREAKS, text) is None)),
        "nodes": nodes,
        "edges": edges,
    }
    document |= draw(
        st.fixed_dictionaries(
            {
                "params": st.dictionaries(PLAIN_TEXTS, VALUES.filter(plain).map(exact), max_size=3).map(
                    lambda params: {**params, "p": "given"}
                )
            },
            optional={
                "goals": st.lists(TEXTS, max_size=3),
                "policy": st.fixed_dictionaries({}, optional={"budget_usd": st.floats(0, 9), "confirm_external": st.booleans()}),
                "success": st.just({"any_of": [f"exists( {names[0]}.out )", f'{names[0]}.x=="1"', f'{names[0]}.x != "a\nb"']}),
                "artifacts": st.just({"save": [f" {names[-1]}.out"]}),
            },
        )
    )
    return {key: document[key] for key in draw(st.permutations(list(document)))}


def source_of(document: dict[str, Any]) -> str:
    """The document as another library writes it, in quotes and with tags: its plain scalars are not those of the language."""
    return str(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, default_style='"'))


def meaning(text: str) -> Opening:
    return replace(parse_opening(text), digest="")


def with_comments(text: str, chance: random.Random) -> tuple[str, list[str]]:
    """The text with comments where they are comments, and not part of a value."""
    says, notes = meaning(text), []
    for number in range(4):
        lines = text.split("\n")
        place = chance.randrange(len(lines))
        note = f"#note{number}."
        alone = chance.random() < 0.5
        line = [*([""] if chance.random() < 0.3 else []), " " * chance.randrange(9) + note]
        changed = [*line, lines[place]] if alone else [f"{lines[place]} {note}"]
        candidate = "\n".join([*lines[:place], *changed, *lines[place + 1 :]])
        examined = examine(candidate)
        if not examined.problems and examined.opening is not None and replace(examined.opening, digest="") == says:
            text, notes = candidate, [*notes, note]
    return text, notes


@settings(max_examples=settings().max_examples // 2)
@given(documents(), st.sampled_from(Form), st.randoms(use_true_random=False))
def test_every_form_says_the_same_keeps_the_comments_and_is_stable(document, form, chance):
    source = source_of(document)
    says = meaning(source)
    commented, notes = with_comments(format_opening(source, to=form).text, chance)

    for to in Form:
        printed = format_opening(commented, to=to).text

        assert meaning(printed) == says
        assert [printed.count(note) for note in notes] == [1] * len(notes)
        assert format_opening(printed).text == printed
