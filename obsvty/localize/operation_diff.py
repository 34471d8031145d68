"""What one request of an operation does, before and after: which calls are new, slower, or more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from obsvty.errors import TooFewPoints
from obsvty.localize.request_trees import SELF, Part, Sample, Span, parts_of, read_sample
from obsvty.model import EdgeChange, OperationDiff, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir

MIN_MS: Final = 1.0
MIN_RATIO: Final = 1.2
MIN_SHARE: Final = 0.02
"""An edge is slower or faster when its time moved by 1 ms, by a fifth, and by 2 % of the request's own
move."""
RARE: Final = 0.02
MORE_CALLS: Final = 1.25


def operation_diff(
    traces: ir.Table, *, service: str, operation: str, before: Window, after: Window
) -> OperationDiff:
    """How an operation behaves in two windows, taken apart into calls per request and time per request.

    Edges are the spans below the entry span in its own service; a call into another instrumented service is
    one edge (its client span). The time of calls that run at once is shared, so the deltas of all edges,
    `self` included, sum to the delta of the mean request.

    Args:
        traces: the canonical table.
        service: whose operation.
        operation: the templated name of its entry span.
        before: requests that started here are the baseline.
        after: requests that started here are compared to them.

    Returns:
        Means over at most 400 requests a side (counts are of all requests); the edge that adds most first.

    Raises:
        TooFewPoints: one of the windows holds no request of the operation.
    """
    old = read_sample(traces, service=service, operation=operation, window=before)
    new = read_sample(traces, service=service, operation=operation, window=after)
    if not old.entries or not new.entries:
        raise TooFewPoints(
            "One of the two windows holds no request of this operation.", hint="Choose longer windows."
        )
    ms_before, calls_before = parts_of(old.entries)
    ms_after, calls_after = parts_of(new.entries)
    total = abs(new.mean_ms - old.mean_ms)
    edges = [
        _edge(
            part,
            (calls_before.get(part, 0.0), calls_after.get(part, 0.0)),
            (ms_before.get(part, 0.0), ms_after.get(part, 0.0)),
            total,
        )
        for part in {**ms_before, **ms_after}
    ]
    return OperationDiff(
        service=service,
        operation=operation,
        requests_before=old.requests,
        requests_after=new.requests,
        ms_before=old.mean_ms,
        ms_after=new.mean_ms,
        edges=tuple(sorted(edges, key=lambda e: (-round(e.delta_ms, 6), e.edge, e.service))),
        example_trace_before=_example(old),
        example_trace_after=_example(new),
    )


def _edge(
    part: Part, calls: tuple[float, float], ms: tuple[float, float], total_delta_ms: float
) -> EdgeChange:
    return EdgeChange(
        edge=part.edge,
        service=part.service,
        kind=_kind(part, calls, ms, total_delta_ms),
        calls_before=calls[0],
        calls_after=calls[1],
        ms_before=ms[0],
        ms_after=ms[1],
    )


def _kind(
    part: Part, calls: tuple[float, float], ms: tuple[float, float], total_delta_ms: float
) -> Literal["new", "vanished", "slower", "faster", "more_calls", "fewer_calls", "same"]:
    if part.edge != SELF:
        if calls[0] < RARE < calls[1] and calls[1] > 5 * calls[0]:
            return "new"
        if calls[1] < RARE < calls[0] and calls[0] > 5 * calls[1]:
            return "vanished"
        if calls[1] > calls[0] * MORE_CALLS and calls[1] - calls[0] > 0.1:
            return "more_calls"
        if calls[0] > calls[1] * MORE_CALLS and calls[0] - calls[1] > 0.1:
            return "fewer_calls"
    low, high = sorted(ms)
    if high - low < max(MIN_MS, MIN_SHARE * total_delta_ms) or high < low * MIN_RATIO:
        return "same"
    return "slower" if ms[1] > ms[0] else "faster"


def _example(sample: Sample) -> str:
    """The trace of the request in the middle by duration."""
    by_duration: list[Span] = sorted(sample.entries, key=lambda e: (e.duration_ns, e.trace_id))
    return by_duration[(len(by_duration) - 1) // 2].trace_id
