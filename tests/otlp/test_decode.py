"""The fast decoder: edge cases by hand, and equality with the plain one for any request."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ptars
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from obsvty.errors import OtlpError
from obsvty.model import Signal
from obsvty.otlp import decode_slow
from obsvty.otlp.decode import decode, decode_fast, decode_with
from obsvty.otlp.descriptors import LEFT_OUT, request_class
from obsvty.otlp.files import read_requests
from obsvty.store.schema import SIGNALS, TABLES

NAMES = [
    "http.request.method", "http.method", "http.route", "http.response.status_code", "http.status_code", "url.full",
    "http.url", "url.path", "http.target", "server.address", "server.port", "http.host", "net.peer.name",
    "net.peer.port", "net.host.name", "net.host.port", "db.system", "db.query.text", "code.filepath", "code.lineno",
    "code.line.number", "code.function", "code.namespace", "service.name", "service.version",
    "deployment.environment", "vcs.ref.head.revision", "git.commit.sha", "", "x",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["http://a.b:80/c?d", "https://u:p@h/x#y", "/p/q?r", "200", "0007", "12345678901", "", "3580ae3"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
IDS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
SIZES = {
    "resource_spans": 2, "resource_logs": 2, "resource_metrics": 2,
    "scope_spans": 2, "scope_logs": 2, "scope_metrics": 2, "spans": 3, "log_records": 3, "metrics": 3, "attributes": 5,
}  # fmt: skip


def fill(draw: st.DrawFn, message: Message, depth: int = 0) -> None:
    """Any value that the message's descriptor allows, whatever its fields are."""
    taken: set[str] = set()
    for field in message.DESCRIPTOR.fields:
        if f"{message.DESCRIPTOR.name}.{field.name}" in LEFT_OUT or depth > 9:
            continue
        if field.containing_oneof is not None:
            if field.containing_oneof.name in taken or not draw(st.booleans()):
                continue
            taken.add(field.containing_oneof.name)
        elif field.name not in SIZES and field.name not in ("key", "value") and not draw(st.booleans()):
            continue
        if field.message_type is not None:
            below = depth + (3 if message.DESCRIPTOR.name in ("ArrayValue", "KeyValueList") else 0)
            if field.is_repeated:
                for _ in range(draw(st.integers(0, SIZES.get(field.name, 2)))):
                    fill(draw, getattr(message, field.name).add(), below)
            else:
                getattr(message, field.name).SetInParent()
                fill(draw, getattr(message, field.name), below)
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalar(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalar(field)))


def scalar(field) -> st.SearchStrategy:
    if field.name in IDS:
        return st.one_of(
            st.sampled_from([b"", bytes(IDS[field.name])]), st.binary(min_size=IDS[field.name], max_size=16)
        )
    if field.name == "key":
        return st.sampled_from(NAMES)
    if field.enum_type is not None:
        return st.one_of(st.integers(0, 5), st.sampled_from([-1, 127, 128, 300]))
    if field.type == field.TYPE_BYTES:
        return st.binary(max_size=4)
    if field.type == field.TYPE_STRING:
        return TEXTS
    if field.type == field.TYPE_BOOL:
        return st.booleans()
    if field.type == field.TYPE_DOUBLE:
        return st.floats(allow_nan=field.containing_type.name == "AnyValue")
    bits = 64 if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    unsigned = field.cpp_type in (field.CPPTYPE_UINT64, field.CPPTYPE_UINT32)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.one_of(st.sampled_from([0, 1, low, high]), st.integers(low, high))


@st.composite
def requests(draw: st.DrawFn, signal: Signal) -> bytes:
    message = request_class(signal)()
    fill(draw, message)
    return message.SerializeToString()


