"""mail.send: a strict message, approved as a whole, out once; over SMTP only with a sender and a protected password."""

import asyncio
import base64
import email
import email.policy
import gc
import json
import ssl
from dataclasses import dataclass, field
from email.headerregistry import ContentTypeHeader

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from runloop.effects.perform.mail import MailSend, MailSettings
from runloop.effects.perform.mail_message import compose, local_identity, mail_key, parse_mailbox, read_people
from runloop.effects.perform.mail_smtp import SmtpSettings, stuffed
from runloop.effects.perform.secrets import EnvironmentSecrets, SecretStore
from runloop.effects.types import CallError, CallErrorKind, EffectClass
from runloop.errors import InvalidInput
from runloop.policy import Capabilities

ADA = {"name": "Ada Lovelace", "email": "ada@example.org"}
ARGS = {"to": [ADA], "subject": "The engine", "text": "Dear Ada,\n\nit runs.\n"}
MAIL = Capabilities(mail=True)
PASSWORD = "p4ssw0rd-of-the-sender"


@dataclass
class Sent:
    """A sent log in memory."""

    known: dict = field(default_factory=dict)
    lost: bool = False

    async def unsettled(self, ctx):
        return self.lost

    async def find(self, key):
        return self.known.get(key)

    async def record(self, mail, ctx):
        self.known.setdefault(mail.key, mail)


class Drawer:
    def get(self, secret_id):
        return {"mail/smtp": PASSWORD}.get(secret_id)


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def make(tmp_path, sent):
    def build(smtp=None, *, sender="Carl <carl@sender.example>", tls=None, secrets=None, **over):
        settings = MailSettings(tmp_path / "outbox", "me@this-machine", sender, smtp)
        return MailSend(settings, over.get("sent", sent), SecretStore([Drawer()]) if secrets is None else secrets, tls=tls)

    return build


def parsed(content):
    return email.message_from_bytes(content, policy=email.policy.default)


def words(message):
    return message.get_content().replace("\r\n", "\n")


async def test_the_outbox_gets_a_message_that_a_strict_reader_understands(make, tmp_path, make_ctx, crossing, sent):
    args = {**ARGS, "cc": [{"email": "bob@example.org"}], "in_reply_to": "<old@example.org>"}
    outcome = await crossing(make(), args, make_ctx(MAIL))

    key = mail_key("run/n/1")
    path = tmp_path / "outbox" / f"{key}.eml"
    assert outcome.result == {
        "message_id": f"<{key}@sender.example>",
        "status": "outbox",
        "path": str(path),
        "recipients": ["ada@example.org", "bob@example.org"],
        "from": "carl@sender.example",
        "identity": "configured",
        "repeated": False,
        "same_content": True,
    }
    message = parsed(path.read_bytes())
    assert message.defects == []
    assert {name: message[name] for name in message} == {
        "From": "Carl <carl@sender.example>",
        "To": "Ada Lovelace <ada@example.org>",
        "Cc": "bob@example.org",
        "Subject": "The engine",
        "Date": "Wed, 18 Nov 2026 11:06:40 +0000",
        "Message-ID": f"<{key}@sender.example>",
        "In-Reply-To": "<old@example.org>",
        "References": "<old@example.org>",
        "Content-Type": 'text/plain; charset="us-ascii"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
    }
    assert words(message) == "Dear Ada,\n\nit runs.\n"
    assert b"\n" not in path.read_bytes().replace(b"\r\n", b"")
    assert path.stat().st_mode & 0o777 == 0o600
    assert sent.known[key].message_id == f"<{key}@sender.example>"


async def test_what_is_approved_is_the_whole_message_and_where_it_goes(make, tmp_path, make_ctx):
    prepared = make().prepare(ARGS, make_ctx(MAIL))

    key = mail_key("run/n/1")
    assert (prepared.action, prepared.klass, prepared.external) == ("mail.outbox", EffectClass.EXTERNAL, True)
    assert (prepared.reversible, prepared.leaves_machine, prepared.recipients) == (True, False, ("ada@example.org",))
    assert prepared.what == (
        f"put into the outbox as {tmp_path}/outbox/{key}.eml:\n\n"
        "From: Carl <carl@sender.example>\nTo: Ada Lovelace <ada@example.org>\nSubject: The engine\n"
        f"Date: Wed, 18 Nov 2026 11:06:40 +0000\nMessage-ID: <{key}@sender.example>\n\nDear Ada,\n\nit runs.\n"
    )
    assert not (tmp_path / "outbox").exists()


