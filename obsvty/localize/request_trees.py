"""One request as a tree of spans, and where its time went.

The rule that makes parts add up: at every instant the request's time belongs to the innermost spans that are
running, in equal shares when several run at once, and to the request itself (`self`) when none is. So the
parts of a request sum to its duration exactly, however its calls overlap, and the differences of mean parts
sum to the difference of the means.
"""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from obsvty.model import Window
from obsvty.operations import (
    CLIENT,
    ERROR,
    is_entry,
    is_noise_name,
    operation_name,
    template_name,
    template_path,
    template_statement,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

SELF: Final = "self"
SAMPLE: Final = 400
"""At most this many requests a side are taken apart, evenly spread over the window: means of parts need no
more."""
NEAR_NS: Final = 3_600_000_000_000
_COLUMNS: Final = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "name",
    "kind",
    "start_ns",
    "duration_ns",
    "status_code",
    "http_status",
    "service_name",
    "service_instance_id",
    "http_method",
    "url_host",
    "url_path",
    "db_system",
    "db_statement",
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A kind of work inside a request: an edge (or `self`) and the service that does it."""

    service: str
    edge: str


@dataclass(kw_only=True, eq=False)
class Span:
    """One span of a sampled request; times are clipped to its request when they are used."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    duration_ns: int
    failed: bool
    service: str
    instance: str
    edge: str
    children: list[Span] = field(default_factory=list["Span"])

    @property
    def end_ns(self) -> int:
        """Start plus duration."""
        return self.start_ns + self.duration_ns


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Requests of one operation in a window: how many there were, and trees of some, in order of start."""

    requests: int
    entries: tuple[Span, ...]

    @property
    def mean_ms(self) -> float:
        """Mean duration of the sampled requests."""
        return sum(e.duration_ns for e in self.entries) / len(self.entries) / 1e6 if self.entries else 0.0


def edge_of(row: Mapping[str, str | int | None]) -> str:
    """The identity of a call, independent of ids and of the names that instrumentations choose.

    `METHOD host[:port]/path-template` for HTTP clients (their span names are just "POST"), `system
    STATEMENT-SHAPE` for databases, `service name` otherwise.
    """
    if row["db_system"]:
        return (
            f"{row['db_system']} {template_statement(str(row['db_statement'] or row['name'] or ''))}".strip()
        )
    if row["kind"] == CLIENT and row["http_method"] and row["url_host"]:
        return f"{row['http_method']} {row['url_host']}{template_path(str(row['url_path'] or ''))}"
    return f"{row['service_name'] or ''} {template_name(str(row['name'] or ''))}".strip()


def read_sample(
    traces: ir.Table, *, service: str, operation: str, window: Window, sample: int = SAMPLE
) -> Sample:
    """Requests of an operation that started in the window, with all spans of their traces."""
    inside = traces.filter(
        (traces.service_name == service)
        & (traces.start_ns >= window.start_ns)
        & (traces.start_ns < window.end_ns)
    )
    entries = inside.filter(is_entry(inside))
    entries = entries.filter(operation_name(entries) == operation)
    rows = (
        entries.select("trace_id", "span_id", "start_ns")
        .distinct()
        .order_by(["start_ns", "span_id"])
        .to_pyarrow()
    )
    total = rows.num_rows
    chosen = range(total) if total <= sample else [i * total // sample for i in range(sample)]
    if not total:
        return Sample(requests=0, entries=())
    wanted = rows.take(list(chosen))
    ids = cast("list[str]", wanted["span_id"].to_pylist())
    spans = _read_spans(traces, cast("list[str]", wanted["trace_id"].to_pylist()), window)
    found = [spans[span_id] for span_id in ids if span_id in spans]
    return Sample(requests=total, entries=tuple(found))


def _read_spans(traces: ir.Table, trace_ids: Sequence[str], window: Window) -> dict[str, Span]:
    """All spans of the traces by id, linked to their parents; a span that arrived twice counts once."""
    if not trace_ids:
        return {}
    spans: dict[str, Span] = {}
    # calls start within an hour of their request; without bounds every segment of the store would be read
    low, high = window.start_ns - NEAR_NS, window.end_ns + NEAR_NS
    near = traces.filter((traces.start_ns >= low) & (traces.start_ns < high))
    table = near.filter(near.trace_id.isin(sorted(set(trace_ids)))).select(*_COLUMNS)
    for row in table.order_by(["start_ns", "span_id"]).to_pyarrow().to_pylist():
        span_id = str(row["span_id"])
        if span_id in spans or row["start_ns"] is None:
            continue
        spans[span_id] = Span(
            trace_id=str(row["trace_id"]),
            span_id=span_id,
            parent_id=str(row["parent_span_id"] or ""),
            name=str(row["name"] or ""),
            kind=int(row["kind"] or 0),
            start_ns=int(row["start_ns"]),
            duration_ns=max(0, int(row["duration_ns"] or 0)),
            failed=row["status_code"] == ERROR or int(row["http_status"] or 0) >= 500,
            service=str(row["service_name"] or ""),
            instance=str(row["service_instance_id"] or ""),
            edge=edge_of(row),
        )
    for span in spans.values():
        parent = spans.get(span.parent_id)
        while parent is not None and is_noise_name(parent.name):
            parent = spans.get(parent.parent_id)
        if parent is not None and parent is not span and not is_noise_name(span.name):
            parent.children.append(span)
    return spans


def calls_of(entry: Span, *, across: bool = False) -> list[tuple[Span, int, int, int]]:
    """The spans below an entry span as (span, parent's index or -1, start, end), parents first, clipped to the request.

    Args:
        entry: the request.
        across: follow calls into other services; otherwise a span of another service is not taken apart (and
            left out where the caller's client span stands for it).
    """
    found: list[tuple[Span, int, int, int]] = []
    low, high = entry.start_ns, entry.end_ns
    todo = [(child, -1, entry, 0) for child in reversed(entry.children)]
    seen = {entry.span_id}
    while todo:
        span, parent, above, shift = todo.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        remote = span.service != above.service
        if remote and not across and above is not entry and above.kind == CLIENT:
            continue
        if remote:
            shift += _skew(span, above, shift)
        start, end = max(low, span.start_ns + shift), min(high, span.end_ns + shift)
        found.append((span, parent, start, max(start, end)))
        if not remote or across:
            index = len(found) - 1
            todo += [(child, index, span, shift) for child in reversed(span.children)]
    return found


def _skew(span: Span, above: Span, shift: int) -> int:
    """Nanoseconds that move a span of another machine into its caller; 0 when it lies there or does not fit."""
    start, end = above.start_ns + shift, above.end_ns + shift
    mine = span.start_ns + shift
    if span.duration_ns > above.duration_ns or (start <= mine and mine + span.duration_ns <= end):
        return 0
    return start + (above.duration_ns - span.duration_ns) // 2 - mine


def split_time(entry: Span, calls: Sequence[tuple[Span, int, int, int]]) -> tuple[float, list[float]]:
    """Milliseconds of the request itself, and of each call: together the request's duration."""
    own = [0.0] * len(calls)
    rest = 0.0
    bounds: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for index, (_, _, start, end) in enumerate(calls):
        if end > start:
            bounds[start].append((index, True))
            bounds[end].append((index, False))
    active: set[int] = set()
    inner = [0] * len(calls)  # how many of a call's own calls are running
    innermost: set[int] = set()
    clock = entry.start_ns
    for time in sorted({*bounds, entry.end_ns}):
        if time > clock:
            if innermost:
                share = (time - clock) / len(innermost) / 1e6
                for index in innermost:
                    own[index] += share
            else:
                rest += (time - clock) / 1e6
            clock = time
        for index, begins in bounds.get(time, ()):
            parent = calls[index][1]
            if begins:
                active.add(index)
            else:
                active.discard(index)
            if parent >= 0:
                inner[parent] += 1 if begins else -1
        innermost = {index for index in active if inner[index] == 0}
    return rest, own


def part_of(span: Span, above: Span, *, across: bool) -> Part:
    """The kind of work a span is, seen from the span above it.

    Across services, a span that another service answers with is that service's operation; otherwise it is an
    edge of whoever made the call.
    """
    if span.service == above.service:
        return Part(service=span.service, edge=span.edge)
    if across:
        return Part(service=span.service, edge=template_name(span.name))
    return Part(service=above.service, edge=span.edge)


def parts_of(sample: Iterable[Span], *, across: bool = False) -> tuple[dict[Part, float], dict[Part, float]]:
    """Mean milliseconds and mean calls per request of every part; the milliseconds sum to the mean duration."""
    ms: dict[Part, float] = defaultdict(float)
    count: dict[Part, float] = defaultdict(float)
    requests = 0
    for entry in sample:
        requests += 1
        calls = calls_of(entry, across=across)
        rest, own = split_time(entry, calls)
        mine = Part(service=entry.service, edge=SELF)
        ms[mine] += rest
        count[mine] += 1
        for (span, parent, _, _), time in zip(calls, own, strict=True):
            above = calls[parent][0] if parent >= 0 else entry
            part = part_of(span, above, across=across)
            ms[part] += time
            count[part] += 1
    scale = max(requests, 1)
    return {part: total / scale for part, total in ms.items()}, {part: n / scale for part, n in count.items()}
