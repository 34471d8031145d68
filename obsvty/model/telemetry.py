"""What telemetry shows: deployments, traces, maps, differences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from obsvty.model.base import Window


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The moment a service's revision or version changed in an environment, seen from telemetry.

    `from_*` are empty for the first revision ever seen. A revision is what the resource said; git may not know it.
    """

    service: str
    environment: str
    from_version: str
    from_revision: str
    to_version: str
    to_revision: str
    at: datetime
    repository_url: str = ""


@dataclass(frozen=True, kw_only=True)
class EdgeChange:
    """What one kind of child call does to one request of an operation, before and after.

    `calls_*` are calls per request (means); `ms_*` are milliseconds of self time per request (means), where calls that
    run at once share their time, so that the deltas of all edges and of `self` add up to the request's delta.
    """

    edge: str  # "POST 127.0.0.1:9090/issuer/bin", "sqlite UPDATE stock ...", or "self"
    service: str  # who makes the call
    kind: Literal["new", "vanished", "slower", "faster", "more_calls", "fewer_calls", "same"]
    calls_before: float
    calls_after: float
    ms_before: float
    ms_after: float

    @property
    def delta_ms(self) -> float:
        """Milliseconds that this edge adds to a request."""
        return self.ms_after - self.ms_before


@dataclass(frozen=True, kw_only=True)
class OperationDiff:
    """How an operation behaves before and after; edges with the largest added time first."""

    service: str
    operation: str
    requests_before: int
    requests_after: int
    ms_before: float  # means, because means of parts add up
    ms_after: float
    edges: tuple[EdgeChange, ...]
    example_trace_before: str = ""
    example_trace_after: str = ""

    @property
    def delta_ms(self) -> float:
        """Milliseconds added to the mean request."""
        return self.ms_after - self.ms_before


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where the extra time or the errors come from."""

    service: str
    operation: str  # the edge or operation that explains it
    score: float
    explains_ms: float
    instance: str = ""
    rank: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LogChange:
    """A log template whose rate changed: born, died, risen, fallen."""

    template: str
    service: str
    severity: str
    count_before: int
    count_after: int
    sample: str = ""  # one raw body


@dataclass(frozen=True, kw_only=True)
class AttributeDifference:
    """One attribute value (or operation, instance, revision) that is more, or less, frequent inside than outside."""

    key: str
    value: str
    count_inside: int
    count_outside: int
    share_inside: float
    share_outside: float
    effect: float  # share_inside - share_outside, weighted by significance; the list is sorted by its size


@dataclass(frozen=True, kw_only=True)
class ServiceEdge:
    """Calls from one service to another (or to a database or an uninstrumented host)."""

    source: str
    target: str
    target_kind: Literal["service", "database", "external"]
    calls: int
    errors: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class ServiceMap:
    """Who calls whom in a window."""

    window: Window | None
    services: tuple[str, ...]
    edges: tuple[ServiceEdge, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span of a trace, for showing it."""

    span_id: str
    parent_span_id: str
    name: str
    service: str
    kind: int
    start_ns: int
    duration_ns: int
    status_code: int
    depth: int  # 0 for a root, or for a span whose parent is not stored


@dataclass(frozen=True, kw_only=True)
class Trace:
    """All stored spans of a trace, parents before children, siblings by start."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def duration_ns(self) -> int:
        """From the first start to the last end."""
        first = min(s.start_ns for s in self.spans)
        return max(s.start_ns + s.duration_ns for s in self.spans) - first


@dataclass(frozen=True, kw_only=True)
class Impact:
    """Who felt it, counted in the incident window."""

    requests: int
    errors: int
    share_of_requests: float  # of the operation's requests in the window, those that are affected


@dataclass(frozen=True, kw_only=True)
class SpanGroup:
    """Spans that share a value of each column they were grouped by."""

    key: dict[str, str]
    count: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slowest_trace: str


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Groups, slowest p95 first; `matched` counts all groups, also those beyond the limit."""

    groups: tuple[SpanGroup, ...]
    matched: int
    spans: int
