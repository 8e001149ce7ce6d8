"""`rlp secrets`: put keys and passwords where runs find them, and say which there are. No value is ever printed."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, output
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import InvalidInput, RunloopError, Unavailable, Where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.config import Settings
    from runloop.effects.perform.secrets import InTime, SecretProvider

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Store, list and remove what models, mail and agents log in with.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the secret, as in models/openai.")]


class Place(StrEnum):
    """Where a secret can be kept."""

    KEYRING = "keyring"
    FILE = "file"


PlaceOption = Annotated[Place | None, typer.Option("--to", help="Where to keep it (default: the keyring, or a file where there is none).")]


@app.command("set")
def set_secret(
    name: Name,
    to: PlaceOption = None,
    json: JsonOption = False,
) -> None:
    """Store a secret that you type.

    Without a terminal its value is read from standard input.
    """
    from runloop.effects.perform.secret_files import FileSecrets
    from runloop.effects.perform.secrets import KeyringSecrets

    settings = context.settings()
    place = to or _default_place(settings)
    places = _places(settings)
    if place not in places:
        asked = settings.get("security.secrets.provider")
        raise InvalidInput(
            f"a secret in {_named(settings, place)} would not be found: only {asked} is asked",
            code="secrets.place",
            where=Where(key="security.secrets.provider"),
            hint=f"set security.secrets.provider to auto or {place.value}, or use another --to",
        )
    value = _value(name)
    if place == Place.FILE:
        where = str(FileSecrets(settings.get("security.secrets.root")).put(name, value))
    else:
        KeyringSecrets().put(name, value)
        where = _named(settings, place)
    before, note = None, ""
    try:
        before = _found(name, _in_time({each: places[each] for each in list(places)[: list(places).index(place)]}))
    except Unavailable as error:
        note = f"{error.message}; it is asked first"
    if json:
        output.print_json({"name": name, "stored": place.value, "where": where, "hidden_by": before})
        return
    output.print_line(f"stored {name} in {where}")
    if before is not None:
        note = f"{_named(settings, before, name)} has one of that name, and is asked first"
    if note:
        output.print_line(f"note: {note}")


@app.command("list")
def list_secrets(json: JsonOption = False, table: TableOption = False) -> None:
    """List secrets by name, place and use.

    These are the secrets that the settings name and those that lie in files. No value is shown.
    """
    from runloop.effects.perform.secret_files import FileSecrets

    settings = context.settings()
    named, places = uses(settings), _places(settings)
    in_time, rows = _in_time(places), []
    for name in sorted({*named, *(FileSecrets(settings.get("security.secrets.root")).names() if "file" in places else ())}):
        try:
            found, problem = _found(name, in_time), None
        except RunloopError as error:
            found, problem = None, error
        rows.append((name, named.get(name, []), found, problem))
    output.print_rows(
        ("secret", "found in", "used by"),
        [(name, "?" if problem else found or "nowhere", ", ".join(used)) for name, used, found, problem in rows],
        as_json=json,
        as_table=table,
        empty="the settings name no secret, and there is no file of one; `rlp secrets set NAME` stores one",
        data={
            "secrets": [
                {"name": name, "found_in": found, "used_by": used, "problem": problem.to_dict() if problem else None}
                for name, used, found, problem in rows
            ]
        },
    )
    if not output.wants_json(as_json=json, as_table=table):
        for _, _, _, problem in rows:
            if problem is not None:
                output.print_error(problem)


@app.command("remove")
def remove_secret(name: Name, json: JsonOption = False) -> None:
    """Remove a secret.

    It is taken out of the keyring and of the files.
    """
    from runloop.effects.perform.secret_files import FileSecrets
    from runloop.effects.perform.secrets import KeyringSecrets, environment_name

    settings = context.settings()
    places = _places(settings)
    _found(name, in_time := _in_time(places))  # it says so where the keyring does not answer
    removed = [each for each in places.values() if isinstance(each, (KeyringSecrets, FileSecrets)) and each.remove(name)]
    names = [key for key, each in places.items() if each in removed]
    left = _found(name, in_time)
    if not removed:
        hint = "`rlp secrets list` shows what there is"
        if left is not None:
            hint = f"it is in the environment, as {environment_name(name)}: take it away where that is set"
        raise InvalidInput(f"there is no secret {name!r} to remove", code="secrets.unknown", hint=hint)
    if json:
        output.print_json({"name": name, "removed": names, "still_in": left})
        return
    output.print_line(f"removed {name} from {' and '.join(_named(settings, each) for each in names)}")
    if left is not None:
        output.print_line(f"note: {_named(settings, left, name)} still has one of that name")


def _places(settings: Settings) -> dict[str, SecretProvider]:
    from runloop.runs.places import places_of_secrets

    return places_of_secrets(settings)


def _default_place(settings: Settings) -> Place:
    from runloop.effects.perform.secrets import KeyringSecrets

    provider = settings.get("security.secrets.provider")
    if provider == "keyring" or (provider == "auto" and KeyringSecrets.usable()):
        return Place.KEYRING
    return Place.FILE


def _in_time(places: Mapping[str, SecretProvider]) -> dict[str, InTime]:
    from runloop.effects.perform.secrets import InTime

    return {key: InTime(place) for key, place in places.items()}


def _found(name: str, places: Mapping[str, InTime]) -> str | None:
    """The first place that has it. Raises Unavailable ``secrets.slow``."""
    from runloop.effects.perform.secrets import NoAnswerError, unanswered

    for key, place in places.items():
        try:
            value = place.get(name)
        except NoAnswerError as why:
            raise unanswered(name, why, key) from None
        if value is not None:
            return key
    return None


def _named(settings: Settings, place: str, name: str = "") -> str:
    from runloop.effects.perform.secrets import environment_name

    words = {"keyring": "the keyring", "file": f"a file of {settings.get('security.secrets.root')}"}
    return words.get(place) or f"the environment, as {environment_name(name)},"


def _value(name: str) -> str:
    """What is typed, hidden, or comes by standard input, without one line end."""
    if output.is_terminal(sys.stdin):
        from getpass import getpass

        try:
            value = getpass(f"{name}: ")
        except EOFError:
            raise typer.Abort from None
        except UnicodeDecodeError:
            raise _no_value("is not what this terminal's encoding writes") from None
    else:
        try:
            value = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError:
            raise _no_value("is not UTF-8 text") from None
        value = value.removesuffix("\n").removesuffix("\r")
    if not value.strip():
        raise _no_value("is empty")
    if "\0" in value:
        raise _no_value("has a NUL in it")
    return value


def _no_value(why: str) -> InvalidInput:
    return InvalidInput(f"the value {why}", code="secrets.value", hint="a secret is text: a key or a password")


def uses(settings: Settings) -> dict[str, list[str]]:
    """What the settings say each secret is for."""
    found: dict[str, list[str]] = {}
    for provider in settings.get("models.broker.providers"):
        if provider.get("secret_id"):
            found.setdefault(provider["secret_id"], []).append(f"models of {provider['id']}")
    if settings.get("mail.smtp.host") is not None and settings.get("mail.smtp.user"):
        found.setdefault(settings.get("mail.smtp.secret_id"), []).append(f"mail over {settings.get('mail.smtp.host')}")
    for name, hosts in settings.get("security.secrets.hosts").items():
        found.setdefault(name, []).append(f"agents, for {', '.join(hosts) or 'no host'}")
    return found
