"""Where the added time comes from: edges of one operation, or places anywhere below it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Literal

from obsvty.localize.request_trees import SELF, Part, Sample, calls_of, part_of, parts_of, read_sample
from obsvty.model import EdgeChange, Location, OperationDiff, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir

MIN_SCORE: Final = 0.02
ONE_INSTANCE: Final = 0.8


def locate(diff: OperationDiff) -> list[Location]:
    """The edges that explain the added time of a request, largest first.

    `score` is the edge's share of all added time; edges below 2 % or without added time are left out. `self`
    is reported as the operation itself: code of its own service that no span covers.
    """
    added = [edge for edge in diff.edges if edge.delta_ms > 0]
    total = sum(edge.delta_ms for edge in added)
    return _ranked(
        [
            (
                edge.service,
                diff.operation if edge.edge == SELF else edge.edge,
                edge.delta_ms,
                edge.delta_ms / total,
                "",
            )
            for edge in added
        ]
    )


def origin_of(edge: EdgeChange) -> Literal["own_code", "dependency", "none"]:
    """A hint where to look for the cause of an edge's change.

    Calls that are new, gone, more or fewer, and time in `self`, are decisions of the caller's own code; the
    same calls that take longer are the callee's doing.
    """
    if edge.kind == "same":
        return "none"
    if edge.edge == SELF or edge.kind in ("new", "vanished", "more_calls", "fewer_calls"):
        return "own_code"
    return "dependency"


def locate_across(
    traces: ir.Table, *, service: str, operation: str, before: Window, after: Window
) -> list[Location]:
    """Where the added time of an operation is spent, followed into every service that it calls.

    At each instant a request's time belongs to the innermost spans running anywhere in its trace, so a slow
    callee is named with its own operation or its own call, and callers that merely wait are not. `instance`
    is set when nearly all of the requests at that place were served by one of several instances.
    """
    old = read_sample(traces, service=service, operation=operation, window=before)
    new = read_sample(traces, service=service, operation=operation, window=after)
    if not old.entries or not new.entries:
        return []
    ms_before, _ = parts_of(old.entries, across=True)
    ms_after, _ = parts_of(new.entries, across=True)
    added = {
        part: ms_after.get(part, 0.0) - ms_before.get(part, 0.0)
        for part in {**ms_before, **ms_after}
        if ms_after.get(part, 0.0) > ms_before.get(part, 0.0)
    }
    total = sum(added.values())
    instances = _instances(new)
    return _ranked(
        [
            (
                part.service,
                operation if part.edge == SELF else part.edge,
                delta,
                delta / total,
                instances.get(part, ""),
            )
            for part, delta in added.items()
        ]
    )


def edge_services(
    traces: ir.Table, *, service: str, operation: str, window: Window, sample: int = 50
) -> dict[str, str]:
    """Which instrumented service answers each edge of an operation, where one does."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in read_sample(
        traces, service=service, operation=operation, window=window, sample=sample
    ).entries:
        for span, _, _, _ in calls_of(entry):
            for child in span.children:
                if child.service and child.service != span.service:
                    answers[span.edge][child.service] += 1
            if span.service != service:
                answers[span.edge][span.service] += 1
    return {edge: min(c, key=lambda name: (-c[name], name)) for edge, c in sorted(answers.items())}


def edge_failures(
    traces: ir.Table, *, service: str, operation: str, before: Window, after: Window
) -> dict[str, tuple[float, float]]:
    """Share of requests with a failed call, before and after, by edge; edges without failures are left out."""
    shares: list[dict[str, float]] = []
    for window in (before, after):
        entries = read_sample(traces, service=service, operation=operation, window=window).entries
        failed = Counter(
            edge for entry in entries for edge in {s.edge for s, _, _, _ in calls_of(entry) if s.failed}
        )
        shares.append({edge: n / len(entries) for edge, n in failed.items()})
    return {
        edge: (shares[0].get(edge, 0.0), shares[1].get(edge, 0.0))
        for edge in sorted({*shares[0], *shares[1]})
    }


def _instances(sample: Sample) -> dict[Part, str]:
    """The instance that does nearly all the work of a part, where its service has several."""
    seen: dict[str, set[str]] = defaultdict(set)
    work: dict[Part, Counter[str]] = defaultdict(Counter)
    for entry in sample.entries:
        seen[entry.service].add(entry.instance)
        calls = calls_of(entry, across=True)
        work[Part(service=entry.service, edge=SELF)][entry.instance] += entry.duration_ns
        for span, parent, _, _ in calls:
            seen[span.service].add(span.instance)
            above = calls[parent][0] if parent >= 0 else entry
            work[part_of(span, above, across=True)][span.instance] += span.duration_ns
    found: dict[Part, str] = {}
    for part, by_instance in work.items():
        top = min(by_instance, key=lambda name: (-by_instance[name], name))
        if len(seen[part.service]) > 1 and by_instance[top] >= ONE_INSTANCE * sum(by_instance.values()):
            found[part] = top
    return found


def _ranked(rows: list[tuple[str, str, float, float, str]]) -> list[Location]:
    kept = sorted((row for row in rows if row[3] >= MIN_SCORE), key=lambda r: (-round(r[2], 6), r[0], r[1]))
    return [
        Location(
            service=service,
            operation=operation,
            score=score,
            explains_ms=delta_ms,
            instance=instance,
            rank=rank,
        )
        for rank, (service, operation, delta_ms, score, instance) in enumerate(kept, 1)
    ]
