"""A real Chromium, driven by its own DevTools protocol: nothing has to be installed but the browser.

Reference: https://chromedevtools.github.io/devtools-protocol/ (domains Page, Network, Input).
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

PROGRAM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
PATIENCE_S = 60
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking")
_KEYS = {"Enter": (13, "\r"), "Escape": (27, "")}
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
"""What a terminal obeys and does not show: ECMA-48 control sequences, and OSC."""


@asynccontextmanager
async def opened(width=1200, height=700):
    """One page of a browser that is ended with the block."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        arguments = [*_FLAGS, f"--window-size={width},{height}", f"--user-data-dir={home}", "--remote-debugging-port=0", "about:blank"]
        browser = await asyncio.create_subprocess_exec(
            PROGRAM, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := re.search(rb"ws://(\S+?)/", line := await browser.stderr.readline())):
                    assert line, "Chromium ended before it could be reached"
            async with aiohttp.ClientSession(f"http://{found[1].decode()}") as session:
                async with session.get("/json/list") as answer:
                    (target,) = [each for each in await answer.json() if each["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    listening = [asyncio.create_task(page.listen()), asyncio.create_task(_drain(browser.stderr))]
                    try:
                        for domain in ("Page", "Network"):
                            await page.call(f"{domain}.enable")
                        await page.call("Page.setLifecycleEventsEnabled", enabled=True)
                        yield page
                    finally:
                        for task in listening:
                            task.cancel()
        finally:
            browser.kill()
            await browser.wait()


async def _drain(stream):
    while await stream.read(65536):
        pass


class Page:
    """What a person does with a page and sees of it. ``asked`` has every address that the page wanted."""

    def __init__(self, socket):
        self._socket, self._numbers, self._waiting = socket, itertools.count(1), {}
        self._happened = asyncio.Condition()
        self.asked, self._statuses, self._loaded, self._frames = [], {}, set(), b""

    async def listen(self):
        """Take what the browser tells, for ever."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            else:
                async with self._happened:
                    self._take(told["method"], told["params"])
                    self._happened.notify_all()

    def _take(self, method, params):
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(params["url"])
        elif method == "Network.responseReceived" and params["type"] == "Document":
            self._statuses[params["loaderId"]] = params["response"]["status"]
        elif method == "Page.lifecycleEvent" and params["name"] == "load":
            self._loaded.add(params["loaderId"])
        elif method == "Network.webSocketFrameReceived":
            frame = params["response"]
            self._frames += base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else frame["payloadData"].encode()

    async def call(self, method, **params):
        """Call the browser; its result."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE_S):
            told = await answer
        assert "error" not in told, f"{method}: {told['error']}"
        return told["result"]

    async def _until(self, holds, what):
        try:
            async with asyncio.timeout(PATIENCE_S), self._happened:
                await self._happened.wait_for(holds)
        except TimeoutError:
            raise AssertionError(f"{what} did not come; the page was told:\n{self.painted()[-4000:]}") from None

    async def go(self, address):
        """Open an address; the status of the answer. Another page that is still loading is not taken for it."""
        loader = (await self.call("Page.navigate", url=address))["loaderId"]
        await self._until(lambda: loader in self._loaded, address)
        return self._statuses[loader]

    def painted(self):
        """What a terminal in the page was told to show, without the sequences that colour and place it."""
        return _SEQUENCE.sub("", self._frames.decode("utf-8", "replace"))

    async def shows(self, *texts):
        """Wait until all of it was painted since the last time."""
        await self._until(lambda: all(text in self.painted() for text in texts), " and ".join(texts))
        self._frames = b""

    async def press(self, *keys):
        """Type letters, or keys that have names (Enter, Escape)."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key[0].upper()), key))
            pressed = {"key": key, "windowsVirtualKeyCode": code, **({"code": key} if key in _KEYS else {})}
            await self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
            await self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def click(self, x, y):
        """One click of the left button, in pixels from the corner."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def resize(self, width, height):
        """Give the window another size, once; how far below it the document reaches after it was drawn, in pixels."""
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        drawn = f"""new Promise(done => {{
            const below = () => document.documentElement.scrollHeight - innerHeight;
            const look = () => innerHeight == {height} ? done(below()) : requestAnimationFrame(look);
            requestAnimationFrame(() => requestAnimationFrame(look));
        }})"""
        return (await self.call("Runtime.evaluate", expression=drawn, awaitPromise=True))["result"]["value"]

    async def picture(self, path):
        """What is seen, as a PNG file."""
        Path(path).write_bytes(base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"]))
