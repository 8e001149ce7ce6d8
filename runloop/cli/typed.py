"""The values of options and arguments, read without pydantic, which typer would import for the first word or number: 100 ms of a start."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from runloop.dataclass import dataclass

_SORTS: Final[dict[type, str]] = {str: "text", Path: "a path", int: "a whole number", float: "a number", bool: "a flag"}
_SIGNS: Final[dict[type, str]] = {str: "TEXT", Path: "PATH", int: "N", float: "N"}
"""What stands for the value of an option in its help, where the option has no word for it."""


@dataclass(frozen=True, slots=True)
class Plain:
    """How the values of one parameter are read: what typer asks for in the place of its own reader."""

    sort: type[Any]
    low: float | None = None
    high: float | None = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value, or the list of them where the parameter takes many; None stays. Raises typer.BadParameter."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        try:
            return [self.one(each) for each in value] if many else self.one(value)
        except ValueError as error:
            import typer

            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None

    def one(self, value: Any) -> Any:
        """One word as what it stands for. Raises ValueError, which says what is wrong with it."""
        if isinstance(value, self.sort):
            return value
        if issubclass(self.sort, Enum):
            return _chosen(self.sort, value)
        try:
            read = self.sort(value)
        except ValueError:
            raise ValueError(f"{value!r} is not {_SORTS[self.sort]}") from None
        if self.low is not None and not read >= self.low:
            raise ValueError(f"{value} is less than {self.low:g}")
        if self.high is not None and not read <= self.high:
            raise ValueError(f"{value} is more than {self.high:g}")
        return read


def read_plainly(command: Any) -> Any:
    """Let every parameter of the command, and of those under it, be read here; what has a sort of its own stays with typer.

    ``-h`` is ``--help``, as it is in front of the verb.
    """
    given = command.get_params
    command.context_settings = {**(command.context_settings or {}), "help_option_names": ["-h", "--help"]}

    def plain(ctx: Any) -> list[Any]:
        parameters: list[Any] = given(ctx)
        for each in parameters:
            own = _plain(getattr(each, "type_descriptor", None))
            if own is None:
                continue
            each.get_runtime_param = _always(own)
            if each.param_type_name == "argument":  # its word says what it is: no braces, no name of a Python type
                each.get_usage_pieces = _always([_word(each)])
                each.display_type_rich = _always("")
            elif each.metavar is None and own.sort in _SIGNS:
                each.display_type_rich = _always(_SIGNS[own.sort])
        return parameters

    command.get_params = plain
    for each in getattr(command, "commands", {}).values():
        each.short_help = each.short_help or _first_sentence(each.help or "")  # else it is cut to what fits on a line
        read_plainly(each)
    return command


def _first_sentence(text: str) -> str:
    sentence = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0]
    return f"{sentence.removesuffix('.')}." if sentence else ""


def _plain(described: Any) -> Plain | None:
    if described is None:  # a typer that reads without pydantic
        return None
    sort, own = described.annotation, described.parameter_info
    if get_origin(sort) is list:
        (sort,) = get_args(sort)
    known = isinstance(sort, type) and (sort in _SORTS or issubclass(sort, Enum))
    return Plain(sort, own.min, own.max) if known and own.parser is None else None


def _always(answer: Any) -> Callable[..., Any]:
    return lambda *_, **__: answer


def _word(argument: Any) -> str:
    """An argument in the line of usage: ``RUN``, ``FILE...``, in brackets where it may be left out."""
    word = argument.metavar or argument.name.upper()
    if argument.nargs != 1 and "..." not in word:
        word += "..."
    return word if argument.required or word.startswith("[") else f"[{word}]"


def _chosen(sort: type[Enum], word: str) -> Enum:
    for each in sort:
        if str(each.value) == word:
            return each
    raise ValueError(f"{word!r} is not one of " + ", ".join(str(each.value) for each in sort))
