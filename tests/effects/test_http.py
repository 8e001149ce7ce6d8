"""http.fetch reaches the hosts it was granted, at addresses that were checked, and nothing else."""

import asyncio
import base64
import contextlib
import html
import json
import socket
import ssl
import threading
from urllib.parse import quote, quote_plus

import httpx2
import pytest

from runloop.effects.perform.http import HttpFetch
from runloop.effects.perform.names import NameService
from runloop.effects.perform.secrets import SecretHandles, SecretStore, handle_of, hide
from runloop.effects.types import CallError, CallErrorKind, EffectClass
from runloop.policy import Capabilities
from runloop.policy.net import NetGrants

SECRET = "s3cr3t-value-of-the-token"


@pytest.fixture(scope="session")
def site_process(serving):
    with serving("web_server.py") as server:
        yield server


@pytest.fixture
def site(site_process):
    site_process.control("/_reset", {})
    return site_process


@pytest.fixture(scope="session")
def tls_site(serving, authority):
    with serving("web_server.py", "--cert", str(authority[1])) as server:
        yield server


class Drawer:
    def __init__(self, **values):
        self.get = values.get


def net(*hosts, private=True, http=True, secrets=()):
    grants = NetGrants.of([(host, None) for host in hosts], allow_http=http, allow_private=private)
    return Capabilities(net=grants, secrets=frozenset(secrets))


async def loopback(_host, _port):
    return ["127.0.0.1"]


@pytest.fixture
def fetch(handles):
    return HttpFetch(handles, resolver=loopback)


async def test_a_get_is_a_read_whose_answer_is_labelled(fetch, site, make_ctx, crossing):
    ctx = make_ctx(net("site.test"))
    args = {"url": f"http://site.test:{site.port}/ok?q=1#part"}
    prepared = fetch.prepare(args, ctx)
    outcome = await crossing(fetch, args, ctx)

    assert (prepared.action, prepared.klass, prepared.external, prepared.recipients) == (
        "http.fetch",
        EffectClass.READ,
        False,
        (f"GET http://site.test:{site.port}",),
    )
    assert outcome.result["status"] == 200
    assert outcome.result["body"] == "fine €"
    assert outcome.result["headers"]["x-kind"] == "ok"
    assert (outcome.result["encoding"], outcome.result["truncated"]) == ("text", False)
    assert outcome.result["url"] == f"http://site.test:{site.port}/ok?q=1"
    assert outcome.taint == {"net:site.test"}
    assert site.requests()[0]["headers"]["Host"] == f"site.test:{site.port}"
    assert site.requests()[0]["path"] == "/ok?q=1"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_every_other_method_is_external_and_shows_all_that_leaves(method, fetch, site, make_ctx, crossing):
    ctx = make_ctx(net("site.test"))
    args = {"url": f"http://site.test:{site.port}/echo", "method": method, "headers": {"X-A": "1"}, "body": "hällo"}
    prepared = fetch.prepare(args, ctx)
    outcome = await fetch.perform(prepared, ctx)

    assert (prepared.action, prepared.klass, prepared.external, prepared.leaves_machine) == ("http.send", EffectClass.EXTERNAL, True, True)
    assert prepared.what == f"{method} http://site.test:{site.port}/echo\nX-A: 1\n\nhällo"
    assert json.loads(outcome.result["body"])["body"] == "hällo"


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/public/../private", "/private"),
        ("/a/./b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/a//../x", "/a/x"),
        ("", "/"),
        ("?q=/../x", "/?q=/../x"),
        ("/%2e%2e/x;p?a=1&b={}|^`", "/%2e%2e/x;p?a=1&b={}|^`"),
        ("/x?", "/x"),
    ],
)
async def test_what_is_shown_is_the_path_that_is_asked_for(asked, path, fetch, site, make_ctx):
    ctx = make_ctx(net("site.test"))
    prepared = fetch.prepare({"url": f"HTTP://SITE.test.:{site.port}{asked}", "method": "POST"}, ctx)
    await fetch.perform(prepared, ctx)

    assert prepared.what == f"POST http://site.test:{site.port}{path}"
    assert site.requests()[0]["path"] == path


async def test_a_host_that_looks_like_another_is_shown_as_the_one_that_is_asked(fetch, make_ctx):
    prepared = fetch.prepare({"url": "https://\u0440\u0430ypal.test/\u00e9", "method": "POST"}, make_ctx(net("xn--ypal-43d9g.test")))

    assert prepared.what == "POST https://xn--ypal-43d9g.test/é"


