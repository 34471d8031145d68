"""The unmodified Python SDK over each of its transports: everything it can say arrives equal, through the store."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import (
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

RESOURCE = Resource(
    {
        "service.name": "shop",
        "service.namespace": "demo",
        "service.version": "1.5.0",
        "service.instance.id": "a-1",
        "deployment.environment.name": "prod",
        "vcs.ref.head.revision": "3580ae37becc820304b2746c8617e59575eb4708",
        "cpus": 4,
    }
)
SENT: dict[str, Any] = {
    "text": "h\u00e9llo \U0001f600",
    "empty": "",
    "true": True,
    "false": False,
    "int": -(2**63),
    "big": 2**53 + 1,
    "double": 0.1,
    "texts": ["a", "b"],
    "bools": [True, False],
    "ints": [1, 2**62],
    "doubles": [0.5, 1e300],
    "none left": [],
    "mixed": ["a", 1, 2.5, False, None],
    "bytes": b"\x00\xff",
    "map": {"k": [1, {"deep": "x"}], "b": b"\x01"},
}
STORED = {
    "text": "h\u00e9llo \U0001f600",
    "empty": "",
    "true": "true",
    "false": "false",
    "int": str(-(2**63)),
    "big": str(2**53 + 1),
    "double": "0.1",
    "texts": '["a", "b"]',
    "bools": "[true, false]",
    "ints": f"[1, {2**62}]",
    "doubles": "[0.5, 1e+300]",
    "none left": "[]",
    "mixed": '["a", 1, 2.5, false, null]',
    "bytes": "00ff",
    "map": '{"k": [1, {"deep": "x"}], "b": "01"}',
}
TRANSPORTS = ["grpc", "grpc gzip", "http", "http gzip"]


def exporter(store, kind: int, transport: str, **more: object) -> Any:
    """Kind 0 for spans, 1 for logs, 2 for metrics."""
    packed = "gzip" in transport
    if transport.startswith("grpc"):
        compression = grpc.Compression.Gzip if packed else grpc.Compression.NoCompression
        return (GrpcSpans, GrpcLogs, GrpcMetrics)[kind](
            endpoint=store.grpc_url, insecure=True, compression=compression, **more
        )
    path = ("traces", "logs", "metrics")[kind]
    compression = Compression.Gzip if packed else Compression.NoCompression
    return (HttpSpans, HttpLogs, HttpMetrics)[kind](
        endpoint=f"{store.http_url}/v1/{path}", compression=compression, **more
    )


def is_resource_of_test(row: dict) -> bool:
    columns = (
        "service_name",
        "service_namespace",
        "service_version",
        "service_instance_id",
        "deployment_env",
    )
    return tuple(row[name] for name in (*columns, "vcs_revision")) == (
        "shop", "demo", "1.5.0", "a-1", "prod", "3580ae37becc820304b2746c8617e59575eb4708",
    )  # fmt: skip


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_spans_with_every_type_of_attribute_events_and_links_arrive_equal(store, transport: str) -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter(store, 0, transport)))
    tracer = provider.get_tracer("lib", "2.0", "https://schema/1", {"scope": [1, 2]})
    elsewhere = SpanContext(0xAB << 96, 0xCD, is_remote=True, trace_flags=TraceFlags(1))
    with tracer.start_as_current_span(
        "POST /checkout", kind=SpanKind.SERVER, attributes=SENT, links=[Link(elsewhere, SENT)]
    ) as parent:
        parent.add_event("cache.miss", SENT, timestamp=1_700_000_000_000_000_001)
        with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT) as child:
            child.record_exception(ValueError("declined"))
            child.set_status(Status(StatusCode.ERROR, "declined"))
    provider.shutdown()
    rows = {row["name"]: row for row in store.rows("traces")}
    assert set(rows) == {"POST /checkout", "charge"}
    server, client = rows["POST /checkout"], rows["charge"]
    context = parent.get_span_context()
    assert (server["trace_id"], server["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert (server["parent_span_id"], server["kind"], server["status_code"]) == (None, 2, 0)
    assert (client["parent_span_id"], client["kind"]) == (server["span_id"], 3)
    assert (client["status_code"], client["status_message"]) == (2, "declined")
    assert (server["start_ns"], server["duration_ns"]) == (
        parent.start_time,
        parent.end_time - parent.start_time,
    )
    assert dict(server["attributes"]) == STORED
    [event] = server["events"]
    assert (event["name"], event["time"].value) == ("cache.miss", 1_700_000_000_000_000_001)
    assert dict(event["attributes"]) == STORED
    [link] = server["links"]
    assert (link["trace_id"], link["span_id"]) == (f"{0xAB << 96:032x}", f"{0xCD:016x}")
    assert (
        link["flags"] == 0x300
    )  # remote, and known to be; this SDK sends neither trace flags nor state of a link
    assert dict(link["attributes"]) == STORED
    [exception] = client["events"]
    assert dict(exception["attributes"])["exception.message"] == "declined"
    for row in rows.values():
        assert is_resource_of_test(row)
        assert (row["scope_name"], row["scope_version"], row["scope_schema_url"]) == (
            "lib",
            "2.0",
            "https://schema/1",
        )
        assert dict(row["scope_attributes"]) == {"scope": "[1, 2]"}
    assert dict(store.rows("resources")[0]["attributes"])["cpus"] == "4"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_logs_with_every_type_of_attribute_and_body_arrive_equal(store, transport: str) -> None:
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter(store, 1, transport)))
    logger = provider.get_logger("lib", "2.0")
    bodies: Sequence[Any] = ["card declined", 3, 0.1, True, ["a", 1], {"k": {"n": 1}}, b"\x00\xff", None]
    for position, body in enumerate(bodies, 1):
        logger.emit(
            LogRecord(
                timestamp=position, observed_timestamp=100 + position, body=body, attributes=SENT,
                severity_number=SeverityNumber.ERROR, severity_text="ERROR", event_name=f"event.{position}",
            )
        )  # fmt: skip
    provider.shutdown()
    rows = sorted(store.rows("logs"), key=lambda row: row["time_ns"])
    assert [row["body"] for row in rows] == [
        "card declined", "3", "0.1", "true", '["a", 1]', '{"k": {"n": 1}}', "00ff", None,
    ]  # fmt: skip
    for position, row in enumerate(rows, 1):
        assert dict(row["attributes"]) == STORED
        assert (row["time_ns"], row["observed_time"].value) == (position, 100 + position)
        assert (row["severity_number"], row["severity_text"]) == (17, "ERROR")
        assert row["event_name"] == f"event.{position}"
        assert (row["trace_id"], row["scope_name"]) == (None, "lib")
        assert is_resource_of_test(row)


DELTA = dict.fromkeys((Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_metrics_of_every_instrument_arrive_equal(store, transport: str, temporality: str) -> None:
    preferred = {"preferred_temporality": DELTA} if temporality == "delta" else {}
    reader = PeriodicExportingMetricReader(
        exporter(store, 2, transport, **preferred), export_interval_millis=3_600_000
    )
    exponential = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider(
        [reader], resource=RESOURCE, shutdown_on_exit=False, views=[exponential],
        exemplar_filter=AlwaysOnExemplarFilter(),
    )  # fmt: skip
    meter = provider.get_meter("lib", "2.0")
    observe = lambda value: lambda _: [Observation(value, {"k": "o"})]  # noqa: E731
    callback: Sequence[Any] = [observe(5)]
    meter.create_counter("checkouts", "1", "number of checkouts").add(3, {"card": "visa", "n": 1})
    meter.create_up_down_counter("open").add(-2)
    meter.create_histogram("latency", "ms").record(12.5)
    meter.create_histogram("size", "By").record(3)
    meter.create_gauge("temperature").set(21.5)
    meter.create_observable_counter("pages", callback)
    meter.create_observable_up_down_counter("queue", callback)
    meter.create_observable_gauge("load", callback)
    provider.force_flush()
    rows = {row["name"]: row for row in store.rows("metrics")}
    provider.shutdown()
    assert {name: (row["kind"], row["temporality"], row["is_monotonic"]) for name, row in rows.items()} == {
        "checkouts": ("sum", temporality, True),
        "open": ("sum", "cumulative", False),
        "latency": ("histogram", temporality, None),
        "size": ("exponential_histogram", temporality, None),
        "temperature": ("gauge", None, None),
        "pages": ("sum", temporality, True),
        "queue": ("sum", "cumulative", False),
        "load": ("gauge", None, None),
    }
    values = {
        name: (row["value"], row["value_int"]) for name, row in rows.items() if row["value"] is not None
    }
    assert values == {
        "checkouts": (3.0, 3), "open": (-2.0, -2), "temperature": (21.5, None),
        "pages": (5.0, 5), "queue": (5.0, 5), "load": (5.0, 5),
    }  # fmt: skip
    checkouts, latency, size = rows["checkouts"], rows["latency"], rows["size"]
    assert (checkouts["unit"], checkouts["description"]) == ("1", "number of checkouts")
    assert dict(checkouts["attributes"]) == {"card": "visa", "n": "1"}
    [exemplar] = checkouts["exemplars"]
    assert (exemplar["value_int"], exemplar["value"]) == (3, 3.0)
    assert [latency[name] for name in ("count", "sum", "min", "max")] == [1, 12.5, 12.5, 12.5]
    assert sum(latency["bucket_counts"]) == 1
    assert len(latency["bucket_counts"]) == len(latency["explicit_bounds"]) + 1
    assert latency["bucket_counts"].index(1) == sum(bound < 12.5 for bound in latency["explicit_bounds"])
    assert [size[name] for name in ("count", "sum", "zero_count")] == [1, 3.0, 0]
    assert sum(size["positive_bucket_counts"]) == 1
    base = 2 ** (2 ** -size["scale"])
    index = size["positive_offset"] + size["positive_bucket_counts"].index(1)
    assert base**index < 3 <= base ** (index + 1) * (1 + 1e-9)
    for row in rows.values():
        assert row["time_ns"] > 0
        assert row["scope_name"] == "lib"
        assert is_resource_of_test(row)