async def test_without_a_sender_the_outbox_names_this_user_and_says_so(make, make_ctx, crossing):
    performer, ctx = make(sender=None), make_ctx(MAIL)
    prepared = performer.prepare(ARGS, ctx)
    outcome = await performer.perform(prepared, ctx)

    assert "mail.from is not set: me@this-machine names this user on this machine" in prepared.what
    assert (outcome.result["from"], outcome.result["identity"]) == ("me@this-machine", "local")


async def test_without_the_capability_there_is_no_mail(make, make_ctx, refusal):
    error = await refusal(make(), ARGS, make_ctx())

    assert (error.kind, error.code) == (CallErrorKind.DENIED, "denied.mail.send.cap_missing")


async def test_a_retry_of_the_same_call_writes_nothing_new(make, tmp_path, make_ctx, crossing):
    performer = make()
    first = await crossing(performer, ARGS, make_ctx(MAIL))
    second = await crossing(performer, {**ARGS, "text": "other"}, make_ctx(MAIL, attempt=2, now_ms=1_795_000_900_000))

    assert (first.result["repeated"], second.result["repeated"], second.result["same_content"]) == (False, True, False)
    assert second.result["message_id"] == first.result["message_id"]
    assert [path.read_text().count("it runs.") for path in (tmp_path / "outbox").iterdir()] == [1]


async def test_what_a_retry_would_not_send_again_is_known_before_anybody_is_asked(make, make_ctx, crossing):
    performer = make()
    prepared = performer.prepare(ARGS, make_ctx(MAIL))
    before = await performer.done_before(prepared, make_ctx(MAIL))
    await crossing(performer, ARGS, make_ctx(MAIL))

    assert (before, await performer.done_before(prepared, make_ctx(MAIL, attempt=2))) == (False, True)


async def test_what_a_server_may_have_of_an_earlier_attempt_nobody_knows_until_a_person_says_so(make, make_ctx, sent):
    performer, ctx = make(SmtpSettings("127.0.0.1", 25, "none")), make_ctx(MAIL, attempt=2)
    prepared = performer.prepare(ARGS, ctx)
    before = await performer.done_before(prepared, ctx)
    sent.lost = True
    lost = await performer.done_before(prepared, ctx)
    for _ in range(2):
        await performer.remember(prepared, ctx)

    assert (before, lost, await performer.done_before(prepared, ctx)) == (False, None, True)
    (known,) = sent.known.values()
    assert (known.message_id, known.status, known.recipients) == (prepared.data["mail"].message_id, "sent", ("ada@example.org",))


async def test_a_file_in_the_outbox_is_there_or_is_not_whatever_became_of_an_earlier_attempt(make, make_ctx, sent):
    sent.lost = True
    performer, ctx = make(), make_ctx(MAIL, attempt=2)
    assert await performer.done_before(performer.prepare(ARGS, ctx), ctx) is False


async def test_a_node_that_a_gate_sent_back_sends_its_message_anew(make, tmp_path, make_ctx, crossing):
    performer = make()
    first = await crossing(performer, ARGS, make_ctx(MAIL))
    second = await crossing(performer, {**ARGS, "text": "other"}, make_ctx(MAIL, attempt=3, since=2))

    assert (first.result["repeated"], second.result["repeated"]) == (False, False)
    assert second.result["message_id"] != first.result["message_id"]
    assert len(list((tmp_path / "outbox").iterdir())) == 2


async def test_a_crash_between_the_file_and_the_record_does_not_repeat(make, tmp_path, make_ctx, crossing):
    first = await crossing(make(), ARGS, make_ctx(MAIL))
    fresh = Sent()
    second = await crossing(make(sent=fresh), ARGS, make_ctx(MAIL))

    assert (second.result["repeated"], second.result["same_content"]) == (True, True)
    assert second.result["path"] == first.result["path"]
    assert len(fresh.known) == 1
    assert len(list((tmp_path / "outbox").iterdir())) == 1


