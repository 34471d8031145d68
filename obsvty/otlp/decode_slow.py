"""The plain way: upb objects and Python loops, one dictionary a row. 12 times slower than `decode`, and independent.

It decides when ptars refuses or panics on a request, and it is the oracle that tests hold `decode` against:
it shares the tables of names in `normalize` with the fast way, but none of its steps.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias, cast

import pyarrow as pa

from obsvty.errors import OtlpError
from obsvty.otlp import normalize
from obsvty.otlp.descriptors import request_class
from obsvty.otlp.resources import resource_id
from obsvty.otlp.values import array_text, finite_or_name, kvlist_text
from obsvty.store.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
    from opentelemetry.proto.metrics.v1.metrics_pb2 import (
        Exemplar,
        ExponentialHistogramDataPoint,
        HistogramDataPoint,
        Metric,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        SummaryDataPoint,
    )
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

    from obsvty.model import Signal

    Point: TypeAlias = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint

Row: TypeAlias = "dict[str, object]"
Pairs: TypeAlias = "list[tuple[str, str | None]]"
_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_PATH = re.compile(r"/[^?#]*")


def decode(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
    """As `obsvty.otlp.decode.decode`, row by row.

    Raises:
        OtlpError: a request is not OTLP.
    """
    from google.protobuf.message import DecodeError

    rows: list[Row] = []
    resources: dict[str, Row] = {}
    for request in requests:
        try:
            message = request_class(signal).FromString(request)
        except DecodeError as exc:
            raise OtlpError(
                f"These bytes are not an OTLP {signal} request.", hint="Send an Export...ServiceRequest."
            ) from exc
        if signal == "traces":
            rows.extend(_spans(cast("ExportTraceServiceRequest", message), resources))
        elif signal == "logs":
            rows.extend(_logs(cast("ExportLogsServiceRequest", message), resources))
        else:
            rows.extend(_points(cast("ExportMetricsServiceRequest", message), resources))
    if signal == "metrics":
        rows.sort(key=lambda row: _KINDS.index(cast("str", row["kind"])))
    return {
        signal: _table(signal, rows),
        "resources": _table("resources", list(resources.values())),
    }


def _table(name: str, rows: list[Row]) -> pa.Table:
    schema = TABLES[name]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _spans(request: ExportTraceServiceRequest, resources: dict[str, Row]) -> Iterator[Row]:
    for group in request.resource_spans:
        outer = _resource(group, resources)
        for scope in group.scope_spans:
            columns = outer | _scope(scope)
            for span in scope.spans:
                yield columns | _span(span)


def _span(span: Span) -> Row:
    pairs = _pairs(span.attributes)
    start, end = _time(span.start_time_unix_nano), _time(span.end_time_unix_nano)
    kind = span.kind if 0 <= span.kind <= 127 else 0
    return _promoted(_first(pairs), kind) | {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": _optional_id(span.parent_span_id, 8),
        "trace_state": span.trace_state or None,
        "name": span.name,
        "kind": kind,
        "start_time": start,
        "start_ns": start,
        "duration_ns": None if start is None or end is None else end - start,
        "status_code": span.status.code if 0 <= span.status.code <= 127 else 0,
        "status_message": span.status.message,
        "attributes": pairs,
        "events": [
            {
                "time": _time(event.time_unix_nano),
                "name": event.name,
                "attributes": _pairs(event.attributes),
                "dropped_attributes_count": event.dropped_attributes_count,
            }
            for event in span.events
        ],
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "trace_state": link.trace_state or None,
                "attributes": _pairs(link.attributes),
                "flags": link.flags,
                "dropped_attributes_count": link.dropped_attributes_count,
            }
            for link in span.links
        ],
        "flags": span.flags,
        "dropped_attributes_count": span.dropped_attributes_count,
        "dropped_events_count": span.dropped_events_count,
        "dropped_links_count": span.dropped_links_count,
    }


def _logs(request: ExportLogsServiceRequest, resources: dict[str, Row]) -> Iterator[Row]:
    for group in request.resource_logs:
        outer = _resource(group, resources)
        for scope in group.scope_logs:
            columns = outer | _scope(scope)
            for record in scope.log_records:
                yield columns | _log(record)


def _log(record: LogRecord) -> Row:
    pairs = _pairs(record.attributes)
    observed = _time(record.observed_time_unix_nano)
    own = _time(record.time_unix_nano)
    time = observed if own is None else own
    return _code(_first(pairs)) | {
        "time": time,
        "time_ns": time,
        "observed_time": observed,
        "severity_number": record.severity_number,
        "severity_text": record.severity_text or None,
        "body": _text(record.body),
        "trace_id": _optional_id(record.trace_id, 16),
        "span_id": _optional_id(record.span_id, 8),
        "event_name": record.event_name or None,
        "attributes": pairs,
        "flags": record.flags,
        "dropped_attributes_count": record.dropped_attributes_count,
    }


def _points(request: ExportMetricsServiceRequest, resources: dict[str, Row]) -> Iterator[Row]:
    for group in request.resource_metrics:
        outer = _resource(group, resources)
        for scope in group.scope_metrics:
            columns = outer | _scope(scope)
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is not None:
                    for row in _metric(metric, kind):
                        yield columns | row


def _metric(metric: Metric, kind: str) -> Iterator[Row]:
    data = {
        "gauge": metric.gauge,
        "sum": metric.sum,
        "histogram": metric.histogram,
        "exponential_histogram": metric.exponential_histogram,
        "summary": metric.summary,
    }[kind]
    temporality = {1: "delta", 2: "cumulative"}.get(getattr(data, "aggregation_temporality", 0))
    for point in data.data_points:
        time = _time(point.time_unix_nano)
        yield _values(point, kind) | {
            "time": time,
            "time_ns": time,
            "start_time": _time(point.start_time_unix_nano),
            "name": metric.name,
            "description": metric.description or None,
            "kind": kind,
            "unit": metric.unit or None,
            "temporality": temporality,
            "is_monotonic": metric.sum.is_monotonic if kind == "sum" else None,
            "attributes": _pairs(point.attributes),
            "metadata": _pairs(metric.metadata),
            "flags": point.flags,
        }


def _values(point: Point, kind: str) -> Row:
    if kind in ("gauge", "sum"):
        number = cast("NumberDataPoint", point)
        return _number(number) | {"exemplars": _exemplars(number.exemplars)}
    if kind == "summary":
        summary = cast("SummaryDataPoint", point)
        quantiles = [{"quantile": q.quantile, "value": q.value} for q in summary.quantile_values]
        return {"count": _int64(summary.count), "sum": summary.sum, "quantile_values": quantiles}
    histogram = cast("HistogramDataPoint | ExponentialHistogramDataPoint", point)
    row: Row = {"count": _int64(histogram.count), "exemplars": _exemplars(histogram.exemplars)}
    for name in ("sum", "min", "max"):
        row[name] = getattr(histogram, name) if histogram.HasField(name) else None
    if kind == "histogram":
        plain = cast("HistogramDataPoint", point)
        row["bucket_counts"] = [_int64(count) for count in plain.bucket_counts]
        row["explicit_bounds"] = list(plain.explicit_bounds)
        return row
    exponential = cast("ExponentialHistogramDataPoint", point)
    row |= {
        "scale": exponential.scale,
        "zero_count": _int64(exponential.zero_count),
        "zero_threshold": exponential.zero_threshold,
    }
    for side, there, buckets in (
        ("positive", exponential.HasField("positive"), exponential.positive),
        ("negative", exponential.HasField("negative"), exponential.negative),
    ):
        if there:
            row[f"{side}_offset"] = buckets.offset
            row[f"{side}_bucket_counts"] = [_int64(count) for count in buckets.bucket_counts]
    return row


def _number(point: NumberDataPoint | Exemplar) -> Row:
    which = point.WhichOneof("value")
    if which == "as_int":
        return {"value": float(point.as_int), "value_int": point.as_int}
    return {"value": point.as_double if which else None, "value_int": None}


def _exemplars(exemplars: Iterable[Exemplar]) -> list[Row]:
    return [
        _number(exemplar)
        | {
            "time": _time(exemplar.time_unix_nano),
            "trace_id": _optional_id(exemplar.trace_id, 16),
            "span_id": _optional_id(exemplar.span_id, 8),
            "attributes": _pairs(exemplar.filtered_attributes),
        }
        for exemplar in exemplars
    ]


def _resource(group: ResourceSpans | ResourceLogs | ResourceMetrics, resources: dict[str, Row]) -> Row:
    pairs = _pairs(group.resource.attributes)
    key = resource_id(pairs)
    resources.setdefault(
        key,
        {
            "resource_id": key,
            "attributes": pairs,
            "dropped_attributes_count": group.resource.dropped_attributes_count,
        },
    )
    columns: Row = dict(normalize.resource_columns(dict(reversed(pairs))))
    return columns | {"resource_id": key, "resource_schema_url": group.schema_url or None}


def _scope(scope: ScopeSpans | ScopeLogs | ScopeMetrics) -> Row:
    return {
        "scope_name": scope.scope.name or None,
        "scope_version": scope.scope.version or None,
        "scope_attributes": _pairs(scope.scope.attributes),
        "scope_dropped_attributes_count": scope.scope.dropped_attributes_count,
        "scope_schema_url": scope.schema_url or None,
    }


def _promoted(attributes: Mapping[str, str], kind: int) -> Row:
    row: Row = {column: _one_of(attributes, *names) for column, names in normalize.SPAN_NAMES.items()}
    row["http_status"] = _plain_number(_one_of(attributes, *normalize.SPAN_NAMES["http_status"]))
    new, old = (re.match(normalize.URL, attributes.get(name, "")) for name in ("url.full", "http.url"))
    target = _PATH.match(attributes.get("http.target", ""))
    others = normalize.SERVER_HOST_NAMES if kind in normalize.SERVER_KINDS else normalize.CLIENT_HOST_NAMES
    hosts = [
        f"{attributes[host]}:{attributes[port]}" if port and port in attributes else attributes[host]
        for host, port in (*normalize.HOST_NAMES, *others)
        if host in attributes
    ]
    row["url_host"] = next((m["host"] for m in (new, old) if m and m["host"]), None) or next(
        iter(hosts), None
    )
    row["url_path"] = new["path"] if new and new["path"] else attributes.get("url.path")
    if row["url_path"] is None:
        row["url_path"] = old["path"] if old and old["path"] else target and target[0]
    return row | _code(attributes)


def _code(attributes: Mapping[str, str]) -> Row:
    row: Row = {column: _one_of(attributes, *names) for column, names in normalize.CODE_NAMES.items()}
    row["code_line"] = _plain_number(_one_of(attributes, *normalize.CODE_NAMES["code_line"]))
    function = attributes.get("code.function")
    if row["code_function"] is None and function is not None:
        namespace = attributes.get("code.namespace")
        row["code_function"] = function if namespace is None else f"{namespace}.{function}"
    return row


def _one_of(attributes: Mapping[str, str], *names: str) -> str | None:
    return next((attributes[name] for name in names if name in attributes), None)


def _first(pairs: Pairs) -> dict[str, str]:
    """The set values by key; of doubled keys the first one that is set."""
    found: dict[str, str] = {}
    for key, value in pairs:
        if value is not None:
            found.setdefault(key, value)
    return found


def _plain_number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None


def _pairs(attributes: Iterable[KeyValue]) -> Pairs:
    return [(attribute.key, _text(attribute.value)) for attribute in attributes]


def _text(value: AnyValue) -> str | None:
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "bool_value":
        return "true" if value.bool_value else "false"
    if which == "int_value":
        return str(value.int_value)
    if which == "double_value":
        number = finite_or_name(value.double_value)
        return number if isinstance(number, str) else _arrow_text(number)
    if which == "bytes_value":
        return value.bytes_value.hex()
    if which == "array_value":
        return array_text(value.array_value.SerializeToString())
    if which == "kvlist_value":
        return kvlist_text(value.kvlist_value.SerializeToString())
    return None


def _arrow_text(number: float) -> str:
    """Arrow's own text of a double ("1e+300", "0"), so that both ways store the same."""
    if number.is_integer() and abs(number) < 1e10:
        return "-0" if number == 0 and math.copysign(1, number) < 0 else str(int(number))
    return pa.scalar(number, pa.float64()).cast(pa.string()).as_py()


def _time(nanos: int) -> int | None:
    return nanos if 0 < nanos < 2**63 else None


def _int64(number: int) -> int | None:
    return number if number < 2**63 else None


def _optional_id(identifier: bytes, width: int) -> str | None:
    return identifier.hex() if len(identifier) == width and identifier != bytes(width) else None
