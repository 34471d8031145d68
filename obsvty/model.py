"""The values that rooms hand to each other: frozen, typed, without I/O.

Times are aware `datetime` in UTC; units are in the names. Ids of traces and spans are lower-case hex text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

JsonValue: TypeAlias = "None | bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue]"
JsonObject: TypeAlias = "Mapping[str, JsonValue]"

Signal = Literal["traces", "logs", "metrics"]
FindingKind = Literal["latency", "errors", "throughput", "exception", "log_template", "metric", "deployment"]
Verdict = Literal[
    "code_change",
    "dependency",
    "traffic",
    "infrastructure",
    "configuration",
    "inconclusive",
    "no_incident",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_ns(time_ns: int) -> datetime:
    """Unix nanoseconds to aware UTC (microsecond precision)."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def to_ns(time: datetime) -> int:
    """Aware datetime to Unix nanoseconds, without going through a float."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


def rfc3339(time: datetime) -> str:
    """UTC with milliseconds and a Z: `2026-11-25T14:59:31.250Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class Window:
    """A half-open interval `[start, end)`."""

    start: datetime
    end: datetime

    @property
    def start_ns(self) -> int:
        """Start in Unix nanoseconds."""
        return to_ns(self.start)

    @property
    def end_ns(self) -> int:
        """End in Unix nanoseconds; not inside."""
        return to_ns(self.end)

    @classmethod
    def of_ns(cls, start_ns: int, end_ns: int) -> Window:
        """From Unix nanoseconds."""
        return cls(start=from_ns(start_ns), end=from_ns(end_ns))


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The moment a service's revision or version changed in an environment, seen from telemetry.

    `from_*` are empty for the first revision ever seen. A revision is what the resource said; it need not resolve in git.
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
class Finding:
    """One detector's result: subject, change point, before, after, significance."""

    kind: FindingKind
    service: str
    operation: str
    before: float
    after: float
    unit: str
    change_at: datetime
    id: str = ""  # F1, F2 ... inside an incident; given by the grouping
    count_before: int = 0
    count_after: int = 0
    p_value: float = 1.0
    ended_at: datetime | None = None  # set when the value went back
    text: str = ""  # one sentence; may quote telemetry, so it passes the gate before it leaves


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Findings believed to have one cause. The first finding is the one people feel most."""

    id: str
    start: datetime
    end: datetime | None
    baseline: Window
    window: Window
    findings: tuple[Finding, ...]
    deployment: Deployment | None = None  # the one the findings began with, if any
    status: Literal["open", "recovered", "acknowledged"] = "open"

    @property
    def service(self) -> str:
        """Service of the leading finding."""
        return self.findings[0].service

    @property
    def operation(self) -> str:
        """Operation of the leading finding."""
        return self.findings[0].operation


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
class CodeLocation:
    """A place in the code that telemetry named. `line` is of the running revision; 0 when unknown."""

    file: str  # as sent: absolute, container or repository path
    line: int = 0
    function: str = ""
    source: Literal["span", "log", "stack"] = "span"
    count: int = 1  # how many spans or logs said so


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit, as git tells it."""

    revision: str  # 40 hex
    author: str
    email: str
    time: datetime
    subject: str
    body: str = ""
    parents: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """Lines of the new file that a commit wrote; `start` and `end` inclusive."""

    file: str
    start: int
    end: int
    text: str = ""  # the hunk's body, unified-diff lines; raw


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A candidate commit with its score and the reasons for it."""

    commit: Commit
    score: float
    probability: float  # over all candidates and "no commit explains this"
    hunks: tuple[Hunk, ...]
    reasons: tuple[str, ...]
    rank: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The answer to "which commit": ranked suspects, or why no commit is named."""

    suspects: tuple[Suspect, ...]
    candidates: int
    base: str  # full revision that the candidates start after; "" when unknown
    head: str  # full running revision; "" when unknown
    base_reason: str  # where base came from: "last good deployment in telemetry", "--base", ...
    none_probability: float = 0.0  # that no commit of the window explains it
    abstained: str = ""  # the reason why no suspect is named; "" when one is


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One numbered fact. `refs` point to where it can be seen again: trace_id, edge, revision, file, line ..."""

    id: str
    kind: str
    text: str
    refs: Mapping[str, str | int | float] = field(default_factory=dict[str, "str | int | float"])


@dataclass(frozen=True, kw_only=True)
class Impact:
    """Who felt it, counted in the incident window."""

    requests: int
    errors: int
    share_of_requests: float  # of the operation's requests in the window, those that are affected


@dataclass(frozen=True, kw_only=True)
class Insight:
    """The checked answer in words. Claims that failed the check are in `struck`, not in the text."""

    engine: str
    cause: str
    suggestion: str
    citations: tuple[str, ...]
    tokens: int = 0  # of prompt and answer together; 0 when no model was asked
    struck: tuple[str, ...] = ()
    note: str = ""  # e.g. "no model was asked"


@dataclass(frozen=True, kw_only=True)
class EgressSummary:
    """What left this machine for one incident, and what would leave if a model were asked."""

    entries: int = 0
    bytes: int = 0
    redactions: Mapping[str, int] = field(default_factory=dict[str, int])
    would_send_bytes: int = 0


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
class Alert:
    """What a person reads at 3 a.m.: one screen. Plug-ins get it through the gate (`SanitizedAlert`)."""

    incident_id: str
    key: str  # idempotency: the same key is never delivered twice
    mark: Literal["action_required", "action_suggested", "resolved", "inconclusive"]
    title: str
    summary: str
    why: str
    fix: str
    fields: tuple[tuple[str, str], ...]  # label, value
    footer: str
    text: str  # plain text of the whole, for phones and logs
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where an alert went."""

    destination: str
    reference: str = ""  # message ts, file line, URL


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
class Document:
    """A passage of the repository's own documentation at the running revision, found by its words."""

    path: str
    revision: str
    title: str
    excerpt: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Investigation:
    """The whole story of one incident. `to_dict` is the JSON that commands and MCP print."""

    incident_id: str
    verdict: Verdict
    confidence: float
    summary: str
    start: datetime | None
    end: datetime | None
    baseline: Window | None
    window: Window | None
    impact: Impact
    findings: tuple[Finding, ...]
    localization: tuple[Location, ...]
    deployment: Deployment | None
    suspects: tuple[Suspect, ...]
    ruled_out: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    insight: Insight
    egress: EgressSummary
    attribution: Attribution | None = None
    operation_diff: OperationDiff | None = None
    log_changes: tuple[LogChange, ...] = ()
    code: tuple[CodeLocation, ...] = ()
    documents: tuple[Document, ...] = ()
    repository: str = ""  # where suspects were looked for; "" when no repository was found

    def to_dict(self) -> dict[str, JsonValue]:
        """The contract's JSON (docs/vocabulary.md). Times are RFC 3339, numbers are rounded for people."""
        deployment = self.deployment
        return {
            "incident_id": self.incident_id,
            "verdict": self.verdict,
            "confidence": round(self.confidence, 3),
            "summary": self.summary,
            "start": _time(self.start),
            "end": _time(self.end),
            "baseline": _window(self.baseline),
            "window": _window(self.window),
            "impact": {
                "requests": self.impact.requests,
                "errors": self.impact.errors,
                "share_of_requests": round(self.impact.share_of_requests, 4),
            },
            "findings": [
                {
                    "id": f.id,
                    "kind": f.kind,
                    "service": f.service,
                    "operation": f.operation,
                    "before": round(f.before, 3),
                    "after": round(f.after, 3),
                    "unit": f.unit,
                    "change_at": rfc3339(f.change_at),
                    "count_before": f.count_before,
                    "count_after": f.count_after,
                }
                for f in self.findings
            ],
            "localization": [
                {
                    "rank": place.rank,
                    "service": place.service,
                    "operation": place.operation,
                    "instance": place.instance,
                    "score": round(place.score, 4),
                    "explains_ms": round(place.explains_ms, 1),
                    "evidence": list(place.evidence),
                }
                for place in self.localization
            ],
            "deployment": deployment
            and {
                "service": deployment.service,
                "from": deployment.from_revision or deployment.from_version,
                "to": deployment.to_revision or deployment.to_version,
                "at": rfc3339(deployment.at),
                "from_version": deployment.from_version,
                "to_version": deployment.to_version,
            },
            "suspects": [suspect_dict(s) for s in self.suspects],
            "ruled_out": list(self.ruled_out),
            "evidence": [
                {"id": e.id, "kind": e.kind, "text": e.text, "refs": dict(e.refs)} for e in self.evidence
            ],
            "insight": {
                "engine": self.insight.engine,
                "cause": self.insight.cause,
                "suggestion": self.insight.suggestion,
                "citations": list(self.insight.citations),
                "tokens": self.insight.tokens,
                "note": self.insight.note,
                "struck": list(self.insight.struck),
            },
            "egress": {
                "entries": self.egress.entries,
                "bytes": self.egress.bytes,
                "redactions": dict(self.egress.redactions),
                "would_send_bytes": self.egress.would_send_bytes,
            },
        }


def suspect_dict(suspect: Suspect) -> dict[str, JsonValue]:
    """A suspect as the contract's JSON; `obsvty suspects --json` prints the same."""
    return {
        "rank": suspect.rank,
        "revision": suspect.commit.revision,
        "score": round(suspect.score, 4),
        "probability": round(suspect.probability, 4),
        "author": suspect.commit.author,
        "time": rfc3339(suspect.commit.time),
        "subject": suspect.commit.subject,
        "hunks": [{"file": h.file, "start": h.start, "end": h.end} for h in suspect.hunks],
        "reasons": list(suspect.reasons),
        "evidence": list(suspect.evidence),
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)


def _window(window: Window | None) -> JsonValue:
    return None if window is None else {"start": rfc3339(window.start), "end": rfc3339(window.end)}


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
