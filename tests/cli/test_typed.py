"""The values of options and arguments: as typer itself reads them, without what it imports for that."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from runloop.cli.commands import command_of
from runloop.cli.main import VERBS
from runloop.cli.typed import Plain, read_plainly


class Fruit(StrEnum):
    APPLE = "apple"
    PEAR = "pear"


def command():
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def pick(
        place: Annotated[Path, typer.Argument()],
        rest: Annotated[list[str] | None, typer.Argument()] = None,
        fruit: Annotated[Fruit, typer.Option("--fruit")] = Fruit.APPLE,
        count: Annotated[int, typer.Option("--count", min=1, max=9)] = 1,
        weight: Annotated[float | None, typer.Option("--weight", min=0)] = None,
        also: Annotated[list[Path] | None, typer.Option("--also")] = None,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> dict[str, object]:
        return dict(locals())

    return typer.main.get_command(app)


USAGE_ERROR = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
WORDS = "a b -- --fruit pear plum --count 3 0 12 x 1.5 --weight -2 nan --also c --loud --fruit=apple --count=9 --help=1"


def outcome(read, words):
    try:
        return read(args=list(words), prog_name="pick", standalone_mode=False)
    except USAGE_ERROR as error:
        return type(error).__name__


@given(st.lists(st.sampled_from(WORDS.split(" "))))
def test_the_values_and_the_refusals_are_those_of_typer(words):
    assert repr(outcome(read_plainly(command()), words)) == repr(outcome(command(), words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count", "x"], "'x' is not a whole number"),
        (["--count", "0"], "0 is less than 1"),
        (["--count", "10"], "10 is more than 9"),
        (["--weight", "nan"], "nan is less than 0"),
        (["--fruit", "plum"], "'plum' is not one of apple, pear"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_word(words, said):
    with pytest.raises(typer.BadParameter, match=said) as refused:
        read_plainly(command())(args=["here", *words], prog_name="pick", standalone_mode=False)
    assert refused.value.format_message().startswith(f"Invalid value for '{words[0]}'")


@pytest.mark.parametrize("verb", VERBS)
def test_no_value_of_a_verb_needs_more_than_this(verb):
    def parameters(one):
        yield from one.get_params(one.make_context("rlp", [], resilient_parsing=True))
        for each in getattr(one, "commands", {}).values():
            yield from parameters(each)

    found = list(parameters(command_of(verb)))
    assert found
    assert [each.name for each in found if not isinstance(each.get_runtime_param(), Plain)] == []


def test_help_has_words_and_no_names_of_types():
    shown = read_plainly(command()).get_help(command().make_context("rlp pick", [], resilient_parsing=True))
    assert shown.startswith("Usage: rlp pick [OPTIONS] PLACE [REST...]\n")
    assert "--also PATH" in shown
    assert "--count N" in shown
    assert "<" not in shown.replace("<=x<=", "").replace("<apple|pear>", "")
