"""`agtop --web`: the screen in a browser here. Every program on the machine can reach the port, so nothing is served without the token."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web
from textual_serve.server import Server

from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware
    from textual_serve.app_service import AppService

HOST: Final = "127.0.0.1"
_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self' {ws}; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def serve(command: Sequence[str], port: int = 0) -> None:
    """Serve the screen of ``command`` until interrupted; the address with its token is printed once.

    Raises InvalidInput where nobody can listen at the port.
    """
    chosen = _open_port(port)
    token = secrets.token_urlsafe(32)
    print(f"agtop is at http://{HOST}:{chosen}/?token={token}\nCtrl+C ends it.", flush=True)  # noqa: T201 - the one way to learn the token
    Guarded(command, chosen, token).serve()


def _open_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: one that has just ended is in nobody's way
        try:
            probe.bind((HOST, wanted))
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "ports are the numbers from 1 to 65535"
            message = f"nothing can listen at port {wanted} of this machine: {why}"
            hint = "name another port, or leave --port out for a free one"
            raise InvalidInput(message, code="tui.port", where=Where(key="--port"), hint=hint) from None
        return int(probe.getsockname()[1])


class Guarded(Server):
    """Textual's server, for whoever has the token: in the address once, in a cookie from then on. Nobody else learns anything.

    A browser sends cookies to every port of a host (RFC 6265, 8.5): this one is for a path that nobody can guess.
    """

    def __init__(self, command: Sequence[str], port: int, token: str) -> None:
        super().__init__(shlex.join(command), host=HOST, port=port, title="agtop", templates_path=Path(__file__).with_name("web_pages"))
        self._token = token
        place = secrets.token_urlsafe(16)
        self._root, self._cookie = f"/{place}", f"agtop_{place}"

    def initialize_logging(self) -> None:
        """Say what is wrong, and nothing else: requests hold the token."""
        logging.basicConfig(level="WARNING")

    async def on_startup(self, app: web.Application) -> None:
        """The address has been printed."""

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard()])
        app.add_subapp(self._root, await super()._make_app())
        return app

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """As Textual's server, until the screen is over: one that never began or was killed says nothing of its end to the page."""
        screen, process = app_service._task, app_service._process  # noqa: SLF001 - it has no other sign of its end
        assert screen is not None  # noqa: S101 - it was started
        assert process is not None  # noqa: S101

        async def end() -> None:
            await asyncio.wait([screen])
            await websocket.close()

        ending = asyncio.create_task(end())
        try:
            await super()._process_messages(websocket, app_service)
        finally:
            if screen.done():  # what shows nothing any more is of no use
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            else:
                ending.cancel()
            await asyncio.wait([ending])

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.host != f"{HOST}:{self.port}" or not self._same_origin(request):
                return _refused("this is for the address that agtop printed")
            if self._is_token(request.query.get("token")):
                entered = web.HTTPSeeOther(f"{self._root}/")
                entered.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict", path=f"{self._root}/")
                _harden(entered, self.port)
                raise entered
            if not self._is_token(request.cookies.get(self._cookie)):
                return _refused("open the address with its token, as agtop printed it")
            response = await handler(request)
            if not response.prepared:
                _harden(response, self.port)
            return response

        return guard

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())

    def _same_origin(self, request: web.Request) -> bool:
        """A page of another site may not open the socket, whatever cookies its browser has."""
        origin = request.headers.get("Origin")
        return origin is None or origin == f"http://{HOST}:{self.port}"


def _refused(why: str) -> web.Response:
    return web.Response(status=401, text=f"401: {why}\n", headers={"Cache-Control": "no-store"})


def _harden(response: web.StreamResponse, port: int) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = _POLICY.format(ws=f"ws://{HOST}:{port}")
