"""Examples of what people say when they want an opening: `write to {recipient} about {topic}`. A slot names a parameter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection

    from runloop.openings.errors import Report
    from runloop.openings.fields import Section

MAX_EXAMPLES = 64
MAX_LENGTH = 300
"""Characters of one example."""

_SLOT = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Example:
    """One way to ask; ``pieces`` are words, a slot's name, words, and so on: words at even places, possibly empty."""

    text: str
    pieces: tuple[str, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The parameters that it names."""
        return self.pieces[1::2]


def read_examples(document: Section, params: Collection[str], report: Report) -> tuple[Example, ...]:
    """The document's ``examples``, each checked against its parameters."""
    found = document.texts("examples", "examples must be a sequence", "examples[{i}] must be a string")
    if len(found) > MAX_EXAMPLES:
        document.problem(
            "limit", f"there are {len(found)} examples, at most {MAX_EXAMPLES} are allowed", found[MAX_EXAMPLES][1], key="examples"
        )
    examples = []
    for text, at in found[:MAX_EXAMPLES]:
        example = Example(text, tuple(_SLOT.split(text)))
        why, hint, near = _wrong(example, params)
        if why:
            report.add("example", why, at, key="examples", hint=hint, near=(near, params) if near else None)
        examples.append(example)
    return tuple(examples)


def _wrong(example: Example, params: Collection[str]) -> tuple[str, str, str]:
    """What is wrong with an example, what to do, and the name that no parameter has."""
    words, slots = example.pieces[::2], example.slots
    if len(example.text) > MAX_LENGTH:
        return f"an example is at most {MAX_LENGTH} characters long", "say it shorter", ""
    if any(mark in text for text in words for mark in "{}"):
        return f"a brace in the example '{example.text}' is not closed, or not opened", "write a slot as {parameter}", ""
    if not any(char.isalnum() for text in words for char in text):
        return f"the example '{example.text}' has no word of its own", "say what a person would type", ""
    for name in slots:
        if name not in params:
            return f"the slot {{{name}}} is no parameter", f"declare it: params: {{{name}: …}}", name
    if len(set(slots)) < len(slots):
        return f"the example '{example.text}' has a slot twice", "name each parameter once", ""
    if any(not any(char.isalnum() for char in text) for text in words[1:-1]):
        return f"two slots of the example '{example.text}' have no word between them", "put the word between them that people would say", ""
    return "", "", ""