@pytest.mark.parametrize("signal", SIGNALS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_fast_and_plain_decoders_agree_on_any_request(signal: Signal, data: st.DataObject) -> None:
    bodies = data.draw(st.lists(requests(signal), min_size=1, max_size=2))
    fast, plain = decode(signal, bodies), decode_slow.decode(signal, bodies)
    for name in (signal, "resources"):
        fast[name].validate(full=True)
        assert fast[name].schema.equals(TABLES[name])
        assert fast[name].to_pylist() == plain[name].to_pylist()


def test_fast_and_plain_decoders_agree_on_the_whole_capture(capture: Path) -> None:
    bodies: dict[Signal, list[bytes]] = {signal: [] for signal in SIGNALS}
    for signal, body in read_requests(capture):
        bodies[signal].append(body)
    rows = {}
    for signal in SIGNALS:
        fast, plain = decode(signal, bodies[signal]), decode_slow.decode(signal, bodies[signal])
        assert fast[signal].equals(plain[signal])
        assert fast["resources"].equals(plain["resources"])
        rows[signal] = fast[signal].num_rows
    assert rows == {"traces": 2637, "logs": 266, "metrics": 4517}


def one_span(**fields: object) -> tuple[ExportTraceServiceRequest, Span]:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(**fields)
    return request, span


def row(signal: Signal, request: Message) -> dict:
    tables = decode(signal, [request.SerializeToString()])
    assert tables[signal].equals(decode_slow.decode(signal, [request.SerializeToString()])[signal])
    return tables[signal].to_pylist()[0]


def test_every_kind_of_attribute_value_becomes_its_text() -> None:
    request, span = one_span(name="x")
    add = lambda key, **value: span.attributes.add(key=key, value=AnyValue(**value))  # noqa: E731
    add("text", string_value="x")
    add("empty", string_value="")
    add("true", bool_value=True)
    add("false", bool_value=False)
    add("zero", int_value=0)
    add("min", int_value=-(2**63))
    add("double", double_value=1.5)
    add("huge", double_value=1e300)
    add("nan", double_value=math.nan)
    add("inf", double_value=-math.inf)
    add("bytes", bytes_value=b"\x00\xff")
    nested = span.attributes.add(key="array").value.array_value
    nested.values.add(string_value="a")
    nested.values.add(int_value=3)
    nested.values.add().kvlist_value.values.add(key="k", value=AnyValue(bool_value=True))
    nested.values.add()
    twice = span.attributes.add(key="map").value.kvlist_value
    twice.values.add(key="n", value=AnyValue(double_value=2.5))
    twice.values.add(key="n", value=AnyValue(double_value=3.5))
    span.attributes.add(key="none").value.array_value.SetInParent()
    span.attributes.add(key="unset")
    span.attributes.add(key="", value=AnyValue(string_value="h\u00e9\0\U0001f600"))
    assert dict(row("traces", request)["attributes"]) == {
        "text": "x", "empty": "", "true": "true", "false": "false", "zero": "0", "min": str(-(2**63)),
        "double": "1.5", "huge": "1e+300", "nan": "NaN", "inf": "-Infinity", "bytes": "00ff",
        "array": '["a", 3, {"k": true}, null]', "map": '{"n": 2.5}', "none": "[]", "unset": None,
        "": "h\u00e9\0\U0001f600",
    }  # fmt: skip


def test_times_beyond_timestamp_ns_are_null_and_so_is_the_duration() -> None:
    request, _ = one_span(start_time_unix_nano=2**64 - 1, end_time_unix_nano=0)
    found = row("traces", request)
    assert (found["start_time"], found["start_ns"], found["duration_ns"]) == (None, None, None)
    request, _ = one_span(start_time_unix_nano=5, end_time_unix_nano=2**63)
    assert (row("traces", request)["start_ns"], row("traces", request)["duration_ns"]) == (5, None)
    request, _ = one_span(start_time_unix_nano=5, end_time_unix_nano=2**63 - 1)
    assert row("traces", request)["duration_ns"] == 2**63 - 6


@pytest.mark.parametrize("parent", [b"", bytes(8)])
def test_a_root_has_no_parent(parent: bytes) -> None:
    request, _ = one_span(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, parent_span_id=parent)
    found = row("traces", request)
    assert (found["trace_id"], found["span_id"], found["parent_span_id"]) == ("ab" * 16, "cd" * 8, None)


def test_a_span_without_resource_scope_and_status_is_a_row() -> None:
    found = row("traces", one_span()[0])
    assert (found["service_name"], found["scope_name"], found["status_code"], found["status_message"]) == (
        None, None, 0, "",
    )  # fmt: skip
    assert found["scope_attributes"] == []


def test_events_and_links_keep_all_their_fields() -> None:
    request, span = one_span(
        dropped_attributes_count=1, dropped_events_count=2, dropped_links_count=3, flags=0x301
    )
    span.events.add(time_unix_nano=7, name="e", dropped_attributes_count=4)
    link = span.links.add(
        trace_id=b"\1" * 16, span_id=b"\2" * 8, trace_state="a=b", flags=5, dropped_attributes_count=6
    )
    link.attributes.add(key="k", value=AnyValue(int_value=1))
    found = row("traces", request)
    assert [found[f"dropped_{x}_count"] for x in ("attributes", "events", "links")] == [1, 2, 3]
    assert found["flags"] == 0x301
    assert found["events"][0]["name"] == "e"
    assert found["events"][0]["time"].value == 7
    assert found["events"][0]["dropped_attributes_count"] == 4
    assert found["links"] == [
        {
            "trace_id": "01" * 16, "span_id": "02" * 8, "trace_state": "a=b", "attributes": [("k", "1")],
            "flags": 5, "dropped_attributes_count": 6,
        }
    ]  # fmt: skip


def test_a_log_takes_its_observed_time_and_any_body() -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(observed_time_unix_nano=9)
    record.body.kvlist_value.values.add(key="a", value=AnyValue(int_value=1))
    found = row("logs", request)
    assert (found["time_ns"], found["body"], found["trace_id"], found["span_id"]) == (
        9,
        '{"a": 1}',
        None,
        None,
    )
    record.body.int_value = 5
    assert row("logs", request)["body"] == "5"
    record.ClearField("body")
    record.time_unix_nano = 4
    record.trace_id = bytes(16)
    found = row("logs", request)
    assert (found["body"], found["time_ns"], found["observed_time"].value, found["trace_id"]) == (
        None,
        4,
        9,
        None,
    )


def test_each_kind_of_metric_fills_its_own_columns() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="g").gauge.data_points.add(as_int=2**62 + 1)
    total = metrics.add(name="s", unit="By", description="d").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    total.data_points.add(as_double=0.5)
    total.data_points.add(flags=1)
    histogram = metrics.add(name="h").histogram
    histogram.aggregation_temporality = 1
    point = histogram.data_points.add(count=3, sum=6, bucket_counts=[1, 2], explicit_bounds=[5])
    point.exemplars.add(as_int=7, time_unix_nano=1, trace_id=b"\1" * 16)
    exponential = metrics.add(name="e").exponential_histogram.data_points.add(
        scale=-1, zero_count=2, zero_threshold=0.1
    )
    exponential.positive.offset = -3
    exponential.positive.bucket_counts.extend([1, 0, 4])
    metrics.add(name="q").summary.data_points.add(count=1, sum=2).quantile_values.add(quantile=0.5, value=2)
    body = request.SerializeToString()
    table = decode("metrics", [body])["metrics"]
    assert table.equals(decode_slow.decode("metrics", [body])["metrics"])
    g, s, gap, h, e, q = table.to_pylist()
    assert (g["kind"], g["value_int"], g["temporality"], g["is_monotonic"]) == (
        "gauge",
        2**62 + 1,
        None,
        None,
    )
    assert (s["value"], s["value_int"], s["temporality"], s["is_monotonic"], s["unit"]) == (
        0.5,
        None,
        "cumulative",
        True,
        "By",
    )
    assert (gap["value"], gap["flags"]) == (None, 1)
    assert (h["count"], h["sum"], h["min"], h["bucket_counts"], h["explicit_bounds"]) == (
        3,
        6.0,
        None,
        [1, 2],
        [5.0],
    )
    assert (h["exemplars"][0]["value_int"], h["exemplars"][0]["trace_id"], h["exemplars"][0]["span_id"]) == (
        7,
        "01" * 16,
        None,
    )
    assert (e["positive_offset"], e["positive_bucket_counts"], e["negative_offset"]) == (-3, [1, 0, 4], None)
    assert (e["scale"], e["zero_count"], e["zero_threshold"]) == (-1, 2, 0.1)
    assert q["quantile_values"] == [{"quantile": 0.5, "value": 2.0}]


