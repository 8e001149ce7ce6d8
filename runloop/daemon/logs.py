"""The daemon's log: one structured line an event, in JSON or text, with trace ids and never a secret; what is said of people is masked."""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
from typing import IO, TYPE_CHECKING, Any

from runloop.daemon.quickly import without

with without("rich", "better_exceptions"):  # structlog.dev would import them for colours and frames that this log does not have: 100 ms
    import structlog

from runloop.errors import InvalidInput, Where
from runloop.kb.redaction import Redactor
from runloop.private import make_private

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from runloop.config import Settings

_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "exception": 40, "critical": 50}
_SECRET_KEY = re.compile(r"(?i)(token|secret|passw|authorization|api_?-?key|salt|cookie|credential)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}|\bsk-[A-Za-z0-9_-]{8,}")
_HIDDEN = "[secret]"
_COUNTS = re.compile(r"(?i)tokens(_|$)")


class Log:
    """Writes to stderr or a file; ``hide`` takes values that must never be written."""

    def __init__(self) -> None:
        self._stream: IO[str] = sys.stderr
        self._path: Path | None = None
        self._least = _LEVELS["info"]
        self._hidden: list[str] = []
        self._masks = Redactor(secrets.token_hex(16))  # until the ledger's salt is known

    def configure(self, settings: Settings) -> None:
        """Take level, file and form from the settings; a file that cannot be opened raises OSError."""
        self._least = _LEVELS[settings.get("logging.level")]
        path: Path | None = settings.get("logging.file")
        if path != self._path:
            self._open(path)
        form = settings.get("logging.format")
        as_json = form == "json" or (form == "auto" and not (path is None and self._stream.isatty()))
        renderer: Any = structlog.processors.JSONRenderer(sort_keys=False, default=str) if as_json else _text
        structlog.configure(
            processors=[
                self._filter,
                structlog.contextvars.merge_contextvars,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                self._clean,
                renderer,
            ],
            wrapper_class=structlog.BoundLogger,
            logger_factory=lambda *_args: self,
            cache_logger_on_first_use=False,
        )
        root = logging.getLogger()
        root.handlers[:] = [_Foreign()]
        root.setLevel(logging.WARNING)

    def wants(self, level: str) -> bool:
        """Whether a line of this level would be written: what happens often need not be put into words for nobody."""
        return _LEVELS[level] >= self._least

    def hide(self, value: str) -> None:
        """Never write this text."""
        if len(value) >= 8:
            self._hidden.append(value)

    def mask(self, redactor: Redactor) -> None:
        """Mask every text from now on by the settings and the ledger's salt; before, everything is masked."""
        self._masks = redactor

    def reopen(self) -> None:
        """Open the file anew, after it was rotated away. Raises ``daemon.log``; lines go on into the one that is open then."""
        if self._path is not None:
            try:
                self._open(self._path)
            except OSError as error:
                raise unwritable(self._path, error) from error

    def close(self) -> None:
        """Go back to stderr."""
        self._open(None)

    def msg(self, line: str) -> None:
        """Write one line; a disk that is full must not stop the daemon."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = log = msg

    def _open(self, path: Path | None) -> None:
        stream: IO[str] = sys.stderr
        if path is not None:
            make_private(path.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            stream = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
        old, self._stream, self._path = self._stream, stream, path
        if old is not sys.stderr:
            old.close()

    def _filter(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _LEVELS.get(method, 20) < self._least:
            raise structlog.DropEvent
        event["level"] = "warn" if method == "warning" else method
        return event

    def _clean(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
        return {key: _HIDDEN if _secret(key) else self._without(value) for key, value in {**first, **event}.items()}

    def _without(self, value: Any) -> Any:
        if isinstance(value, str):
            for hidden in self._hidden:
                value = value.replace(hidden, _HIDDEN)
            value = _BEARER.sub(_HIDDEN, value)
            return self._masks.text(value)
        if isinstance(value, dict):
            return {key: _HIDDEN if _secret(str(key)) else self._without(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._without(each) for each in value]
        return value


def unwritable(path: Path, error: OSError) -> InvalidInput:
    """The log cannot be opened, and what to do about it."""
    hint = (
        "name a file of this user in logging.file; `rlp config explain logging.file` says where it is set, "
        "and what is for the machine's daemon alone belongs in /var/lib/runloop/config.yaml"
    )
    where = Where(file=str(path), key="logging.file")
    return InvalidInput(f"the log cannot be written: {error.strerror}", code="daemon.log", where=where, hint=hint)


class _Foreign(logging.Handler):
    """What libraries and asyncio say, in the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        extra = {"exc_info": record.exc_info} if record.exc_info else {}
        getattr(logger(), level)(record.getMessage(), source=record.name, **extra)


def logger(**bound: Any) -> Any:
    """A logger; keyword arguments stand in each of its lines."""
    return structlog.get_logger(**bound)


def _secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None and _COUNTS.search(key) is None


def _text(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    head = f"{event.pop('timestamp')} {event.pop('level'):<5} {_line(event.pop('event'))}"
    trouble = event.pop("exception", None)
    line = head + "".join(f" {key}={_value(value)}" for key, value in event.items())
    return line if trouble is None else f"{line}\n{trouble}"


def _value(value: Any) -> str:
    text = str(value)
    return repr(text) if " " in text else _line(text)


def _line(value: Any) -> str:
    text = str(value)
    return repr(text) if any(ord(char) < 32 or ord(char) == 127 for char in text) else text