async def test_what_stands_in_the_outbox_already_stays_and_is_said_to_differ(make, tmp_path, make_ctx, crossing, sent):
    key = mail_key("run/n/1")
    (tmp_path / "outbox").mkdir(mode=0o700)
    (tmp_path / "outbox" / f"{key}.eml").write_bytes(b"what an earlier process wrote")
    outcome = await crossing(make(), ARGS, make_ctx(MAIL))

    assert (outcome.result["repeated"], outcome.result["same_content"]) == (True, False)
    assert (tmp_path / "outbox" / f"{key}.eml").read_bytes() == b"what an earlier process wrote"
    assert sent.known[key].digest == blake3(b"what an earlier process wrote").hexdigest()


async def test_what_became_of_a_message_that_a_crash_cut_off_is_seen_in_the_outbox_and_in_the_log_of_sent_mail(make, make_ctx, sent):
    performer, ctx = make(), make_ctx(MAIL)
    prepared = performer.prepare(ARGS, ctx)
    before = await performer.evidence(prepared, ctx)
    put = await performer.perform(prepared, ctx)
    logged = await performer.evidence(prepared, ctx)
    sent.known.clear()
    there = await performer.evidence(prepared, ctx)

    assert (before.happened, before.outcome) == (False, None)
    assert [(each.happened, each.outcome.result["path"]) for each in (logged, there)] == [(True, put.result["path"])] * 2
    assert len(sent.known) == 1  # on record now


async def test_whether_a_mail_server_took_a_message_is_for_a_person_to_say(make, make_ctx):
    performer, ctx = make(SmtpSettings(host="mail.example", port=25, security="none", timeout_ms=1)), make_ctx(MAIL)
    found = await performer.evidence(performer.prepare(ARGS, ctx), ctx)

    assert (found.happened, found.outcome.result["status"]) == (None, "sent")
    assert found.text.startswith("mail.example may have taken the message <")


async def test_another_call_is_another_message(make, tmp_path, make_ctx, crossing):
    for call in (1, 2):
        await crossing(make(), ARGS, make_ctx(MAIL, idempotency_key=f"run/n/{call}"))

    assert len(list((tmp_path / "outbox").iterdir())) == 2


async def test_an_outbox_that_cannot_be_written_is_said_so(make, tmp_path, make_ctx, refusal, sent):
    (tmp_path / "outbox").write_text("a file in the way")
    error = await refusal(make(), ARGS, make_ctx(MAIL))

    assert (error.kind, error.code) == (CallErrorKind.UNAVAILABLE, "mail.outbox")
    assert sent.known == {}


@pytest.mark.parametrize(
    ("over", "code", "key"),
    [
        ({"subject": "a\r\nBcc: evil@example.org"}, "mail.header", "subject"),
        ({"subject": "a\nb"}, "mail.header", "subject"),
        ({"subject": "a\u2028b"}, "mail.header", "subject"),
        ({"subject": "a\x00b"}, "mail.header", "subject"),
        ({"to": [{"name": "A\r\nBcc: e@x.org", "email": "a@x.org"}]}, "mail.header", "to.0.email"),
        ({"to": [{"email": "a@x.org\r\nBcc: e@x.org"}]}, "mail.header", "to.0.email"),
        ({"to": [{"email": "a@x.org, b@x.org"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "a@x.org>"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "no-at-sign"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "a@"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "@x.org"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "a..b@x.org"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "a@-x.org"}]}, "mail.address", "to.0.email"),
        ({"to": [{"email": "a" * 65 + "@x.org"}]}, "mail.address", "to.0.email"),
        ({"to": [ADA], "cc": [{"email": "x y@x.org"}]}, "mail.address", "cc.0.email"),
        ({"text": "a\x1b[31mb"}, "mail.text", "text"),
        ({"text": "a\x00b"}, "mail.text", "text"),
        ({"in_reply_to": "<a@b>\r\nX: y"}, "mail.in_reply_to", "in_reply_to"),
        ({"in_reply_to": "plain"}, "mail.in_reply_to", "in_reply_to"),
    ],
)
async def test_nothing_can_become_a_header_of_its_own(over, code, key, make, tmp_path, make_ctx, refusal):
    error = await refusal(make(), {**ARGS, **over}, make_ctx(MAIL))

    assert (error.kind, error.code, error.where.key) == (CallErrorKind.INVALID, code, key)
    assert not (tmp_path / "outbox").exists()


