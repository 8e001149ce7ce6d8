"""The block in a shell's start file: written once, replaced when it differs, taken out without a trace."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.router import rcblock

BLOCK = rcblock.block("zsh", "/abs/runloop.zsh", {})
OTHER = rcblock.block("zsh", "/abs/other.zsh", {"A": "1"})


def test_the_block_is_that_of_the_specification():
    assert rcblock.block("zsh", "/abs/runloop.zsh", {"RUNLOOP_ROUTER_OPENING_PATH": "/abs/it's.yaml"}) == (
        "# >>> runloop shell (zsh) >>>\n"
        "export RUNLOOP_ROUTER_OPENING_PATH='/abs/it'\\''s.yaml'\n"
        "source '/abs/runloop.zsh'\n"
        "# <<< runloop shell (zsh) <<<\n"
    )
    assert "set -gx A '1'\n" in rcblock.block("fish", "/x", {"A": "1"})


@pytest.mark.parametrize("shell", rcblock.SHELLS)
@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=("Cs", "Zl", "Zp", "Cc"))))
def test_what_a_block_says_is_read_back(shell, word):
    made = rcblock.block(shell, f"/{word}", {"A": word, "B": "1"})
    assert (rcblock.variables(made, shell), rcblock.snippet(made)) == ({"A": word, "B": "1"}, f"/{word}")


@pytest.mark.parametrize(
    ("before", "after"), [("", BLOCK), ("alias a=b\n", f"alias a=b\n\n{BLOCK}"), ("no line end", f"no line end\n\n{BLOCK}")]
)
def test_it_is_added_after_what_is_there(before, after):
    assert rcblock.enabled(before, "zsh", BLOCK) == rcblock.Edited("added", after)


def test_it_is_written_once_and_replaced_where_it_stands():
    text = f"before\n\n{BLOCK}after\n{BLOCK}"

    assert rcblock.enabled(BLOCK, "zsh", BLOCK) == rcblock.Edited("present", BLOCK)
    assert rcblock.enabled(text, "zsh", OTHER) == rcblock.Edited("updated", f"before\n\n{OTHER}after\n")
    assert rcblock.enabled(text, "zsh", BLOCK).action == "updated"


def test_the_blocks_of_other_shells_are_left_alone():
    text = rcblock.block("bash", "/x", {})

    assert rcblock.disabled(text, "zsh") == rcblock.Edited("not_found", text)
    assert rcblock.current(text, "zsh") is None
    assert rcblock.current(text + BLOCK, "zsh") == BLOCK


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x\n# >>> runloop shell (zsh) >>>\nsource 'a'\n", 2),
        ("x\n# <<< runloop shell (zsh) <<<\n", 2),
        ("# >>> runloop shell (zsh) >>>\n# >>> runloop shell (zsh) >>>\n# <<< runloop shell (zsh) <<<\n", 2),
    ],
)
def test_a_block_that_is_not_whole_is_not_touched(text, line):
    for edit in (lambda: rcblock.enabled(text, "zsh", BLOCK), lambda: rcblock.disabled(text, "zsh"), lambda: rcblock.current(text, "zsh")):
        with pytest.raises(rcblock.Broken) as broken:
            edit()
        assert broken.value.line == line


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"), max_size=200))
def test_switched_on_and_off_again_the_file_is_as_it_was_but_for_blank_lines_at_its_end(text):
    added = rcblock.enabled(text, "zsh", BLOCK).text

    assert rcblock.enabled(added, "zsh", BLOCK).action == "present"
    assert rcblock.disabled(added, "zsh").text.rstrip() == text.rstrip()


@settings(max_examples=25)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=50))
def test_a_quoted_word_is_that_word_to_a_shell(text):
    said = subprocess.run(["bash", "-c", f"printf %s {rcblock.quoted(text)}"], capture_output=True, check=True).stdout

    assert said == text.encode()
