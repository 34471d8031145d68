"""What some bytes are: JSON or protobuf, one request or several, and which of the three signals.

The three requests look alike on the wire (resource 1, scope 2, record 2), so the records decide: their
fields have different types under the same numbers, and upb puts a field of the wrong type aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, cast

from obsvty.errors import OtlpError
from obsvty.otlp.check import parse
from obsvty.otlp.inflate import encoding_of
from obsvty.store.schema import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

    from obsvty.model import Signal

_FIELD_1: Final = 0x0A  # tag of the only field a request has: number 1, length-delimited
MAX_VARINT: Final = 10
_BOM: Final = b"\xef\xbb\xbf"


def looks_like_json(head: bytes) -> bool:
    """Whether a file that begins so is JSON.

    A protobuf request begins with 0x0A, which is a newline in JSON; and 0x7B, an opening brace, can be the
    length 123 of a first request. What follows the brace tells them apart.
    """
    text = head.removeprefix(_BOM).lstrip()
    if not text.startswith((b"{", b"[")):
        return False
    following = text[1:].lstrip()
    return not following or following[:1] in b'"}{]0123456789-tfn'


def looks_like_frames(head: bytes) -> bool:
    """Whether a file that begins so has four big-endian bytes of length before each request.

    A first byte of zero (a request below 16 MiB) is no OTLP otherwise, except as the varint length of an empty request.
    """
    length, body = int.from_bytes(head[:4], "big"), head[4:]
    if head[:1] != b"\0" or not length or not body:
        return False
    return body[0] == _FIELD_1 or encoding_of(body) != "" or looks_like_json(body)


def framing(body: bytes) -> Literal["one", "cut off", "other"]:
    """Whether the bytes are fields number 1 to the last byte, as one request is; or begin so, and end too early."""
    position = 0
    while position < len(body):
        if body[position] != _FIELD_1:
            return "other"
        length, size = read_varint(body[position + 1 : position + 1 + MAX_VARINT])
        if size == 0:
            return "cut off" if position + 1 + MAX_VARINT > len(body) else "other"
        position += 1 + size + length
    return "one" if position == len(body) else "cut off"


def read_varint(data: bytes) -> tuple[int, int]:
    """(value, bytes read) of a varint at the beginning; size 0 when there is none, or not all of it."""
    value = 0
    for size, byte in enumerate(data[:MAX_VARINT], 1):
        value |= (byte & 0x7F) << (7 * (size - 1))
        if byte < 0x80:
            return value, size
    return 0, 0


def is_request(body: bytes) -> bool:
    """Whether upb reads the bytes as a request of any signal."""
    for signal in SIGNALS:
        try:
            parse(signal, body)
        except OtlpError:
            continue
        return True
    return False


def signal_of_request(body: bytes) -> Signal | None:
    """The only signal whose records these bytes can be; None when none or several are possible."""
    found: list[Signal] = []
    for signal, fits in (("traces", _has_spans), ("logs", _has_logs), ("metrics", _has_metrics)):
        try:
            if fits(body):
                found.append(cast("Signal", signal))
        except OtlpError:
            continue
    return found[0] if len(found) == 1 else None


def _has_spans(body: bytes) -> bool:
    request = cast("ExportTraceServiceRequest", parse("traces", body))
    return any(
        len(span.trace_id) == 16 and len(span.span_id) == 8 and (span.start_time_unix_nano or span.name)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans[:3]
    )


def _has_logs(body: bytes) -> bool:
    request = cast("ExportLogsServiceRequest", parse("logs", body))
    return any(
        record.time_unix_nano or record.observed_time_unix_nano or record.severity_number
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records[:3]
    )


def _has_metrics(body: bytes) -> bool:
    request = cast("ExportMetricsServiceRequest", parse("metrics", body))
    return any(
        metric.name and any(_point_times(metric))
        for group in request.resource_metrics
        for scope in group.scope_metrics
        for metric in scope.metrics[:3]
    )


def _point_times(metric: Metric) -> Iterator[int]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points[:3] if kind else ():
        yield point.time_unix_nano
