"""What the environment says of the way to a provider: a proxy, authorities; what cannot be used is an error that names it."""

import asyncio
import socket
import ssl

import pytest

from runloop.models.errors import ModelError
from runloop.models.settings import ProviderKind, ProviderSettings, RetrySettings
from runloop.models.types import ModelRequest

PASSWORD = "hunter2-of-the-proxy"
FAR = (ProviderSettings("far", ProviderKind.OPENAI_CHAT, "https://models.example.invalid", "models/key"),)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def failure(make_broker, budget):
    broker = make_broker(providers=FAR, retry=RetrySettings(attempts=1))
    with pytest.raises(ModelError) as caught:
        await broker.complete(ModelRequest("Hi", model="far:m"), budget)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", f"socks5://ada:{PASSWORD}@127.0.0.1:1080", "SOCKS"),
        ("all_proxy", f"socks://ada:{PASSWORD}@127.0.0.1:1080/", "no address of a proxy"),
        ("HTTPS_PROXY", f"ftp://ada:{PASSWORD}@proxy.example.org", "no address of a proxy"),
        ("HTTPS_PROXY", f"http://ada:{PASSWORD}@proxy:port", "no address of a proxy"),
        ("SSL_CERT_FILE", "/no/such/file.pem", "No such file"),
    ],
)
async def test_what_cannot_be_used_is_named_without_its_value(name, value, said, make_broker, unlimited, monkeypatch):
    monkeypatch.setenv(name, value)
    error = await failure(make_broker, unlimited)

    assert (error.code, error.kind, error.retryable) == ("model.way", "unavailable", False)
    assert name in error.message
    assert said in error.message
    assert PASSWORD not in f"{error} {error.to_dict()} {error.__cause__!r}"


async def test_a_file_of_certificates_that_holds_none_is_named(make_broker, unlimited, monkeypatch, tmp_path):
    (tmp_path / "empty.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))

    assert "SSL_CERT_FILE" in (await failure(make_broker, unlimited)).message


async def test_a_proxy_that_refuses_is_the_one_that_is_named(make_broker, unlimited, monkeypatch, server):
    monkeypatch.setenv("HTTPS_PROXY", server.url.replace("//", f"//ada:{PASSWORD}@"))  # it knows no CONNECT
    error = await failure(make_broker, unlimited)

    assert error.code == "model.way"
    assert "HTTPS_PROXY" in error.message
    assert "501" in error.message
    assert PASSWORD not in f"{error} {error.to_dict()} {error.__cause__!r}"


async def test_a_proxy_where_nobody_listens_is_named_in_the_hint(make_broker, unlimited, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    error = await failure(make_broker, unlimited)

    assert error.code == "model.connect"
    assert "HTTPS_PROXY" in error.hint


async def test_a_model_on_this_machine_is_asked_past_every_proxy(make_broker, unlimited, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")

    assert (await make_broker().complete(ModelRequest("Hi", model="openai:ok"), unlimited)).text


@pytest.mark.parametrize("named", [True, False])
async def test_a_model_on_this_machine_may_have_a_certificate_of_an_authority_that_the_environment_names(
    named, make_broker, unlimited, monkeypatch, tmp_path, certificates
):
    authority, certificate = certificates.make_authority(tmp_path, ["localhost"])
    if named:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    answer = b'{"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}'

    async def converse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context) as listening:
        near = ProviderSettings("near", ProviderKind.OPENAI_CHAT, f"https://localhost:{listening.sockets[0].getsockname()[1]}")
        broker = make_broker(providers=(near,), retry=RetrySettings(attempts=1))
        if named:
            assert (await broker.complete(ModelRequest("Hi", model="near:m"), unlimited)).text == "fine"
        else:
            with pytest.raises(ModelError) as caught:
                await broker.complete(ModelRequest("Hi", model="near:m"), unlimited)
            assert (caught.value.code, "SSL_CERT_FILE" in caught.value.hint) == ("model.connect", True)
