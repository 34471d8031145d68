"""The requests of one operation, before and after: the table that the figures and the percentiles start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from obsvty.model import Window
from obsvty.notebook.figures import Figure, latency_figure

if TYPE_CHECKING:
    import ibis.expr.types as ir

_SERVER_KINDS: Final = [2, 5]  # server and consumer spans: one a request


class _Request(TypedDict):
    start_ns: int
    ms: float
    side: str
    version: str | None


def find_requests(
    traces: ir.Table, *, service: str, operation: str, baseline: Window, window: Window
) -> ir.Table:
    """One row a request of the operation: `trace_id`, `start_time`, `start_ns`, `ms`, `failed`, `version`, `side`.

    `side` is `before` inside the baseline and `after` inside the window; requests in neither are left out.
    """
    import ibis

    start = cast("ir.IntegerColumn", traces.start_ns)
    duration = cast("ir.IntegerColumn", traces.duration_ns)
    before = start.between(ibis.literal(baseline.start_ns), ibis.literal(baseline.end_ns - 1))
    after = start.between(ibis.literal(window.start_ns), ibis.literal(window.end_ns - 1))
    return (
        traces.filter(traces.service_name == service)
        .filter(traces.name == operation)
        .filter(cast("ir.IntegerColumn", traces.kind).isin(cast("list[ir.Value]", _SERVER_KINDS)))
        .filter(before | after)
        .select(
            "trace_id",
            "start_time",
            "start_ns",
            ms=duration / 1e6,
            failed=cast("ir.Value", traces.status_code == ibis.literal(2)),
            version=traces.service_version,
            side=ibis.ifelse(before, "before", "after"),
        )
    )


def plot_latency(requests: ir.Table, *, label: str = "") -> Figure:
    """The requests of `find_requests` over time; the change is the first request of `after`."""
    rows = cast(
        "list[_Request]",
        requests.select("start_ns", "ms", "side", "version").order_by("start_ns").to_pyarrow().to_pylist(),
    )
    after = [row["start_ns"] for row in rows if row["side"] == "after"]
    change_ns = after[0] if after else rows[-1]["start_ns"] + 1 if rows else 0
    versions = [row["version"] for row in rows if row["version"]]
    moved = f"{versions[0]} -> {versions[-1]}" if versions and versions[0] != versions[-1] else ""
    points = [(row["start_ns"], row["ms"]) for row in rows]
    return latency_figure(points, change_ns=change_ns, label=label, deployed=moved)