def composed(**over):
    return compose({**ARGS, **over}, parse_mailbox("Carl <carl@sender.example>", "mail.from"), "key", 0)


def test_names_and_subjects_in_any_script_are_encoded():
    mail = composed(to=[{"name": 'Grüße, "Åsa" (x) 李', "email": "asa@bücher.example"}], subject="Überraschung 🎉 für 李" * 5, text="ä\n")

    message = parsed(mail.content)
    assert mail.content.isascii()
    assert message["To"].addresses[0].display_name == 'Grüße, "Åsa" (x) 李'
    assert message["To"].addresses[0].addr_spec == "asa@xn--bcher-kva.example"
    assert message["Subject"] == "Überraschung 🎉 für 李" * 5
    assert words(message) == "ä\n"
    assert max(len(line) for line in mail.content.split(b"\r\n")) <= 78


def test_a_name_that_looks_encoded_is_the_name_that_was_written():
    mail = composed(to=[{"name": "=?utf-8?q?Eve?=", "email": "ada@example.org"}])

    assert parsed(mail.content)["To"].addresses[0].display_name == "=?utf-8?q?Eve?="


def test_a_long_name_and_its_address_stand_on_two_lines():
    people = [
        {"name": "Augusta Ada King Countess of Lovelace of Ockham Park", "email": f"ada{n}@analytical.engine.example"} for n in range(3)
    ]
    mail = composed(to=people)

    assert [each.display_name for each in parsed(mail.content)["To"].addresses] == [people[0]["name"]] * 3
    assert max(len(line) for line in mail.content.split(b"\r\n")) <= 78


def test_long_lines_and_dots_survive():
    text = "x" * 5000 + "\n.\n..dot\nFrom me\n"

    assert words(parsed(composed(text=text).content)) == text
    assert max(len(line) for line in composed(text=text).content.split(b"\r\n")) <= 78


def test_a_recipient_named_twice_gets_one_copy():
    mail = composed(to=[ADA, {"email": "ADA@example.org"}], cc=[{"email": "ada@example.org"}])

    assert parsed(mail.content)["To"] == "Ada Lovelace <ada@example.org>"
    assert mail.recipients == ("ada@example.org",)


def test_an_address_outside_ascii_is_kept_and_marked():
    mail = composed(to=[{"email": "用户@example.org"}])

    assert (mail.needs_utf8, mail.recipients) == (True, ("用户@example.org",))


TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
    max_size=60,
)


@given(name=TEXT, subject=TEXT.filter(str.strip), lines=st.lists(TEXT, min_size=1, max_size=4))
def test_any_message_without_controls_reads_back_as_written(name, subject, lines):
    text = "\n".join(lines) + "\n"
    content = composed(to=[{"name": name, "email": "ada@example.org"}], subject=subject, text=text).content
    message = parsed(content)

    assert words(message) == text
    assert message["Subject"] == " ".join(subject.split())
    assert read_people(content) == [(" ".join(name.split()), "ada@example.org")]
    assert [address.addr_spec for address in message["To"].addresses] == ["ada@example.org"]
    assert max(len(line) for line in content.split(b"\r\n\r\n")[0].split(b"\r\n")) <= 78


@given(before=TEXT, control=st.sampled_from("\r\n\0\x0b\x0c\x1c\x85\u2028\u2029\u202e"), after=TEXT)
def test_no_control_character_gets_into_a_header(before, control, after):
    for over in ({"subject": before + control + after}, {"to": [{"name": before + control + after, "email": "ada@example.org"}]}):
        with pytest.raises(CallError) as caught:
            composed(**over)
        assert caught.value.code == "mail.header"


@given(st.binary(max_size=200))
def test_stuffing_never_ends_the_text_early(content):
    wire = stuffed(content)

    assert wire.endswith(b"\r\n.\r\n") or wire == b"\r\n.\r\n"
    assert b"\r\n.\r\n" not in wire[:-3]
    assert not wire.startswith(b".\r\n")


@pytest.mark.parametrize(
    ("user", "host", "expected"),
    [
        ("ada", "box", "ada@box"),
        ("a d@a", "Box.Example.", "a-d-a@box.example"),
        ("", "bad host", "user@localhost"),
        ("日本", "", "user@localhost"),
    ],
)
def test_the_local_identity_is_always_an_address(user, host, expected):
    assert local_identity(user, host) == expected
    assert parse_mailbox(expected, "x").addr_spec == expected


