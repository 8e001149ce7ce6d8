"""Shell histories into the ledger, without their secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from blake3 import blake3

from runloop.events import canonical
from runloop.kb.importers.intake import Found, How, Sort, look_up, take_in
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.shell.histories import READERS, shell_of
from runloop.kb.importers.shell.scrub import LONGEST, scrub
from runloop.kb.importers.textfile import Unreadable, file_size, opened, shown
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Current, Item

_FIRST_S, _LAST_S = 0, 253_402_300_800  # the years 1970 to 9999
_SAFE = {0: "\ufffd"}


def import_shell(
    kb: KnowledgeBase, files: Sequence[str | Path], how: How | None = None, *, shell: str | None = None, encoding: str | None = None
) -> ImportReport:
    """Read histories and append the commands that are new. ``shell`` says whose they are, where the files do not tell.

    A command without a time is the same one wherever it stands. A history is a window: what has left it is not forgotten.
    """
    paths = [followed(file) for file in files]
    report = ImportReport("shell", ", ".join(shown(path) for path in paths))
    report.total = sum(file_size(path) or 0 for path in paths)
    sort = Sort("shell", "command", "command.imported", _current)
    items = (item for path in paths for item in _items(path, report, shell, encoding or "utf-8"))
    return take_in(kb, sort, items, report, how or How())


def usual_histories(environment: Mapping[str, str], home: Path) -> list[Path]:
    """The histories that are where shells put them."""
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    zsh = Path(environment.get("ZDOTDIR") or home)
    places = [home / ".bash_history", zsh / ".zsh_history", zsh / ".zhistory", data / "fish" / "fish_history"]
    if stated := environment.get("HISTFILE"):
        places.insert(0, Path(stated))
    return [place for place in dict.fromkeys(places) if file_size(place) is not None]


def _items(path: Path, report: ImportReport, shell: str | None, encoding: str) -> Iterator[Item]:
    name = shown(path)
    refused: list[Refusal] = []
    try:
        with opened(path) as file:
            head = file.read(8192)
            file.seek(0)
            if b"\0" in head and head.count(b"\0") > len(head) // 100:
                yield Refusal(name, head[: head.index(b"\0")].count(b"\n") + 1, "binary, not a shell's history: it has NUL characters")
                return
            report.files += 1
            which = shell or shell_of(path.name, head)
            for entry in READERS[which](_lines(file, name, report, refused)):
                yield from refused
                refused.clear()
                yield _found(name, which, entry.line, _text(entry.text, encoding, name, entry.line, report), entry.at, entry.seconds)
    except Unreadable as error:
        yield Refusal(name, error.line, error.message)
    yield from refused


def _lines(file: BinaryIO, name: str, report: ImportReport, refused: list[Refusal]) -> Iterator[tuple[int, bytes]]:
    """The lines of a file without their ends; one that is too long is refused and costs nothing else."""
    number, size = 0, 0
    while line := file.readline(LONGEST + 2):
        report.read += len(line)
        size += len(line)
        if not line.endswith(b"\n") and len(line) > LONGEST:
            continue  # the middle of a line that is too long
        number += 1
        if size > LONGEST + 1:
            refused.append(Refusal(name, number, f"a line of {size} bytes; the limit is {LONGEST}"))
        else:
            yield number, line.rstrip(b"\r\n")
        size = 0
    if size:
        refused.append(Refusal(name, number + 1, f"a line of {size} bytes; the limit is {LONGEST}"))


def _text(data: bytes, encoding: str, name: str, line: int, report: ImportReport) -> str:
    """The characters of a command; bytes that are none are shown as escapes, and noted."""
    for each in dict.fromkeys(("utf-8", encoding)):
        try:
            return data.decode(each).translate(_SAFE)
        except UnicodeDecodeError:
            continue
    report.remark(name, line, "bytes that are not UTF-8; shown as escapes")
    return data.decode("utf-8", "backslashreplace").translate(_SAFE)


def _found(name: str, shell: str, line: int, text: str, at: int | None, seconds: int | None) -> Found | Refusal:
    if len(text) > LONGEST:
        return Refusal(name, line, f"a command of more than {LONGEST} characters")
    plain, count = scrub(text)
    said: dict[str, Any] = {"shell": shell, "text": plain}
    if at is not None and _FIRST_S <= at < _LAST_S:
        said["at_ms"] = at * 1000
    key = blake3(canonical(said)).hexdigest()
    payload = {**said, "command": key, "path": name, "line": line}
    if seconds is not None:
        payload["seconds"] = seconds
    if count:
        payload["scrubbed"] = count
    return Found(key, name, line, (payload,), size=len(plain) + 300, scrubbed=count)


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    return look_up(db, "SELECT command_key, source_event, '' FROM commands WHERE command_key IN", keys)
