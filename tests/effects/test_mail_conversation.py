"""Mail servers that are slow, odd or hostile: each answer is bounded in time and size, and whoever aborts is heard at any moment."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from functools import partial

import pytest

from runloop.effects.perform.mail_conversation import LONGEST_ANSWER
from runloop.effects.perform.mail_message import compose, mail_key, parse_mailbox
from runloop.effects.perform.mail_smtp import SmtpSession, SmtpSettings
from runloop.effects.types import CallError, CallErrorKind

HELLO = {"to": [{"email": "ada@example.org"}, {"email": "eve@example.org"}], "subject": "The engine", "text": "it runs.\n"}
NEVER_MS = 600_000


@pytest.fixture
def mail():
    return compose(HELLO, parse_mailbox("carl@sender.example", "mail.from"), mail_key("run/n/1"), 1_795_000_000_000)


@asynccontextmanager
async def server(converse, **settings):
    """SMTP settings that lead to ``converse``."""

    async def meet(reader, writer):
        try:
            await converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):  # a test may end first, which Python 3.11 would call a failure
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield SmtpSettings("localhost", port, **{"security": "none", "timeout_ms": 20_000, **settings})


async def refused(session, mail):
    with pytest.raises(CallError) as caught:
        await asyncio.to_thread(session.deliver, mail, None)
    return caught.value


def answering(answers, then=None):
    """A server that answers 250 but for the verbs of ``answers``; with ``then`` it goes on in that way after one of them."""

    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().rstrip():
            verb = line.split()[0].upper()
            writer.write(f"{answers.get(verb, '354 go' if verb == 'DATA' else '250 OK')}\r\n".encode())
            if verb == "DATA":
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 OK\r\n")
            if verb in answers and then:
                await then(writer)
                return

    return converse


async def hang_up(writer):
    await writer.drain()


async def drip(writer):
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(writer):
    while True:
        writer.write((b"250-" + b"x" * 500 + b"\r\n") * 100)
        await writer.drain()


async def test_an_answer_that_drips_in_has_the_time_of_one_answer(mail):
    async with server(answering({"EHLO": "250-x\r\n250-"}, drip), timeout_ms=300) as settings:
        error = await refused(SmtpSession(settings, None), mail)

    assert (error.code, error.retryable, error.outcome_unknown) == ("mail.connect", True, False)
    assert "no whole answer in 0.3 s" in error.message


@pytest.mark.parametrize("answer", ["250-x", "250 x" + "y" * LONGEST_ANSWER])
async def test_an_answer_without_an_end_is_not_kept(answer, mail):
    async with server(answering({"EHLO": answer}, flood)) as settings:
        error = await refused(SmtpSession(settings, None), mail)

    assert (error.code, error.outcome_unknown) == ("mail.connect", False)
    assert f"more than {LONGEST_ANSWER} bytes" in error.message


async def test_what_became_of_a_message_whose_answer_has_no_end_is_unknown(mail):
    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        for answer in (b"250 OK", b"250 OK", b"250 OK", b"250 OK", b"354 go"):
            await reader.readline()
            writer.write(answer + b"\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        await flood(writer)

    async with server(converse) as settings:
        error = await refused(SmtpSession(settings, None), mail)

    assert (error.code, error.outcome_unknown) == ("mail.outcome_unknown", True)


async def no_greeting(reader, writer, reached):
    reached.set()
    await reader.read()


async def no_handshake(reader, writer, reached):
    await reader.read(1)
    reached.set()
    await reader.read()


async def no_handshake_after_all(reader, writer, reached):
    writer.write(b"220 ready\r\n")
    await reader.readline()
    writer.write(b"250-x\r\n250 STARTTLS\r\n")
    await reader.readline()
    writer.write(b"220 go\r\n")
    await no_handshake(reader, writer, reached)


@pytest.mark.parametrize(("security", "converse"), [("none", no_greeting), ("tls", no_handshake), ("starttls", no_handshake_after_all)])
async def test_whoever_aborts_is_heard_before_the_greeting_and_in_the_middle_of_a_handshake(security, converse, mail):
    reached = asyncio.Event()
    async with server(partial(converse, reached=reached), security=security, timeout_ms=NEVER_MS) as settings:
        session = SmtpSession(settings, None)
        delivery = asyncio.create_task(refused(session, mail))
        async with asyncio.timeout(60):
            await reached.wait()
            session.abort()
            error = await delivery

    assert error.kind is CallErrorKind.UNAVAILABLE


@pytest.mark.parametrize("answer", ["550 5.1.1 no such user", "421 4.7.0 too many errors"])
async def test_a_server_that_hangs_up_on_a_recipient_whom_it_refused_has_refused_and_is_not_unreachable(answer, mail):
    async with server(answering({"RCPT": answer}, hang_up)) as settings:
        error = await refused(SmtpSession(settings, None), mail)

    assert (error.code, answer in error.message, error.retryable) == (
        ("mail.recipient_refused", True, False) if answer.startswith("5") else ("mail.deferred", True, True)
    )


async def test_what_was_said_before_the_protection_counts_no_more(mail, authority, trusting):
    """Answers that somebody on the way puts behind that to STARTTLS must not be taken for those of the server (CVE-2011-0411)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority[1])
    heard = []

    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().rstrip():
            verb = line.split()[0].upper()
            if verb == "STARTTLS":
                writer.write(b"220 go\r\n250-x\r\n250 FORGED\r\n" + b"250 OK\r\n" * 3 + b"354 go\r\n250 OK\r\n")
                await writer.start_tls(context)
                continue
            heard.append(verb)
            answer = {"EHLO": "250-x\r\n250 STARTTLS", "MAIL": "550 not from you"}.get(verb, "250 OK")
            writer.write(f"{answer}\r\n".encode())

    async with server(converse, security="starttls") as settings:
        error = await refused(SmtpSession(settings, trusting()), mail)

    assert (error.code, "550 not from you" in error.message, heard) == ("mail.refused", True, ["EHLO", "EHLO", "MAIL", "QUIT"])


@pytest.mark.parametrize("size", ["250-here\r\n250 SIZE 20", "250 here"])
async def test_a_server_is_told_the_size_before_the_text_where_it_asks_for_it(size, mail):
    told = []

    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().rstrip().upper():
            told.append(line)
            answer = {"EHLO": size, "MAIL": "552 5.3.4 too big"}.get(line[:4], "250 OK")
            writer.write(f"{answer}\r\n".encode())

    async with server(converse) as settings:
        error = await refused(SmtpSession(settings, None), mail)

    assert (error.code, told[1].endswith(f" SIZE={len(mail.content)}")) == ("mail.refused", "SIZE" in size)
