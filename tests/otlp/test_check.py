"""What is refused before it is stored, by both ways of looking: small requests span by span, large ones by column."""

import random

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsvty.otlp.check import check_request

GOOD = (b"\1" * 16, b"\2" * 8)
BAD = [
    (bytes(16), b"\2" * 8),
    (b"\1" * 16, bytes(8)),
    (b"\1" * 15, b"\2" * 8),
    (b"\1" * 17, b"\2" * 8),
    (b"", b""),
    (b"\1" * 16, b""),
    (b"\1" * 16, b"\2" * 9),
]


def request_of(ids: list[tuple[bytes, bytes]]) -> ExportTraceServiceRequest:
    """The spans in order, spread over resources and scopes of which some are empty."""
    request = ExportTraceServiceRequest()
    for start in range(0, len(ids), 7):
        group = request.resource_spans.add()
        group.scope_spans.add()
        for position, (trace_id, span_id) in enumerate(ids[start : start + 7], start):
            scope = group.scope_spans.add() if position % 3 == 0 else group.scope_spans[-1]
            scope.spans.add(trace_id=trace_id, span_id=span_id, name=str(position))
        request.resource_spans.add()
    return request


def names(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return [s.name for group in request.resource_spans for scope in group.scope_spans for s in scope.spans]


@pytest.mark.parametrize("count", [1, 20, 3000])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_exactly_the_spans_without_valid_ids_are_taken_out(count: int, share: float) -> None:
    dice = random.Random(count)
    ids = [dice.choice(BAD) if dice.random() < share else GOOD for _ in range(count)]
    body = request_of(ids).SerializeToString()
    assert (len(body) > 16 << 10) == (count == 3000)
    checked = check_request("traces", body)
    kept = [str(position) for position, pair in enumerate(ids) if pair == GOOD]
    assert (checked.rejected, checked.records, checked.empty) == (count - len(kept), len(kept), not kept)
    assert names(checked.body) == kept
    assert (checked.body == body) == (len(kept) == count)
