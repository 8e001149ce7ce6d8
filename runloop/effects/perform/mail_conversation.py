"""What is said to a mail server and what it answers, each answer bounded in time and size: a server may be slow, odd or hostile."""

from __future__ import annotations

import smtplib
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

LONGEST_ANSWER = 65_536
"""Bytes of one answer with all its lines; real ones have some hundreds (RFC 5321 4.5.3.1.5: 512 a line)."""
_EHLO_NAME = "[127.0.0.1]"  # the literal that says nothing of this machine; looking up its own name can take seconds


class Conversation(smtplib.SMTP):
    """SMTP over ``sock``, which is connected. An answer is whole in ``timeout`` seconds, however it drips in, or the connection ends."""

    def __init__(self, sock: socket.socket, host: str, timeout: float) -> None:
        """Wait for the greeting. Raises :class:`smtplib.SMTPException`; the socket is closed then."""
        self._connected, self._heard = sock, bytearray()
        super().__init__(host, local_hostname=_EHLO_NAME, timeout=timeout)

    def connect(self, *_args: Any, **_options: Any) -> tuple[int, bytes]:
        """The greeting of the server to which the socket leads."""
        self.sock = self._connected
        return self.getreply()

    def protected(self, sock: socket.socket) -> None:
        """Go on over ``sock``, the protected form of the connection. What was heard before counts no more (RFC 3207 4.2)."""
        self.sock = sock
        self._heard.clear()
        self.ehlo()

    def part(self, timeout: float) -> None:
        """Say good-bye, wait that many seconds for the answer, and close."""
        self.timeout = timeout
        with suppress(OSError):
            if self.sock is not None:
                self.sock.settimeout(timeout)
            self.quit()
        self.close()

    def getreply(self) -> tuple[int, bytes]:
        """One answer: its code, -1 for one without, and its lines. Raises :class:`smtplib.SMTPServerDisconnected`."""
        until, said, size, code = time.monotonic() + self.timeout, list[bytes](), 0, -1
        while True:
            line = self._line(until, LONGEST_ANSWER - size)
            size += len(line)
            said.append(line[4:].strip(b" \t\r\n"))
            code = int(line[:3]) if line[:3].isdigit() else -1
            if code < 0 or line[3:4] != b"-":
                break
        if self.sock is not None:
            self.sock.settimeout(self.timeout)
        return code, b"\n".join(said)

    def _line(self, until: float, most: int) -> bytes:
        looked = 0
        while (end := self._heard.find(b"\n", looked) + 1) == 0 or end > most:
            looked = len(self._heard)
            if looked >= most:
                raise self._ended(f"an answer of more than {LONGEST_ANSWER} bytes")
            self._heard += self._more(until)
        line = bytes(self._heard[:end])
        del self._heard[:end]
        return line

    def _more(self, until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0 or self.sock is None:
            raise self._ended(f"no whole answer in {self.timeout:g} s")
        try:
            self.sock.settimeout(left)
            more: bytes = self.sock.recv(8192)
        except TimeoutError as error:
            raise self._ended(f"no whole answer in {self.timeout:g} s") from error
        except OSError as error:
            raise self._ended(f"Connection unexpectedly closed: {error}") from error
        if not more:
            raise self._ended("Connection unexpectedly closed")
        return more

    def _ended(self, why: str) -> smtplib.SMTPServerDisconnected:
        self.close()
        return smtplib.SMTPServerDisconnected(why)
