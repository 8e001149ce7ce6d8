"""Handing one message to an SMTP server, with a certain answer: sent, not sent, or not known. Blocking.

All recipients or none: a refused one ends the transaction before the text is sent. Sources: RFC 5321, 3207, 6531.
"""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from runloop.authorities import AUTHORITY_HINT, of_tls
from runloop.dataclass import dataclass
from runloop.effects.perform.mail_conversation import Conversation
from runloop.effects.types import CallError, CallErrorKind
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.effects.perform.mail_message import Mail

Security = Literal["starttls", "tls", "none"]
DEFAULT_PORTS: dict[str, int] = {"starttls": 587, "tls": 465, "none": 25}

_NO_SUCH_MECHANISM = frozenset({500, 502, 504})
"""Answers to AUTH that speak of the mechanism, not of the password (RFC 4954 4.2.4 and 6)."""
_FAREWELL_S = 2.0
"""How long a server may take to say good-bye: what became of the message is known by then, and not yet on record."""


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Where mail is handed in. ``secret_id`` names the password, used only together with ``user``."""

    host: str
    port: int | None = None
    security: Security = "starttls"
    user: str | None = None
    secret_id: str = "mail/smtp"  # noqa: S105 - a name in the secret store
    timeout_ms: int = 30_000


def check_smtp(settings: SmtpSettings) -> None:
    """Refuse settings that would send a password in the clear. Raises :class:`InvalidInput`."""
    if settings.user and settings.security == "none":
        raise InvalidInput(
            "mail.smtp.tls is none, so the password would be sent in the clear",
            code="mail.settings",
            where=Where(key="mail.smtp.tls"),
            hint="use starttls or tls, or remove mail.smtp.user",
        )


class SmtpSession:
    """One delivery. ``abort`` may be called from another thread and ends it."""

    def __init__(self, settings: SmtpSettings, tls: ssl.SSLContext | None) -> None:
        check_smtp(settings)
        self._settings, self._tls = settings, tls
        self._sock: socket.socket | None = None
        self._smtp: Conversation | None = None
        self._text_started = False
        self._aborted = False

    def abort(self) -> None:
        """Close the connection under the delivery, or give it up as soon as it is made."""
        self._aborted = True
        if self._sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # TLS's own would take itself out of the hands of who reads

    def deliver(self, mail: Mail, password: str | None) -> None:
        """Hand the message in. Raises :class:`CallError`; ``outcome_unknown`` when the answer to the text was lost."""
        try:
            self._connect()
            self._log_in(password)
            self._transact(mail)
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            if self._text_started:
                raise self._unknown(mail, "broke off") from error
            raise self._not_sent(error, password) from error
        finally:
            self._close()

    def _connect(self) -> None:
        settings = self._settings
        port, timeout = settings.port or DEFAULT_PORTS[settings.security], settings.timeout_ms / 1000
        self._sock = socket.create_connection((settings.host, port), timeout)
        if settings.security == "tls":
            self._protect(self._sock)
        if self._aborted:
            raise smtplib.SMTPServerDisconnected("the call was cancelled")
        self._smtp = Conversation(self._sock, settings.host, timeout)
        self._smtp.ehlo_or_helo_if_needed()
        if settings.security == "starttls":
            self._start_tls(self._smtp)

    def _start_tls(self, smtp: Conversation) -> None:
        if not smtp.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("the server offers no STARTTLS")
        code, reply = smtp.docmd("STARTTLS")
        if code != 220 or smtp.sock is None:
            raise smtplib.SMTPResponseException(code, reply)
        smtp.protected(self._protect(smtp.sock))

    def _protect(self, sock: socket.socket) -> socket.socket:
        tls = self._tls or ssl.create_default_context()
        protected = tls.wrap_socket(sock, server_hostname=self._settings.host, do_handshake_on_connect=False)
        self._sock = protected  # before anything is said over it: whoever aborts reaches it
        protected.do_handshake()
        return protected

    def _log_in(self, password: str | None) -> None:
        user, host = self._settings.user, self._settings.host
        if self._smtp is None or not user:
            return
        if not f"{user}{password or ''}".isascii():
            message = f"the user or the password for {host} holds characters outside ASCII, which its login cannot carry"
            hint = f"set a password without them there, and store it as {self._settings.secret_id}"
            raise CallError(CallErrorKind.UNAVAILABLE, message, code="mail.auth", hint=hint)
        self._authenticate(self._smtp, user, password or "")

    def _authenticate(self, smtp: Conversation, user: str, password: str) -> None:
        """Log in by one mechanism: a password that is refused once is not offered again, for servers lock accounts after a few."""
        ways: dict[str, Any] = {"PLAIN": smtp.auth_plain, "LOGIN": smtp.auth_login, "CRAM-MD5": smtp.auth_cram_md5}
        offered = smtp.esmtp_features.get("auth", "").upper().split()
        usable = [name for name in ways if name in offered]
        if not usable:
            which = f"by {_said(' '.join(offered))}" if offered else "in no way"
            message = f"{self._settings.host} lets people log in {which}, not by {', '.join(ways)}"
            hint = "most servers do on port 587 (starttls) or 465 (tls): see mail.smtp.port; without mail.smtp.user nobody logs in"
            raise CallError(CallErrorKind.UNAVAILABLE, message, code="mail.not_supported", hint=hint)
        smtp.user, smtp.password = user, password
        for name in usable:
            try:
                smtp.auth(name, ways[name])
            except smtplib.SMTPAuthenticationError as error:
                if name == usable[-1] or error.smtp_code not in _NO_SUCH_MECHANISM:
                    raise
            else:
                return

    def _transact(self, mail: Mail) -> None:
        smtp = self._smtp
        if smtp is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        if mail.needs_utf8 and not smtp.has_extn("smtputf8"):
            raise smtplib.SMTPNotSupportedError("the server takes no addresses outside ASCII")
        if mail.needs_utf8:
            smtp.command_encoding = "utf-8"
        options = ["SMTPUTF8", "BODY=8BITMIME"] if mail.needs_utf8 else []
        if smtp.has_extn("size"):  # RFC 1870: what is too large is refused before it is sent
            options.append(f"SIZE={len(mail.content)}")
        code, reply = smtp.mail(mail.sender, options)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, reply, mail.sender)
        self._name_recipients(smtp, mail)
        code, reply = smtp.docmd("DATA")
        if code != 354:
            raise smtplib.SMTPDataError(code, reply)
        self._text_started = True
        smtp.send(stuffed(mail.content))
        code, reply = smtp.getreply()
        if not 200 <= code < 600 or 300 <= code < 400:
            raise self._unknown(mail, f"gave no answer that SMTP has ({_said(reply)!r})")
        self._text_started = False  # the server has said what became of it
        if code >= 400:
            raise smtplib.SMTPDataError(code, reply)

    def _name_recipients(self, smtp: Conversation, mail: Mail) -> None:
        refused: dict[str, tuple[int, bytes]] = {}
        for recipient in mail.recipients:
            try:
                answer = smtp.rcpt(recipient)
            except smtplib.SMTPServerDisconnected:
                if refused:  # it hung up on one whom it had refused: that is its answer
                    break
                raise
            if answer[0] not in {250, 251}:
                refused[recipient] = answer
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)

    def _unknown(self, mail: Mail, what: str) -> CallError:
        return CallError(
            CallErrorKind.UNAVAILABLE,
            f"{self._settings.host} {what} after it was given the message: it may or may not have been sent",
            code="mail.outcome_unknown",
            hint=f"look for {mail.message_id} at the recipient or in the server's log before sending again",
            outcome_unknown=True,
        )

    def _close(self) -> None:
        if self._smtp is not None:
            self._smtp.part(_FAREWELL_S)
        if self._sock is not None:
            self._sock.close()

    def _not_sent(self, error: Exception, password: str | None) -> CallError:
        host = self._settings.host
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            code = max(answer[0] for answer in error.recipients.values())
            said = "; ".join(f"{name}: {answer[0]} {_said(answer[1])}" for name, answer in error.recipients.items())
            return _answered(host, code, said, "mail.recipient_refused")
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return self._no_login(error, password)
        if isinstance(error, smtplib.SMTPResponseException) and not 400 <= error.smtp_code < 600:
            hint = "check mail.smtp.host and mail.smtp.port: something else than a mail server may listen there; nothing was sent"
            message = f"{host} does not speak SMTP: {error.smtp_code} {_said(error.smtp_error)}"
            return CallError(CallErrorKind.UNAVAILABLE, message, code="mail.connect", hint=hint)
        if isinstance(error, smtplib.SMTPResponseException):
            return _answered(host, error.smtp_code, f"{error.smtp_code} {_said(error.smtp_error)}", "mail.refused")
        if isinstance(error, ssl.SSLError):
            hint = "check mail.smtp.host and the server's certificate; mail.smtp.tls says how the connection is protected"
            if of_tls(error, certificate=True):
                hint = f"check mail.smtp.host; {AUTHORITY_HINT}"
            return CallError(
                CallErrorKind.UNAVAILABLE, f"no protected connection to {host}: {_said(str(error))}", code="mail.tls", hint=hint
            )
        if isinstance(error, smtplib.SMTPNotSupportedError):
            hint = "the server lacks what the message or mail.smtp.tls needs; see the message"
            return CallError(CallErrorKind.UNAVAILABLE, f"{host}: {_said(str(error))}", code="mail.not_supported", hint=hint)
        if isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPServerDisconnected):
            hint = f"see the message; {host} and this login may have no way in common"
            return CallError(CallErrorKind.UNAVAILABLE, f"{host}: {_said(str(error))}", code="mail.not_supported", hint=hint)
        hint = "check mail.smtp.host and mail.smtp.port, and the network; nothing was sent"
        if self._smtp is None and isinstance(error, smtplib.SMTPServerDisconnected) and self._settings.security != "tls":
            hint += "; a server that speaks TLS from the start (port 465) wants mail.smtp.tls: tls"
        return CallError(
            CallErrorKind.UNAVAILABLE, f"{host} cannot be reached: {_said(str(error))}", code="mail.connect", hint=hint, retryable=True
        )

    def _no_login(self, error: smtplib.SMTPAuthenticationError, password: str | None) -> CallError:
        """A refused login, in the server's words; the password is taken out of them in every form in which it was sent."""
        passing = error.smtp_code < 500
        forms = [*(base64.b64encode(f"{before}{password}".encode()).decode() for before in (f"\0{self._settings.user}\0", "")), password]
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        for form in forms if password else ():
            said = said.replace(str(form), "[secret]")
        hint = f"check mail.smtp.user and the password stored as {self._settings.secret_id}; some servers want one made for programs"
        return CallError(
            CallErrorKind.UNAVAILABLE,
            f"{self._settings.host} refused the login: {error.smtp_code} {_said(said)}",
            code="mail.auth",
            hint="the server asks to try again later; nothing was sent" if passing else hint,
            retryable=passing,
        )


def stuffed(content: bytes) -> bytes:
    """The message as DATA carries it: CRLF lines, leading dots doubled, ended by a lone dot (RFC 5321 4.5.2)."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n"


def _answered(host: str, code: int, said: str, name: str) -> CallError:
    if 400 <= code < 500:
        hint = "the server asks to try again later; nothing was sent"
        return CallError(CallErrorKind.UNAVAILABLE, f"{host} put it off: {said}", code="mail.deferred", hint=hint, retryable=True)
    hint = "nothing was sent; the server's answer says why"
    return CallError(CallErrorKind.INVALID, f"{host} refused: {said}", code=name, hint=hint)


def _said(text: bytes | str) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join("".join(character if character.isprintable() else " " for character in plain).split())[:300]
