"""Traces as a collector receives them, and what a collector that fails costs."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.workloads.serving.serving import NAME, Running, until

Serve = Callable[..., Running]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP on a free loopback port and keeps the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.spans: list[Span] = []
        self.bodies = b""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def named(self, name: str) -> Span:
        """The span of this name, when it is there."""
        found = until(lambda: [span for span in self.spans if span.name == name])
        assert len(found) == 1
        return found[0]


class _Receive(BaseHTTPRequestHandler):
    server: Collector  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies += body
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def environment(address: str) -> dict[str, str]:
    # any waiting for a collector would outlast the test's patience
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1000",
    }


def attributes(span: Span) -> dict[str, Any]:
    return {
        one.key: one.value.int_value or one.value.string_value or one.value.array_value.values[0].string_value
        for one in span.attributes
    }


def test_a_request_is_one_span_of_its_caller_s_trace_with_its_parts_below_and_no_text(
    serve: Serve, tiny_int8: dict[str, Any], collector: Collector
) -> None:
    server = serve(tiny_int8, **environment(collector.address)).wait_ready()
    marker = "xyzzy-plugh"
    body = {"model": NAME, "prompt": marker, "max_tokens": 30, "user": marker, marker: marker}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": f"v={marker}", "x-request-id": marker}
    answer = server.client.post("/v1/completions", json=body, headers=headers)
    whole = collector.named(f"text_completion {NAME}")
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    assert whole.kind == Span.SpanKind.SPAN_KIND_SERVER
    assert attributes(whole) == {
        "http.request.method": "POST",
        "http.route": "/v1/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "skerry",
        "gen_ai.request.model": NAME,
        "gen_ai.usage.input_tokens": len(marker),
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.response.finish_reasons": "length",
        "skerry.model.version": tiny_int8["digest"].removeprefix("sha256:")[:12],
        "skerry.request.id": answer.headers["x-request-id"],
    }
    parts = [collector.named(name) for name in ("queue", "prefill", "decode")]
    assert {part.parent_span_id for part in parts} == {whole.span_id}
    edges = [time for part in parts for time in (part.start_time_unix_nano, part.end_time_unix_nano)]
    assert edges == sorted(edges) and edges[1] == edges[2] and edges[3] == edges[4]
    assert whole.start_time_unix_nano <= edges[0] and edges[-1] <= whole.end_time_unix_nano
    assert edges[-1] > edges[-2]
    assert marker.encode() not in collector.bodies
    assert answer.json()["choices"][0]["text"].encode() not in collector.bodies
    until(lambda: f'"trace_id": "{TRACE}"' in server.log())


def test_a_refused_request_begins_a_trace_of_its_own_and_says_why(
    serve: Serve, tiny_int8: dict[str, Any], collector: Collector
) -> None:
    server = serve(tiny_int8, **environment(collector.address)).wait_ready()
    body = {"model": NAME, "prompt": "x", "max_tokens": 10**6}
    headers = {"traceparent": f"00-{TRACE}-not-a-parent"}
    assert server.client.post("/v1/completions", json=body, headers=headers).status_code == 400
    span = collector.named(f"text_completion {NAME}")
    assert span.trace_id.hex() != TRACE and not span.parent_span_id
    found = attributes(span)
    assert (found["error.type"], found["http.response.status_code"]) == ("context_length_exceeded", 400)
    assert [one.name for one in collector.spans] == [span.name]
    # it counts what the collector has said yes to, which is a moment after the collector has it
    until(lambda: server.metric("skerry_spans_total", outcome="sent") == 1)


def test_spans_of_the_last_answers_are_sent_before_the_end(
    serve: Serve, tiny_int8: dict[str, Any], collector: Collector
) -> None:
    late = {**environment(collector.address), "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    server = serve(tiny_int8, **late).wait_ready()
    assert server.complete().status_code == 200
    server.process.terminate()
    assert server.exit_code() == 0
    assert {span.name for span in collector.spans} == {
        f"text_completion {NAME}",
        "queue",
        "prefill",
        "decode",
    }


def test_a_collector_that_never_answers_holds_up_neither_answers_nor_the_end(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = serve(tiny_int8, **environment(f"http://127.0.0.1:{silent.getsockname()[1]}")).wait_ready()
        assert [server.complete().status_code for _ in range(20)] == [200] * 20
        silent.accept()[0].recv(1)  # it was asked
        assert server.metric("skerry_spans_total", outcome="made") == 80
        server.process.terminate()
        assert server.exit_code() == 0  # its time-out is 1000 s


def test_a_collector_that_cannot_be_reached_costs_one_line_and_a_count(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    server = serve(tiny_int8, **{**environment(address), "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"}).wait_ready()

    def lost() -> bool:
        assert server.complete().status_code == 200
        return server.metric("skerry_spans_total", outcome="lost") >= 8

    until(lost)
    assert server.log().count("takes no spans") == 1 and "Traceback" not in server.log()
    server.process.terminate()
    assert server.exit_code() == 0
