"""An SMTP server as a process (aiosmtpd): keeps what it accepts in a directory, and refuses in the ways that servers do.

Usage: python tests/support/mail_server.py --spool DIR [--security none|starttls|tls] [--cert PEM] [--auth USER:PASSWORD]
Prints its port; ends when its standard input closes. Each accepted message is DIR/<n>.json: {mail_from, rcpt_tos, content, tls, auth}.
What a recipient's local part asks for: refused → 550, greylisted → 451 the first time, forwarded → 251, gone-at-rcpt → the
connection ends.
What a subject asks for: "reject" → 554 after the text, "tempfail" → 451 after the text, "vanish" → accepted, and the connection
ends without an answer, "silent" → no answer at all, "garbled" → accepted, and an answer that is none, "glad" → accepted with 251,
"clinging" → accepted, and QUIT is never answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import ssl
import sys
import threading
import warnings
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, spool):
        self.spool, self.seen, self.clings = spool, set(), False

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        local = address.partition("@")[0]
        if local == "refused":
            return "550 5.1.1 no such user"
        if local == "greylisted" and address not in self.seen:
            self.seen.add(address)
            return "451 4.7.1 greylisted, try again"
        if local == "gone-at-rcpt":
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "251 User not local; will forward" if local == "forwarded" else "250 OK"

    async def handle_DATA(self, server, session, envelope):
        subject = message_from_bytes(envelope.original_content)["Subject"]
        if subject == "reject":
            return "554 5.7.1 looks like spam"
        if subject == "tempfail":
            return "451 4.3.0 disk full"
        if subject == "silent":
            await asyncio.Event().wait()
        number = len(list(self.spool.iterdir())) + 1
        record = {
            "mail_from": envelope.mail_from,
            "rcpt_tos": envelope.rcpt_tos,
            "content": envelope.original_content.decode(),
            "tls": session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None,
            "auth": session.authenticated,
        }
        (self.spool / f"{number}.json").write_text(json.dumps(record))
        if subject == "vanish":
            server.transport.abort()
        self.clings = subject == "clinging"
        return {"garbled": "all is well", "glad": "251 OK"}.get(subject, "250 OK")

    async def handle_QUIT(self, server, session, envelope):
        if self.clings:
            await asyncio.Event().wait()
        return "221 Bye"


async def serve(options):
    context = None
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert)
    handler = Handler(Path(options.spool))

    def authenticate(_server, _session, _envelope, _mechanism, data):
        success = f"{data.login.decode()}:{data.password.decode()}" == options.auth
        return AuthResult(success=success, handled=False)

    def protocol():
        return SMTP(
            handler,
            hostname="mail.test",
            enable_SMTPUTF8=options.utf8,
            tls_context=context if options.security == "starttls" else None,
            require_starttls=options.security == "starttls",
            authenticator=authenticate if options.auth else None,
            auth_required=bool(options.auth),
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN", "PLAIN"] if options.odd else None,
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=context if options.security == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    await ended.wait()


def main():
    warnings.simplefilter("ignore")  # of aiosmtpd about settings that a test wants to be careless
    logging.disable()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spool", required=True)
    parser.add_argument("--security", choices=["none", "starttls", "tls"], default="none")
    parser.add_argument("--cert")
    parser.add_argument("--auth")
    parser.add_argument("--utf8", action="store_true")
    parser.add_argument("--odd", action="store_true", help="log in by no way that is known")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
