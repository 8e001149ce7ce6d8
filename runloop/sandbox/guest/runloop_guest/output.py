"""``print``, ``sys.stderr`` and ``logging`` become lines of the run's log."""

from __future__ import annotations

import codecs
import io
import logging
import sys
from typing import Any

from runloop_agent import emit
from runloop_agent._calls import carried

_LINE_LIMIT = 8192
_LEVELS: tuple[tuple[int, emit.Level], ...] = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_STREAMS: dict[str, emit.Level] = {"stdout": "info", "stderr": "warn"}


def _say(line: str, level: emit.Level) -> None:
    line = carried(line)
    for start in range(0, max(len(line), 1), _LINE_LIMIT):
        emit.log(line[start : start + _LINE_LIMIT], level)


class LogStream(io.TextIOBase):
    """A text stream whose lines are log lines; a line longer than 8,192 characters becomes several."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, level: emit.Level) -> None:
        self._level = level
        self._pending = ""
        self.buffer = _Bytes(self)

    def reconfigure(self, **_options: object) -> None:
        """Stay as it is: lines of UTF-8 are what the run's log holds, whatever is asked for."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, text: str, /) -> int:
        """Take text; whole lines go out at once."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._emit(line)
        if len(self._pending) >= _LINE_LIMIT:
            self.finish()
        return len(text)

    def finish(self) -> None:
        """Send a last line that has no end."""
        line, self._pending = self._pending, ""
        if line:
            self._emit(line)

    def _emit(self, line: str) -> None:
        _say(line, self._level)


class _Bytes(io.BufferedIOBase):
    """The stream below a text stream, for those who write bytes of UTF-8."""

    def __init__(self, text: LogStream) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes; a character may come in pieces."""
        content = bytes(memoryview(data))
        self._text.write(self._decoder.decode(content))
        return len(content)


class LogHandler(logging.Handler):
    """Sends log records to the run's log with their level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        level: emit.Level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        for line in self.format(record).split("\n"):
            _say(line, level)


def basic_config(*, level: int | str | None = None, **_form: Any) -> None:
    """As :func:`logging.basicConfig`; the level counts, where lines go and what they look like is up to the run's log."""
    if level is not None:
        logging.root.setLevel(level)


def install() -> None:
    """Put the streams and the handler in place."""
    sys.stdin = io.StringIO()
    for name, level in _STREAMS.items():
        stream = LogStream(level)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    logging.root.handlers[:] = [LogHandler()]
    logging.root.setLevel(logging.INFO)
    logging.basicConfig = basic_config
    logging.raiseExceptions = False


def finish() -> None:
    """Send what is left of both streams."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LogStream):
            stream.finish()
