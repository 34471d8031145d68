"""Small synthetic telemetry: requests with calls below them, as canonical tables. Times are seconds since `T0_NS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from obsvty.model import Window
from obsvty.store.schema import LOGS, TRACES

T0_NS = 1_790_000_000_000_000_000


def window(start_s: float, end_s: float) -> Window:
    return Window.of_ns(T0_NS + round(start_s * 1e9), T0_NS + round(end_s * 1e9))


def seconds(time: object) -> float:
    """Seconds since T0 of an aware datetime."""
    from obsvty.model import to_ns

    return (to_ns(time) - T0_NS) / 1e9  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A span below another one; `at_ms` after its parent's start."""

    ms: float
    at_ms: float = 0.0
    name: str = "POST"
    kind: int = 3
    service: str = ""  # "" is the parent's
    host: str = ""
    path: str = ""
    statement: str = ""
    failed: bool = False
    calls: Sequence[Call] = ()


def http(
    host: str, path: str, ms: float, at_ms: float = 0.0, *, failed: bool = False, calls: Sequence[Call] = ()
) -> Call:
    return Call(host=host, path=path, ms=ms, at_ms=at_ms, failed=failed, calls=calls)


def sql(statement: str, ms: float, at_ms: float = 0.0) -> Call:
    return Call(name=statement.split()[0], statement=statement, ms=ms, at_ms=at_ms)


def serve(service: str, operation: str, ms: float, at_ms: float = 0.0, calls: Sequence[Call] = ()) -> Call:
    return Call(service=service, name=operation, kind=2, ms=ms, at_ms=at_ms, calls=calls)


@dataclass(kw_only=True)
class Story:
    """Collects spans and log records."""

    seed: int = 1
    environment: str = "prod"
    spans: list[dict[str, object]] = field(default_factory=list)
    records: list[dict[str, object]] = field(default_factory=list)
    versions: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def deploy(self, service: str, at_s: float, version: str) -> None:
        self.versions.setdefault(service, []).append((at_s, version))

    def version(self, service: str, at_s: float) -> str:
        known = [v for since, v in sorted(self.versions.get(service, [])) if since <= at_s]
        return known[-1] if known else "1.0.0"

    def request(
        self,
        service: str,
        operation: str,
        at_s: float,
        ms: float,
        *,
        calls: Sequence[Call] = (),
        failed: bool = False,
        version: str | None = None,
        instance: str = "one",
        attributes: dict[str, str] | None = None,
        exception: str = "",
    ) -> str:
        trace_id = f"{len(self.spans):032x}"
        root = Call(service=service, name=operation, kind=2, ms=ms, failed=failed, calls=calls)
        self._span(trace_id, "", root, service, T0_NS + round(at_s * 1e9), version, instance)
        own = next(
            s for s in reversed(self.spans) if s["trace_id"] == trace_id and s["parent_span_id"] is None
        )
        own["attributes"] = list((attributes or {}).items())
        if exception:
            details = [("exception.type", exception), ("exception.message", "no")]
            own["events"] = [{"name": "exception", "time": own["start_ns"], "attributes": details}]
        return trace_id

    def _span(
        self,
        trace_id: str,
        parent: str,
        call: Call,
        caller: str,
        start_ns: int,
        version: str | None,
        instance: str,
    ) -> None:
        service = call.service or caller
        span_id = f"{len(self.spans) + 1:016x}"
        running = version or self.version(service, (start_ns - T0_NS) / 1e9)
        self.spans.append(
            {
                "trace_id": trace_id,
                "span_id": span_id,
                "parent_span_id": parent or None,
                "name": call.name,
                "kind": call.kind,
                "start_time": start_ns,
                "start_ns": start_ns,
                "duration_ns": round(call.ms * 1e6),
                "status_code": 2 if call.failed else 0,
                "service_name": service,
                "service_version": running,
                "service_instance_id": instance,
                "deployment_env": self.environment,
                "vcs_revision": f"{running.replace('.', ''):0<40}",
                "resource_id": f"{service}-{running}",
                "http_method": "POST" if call.host else None,
                "url_host": call.host or None,
                "url_path": call.path or None,
                "db_system": "sqlite" if call.statement else None,
                "db_statement": call.statement or None,
                "attributes": [],
                "events": [],
            }
        )
        for below in call.calls:
            self._span(
                trace_id, span_id, below, service, start_ns + round(below.at_ms * 1e6), version, instance
            )

    def load(
        self,
        service: str,
        operation: str,
        start_s: float,
        end_s: float,
        *,
        rps: float = 2.0,
        ms: float = 100.0,
        sigma: float = 0.2,
        error_rate: float = 0.0,
        calls: Callable[[float], Sequence[Call]] | None = None,
        exception: str = "",
    ) -> None:
        """Poisson arrivals with log-normal durations; `calls` makes the calls of a request of so many ms."""
        at = start_s
        while (at := at + float(self.rng.exponential(1 / rps))) < end_s:
            duration = ms * float(np.exp(self.rng.normal(0, sigma)))
            failed = bool(self.rng.random() < error_rate)
            self.request(
                service,
                operation,
                at,
                duration,
                calls=calls(duration) if calls else (),
                failed=failed,
                exception=exception if failed else "",
            )

    def log(self, service: str, at_s: float, body: str, severity: int = 9) -> None:
        time = T0_NS + round(at_s * 1e9)
        self.records.append(
            {
                "time": time,
                "time_ns": time,
                "service_name": service,
                "body": body,
                "severity_number": severity,
            }
        )

    @property
    def traces(self) -> ir.Table:
        return ibis.memtable(_table(self.spans, TRACES))

    @property
    def logs(self) -> ir.Table:
        return ibis.memtable(_table(self.records, LOGS))


def _table(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for row in rows], schema=schema
    )
