"""Realistic OTLP requests, generated: 12 attributes and 1.5 events a span, 3 % errors with a stack.

8 resource attributes; about 610 bytes a span on the wire. The same seed gives the same bytes.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

START_NS = 1_790_000_000_000_000_000
HOUR_NS = 3_600_000_000_000
SERVICES = ("checkout", "cart", "payment", "catalog", "frontend", "auth", "shipping", "email")
ROUTES = (
    "/api/v1/orders/{id}",
    "/api/v1/cart",
    "/api/v1/products/{sku}",
    "/login",
    "/health",
    "/api/v1/pay",
    "/api/v1/ship",
    "/api/v1/users/{id}",
)
METHODS = ("GET", "POST", "PUT")
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "python-requests/2.32",
    "okhttp/4.12.0",
    "curl/8.9.1",
)
_FRAMES = enumerate(("main", "router", "orders", "db", "pool", "client"))
STACK = (
    "Traceback (most recent call last):\n"
    + "".join(
        f'  File "/srv/app/{module}.py", line {i * 17 + 3}, in {module}_handler\n'
        f"    result = await self.{module}(request, timeout=30)\n"
        for i, module in _FRAMES
    )
    + "psycopg.OperationalError: connection timeout\n"
)
_BOUNDS = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500)


def requests(signal: str, count: int, items: int, *, seed: int = 1, start_ns: int = START_NS) -> list[bytes]:
    """`count` serialized requests of `items` spans, log records or metric points each, within an hour of `start_ns`."""
    make = {"traces": _traces, "logs": _logs, "metrics": _metrics}[signal]
    rng = random.Random(seed)
    return [make(rng, items, start_ns) for _ in range(count)]


# ids of spans and links, ids of log records, times of metric points, as they stand in the bytes
_IDS = {
    "traces": re.compile(rb"\x0a\x10(.{16})\x12\x08(.{8})(?:\x22\x08(.{8}))?", re.DOTALL),
    "logs": re.compile(rb"\x4a\x10(.{16})\x52\x08(.{8})", re.DOTALL),
    "metrics": re.compile(rb"\x11.{8}\x19(.{3})", re.DOTALL),
}


class Renumbered:
    """Requests without end: the same ones in turn, with other ids (times, of metric points) in each.

    A store may keep a request that comes twice only once, and equal ids would compress better than real ones. Changing
    them costs 0.13 us a span, making a new request 20.
    """

    def __init__(self, signal: str, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies
        self._places = [_places(_IDS[signal], body) for body in bodies]

    def __len__(self) -> int:
        return len(self._bodies)

    def request(self, number: int) -> bytes:
        """Request `number`; the first `len` are as they were made."""
        index, turn = number % len(self._bodies), number // len(self._bodies)
        content = np.frombuffer(self._bodies[index], np.uint8).copy()
        mask = np.frombuffer(random.Random(turn).randbytes(8) if turn else bytes(8), np.uint8)
        places, phase = self._places[index]
        content[places] ^= mask[phase]
        return content.tobytes()


def _places(pattern: re.Pattern[bytes], body: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the bytes to change, and which byte of the mask changes each: one id stays one id."""
    spans = [match.span(i) for match in pattern.finditer(body) for i in range(1, pattern.groups + 1)]
    places = [np.arange(low, high) for low, high in spans if low >= 0]
    phases = [np.arange(len(place)) % 8 for place in places]
    return np.concatenate(places), np.concatenate(phases)


def _put(attributes: list[KeyValue], values: Mapping[str, str | bool | float]) -> None:
    for key, value in values.items():
        entry = attributes.add()
        entry.key = key
        if isinstance(value, bool):
            entry.value.bool_value = value
        elif isinstance(value, int):
            entry.value.int_value = value
        elif isinstance(value, float):
            entry.value.double_value = value
        else:
            entry.value.string_value = value


def _resource(resource: Resource, rng: random.Random) -> None:
    _put(
        resource.attributes,
        {
            "service.name": rng.choice(SERVICES),
            "service.version": f"1.{rng.randrange(5)}.{rng.randrange(9)}",
            "service.namespace": "shop",
            "deployment.environment.name": "prod",
            "host.name": f"ip-10-0-{rng.randrange(4)}-{rng.randrange(250)}",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": "1.45.2",
            "vcs.ref.head.revision": f"{rng.getrandbits(160):040x}",
        },
    )


def _traces(rng: random.Random, items: int, start_ns: int) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    _resource(group.resource, rng)
    scope = group.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.fastapi"
    scope.scope.version = "0.66b2"
    trace_id = root_id = b""
    for i in range(items):
        span = scope.spans.add()
        span.span_id = rng.randbytes(8)
        if i % 8 == 0:
            trace_id, root_id = rng.randbytes(16), span.span_id
        else:
            span.parent_span_id = root_id
        span.trace_id = trace_id
        _span(span, rng, start_ns + rng.randrange(HOUR_NS))
        if i % 2 == 0:
            _event(
                span, 2_000, "db.pool.acquire", {"pool.wait_ms": rng.randrange(100), "pool.name": "primary"}
            )
        if i % 16 == 0:
            link = span.links.add()
            link.trace_id, link.span_id = rng.randbytes(16), rng.randbytes(8)
            _put(link.attributes, {"link.kind": "follows"})
    return request.SerializeToString()


