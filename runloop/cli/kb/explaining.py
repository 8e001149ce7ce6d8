"""`rlp why` and `rlp kb why`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from runloop.events import StoredEvent

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Explain an entity from its events.")

_EVENT_COLUMNS = ("event", "time", "kind", "actor", "what")


@app.command()
def why(
    key: Annotated[str, typer.Argument(metavar="KEY", help="contact:…, note:PATH, artifact:…, run:… or event:N.")],
    *,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List the events that made an entity what it is, oldest first."""
    from runloop.kb.mask import mask_value

    with open_kb() as kb:
        events = kb.why(key)
        if not events:
            raise InvalidInput(f"nothing is known of {key!r}", code="kb.unknown_key", hint="`rlp kb search WORDS --json` shows keys")
        data: list[dict[str, Any]] = [mask_value(_event_dict(event), kb.salt) for event in events]
    rows = [(each["id"], _time(each["ts_ms"]), each["kind"], each["actor"], _gist(each)) for each in data]
    output.print_rows(
        _EVENT_COLUMNS, rows, as_json=json, as_table=table, style=output.TableStyle(max_cols, max_rows, fit=not no_wrap), data=data
    )
    return EXIT_OK


def _event_dict(event: StoredEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "ts_ms": event.ts_ms,
        "kind": event.kind,
        "actor": event.actor,
        "scope": event.scope,
        "payload": dict(event.payload),
        "provenance": dict(event.provenance),
        "content_hash": event.content_hash.hex(),
    }


def _time(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _gist(event: dict[str, Any]) -> str:
    payload = event["payload"]
    for name in ("message", "summary", "name", "subject", "path"):
        if isinstance(payload.get(name), str):
            return str(payload[name])
    return ""
