"""`rlp ask`: a request in words finds its opening and its parameters; they are shown, and run once a person says so."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, masking, output
from runloop.cli.link import waited
from runloop.cli.options import LinesOption
from runloop.cli.requests import bare, candidates, chosen_of, understood, warn_unusable
from runloop.cli.showing import Unshown, run_shown
from runloop.errors import EXIT_INTERRUPTED, EXIT_OK, Denied, InvalidInput, RunloopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runloop.cli.requests import Request
    from runloop.config import Settings
    from runloop.router.requests.matching import Match

app = typer.Typer(add_completion=False, help="Say what you want in words: an opening or the assistant does it.")


@app.command()
def ask(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What you want, in your words; name=value sets a parameter.")],
    *,
    opening: Annotated[str | None, typer.Option("--opening", metavar="NAME", help="Use this opening, whatever the words say.")] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Start without asking first. What the run wants approved is asked all the same.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, also when a daemon is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision (with --dry-run) or the run's records as JSON.")] = False,
    as_table: LinesOption = False,
) -> int:
    """Find the opening that WORDS ask for, show it with its parameters, and run it once you agree. What fits none goes to the assistant.

    Examples: `rlp ask write to Maria about the Q4 plan`, `rlp ask what failed yesterday`, `rlp ask --dry-run mail Bob on lunch`.
    """
    settings = context.settings()
    line = bare(" ".join(words), settings)
    if not any(char.isalnum() for char in line):
        raise InvalidInput("there is no request", code="ask.empty", hint="say what you want: rlp ask what failed yesterday")
    request = _request(line, settings, opening)
    if dry_run:
        return _say_what(request, as_json=as_json, as_table=as_table)
    request = _decided(request, settings, local=local)
    if request.answers:
        return waited(_answer(request, settings, local=local, as_json=as_json, as_table=as_table))
    request = _complete(request) if start else _confirmed(request)
    if request.match is None:
        return EXIT_INTERRUPTED
    from runloop.cli.run import execute

    chosen = chosen_of(request)
    return waited(execute(chosen, settings, run_shown(chosen.opening, as_json=as_json, as_table=as_table), local=local))


def _request(line: str, settings: Settings, opening: str | None) -> Request:
    """What the line asks for; no opening is taken where somebody has to choose."""
    from runloop.cli.requests import Request
    from runloop.router.requests.matching import meant

    known, unusable = candidates(settings)
    warn_unusable(unusable)
    if opening is not None:
        return Request(line, known, meant(line, [_named(opening, known)]), 0)
    return understood(line, settings, known)


def _decided(request: Request, settings: Settings, *, local: bool) -> Request:
    """The request with the opening that the model, where it may, or the person at this terminal chose, where that was open."""
    if request.match is not None:
        return request
    from runloop.cli.choosing import by_model

    chosen = waited(by_model(request, settings, local=local))
    return replace(request, taken=_choose(request.line, request.found.near) if chosen is None else chosen)


def _named(name: str, known: Any) -> Any:
    for each in known:
        if each.candidate.name == name:
            return each.candidate
    from runloop.nearest import nearest

    near = nearest(name, [each.candidate.name for each in known])
    raise InvalidInput(
        f"there is no opening {name!r}", code="opening.not_found", hint=f"did you mean {near}?" if near else "`rlp opening list`"
    )


def _choose(line: str, near: tuple[Match, ...]) -> int:
    """Which of the openings that fit equally well; without a person that is an error that names them."""
    names = ", ".join(match.name for match in near)
    if not _somebody():
        raise InvalidInput(
            f"{line!r} fits {names} equally well", code="ask.ambiguous", hint=f"name one: rlp ask --opening {near[0].name} …"
        )
    _forget_typed_ahead()
    for number, match in enumerate(near, 1):
        _tell(f"  {number}) {match.name}  ({match.score:.2f})")
    while True:
        answer = output.heard("Which one? ")
        if answer.isdecimal() and 1 <= int(answer) <= len(near):
            return int(answer) - 1
        _tell(f"Please give a number from 1 to {len(near)}.")


def _complete(request: Request) -> Request:
    """The request where it says all that such a request has to say; nobody was asked, so nothing is put in its place."""
    if not request.missing:
        return request
    raise InvalidInput(
        f"{request.line!r} does not say the {' and the '.join(request.missing)} of {request.name}",
        code="ask.incomplete",
        hint=f"add {' '.join(f'{name}=…' for name in request.missing)}, or take the defaults: rlp run {request.name}",
    )


def _confirmed(request: Request) -> Request:
    """The request as the person wants it run; without a match where they want none of it."""
    if not _somebody():
        raise Denied(
            f"{request.name} was not confirmed, and nobody is here to do so",
            code="ask.unconfirmed",
            hint="--start runs it without asking, --dry-run shows what it would be",
        )
    if request.missing:
        _tell(f"{request.name}: the {' and the '.join(request.missing)} is open. Enter takes what is in brackets.")
        request = _edited(request, request.missing)
    elif request.match is not None and request.match.example is None and not request.match.params:
        request = _edited(request, tuple(request.params))
    while True:
        _forget_typed_ahead()
        for text in _shown(request):
            _tell(text)
        answer = output.heard("Run it? [Y]es, [n]o, [e]dit: ").lower()
        if answer in ("", "y", "yes"):
            return request
        if answer in ("n", "no", "q"):
            return request.without()
        if answer in ("e", "edit"):
            request = _edited(request, tuple(request.params))


def _edited(request: Request, names: Sequence[str]) -> Request:
    """The request with what the person typed for these of its parameters; Enter keeps a value."""
    from runloop.cli.params import param_pairs

    given: dict[str, Any] = dict(request.own)
    for name in names:
        value = request.params[name]
        while True:
            text = output.heard(f"  {name} [{_value(value)}]: ")
            try:
                given.update(param_pairs([f"{name}={text}"], request.declared, {}) if text else {name: value})
            except InvalidInput as error:
                _tell(f"  {error.message}")
                continue
            break
    return request.with_params({name: value for name, value in given.items() if value != request.declared[name]}, names)


def _shown(request: Request) -> list[str]:
    lines = [f"{request.name}: {request.goal}" if request.goal else request.name]
    width = max((len(name) for name in request.params), default=0)
    for name, value in request.params.items():
        lines.append(f"  {name:<{width}}  {_value(value)}  ({request.origin(name)})")
    return lines


def _value(value: Any) -> str:
    import json

    return output.clean_line(value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False))


def _say_what(request: Request, *, as_json: bool, as_table: bool) -> int:
    """What would be run, and why."""
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json(request.to_dict())
        return EXIT_OK
    if request.match is None:
        for match in request.found.near:
            output.print_line(f"{match.name}  ({match.score:.2f})")
    else:
        for text in _shown(request):
            output.print_line(text)
    output.print_line(f"because {request.reason}")
    return EXIT_OK


async def _answer(request: Request, settings: Settings, *, local: bool, as_json: bool, as_table: bool) -> int:
    """Run the opening that answers, and print what it says: the text and its sources."""
    from runloop.cli.run import execute

    output.wants_json(as_json=as_json, as_table=as_table)  # both asked for is an error, before anything runs
    held = Unshown(None)
    code = await execute(chosen_of(request), settings, held, local=local)
    if held.result is None:
        return code
    if code != EXIT_OK:
        raise RunloopError(
            f"no answer: {masking.masked_text(held.result.reason)}",
            code=held.result.code or "run.failed",
            hint=f"rlp show {held.result.run_id[:8]}",
        )
    from runloop.cli.requests import output_of

    if held.refused is not None and held.refused["code"] != "model.unconfigured":  # without a model nobody waits for its words
        hint = held.refused.get("hint")
        output.print_warning(held.refused["code"], f"no model answered: {held.refused['message']}" + (f" ({hint})" if hint else ""))
    answer = masking.masked(output_of(held.result, "answer"))
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json({**answer, "run_id": held.result.run_id})
        return code
    for line in _lines_of(answer):
        output.print_line(line)
    return code


def _lines_of(answer: Mapping[str, Any]) -> list[str]:
    """The text, and its sources below it; what was found without a model is a line for each source, and has that source below the line."""
    lines = str(answer.get("text", "")).split("\n")
    sources = [(str(each.get("what") or ""), _place(each)) for each in answer.get("sources") or () if isinstance(each, dict)]
    sources = [each for each in sources if any(each)]
    if not sources or answer.get("mode") == "table":
        return lines
    if answer.get("mode") == "hits" and len(lines) == len(sources):
        return [part for line, (_, place) in zip(lines, sources, strict=True) for part in (line, f"    {place}")]
    return [*lines, "", *(f"[{number}] {'  '.join(filter(None, each))}" for number, each in enumerate(sources, 1))]


def _place(source: Mapping[str, Any]) -> str:
    """Where a person looks a source up."""
    place = f"{source['path']}:{source['line']}" if source.get("path") and source.get("line") else source.get("path") or ""
    run = f"rlp show {str(source['run_id'])[:8]}" if source.get("run_id") else ""
    event = f"rlp why event:{source['event_id']}" if source.get("event_id") else ""
    return "  ".join(part for part in (place, run or event) if part)


def _somebody() -> bool:
    from runloop.cli.person import person_present

    return person_present()


def _forget_typed_ahead() -> None:
    """Nobody agrees to what was not on the screen."""
    from runloop.cli.person import forget_typed_ahead

    forget_typed_ahead()


def _tell(text: str) -> None:
    print(output.clean(text), file=sys.stderr, flush=True)