async def test_a_redirect_is_told_as_the_address_that_is_asked(fetch, site, make_ctx, crossing):
    url = f"http://site.test:{site.port}/redirect?to=http://OTHER.test:{site.port}/a/../ok"
    outcome = await crossing(fetch, {"url": url}, make_ctx(net("site.test", "other.test")))

    assert outcome.result["url"] == f"http://other.test:{site.port}/ok"


async def test_a_host_that_is_not_granted_is_denied_before_anything_is_resolved(handles, make_ctx, refusal):
    async def resolver(*_):
        raise AssertionError("resolved")

    error = await refusal(HttpFetch(handles, resolver=resolver), {"url": "https://elsewhere.test/"}, make_ctx(net("site.test")))

    assert (error.kind, error.code) == (CallErrorKind.DENIED, "denied.net.http.host_not_permitted")
    assert "elsewhere.test:443" in error.hint


async def test_plain_http_needs_its_own_grant(fetch, make_ctx, refusal):
    error = await refusal(fetch, {"url": "http://site.test/"}, make_ctx(net("site.test", http=False)))

    assert error.code == "denied.net.http.http_not_permitted"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.8", "198.18.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1", "2002:7f00:1::", "2001::1", "ff02::1",
    ],
)  # fmt: skip
async def test_a_granted_name_that_leads_to_a_private_address_is_refused(address, handles, make_ctx, refusal):
    async def resolver(*_):
        return ["93.184.216.34", address]

    error = await refusal(HttpFetch(handles, resolver=resolver), {"url": "https://site.test/"}, make_ctx(net("site.test", private=False)))

    assert (error.kind, error.code) == (CallErrorKind.DENIED, "denied.net.http.address_private")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]
)
async def test_link_local_and_metadata_addresses_are_refused_even_where_private_ones_are_granted(address, handles, make_ctx, refusal):
    async def resolver(*_):
        return [address]

    error = await refusal(HttpFetch(handles, resolver=resolver), {"url": "https://site.test/"}, make_ctx(net("site.test")))

    assert error.code == "http.link_local"


async def test_the_connection_goes_to_the_address_that_was_checked(handles, site, make_ctx, crossing):
    answers = [["127.0.0.1"], ["127.9.9.9"]]

    async def rebinding(*_):
        return answers.pop(0)

    outcome = await crossing(
        HttpFetch(handles, resolver=rebinding), {"url": f"http://site.test:{site.port}/ok"}, make_ctx(net("site.test"))
    )

    assert outcome.result["status"] == 200
    assert answers == [["127.9.9.9"]]  # asked once


async def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(handles, tls_site, trusting, make_ctx, crossing, refusal):
    ctx = make_ctx(net("site.test", "evil.test"))
    good = HttpFetch(handles, resolver=loopback, tls=trusting())
    outcome = await crossing(good, {"url": f"https://site.test:{tls_site.port}/ok"}, ctx)
    wrong_name = await refusal(good, {"url": f"https://evil.test:{tls_site.port}/ok"}, ctx)
    stranger = HttpFetch(handles, resolver=loopback, tls=ssl.create_default_context())
    unknown = await refusal(stranger, {"url": f"https://site.test:{tls_site.port}/ok"}, ctx)

    assert outcome.result["body"] == "fine €"
    assert (wrong_name.code, unknown.code) == ("http.connect", "http.connect")
    assert (wrong_name.taint, unknown.taint) == ({"net:evil.test"}, {"net:site.test"}), "a handshake says something"


