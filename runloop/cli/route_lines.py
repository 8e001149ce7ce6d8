"""`rlp route --lines` and `--requests`: a coprocess that answers every line of its input with a JSON object."""

from __future__ import annotations

import json
import os
import sys

from runloop.cli import route_settings
from runloop.router import machine
from runloop.router.reply import route_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runloop.router.values import RouterSettings, ShellFacts

_READ_BYTES = 1 << 16
_EXAMPLE = 'For example: {"line": "git status"}'


def serve(given: dict[str, Any] | None, *, requests: bool, explain: bool, overridden: bool) -> int:
    """Answer until the input ends. What was read is answered before more is waited for."""
    settings = route_settings.load(os.environ, overridden=overridden)
    facts = machine.facts(os.environ, given)
    pieces: list[bytes] = []
    while chunk := os.read(sys.stdin.fileno(), _READ_BYTES):
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            pieces.append(chunk)
            continue
        whole, pieces = b"".join((*pieces, head)), [tail]
        _write([_reply(each, facts, settings, requests=requests, explain=explain) for each in whole.split(b"\n")])
    rest = b"".join(pieces)
    if rest:
        _write([_reply(rest, facts, settings, requests=requests, explain=explain)])
    return 0


def _write(replies: list[dict[str, object]]) -> None:
    sys.stdout.write("".join(json.dumps(reply) + "\n" for reply in replies))
    sys.stdout.flush()


def _reply(data: bytes, facts: ShellFacts, settings: RouterSettings, *, requests: bool, explain: bool) -> dict[str, object]:
    text = data.decode("utf-8", "surrogateescape").rstrip("\r")
    return _answer(text, settings, explain=explain) if requests else _decide(text, facts, settings, explain=explain)


def _decide(line: str, facts: ShellFacts, settings: RouterSettings, *, explain: bool) -> dict[str, object]:
    if isinstance(facts.has_command, machine.Programs):
        facts.has_command.refresh()
    return route_reply(line, facts, settings, explain=explain)


def _answer(text: str, settings: RouterSettings, *, explain: bool) -> dict[str, object]:
    """The reply to one request; what is wrong with it is the reply, so that the coprocess goes on."""
    from runloop.errors import InvalidInput

    try:
        request = json.loads(text)
        line, facts = _parts(request)
        return route_reply(line, machine.facts(os.environ, facts), settings, explain=explain)
    except InvalidInput as error:
        return {"version": 1, "error": error.to_dict()}
    except (ValueError, RecursionError) as error:
        return {"version": 1, "error": InvalidInput(f"a request is not JSON: {error}", code="route.request", hint=_EXAMPLE).to_dict()}


def _parts(request: Any) -> tuple[str, dict[str, Any]]:
    from runloop.errors import InvalidInput

    line, facts = (request.get("line"), request.get("facts", {})) if isinstance(request, dict) else (None, None)
    if not isinstance(line, str) or not isinstance(facts, dict):
        raise InvalidInput("a request is an object with `line`, a text, and `facts`, an object", code="route.request", hint=_EXAMPLE)
    return line, facts
