"""The ids that runs have of their own, and no other run can have: theirs, those of their messages, their handles of secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from runloop.dataclass import dataclass
from runloop.effects.perform.secrets import HANDLE

if TYPE_CHECKING:
    from runloop.runs.history import RecordedRun

_ID: Final = re.compile(rf"[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|{HANDLE.pattern}|[a-z2-7]{{32}}")
"""Whatever may be one: a UUID, a handle, the key of a message in its Message-ID and in the name of its file."""


@dataclass(frozen=True, slots=True)
class OwnIds:
    """Words that stand for the ids of a run and of those that it started."""

    words: Mapping[str, str]

    def neutral(self, value: Any) -> Any:
        """The value with a word in place of each id."""
        if isinstance(value, str):
            return _ID.sub(lambda found: self.words.get(found[0], found[0]), value)
        if isinstance(value, list):
            return [self.neutral(item) for item in value]
        if isinstance(value, Mapping):
            return {self.neutral(key): self.neutral(item) for key, item in value.items()}
        return value


def own_ids(runs: Mapping[str, RecordedRun]) -> OwnIds:
    """The ids of these runs, which are given by the words that stand for theirs. Other ids are named by the place that has them first."""
    words = {run.run_id: word for word, run in runs.items()}
    for word, run in runs.items():
        for place, found in _places(run):
            if found not in words:
                words[found] = f"{word}-{place}"
    return OwnIds(words)


def _places(run: RecordedRun) -> Iterator[tuple[str, str]]:
    """Messages and handles of a run, each with its place, the same whichever node was faster."""
    for attempt in sorted(run.attempts, key=lambda each: (each.node, each.attempt)):
        place = f"{attempt.node}-{attempt.attempt}"
        for crossing in attempt.crossings:
            result = crossing.result
            if crossing.name == "mail.send" and isinstance(result, Mapping) and isinstance(message := result.get("message_id"), str):
                yield f"MAIL-{place}-{crossing.call}", message.strip("<>").partition("@")[0]
            for number, handle in enumerate(_handles(crossing.args), 1):
                yield f"SECRET-{place}-{crossing.call}-{number}", handle
        for number, handle in enumerate(_handles(attempt.outputs), 1):
            yield f"SECRET-{place}-{number}", handle


def _handles(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from HANDLE.findall(value)
    elif isinstance(value, list):
        for item in value:
            yield from _handles(item)
    elif isinstance(value, Mapping):
        yield from _handles(list(value))
        yield from _handles(list(value.values()))
