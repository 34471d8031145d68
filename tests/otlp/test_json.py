"""OTLP/JSON: what the specification says differs from protobuf's own JSON, and the capture of a real Collector."""

import base64
import gzip
import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from obsvty.errors import OtlpError
from obsvty.otlp.descriptors import request_class
from obsvty.otlp.json import TOP_KEYS, json_to_request, load_object, signals_of


def span_of(**fields: object):
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}).encode()
    request = ExportTraceServiceRequest.FromString(json_to_request("traces", body))
    return request.resource_spans[0].scope_spans[0].spans[0]


def value_of(**value: object) -> AnyValue:
    return span_of(attributes=[{"key": "k", "value": value}]).attributes[0].value


def test_ids_are_hex_in_either_case_and_other_bytes_are_base64() -> None:
    span = span_of(traceId="5B8EFFF798038103D269B633813FC60C", spanId="eee19b7ec3c1b174", parentSpanId="")
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert (span.span_id.hex(), span.parent_span_id) == ("eee19b7ec3c1b174", b"")
    assert value_of(bytesValue=base64.b64encode(b"\x00\xff\xfe").decode()).bytes_value == b"\x00\xff\xfe"
    assert value_of(bytesValue="AP_-").bytes_value == b"\x00\xff\xfe"
    link = span_of(links=[{"traceId": "01" * 16, "spanId": "02" * 8}]).links[0]
    assert (link.trace_id, link.span_id) == (b"\1" * 16, b"\2" * 8)


def test_enums_are_numbers_or_names_and_big_integers_text_or_numbers() -> None:
    assert (span_of(kind=2).kind, span_of(kind="SPAN_KIND_SERVER").kind) == (2, 2)
    assert span_of(status={"code": "STATUS_CODE_ERROR"}).status.code == 2
    assert span_of(startTimeUnixNano="1544712660000000001").start_time_unix_nano == 1544712660000000001
    assert span_of(startTimeUnixNano=1544712660000000001).start_time_unix_nano == 1544712660000000001
    assert (
        value_of(intValue="-9").int_value,
        value_of(intValue=-9).int_value,
        value_of(intValue=3.0).int_value,
    ) == (-9, -9, 3)


def test_doubles_may_be_the_three_names() -> None:
    assert value_of(doubleValue="NaN").double_value != value_of(doubleValue="NaN").double_value
    assert value_of(doubleValue="-Infinity").double_value == float("-inf")
    assert value_of(doubleValue=5).double_value == 5.0


def test_unknown_fields_null_and_snake_case_names_are_ignored() -> None:
    span = span_of(name="x", shoeSize=43, kind=None, trace_state="a=b", statusz=[{}])
    assert (span.name, span.kind, span.trace_state) == ("x", 0, "")
    assert value_of(stringValueStrindex=3).WhichOneof("value") is None


def test_an_empty_value_object_is_there_and_a_missing_one_is_not() -> None:
    attributes = span_of(
        attributes=[{"key": "a", "value": {"arrayValue": {}}}, {"key": "b", "value": {}}, {"key": "c"}]
    ).attributes
    assert [a.value.WhichOneof("value") for a in attributes] == ["array_value", None, None]
    assert [a.HasField("value") for a in attributes] == [True, True, False]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": 5}, {"traceId": "xyz"}, {"traceId": 7}, {"kind": "SPAN_KIND_NOISE"}, {"kind": 1.5}, {"kind": True},
        {"startTimeUnixNano": -1}, {"startTimeUnixNano": "1_0"}, {"startTimeUnixNano": str(2**64)}, {"flags": 2**32},
        {"attributes": {}}, {"attributes": [5]}, {"status": []},
        {"attributes": [{"key": "k", "value": {"boolValue": 1}}]},
        {"attributes": [{"key": "k", "value": {"doubleValue": "x"}}]},
        {"attributes": [{"key": "k", "value": {"bytesValue": "?"}}]},
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_by_field_name_without_the_value(fields: dict) -> None:
    with pytest.raises(OtlpError, match=r"(wrong kind|must be a JSON)") as raised:
        span_of(**fields)
    assert "NOISE" not in str(raised.value)
    assert raised.value.hint


def test_nesting_is_bounded_where_protobuf_bounds_it() -> None:
    def nested(depth: int) -> dict:
        value: dict = {"stringValue": "x"}
        for _ in range(depth):
            value = {"arrayValue": {"values": [value]}}
        return value

    assert value_of(**nested(40)).WhichOneof("value") == "array_value"
    with pytest.raises(OtlpError, match="nested too deeply"):
        value_of(**nested(60))
    with pytest.raises(OtlpError):
        json_to_request("traces", b'{"resourceSpans":' + b"[" * 5000 + b"]" * 5000 + b"}")


@pytest.mark.parametrize(
    ("body", "place"), [(b"", "line 1"), (b'{\n"a": }', "line 2, column"), (b"\xff", "line 1")]
)
def test_text_that_is_not_json_is_refused_with_its_place(body: bytes, place: str) -> None:
    with pytest.raises(OtlpError, match=place):
        json_to_request("traces", body)


def test_the_capture_becomes_what_protobufs_own_json_makes_of_it(capture: Path) -> None:
    checked = 0
    for line in gzip.decompress(capture.read_bytes()).splitlines():
        [signal] = signals_of(load_object(line))
        oracle = json_format.Parse(_ids_as_base64(line), request_class(signal)())
        assert request_class(signal).FromString(json_to_request(signal, line)) == oracle
        checked += 1
    assert checked == 133


def _ids_as_base64(line: bytes) -> str:
    def walk(value: object) -> object:
        if isinstance(value, dict):
            ids = ("traceId", "spanId", "parentSpanId")
            return {
                k: base64.b64encode(bytes.fromhex(v)).decode() if k in ids else walk(v)
                for k, v in value.items()
            }
        return [walk(item) for item in value] if isinstance(value, list) else value

    return json.dumps(walk(json.loads(line)))


@settings(max_examples=60, deadline=None)
@given(
    number=st.floats(allow_nan=False),
    counts=st.lists(st.integers(0, 2**64 - 1), max_size=4),
    scale=st.integers(-(2**31), 2**31 - 1),
)
def test_numbers_survive_whatever_their_size(number: float, counts: list[int], scale: int) -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    point = metric.exponential_histogram.data_points.add(sum=number, scale=scale)
    point.positive.bucket_counts.extend(counts)
    body = json_format.MessageToJson(request).encode()
    assert ExportMetricsServiceRequest.FromString(json_to_request("metrics", body)) == request


def test_an_object_says_its_signals() -> None:
    assert [signals_of({key: []}) for key in TOP_KEYS] == [["traces"], ["logs"], ["metrics"]]
    assert signals_of({"other": 1}) == []