def test_a_resource_is_listed_once_and_its_id_does_not_depend_on_order() -> None:
    request = ExportTraceServiceRequest()
    for keys in (("a", "b"), ("b", "a"), ("a",)):
        group = request.resource_spans.add()
        for key in keys:
            group.resource.attributes.add(key=key, value=AnyValue(string_value="1"))
        group.scope_spans.add().spans.add()
    tables = decode("traces", [request.SerializeToString()])
    first, second, other = tables["traces"]["resource_id"].to_pylist()
    assert first == second != other
    assert len(first) == 16
    assert tables["resources"]["resource_id"].to_pylist() == [first, other]


@pytest.mark.parametrize("signal", SIGNALS)
def test_an_empty_request_has_no_rows(signal: Signal) -> None:
    assert decode(signal, [b"", b""])[signal].num_rows == 0
    assert decode(signal, [])[signal].schema.equals(TABLES[signal])


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("bad", [b"\xff", b"no otlp", b"\n\x05\n\x03\n"])
def test_bytes_that_are_not_otlp_are_refused_and_the_message_says_which(signal: Signal, bad: bytes) -> None:
    with pytest.raises(OtlpError, match=f"not an OTLP {signal} request"):
        decode(signal, [bad])
    with pytest.raises(OtlpError, match="Request 2 of 3"):
        decode(signal, [b"", bad, b""])


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(OtlpError):
        decode("traces", [one_span(name="abcd")[0].SerializeToString().replace(b"abcd", b"ab\xff\xfe")])