def _span(span: Span, rng: random.Random, start_ns: int) -> None:
    route, method = rng.choice(ROUTES), rng.choice(METHODS)
    failed = rng.random() < 0.03
    span.name = f"{method} {route}"
    span.kind = rng.choice((1, 2, 3))
    span.flags = 0x101
    span.start_time_unix_nano = start_ns
    span.end_time_unix_nano = start_ns + int(rng.lognormvariate(16.5, 1.2))
    path = route.replace("{id}", str(rng.randrange(100_000))).replace(
        "{sku}", f"SKU-{rng.randrange(5000):06d}"
    )
    _put(
        span.attributes,
        {
            "http.request.method": method,
            "http.route": route,
            "url.path": path,
            "http.response.status_code": 500 if failed else rng.choice((200, 200, 200, 201, 204, 404)),
            "server.address": "shop.internal",
            "server.port": 8080,
            "user_agent.original": rng.choice(AGENTS),
            "network.protocol.version": "1.1",
            "client.address": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
            "enduser.id": f"user-{rng.randrange(50_000)}",
            "app.cart.total": rng.random() * 500,
            "app.cache.hit": rng.random() < 0.6,
        },
    )
    if failed:
        span.status.code = 2
        span.status.message = "connection timeout"
        _event(
            span,
            span.end_time_unix_nano - start_ns,
            "exception",
            {
                "exception.type": "psycopg.OperationalError",
                "exception.message": f"connection timeout after {rng.randrange(30)}s",
                "exception.stacktrace": STACK,
            },
        )
    _event(span, 1_000, "cache.lookup", {"cache.key": f"k:{rng.randrange(10_000)}", "cache.hit": True})


def _event(span: Span, after_ns: int, name: str, attributes: Mapping[str, str | bool | float]) -> None:
    event = span.events.add()
    event.name = name
    event.time_unix_nano = span.start_time_unix_nano + after_ns
    _put(event.attributes, attributes)


def _logs(rng: random.Random, items: int, start_ns: int) -> bytes:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    _resource(group.resource, rng)
    scope = group.scope_logs.add()
    scope.scope.name = "app.logger"
    for _ in range(items):
        record = scope.log_records.add()
        record.time_unix_nano = start_ns + rng.randrange(HOUR_NS)
        record.observed_time_unix_nano = record.time_unix_nano + 500
        record.severity_number = rng.choice((9, 9, 9, 13, 17))
        record.severity_text = "INFO"
        user = f"user-{rng.randrange(50_000)}"
        record.body.string_value = (
            f"order {rng.randrange(10**6)} processed for user {user} in {rng.randrange(900)} ms"
        )
        record.trace_id, record.span_id = rng.randbytes(16), rng.randbytes(8)
        record.flags = 1
        _put(
            record.attributes,
            {
                "code.file.path": "/srv/app/orders.py",
                "code.line.number": rng.randrange(400),
                "code.function.name": "process",
                "thread.name": "MainThread",
                "enduser.id": user,
            },
        )
    return request.SerializeToString()


def _metrics(rng: random.Random, items: int, start_ns: int) -> bytes:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    _resource(group.resource, rng)
    scope = group.scope_metrics.add()
    scope.scope.name = "app.meter"
    for first in range(0, items, 16):
        metric = scope.metrics.add()
        _metric(metric, rng, min(16, items - first), start_ns)
    return request.SerializeToString()


def _metric(metric: Metric, rng: random.Random, points: int, start_ns: int) -> None:
    kind = rng.choice(("gauge", "sum", "histogram"))
    metric.name = f"http.server.{kind}.{rng.randrange(20)}"
    metric.unit = "ms"
    data = getattr(metric, kind)
    if kind != "gauge":
        data.aggregation_temporality = 2
    if kind == "sum":
        data.is_monotonic = True
    for _ in range(points):
        point = data.data_points.add()
        if kind == "gauge":
            point.as_double = rng.random()
        elif kind == "sum":
            point.as_int = rng.randrange(10**9)
        else:
            point.count, point.sum, point.min, point.max = 100, 1234.5, 0.1, 99
            point.bucket_counts.extend(rng.randrange(50) for _ in range(len(_BOUNDS) + 1))
            point.explicit_bounds.extend(_BOUNDS)
        point.start_time_unix_nano = start_ns
        point.time_unix_nano = start_ns + rng.randrange(HOUR_NS)
        _put(
            point.attributes,
            {
                "http.route": rng.choice(ROUTES),
                "http.response.status_code": 200,
                "server.address": "shop.internal",
            },
        )
