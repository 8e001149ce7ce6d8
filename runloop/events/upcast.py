"""Versions of kinds: what was stored in an older form is brought up when it is read; the stored text is never rewritten.

The payload of version 1 is as it always was; a later one carries ``"$v": n``. An erased event keeps its marker and is of no version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from runloop.events.errors import InvalidEvent
from runloop.events.kinds import VERSION_KEY, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.events.model import StoredEvent

    Step = Callable[[dict[str, Any]], dict[str, Any]]

ERASED_KEY = "$erased"
UPCASTERS: dict[tuple[str, int], Step] = {}
"""How the payload of a kind becomes that of the next version: ``(kind, version) → function``. Every version below the kind's has one."""


class NewerVersion(InvalidEvent):
    """The payload is of a version that this program does not know: a later one wrote it."""

    code = "events.newer_version"


def is_erased(payload: Mapping[str, Any]) -> bool:
    """Whether nothing is left of the payload but the marker of its erasure."""
    return payload.keys() == {ERASED_KEY}


def version_of(payload: Mapping[str, Any]) -> int:
    """The version that a stored payload states; 1 where it states none. Raises InvalidEvent."""
    version = payload.get(VERSION_KEY, 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidEvent(f"{VERSION_KEY} is {version!r}", hint="the version of a payload is an integer from 1")
    return version


def current(event: StoredEvent) -> StoredEvent:
    """The event with its payload in the form that its kind has now. Raises :class:`NewerVersion`, InvalidEvent and UnknownKind."""
    payload = event.payload
    kind = kind_of(event.kind)
    if kind.version == 1 and VERSION_KEY not in payload:
        return event
    if is_erased(payload):
        return event
    version = version_of(payload)
    if version > kind.version:
        raise NewerVersion(
            f"event {event.id} is of version {version} of {kind.name}; this program knows up to {kind.version}", hint="update Runloop"
        )
    brought = {name: value for name, value in payload.items() if name != VERSION_KEY}
    for step in range(version, kind.version):
        brought = UPCASTERS[kind.name, step](brought)
    return structs.replace(event, payload=brought)


def readable(event: StoredEvent) -> StoredEvent:
    """As :func:`current` for those who only show it: what this program does not know stays as it is stored."""
    try:
        return current(event)
    except InvalidEvent:
        return event
