"""`agtop --web`: nothing without the token, nothing for other sites; and in a browser, where there is one."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from aiohttp.test_utils import TestClient, TestServer

from runloop.tui.web import COOKIE, Guarded

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


async def shown(page, painted, text):
    """The terminal in the page is a canvas: what it paints is read where it comes in."""
    async with asyncio.timeout(60):
        while text not in b"".join(each if isinstance(each, bytes) else each.encode() for each in painted).decode("utf-8", "replace"):
            await page.wait_for_timeout(50)


CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
async def test_in_a_browser_the_screen_is_there_and_takes_keys(tmp_path, records):
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed: pip install playwright")
    path = tmp_path / "letter.ndjson"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    env = {**os.environ, "RUNLOOP_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "runloop.cli.agtop", "--input", str(path), "--web"]
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else waits here
        command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            address = re.search(r"http://\S+", server.stdout.readline())[0]
            async with playwright.async_playwright() as driver:
                browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = await browser.new_page(viewport={"width": 1200, "height": 700})
                asked, painted = [], []
                page.on("request", lambda request: asked.append(request.url))
                page.on("websocket", lambda socket: socket.on("framereceived", lambda data: painted.append(data)))  # noqa: PLW0108 - it is marked
                refused = await page.goto(address.partition("?")[0])
                assert refused.status == 401
                await page.goto(address)
                await page.wait_for_selector("body.-first-byte", timeout=60_000)
                await shown(page, painted, "succeeded")
                await page.mouse.click(600, 400)
                await page.keyboard.press("Enter")
                await shown(page, painted, "agent:mails")
                if "AGTOP_PICTURES" in os.environ:
                    await page.screenshot(path=os.environ["AGTOP_PICTURES"])
                await browser.close()
            assert all(url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:")) for url in asked)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