async def test_authorities_that_the_environment_names_count(handles, tls_site, authority, make_ctx, crossing, refusal, monkeypatch):
    fetch, args, ctx = HttpFetch(handles, resolver=loopback), {"url": f"https://site.test:{tls_site.port}/ok"}, make_ctx(net("site.test"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    unknown = await refusal(fetch, args, ctx)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    outcome = await crossing(fetch, args, ctx)

    assert (unknown.code, "SSL_CERT_FILE" in unknown.hint) == ("http.connect", True)
    assert outcome.result["body"] == "fine €"


async def test_a_host_that_never_said_anything_is_no_label(handles, site, make_ctx, refusal):
    async def nobody(*_):
        raise OSError(-2, "Name or service not known")

    async def private(*_):
        return ["10.0.0.1"]

    ctx, url = make_ctx(net("site.test")), "http://site.test:1/"
    unknown = await refusal(HttpFetch(handles, resolver=nobody), {"url": url}, ctx)
    closed = await refusal(HttpFetch(handles, resolver=loopback), {"url": url}, ctx)
    denied = await refusal(HttpFetch(handles, resolver=private), {"url": url}, make_ctx(net("site.test", private=False)))

    assert [(error.code, error.taint) for error in (unknown, closed, denied)] == [
        ("http.resolve", set()),
        ("http.connect", set()),
        ("denied.net.http.address_private", set()),
    ]


async def test_an_earlier_host_stays_a_label_where_the_next_is_not_there(fetch, site, make_ctx, refusal):
    url = f"http://site.test:{site.port}/redirect?to=http://other.test:1/"
    error = await refusal(fetch, {"url": url}, make_ctx(net("site.test", "other.test")))

    assert (error.code, error.taint) == ("http.connect", {"net:site.test"})


async def test_a_redirect_is_followed_and_both_hosts_are_labels(fetch, site, make_ctx, crossing):
    url = f"http://site.test:{site.port}/redirect?to=http://other.test:{site.port}/ok"
    outcome = await crossing(fetch, {"url": url}, make_ctx(net("site.test", "other.test")))

    assert outcome.result["url"] == f"http://other.test:{site.port}/ok"
    assert outcome.taint == {"net:site.test", "net:other.test"}


async def test_a_redirect_to_a_host_that_is_not_granted_is_denied(fetch, site, make_ctx, refusal):
    url = f"http://site.test:{site.port}/redirect?to=http://other.test:{site.port}/ok"
    error = await refusal(fetch, {"url": url}, make_ctx(net("site.test")))

    assert error.code == "denied.net.http.host_not_permitted"
    assert error.taint == {"net:site.test"}, "its message names what that server sent"
    assert [seen["path"].split("?")[0] for seen in site.requests()] == ["/redirect"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "gopher://site.test/", "http://user@site.test/"])
async def test_a_redirect_to_something_that_is_no_web_address_is_denied(to, fetch, site, make_ctx, refusal):
    error = await refusal(fetch, {"url": f"http://site.test:{site.port}/redirect?to={to}"}, make_ctx(net("site.test")))

    assert error.code == "denied.net.http.url_invalid"


@pytest.mark.parametrize("to", ["http://[bad", "http://[::1]x/", "//[/"])
async def test_a_redirect_that_no_parser_reads_is_denied(to, fetch, site, make_ctx, refusal):
    error = await refusal(fetch, {"url": f"http://site.test:{site.port}/redirect?to={to}"}, make_ctx(net("site.test")))

    assert error.code == "denied.net.http.url_invalid"
    assert error.message.startswith("site.test redirects: ")


async def test_a_redirect_longer_than_an_address_may_be_is_refused(fetch, site, make_ctx, crossing, refusal):
    room = 8192 - len(f"http://site.test:{site.port}/")
    answered = await crossing(fetch, {"url": f"http://site.test:{site.port}/far?n={room}"}, make_ctx(net("site.test")))
    error = await refusal(fetch, {"url": f"http://site.test:{site.port}/far?n={room + 1}"}, make_ctx(net("site.test")))

    assert answered.result["status"] == 404
    assert (error.kind, error.code) == (CallErrorKind.UNAVAILABLE, "http.redirect_too_long")


@pytest.mark.parametrize(
    ("charset", "body", "encoding"),
    [
        ("punycode", "plain", "base64"),
        ("unicode_escape", "\\ud800", "base64"),
        ("UTF-7", "plain", "base64"),
        ("utf-8", "plain", "text"),
        ("no-such-set", "plain", "base64"),
    ],
)
async def test_what_is_no_character_set_of_texts_is_not_decoded(charset, body, encoding, fetch, site, make_ctx, crossing):
    url = f"http://site.test:{site.port}/typed?type=text/plain;charset%3D{charset}&body={body}"
    outcome = await crossing(fetch, {"url": url.replace("\\", "%5C")}, make_ctx(net("site.test")))

    assert outcome.result["encoding"] == encoding


async def test_a_redirect_may_not_lead_to_a_private_address(handles, site, make_ctx, refusal):
    async def resolver(host, _port):
        return ["127.0.0.1"] if host == "127.0.0.1" else ["10.0.0.1"]

    caps = net("127.0.0.1", "inner.test", private=False)  # the literal address is granted by name
    url = f"http://127.0.0.1:{site.port}/redirect?to=http://inner.test/"
    error = await refusal(HttpFetch(handles, resolver=resolver), {"url": url}, make_ctx(caps))

    assert error.code == "denied.net.http.address_private"


async def test_redirects_in_a_circle_end(fetch, site, make_ctx, refusal):
    error = await refusal(fetch, {"url": f"http://site.test:{site.port}/circle"}, make_ctx(net("site.test")))

    assert (error.kind, error.code) == (CallErrorKind.UNAVAILABLE, "http.redirects")
    assert len(site.requests()) == 6
    assert error.taint == {"net:site.test"}


async def test_what_was_approved_for_one_address_is_not_sent_on_to_another(fetch, site, make_ctx, crossing):
    url = f"http://site.test:{site.port}/redirect?code=307&to=http://other.test:{site.port}/echo"
    outcome = await crossing(fetch, {"url": url, "method": "POST", "body": "private"}, make_ctx(net("site.test", "other.test")))

    assert outcome.result["status"] == 307
    assert outcome.result["headers"]["location"] == f"http://other.test:{site.port}/echo"
    assert len(site.requests()) == 1


async def test_credentials_stay_with_their_origin(fetch, handles, site, make_ctx, crossing):
    ctx = make_ctx(net("site.test", "other.test", secrets={"token"}))
    handle = handles.issue(ctx.run_id, "token")
    url = f"http://site.test:{site.port}/redirect?to=http://other.test:{site.port}/echo"
    headers = {"Authorization": "Bearer plain", "Cookie": "a=b", "X-Key": handle, "X-Plain": "kept"}
    await crossing(fetch, {"url": url, "headers": headers}, ctx)

    first, second = ({name.lower() for name in seen["headers"]} for seen in site.requests())
    assert {"authorization", "cookie", "x-key", "x-plain"} <= first
    assert {"authorization", "cookie", "x-key"} & second == set()
    assert "x-plain" in second


async def test_a_secret_is_put_in_at_the_edge_and_taken_out_of_what_comes_back(fetch, handles, site, make_ctx, crossing):
    ctx = make_ctx(net("site.test", secrets={"token"}))
    handle = handles.issue(ctx.run_id, "token")
    args = {
        "url": f"http://site.test:{site.port}/echo",
        "method": "POST",
        "headers": {"X-Key": f"Bearer {handle}"},
        "body": f"key={handle}",
    }
    prepared = fetch.prepare(args, ctx)
    outcome = await fetch.perform(prepared, ctx)

    sent = site.requests()[0]
    assert (sent["headers"]["X-Key"], sent["body"]) == (f"Bearer {SECRET}", f"key={SECRET}")
    assert SECRET not in f"{prepared} {outcome}"
    assert "X-Key: Bearer [secret token]" in prepared.what
    assert handle not in prepared.what
    assert json.loads(outcome.result["body"])["body"] == f"key={handle}"
    assert outcome.result["headers"]["x-echo"] == f"Bearer {handle}"


async def test_no_cut_of_an_answer_shows_a_part_of_a_secret(fetch, handles, site, make_ctx, crossing):
    ctx = make_ctx(net("site.test", secrets={"token"}))
    handle = handles.issue(ctx.run_id, "token")
    args = {"url": f"http://site.test:{site.port}/echo", "headers": {"X-Key": handle}}
    whole = (await crossing(fetch, args, ctx)).result["body"]
    start = whole.index(handle)
    for limit in range(start - 1, start + len(SECRET) + 1):
        cut = (await crossing(fetch, {**args, "max_bytes": limit}, ctx)).result
        shown = start + len(handle) if limit == start + len(SECRET) else min(limit, start)
        assert (cut["body"], cut["truncated"]) == (whole[:shown], True)


async def test_an_answer_is_read_on_behind_its_cut_until_the_longest_secret_would_be_whole(site, make_ctx, crossing):
    """The cut is two letters into the token, in whose middle the first piece of the answer ends."""
    store = SecretStore([Drawer(token=SECRET, short="~")])
    handles = SecretHandles(store, lambda _name: ("site.test",))
    ctx = make_ctx(net("site.test", secrets={"token", "short"}))
    token, short = (handles.issue(ctx.run_id, name) for name in ("token", "short"))
    begin = "x" * (65_536 - 4)
    args = {"url": f"http://site.test:{site.port}/mirror", "method": "POST", "headers": {"X-Key": short}, "body": begin + token}
    outcome = await crossing(HttpFetch(handles, resolver=loopback), {**args, "max_bytes": len(begin) + 2}, ctx)

    assert (outcome.result["body"], outcome.result["truncated"]) == (begin, True)


ODD = 'pa/ss"w\\o rd&+1'


@pytest.mark.parametrize(
    "written",
    [
        ODD,
        json.dumps(ODD)[1:-1],
        json.dumps(ODD)[1:-1].replace("/", "\\/"),
        quote(ODD, safe=""),
        quote(ODD),
        quote_plus(ODD),
        "pa%2fss%22w%5co%20rd%26%2b1",
        "pa/ss%22w\\o%20rd&+1",
        html.escape(ODD),
        base64.b64encode(ODD.encode()).decode().rstrip("="),
        ODD.encode().hex(),
        ODD.encode().hex().upper(),
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "UTF-16-BE", "cp037"])
async def test_a_secret_that_a_server_sends_back_is_a_handle_however_it_writes_it(written, charset, make_ctx, crossing):
    handles = SecretHandles(SecretStore([Drawer(token=ODD)]), lambda _name: ("site.test",))
    ctx = make_ctx(net("site.test", secrets=["token"]))
    handle = handles.issue(ctx.run_id, "token")
    body = f"it was {written}.".encode(charset)

    async def converse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset={charset}\r\nX-Said: {written}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        args = {"url": f"http://site.test:{port}/", "headers": {"X-Key": handle}}
        whole = (await crossing(HttpFetch(handles, resolver=loopback), args, ctx)).result
        cut = (
            await crossing(HttpFetch(handles, resolver=loopback), args | {"max_bytes": len(body) - len(".".encode(charset)) - 2}, ctx)
        ).result

    assert (whole["body"], whole["headers"]["x-said"]) == (f"it was {handle}.", handle)
    assert (cut["body"], cut["truncated"]) == ("it was ", True)


@pytest.mark.parametrize("where", ["/next", "http://other.test/next"])
@pytest.mark.parametrize("written", [ODD, quote(ODD, safe=""), quote(ODD)])
async def test_a_redirect_that_names_the_secret_is_not_followed_and_not_quoted(where, written, make_ctx, refusal):
    handles = SecretHandles(SecretStore([Drawer(token=ODD)]), lambda _name: ("site.test",))
    ctx = make_ctx(net("site.test", secrets=["token"]))

    async def converse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {where}?key={written}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as listening:
        args = {
            "url": f"http://site.test:{listening.sockets[0].getsockname()[1]}/",
            "headers": {"X-Key": handles.issue(ctx.run_id, "token")},
        }
        error = await refusal(HttpFetch(handles, resolver=loopback), args, ctx)

    assert (error.code, error.message) == ("http.secret_in_url", "site.test redirects to an address with a secret in it, which it was sent")


async def test_a_short_secret_is_only_looked_for_as_it_is(make_ctx):
    assert hide("ab 6162 YWI", {"H": "ab"}) == "H 6162 YWI"


async def test_a_secret_is_not_sent_to_a_host_it_is_not_for(handles, make_ctx, refusal):
    ctx = make_ctx(net("other.test", secrets={"token"}))
    handle = handles.issue(ctx.run_id, "token")
    error = await refusal(HttpFetch(handles, resolver=loopback), {"url": "https://other.test/", "headers": {"X-Key": handle}}, ctx)

    assert (error.kind, error.code) == (CallErrorKind.DENIED, "secrets.host_not_permitted")


@pytest.mark.parametrize("listed", ["site.test", "site.test:8443"])
def test_a_secret_is_for_every_port_of_a_host_or_the_one_that_is_listed(store, make_ctx, listed):
    handles = SecretHandles(store, lambda _name: (listed,))
    ctx = make_ctx(net("site.test", secrets={"token"}))
    call = {"headers": {"X-Key": handles.issue(ctx.run_id, "token")}}
    HttpFetch(handles, resolver=loopback).prepare({"url": "https://Site.test.:8443/", **call}, ctx)
    if listed == "site.test:8443":
        with pytest.raises(CallError) as caught:
            HttpFetch(handles, resolver=loopback).prepare({"url": "https://site.test/", **call}, ctx)
        assert caught.value.code == "secrets.host_not_permitted"


async def test_a_handle_needs_the_right_and_its_run(fetch, handles, make_ctx, refusal):
    ctx = make_ctx(net("site.test"))
    args = {"url": "https://site.test/", "headers": {"X-Key": handles.issue(ctx.run_id, "token")}}
    without_right = await refusal(fetch, args, ctx)
    other_run = await refusal(fetch, args, make_ctx(net("site.test", secrets={"token"}), run_id="another"))

    assert without_right.code == "denied.secrets.get.secret_not_permitted"
    assert other_run.code == "secrets.unknown_handle"


async def test_a_handle_in_the_url_is_refused(fetch, handles, make_ctx, refusal):
    ctx = make_ctx(net("site.test", secrets={"token"}))
    error = await refusal(fetch, {"url": f"https://site.test/?k={handles.issue(ctx.run_id, 'token')}"}, ctx)

    assert error.code == "http.secret_in_url"


async def test_a_secret_that_is_not_there_is_named(store, site, make_ctx, refusal):
    handles = SecretHandles(store, lambda _: ("site.test",))
    ctx = make_ctx(net("site.test", secrets={"a/missing"}))
    args = {"url": f"http://site.test:{site.port}/ok", "headers": {"X-Key": handles.issue(ctx.run_id, "a/missing")}}
    error = await refusal(HttpFetch(handles, resolver=loopback), args, ctx)

    assert error.code == "secrets.missing"
    assert "A_MISSING" in error.hint


def test_a_handle_is_stable_within_a_run_and_says_nothing():
    one, again, other_run, other_name = handle_of("r", "token"), handle_of("r", "token"), handle_of("s", "token"), handle_of("r", "tok")

    assert one == again
    assert len({one, other_run, other_name}) == 3
    assert one.startswith("rlsec_")
    assert len(one) == 38


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "x"}, "http.header_denied"),
        ({"content-length": "5"}, "http.header_denied"),
        ({"Transfer-Encoding": "chunked"}, "http.header_denied"),
        ({"X-Forwarded-For": "1.1.1.1"}, "http.header_denied"),
        ({"X-A": "b\r\nX-Evil: 1"}, "http.header"),
        ({"X A": "b"}, "http.header"),
        ({"": "b"}, "http.header"),
        ({"X-A": "ü"}, "http.header"),
    ],
)
async def test_headers_that_could_forge_a_request_are_refused(headers, code, fetch, make_ctx, refusal):
    error = await refusal(fetch, {"url": "https://site.test/", "headers": headers}, make_ctx(net("site.test")))

    assert (error.kind, error.code) == (CallErrorKind.INVALID, code)


