"""`agtop --web`: nothing without the token, nothing for other sites; and in a browser, where there is one."""

import asyncio
import contextlib
import os
import re
import signal
import sys

import browser
import pytest
from aiohttp.test_utils import TestClient, TestServer

from runloop.cli import agtop
from runloop.tui.web import COOKIE, HOST, Guarded

TOKEN = "t" * 43
ROUTES = ["/", "/ws", "/static/js/textual.js", "/download/x", "/nothing"]


@pytest.fixture
async def site():
    guarded = Guarded([sys.executable, "-c", "pass"], 0, TOKEN)
    client = TestClient(TestServer(await guarded._make_app()))
    await client.start_server()
    guarded.port = client.port
    guarded.public_url = f"http://127.0.0.1:{client.port}"
    guarded._cookie = f"{COOKIE}_{client.port}"
    client.headers = {"Host": f"127.0.0.1:{client.port}"}
    yield client
    await client.close()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("cookie", ["", "wrong", TOKEN[:-1]])
async def test_without_the_token_everything_is_refused(site, route, cookie):
    name = f"{COOKIE}_{site.port}"
    answer = await site.get(route, headers={**site.headers, **({"Cookie": f"{name}={cookie}"} if cookie else {})}, allow_redirects=False)
    assert (answer.status, TOKEN in await answer.text()) == (401, False)


async def test_a_wrong_token_in_the_address_is_refused(site):
    answer = await site.get("/?token=wrong", headers=site.headers, allow_redirects=False)
    assert (answer.status, "Set-Cookie" in answer.headers) == (401, False)


async def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(site):
    answer = await site.get(f"/?token={TOKEN}", headers=site.headers, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    page = await site.get("/", headers={**site.headers, "Cookie": f"{COOKIE}_{site.port}={TOKEN}"})
    text = await page.text()
    assert (page.status, "textual.js" in text, page.headers["Cache-Control"]) == (200, True, "no-store")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert set(re.findall(r"https?://([^/\"]+)", text)) <= {f"127.0.0.1:{site.port}"}


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
async def test_other_names_and_other_sites_are_refused_with_the_cookie_too(site, headers):
    sent = {**site.headers, "Cookie": f"{COOKIE}_{site.port}={TOKEN}", **headers}
    assert (await site.get("/ws", headers=sent)).status == 401


def test_what_is_served_is_what_was_asked_for():
    options = agtop._parser().parse_args(["--web", "--input", "x.ndjson", "--run", "5a1d", "--theme", "light", "--ascii"])
    assert agtop._again(options)[4:] == ["--input", "x.ndjson", "--run", "5a1d", "--theme", "light", "--ascii"]


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
