"""``print``, ``sys.stderr`` and ``logging`` become lines of the run's log."""

import io
import logging
import sys

from runloop_agent import emit

_LINE_LIMIT = 8192
_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))


class LogStream(io.TextIOBase):
    """A text stream whose lines are log lines; a line longer than 8,192 characters becomes several."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, level: str) -> None:
        self._level = level
        self._pending = ""

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
        for start in range(0, max(len(line), 1), _LINE_LIMIT):
            emit.log(line[start : start + _LINE_LIMIT], self._level)


class LogHandler(logging.Handler):
    """Sends log records to the run's log with their level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        for line in self.format(record).split("\n"):
            for start in range(0, max(len(line), 1), _LINE_LIMIT):
                emit.log(line[start : start + _LINE_LIMIT], level)


def install() -> None:
    """Put the streams and the handler in place."""
    sys.stdin = io.StringIO()
    sys.stdout, sys.stderr = LogStream("info"), LogStream("warn")
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    logging.root.handlers[:] = [LogHandler()]
    logging.root.setLevel(logging.INFO)
    logging.raiseExceptions = False


def finish() -> None:
    """Send what is left of both streams."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LogStream):
            stream.finish()