# over SMTP, to a server process


@pytest.fixture
def spool(tmp_path):
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def delivered(spool):
    return [json.loads(path.read_text()) for path in sorted(spool.iterdir())]


@pytest.fixture
def server(serving, spool):
    with serving("mail_server.py", "--spool", str(spool)) as running:
        yield running


def plain(server, **over):
    return SmtpSettings(**{"host": "127.0.0.1", "port": server.port, "security": "none", "timeout_ms": 20_000, **over})


async def test_a_message_is_sent_once_and_the_record_stops_a_second(make, server, spool, make_ctx, crossing):
    performer, ctx = make(plain(server)), make_ctx(MAIL)
    prepared = performer.prepare({**ARGS, "text": ".dot\n..two\n"}, ctx)
    first = await performer.perform(prepared, ctx)
    second = await performer.perform(prepared, ctx)

    assert (prepared.action, prepared.leaves_machine, prepared.reversible) == ("mail.smtp", True, False)
    assert prepared.what.startswith("send through 127.0.0.1:\n\nFrom: Carl <carl@sender.example>\n")
    assert (first.result["status"], first.result["path"], first.result["repeated"]) == ("sent", None, False)
    assert second.result["repeated"] is True
    (message,) = delivered(spool)
    assert (message["mail_from"], message["rcpt_tos"]) == ("carl@sender.example", ["ada@example.org"])
    received = parsed(message["content"].encode())
    assert received["Message-ID"] == first.result["message_id"]
    assert words(received) == ".dot\n..two\n"


async def test_without_a_sender_nothing_is_sent(make, server, spool, make_ctx, refusal):
    error = await refusal(make(plain(server), sender=None), ARGS, make_ctx(MAIL))

    assert (error.kind, error.code) == (CallErrorKind.UNAVAILABLE, "mail.no_sender")
    assert delivered(spool) == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_protected_connection_checks_the_certificate_and_logs_in(
    security, make, serving, spool, authority, trusting, make_ctx, crossing, refusal, caplog
):
    caplog.set_level("DEBUG")
    options = ("--spool", str(spool), "--security", security, "--cert", str(authority[1]), "--auth", f"carl:{PASSWORD}")
    with serving("mail_server.py", *options) as running:
        smtp = SmtpSettings("localhost", running.port, security, "carl", timeout_ms=20_000)
        outcome = await crossing(make(smtp, tls=trusting()), ARGS, make_ctx(MAIL))
        stranger = await refusal(make(smtp, tls=ssl.create_default_context()), ARGS, make_ctx(MAIL, idempotency_key="2"))
        by_number = SmtpSettings("127.0.0.1", running.port, security, "carl", timeout_ms=20_000)
        wrong_name = await refusal(make(by_number, tls=trusting()), ARGS, make_ctx(MAIL, idempotency_key="3"))
        wrong_user = SmtpSettings("localhost", running.port, security, "eve", timeout_ms=20_000)
        wrong_login = await refusal(make(wrong_user, tls=trusting()), ARGS, make_ctx(MAIL, idempotency_key="4"))

    assert outcome.result["status"] == "sent"
    (message,) = delivered(spool)
    assert (message["tls"], message["auth"]) == (True, True)
    assert (stranger.code, wrong_name.code, wrong_login.code) == ("mail.tls", "mail.tls", "mail.auth")
    assert "SSL_CERT_FILE" in stranger.hint
    shown = f"{[error.to_dict() for error in (stranger, wrong_name, wrong_login)]} {outcome} {caplog.text}"
    assert PASSWORD not in shown


async def test_a_server_is_greeted_anew_once_the_connection_is_protected(make, serving, spool, authority, trusting, make_ctx, crossing):
    with serving("mail_server.py", "--spool", str(spool), "--security", "starttls", "--cert", str(authority[1])) as running:
        smtp = SmtpSettings("localhost", running.port, "starttls", timeout_ms=20_000)
        outcome = await crossing(make(smtp, tls=trusting()), ARGS, make_ctx(MAIL))

    assert outcome.result["status"] == "sent"
    assert [message["tls"] for message in delivered(spool)] == [True]


