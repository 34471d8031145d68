"""An incident out of two windows that a person chose."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from obsvty.detect.errors import compare_exceptions, error_measure, read_exceptions
from obsvty.detect.incidents import (
    deployment_of,
    detect_incidents,
    incident_id,
    number_findings,
    rank_steps,
)
from obsvty.detect.latency import latency_measure
from obsvty.detect.requests import Telemetry, read_telemetry
from obsvty.detect.steps import Step, compare_windows
from obsvty.model import Incident, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir

SURE_P: Final = 1e-3
LOOSE_RATIO: Final = 1.05
LOOSE_MS: Final = 0.5
LOOSE_PERCENT: Final = 1.0
"""A person who names a window has a reason, so what got a little worse is told when nothing got clearly worse."""


def incident_of_window(
    traces: ir.Table,
    logs: ir.Table | None = None,
    *,
    window: Window,
    baseline: Window | None = None,
    service: str | None = None,
    operation: str | None = None,
    ignore_services: Collection[str] = (),
) -> Incident | None:
    """What is wrong in a window, compared with another one.

    Detection runs over both windows first, so that a change which it sees has the same id as ever. Then the two
    windows are compared as they are; and last, the operation that got worse most is taken, however little.

    Args:
        traces: the canonical table.
        logs: if given, exceptions are read from log records too.
        window: what to look at.
        baseline: what to compare it with; default: as long before it.
        service: only incidents of this service.
        operation: only incidents of this operation (templated name).
        ignore_services: services that never raise a finding.

    Returns:
        The incident with the windows as they were given; None when nothing got worse.
    """
    baseline = baseline or Window(start=window.start - (window.end - window.start), end=window.start)
    both = Window(start=min(baseline.start, window.start), end=max(baseline.end, window.end))
    for incident in detect_incidents(traces, logs, window=both, ignore_services=ignore_services):
        overlaps = incident.start < window.end and (incident.end is None or incident.end > window.start)
        named = any(
            service in (None, f.service) and operation in (None, f.operation) for f in incident.findings
        )
        if overlaps and named:
            return replace(incident, baseline=baseline, window=window)

    telemetry = read_telemetry(traces, window=both, ignore_services=ignore_services)
    steps = _worse(telemetry, baseline, window)
    leading = [
        step
        for step in steps
        if service in (None, step.finding.service) and operation in (None, step.finding.operation)
    ]
    if not leading:
        leading = _little_worse(telemetry, baseline, window, service, operation)
    if not leading:
        return None
    ranked = rank_steps(leading, telemetry)
    ranked += rank_steps([step for step in steps if _belongs(step, ranked, telemetry)], telemetry)
    environment = ranked[0].requests.environment
    services = {step.requests.service for step in ranked}
    services |= {callee for one in services for callee in telemetry.downstream(one)}
    seen = [
        one
        for one in read_exceptions(traces, logs, both)
        if one.service in services and one.environment == environment
    ]
    findings = [step.finding for step in ranked]
    findings += compare_exceptions(seen, baseline=baseline, window=window)
    return Incident(
        id=incident_id(environment, findings[0], None, window.start, window.end),
        start=min(step.finding.change_at for step in ranked),
        end=None,
        baseline=baseline,
        window=window,
        findings=number_findings(findings),
        deployment=deployment_of(ranked, telemetry),
    )


def _worse(telemetry: Telemetry, baseline: Window, window: Window) -> list[Step]:
    measures = (latency_measure(), error_measure())
    return [
        step
        for measure in measures
        for step in compare_windows(telemetry, measure, baseline=baseline, window=window, max_p=SURE_P)
    ]


def _little_worse(
    telemetry: Telemetry, baseline: Window, window: Window, service: str | None, operation: str | None
) -> list[Step]:
    """The one step with the largest ratio, whatever its significance."""
    measures = (
        latency_measure(min_ratio=LOOSE_RATIO, min_effect_ms=LOOSE_MS),
        error_measure(min_effect_percent=LOOSE_PERCENT),
    )
    steps = [
        step
        for measure in measures
        for step in compare_windows(telemetry, measure, baseline=baseline, window=window, max_p=1.0)
        if service in (None, step.finding.service) and operation in (None, step.finding.operation)
    ]

    def order(step: Step) -> tuple[float, str, str, str]:
        finding = step.finding
        ratio = finding.after / max(finding.before, 1.0)
        return (-ratio, finding.service, finding.operation, finding.kind)

    return sorted(steps, key=order)[:1]


def _belongs(step: Step, ranked: Sequence[Step], telemetry: Telemetry) -> bool:
    """Whether a step is on a service of those that lead, or below one; and not one of them."""
    if step in ranked or step.requests.environment != ranked[0].requests.environment:
        return False
    services = {one.requests.service for one in ranked}
    return any(step.requests.service in {one, *telemetry.downstream(one)} for one in services)
