"""The facts of an incident as the offline engine reads them; what a context leaves out has a neutral value."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

_Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class IncidentFacts(BaseModel):
    """What and when."""

    id: _Text = ""
    service: _Text = ""
    operation: _Text = ""
    start: _Text = ""
    end: _Text = ""
    headline: _Text = ""


class FindingFacts(BaseModel):
    """One detector's result."""

    id: _Text = ""
    kind: _Text = ""
    service: _Text = ""
    operation: _Text = ""
    before: float = 0.0
    after: float = 0.0
    unit: _Text = ""
    text: _Text = ""


class DeploymentFacts(BaseModel):
    """The deployment that it began with; `from_` is the revision to roll back to."""

    service: _Text = ""
    from_: Annotated[_Text, Field(alias="from")] = ""
    to: _Text = ""
    from_version: _Text = ""
    to_version: _Text = ""
    at: _Text = ""


class PlaceFacts(BaseModel):
    """Where the extra time comes from."""

    service: _Text = ""
    operation: _Text = ""
    instance: _Text = ""
    explains_ms: float = 0.0
    evidence: list[str] = []


class EdgeFacts(BaseModel):
    """One kind of child call of a request."""

    edge: _Text = ""
    kind: _Text = ""
    calls_before: float = 0.0
    calls_after: float = 0.0
    delta_ms: float = 0.0


class DiffFacts(BaseModel):
    """One request of the operation before and after; milliseconds are means."""

    requests_before: int = 0
    requests_after: int = 0
    ms_before: float = 0.0
    ms_after: float = 0.0
    edges: list[EdgeFacts] = []


class HunkFacts(BaseModel):
    """Lines that a suspect wrote."""

    file: _Text = ""
    start: int = 0
    end: int = 0


class SuspectFacts(BaseModel):
    """A ranked commit."""

    rank: int = 0
    revision: _Text = ""
    short: _Text = ""
    subject: _Text = ""
    author: _Text = ""
    probability: float = 0.0
    reasons: list[str] = []
    hunks: list[HunkFacts] = []
    evidence: list[str] = []


class DocumentFacts(BaseModel):
    """A document of the repository."""

    path: _Text = ""
    title: _Text = ""
    excerpt: _Text = ""
    evidence: _Text = ""


class LogChangeFacts(BaseModel):
    """A log template whose rate changed."""

    template: _Text = ""
    severity: _Text = ""
    count_before: int = 0
    count_after: int = 0


class EvidenceFacts(BaseModel):
    """One numbered fact."""

    id: _Text = ""
    kind: _Text = ""
    text: _Text = ""


class ImpactFacts(BaseModel):
    """Who felt it."""

    requests: int = 0
    errors: int = 0
    share_of_requests: float = 0.0


class Facts(BaseModel):
    """Everything that the engine may say."""

    incident: IncidentFacts = IncidentFacts()
    verdict: _Text = "inconclusive"
    confidence: float = 0.0
    findings: list[FindingFacts] = []
    deployment: DeploymentFacts | None = None
    localization: list[PlaceFacts] = []
    diff: DiffFacts | None = None
    suspects: list[SuspectFacts] = []
    abstained: _Text = ""
    documents: list[DocumentFacts] = []
    ruled_out: list[str] = []
    log_changes: list[LogChangeFacts] = []
    evidence: list[EvidenceFacts] = []
    impact: ImpactFacts | None = None

    def cite(self, kind: str, about: str = "") -> list[str]:
        """Id of the first evidence of a kind, preferably one whose text holds `about`; empty when there is none."""
        of_kind = [e for e in self.evidence if e.kind == kind]
        fitting = [e for e in of_kind if about and about in e.text] or of_kind
        return [fitting[0].id] if fitting else []

    def cite_any(self, *citations: list[str]) -> list[str]:
        """All ids given, each once, else the first evidence there is: every sentence rests on something."""
        known = {e.id for e in self.evidence}
        given = [one for ids in citations for one in ids if one in known]
        return list(dict.fromkeys(given)) or [e.id for e in self.evidence[:1]]
