"""A model provider as a process: speaks OpenAI chat, Ollama and Anthropic, and fails in every way that one can.

Usage: python tests/support/model_server.py --port 0 [--text TEXT]
Prints its port on one line and serves until it is ended, or until its standard input closes.

The model's name chooses the behaviour, see BEHAVIOURS; any other name answers well. Control, all under /_:
  GET  /_requests            every request so far: [{method, path, headers, body}]
  POST /_script              {"replies": ["…"]}: texts for the next good answers, one each
  POST /_reset               forget requests, script and counters
  POST /_release             let the streams of «held» go on

A request with "stream": true is answered in the protocol's stream, one event for each word, by a model that answers well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHAVIOURS = [
    "ok",
    "echo",
    "no-usage",
    "empty",
    "length",
    "huge-usage",
    "rate-limited",
    "rate-limited-long",
    "rate-limited-date",
    "always-500",
    "flaky-500",
    "flaky-reset",
    "unauthorized",
    "echo-secret",
    "told",
    "told-embedding",
    "told-in-pieces",
    "told-to-wait",
    "told-as",
    "bad-request",
    "missing",
    "garbage",
    "html",
    "not-an-object",
    "wrong-shape",
    "error-in-200",
    "half",
    "huge",
    "gzip",
    "reset",
    "hang",
    "drip",
    "redirect",
    "bad-utf8",
    "deep",
    "unordered-vectors",
    "ragged-vectors",
    "few-vectors",
    "nan-vectors",
    "thinking",
    "thinking-beside",
    "surrogates",
    "no-stream",
    "new-limit",
    "no-temperature",
    "no-limit",
    "no-usage-in-stream",
    "whole",
    "held",
    "held-once",
    "cut",
    "cut-once",
    "cut-after-the-end",
    "open-end",
    "silent",
    "stream-error",
    "stream-refusal",
    "broken-event",
    "wrong-event",
    "huge-event",
    "huge-stream",
    "busy",
]

DEFAULT_TEXT = "This is the model's answer."
STATE_LOCK = threading.Lock()
REQUESTS: list[dict] = []
SCRIPT: list[str] = []
COUNTS: Counter[str] = Counter()
TEXT = [DEFAULT_TEXT]
RELEASED = threading.Event()
THOUGHT = "First this, then that."


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        """Say nothing."""

    def do_GET(self):
        if self.path == "/_requests":
            with STATE_LOCK:
                return self.answer(200, REQUESTS)
        return self.answer(404, {"error": "not found"})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw) if raw else {}
        if self.path == "/_script":
            with STATE_LOCK:
                SCRIPT[:] = body["replies"]
            return self.answer(200, {})
        if self.path == "/_reset":
            with STATE_LOCK:
                REQUESTS.clear(), SCRIPT.clear(), COUNTS.clear()
            RELEASED.clear()
            return self.answer(200, {})
        if self.path == "/_release":
            RELEASED.set()
            return self.answer(200, {})
        model = body.get("model", "ok")
        with STATE_LOCK:
            REQUESTS.append({"method": "POST", "path": self.path, "headers": dict(self.headers.items()), "body": body})
            COUNTS[model] += 1
            count = COUNTS[model]
        behave = getattr(self, "be_" + model.replace("-", "_"), None)
        if model in BEHAVIOURS and behave is not None:
            return behave(body, count)
        return self.good(body)

    # answers in each protocol

    def answer(self, status, document, headers=()):
        content = json.dumps(document).encode()
        self.raw(status, content, [("Content-Type", "application/json"), *headers])

    def raw(self, status, content, headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def good(self, body, *, text=None, usage=True, finish="stop", tokens=(11, 7), thought=""):
        if text is None:
            with STATE_LOCK:
                text = SCRIPT.pop(0) if SCRIPT else TEXT[0]
        if body.get("stream"):
            return self.stream(self.events(body, words(text), usage, finish, tokens, words(thought)))
        return self.answer(200, self.document(body, text, usage, finish, tokens, thought))

    def document(self, body, text, usage, finish, tokens, thought=""):
        model = body.get("model", "")
        if self.path == "/v1/chat/completions":
            message = {"role": "assistant", "content": text} | ({"reasoning_content": thought} if thought else {})
            choice = {"index": 0, "message": message, "finish_reason": finish}
            document = {"id": "c1", "object": "chat.completion", "model": model, "choices": [choice]}
            return document | ({"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}} if usage else {})
        if self.path == "/v1/messages":
            reason = {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
            content = [{"type": "thinking", "thinking": thought, "signature": "s"}] if thought else []
            content += [{"type": "text", "text": text}] if text else []
            document = {"type": "message", "role": "assistant", "model": model, "content": content, "stop_reason": reason}
            return document | ({"usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]}} if usage else {})
        if self.path == "/api/chat":
            message = {"role": "assistant", "content": text} | ({"thinking": thought} if thought else {})
            document = {"model": model, "message": message, "done": True, "done_reason": finish}
            return document | ({"prompt_eval_count": tokens[0], "eval_count": tokens[1]} if usage else {})
        vectors = [[float(len(item)), 0.5, -1.0] for item in body.get("input", [])]
        return self.vectors(body, vectors)

    def vectors(self, body, vectors, order=None):
        if self.path == "/v1/embeddings":
            rows = [{"index": index, "embedding": vectors[index]} for index in (order or range(len(vectors)))]
            return {"model": body["model"], "data": rows, "usage": {"prompt_tokens": 5}}
        return {"model": body["model"], "embeddings": vectors, "prompt_eval_count": 5}

    # streams: the events of an answer, each as the bytes that go out

    def events(self, body, pieces, usage=True, finish="stop", tokens=(11, 7), thoughts=()):
        make = {"/v1/chat/completions": self.chat_events, "/v1/messages": self.message_events}.get(self.path, self.line_events)
        return make(body.get("model", ""), pieces, finish, tokens if usage else None, thoughts)

    def chat_events(self, model, pieces, finish, tokens, thoughts):
        def chunk(delta, reason=None):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            return sse({"id": "c1", "object": "chat.completion.chunk", "model": model, "choices": [choice], "usage": None})

        yield chunk({"role": "assistant", "content": ""})
        yield b": a comment that keeps the connection alive\n\n"
        yield from (chunk({"reasoning_content": piece}) for piece in thoughts)
        yield from (chunk({"content": piece}) for piece in pieces)
        yield chunk({}, finish)
        if tokens:
            yield sse({"model": model, "choices": [], "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}})
        yield b"data: [DONE]\n\n"

    def message_events(self, model, pieces, finish, tokens, thoughts):
        def event(kind, **fields):
            return f"event: {kind}\n".encode() + sse({"type": kind, **fields})

        def block(index, kind, parts):
            yield event("content_block_start", index=index, content_block={"type": kind, kind: ""})
            yield event("ping")
            for part in parts:
                yield event("content_block_delta", index=index, delta={"type": f"{kind}_delta", kind: part})
            yield event("content_block_stop", index=index)

        count = {"usage": {"input_tokens": tokens[0], "output_tokens": 1}} if tokens else {}
        yield event("message_start", message={"type": "message", "model": model, "content": [], **count})
        if thoughts:
            yield from block(0, "thinking", thoughts)
            yield event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "s"})
        if pieces:
            yield from block(1, "text", pieces)
        reason = {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
        yield event("message_delta", delta={"stop_reason": reason}, **({"usage": {"output_tokens": tokens[1]}} if tokens else {}))
        yield event("message_stop")

    def line_events(self, model, pieces, finish, tokens, thoughts):
        def line(**fields):
            return json.dumps({"model": model, **fields}).encode() + b"\n"

        yield from (line(message={"role": "assistant", "content": "", "thinking": piece}, done=False) for piece in thoughts)
        yield from (line(message={"role": "assistant", "content": piece}, done=False) for piece in pieces)
        counts = {"prompt_eval_count": tokens[0], "eval_count": tokens[1]} if tokens else {}
        yield line(message={"role": "assistant", "content": ""}, done=True, done_reason=finish, **counts)

    def stream(self, events, *, cut=False):
        """Send a stream in chunks; ``cut`` closes the connection where its end should be."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if self.path == "/api/chat" else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            self.wfile.flush()
        if cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def begun(self, body, text=DEFAULT_TEXT):
        """The first half of an answer's events."""
        events = list(self.events(body, words(text)))
        return events[: len(events) // 2]

    # behaviours of streams

    def be_thinking(self, body, _count):
        self.good(body, thought=THOUGHT)

    def be_thinking_beside(self, body, _count):
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 38, "completion_tokens_details": {"reasoning_tokens": 20}}
        if not body.get("stream"):
            document = self.document(body, "text", usage=False, finish="stop", tokens=None, thought=THOUGHT)
            return self.answer(200, document | {"usage": usage})
        events = list(self.chat_events("m", ["text"], "stop", None, [THOUGHT]))
        return self.stream([*events[:-1], sse({"choices": [], "usage": usage}), events[-1]])

    def be_surrogates(self, body, _count):
        pieces = ["a\ud83d", "\ude00b", "\ud83d", " c\ude00"]
        return self.stream(self.events(body, pieces)) if body.get("stream") else self.good(body, text="".join(pieces))

    def be_no_stream(self, body, _count):
        if body.get("stream"):
            return self.answer(400, {"error": {"message": "property 'stream_options' is unsupported"}})
        return self.good(body)

    def be_new_limit(self, body, _count):
        if "max_tokens" in body:
            return self.answer(400, {"error": {"message": "'max_tokens' is not supported. Use 'max_completion_tokens' instead."}})
        return self.good(body)

    def be_no_temperature(self, body, _count):
        """Refuse one in the words of the prompt."""
        if "temperature" in body:
            return self.answer(400, {"type": "error", "error": {"message": body["messages"][0]["content"]}})
        return self.good(body)

    def be_no_limit(self, body, _count):
        what = "stream_options" if body.get("stream") else "max_completion_tokens"
        self.answer(400, {"error": {"message": f"{what} is not supported"}})

    def be_no_usage_in_stream(self, body, _count):
        self.good(body, text="four token text.", usage=not body.get("stream"))

    def be_whole(self, body, _count):
        self.good({**body, "stream": False})

    def be_held(self, body, _count):
        events = list(self.events(body, words(DEFAULT_TEXT)))
        self.stream(self.holding(events))

    def holding(self, events):
        half = len(events) // 2
        yield from events[:half]
        RELEASED.wait()
        yield from events[half:]

    def be_held_once(self, body, count):
        return self.be_held(body, count) if count == 1 else self.good(body)

    def be_cut(self, body, _count):
        self.stream(self.begun(body), cut=True)

    def be_cut_once(self, body, count):
        return self.be_cut(body, count) if count == 1 else self.good(body, text="Second try.")

    def be_cut_after_the_end(self, body, _count):
        # the answer is all there: what is missing is the count of its tokens, or the mark of the end
        events = list(self.events(body, words(DEFAULT_TEXT), usage=self.path != "/v1/chat/completions"))
        self.stream(events[:-1] if self.path != "/api/chat" else events, cut=True)

    def be_open_end(self, body, _count):
        self.stream(self.endless_after(list(self.events(body, words(DEFAULT_TEXT)))))

    def endless_after(self, events):
        yield from events
        RELEASED.wait()

    def be_silent(self, body, _count):
        self.stream(self.holding(self.begun(body)))

    def be_stream_error(self, body, count):
        if count > 1:
            return self.good(body)
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return self.stream([*self.begun(body), sse(error) if self.path != "/api/chat" else b'{"error": "out of memory"}\n'])

    def be_stream_refusal(self, body, _count):
        key = self.headers.get("Authorization") or self.headers.get("x-api-key") or ""
        error = {"error": {"type": "invalid_request_error", "message": f"not with {key}"}}
        self.stream([*self.begun(body), json.dumps(error).encode() + b"\n" if self.path == "/api/chat" else sse(error)])

    def be_broken_event(self, body, _count):
        self.stream([*self.begun(body), b'{"half": \n' if self.path == "/api/chat" else b'data: {"half": \n\n'])

    def be_wrong_event(self, body, _count):
        wrong = {
            "/v1/chat/completions": {"choices": [{"delta": {"content": 5}}]},
            "/v1/messages": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 5}},
            "/api/chat": {"message": {"content": 5}},
        }[self.path]
        self.stream([*self.begun(body), json.dumps(wrong).encode() + b"\n" if self.path == "/api/chat" else sse(wrong)])

    def be_huge_event(self, body, _count):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.stream(iter(lambda: b"data: " + b"x" * 65_536, None) if self.path != "/api/chat" else iter(lambda: b"x" * 65_536, None))

    def be_huge_stream(self, body, _count):
        self.close_connection = True
        piece = list(self.events(body, ["word " * 200]))[2 if self.path == "/v1/chat/completions" else 0]
        if self.path == "/v1/messages":
            piece = sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "word " * 200}})
        with contextlib.suppress(OSError):
            self.stream(iter(lambda: piece, None))

    def be_busy(self, body, _count):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.stream(iter(lambda: b"\n" if self.path == "/api/chat" else b": busy\n\n", None))

    # behaviours

    def be_echo(self, body, _count):
        self.good(body, text=body["messages"][-1]["content"])

    def be_no_usage(self, body, _count):
        self.good(body, text="four token text.", usage=False)

    def be_empty(self, body, _count):
        self.good(body, text="")

    def be_length(self, body, _count):
        self.good(body, text="cut", finish="length")

    def be_huge_usage(self, body, _count):
        self.good(body, tokens=(11, 900_000))

    def be_rate_limited(self, body, count):
        if count < 3:
            return self.answer(429, {"error": {"message": "slow down"}}, [("Retry-After", "7")])
        return self.good(body)

    def be_rate_limited_long(self, _body, _count):
        self.answer(429, {"error": {"message": "come back tomorrow"}}, [("Retry-After", "86400")])

    def be_rate_limited_date(self, body, count):
        if count == 1:
            return self.answer(503, {}, [("Retry-After", formatdate(time.time() + 3600, usegmt=True))])
        return self.good(body)

    def be_always_500(self, _body, _count):
        self.answer(500, {"error": {"message": "boom"}})

    def be_flaky_500(self, body, count):
        return self.answer(500, {"error": {"message": "boom"}}) if count == 1 else self.good(body)

    def be_flaky_reset(self, body, count):
        return self.be_reset(body, count) if count == 1 else self.good(body)

    def be_unauthorized(self, _body, _count):
        self.answer(401, {"error": {"message": "no such key"}})

    def be_echo_secret(self, _body, _count):
        key = self.headers.get("Authorization") or self.headers.get("x-api-key") or ""
        self.answer(401, {"error": {"message": f"Incorrect API key provided: {key}\u001b[31m\nX-Injected: 1"}})

    def be_told(self, body, _count):
        """Answer with what the prompt says, ``KEY`` filled in."""
        self.raw(200, self.told(body), [("Content-Type", "application/json")])

    def be_told_embedding(self, body, _count):
        """Answer with what the first text says, ``KEY`` filled in."""
        self.be_told({"messages": [{"content": body["input"][0]}]}, 1)

    def be_told_in_pieces(self, body, _count):
        """Stream the documents that the prompt holds, one a line."""
        self.raw(
            200, b"".join(b"data: " + line + b"\n\n" for line in self.told(body).splitlines()), [("Content-Type", "text/event-stream")]
        )

    def be_told_to_wait(self, body, count):
        """Answer once with the ``Retry-After`` that the prompt says."""
        if count == 1:
            return self.answer(429, {}, [("Retry-After", self.told(body).decode())])
        return self.good(body)

    def be_told_as(self, body, _count):
        """Answer with the status, content type and text of the document that the prompt is."""
        answer = json.loads(self.told(body))
        self.raw(answer["status"], answer["text"].encode(), [("Content-Type", answer["type"])] if answer["type"] else [])

    def told(self, body):
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return body["messages"][0]["content"].replace("KEY", key).encode()

    def be_bad_request(self, _body, _count):
        self.answer(400, {"error": {"message": "temperature is not supported"}})

    def be_missing(self, _body, _count):
        self.answer(404, {"error": "model 'missing' not found"})

    def be_garbage(self, _body, _count):
        self.raw(200, b'{"choices": [', [("Content-Type", "application/json")])

    def be_html(self, _body, _count):
        self.raw(200, b"<html><body>login first</body></html>", [("Content-Type", "text/html")])

    def be_not_an_object(self, _body, _count):
        self.answer(200, ["a", "list"])

    def be_wrong_shape(self, _body, _count):
        self.answer(200, {"choices": [{"message": {"content": 5}}], "message": 5, "content": "text", "data": {}, "embeddings": {}})

    def be_error_in_200(self, _body, _count):
        self.answer(200, {"error": {"message": "the model is overloaded"}})

    def be_half(self, _body, _count):
        self.raw(200, b'{"choices": [{"message"', [("Content-Type", "application/json")], length=1000)
        self.close_connection = True

    def be_huge(self, _body, _count):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(1 << 30))
        self.end_headers()
        self.until_closed(lambda: self.wfile.write(b" " * 65_536))

    def be_gzip(self, _body, _count):
        self.raw(200, b"\x1f\x8b\x08\x00", [("Content-Type", "application/json"), ("Content-Encoding", "gzip")])

    def be_reset(self, _body, _count):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def be_hang(self, _body, _count):
        self.until_closed(lambda: self.connection.recv(1) or (_ for _ in ()).throw(ConnectionError))

    def be_drip(self, _body, _count):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.until_closed(lambda: (self.wfile.write(b" "), time.sleep(0.02)))

    def be_redirect(self, _body, _count):
        self.raw(307, b"", [("Location", "http://127.0.0.1:9/elsewhere")])

    def be_bad_utf8(self, _body, _count):
        self.raw(200, b'{"choices": "\xff\xfe"}', [("Content-Type", "application/json")])

    def be_deep(self, _body, _count):
        self.raw(200, b"[" * 200_000, [("Content-Type", "application/json")])

    def be_unordered_vectors(self, body, _count):
        vectors = [[float(len(item)), 0.5] for item in body["input"]]
        self.answer(200, self.vectors(body, vectors, order=list(range(len(vectors)))[::-1]))

    def be_ragged_vectors(self, body, _count):
        self.answer(200, self.vectors(body, [[1.0] * (index + 1) for index in range(len(body["input"]))]))

    def be_few_vectors(self, body, _count):
        self.answer(200, self.vectors(body, [[1.0]]))

    def be_nan_vectors(self, body, _count):
        self.raw(
            200, json.dumps(self.vectors(body, [[float("nan")]] * len(body["input"]))).encode(), [("Content-Type", "application/json")]
        )

    def until_closed(self, act):
        self.close_connection = True
        try:
            while True:
                act()
        except OSError:
            pass


def sse(document):
    """One event of a stream."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def words(text):
    """The text in pieces."""
    first, *others = text.split(" ")
    return [piece for piece in (first, *(f" {word}" for word in others)) if piece]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args):
        """A client that goes away is part of the game."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--text", default=DEFAULT_TEXT, help="what good answers say")
    options = parser.parse_args()
    TEXT[0] = options.text
    server = Server(("127.0.0.1", options.port), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # the parent holds the other end: when it is gone, so are we


if __name__ == "__main__":
    main()