async def test_a_recipient_whose_mail_the_server_forwards_gets_it(make, server, spool, make_ctx, crossing):
    outcome = await crossing(make(plain(server)), {**ARGS, "to": [{"email": "forwarded@example.org"}]}, make_ctx(MAIL))

    assert outcome.result["status"] == "sent"
    assert [message["rcpt_tos"] for message in delivered(spool)] == [["forwarded@example.org"]]


async def test_a_server_without_starttls_gets_neither_password_nor_message(make, server, spool, make_ctx, refusal, trusting):
    error = await refusal(make(plain(server, security="starttls", user="carl"), tls=trusting()), ARGS, make_ctx(MAIL))

    assert error.code == "mail.not_supported"
    assert delivered(spool) == []


def test_a_password_is_never_sent_in_the_clear(make, server):
    with pytest.raises(InvalidInput) as caught:
        make(plain(server, user="carl"))

    assert (caught.value.code, caught.value.where.key) == ("mail.settings", "mail.smtp.tls")


async def test_a_missing_password_is_named_and_nothing_is_sent(make, server, spool, make_ctx, refusal):
    smtp = plain(server, security="starttls", user="carl")
    error = await refusal(make(smtp, secrets=SecretStore([])), ARGS, make_ctx(MAIL))

    assert error.code == "mail.no_password"
    assert "MAIL_SMTP" in error.hint


@pytest.mark.parametrize(
    ("over", "code", "kind", "retryable"),
    [
        ({"to": [ADA, {"email": "refused@example.org"}]}, "mail.recipient_refused", CallErrorKind.INVALID, False),
        ({"to": [{"email": "greylisted@example.org"}]}, "mail.deferred", CallErrorKind.UNAVAILABLE, True),
        ({"to": [{"email": "gone-at-rcpt@example.org"}]}, "mail.connect", CallErrorKind.UNAVAILABLE, True),
        ({"subject": "reject"}, "mail.refused", CallErrorKind.INVALID, False),
        ({"subject": "tempfail"}, "mail.deferred", CallErrorKind.UNAVAILABLE, True),
    ],
)
async def test_a_refusal_is_certain_and_nobody_got_the_message(over, code, kind, retryable, make, server, spool, make_ctx, refusal, sent):
    error = await refusal(make(plain(server)), {**ARGS, **over}, make_ctx(MAIL))

    assert (error.code, error.kind, error.retryable, error.outcome_unknown) == (code, kind, retryable, False)
    assert delivered(spool) == []
    assert sent.known == {}


@pytest.mark.parametrize(
    ("refused", "answer", "code", "said"),
    [
        ("MAIL", "550 5.7.1 not from you", "mail.refused", ["EHLO", "MAIL", "QUIT"]),
        ("DATA", "554 5.5.1 no text today", "mail.refused", ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]),
        ("DATA", "451 4.3.2 later", "mail.deferred", ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]),
    ],
)
async def test_after_a_refusal_nothing_of_the_message_is_said(refused, answer, code, said, make, make_ctx, refusal):
    heard = []

    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().rstrip():
            heard.append(line.split()[0].upper())
            writer.write(f"{answer if heard[-1] == refused else '250 OK'}\r\n".encode())
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as listening:
        smtp = SmtpSettings("127.0.0.1", listening.sockets[0].getsockname()[1], "none", timeout_ms=20_000)
        error = await refusal(make(smtp), ARGS, make_ctx(MAIL))

    assert (error.code, answer in error.message, error.outcome_unknown, heard) == (code, True, False, said)


async def test_a_greylisted_message_is_sent_by_a_later_retry(make, server, spool, make_ctx, crossing, refusal):
    performer, args = make(plain(server)), {**ARGS, "to": [{"email": "greylisted@example.org"}]}
    error = await refusal(performer, args, make_ctx(MAIL))
    outcome = await crossing(performer, args, make_ctx(MAIL, attempt=2))

    assert "451" in error.message
    assert outcome.result["status"] == "sent"
    assert len(delivered(spool)) == 1


@pytest.mark.parametrize("subject", ["vanish", "silent", "garbled"])
async def test_when_the_answer_to_the_text_is_lost_the_outcome_is_unknown(subject, make, server, make_ctx, refusal, sent):
    error = await refusal(make(plain(server, timeout_ms=400)), {**ARGS, "subject": subject}, make_ctx(MAIL))

    assert (error.code, error.outcome_unknown, error.retryable) == ("mail.outcome_unknown", True, False)
    assert mail_key("run/n/1") in error.hint
    assert sent.known == {}


