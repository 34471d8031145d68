"""An incident out of two windows that a person chose."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from obsvty.detect.incidents import detect_incidents, _incident_id
from obsvty.model import Finding, Incident, Window
from obsvty.operations import is_entry, is_failed, operation_name

if TYPE_CHECKING:
    import ibis.expr.types as ir

_WORTH_TELLING = 1.05  # a median that rose by less is the same, whatever a person suspects


def incident_of_window(
    traces: ir.Table,
    logs: ir.Table,
    *,
    window: Window,
    baseline: Window | None = None,
    service: str | None = None,
    operation: str | None = None,
) -> Incident | None:
    """What is wrong in a window, compared with another one.

    Detection runs over both windows first. When it sees nothing, the operation whose median or error rate got worse
    most is taken: a person who names a window has a reason.

    Args:
        traces: the canonical table.
        logs: the canonical table.
        window: what to look at.
        baseline: what to compare it with; default: as long before it.
        service: only this service.
        operation: only this operation.

    Returns:
        None when nothing got worse.
    """
    before = baseline or Window(start=window.start - (window.end - window.start), end=window.start)
    both = Window(start=min(before.start, window.start), end=max(before.end, window.end))
    for incident in detect_incidents(traces, logs, window=both):
        inside = window.start <= incident.start < window.end or incident.start <= window.start
        fits = any(
            (service is None or f.service == service) and (operation is None or f.operation == operation)
            for f in incident.findings
        )
        if inside and fits:
            return replace(incident, baseline=before, window=window)
    finding = _worst(traces, before, window, service=service, operation=operation)
    if finding is None:
        return None
    return Incident(
        id=_incident_id("", finding, None, window.start),
        start=window.start,
        end=None,
        baseline=before,
        window=window,
        findings=(finding,),
    )


def _worst(
    traces: ir.Table, before: Window, after: Window, *, service: str | None, operation: str | None
) -> Finding | None:
    entries = traces.filter(is_entry(traces))
    entries = entries.mutate(operation=operation_name(entries), failed=is_failed(entries).cast("int64"))
    if service is not None:
        entries = entries.filter(entries.service_name == service)
    if operation is not None:
        entries = entries.filter(entries.operation == operation)
    rows = {key: _medians(entries, window) for key, window in (("before", before), ("after", after))}
    found: list[tuple[float, Finding]] = []
    for key, (count, p50, failed) in rows["after"].items():
        if key not in rows["before"]:
            continue
        count_before, p50_before, failed_before = rows["before"][key]
        subject = {"service": key[0], "operation": key[1], "change_at": after.start}
        counts = {"count_before": count_before, "count_after": count}
        rate_before, rate = 100 * failed_before / count_before, 100 * failed / count
        if rate > rate_before + 1:
            text = f"{key[1]} ({key[0]}): {rate_before:.1f} -> {rate:.1f} % of requests fail"
            finding = Finding(
                kind="errors", before=rate_before, after=rate, unit="%", text=text, **subject, **counts
            )
            found.append((1 + rate, finding))
        if p50_before > 0 and p50 / p50_before >= _WORTH_TELLING:
            text = f"{key[1]} ({key[0]}): p50 {p50_before:.0f} -> {p50:.0f} ms (x{p50 / p50_before:.1f})"
            finding = Finding(
                kind="latency", before=p50_before, after=p50, unit="ms", text=text, **subject, **counts
            )
            found.append((p50 / p50_before, finding))
    if not found:
        return None
    found.sort(key=lambda item: (-item[0], item[1].service, item[1].operation, item[1].kind))
    return replace(found[0][1], id="F1")


def _medians(entries: ir.Table, window: Window) -> dict[tuple[str, str], tuple[int, float, int]]:
    """(service, operation) -> requests, median in ms, failed requests."""
    inside = entries.filter(entries.start_ns >= window.start_ns, entries.start_ns < window.end_ns)
    rows = (
        inside.group_by("service_name", "operation")
        .agg(n=inside.count(), p50=inside.duration_ns.quantile(0.5) / 1e6, failed=inside.failed.sum())
        .to_pyarrow()
        .to_pylist()
    )
    return {
        (str(r["service_name"] or ""), str(r["operation"])): (int(r["n"]), float(r["p50"]), int(r["failed"]))
        for r in rows
    }
