"""One trace as a tree of spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, cast

from obsvty.errors import UnknownTrace
from obsvty.model import Span, Trace

if TYPE_CHECKING:
    import ibis.expr.types as ir


class _Row(TypedDict):
    span_id: str
    parent_span_id: str | None
    name: str | None
    service_name: str | None
    kind: int | None
    start_ns: int | None
    duration_ns: int | None
    status_code: int | None


def load_trace(traces: ir.Table, trace_id: str) -> Trace:
    """All stored spans of a trace. Raises `UnknownTrace` when there are none."""
    rows = cast(
        "list[_Row]",
        traces.filter(traces.trace_id == trace_id.lower())
        .select(*_Row.__annotations__)
        .order_by("start_ns", "span_id")
        .to_pyarrow()
        .to_pylist(),
    )
    if not rows:
        raise UnknownTrace(
            "No stored trace has that id.",
            hint='List some with: obsvty query "select distinct trace_id from traces limit 5"',
        )
    stored = {r["span_id"] for r in rows}
    children: dict[str, list[_Row]] = {}
    for row in rows:
        parent = row["parent_span_id"] or ""
        children.setdefault(parent if parent in stored else "", []).append(row)
    spans: list[Span] = []
    todo = [(row, 0) for row in reversed(children.get("", []))]
    visited: set[str] = set()
    while todo:  # iterative and guarded: a trace may be deep, and a broken one may hold a cycle
        row, depth = todo.pop()
        if row["span_id"] in visited:
            continue
        visited.add(row["span_id"])
        spans.append(_span(row, depth))
        todo += [(child, depth + 1) for child in reversed(children.get(row["span_id"], []))]
    spans += [_span(row, 0) for row in rows if row["span_id"] not in visited]
    return Trace(trace_id=trace_id.lower(), spans=tuple(spans))


def _span(row: _Row, depth: int) -> Span:
    return Span(
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"] or "",
        name=row["name"] or "",
        service=row["service_name"] or "",
        kind=row["kind"] or 0,
        start_ns=row["start_ns"] or 0,
        duration_ns=row["duration_ns"] or 0,
        status_code=row["status_code"] or 0,
        depth=depth,
    )
