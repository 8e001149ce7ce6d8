"""`agtop --web`: nothing without the token, nothing for other sites; and in a browser, where there is one."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from pathlib import Path

import browser
import pytest
from aiohttp import ClientSession, CookieJar, DummyCookieJar, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from runloop.cli import agtop
from runloop.tui.web import HOST, Guarded

LETTER = Path(__file__).parent.parent / "data" / "tui" / "letter.ndjson"
TOKEN = "t" * 43
ROUTES = ["/", "/ws", "/static/js/textual.js", "/download/x", "/nothing"]


class Served(TestServer):
    """A request goes on when its page has gone, as under `agtop --web`: the process whose end it waits for has ended with the server."""

    async def _make_runner(self, **options):
        return await super()._make_runner(**{**options, "handler_cancellation": False})


@pytest.fixture
async def serve():
    """Makes a server for a token; what comes back asks it, and ``guarded`` is the server itself."""
    async with contextlib.AsyncExitStack() as ending:

        async def started(token=TOKEN):
            guarded = Guarded([sys.executable, "-c", "pass"], 0, token)
            client = TestClient(Served(await guarded._make_app()), cookie_jar=DummyCookieJar())
            await ending.enter_async_context(client)
            guarded.port = client.port
            guarded.public_url = f"http://{HOST}:{client.port}"
            client.headers = {"Host": f"{HOST}:{client.port}"}
            client.guarded = guarded
            return client

        yield started


@pytest.fixture
async def site(serve):
    return await serve()


def cookie(site, value=TOKEN):
    return {**site.headers, "Cookie": f"{site.guarded._cookie}={value}"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("value", ["", "wrong", TOKEN[:-1]])
async def test_without_the_token_everything_is_refused(site, route, value):
    for path in (route, site.guarded._root + route):
        answer = await site.get(path, headers=cookie(site, value) if value else site.headers, allow_redirects=False)
        assert (answer.status, TOKEN in await answer.text()) == (401, False)


async def test_a_wrong_token_in_the_address_is_refused(site):
    answer = await site.get("/?token=wrong", headers=site.headers, allow_redirects=False)
    assert (answer.status, "Set-Cookie" in answer.headers) == (401, False)


async def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(site):
    answer = await site.get(f"/?token={TOKEN}", headers=site.headers, allow_redirects=False)
    place = answer.headers["Location"]
    assert (answer.status, TOKEN in place) == (303, False)
    assert {"HttpOnly", "SameSite=Strict", f"Path={place}"} <= set(answer.headers["Set-Cookie"].split("; "))
    page = await site.get(place, headers=cookie(site))
    text = await page.text()
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert 'content="width=device-width' in text  # else a phone shows a page of 980 points, in letters of a third of their size
    loaded = re.findall(r"(?:https?|ws)://([^\"]+)", text)
    assert loaded
    assert all(each.startswith(f"{HOST}:{site.port}{place}") for each in loaded)
    script = await site.get(f"{place}static/js/textual.js", headers=cookie(site))
    assert script.status == 200


async def test_no_server_on_another_port_is_sent_the_cookie_whatever_it_is_asked_for(site):
    """Browsers send cookies to every port of a host: only the path keeps this one from the others."""
    got = []

    async def listen(request):
        got.append(request.headers.get("Cookie"))
        return web.Response()

    other = web.Application()
    other.router.add_route("*", "/{path:.*}", listen)
    jar = CookieJar(unsafe=True)
    async with TestServer(other) as elsewhere, ClientSession(cookie_jar=jar) as browser_like:
        entered = await browser_like.get(f"http://{HOST}:{site.port}/?token={TOKEN}")
        for path in ROUTES:
            await browser_like.get(f"http://{HOST}:{elsewhere.port}{path}")
    assert (entered.status, len(jar), got) == (200, 1, [None] * len(ROUTES))


async def test_two_of_them_in_one_browser_do_not_take_each_others_cookies(serve):
    first, second = await serve(TOKEN), await serve("u" * 43)
    jar = CookieJar(unsafe=True)
    async with ClientSession(cookie_jar=jar) as browser_like:
        for site, token in ((first, TOKEN), (second, "u" * 43)):
            await browser_like.get(f"http://{HOST}:{site.port}/?token={token}")
        statuses = [(await browser_like.get(f"http://{HOST}:{site.port}{site.guarded._root}/")).status for site in (first, second)]
        crossed = (await browser_like.get(f"http://{HOST}:{second.port}{first.guarded._root}/")).status
    assert (statuses, crossed) == ([200, 200], 401)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
async def test_other_names_and_other_sites_are_refused_with_the_cookie_too(site, headers):
    assert (await site.get(f"{site.guarded._root}/ws", headers={**cookie(site), **headers})).status == 401


def test_what_is_served_is_what_was_asked_for():
    options = agtop._parser().parse_args(["--web", "--input", "x.ndjson", "--run", "5a1d", "--theme", "light", "--ascii"])
    assert agtop._again(options)[4:] == ["--input", "x.ndjson", "--run", "5a1d", "--theme", "light", "--ascii"]


@pytest.mark.parametrize("port", ["99999", "-1", "taken"])
def test_a_port_where_nobody_can_listen_is_refused_before_an_address_is_printed(capsys, port):
    with socket.create_server((HOST, 0)) as taken:
        number = str(taken.getsockname()[1]) if port == "taken" else port
        assert agtop.main(["--web", "--port", number]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0].startswith(f"error[tui.port]: nothing can listen at port {number} of this machine: ")) == ("", True)


def test_what_cannot_be_shown_is_refused_before_an_address_is_printed(capsys, tmp_path):
    assert agtop.main(["--web", "--input", str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert (out, "error[tui.input]: " in err) == ("", True)


async def test_a_page_whose_screen_never_began_or_was_killed_is_told_that_it_ended(site, capfd):
    async with site.ws_connect(f"{site.guarded._root}/ws", headers=cookie(site)) as page:
        assert (await page.receive(60)).type is WSMsgType.CLOSE


@contextlib.asynccontextmanager
async def served(env, *arguments):
    """`agtop --web` as a process; the address that it printed."""
    command = [sys.executable, "-P", "-m", "runloop.cli.agtop", "--web", *arguments]
    server = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE, start_new_session=True)
    try:
        yield re.search(r"http://\S+", (await server.stdout.readline()).decode())[0]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        await server.wait()


@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium is installed: apt-get install chromium")
async def test_in_a_browser_a_person_reads_a_mail_and_approves_it_and_it_is_in_the_outbox(mailing, begin):
    """The terminal in the page is a canvas: what it shows is read where it comes in."""
    outbox = mailing.state / "outbox"
    run_id = await asyncio.to_thread(begin, mailing, "mails")
    async with served(mailing.env) as address, browser.opened() as page:
        assert await page.go(address.partition("?")[0]) == 401
        assert await page.go(address.replace("token=", "token=x")) == 401
        assert await page.go(address) == 200
        await page.shows(run_id[:8], "approval of mail", "1 WAIT FOR YOU")
        await page.press("a")
        await page.shows("exactly this", "To: ada@example.org", "Dear Ada, the pier is repaired.", "your decision")
        await page.press(*"y", "Enter")
        await page.shows("'y' is no answer to this")
        assert not list(outbox.glob("*.eml"))
        await page.press(*"es", "Enter")
        await page.shows("succeeded")
        assert all(url.startswith((f"http://{HOST}:", f"ws://{HOST}:", "data:", "about:")) for url in page.asked)
        if "AGTOP_PICTURES" in os.environ:
            await page.picture(os.environ["AGTOP_PICTURES"])
    (mail,) = outbox.glob("*.eml")
    assert "the pier is repaired" in mail.read_text()
    async with mailing.client() as link:
        assert [run["state"] for run in (await link.ask("list"))["runs"]] == ["succeeded"]


@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium is installed: apt-get install chromium")
async def test_in_a_browser_a_window_of_another_size_shows_the_whole_screen_at_once(tmp_path):
    async with served({**os.environ, "HOME": str(tmp_path)}, "--input", str(LETTER)) as address, browser.opened() as page:
        assert await page.go(address) == 200
        await page.shows("letter")
        assert [await page.resize(width, height) for width, height in ((640, 420), (1600, 900))] == [0, 0]
