"""Undoing a second time, as docs/cli.md says it: the newest writing first, and nothing is touched that does not hold what was written."""

from __future__ import annotations

import shutil

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.effects.perform.storage import FileBlobs
from runloop.runs.undoing import AS_IT_WAS, LEFT, PUT_BACK, Writing, look, put_back

TEXTS, NAMES = ["", "a", "b", "mine"], ["one", "two"]
FOREIGN = st.tuples(st.just("somebody"), st.sampled_from(NAMES), st.sampled_from([None, *TEXTS]))
WRITES = st.tuples(st.just("run"), st.sampled_from(NAMES), st.sampled_from(TEXTS))
MOMENTS = st.sampled_from(["whole", "whole", "whole", "unsure", "lost"])


def digest(text: str) -> str:
    return blake3(text.encode()).hexdigest()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(WRITES | WRITES | FOREIGN, MOMENTS), min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_what_is_put_back_is_what_the_writings_found_and_nothing_of_somebody_elses(tmp_path_factory, steps, chosen):
    root = tmp_path_factory.mktemp("undo")
    blobs, there, found, told = FileBlobs(root / "blobs"), dict.fromkeys(NAMES), [], []
    for number, ((who, name, text), moment) in enumerate(steps):
        before, there[name] = there[name], text
        if who == "run" and chosen[number]:  # the others are of another run, or of a node that is not undone
            if before is not None and moment != "lost":
                blobs.put(before.encode())
            path = str(root / name)
            written, previous = digest(text or ""), None if before is None else digest(before)
            found.insert(0, Writing("r", "n", number, path, written, previous, sure=before is not None or moment != "unsure"))
            told.insert(0, (name, text, before, moment))
    kept = {each for name, _, each, moment in told if each is not None and moment != "lost"}
    for name, text in there.items():
        if text is not None:
            (root / name).write_text(text)

    look(found, blobs)
    put_back(found, blobs)

    first = {name: (before, moment) for name, _, before, moment in told}  # the oldest of each stands
    states = []
    for name, text, before, moment in told:
        whole = before in kept if before is not None else moment != "unsure"
        oldest, of_oldest = first[name]
        if there[name] == text and whole:
            there[name] = before
            states.append(PUT_BACK)
        else:
            known = oldest is not None or of_oldest != "unsure"
            states.append(AS_IT_WAS if there[name] != text and known and there[name] == oldest else LEFT)
    assert {name: (root / name).read_text() if (root / name).exists() else None for name in NAMES} == there
    assert [each.state for each in found] == states
    shutil.rmtree(root)