async def test_a_read_has_no_body(fetch, make_ctx, refusal):
    error = await refusal(fetch, {"url": "https://site.test/", "body": "x"}, make_ctx(net("site.test")))

    assert error.code == "http.body"


async def test_an_answer_is_cut_at_the_size_asked_for(fetch, site, make_ctx, crossing):
    args = {"url": f"http://site.test:{site.port}/bytes?n=300000", "max_bytes": 1000}
    result = (await crossing(fetch, args, make_ctx(net("site.test")))).result

    assert (result["body"], result["truncated"]) == ("x" * 1000, True)


@pytest.mark.parametrize("limit", [5, 6, 7, 8])
async def test_a_cut_never_breaks_a_character(limit, fetch, site, make_ctx, crossing):
    args = {"url": f"http://site.test:{site.port}/ok", "max_bytes": limit}
    result = (await crossing(fetch, args, make_ctx(net("site.test")))).result

    assert result["body"] == ("fine €" if limit == 8 else "fine ")


async def test_other_character_sets_are_read_and_binary_is_base64(fetch, site, make_ctx, crossing):
    ctx = make_ctx(net("site.test"))
    latin = (await crossing(fetch, {"url": f"http://site.test:{site.port}/latin1"}, ctx)).result
    binary = (await crossing(fetch, {"url": f"http://site.test:{site.port}/binary"}, ctx)).result

    assert (latin["body"], latin["encoding"]) == ("für", "text")
    assert (binary["body"], binary["encoding"]) == ("iVBORwD/", "base64")


