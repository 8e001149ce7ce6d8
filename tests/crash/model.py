"""A model as a process: its answer follows from the prompt alone, it takes its time, and it counts.

Usage: python model.py [--delay MS]. Prints its port; ends when its standard input closes. An OpenAI chat endpoint, and under /_:
  GET /_count     how many requests have come        GET /_prompts   all of them, in order
  POST /_reset    forget them
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROMPTS: list[str] = []
LOCK = threading.Lock()
DELAY_S = [0.0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        """Say nothing."""

    def do_GET(self):
        with LOCK:
            self.answer(len(PROMPTS) if self.path == "/_count" else PROMPTS)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        if self.path == "/_reset":
            with LOCK:
                PROMPTS.clear()
            return self.answer({})
        prompt = body["messages"][-1]["content"]
        with LOCK:
            PROMPTS.append(prompt)
        time.sleep(DELAY_S[0])
        text = f"{prompt.split()[0]}: {sha256(prompt.encode()).hexdigest()[:12]}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text)}
        return self.answer({"id": "c", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage})

    def answer(self, document):
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args):
        """A client that dies is what this is about."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0, metavar="MS")
    DELAY_S[0] = parser.parse_args().delay / 1000
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
