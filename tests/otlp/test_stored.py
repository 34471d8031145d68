"""What becomes of values that are odd but legal, and of those that are not: through receiver, store and reader."""

import grpc
import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def send(store, request: Message, method: str = TRACES) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{store.grpc.port}") as channel:
        return channel.unary_unary(method)(request.SerializeToString(), timeout=5)


def one_span(**fields: object) -> tuple[ExportTraceServiceRequest, Span]:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    usual = {"trace_id": b"\1" * 16, "span_id": b"\2" * 8, "name": "x"}
    return request, group.scope_spans.add().spans.add(**(usual | fields))


def stored(store, request: ExportTraceServiceRequest) -> dict:
    send(store, request)
    [row] = store.rows("traces")
    return row


def test_of_doubled_keys_all_are_kept_and_a_look_up_gives_the_first(store) -> None:
    request, span = one_span()
    for value in ("first", "second"):
        span.attributes.add(key="http.route", value=AnyValue(string_value=value))
    row = stored(store, request)
    assert row["attributes"] == [("http.route", "first"), ("http.route", "second")]
    assert row["http_route"] == "first"
    assert store.sql("select attributes['http.route'] as v from traces") == [{"v": "first"}]


def test_maps_and_arrays_are_json_text_and_bytes_are_hex(store) -> None:
    request, span = one_span()
    outer = span.attributes.add(key="map").value.kvlist_value
    outer.values.add(key="n", value=AnyValue(double_value=2.5))
    outer.values.add(key="n", value=AnyValue(double_value=3.5))
    outer.values.add(key="in").value.kvlist_value.values.add(key="b", value=AnyValue(bytes_value=b"\xff"))
    items = span.attributes.add(key="array").value.array_value.values
    for item in (
        AnyValue(string_value="a"),
        AnyValue(int_value=2**63 - 1),
        AnyValue(bool_value=True),
        AnyValue(),
    ):
        items.append(item)
    span.attributes.add(key="bytes", value=AnyValue(bytes_value=b"\x00\xff"))
    span.attributes.add(key="no bytes", value=AnyValue(bytes_value=b""))
    assert dict(stored(store, request)["attributes"]) == {
        "map": '{"n": 2.5, "in": {"b": "ff"}}',
        "array": f'["a", {2**63 - 1}, true, null]',
        "bytes": "00ff",
        "no bytes": "",
    }
    assert store.sql("select attributes['map'] ->> '$.in.b' as v from traces") == [{"v": "ff"}]


def test_an_empty_key_an_unset_value_and_nul_characters_are_kept(store) -> None:
    request, span = one_span(name="a\0b")
    span.status.message = "\0"
    span.attributes.add(key="", value=AnyValue(string_value="no key"))
    span.attributes.add(key="nul\0key", value=AnyValue(string_value="nul\0value"))
    span.attributes.add(key="unset")
    span.attributes.add(key="empty", value=AnyValue(string_value=""))
    row = stored(store, request)
    assert (row["name"], row["status_message"]) == ("a\0b", "\0")
    assert dict(row["attributes"]) == {
        "": "no key", "nul\0key": "nul\0value", "unset": None, "empty": "",
    }  # fmt: skip
    assert store.sql("select attributes[''] as v, length(name) as n from traces") == [{"v": "no key", "n": 3}]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0, (None, None)),
        (2**64 - 1, 2**64 - 1, (None, None)),
        (2**63, 5, (None, None)),
        (5, 2**64 - 1, (5, None)),
        (5, 0, (5, None)),
        (2**63 - 1, 2**63 - 1, (2**63 - 1, 0)),
        (10, 4, (10, -6)),
    ],
)
def test_times_that_are_unknown_or_too_late_are_null_and_an_end_before_the_start_is_negative(
    store, start: int, end: int, expected: tuple[int | None, int | None]
) -> None:
    request, _ = one_span(start_time_unix_nano=start, end_time_unix_nano=end)
    row = stored(store, request)
    assert (row["start_ns"], row["duration_ns"]) == expected
    assert row["start_time"] is None if expected[0] is None else row["start_time"].value == expected[0]