@pytest.mark.parametrize("subject", ["glad", "clinging"])
async def test_what_a_server_took_is_sent_however_it_says_so_and_parts(subject, make, server, spool, make_ctx, crossing, sent):
    performer = make(plain(server, timeout_ms=600_000))
    async with asyncio.timeout(60):
        outcome = await crossing(performer, {**ARGS, "subject": subject}, make_ctx(MAIL))

    assert outcome.result["status"] == "sent"
    assert (len(delivered(spool)), len(sent.known)) == (1, 1)


async def test_a_password_that_no_login_can_carry_is_said_to_be_one(make, serving, spool, authority, trusting, make_ctx, refusal):
    secrets = SecretStore([EnvironmentSecrets({"MAIL_SMTP": "pass-w\u00f6rd"})])
    options = ("--spool", str(spool), "--security", "tls", "--cert", str(authority[1]), "--auth", "carl:other")
    with serving("mail_server.py", *options) as running:
        smtp = SmtpSettings("localhost", running.port, "tls", "carl", timeout_ms=20_000)
        error = await refusal(make(smtp, tls=trusting(), secrets=secrets), ARGS, make_ctx(MAIL))

    assert (error.code, error.retryable, error.outcome_unknown) == ("mail.auth", False, False)
    assert "ASCII" in error.message
    assert "\u00f6" not in f"{error.message} {error.hint}"
    assert "xf6" not in f"{error.message} {error.hint}"


@pytest.fixture
def refused_by(make, authority, trusting, make_ctx, refusal):
    """How a server refuses a mail to which somebody logs in; what it says is ``converse``."""

    async def refused(converse):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(authority[1])
        async with await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context) as listening:
            smtp = SmtpSettings("localhost", listening.sockets[0].getsockname()[1], "tls", "carl", timeout_ms=20_000)
            return await refusal(make(smtp, tls=trusting()), ARGS, make_ctx(MAIL))

    return refused


@pytest.mark.parametrize(
    ("answer", "said", "hint", "retryable"),
    [
        (
            "534 5.7.9 Application-specific password required",
            "534 5.7.9 Application-specific password required",
            "made for programs",
            False,
        ),
        ("454 4.7.0 Temporary failure", "454 4.7.0 Temporary failure", "try again later", True),
        ("535 {sent} is {password} is {encoded}", "535 AUTH PLAIN [secret] is [secret] is [secret]", "mail/smtp", False),
    ],
)
async def test_a_refused_login_is_told_in_the_servers_words_without_the_password(answer, said, hint, retryable, refused_by):
    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().rstrip():
            told = answer.format(sent=line, password=PASSWORD, encoded=base64.b64encode(PASSWORD.encode()).decode())
            writer.write(
                {"AUTH": f"{told}\r\n", "EHLO": "250-x\r\n250 AUTH PLAIN\r\n"}.get(line.split()[0].upper(), "221 bye\r\n").encode()
            )
        writer.close()

    error = await refused_by(converse)

    assert (error.code, error.message, error.retryable) == ("mail.auth", f"localhost refused the login: {said}", retryable)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("offered", "answers", "tried", "code"),
    [
        ("CRAM-MD5 PLAIN LOGIN", {"PLAIN": "535 5.7.8 wrong"}, ["PLAIN"], "mail.auth"),
        ("login plain", {"PLAIN": "235 welcome"}, ["PLAIN"], ""),
        ("PLAIN LOGIN", {"PLAIN": "504 5.5.4 unrecognized", "LOGIN": "535 5.7.8 wrong"}, ["PLAIN", "LOGIN"], "mail.auth"),
        ("PLAIN LOGIN", {"PLAIN": "534 5.7.9 use another password"}, ["PLAIN"], "mail.auth"),
        ("LOGIN", {"LOGIN": "504 5.5.4 unrecognized"}, ["LOGIN"], "mail.auth"),
        ("XOAUTH2 NTLM", {}, [], "mail.not_supported"),
        ("", {}, [], "mail.not_supported"),
    ],
)
async def test_a_password_is_offered_once_and_by_another_mechanism_only_where_the_first_is_unknown(
    offered, answers, tried, code, refused_by
):
    asked = []

    async def converse(reader, writer):
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().rstrip():
            verb, *words = line.split()
            answer = {"EHLO": f"250-x\r\n250 AUTH {offered}" if offered else "250 x", "MAIL": "451 not today"}.get(verb.upper(), "221 bye")
            if verb == "AUTH":
                asked.append(words[0])
                answer = answers[words[0]]
            writer.write(f"{answer}\r\n".encode())
        writer.close()

    error = await refused_by(converse)

    assert (asked, error.code) == (tried, code or "mail.deferred")


