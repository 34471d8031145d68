"""What detection found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from obsvty.model.base import Window
from obsvty.model.telemetry import Deployment

FindingKind = Literal["latency", "errors", "throughput", "exception", "log_template", "metric", "deployment"]


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
