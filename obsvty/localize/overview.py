"""Traces in aggregate: counts, error rates and percentiles by any column, slowest first."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, cast

from obsvty.errors import UsageError
from obsvty.model import Overview, SpanGroup, Window
from obsvty.operations import is_entry

if TYPE_CHECKING:
    import ibis.expr.types as ir

GROUPS = ("service_name", "name", "http_route", "service_version", "vcs_revision", "url_host", "http_status")


class _Row(TypedDict):
    count: int
    errors: int
    p50: float
    p95: float
    p99: float
    slowest: str


def overview(
    traces: ir.Table,
    *,
    service: str | None = None,
    operation: str | None = None,
    status: Literal["ok", "error"] | None = None,
    min_duration_ms: float = 0,
    window: Window | None = None,
    group_by: tuple[str, ...] = ("service_name", "name"),
    entries: bool = False,
    limit: int = 20,
    offset: int = 0,
) -> Overview:
    """What the spans that match do, by group.

    Args:
        traces: the canonical table.
        service: exact service name.
        operation: exact span name.
        status: error is status code 2; ok is everything else.
        min_duration_ms: shorter spans are left out.
        window: of span starts.
        group_by: columns out of `GROUPS`.
        entries: only spans that are requests: of kind server or consumer, or roots.
        limit: how many groups.
        offset: how many to skip.

    Raises:
        UsageError: a column is not one of `GROUPS`.
    """
    if not group_by or any(name not in GROUPS for name in group_by):
        raise UsageError("Spans cannot be grouped by that.", hint=f"Columns: {', '.join(GROUPS)}.")
    spans = traces
    if entries:
        spans = spans.filter(is_entry(spans))
    if service is not None:
        spans = spans.filter(spans.service_name == service)
    if operation is not None:
        spans = spans.filter(spans.name == operation)
    if status is not None:
        failed = spans.status_code.fill_null(0) == 2
        spans = spans.filter(failed if status == "error" else failed.negate())
    if min_duration_ms > 0:
        spans = spans.filter(spans.duration_ns >= int(min_duration_ms * 1e6))
    if window is not None:
        spans = spans.filter(spans.start_ns >= window.start_ns, spans.start_ns < window.end_ns)
    grouped = spans.group_by(*group_by).agg(
        count=spans.count(),
        errors=(spans.status_code.fill_null(0) == 2).sum(),
        p50=spans.duration_ns.quantile(0.5) / 1e6,
        p95=spans.duration_ns.quantile(0.95) / 1e6,
        p99=spans.duration_ns.quantile(0.99) / 1e6,
        slowest=spans.trace_id.argmax(spans.duration_ns),
    )
    import ibis

    rows = cast(
        "list[_Row]",
        grouped.order_by(ibis.desc("p95"), *group_by).limit(limit, offset=offset).to_pyarrow().to_pylist(),
    )
    totals = grouped.agg(groups=grouped.count(), spans=grouped["count"].sum()).to_pyarrow().to_pylist()[0]
    return Overview(
        groups=tuple(_group(row, group_by) for row in rows),
        matched=int(totals["groups"] or 0),
        spans=int(totals["spans"] or 0),
    )


def _group(row: _Row, group_by: tuple[str, ...]) -> SpanGroup:
    values = cast("dict[str, object]", row)
    return SpanGroup(
        key={name: "" if values[name] is None else str(values[name]) for name in group_by},
        count=int(row["count"]),
        errors=int(row["errors"] or 0),
        p50_ms=round(row["p50"] or 0, 3),
        p95_ms=round(row["p95"] or 0, 3),
        p99_ms=round(row["p99"] or 0, 3),
        slowest_trace=row["slowest"] or "",
    )
