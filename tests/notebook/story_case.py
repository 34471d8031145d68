"""An incident made up for these tests: service `till`, operation `POST /pay`, three new calls after a deployment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from obsvty.model import (
    Attribution,
    Commit,
    Deployment,
    EdgeChange,
    EgressSummary,
    Evidence,
    Finding,
    Hunk,
    Impact,
    Incident,
    Insight,
    Investigation,
    LogChange,
    OperationDiff,
    ServiceEdge,
    ServiceMap,
    Suspect,
    Window,
    to_ns,
)
from obsvty.store.schema import LOGS, TRACES

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
CHANGE = START + timedelta(seconds=30)
END = START + timedelta(seconds=60)
BASELINE = Window(start=START, end=CHANGE)
WINDOW = Window(start=CHANGE, end=END)
GUILTY = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
HOSTILE = '<img src=x onerror="alert(1)"> `[x](http://evil.example)`'

FINDING = Finding(
    kind="latency",
    service="till",
    operation="POST /pay",
    before=100.0,
    after=400.0,
    unit="ms",
    change_at=CHANGE,
    id="F1",
    count_before=30,
    count_after=30,
)
DEPLOYMENT = Deployment(
    service="till",
    environment="prod",
    from_version="1.0",
    from_revision="b" * 40,
    to_version="1.1",
    to_revision="c" * 40,
    at=CHANGE,
)
DIFF = OperationDiff(
    service="till",
    operation="POST /pay",
    requests_before=30,
    requests_after=30,
    ms_before=100.0,
    ms_after=400.0,
    edges=(
        EdgeChange(
            edge="POST risk/score",
            service="till",
            kind="new",
            calls_before=0,
            calls_after=3,
            ms_before=0,
            ms_after=290,
        ),
        EdgeChange(
            edge="self",
            service="till",
            kind="slower",
            calls_before=1,
            calls_after=1,
            ms_before=100,
            ms_after=110,
        ),
    ),
    example_trace_after="1" * 32,
)
SUSPECT = Suspect(
    commit=Commit(
        revision=GUILTY,
        author="Ada",
        email="ada@till.example",
        time=START - timedelta(days=1),
        subject="ask the risk service three times",
    ),
    score=0.9,
    probability=0.93,
    hunks=(
        Hunk(
            file="app/pay.py",
            start=3,
            end=4,
            text="@@ -1,2 +1,4 @@\n def pay():\n+    for i in range(3):\n+        risk.score(i)",
        ),
    ),
    reasons=("it adds the new calls",),
    rank=1,
    evidence=("E2",),
)
OTHER = Suspect(
    commit=Commit(revision="d" * 40, author="Bob", email="", time=START, subject=HOSTILE),
    score=0.1,
    probability=0.04,
    hunks=(),
    reasons=(),
    rank=2,
)
INCIDENT = Incident(
    id="inc-0a1b2c3d",
    start=CHANGE,
    end=None,
    baseline=BASELINE,
    window=WINDOW,
    findings=(FINDING,),
    deployment=DEPLOYMENT,
)
ATTRIBUTION = Attribution(
    suspects=(SUSPECT, OTHER),
    candidates=5,
    base="b" * 40,
    head="c" * 40,
    base_reason="last good deployment in telemetry",
)
SERVICE_MAP = ServiceMap(
    window=WINDOW,
    services=("till", "risk"),
    edges=(
        ServiceEdge(
            source="till", target="risk", target_kind="service", calls=90, errors=0, p50_ms=96, p95_ms=120
        ),
    ),
)
INVESTIGATION = Investigation(
    incident_id=INCIDENT.id,
    verdict="code_change",
    confidence=0.9,
    summary="POST /pay is four times slower.",
    start=CHANGE,
    end=None,
    baseline=BASELINE,
    window=WINDOW,
    impact=Impact(requests=30, errors=0, share_of_requests=1.0),
    findings=(FINDING,),
    localization=(),
    deployment=DEPLOYMENT,
    suspects=(SUSPECT, OTHER),
    ruled_out=("traffic is the same",),
    evidence=(
        Evidence(id="E1", kind="finding", text="latency of till POST /pay: 100 -> 400 ms"),
        Evidence(id="E2", kind="new_calls", text="3 new calls to risk/score explain 290 of 300 ms"),
    ),
    insight=Insight(
        engine="offline",
        cause="Three new calls a request [E2].",
        suggestion="Ask once.",
        citations=("E2",),
        note="no model was asked",
    ),
    egress=EgressSummary(would_send_bytes=2000, redactions={"card": 3}),
    attribution=ATTRIBUTION,
    operation_diff=DIFF,
    log_changes=(
        LogChange(template="scored <*>", service="till", severity="INFO", count_before=0, count_after=90),
    ),
    repository="till",
)


def spans() -> pa.Table:
    """One request a second: 100 ms before the change; after it 400 ms, with three calls of 96 ms each."""
    rows: list[dict[str, object]] = []
    for i in range(60):
        start = to_ns(START + timedelta(seconds=i))
        late = i >= 30
        common = {
            "trace_id": f"{i + 1:032x}",
            "service_name": "till",
            "service_version": "1.1" if late else "1.0",
            "vcs_revision": ("c" if late else "b") * 40,
            "status_code": 0,
        }
        rows.append(
            common
            | {"span_id": f"{i + 1:016x}", "name": "POST /pay", "kind": 2}
            | {"start_ns": start, "start_time": start, "duration_ns": (400 if late else 100) * 1_000_000}
        )
        for call in range(3 if late else 0):
            at = start + (20 + call * 110) * 1_000_000
            rows.append(
                common
                | {
                    "span_id": f"{i + 1:08x}{call:08x}",
                    "parent_span_id": f"{i + 1:016x}",
                    "name": "POST",
                    "kind": 3,
                }
                | {"start_ns": at, "start_time": at, "duration_ns": 96_000_000}
                | {"url_host": "risk", "url_path": "/score", "http_method": "POST"}
            )
    return pa.Table.from_pylist(rows, schema=TRACES)


def records(body: str = "scored") -> pa.Table:
    """One log record a second, all with the same body."""
    times = [to_ns(START + timedelta(seconds=i)) for i in range(60)]
    rows = [
        {"time": t, "time_ns": t, "severity_text": "INFO", "body": body, "service_name": "till"}
        for t in times
    ]
    return pa.Table.from_pylist(rows, schema=LOGS)


def write_snapshot(folder: Path, *, body: str = "scored") -> dict[str, Path]:
    """traces.parquet and logs.parquet, as the store writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"traces": spans(), "logs": records(body)}
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return {name: folder / f"{name}.parquet" for name in tables}
