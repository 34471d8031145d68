"""What can be asked of a data folder without deciding anything: tables, SQL, traces, maps, comparisons, incidents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from obsvty.errors import NothingFound
from obsvty.folder import DataFolder
from obsvty.model import AttributeDifference, Incident, ServiceMap, Trace, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from obsvty.model import Investigation, Overview
    from obsvty.settings import Settings


class Questions(DataFolder):
    """The read-only questions; `Session` adds what investigates and what leaves."""

    def __init__(self, data_dir: Path, settings: Settings) -> None:
        super().__init__(data_dir)
        self.settings = settings

    # ---- tables that need analysis

    @property
    def incidents(self) -> ir.Table:
        """One row an incident that was found."""
        from obsvty.pages import incident_table

        self.reader.register_rows("incidents", incident_table(self.find_incidents()))
        return self.reader.table("incidents")

    def sql(self, query: str) -> ir.Table:
        """A read-only, sandboxed query over traces, logs, metrics, resources, deployments and incidents.

        Raises:
            QueryError: it is wrong, not one SELECT, or reaches outside the sandbox.
        """
        if "incidents" in query:
            self.incidents  # noqa: B018 registers the rows that the query names
        return self.reader.sql(query)

    def query(self, sql: str, *, max_rows: int | None = None, timeout_s: float | None = None) -> pa.Table:
        """The rows of `sql`; it is interrupted after `timeout_s`, and at most `max_rows` come back.

        Raises:
            QueryError: as `sql`, or it took too long or too much memory.
        """
        if "incidents" in sql:
            self.incidents  # noqa: B018 registers the rows that the query names
        return self.reader.query(sql, max_rows=max_rows, timeout_s=timeout_s)

    def has_spans(self) -> bool:
        """Anything to ask about."""
        return self.traces.limit(1).count().to_pyarrow().as_py() > 0

    # ---- questions

    def trace(self, trace_id: str) -> Trace:
        """All spans of a trace, in order of start, with their depth. Raises `UnknownTrace`."""
        from obsvty.localize.trace import load_trace

        return load_trace(self.traces, trace_id)

    def overview(
        self,
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
        """Counts, error rates and percentiles of spans by any column of `GROUPS`, slowest p95 first."""
        from obsvty.localize.overview import overview

        return overview(
            self.traces,
            service=service,
            operation=operation,
            status=status,
            min_duration_ms=min_duration_ms,
            window=window,
            group_by=group_by,
            entries=entries,
            limit=limit,
            offset=offset,
        )

    def service_map(self, window: Window | None = None) -> ServiceMap:
        """Who calls whom."""
        from obsvty.localize import service_map

        return service_map(self.traces, window)

    def compare(
        self, baseline: Window, window: Window, *, service: str | None = None, operation: str | None = None
    ) -> Sequence[AttributeDifference]:
        """Attribute values, operations, instances, revisions that differ between two windows, largest effect first."""
        from obsvty.localize import compare

        return compare(self.traces, baseline=baseline, window=window, service=service, operation=operation)

    def compare_incident(self, inv: Investigation) -> Sequence[AttributeDifference]:
        """What tells the requests of an incident's leading operation from those before it. Raises `NothingFound`."""
        if inv.baseline is None or inv.window is None:
            raise NothingFound("There is no incident to compare.")
        lead = inv.findings[0]
        return self.compare(inv.baseline, inv.window, service=lead.service, operation=lead.operation)

    def detect(self, window: Window | None = None) -> list[Incident]:
        """Incidents in the stored telemetry, under the ids by which they are known; nothing is written."""
        from obsvty.detect import detect_incidents
        from obsvty.detect.identity import keep_ids

        found = detect_incidents(
            self.traces, self.logs, window=window, ignore_services=self.settings.watch.ignore_services
        )
        return keep_ids(found, self.state.incidents())

    def find_incidents(self, since: datetime | None = None) -> list[Incident]:
        """Incidents that the watch loop recorded and those that detection sees now, newest first."""
        known = {i.id: i for i in self.state.incidents(since=since)}
        found = [i for i in self.detect() if since is None or i.window.end >= since]
        known.update((i.id, i) for i in found)
        return sorted(known.values(), key=lambda i: (i.start, i.id), reverse=True)
