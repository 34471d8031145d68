"""The whole story of one incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from obsvty.model.base import JsonValue, Window, rfc3339
from obsvty.model.commits import Attribution, CodeLocation, Document, Suspect, suspect_dict
from obsvty.model.incident import Finding
from obsvty.model.outcome import EgressSummary, Evidence, Insight, Verdict
from obsvty.model.telemetry import Deployment, Impact, Location, LogChange, OperationDiff


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


def _time(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)


def _window(window: Window | None) -> JsonValue:
    return None if window is None else {"start": rfc3339(window.start), "end": rfc3339(window.end)}
