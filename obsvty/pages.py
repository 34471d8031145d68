"""Values as rows and short texts, for the doors that print them: command line and MCP say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from obsvty.deliver.verdict import verdict_screen
from obsvty.model import (
    AttributeDifference,
    Attribution,
    Incident,
    Investigation,
    JsonValue,
    Overview,
    ServiceMap,
    Suspect,
    Trace,
    rfc3339,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

_ERROR = 2  # OTLP's status code
_DIFF_LINES = 40  # of the best hunk of a suspect


class IncidentRow(TypedDict):
    """One incident in a line."""

    incident_id: str
    start: str
    end: str | None
    status: str
    kind: str
    service: str
    operation: str
    before: float
    after: float
    unit: str
    deployment: str | None


def incident_row(incident: Incident) -> IncidentRow:
    """An incident as one row."""
    lead, deployment = incident.findings[0], incident.deployment
    return {
        "incident_id": incident.id,
        "start": rfc3339(incident.start),
        "end": rfc3339(incident.end) if incident.end else None,
        "status": incident.status,
        "kind": lead.kind,
        "service": lead.service,
        "operation": lead.operation,
        "before": round(lead.before, 3),
        "after": round(lead.after, 3),
        "unit": lead.unit,
        "deployment": (deployment.to_revision or deployment.to_version) if deployment else None,
    }


def incident_line(incident: Incident) -> str:
    """An incident as one line of text."""
    r = incident_row(incident)
    return (
        f"{r['incident_id']}  {r['start']}  {r['status']:9}  {r['service']} {r['operation']}  "
        f"{r['kind']} {r['before']:.0f} -> {r['after']:.0f} {r['unit']}"
    )


def incident_table(incidents: Sequence[Incident]) -> pa.Table:
    """Incidents as rows of a typed table, also when there are none."""
    import pyarrow as pa

    numbers, times = ("before", "after"), ("start", "end")
    fields: list[tuple[str, pa.DataType]] = []
    for name in IncidentRow.__annotations__:
        kind = (
            pa.float64()
            if name in numbers
            else pa.timestamp("us", tz="UTC")
            if name in times
            else pa.string()
        )
        fields.append((name, kind))
    rows = [{**incident_row(i), "start": i.start, "end": i.end} for i in incidents]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def overview_page(page: Overview, *, offset: int) -> tuple[str, dict[str, JsonValue]]:
    """Groups of spans as text and as data, with what was left out and how to go on."""
    rows: list[JsonValue] = [
        {
            "key": dict(g.key),
            "count": g.count,
            "errors": g.errors,
            "p50_ms": g.p50_ms,
            "p95_ms": g.p95_ms,
            "p99_ms": g.p99_ms,
            "slowest_trace": g.slowest_trace,
        }
        for g in page.groups
    ]
    end = offset + len(rows)
    more = end < page.matched
    hint = f"{page.matched - end} more groups: offset={end}" if more else "all groups are shown"
    if not page.matched:
        hint = "no span matches: widen the filter"
    lines = ["group | count | errors | p50 ms | p95 ms | p99 ms | slowest trace"]
    lines += [
        f"{' '.join(g.key.values())} | {g.count} | {g.errors} | {g.p50_ms:.1f} | {g.p95_ms:.1f} | {g.p99_ms:.1f} | "
        f"{g.slowest_trace}"
        for g in page.groups
    ]
    lines.append(f"{page.matched} groups, {page.spans} spans; {hint}")
    data: dict[str, JsonValue] = {
        "groups": rows,
        "total_matched": page.matched,
        "next_offset": end if more else None,
        "hint": hint,
    }
    return "\n".join(lines), data


def suspects_page(answer: Attribution, *, limit: int) -> tuple[str, dict[str, JsonValue]]:
    """Suspects as text and as data."""
    shown = answer.suspects[:limit]
    lines = [
        f"{answer.candidates} candidates in {answer.base[:12]}..{answer.head[:12]} ({answer.base_reason})"
    ]
    if not shown:
        lines.append(f"no commit explains this: {answer.abstained}")
    for s in shown:
        lines.append(
            f'{s.rank}. {s.commit.revision} {s.probability:.2f} "{s.commit.subject}" by {s.commit.author}'
        )
        lines += [f"   {reason}" for reason in s.reasons]
        lines += [f"   {h.place}" for h in s.hunks[:3]]
    data: dict[str, JsonValue] = {
        "suspects": [_suspect(s) for s in shown],
        "candidates": answer.candidates,
        "base": answer.base,
        "revision": answer.head,
        "abstained": answer.abstained,
    }
    return "\n".join(lines), data


def _suspect(s: Suspect) -> JsonValue:
    return {
        "rank": s.rank,
        "revision": s.commit.revision,
        "probability": round(s.probability, 4),
        "subject": s.commit.subject,
        "author": s.commit.author,
        "hunks": [{"file": h.file, "start": h.start, "end": h.end} for h in s.hunks],
        "reasons": list(s.reasons),
        "diff": "\n".join(s.hunks[0].text.splitlines()[:_DIFF_LINES]) if s.hunks else "",
    }


def brief(inv: Investigation) -> str:
    """The verdict screen and where to look next, for a tired person or an agent."""
    lines = [str(verdict_screen(inv))]
    lines += [f"[{e.id}] {e.text}" for e in inv.evidence[:8]]
    if inv.operation_diff is not None and inv.operation_diff.example_trace_after:
        lines.append(f"example trace: {inv.operation_diff.example_trace_after}")
    return "\n".join(lines)


def differences_page(rows: Sequence[AttributeDifference], *, limit: int) -> tuple[str, dict[str, JsonValue]]:
    """What differs between two windows, as text and as data."""
    shown = rows[:limit]
    lines = [
        f"{r.share_outside:6.1%} -> {r.share_inside:6.1%}  {r.key} = {r.value}  "
        f"({r.count_outside} -> {r.count_inside})"
        for r in shown
    ]
    lines.append(f"{len(rows)} differences, {len(shown)} shown" if rows else "nothing differs")
    data: dict[str, JsonValue] = {
        "differences": [difference_row(r) for r in shown],
        "total_matched": len(rows),
    }
    return "\n".join(lines), data


def difference_row(r: AttributeDifference) -> dict[str, JsonValue]:
    """One difference as a row."""
    return {
        "key": r.key,
        "value": r.value,
        "count_inside": r.count_inside,
        "count_outside": r.count_outside,
        "share_inside": round(r.share_inside, 4),
        "share_outside": round(r.share_outside, 4),
        "effect": round(r.effect, 4),
    }


def service_map_page(found: ServiceMap, *, limit: int) -> tuple[str, dict[str, JsonValue]]:
    """Who calls whom, the busiest edges first, as text and as data."""
    edges = sorted(found.edges, key=lambda e: (-e.calls, e.source, e.target))
    rows: list[JsonValue] = [
        {
            "source": e.source,
            "target": e.target,
            "target_kind": e.target_kind,
            "calls": e.calls,
            "errors": e.errors,
            "p50_ms": round(e.p50_ms, 3),
            "p95_ms": round(e.p95_ms, 3),
        }
        for e in edges[:limit]
    ]
    lines = [
        f"{e.source} -> {e.target} ({e.target_kind}): {e.calls} calls, {e.errors} errors, "
        f"p50 {e.p50_ms:.1f} ms, p95 {e.p95_ms:.1f} ms"
        for e in edges[:limit]
    ]
    lines.append(f"{len(found.services)} services, {len(edges)} edges, {len(rows)} shown")
    return "\n".join(lines), {"services": list(found.services), "edges": rows, "total_matched": len(edges)}


def trace_page(trace: Trace, *, limit: int) -> tuple[str, dict[str, JsonValue]]:
    """A trace as an indented tree of spans, as text and as data."""
    first = min(s.start_ns for s in trace.spans)
    rows: list[JsonValue] = [
        {
            "span_id": s.span_id,
            "parent_span_id": s.parent_span_id,
            "depth": s.depth,
            "service": s.service,
            "name": s.name,
            "at_ms": round((s.start_ns - first) / 1e6, 3),
            "duration_ms": round(s.duration_ns / 1e6, 3),
            "error": s.status_code == _ERROR,
        }
        for s in trace.spans[:limit]
    ]
    lines = [
        f"{'  ' * s.depth}{s.service} {s.name}  +{(s.start_ns - first) / 1e6:.1f} ms  {s.duration_ns / 1e6:.1f} ms"
        f"{'  ERROR' if s.status_code == _ERROR else ''}  {s.span_id}"
        for s in trace.spans[:limit]
    ]
    lines.append(
        f"{len(trace.spans)} spans in {trace.duration_ns / 1e6:.1f} ms, {len(rows)} shown; "
        "commit_for_span says which commit is behind one"
    )
    data: dict[str, JsonValue] = {
        "trace_id": trace.trace_id,
        "duration_ms": round(trace.duration_ns / 1e6, 3),
        "spans": rows,
        "total_matched": len(trace.spans),
    }
    return "\n".join(lines), data


def schema_page(tables: Mapping[str, ir.Table]) -> str:
    """The columns of tables as Markdown."""
    blocks = [
        f"## {name}\n" + "\n".join(f"- `{column}` {kind}" for column, kind in table.schema().items())
        for name, table in tables.items()
    ]
    return "\n\n".join(["# Tables of Obsvty", *blocks]) + "\n"
