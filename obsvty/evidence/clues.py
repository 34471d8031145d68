"""What telemetry says about the code behind an incident or a span: the question that suspects answer.

`code.*` is optional: Python's SDK puts it on logs only, and only when told to. Everything here also works with edges,
routes, statements and exceptions alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from obsvty.errors import UnknownTrace
from obsvty.evidence.paths import is_third_party
from obsvty.evidence.stack import parse_stack
from obsvty.model import CodeLocation, EdgeChange, Incident, LogChange, OperationDiff, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir

_MAX_ROWS = 200_000  # spans and logs looked at; enough for shares, bounded for memory
_MAX_EACH = 60  # kinds of statement, exception, location kept, most frequent first


@dataclass(frozen=True, kw_only=True)
class ExceptionClue:
    """One kind of exception: its type, an example message, in-app and other frames innermost first."""

    type: str
    message: str = ""
    frames: tuple[CodeLocation, ...] = ()
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Clues:
    """What is known about the code that misbehaved. All texts are raw telemetry."""

    service: str = ""
    operation: str = ""
    route: str = ""
    delta_ms: float = 0.0  # extra time of a mean request; 0 where no comparison was made
    edges: tuple[EdgeChange, ...] = ()  # largest extra time first
    requests: int = 0  # affected requests looked at
    code: tuple[CodeLocation, ...] = ()  # in-app, most frequent first; count = requests that named it
    seen_before: frozenset[tuple[str, str]] = frozenset()  # (file, function) named in the baseline too
    exceptions: tuple[ExceptionClue, ...] = ()
    statements: tuple[str, ...] = ()
    url_paths: tuple[str, ...] = ()
    log_templates: tuple[str, ...] = ()  # that were born or rose
    names: tuple[str, ...] = ()  # span names below the operation


@dataclass(frozen=True, kw_only=True)
class _Span:
    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    service: str
    route: str
    url_path: str
    statement: str
    file: str
    line: int
    function: str


def gather_incident_clues(
    traces: ir.Table,
    logs: ir.Table,
    *,
    incident: Incident,
    diff: OperationDiff | None = None,
    log_changes: Sequence[LogChange] = (),
) -> Clues:
    """Clues of an incident: its changed edges, and the code that logged or broke inside the affected requests.

    Args:
        traces: the canonical table.
        logs: the canonical table; joined by trace id.
        incident: the leading finding names service and operation.
        diff: the operation before and after; without it there are no edges.
        log_changes: templates whose rate changed; those of the service that were born or rose are kept.
    """
    service, operation = incident.service, incident.operation
    services = {service, *[edge.service for edge in (diff.edges if diff else ()) if edge.service]}
    inside = _gather(traces, logs, incident.window, operation=operation, service=service, services=services)
    before = _gather(traces, logs, incident.baseline, operation=operation, service=service, services=services)
    edges = tuple(sorted(diff.edges, key=lambda e: (-e.delta_ms, e.service, e.edge))) if diff else ()
    known = {_kind_of(clue) for clue in before.exceptions}
    fresh = tuple(clue for clue in inside.exceptions if _kind_of(clue) not in known)
    return replace(
        inside,
        service=service,
        operation=operation,
        delta_ms=diff.delta_ms if diff else 0.0,
        edges=edges,
        seen_before=frozenset((place.file, place.function) for place in before.code),
        exceptions=fresh or inside.exceptions,
        statements=tuple(text for text in inside.statements if text not in before.statements),
        url_paths=tuple(path for path in inside.url_paths if path not in before.url_paths),
        names=tuple(name for name in inside.names if name not in before.names),
        log_templates=tuple(
            change.template
            for change in sorted(log_changes, key=lambda c: (c.count_before - c.count_after, c.template))
            if change.service in services and change.count_after > change.count_before
        )[:_MAX_EACH],
    )


def gather_span_clues(
    traces: ir.Table,
    logs: ir.Table,
    trace_id: str,
    span_id: str | None = None,
    *,
    diff: OperationDiff | None = None,
) -> Clues:
    """Clues of one trace, or of one span with what ran below it.

    Raises:
        UnknownTrace: no stored span has those ids.
    """
    spans = _spans(traces.filter(traces.trace_id == trace_id))
    if not spans:
        raise UnknownTrace("No stored trace has that id.", hint="Use obsvty query to find one.")
    if span_id is not None:
        spans = _below(spans, span_id)
        if not spans:
            raise UnknownTrace(
                "That trace has no span with that id.", hint="Leave the span out to use the whole."
            )
    found = _clues(spans, traces, logs, [trace_id], {span.span_id for span in spans})
    root = next((s for s in spans if s.span_id == span_id), None) or _root(spans)
    edges = tuple(sorted(diff.edges, key=lambda e: (-e.delta_ms, e.service, e.edge))) if diff else ()
    return replace(
        found,
        service=root.service,
        operation=root.name,
        route=root.route or found.route,
        edges=edges,
        delta_ms=diff.delta_ms if diff else 0.0,
    )


def gather_otlp_clues(traces: ir.Table, logs: ir.Table) -> Clues:
    """Clues of everything in small tables, such as those decoded from one OTLP file.

    Raises:
        UnknownTrace: the tables hold no span.
    """
    spans = _spans(traces)
    if not spans:
        raise UnknownTrace("The file holds no span.", hint="Give an OTLP file with traces.")
    root = _root(spans)
    found = _clues(spans, traces, logs, sorted({s.trace_id for s in spans}), {s.span_id for s in spans})
    return replace(found, service=root.service, operation=root.name, route=root.route or found.route)


def _gather(
    traces: ir.Table, logs: ir.Table, window: Window, *, operation: str, service: str, services: set[str]
) -> Clues:
    from ibis import _

    spans = traces.filter(_.start_ns >= window.start_ns, _.start_ns < window.end_ns)
    heads = spans.filter(_.service_name == service)
    heads = heads.filter((_.name == operation) | (_.http_method + " " + _.http_route == operation))
    ids = _column(heads.select("trace_id").distinct().order_by("trace_id").limit(_MAX_ROWS), "trace_id")
    if not ids:
        return Clues(service=service, operation=operation)
    inside = spans.filter(_.trace_id.isin(ids), _.service_name.isin(sorted(services)))
    rows = _spans(inside)
    found = _clues(rows, inside, logs, ids, {row.span_id for row in rows})
    routes = Counter(s.route for s in rows if s.service == service and s.route)
    return replace(found, requests=len(ids), route=_common(routes)[0] if routes else "")


def _clues(
    spans: Sequence[_Span], traces: ir.Table, logs: ir.Table, trace_ids: Sequence[str], span_ids: set[str]
) -> Clues:
    """Counts over spans, their exception events, and the logs written inside them."""
    places: dict[tuple[str, int, str, Literal["span", "log", "stack"]], set[str]] = {}
    for span in spans:
        if span.file and not is_third_party(span.file):
            places.setdefault((span.file, span.line, span.function, "span"), set()).add(span.trace_id)
    exceptions: dict[tuple[str, str], tuple[set[str], str, str]] = {}
    for span_id, kind, message, stack in _exception_events(traces, trace_ids):
        if span_id in span_ids:
            _note_exception(exceptions, span_id, kind, message, stack)
    for row in _log_rows(logs, trace_ids):
        trace_id, span_id, file, line, function, kind, message, stack = row
        if span_id and span_id not in span_ids:
            continue
        if file and not is_third_party(file):
            places.setdefault((file, line, function, "log"), set()).add(trace_id)
        if kind or stack:
            _note_exception(exceptions, span_id or trace_id, kind, message, stack)
    code = [
        CodeLocation(file=file, line=line, function=function, source=source, count=len(traces_of))
        for (file, line, function, source), traces_of in places.items()
    ]
    code.sort(key=lambda c: (-c.count, c.file, c.line, c.function, c.source))
    clues = [
        ExceptionClue(type=kind, message=message, frames=tuple(parse_stack(stack)), count=len(where))
        for (kind, _), (where, message, stack) in exceptions.items()
    ]
    clues.sort(key=lambda e: (-e.count, e.type, e.message))
    return Clues(
        route=next((s.route for s in spans if s.route), ""),
        requests=len(trace_ids),
        code=tuple(code[:_MAX_EACH]),
        exceptions=tuple(clues[:_MAX_EACH]),
        statements=_common(Counter(s.statement for s in spans if s.statement)),
        url_paths=_common(Counter(s.url_path for s in spans if s.url_path)),
        names=_common(Counter(s.name for s in spans if s.name)),
    )


def _kind_of(clue: ExceptionClue) -> tuple[str, str, str]:
    """Type and place without the line, which moves between two revisions, and the message, which holds ids."""
    frame = clue.frames[0] if clue.frames else CodeLocation(file="")
    return clue.type, frame.file, frame.function


def _note_exception(
    into: dict[tuple[str, str], tuple[set[str], str, str]], where: str, kind: str, message: str, stack: str
) -> None:
    """Exceptions are events in old SDKs and log records in new ones, sometimes both: one clue for a type and place."""
    frames = parse_stack(stack)
    place = f"{frames[0].file}:{frames[0].line}" if frames else ""
    seen = into.setdefault((kind, place), (set(), message, stack))
    seen[0].add(where)


def _spans(traces: ir.Table) -> list[_Span]:
    picked = traces.order_by("start_ns", "span_id").limit(_MAX_ROWS)
    columns = ("trace_id", "span_id", "parent_span_id", "name", "service_name", "http_route", "url_path")
    picked = picked.select(*columns, "db_statement", "code_file", "code_line", "code_function")
    return [
        _Span(
            trace_id=_text(row["trace_id"]),
            span_id=_text(row["span_id"]),
            parent_span_id=_text(row["parent_span_id"]),
            name=_text(row["name"]),
            service=_text(row["service_name"]),
            route=_text(row["http_route"]),
            url_path=_text(row["url_path"]),
            statement=_text(row["db_statement"]),
            file=_text(row["code_file"]),
            line=_number(row["code_line"]),
            function=_text(row["code_function"]),
        )
        for row in _rows(picked)
    ]


def _exception_events(traces: ir.Table, trace_ids: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """(span id, type, message, stack) of each exception event."""
    from ibis import _

    spans = traces.filter(_.trace_id.isin(trace_ids), _.events.length() > 0)
    events = spans.select("trace_id", "span_id", "start_ns", event=_.events.unnest())
    events = events.filter(_.event["name"] == "exception")
    picked = events.order_by("start_ns", "span_id").limit(_MAX_ROWS)
    picked = picked.select(
        "span_id",
        kind=_.event["attributes"].get("exception.type", ""),
        message=_.event["attributes"].get("exception.message", ""),
        stack=_.event["attributes"].get("exception.stacktrace", ""),
    )
    return [
        (
            _text(row["span_id"]),
            _text(row["kind"]),
            _text(row["message"]),
            _text(row["stack"]),
        )
        for row in _rows(picked)
    ]


def _log_rows(
    logs: ir.Table, trace_ids: Sequence[str]
) -> list[tuple[str, str, str, int, str, str, str, str]]:
    from ibis import _

    picked = logs.filter(_.trace_id.isin(trace_ids)).order_by("time_ns", "span_id").limit(_MAX_ROWS)
    picked = picked.select(
        "trace_id",
        "span_id",
        "code_file",
        "code_line",
        "code_function",
        kind=_.attributes.get("exception.type", ""),
        message=_.attributes.get("exception.message", ""),
        stack=_.attributes.get("exception.stacktrace", ""),
    )
    return [
        (
            _text(row["trace_id"]),
            _text(row["span_id"]),
            _text(row["code_file"]),
            _number(row["code_line"]),
            _text(row["code_function"]),
            _text(row["kind"]),
            _text(row["message"]),
            _text(row["stack"]),
        )
        for row in _rows(picked)
    ]


def _below(spans: Sequence[_Span], span_id: str) -> list[_Span]:
    """The span and its descendants."""
    children: dict[str, list[_Span]] = {}
    for span in spans:
        children.setdefault(span.parent_span_id, []).append(span)
    found = [span for span in spans if span.span_id == span_id]
    seen = {span_id}
    for span in found:  # grows while it is walked
        for child in children.get(span.span_id, []):
            if child.span_id not in seen:
                seen.add(child.span_id)
                found.append(child)
    return found


def _root(spans: Sequence[_Span]) -> _Span:
    ids = {span.span_id for span in spans}
    return next((span for span in spans if span.parent_span_id not in ids), spans[0])


def _common(counts: Counter[str]) -> tuple[str, ...]:
    ordered = sorted(counts, key=lambda text: (-counts[text], text))
    return tuple(ordered[:_MAX_EACH])


def _rows(table: ir.Table) -> Iterable[dict[str, object]]:
    return table.to_pyarrow().to_pylist()


def _column(table: ir.Table, name: str) -> list[str]:
    return [_text(row[name]) for row in _rows(table)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
