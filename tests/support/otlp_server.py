"""A receiver of traces as a process: OTLP over HTTP, each request decoded as protobuf.

Usage: python tests/support/otlp_server.py [--port N]     prints its port; ends when its standard input closes
  POST /v1/traces           spans
  GET  /_spans?least=N      every span so far as JSON, as soon as there are that many
  GET  /_refused?least=N    how many requests were not taken, as soon as there are that many
  POST /_answer             {"status": 503}: answer so from now on, and take nothing; 200 takes them again, all but {"rejects": 2};
                            {"after": "60"} is Retry-After, {"more": 1000} bytes stand behind the answer
  GET  /_headers            the headers of the last request with spans
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

CHANGED = threading.Condition()
SPANS: list[dict] = []
STATE = {"status": 200, "rejects": 0, "refused": 0, "headers": {}, "after": None, "more": 0}


def plain(value):
    return getattr(value, value.WhichOneof("value"))


def attributes(given):
    return {each.key: plain(each.value) for each in given}


def decoded(body):
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "resource": attributes(resource.resource.attributes),
                    "scope": scope.scope.name,
                    "name": span.name,
                    "kind": span.kind,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "events": [event.name for event in span.events],
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "status": [span.status.code, span.status.message],
                }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        """Say nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with CHANGED:
            if self.path == "/_answer":
                STATE.update({"rejects": 0, "after": None, "more": 0, **json.loads(body)})
                return self.send(200, b"{}")
            if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
                return self.send(404, b"")
            STATE["headers"] = dict(self.headers.items())
            if STATE["status"] == 200:
                SPANS.extend(decoded(body))
            else:
                STATE["refused"] += 1
            CHANGED.notify_all()
            answer = ExportTraceServiceResponse()
            if STATE["rejects"]:
                answer.partial_success.rejected_spans = STATE["rejects"]
                answer.partial_success.error_message = "too many"
            return self.send(STATE["status"], answer.SerializeToString() + bytes(STATE["more"]), "application/x-protobuf")

    def do_GET(self):
        parts = urlsplit(self.path)
        least = int(parse_qs(parts.query).get("least", ["0"])[0])
        with CHANGED:
            if parts.path == "/_spans":
                CHANGED.wait_for(lambda: len(SPANS) >= least, 20)
                return self.send(200, json.dumps(SPANS).encode())
            if parts.path == "/_refused":
                CHANGED.wait_for(lambda: STATE["refused"] >= least, 20)
                return self.send(200, json.dumps(STATE["refused"]).encode())
            return self.send(200, json.dumps(STATE["headers"]).encode())

    def send(self, status, content, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if STATE["after"] is not None:
            self.send_header("Retry-After", STATE["after"])
        self.end_headers()
        self.wfile.write(content)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
