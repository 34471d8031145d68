"""What is looked at before a request is acknowledged: that it is OTLP, and that its spans have ids.

After the acknowledgement bad bytes cannot be refused any more, so every request is parsed once by upb (0.8
us a span). Ids are read by a second parse that skips everything else (0.26 us a span): cheaper than one
Python object a span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pyarrow as pa

from obsvty.errors import OtlpError
from obsvty.otlp.columns import compute, first_column
from obsvty.otlp.descriptors import request_class, span_ids_handler

if TYPE_CHECKING:
    from collections.abc import Iterable, Sized

    from google.protobuf.message import Message
    from numpy.typing import NDArray
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

    from obsvty.model import Signal
    from obsvty.otlp.columns import Column

_SMALL_BYTES = (
    16 << 10
)  # below, one object a span (1 us) is cheaper than the 120 us that any call of Arrow costs
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)
_UNNAMED = (
    "Stored, but a resource has no service.name: nothing can be said by service. Set OTEL_SERVICE_NAME."
)
_LISTS: Final[dict[Signal, tuple[str, str, str]]] = {
    "traces": ("resource_spans", "scope_spans", "spans"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
}


@dataclass(frozen=True, kw_only=True)
class CheckedRequest:
    """A request that may be stored.

    `body` is what came in, or, where spans were rejected, what is left of it. `empty` is true when nothing
    is left to store. `records` (spans, log records or metric points that are left) is 0 unless asked for.
    """

    body: bytes
    rejected: int = 0
    reason: str = ""  # why they were rejected; "" when none was
    warning: str = ""  # what the sender should know though all is well; "" when nothing
    empty: bool = False
    records: int = 0

    @property
    def message(self) -> str:
        """What the sender is told; "" when there is nothing to tell."""
        return " ".join(part for part in (self.reason, self.warning) if part)


def check_request(signal: Signal, body: bytes, *, count: bool = False) -> CheckedRequest:
    """Validate a serialized request.

    Spans whose trace id is not 16 bytes, or whose span id is not 8, or is all zeroes, are taken out and counted; a log
    record with such ids is stored without them, as the specification asks.

    Raises:
        OtlpError: the bytes are not an export request of this signal.
    """
    if not body:
        return CheckedRequest(body=body, empty=True)
    message = parse(signal, body)
    warning = _UNNAMED if _has_unnamed(signal, message) else ""
    if signal != "traces":
        return CheckedRequest(body=body, records=_count(signal, message) if count else 0, warning=warning)
    request = cast("ExportTraceServiceRequest", message)
    bad = _bad_spans(request, body)
    if not bad.any():
        return CheckedRequest(body=body, empty=len(bad) == 0, records=len(bad), warning=warning)
    _remove(request, bad)
    return CheckedRequest(
        body=request.SerializeToString(),
        rejected=int(bad.sum()),
        reason="A trace id must have 16 bytes and a span id 8, not all zero.",
        empty=bool(bad.all()),
        records=len(bad) - int(bad.sum()),
        warning=warning,
    )


def parse(signal: Signal, body: bytes) -> Message:
    """The official message.

    Raises:
        OtlpError: the bytes are not an export request of this signal.
    """
    from google.protobuf.message import DecodeError

    try:
        return request_class(signal).FromString(body)
    except DecodeError as exc:
        raise OtlpError(
            f"These bytes are not an OTLP {signal} request.",
            hint=f"Send a serialized {request_class(signal).DESCRIPTOR.name}.",
        ) from exc


def _has_unnamed(signal: Signal, message: Message) -> bool:
    """Whether records come from a resource that does not say its service."""
    groups, scopes, records = _LISTS[signal]
    for group in cast("Iterable[ResourceSpans]", getattr(message, groups)):  # all three have a `resource`
        if any(pair.key == "service.name" and pair.value.string_value for pair in group.resource.attributes):
            continue
        found = cast("Iterable[Message]", getattr(group, scopes))
        if any(len(cast("Sized", getattr(scope, records))) for scope in found):
            return True
    return False


def _count(signal: Signal, message: Message) -> int:
    if signal == "logs":
        logs = cast("ExportLogsServiceRequest", message).resource_logs
        return sum(len(scope.log_records) for group in logs for scope in group.scope_logs)
    points = 0
    for group in cast("ExportMetricsServiceRequest", message).resource_metrics:
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                points += len(getattr(metric, kind).data_points) if kind else 0
    return points


def _bad_spans(request: ExportTraceServiceRequest, body: bytes) -> NDArray[np.bool_]:
    """For each span of the request, in order, whether its ids are invalid."""
    if len(body) < _SMALL_BYTES:
        return _bad_spans_one_by_one(request)
    try:
        batch = span_ids_handler().list_to_record_batch([body])
    except ValueError:  # what upb accepted counts
        return _bad_spans_one_by_one(request)
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # derives from BaseException, and cannot be imported
            raise
        return _bad_spans_one_by_one(request)
    scopes = first_column(batch).values.field("scope_spans").values
    spans = scopes.field("spans").values
    return _invalid(spans.field("trace_id"), _NO_TRACE) | _invalid(spans.field("span_id"), _NO_SPAN)


def _bad_spans_one_by_one(request: ExportTraceServiceRequest) -> NDArray[np.bool_]:
    return np.array(
        [
            not (_is_id(span.trace_id, _NO_TRACE) and _is_id(span.span_id, _NO_SPAN))
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ],
        np.bool_,
    )


def _invalid(ids: Column, zero: bytes) -> NDArray[np.bool_]:
    wrong = compute.or_(
        compute.not_equal(compute.binary_length(ids), len(zero)), compute.equal(ids, pa.scalar(zero))
    )
    return np.asarray(wrong).astype(np.bool_, copy=False)


def _is_id(value: bytes, zero: bytes) -> bool:
    return len(value) == len(zero) and value != zero


def _remove(request: ExportTraceServiceRequest, bad: NDArray[np.bool_]) -> None:
    position = 0
    for group in request.resource_spans:
        for scope in group.scope_spans:
            here = bad[position : position + len(scope.spans)]
            position += len(here)
            if here.any():
                kept = [span for span, is_bad in zip(scope.spans, here.tolist(), strict=True) if not is_bad]
                del scope.spans[:]
                scope.spans.extend(kept)