def test_values_nested_as_deep_as_protobuf_allows_are_kept() -> None:
    request, span = one_span(name="deep")
    value = span.attributes.add(key="k").value
    for _ in range(40):
        value = value.array_value.values.add()
    value.string_value = "bottom"
    assert row("traces", request)["attributes"][0][1] == "[" * 40 + '"bottom"' + "]" * 40


def test_what_the_fast_decoder_panics_on_the_plain_one_decodes() -> None:
    # ptars 0.0.25 really panics on a proto map whose entry has no value
    file = descriptor_pb2.FileDescriptorProto(name="panic.proto", package="panic", syntax="proto3")
    message = file.message_type.add(name="Request")
    message.field.add(name="entries", number=1, type=11, label=3, type_name=".panic.Request.EntriesEntry")
    entry = message.nested_type.add(name="EntriesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".panic.Value")
    file.message_type.add(name="Value").field.add(name="x", number=1, type=9, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("panic.Request")
    handler = ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)
    calls: list[int] = []

    def panicking(signal: Signal, bodies: Sequence[bytes]) -> dict[str, pa.Table]:
        if len(bodies) == 2 or b"good" not in bodies[0]:
            calls.append(len(bodies))
            handler.list_to_record_batch([b"\n\x03\n\x01k"])
        return decode_fast(signal, bodies)

    good, other = (one_span(name=name)[0].SerializeToString() for name in ("good", "other"))
    tables = decode_with(panicking, "traces", [good, other])
    assert tables["traces"]["name"].to_pylist() == ["good", "other"]
    assert tables["resources"].num_rows == 1
    assert calls == [2, 1]


def test_many_threads_may_decode_at_once() -> None:
    bodies = [one_span(name=str(i), trace_id=b"\1" * 16)[0].SerializeToString() for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: decode("traces", [body])["traces"]["name"][0].as_py(), bodies))
    assert found == [str(i) for i in range(64)]
