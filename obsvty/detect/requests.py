"""The requests of every operation as small arrays in time order: the one pass that all detectors share."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from obsvty.model import Deployment, Window, to_ns
from obsvty.operations import is_entry, is_failed, is_root, operation_name

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MS: Final = 1e6


@dataclass(frozen=True, kw_only=True, eq=False)
class Requests:
    """All requests of one operation in a window, in order of their start."""

    service: str
    environment: str
    operation: str
    start_ns: NDArray[np.int64]
    ms: NDArray[np.float64]
    failed: NDArray[np.bool_]
    release: NDArray[np.int16]  # index into Telemetry.releases
    root_share: float  # how many of them had no caller

    @property
    def outermost(self) -> bool:
        """Whether people (or something that is not instrumented) call it, rather than another service."""
        return self.root_share >= 0.5

    def between(self, start_ns: int, end_ns: int) -> slice:
        """The requests that started in `[start_ns, end_ns)`."""
        low, high = self.start_ns.searchsorted([start_ns, end_ns])
        return slice(int(low), int(high))


@dataclass(frozen=True, kw_only=True, eq=False)
class Telemetry:
    """What the detectors look at: requests per operation, deployments, who calls whom, and how far data reaches."""

    operations: tuple[Requests, ...]
    deployments: tuple[Deployment, ...]
    releases: tuple[tuple[str, str], ...]  # (version, revision); 0 is "unknown"
    calls: frozenset[tuple[str, str]]  # (caller, callee)
    start_ns: int
    end_ns: int  # behind the last start
    done_ns: int  # behind the end of the last request, so that its calls and logs are inside

    def downstream(self, service: str) -> frozenset[str]:
        """The services that `service` calls, directly or through others."""
        found: set[str] = set()
        todo = [service]
        while todo:
            caller = todo.pop()
            for source, target in self.calls:
                if source == caller and target not in found and target != service:
                    found.add(target)
                    todo.append(target)
        return frozenset(found)


def in_window(traces: ir.Table, window: Window | None) -> ir.Table:
    """Spans that started in the window; all of them without one."""
    if window is None:
        return traces
    return traces.filter((traces.start_ns >= window.start_ns) & (traces.start_ns < window.end_ns))


def read_requests(
    traces: ir.Table, releases: Sequence[tuple[str, str]], ignore_services: Collection[str] = ()
) -> list[Requests]:
    """Entry spans by (service, environment, operation), sorted by those names."""
    import numpy as np

    wanted = is_entry(traces) & traces.service_name.notnull() & traces.start_ns.notnull()
    entries = traces.filter(wanted & traces.duration_ns.notnull())
    if ignore_services:
        entries = entries.filter(entries.service_name.notin(sorted(ignore_services)))
    release = entries.service_version.fill_null("") + "\n" + entries.vcs_revision.fill_null("")
    known = [(f"{version}\n{revision}", i) for i, (version, revision) in enumerate(releases) if i]
    entries = entries.select(
        "service_name",
        "start_ns",
        "duration_ns",
        "span_id",
        deployment_env=entries.deployment_env.fill_null(""),
        operation=operation_name(entries),
        failed=is_failed(entries),
        root=is_root(entries),
        release=(release.cases(*known, else_=0) if known else release.length() * 0).cast("int16"),
    )
    table = (
        entries.group_by(["service_name", "deployment_env", "operation"])
        .agg(
            start_ns=lambda t: t.start_ns.collect(order_by=[t.start_ns, t.span_id]),
            duration_ns=lambda t: t.duration_ns.collect(order_by=[t.start_ns, t.span_id]),
            failed=lambda t: t.failed.cast("int8").collect(order_by=[t.start_ns, t.span_id]),
            release=lambda t: t.release.collect(order_by=[t.start_ns, t.span_id]),
            root_share=lambda t: t.root.cast("int8").mean(),
        )
        .order_by(["service_name", "deployment_env", "operation"])
        .to_pyarrow()
    )
    names = [cast("list[str]", table[column].to_pylist()) for column in table.column_names[:3]]
    return [
        Requests(
            service=names[0][row],
            environment=names[1][row],
            operation=names[2][row],
            start_ns=_list_at(table, "start_ns", row),
            ms=_list_at(table, "duration_ns", row).astype(np.float64) / MS,
            failed=_list_at(table, "failed", row).astype(np.bool_),
            release=_list_at(table, "release", row),
            root_share=float(table["root_share"][row].as_py()),
        )
        for row in range(table.num_rows)
    ]


def _list_at(table: pa.Table, column: str, row: int) -> NDArray[np.int64]:
    return table[column][row].values.to_numpy(zero_copy_only=False)


def find_calls(traces: ir.Table, *, sample_above: int = 400_000) -> frozenset[tuple[str, str]]:
    """Which service calls which, from entry spans whose parent span is another service's.

    In large tables one trace in sixteen is read (those whose id ends in 0): who calls whom needs no more.
    """
    if int(traces.count().to_pyarrow().as_py()) > sample_above:
        traces = traces.filter(traces.trace_id.right(1) == "0")
    children = traces.filter(is_entry(traces) & ~is_root(traces))
    children = children.select("trace_id", parent="parent_span_id", callee="service_name")
    parents = traces.select("trace_id", "span_id", caller="service_name")
    pairs = children.join(
        parents, [children.trace_id == parents.trace_id, children.parent == parents.span_id]
    ).filter(lambda t: t.caller != t.callee)
    rows = pairs.select("caller", "callee").distinct().to_pyarrow().to_pylist()
    return frozenset((str(row["caller"]), str(row["callee"])) for row in rows)


def read_telemetry(
    traces: ir.Table, *, window: Window | None = None, ignore_services: Collection[str] = ()
) -> Telemetry:
    """Everything the detectors need, in four queries.

    Args:
        traces: the canonical table.
        window: the data to look at; all of it without one.
        ignore_services: services that never raise a finding.
    """
    from obsvty.detect.deployments import find_deployments

    traces = in_window(traces, window)
    deployments = find_deployments(traces)
    releases = sorted({(d.to_version, d.to_revision) for d in deployments})
    operations = read_requests(traces, [("", ""), *releases], ignore_services)
    starts = [int(o.start_ns[0]) for o in operations]
    ends = [int(o.start_ns[-1]) + 1 for o in operations]
    done = [int((o.start_ns + (o.ms * MS).astype(o.start_ns.dtype)).max()) + 1 for o in operations]
    return Telemetry(
        operations=tuple(operations),
        deployments=tuple(deployments),
        releases=(("", ""), *releases),
        calls=find_calls(traces) if len({o.service for o in operations}) > 1 else frozenset(),
        start_ns=min(starts, default=0),
        end_ns=max(ends, default=0),
        done_ns=min(max(done, default=0), window.end_ns if window else 2**62),
    )


def changes_of(telemetry: Telemetry, requests: Requests) -> list[Deployment]:
    """The deployments that can change an operation: its own service's first, then those of services it calls."""
    below = telemetry.downstream(requests.service)
    mine = [
        d
        for d in telemetry.deployments
        if d.environment == requests.environment
        and (d.from_version or d.from_revision)
        and (d.service == requests.service or d.service in below)
    ]
    return sorted(mine, key=lambda d: (d.service != requests.service, to_ns(d.at), d.service))
