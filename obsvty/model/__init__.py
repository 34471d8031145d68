"""The values that rooms hand to each other: frozen, typed, without I/O.

Times are aware `datetime` in UTC; units are in the names. Ids of traces and spans are lower-case hex text.
"""

from obsvty.model.base import JsonObject, JsonValue, Signal, Window, from_ns, rfc3339, to_ns
from obsvty.model.commits import Attribution, CodeLocation, Commit, Document, Hunk, Suspect, suspect_dict
from obsvty.model.incident import Finding, FindingKind, Incident
from obsvty.model.investigation import Investigation
from obsvty.model.outcome import Alert, Delivery, EgressSummary, Evidence, Insight, Verdict
from obsvty.model.telemetry import (
    AttributeDifference,
    Deployment,
    EdgeChange,
    Impact,
    Location,
    LogChange,
    OperationDiff,
    Overview,
    ServiceEdge,
    ServiceMap,
    Span,
    SpanGroup,
    Trace,
)

__all__ = [
    "Alert",
    "AttributeDifference",
    "Attribution",
    "CodeLocation",
    "Commit",
    "Delivery",
    "Deployment",
    "Document",
    "EdgeChange",
    "EgressSummary",
    "Evidence",
    "Finding",
    "FindingKind",
    "Hunk",
    "Impact",
    "Incident",
    "Insight",
    "Investigation",
    "JsonObject",
    "JsonValue",
    "Location",
    "LogChange",
    "OperationDiff",
    "Overview",
    "ServiceEdge",
    "ServiceMap",
    "Signal",
    "Span",
    "SpanGroup",
    "Suspect",
    "Trace",
    "Verdict",
    "Window",
    "from_ns",
    "rfc3339",
    "suspect_dict",
    "to_ns",
]