@pytest.mark.parametrize("greeting", ["SSH-2.0-OpenSSH_9.2", "* OK IMAP4rev1 ready", "HTTP/1.1 400 Bad Request"])
async def test_what_is_no_mail_server_is_said_to_be_none(greeting, make, make_ctx, refusal):
    async def greet(_reader, writer):
        writer.write(f"{greeting}\r\n".encode())
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listening:
        smtp = SmtpSettings("127.0.0.1", listening.sockets[0].getsockname()[1], "none", timeout_ms=20_000)
        error = await refusal(make(smtp), ARGS, make_ctx(MAIL))

    assert (error.code, error.kind, error.retryable) == ("mail.connect", CallErrorKind.UNAVAILABLE, False)
    assert "mail.smtp.port" in error.hint


async def test_a_server_without_a_known_way_to_log_in_is_not_called_unreachable(
    make, serving, spool, authority, trusting, make_ctx, refusal
):
    options = ("--spool", str(spool), "--security", "tls", "--cert", str(authority[1]), "--auth", f"carl:{PASSWORD}", "--odd")
    with serving("mail_server.py", *options) as running:
        smtp = SmtpSettings("localhost", running.port, "tls", "carl", timeout_ms=20_000)
        error = await refusal(make(smtp, tls=trusting()), ARGS, make_ctx(MAIL))

    assert error.code == "mail.not_supported"


async def test_a_server_that_is_not_there_is_said_so(make, make_ctx, refusal):
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        smtp = SmtpSettings("127.0.0.1", held.getsockname()[1], "none")
        error = await refusal(make(smtp), ARGS, make_ctx(MAIL))

    assert (error.code, error.retryable, error.outcome_unknown) == ("mail.connect", True, False)


async def test_who_waits_for_the_greeting_of_a_server_that_speaks_tls_from_the_start_is_told_of_it(
    make, serving, spool, authority, make_ctx, refusal
):
    options = ("--spool", str(spool), "--security", "tls", "--cert", str(authority[1]))
    with serving("mail_server.py", *options) as running:
        error = await refusal(make(SmtpSettings("localhost", running.port, "starttls", timeout_ms=300)), ARGS, make_ctx(MAIL))

    assert (error.code, "mail.smtp.tls: tls" in error.hint) == ("mail.connect", True)


async def test_a_cancelled_sending_ends_its_connection(make, server, make_ctx, sent):
    performer, ctx = make(plain(server)), make_ctx(MAIL)
    prepared = performer.prepare({**ARGS, "subject": "silent"}, ctx)
    task = asyncio.create_task(performer.perform(prepared, ctx))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert sent.known == {}


async def test_addresses_outside_ascii_need_a_server_that_takes_them(make, server, serving, spool, make_ctx, crossing, refusal):
    args = {**ARGS, "to": [{"email": "用户@example.org"}]}
    error = await refusal(make(plain(server)), args, make_ctx(MAIL))
    with serving("mail_server.py", "--spool", str(spool), "--utf8") as modern:
        outcome = await crossing(make(plain(modern)), args, make_ctx(MAIL))

    assert error.code == "mail.not_supported"
    assert outcome.result["status"] == "sent"
    assert [message["rcpt_tos"] for message in delivered(spool)] == [["用户@example.org"]]


def test_the_message_depends_on_nothing_but_the_call():
    assert composed().content == composed().content


def test_the_classes_of_a_messages_headers_are_made_once(make, make_ctx):
    performer = make()
    performer.prepare(ARGS, make_ctx(MAIL))
    gc.disable()  # the collector would free what is made anew for every message
    try:
        before = len(ContentTypeHeader.__subclasses__())
        performer.prepare(ARGS, make_ctx(MAIL))
        assert len(ContentTypeHeader.__subclasses__()) == before
    finally:
        gc.enable()
