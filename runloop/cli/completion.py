"""Shell completion: one typer group over all verbs, which imports a verb's module only once the line names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import typer
from typer.core import TyperCommand, TyperGroup


class _Described(Protocol):
    @property
    def summary(self) -> str: ...


def run(arguments: Sequence[str], verbs: Mapping[str, _Described], load: Callable[[str], Any]) -> int:
    """Answer a completion request, or install or print the completion script; ``load`` gives the command of a verb."""

    class Verbs(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(verbs)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            verb = verbs.get(cmd_name)
            return None if verb is None else TyperCommand(name=cmd_name, help=verb.summary)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            if name is not None and name in verbs:
                command = load(name)
            return name, command, rest

    root = typer.Typer(cls=Verbs, rich_markup_mode=None)

    @root.callback()
    def rlp() -> None:
        """Runloop: sandboxed, durable, replayable Python agents."""

    result = typer.main.get_command(root)(args=list(arguments), prog_name="rlp", standalone_mode=False)
    return result if isinstance(result, int) else 0
