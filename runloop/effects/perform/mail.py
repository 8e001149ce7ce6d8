"""``mail.send``: into the outbox, or over SMTP where that is configured; once for each call, whatever is retried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.perform.mail_message import Mail, compose, mail_key, parse_mailbox
from runloop.effects.perform.mail_smtp import SmtpSession, SmtpSettings, check_smtp
from runloop.effects.perform.ports import SentLog, SentMail
from runloop.effects.perform.secrets import SecretStore, missing_hint
from runloop.effects.perform.storage import write_new
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Evidence, Outcome, Prepared, require
from runloop.tasks import shielded

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

NO_SENDER_HINT = "set mail.from, for example: rlp config explain mail.from"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """``sender`` is ``mail.from``. ``local_sender`` stands in for it in the outbox only, never over SMTP."""

    outbox: Path
    local_sender: str
    sender: str | None = None
    smtp: SmtpSettings | None = None


class MailSend:
    """Puts messages out. ``tls`` replaces the system's certificate authorities."""

    def __init__(self, settings: MailSettings, sent: SentLog, secrets: SecretStore, *, tls: ssl.SSLContext | None = None) -> None:
        if settings.smtp is not None:
            check_smtp(settings.smtp)
        self._settings, self._sent, self._secrets, self._tls = settings, sent, secrets, tls

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Write the whole message; that, and where it goes, is what a person approves."""
        require(ctx.caps.check_mail())
        settings = self._settings
        if settings.smtp is not None and settings.sender is None:
            raise CallError(
                CallErrorKind.UNAVAILABLE, "no sender is configured, so nothing can be sent", code="mail.no_sender", hint=NO_SENDER_HINT
            )
        sender = parse_mailbox(settings.sender or settings.local_sender, "mail.from")
        mail = compose(args, sender, mail_key(ctx.work_key), ctx.now_ms)
        if settings.smtp is not None:
            what = f"send through {settings.smtp.host}:\n\n{mail.shown}"
            return Prepared(
                "mail.smtp", EffectClass.EXTERNAL, what, mail.recipients, external=True, leaves_machine=True, data={"mail": mail}
            )
        path = self._path(mail)
        identity = (
            "" if settings.sender else f"\n(mail.from is not set: {mail.sender} names this user on this machine and cannot receive replies)"
        )
        what = f"put into the outbox as {path}:{identity}\n\n{mail.shown}"
        data = {"mail": mail, "path": path}
        return Prepared("mail.outbox", EffectClass.EXTERNAL, what, mail.recipients, external=True, reversible=True, data=data)

    async def done_before(self, prepared: Prepared, ctx: CallContext) -> bool | None:
        """Whether an earlier try put it out: then nobody needs to approve it once more, for nothing leaves.

        None where a server may have taken it from an attempt that was stopped meanwhile, or that was not told. A file in the outbox is
        there or is not.
        """
        if await self._sent.find(prepared.data["mail"].key) is not None:
            return True
        return None if "path" not in prepared.data and await self._sent.unsettled(ctx) else False

    async def remember(self, prepared: Prepared, ctx: CallContext) -> None:
        """As :class:`runloop.effects.types.Once`."""
        if await self._sent.find(prepared.data["mail"].key) is None:
            await self._sent.record(_sent_over_smtp(prepared.data["mail"]), ctx)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Put it out, unless that was done before."""
        mail: Mail = prepared.data["mail"]
        known = await self._sent.find(mail.key)
        if known is not None:
            return self._outcome(known, mail, repeated=True)
        if "path" in prepared.data:
            record, repeated = await asyncio.to_thread(self._put, mail, prepared.data["path"])
        else:
            await self._deliver(mail)
            record, repeated = _sent_over_smtp(mail), False
        await self._sent.record(record, ctx)
        return self._outcome(record, mail, repeated=repeated)

    async def evidence(self, prepared: Prepared, ctx: CallContext) -> Evidence:
        """As :class:`runloop.effects.types.Witness`: the log of sent mail and the outbox are sure; a mail server may have taken it."""
        mail: Mail = prepared.data["mail"]
        known = await self._sent.find(mail.key)
        if known is not None:
            return Evidence(True, f"the ledger says that {known.message_id} was put out", self._outcome(known, mail, repeated=True))
        if "path" in prepared.data:
            there = await asyncio.to_thread(prepared.data["path"].exists)
            if not there:
                return Evidence(False, f"{prepared.data['path']} is not there")
            return Evidence(True, f"{prepared.data['path']} is there", await self.perform(prepared, ctx))
        host = self._settings.smtp.host if self._settings.smtp else "the mail server"
        text = f"{host} may have taken the message {mail.message_id}: look for it in the mailbox of the sender or of {mail.recipients[0]}"
        return Evidence(None, text, self._outcome(_sent_over_smtp(mail), mail, repeated=False))

    def _path(self, mail: Mail) -> Path:
        return self._settings.outbox / f"{mail.key}.eml"

    def _put(self, mail: Mail, path: Path) -> tuple[SentMail, bool]:
        try:
            new = write_new(path, mail.content)
            digest = mail.digest if new else blake3(path.read_bytes()).hexdigest()
        except OSError as error:
            message = f"cannot write {path}: {error.strerror or error}"
            raise CallError(
                CallErrorKind.UNAVAILABLE, message, code="mail.outbox", hint="check the disk and the directory's rights"
            ) from error
        return SentMail(mail.key, mail.message_id, "outbox", str(path), digest, mail.recipients), not new

    async def _deliver(self, mail: Mail) -> None:
        smtp = self._settings.smtp
        if smtp is None:
            raise CallError(CallErrorKind.UNAVAILABLE, "SMTP is not configured", code="mail.no_smtp", hint="set mail.smtp.host")
        password = await self._password(smtp)
        session = SmtpSession(smtp, self._tls)
        delivery = asyncio.ensure_future(asyncio.to_thread(session.deliver, mail, password))
        try:
            await shielded(delivery)
        except asyncio.CancelledError:
            session.abort()
            await asyncio.wait([delivery])
            if not delivery.cancelled():
                delivery.exception()
            raise

    async def _password(self, smtp: SmtpSettings) -> str | None:
        if not smtp.user:
            return None
        password = await self._secrets.get(smtp.secret_id)
        if password is None:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"the password for {smtp.user} at {smtp.host} is not there",
                code="mail.no_password",
                hint=missing_hint(smtp.secret_id),
            )
        return password

    def _outcome(self, record: SentMail, mail: Mail, *, repeated: bool) -> Outcome:
        result = {
            "message_id": record.message_id,
            "status": record.status,
            "path": record.path,
            "recipients": list(record.recipients),
            "from": mail.sender,
            "identity": "configured" if self._settings.sender else "local",
            # A retry of a call that had already gone out changes nothing; the guest learns whether it said the same then.
            "repeated": repeated,
            "same_content": record.digest == mail.digest,
        }
        return Outcome(result, note="the message had gone out before, so nothing left now" if repeated else "")


def _sent_over_smtp(mail: Mail) -> SentMail:
    return SentMail(mail.key, mail.message_id, "sent", None, mail.digest, mail.recipients)