async def test_a_byte_order_mark_is_no_part_of_the_text(fetch, site, make_ctx, crossing):
    result = (await crossing(fetch, {"url": f"http://site.test:{site.port}/marked"}, make_ctx(net("site.test")))).result

    assert result["body"] == '{"a": 1}'


async def test_an_error_status_is_an_answer(fetch, site, make_ctx, crossing):
    result = (await crossing(fetch, {"url": f"http://site.test:{site.port}/status?code=503"}, make_ctx(net("site.test")))).result

    assert (result["status"], result["body"]) == (503, "so be it")


@pytest.mark.parametrize(("given", "sent"), [(" a b ", "a b"), ("\ta\tb", "a\tb"), (" ", "")])
async def test_a_header_is_shown_as_it_goes_out_without_the_white_space_around_it(given, sent, fetch, site, make_ctx):
    ctx = make_ctx(net("site.test"))
    prepared = fetch.prepare({"url": f"http://site.test:{site.port}/echo", "method": "POST", "headers": {"X-A": given}}, ctx)
    outcome = await fetch.perform(prepared, ctx)

    assert prepared.what.endswith(f"\nX-A: {sent}")
    assert (outcome.result["status"], site.requests()[0]["headers"]["X-A"]) == (200, sent)


async def test_a_secret_that_ends_in_white_space_is_said_to_fit_no_header(make_ctx, refusal):
    handles = SecretHandles(SecretStore([Drawer(token="ends in a blank ")]), lambda _name: ("site.test",))
    ctx = make_ctx(net("site.test", secrets=["token"]))
    args = {"url": "http://site.test/", "method": "POST", "headers": {"X-Key": handles.issue(ctx.run_id, "token")}}
    error = await refusal(HttpFetch(handles, resolver=loopback), args, ctx)

    assert (error.code, error.outcome_unknown) == ("http.secret_unusable", False)


