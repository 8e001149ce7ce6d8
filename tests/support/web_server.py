"""A web site as a process, for http.fetch: redirects, slow and broken answers, an echo of what was sent; with TLS when given a certificate.

Usage: python tests/support/web_server.py [--cert PEM]      prints its port; ends when its standard input closes
  /ok  /echo  /redirect?to=URL  /circle  /far?n=N  /bytes?n=N  /binary  /latin1  /marked  /hang  /half  /reset  /gzip  /status?code=N
  /typed?type=T&body=B
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SEEN: list[dict] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        """Say nothing."""

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/_requests":
            return self.send(200, json.dumps(SEEN).encode(), {"Content-Type": "application/json"})
        if parts.path == "/_reset":
            SEEN.clear()
            return self.send(200, b"{}", {})
        seen = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body}
        SEEN.append(seen)
        return getattr(self, "at_" + parts.path.strip("/"), self.at_nowhere)(query, seen)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def send(self, status, content, headers, length=None):
        self.send_response(status)
        for name, value in headers.items():
            for each in value if isinstance(value, list) else [value]:
                self.send_header(name, each)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def at_ok(self, _query, _seen):
        self.send(200, b"fine \xe2\x82\xac", {"Content-Type": "text/plain; charset=utf-8", "X-Kind": "ok"})

    def at_cookies(self, _query, _seen):
        self.send(200, b"", {"Set-Cookie": ["a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "b=2"], "Vary": ["A", "B"]})

    def at_echo(self, _query, seen):
        self.send(200, json.dumps(seen).encode(), {"Content-Type": "application/json", "X-Echo": self.headers.get("X-Key", "-")})

    def at_mirror(self, _query, seen):
        self.send(200, seen["body"].encode(), {})

    def at_typed(self, query, _seen):
        self.send(200, query["body"].encode(), {"Content-Type": query["type"]})

    def at_far(self, query, _seen):
        self.send(302, b"moved", {"Location": "/" + "a" * int(query["n"])})

    def at_redirect(self, query, _seen):
        self.send(int(query.get("code", 302)), b"moved", {"Location": query["to"]})

    def at_circle(self, _query, _seen):
        self.send(302, b"", {"Location": "/circle"})

    def at_bytes(self, query, _seen):
        self.send(200, b"x" * int(query["n"]), {"Content-Type": "text/plain"})

    def at_binary(self, _query, _seen):
        self.send(200, b"\x89PNG\x00\xff", {"Content-Type": "image/png"})

    def at_latin1(self, _query, _seen):
        self.send(200, "für".encode("latin-1"), {"Content-Type": "text/plain; charset=iso-8859-1"})

    def at_marked(self, _query, _seen):
        self.send(200, b'\xef\xbb\xbf{"a": 1}', {"Content-Type": "application/json"})

    def at_status(self, query, _seen):
        self.send(int(query["code"]), b"so be it", {})

    def at_gzip(self, _query, _seen):
        self.send(200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"})

    def at_half(self, _query, _seen):
        self.send(200, b"half", {}, length=100)
        self.close_connection = True

    def at_reset(self, _query, _seen):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def at_hang(self, _query, _seen):
        self.close_connection = True
        while self.connection.recv(1):
            pass

    def at_nowhere(self, _query, _seen):
        self.send(404, b"nowhere", {})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args):
        """A client that goes away is part of the game."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cert", help="certificate and key in one PEM file")
    options = parser.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
