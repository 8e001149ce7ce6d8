"""The way out: spans as OpenTelemetry's own library makes and sends them (OTLP over HTTP). Only this module knows it, and needs it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any, Final, Literal

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from runloop.daemon.traces.span import Span
from runloop.models.transport import retry_after_s

PATH: Final = "/v1/traces"
Sent = Literal["taken", "refused", "later"]

_FOR_EVER: Final = frozenset({400, 413, 422})
"""Answers after which the same spans would be refused again."""
_REDIRECTIONS: Final = 300
"""Answers from here on take nothing, though the library counts some as success."""
_SENDING_LOGGER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_KINDS: Final = {"internal": trace.SpanKind.INTERNAL, "client": trace.SpanKind.CLIENT, "server": trace.SpanKind.SERVER}
_MS: Final = 1_000_000
_MOST_BYTES: Final = 64 << 10
"""Of an answer; more is not waited for: it says in a few words what was wrong."""
_LONGEST_WAIT_S: Final = 3600.0


def address(endpoint: str | None) -> str | None:
    """Where spans go: the address with the path that the protocol names, unless it has it; None leaves it to the variables of OTLP."""
    if endpoint is None or endpoint.endswith(PATH):
        return endpoint
    return endpoint.rstrip("/") + PATH


class Otlp:
    """Sends spans; blocking, from one thread. ``why`` is what was wrong with the last ones, ``rejected`` how many of those taken were not.

    ``wait_s`` is how long the receiver asked to be left alone. ``instance`` tells this source of spans from others.
    """

    def __init__(self, endpoint: str | None, instance: str, version: str) -> None:
        self.why, self.rejected, self.wait_s = "", 0, 0.0
        self._session = _Session()
        self._session.max_redirects = 0  # it would go on as a GET, and be taken for sent
        self._exporter = OTLPSpanExporter(address(endpoint), session=self._session)
        log = logging.getLogger(_SENDING_LOGGER)
        log.propagate = False  # `why` is told once, by who asked
        log.handlers[:] = [_Saying(self)]
        about = {"service.version": version, "service.instance.id": instance}
        if "OTEL_SERVICE_NAME" not in os.environ:
            about[SERVICE_NAME] = "runloop"
        self._ids, self._made = _Ids(), _Made()
        # What is sampled is decided before, and the ids are known: the provider only makes the spans.
        provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(about), id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._made)
        self._tracer = provider.get_tracer("runloop", version)

    def send(self, spans: Sequence[Span]) -> Sent:
        """Hand spans over; ``later`` are those that nobody took and somebody may."""
        self._made.spans.clear()
        for span in spans:
            self._make(span)
        self.why, self.rejected, self.wait_s = "", 0, 0.0
        self._session.forget()
        exported = self._exporter.export(self._made.spans) is SpanExportResult.SUCCESS
        answer = self._session.answer
        if answer is None:
            self.why = self.why if self._session.error is None else _cause(self._session.error)
            return "later"
        if exported and answer.status_code < _REDIRECTIONS:
            self.rejected, self.why = _rejected(answer, len(spans))
            return "taken"
        self.why = f"the receiver answers with status {answer.status_code}"
        self.wait_s = min(retry_after_s(answer.headers.get("Retry-After"), time.time()) or 0.0, _LONGEST_WAIT_S)
        return "refused" if answer.status_code in _FOR_EVER else "later"

    def close(self) -> None:
        """Send nothing more; what is being sent is given up at its next try."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _make(self, span: Span) -> None:
        self._ids.trace_id, self._ids.span_id = span.trace_id, span.span_id
        parent = None if span.parent is None else _context(span.trace_id, span.parent, remote=span.remote_parent)
        made = self._tracer.start_span(
            span.name,
            context=None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent)),
            kind=_KINDS[span.kind],
            attributes=dict(span.attributes),
            links=[trace.Link(_context(*link)) for link in span.links],
            start_time=span.start_ms * _MS,
        )
        for name, ts_ms in span.events:
            made.add_event(name, timestamp=ts_ms * _MS)
        if span.failed is not None:
            made.set_attribute("error.type", span.failed)
            made.set_status(trace.StatusCode.ERROR, span.failed)
        made.end(end_time=max(span.start_ms, span.end_ms) * _MS)


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> trace.SpanContext:
    return trace.SpanContext(trace_id, span_id, is_remote=remote, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))


def _rejected(answer: requests.Response, spans: int) -> tuple[int, str]:
    """How many of the spans a receiver says that it took and threw away, and why: sent again they would come twice."""
    if answer.headers.get("Content-Type") != "application/x-protobuf":
        return 0, ""
    try:
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    except DecodeError:
        return 0, ""
    rejected = max(0, min(partial.rejected_spans, spans))
    return rejected, f"the receiver says {partial.error_message!r}" if rejected else ""


def _cause(error: BaseException) -> str:
    """What went wrong first, without the layers that passed it on."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class _Session(requests.Session):
    """Keeps what the last request came to."""

    answer: requests.Response | None = None
    error: requests.RequestException | None = None

    def forget(self) -> None:
        """Nothing was sent yet."""
        self.answer = self.error = None

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        self.forget()
        try:
            answer = super().send(request, **{**more, "stream": True})
            answer._content = _beginning(answer)  # noqa: SLF001 - what is read of it, by the library as well
            self.answer = answer
        except requests.RequestException as error:
            self.answer, self.error = error.response, error
            raise
        return self.answer


def _beginning(answer: requests.Response) -> bytes:
    """What it says; of more than anybody needs its beginning."""
    said = b""
    for piece in answer.iter_content(_MOST_BYTES):
        said += piece
        if len(said) >= _MOST_BYTES:
            answer.close()
            break
    return said


class _Ids(IdGenerator):
    """The ids of the span that is made next."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Made(SpanProcessor):
    """Keeps the spans that were made."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class _Saying(logging.Handler):
    """Hears what the library says of a failure."""

    def __init__(self, otlp: Otlp) -> None:
        super().__init__(logging.WARNING)
        self._otlp: Any = otlp

    def emit(self, record: logging.LogRecord) -> None:
        self._otlp.why = record.getMessage()