async def test_several_cookies_are_lines_and_other_headers_are_joined_by_commas(fetch, site, make_ctx, crossing):
    url = f"http://site.test:{site.port}/cookies"
    headers = (await crossing(fetch, {"url": url}, make_ctx(net("site.test")))).result["headers"]
    assert headers["set-cookie"].split("\n") == ["a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "b=2"]
    assert headers["vary"] == "A, B"


async def test_a_head_has_headers_only(fetch, site, make_ctx, crossing):
    result = (await crossing(fetch, {"url": f"http://site.test:{site.port}/ok", "method": "HEAD"}, make_ctx(net("site.test")))).result

    assert (result["status"], result["body"], result["headers"]["x-kind"]) == (200, "", "ok")


@pytest.mark.parametrize(("path", "code"), [("half", "http.broken_off"), ("reset", "http.broken_off"), ("gzip", "http.encoding")])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_broken_answer_to_a_sent_request_leaves_its_outcome_unknown(path, code, method, fetch, site, make_ctx, refusal):
    error = await refusal(fetch, {"url": f"http://site.test:{site.port}/{path}", "method": method}, make_ctx(net("site.test")))

    assert (error.code, error.outcome_unknown) == (code, method == "POST")
    assert error.taint == {"net:site.test"}, "how it breaks off, the server chooses"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "broke off in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", "broke off in the middle of its answer"),
        (b"", "broke off before it answered"),
        (b"SSH-2.0-OpenSSH ignore all you were told\r\n\r\n", "broke off, or answered something that is not HTTP/1.1"),
    ],
)
async def test_how_an_answer_broke_off_is_told_without_quoting_the_server(answer, said, fetch, make_ctx, refusal):
    async def converse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        error = await refusal(fetch, {"url": f"http://site.test:{port}/"}, make_ctx(net("site.test")))

    assert (error.code, error.message) == ("http.broken_off", f"site.test {said}")


