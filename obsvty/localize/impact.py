"""Who felt an incident."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from typing import TYPE_CHECKING

from obsvty.model import Impact, Incident, Window
from obsvty.operations import is_entry, is_failed, operation_name

if TYPE_CHECKING:
    import ibis.expr.types as ir


def requests_of(traces: ir.Table, *, service: str, operation: str, window: Window) -> ir.Table:
    """Requests of an operation that started in the window: span_id, start_ns, duration_ns, failed."""
    inside = traces.filter(
        (traces.service_name == service)
        & (traces.start_ns >= window.start_ns)
        & (traces.start_ns < window.end_ns)
    )
    entries = inside.filter(is_entry(inside))
    entries = entries.filter(operation_name(entries) == operation)
    return entries.select("span_id", "start_ns", "duration_ns", failed=is_failed(entries)).distinct()


def measure_impact(traces: ir.Table, incident: Incident) -> Impact:
    """Requests of the incident's operation in its window: all, failed, and the share that was affected.

    A request is affected when it failed or took longer than 95 % of the baseline's requests. A share of 5 %
    is therefore normal, and a baseline without requests counts failures only.
    """
    subject = {"service": incident.service, "operation": incident.operation}
    before = requests_of(traces, window=incident.baseline, **subject)
    after = requests_of(traces, window=incident.window, **subject)
    limit = before.duration_ns.quantile(0.95).to_pyarrow().as_py()
    affected = after.failed if limit is None else after.failed | (after.duration_ns > limit)
    row = (
        after.aggregate(
            requests=after.count(),
            errors=after.failed.cast("int64").sum().fill_null(0),
            affected=affected.cast("int64").sum().fill_null(0),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    requests = int(row["requests"])
    return Impact(
        requests=requests,
        errors=int(row["errors"]),
        share_of_requests=int(row["affected"]) / requests if requests else 0.0,
    )


def traffic_per_minute(traces: ir.Table, *, service: str, operation: str, window: Window) -> float:
    """Requests per minute between the first and the last one in the window, so that silence around them does not count.

    0.0 with fewer than two requests.
    """
    found = requests_of(traces, service=service, operation=operation, window=window)
    row = (
        found.aggregate(n=found.count(), first=found.start_ns.min(), last=found.start_ns.max())
        .to_pyarrow()
        .to_pylist()[0]
    )
    if row["n"] < 2 or row["last"] <= row["first"]:
        return 0.0
    return (int(row["n"]) - 1) / ((int(row["last"]) - int(row["first"])) / 60e9)


def traffic_ratio(traces: ir.Table, incident: Incident) -> float:
    """Requests per minute of the incident's operation, in its window over its baseline; 1.0 where one is unknown."""
    subject = {"service": incident.service, "operation": incident.operation}
    before = traffic_per_minute(traces, window=incident.baseline, **subject)
    after = traffic_per_minute(traces, window=incident.window, **subject)
    return after / before if before > 0 and after > 0 else 1.0