def test_invalid_ids_of_spans_are_rejected_and_of_logs_and_exemplars_left_out(store) -> None:
    request, _ = one_span()
    spans = request.resource_spans[0].scope_spans[0].spans
    for trace_id, span_id in (
        (b"", b"\2" * 8),
        (bytes(16), b"\2" * 8),
        (b"\1" * 8, b"\2" * 8),
        (b"\1" * 16, b""),
    ):
        spans.add(trace_id=trace_id, span_id=span_id, name="bad")
    spans.add(trace_id=b"\1" * 16, span_id=b"\3" * 8, parent_span_id=bytes(8), name="good")
    spans[-1].links.add(trace_id=b"\1", span_id=b"")
    answer = ExportTraceServiceResponse.FromString(send(store, request))
    assert answer.partial_success.rejected_spans == 4
    rows = store.rows("traces")
    assert sorted(row["name"] for row in rows) == ["good", "x"]
    [good] = [row for row in rows if row["name"] == "good"]
    assert good["parent_span_id"] is None
    assert (good["links"][0]["trace_id"], good["links"][0]["span_id"]) == ("01", "")

    logs = ExportLogsServiceRequest()
    records = logs.resource_logs.add().scope_logs.add().log_records
    for trace_id, span_id in ((bytes(16), bytes(8)), (b"\1" * 8, b"\2" * 9), (b"\1" * 16, b"\2" * 8)):
        records.add(trace_id=trace_id, span_id=span_id, time_unix_nano=1)
    send(store, logs, LOGS)
    found = sorted(str((row["trace_id"], row["span_id"])) for row in store.rows("logs"))
    assert found == [str(("01" * 16, "02" * 8)), "(None, None)", "(None, None)"]


def test_numbers_of_metrics_beyond_what_a_column_holds_are_null_and_the_rest_is_exact(store) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    points = metrics.add(name="g").gauge.data_points
    points.add(as_int=-(2**63), time_unix_nano=2**64 - 1)
    points.add(as_double=float("inf"), time_unix_nano=1)
    points.add(flags=1, time_unix_nano=2)
    histogram = metrics.add(name="h").histogram.data_points.add(count=2**64 - 1, time_unix_nano=3)
    histogram.bucket_counts.extend([2**63 - 1, 2**64 - 1])
    send(store, request, METRICS)
    rows = {row["time_ns"]: row for row in store.rows("metrics")}
    assert (rows[None]["value_int"], rows[None]["time"]) == (-(2**63), None)
    assert rows[1]["value"] == float("inf")
    assert (rows[2]["value"], rows[2]["flags"]) == (None, 1)
    assert (rows[3]["count"], rows[3]["bucket_counts"], rows[3]["sum"]) == (None, [2**63 - 1, None], None)


def test_what_a_scope_dropped_is_counted_in_every_table(store) -> None:
    traces, _ = one_span()
    traces.resource_spans[0].scope_spans[0].scope.dropped_attributes_count = 7
    logs = ExportLogsServiceRequest()
    scope = logs.resource_logs.add().scope_logs.add()
    scope.scope.dropped_attributes_count = 8
    scope.log_records.add(time_unix_nano=1)
    metrics = ExportMetricsServiceRequest()
    group = metrics.resource_metrics.add().scope_metrics.add()
    group.scope.dropped_attributes_count = 9
    group.metrics.add(name="g").gauge.data_points.add(as_int=1)
    for request, method in ((traces, TRACES), (logs, LOGS), (metrics, METRICS)):
        send(store, request, method)
    found = [
        store.rows(table)[0]["scope_dropped_attributes_count"] for table in ("traces", "logs", "metrics")
    ]
    assert found == [7, 8, 9]