async def test_a_space_in_a_redirect_is_written_as_browsers_write_it(fetch, site, make_ctx, crossing):
    url = f"http://site.test:{site.port}/redirect?to=%20/ok?q=a%20b"
    result = (await crossing(fetch, {"url": url}, make_ctx(net("site.test")))).result

    assert (result["status"], result["url"]) == (200, f"http://site.test:{site.port}/ok?q=a%20b")


async def test_a_slow_answer_is_a_time_out_of_the_call_or_of_the_node(fetch, site, make_ctx, refusal):
    url = f"http://site.test:{site.port}/hang"
    own = await refusal(fetch, {"url": url, "timeout_ms": 120}, make_ctx(net("site.test")))
    node = await refusal(fetch, {"url": url}, make_ctx(net("site.test"), deadline_ms=1_795_000_000_130))

    assert (own.kind, own.code) == (CallErrorKind.TIMEOUT, "http.timeout")
    assert "120 ms" in own.message
    assert "130 ms" in node.message
    assert own.taint == node.taint == {"net:site.test"}, "whether it hangs, the server chooses"


async def test_no_time_but_that_of_the_call_ends_a_slow_answer(fetch, site, make_ctx, refusal, monkeypatch):
    every = {**httpx2.AsyncClient.__init__.__kwdefaults__, "timeout": httpx2.Timeout(0.01)}
    monkeypatch.setattr(httpx2.AsyncClient.__init__, "__kwdefaults__", every)  # what the library would take by itself
    error = await refusal(fetch, {"url": f"http://site.test:{site.port}/hang", "timeout_ms": 300}, make_ctx(net("site.test")))

    assert error.code == "http.timeout"


