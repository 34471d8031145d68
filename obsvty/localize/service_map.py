"""Who calls whom."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from obsvty.model import ServiceEdge, ServiceMap, Window
from obsvty.operations import CLIENT, is_failed, is_noise, is_root

if TYPE_CHECKING:
    import ibis.expr.types as ir


def service_map(traces: ir.Table, window: Window | None = None) -> ServiceMap:
    """Services, and their calls to each other, to databases and to hosts that send no telemetry.

    Calls between services are spans whose parent is another service's; their times are the callee's.
    Databases and external hosts are told from client spans that no service answered.

    Args:
        traces: the canonical table.
        window: spans that started in it; all of them without one.
    """
    if window is not None:
        traces = traces.filter((traces.start_ns >= window.start_ns) & (traces.start_ns < window.end_ns))
    spans = traces.filter(traces.service_name.notnull() & ~is_noise(traces))
    spans = spans.mutate(failed=is_failed(spans), root=is_root(spans))
    children = spans.filter(~spans.root).select(
        "trace_id", "parent_span_id", "duration_ns", "failed", target="service_name"
    )
    parents = spans.select("trace_id", "span_id", source="service_name")
    crossing = children.join(
        parents, [children.trace_id == parents.trace_id, children.parent_span_id == parents.span_id]
    ).filter(lambda t: t.source != t.target)
    clients = spans.filter((spans.kind == CLIENT) | spans.db_system.notnull())
    answered = crossing.select("trace_id", span_id="parent_span_id")
    alone = clients.anti_join(answered, ["trace_id", "span_id"])
    alone = alone.mutate(
        is_db=alone.db_system.notnull(), target=alone.db_system.coalesce(alone.url_host, alone.name)
    )
    rows = (
        crossing.select(
            "source", "target", "duration_ns", "failed", is_db=crossing.duration_ns.isnull() & False
        )
        .mutate(rank=0)
        .union(
            alone.select("target", "duration_ns", "failed", "is_db", source="service_name")
            .mutate(rank=1)
            .select("source", "target", "duration_ns", "failed", "is_db", "rank")
        )
        .group_by(["source", "target", "is_db", "rank"])
        .agg(
            calls=lambda t: t.count(),
            errors=lambda t: t.failed.cast("int64").sum(),
            p50=lambda t: t.duration_ns.quantile(0.5),
            p95=lambda t: t.duration_ns.quantile(0.95),
        )
        .order_by(["source", "target", "rank", "is_db"])
        .to_pyarrow()
        .to_pylist()
    )
    services = cast(
        "list[str]",
        spans.select("service_name")
        .distinct()
        .order_by("service_name")
        .to_pyarrow()["service_name"]
        .to_pylist(),
    )
    return ServiceMap(
        window=window,
        services=tuple(services),
        edges=tuple(
            ServiceEdge(
                source=row["source"],
                target=row["target"] or "",
                target_kind="service" if row["rank"] == 0 else "database" if row["is_db"] else "external",
                calls=int(row["calls"]),
                errors=int(row["errors"] or 0),
                p50_ms=float(row["p50"] or 0) / 1e6,
                p95_ms=float(row["p95"] or 0) / 1e6,
            )
            for row in rows
        ),
    )
