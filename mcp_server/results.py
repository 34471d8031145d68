"""What the tools return, as schemas that a client can rely on."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Group(BaseModel):
    """Spans that share a value of each column they were grouped by."""

    key: dict[str, str]
    count: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slowest_trace: str


class Groups(BaseModel):
    """One page of groups."""

    groups: list[Group]
    total_matched: int
    next_offset: int | None = Field(description="pass back as offset for the next page; null = last page")
    hint: str


class Context(BaseModel):
    """The sanitized context of an incident."""

    incident_id: str
    text: str
    tokens: int
    redactions: dict[str, int] = Field(description="values replaced, by kind; the values never leave")


class HunkRef(BaseModel):
    """Lines of the new file."""

    file: str
    start: int
    end: int


class SuspectRow(BaseModel):
    """A candidate commit."""

    rank: int
    revision: str
    probability: float
    subject: str
    author: str
    hunks: list[HunkRef]
    reasons: list[str]
    diff: str = Field(description="sanitized lines of the best hunk")


class Suspects(BaseModel):
    """The ranked suspects, or why none is named."""

    suspects: list[SuspectRow]
    candidates: int
    base: str
    revision: str
    abstained: str = Field(description='why no commit is named; "" when one is')


class Receipt(BaseModel):
    """Where the alert went."""

    sent: bool
    destinations: list[str]


class IncidentRow(BaseModel):
    """One incident in a line."""

    incident_id: str
    start: str
    service: str
    operation: str
    kind: str
    before: float
    after: float
    unit: str


class Incidents(BaseModel):
    """Incidents, newest first."""

    incidents: list[IncidentRow]
    total_matched: int


class Brief(BaseModel):
    """The 3 a.m. brief."""

    incident_id: str
    verdict: str
    confidence: float
    summary: str
    suspect: str = Field(description='revision of the first suspect; "" when no commit explains it')


class Difference(BaseModel):
    """One attribute value that is more, or less, frequent inside than outside."""

    key: str
    value: str
    count_inside: int
    count_outside: int
    share_inside: float
    share_outside: float
    effect: float


class Differences(BaseModel):
    """What differs, largest effect first."""

    differences: list[Difference]
    total_matched: int


class EdgeRow(BaseModel):
    """Calls from one service to another, to a database, or to a host that sends no telemetry."""

    source: str
    target: str
    target_kind: str
    calls: int
    errors: int
    p50_ms: float
    p95_ms: float


class ServiceMap(BaseModel):
    """Who calls whom."""

    services: list[str]
    edges: list[EdgeRow]
    total_matched: int


class SpanRow(BaseModel):
    """One span, parents before children."""

    span_id: str
    parent_span_id: str
    depth: int
    service: str
    name: str
    at_ms: float
    duration_ms: float
    error: bool


class TraceTree(BaseModel):
    """A trace."""

    trace_id: str
    duration_ms: float
    spans: list[SpanRow]
    total_matched: int