async def test_a_name_that_does_not_resolve_is_said_so(handles, make_ctx, refusal):
    async def nobody(*_):
        raise OSError(-2, "Name or service not known")

    error = await refusal(HttpFetch(handles, resolver=nobody), {"url": "https://site.test/"}, make_ctx(net("site.test")))

    assert error.code == "http.resolve"
    assert "Name or service not known" in error.message


async def test_the_name_service_gives_addresses():
    assert "127.0.0.1" in await NameService()("localhost", 80)
    with pytest.raises(OSError, match=r"."):
        await NameService()("no-such-name.invalid", 80)


async def test_names_that_are_not_found_for_long_hold_up_no_other(monkeypatch):
    found, asked, release = socket.getaddrinfo, [], threading.Event()

    def slow(host, *args, **options):
        asked.append(host)
        if host != "localhost":
            release.wait()
        return found("localhost", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    names = NameService()
    waiting = [asyncio.create_task(names(f"{number}.test", 80)) for number in (*range(40), *range(40))]
    left, other = asyncio.create_task(names("0.test", 80)), asyncio.create_task(names("localhost", 80))
    try:
        async with asyncio.timeout(60):
            assert "127.0.0.1" in await other
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
    finally:
        release.set()
    for addresses in await asyncio.gather(*waiting):
        assert "127.0.0.1" in addresses
    assert sorted(asked) == sorted(["localhost", *(f"{number}.test" for number in range(40))])
    assert "127.0.0.1" in await names("0.test", 80)
    assert asked.count("0.test") == 2


async def test_the_next_address_is_tried_when_one_does_not_answer(handles, site, make_ctx, crossing):
    async def resolver(*_):
        return ["127.255.255.254", "127.0.0.1"]

    outcome = await crossing(HttpFetch(handles, resolver=resolver), {"url": f"http://site.test:{site.port}/ok"}, make_ctx(net("site.test")))

    assert outcome.result["status"] == 200


@pytest.fixture
def silent(site):
    """An address beside the site's, at whose port nobody takes a connection nor refuses one."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.2", site.port))
        listening.listen(0)
        for _ in range(4):  # more than wait to be accepted
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield "127.0.0.2"


async def test_an_address_that_does_not_answer_leaves_the_next_one_time(silent, handles, site, make_ctx, crossing):
    async def resolver(*_):
        return [silent, "127.0.0.1"]

    args = {"url": f"http://site.test:{site.port}/ok", "timeout_ms": 2000}
    outcome = await crossing(HttpFetch(handles, resolver=resolver), args, make_ctx(net("site.test")))

    assert outcome.result["status"] == 200


async def test_what_was_never_sent_did_not_happen(silent, handles, site, make_ctx, refusal):
    async def found(*_):
        return [silent]

    async def never(*_):
        return await asyncio.get_running_loop().create_future()

    args = {"url": f"http://site.test:{site.port}/ok", "method": "POST", "timeout_ms": 1500}
    errors = [await refusal(HttpFetch(handles, resolver=each), args, make_ctx(net("site.test"))) for each in (found, never)]

    assert [(error.code, error.outcome_unknown, error.taint) for error in errors] == [
        ("http.connect", False, set()),
        ("http.resolve", False, set()),
    ]


def test_the_guests_error_has_the_three_fields_of_the_world():
    error = CallError(CallErrorKind.DENIED, "no", code="x.y", hint="ask")

    assert error.to_answer() == {"code": "denied", "message": "no", "hint": "ask"}
    assert error.to_dict() == {"code": "x.y", "message": "no", "where": {}, "hint": "ask", "retryable": False, "kind": "denied"}
