"""From findings to incidents: what changed together, for one reason, and since when."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from obsvty.detect.errors import Exceptions, compare_exceptions, error_steps, read_exceptions
from obsvty.detect.latency import latency_steps
from obsvty.detect.requests import Telemetry, read_telemetry
from obsvty.detect.steps import BASELINE_NS, Step
from obsvty.detect.throughput import throughput_steps
from obsvty.model import Deployment, Finding, Incident, Window, from_ns, to_ns

if TYPE_CHECKING:
    import ibis.expr.types as ir

SAME_TIME: Final = timedelta(minutes=2)
"""Findings whose changes are no further apart can have one cause; a deployment no longer before a change can
be it."""
MIN_NEW_EXCEPTIONS: Final = 5
CALLEE_SHARE: Final = 0.5
"""A callee's own slowdown explains its caller's when it is at least this share of it."""


def detect_incidents(
    traces: ir.Table,
    logs: ir.Table | None = None,
    *,
    window: Window | None = None,
    ignore_services: Collection[str] = (),
) -> list[Incident]:
    """What went wrong, since when, and with which deployment it began.

    Findings that began together on services that call each other are one incident; its first finding is the
    outermost operation with the largest impact. Traffic and exceptions join an incident of other findings; on
    their own only new exceptions after a deployment make one.

    Args:
        traces: the canonical table; only a few columns of entry spans are read.
        logs: if given, exceptions are read from log records too.
        window: the data to look at, baseline included; all of it without one. Bound it on large stores.
        ignore_services: services that never raise a finding.

    Returns:
        Incidents, oldest first. Ids are deterministic: the same change has the same id in every window that
        shows it.
    """
    telemetry = read_telemetry(traces, window=window, ignore_services=ignore_services)
    if not telemetry.operations:
        return []
    steps = latency_steps(telemetry) + error_steps(telemetry)
    exceptions = read_exceptions(traces, logs, Window.of_ns(telemetry.start_ns, _ceil_us(telemetry.done_ns)))
    exceptions = [one for one in exceptions if one.service not in ignore_services]
    groups = _group(steps, telemetry)
    incidents = [_incident(group, telemetry, exceptions) for group in groups]
    incidents += _exception_incidents(telemetry, exceptions, incidents)
    return sorted(incidents, key=lambda incident: (incident.start, incident.id))


def _group(steps: Sequence[Step], telemetry: Telemetry) -> list[list[Step]]:
    """Steps that share time and are on one service, or on services that call each other."""
    parent = list(range(len(steps)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    related = {service: telemetry.downstream(service) for service in {s.requests.service for s in steps}}
    for i, one in enumerate(steps):
        for j in range(i):
            other = steps[j]
            if one.requests.environment != other.requests.environment or not _same_time(one, other):
                continue
            a, b = one.requests.service, other.requests.service
            if a == b or a in related[b] or b in related[a]:
                parent[root(i)] = root(j)
    groups: dict[int, list[Step]] = {}
    for i, step in enumerate(steps):
        groups.setdefault(root(i), []).append(step)
    return list(groups.values())


def _same_time(one: Step, other: Step) -> bool:
    if one.deployment is not None and one.deployment == other.deployment:
        return True
    return abs(one.finding.change_at - other.finding.change_at) <= SAME_TIME


def rank_steps(group: Sequence[Step], telemetry: Telemetry) -> list[Step]:
    """What people feel most first: outermost operations, then services that no other calls, then impact."""
    services = {step.requests.service for step in group}
    callees = {target for source, target in telemetry.calls if source in services}
    return sorted(
        group,
        key=lambda s: (
            not s.requests.outermost,
            s.requests.service in callees,
            -s.impact,
            s.finding.service,
            s.finding.operation,
            s.finding.kind,
        ),
    )


def _incident(group: list[Step], telemetry: Telemetry, exceptions: Iterable[Exceptions]) -> Incident:
    ranked = rank_steps(group, telemetry)
    deployment = deployment_of(ranked, telemetry)
    start = min(step.finding.change_at for step in group)
    ends = [step.finding.ended_at for step in group]
    end = None if None in ends else max(e for e in ends if e is not None)
    changed_at = min(start, deployment.at) if deployment else start
    window = Window(start=start, end=end or from_ns(_ceil_us(telemetry.done_ns)))
    baseline = Window(start=_baseline_start(telemetry, group, changed_at), end=changed_at)
    services = {step.requests.service for step in group}
    services |= {callee for service in services for callee in telemetry.downstream(service)}
    environment = ranked[0].requests.environment
    extra = [
        finding
        for finding in compare_exceptions(
            [e for e in exceptions if e.service in services and e.environment == environment],
            baseline=baseline,
            window=window,
        )
        if baseline.end > baseline.start
    ]
    extra += [
        finding
        for finding in throughput_steps(telemetry)
        if finding.service in services and abs(finding.change_at - start) <= SAME_TIME
    ]
    findings = [step.finding for step in ranked] + extra
    return Incident(
        id=incident_id(environment, findings[0], deployment, start),
        start=start,
        end=end,
        baseline=baseline,
        window=window,
        findings=number_findings(findings),
        deployment=deployment,
        status="open" if end is None else "recovered",
    )


def deployment_of(ranked: Sequence[Step], telemetry: Telemetry) -> Deployment | None:
    """The deployment that the findings began with.

    Of several at once, the deepest service's whose own change is large enough to explain what its callers
    feel; else that of the leading finding's service; else one of a service below it.
    """
    leading = ranked[0]
    deepest = sorted(
        ranked, key=lambda s: (len(telemetry.downstream(s.requests.service)), -s.impact, s.finding.service)
    )
    for step in deepest:
        felt = leading.finding.after - leading.finding.before
        own = step.finding.after - step.finding.before
        if step.finding.kind != leading.finding.kind or own < CALLEE_SHARE * felt:
            continue
        found = _nearest(telemetry, step, {step.requests.service})
        if found is not None:
            return found
    below = telemetry.downstream(leading.requests.service)
    return (
        leading.deployment
        or _nearest(telemetry, leading, {leading.requests.service})
        or _nearest(telemetry, leading, below)
    )


def _nearest(telemetry: Telemetry, step: Step, services: Collection[str]) -> Deployment | None:
    """The last deployment of one of the services shortly before the step."""
    if step.deployment is not None and step.deployment.service in services:
        return step.deployment
    change = step.finding.change_at
    near = [
        d
        for d in telemetry.deployments
        if d.service in services
        and d.environment == step.requests.environment
        and (d.from_version or d.from_revision)
        and timedelta(0) <= change - d.at <= SAME_TIME
    ]
    return max(near, key=lambda d: (d.at, d.service), default=None)


def _baseline_start(telemetry: Telemetry, group: Sequence[Step], changed_at: datetime) -> datetime:
    """The first request that the leading comparison used, at most an hour before the change."""
    counts = max(step.finding.count_before for step in group)
    change_ns = to_ns(changed_at)
    firsts: list[int] = []
    for step in group:
        if step.finding.count_before == counts:
            split = int(step.requests.start_ns.searchsorted(change_ns))
            firsts.append(int(step.requests.start_ns[max(0, split - counts)]) if split else change_ns)
    return from_ns(max(min(firsts), change_ns - BASELINE_NS, telemetry.start_ns))


def _exception_incidents(
    telemetry: Telemetry, exceptions: Sequence[Exceptions], known: Sequence[Incident]
) -> list[Incident]:
    """New exception types that began with a deployment and that no other incident tells already."""
    incidents: list[Incident] = []
    for deployment in telemetry.deployments:
        if not (deployment.from_version or deployment.from_revision):
            continue
        at = to_ns(deployment.at)
        if any(i.deployment == deployment or abs(i.start - deployment.at) <= SAME_TIME for i in known):
            continue
        subject = (deployment.service, deployment.environment)
        following = [
            to_ns(d.at)
            for d in telemetry.deployments
            if (d.service, d.environment) == subject and d.at > deployment.at
        ]
        after = Window.of_ns(at, min([_ceil_us(telemetry.done_ns), *following]))
        before = Window.of_ns(max(telemetry.start_ns, at - BASELINE_NS), at)
        mine = [e for e in exceptions if (e.service, e.environment) == subject]
        new = [
            finding
            for finding in compare_exceptions(mine, baseline=before, window=after)
            if finding.count_before == 0
            and finding.count_after >= MIN_NEW_EXCEPTIONS
            and finding.p_value < 0.01
        ]
        if not new:
            continue
        start = min(finding.change_at for finding in new)
        incidents.append(
            Incident(
                id=incident_id(deployment.environment, new[0], deployment, start),
                start=start,
                end=None,
                baseline=before,
                window=Window(start=start, end=after.end),
                findings=number_findings(new),
                deployment=deployment,
            )
        )
    return incidents


def number_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """F1, F2, ... in their order."""
    return tuple(replace(finding, id=f"F{i}") for i, finding in enumerate(findings, 1))


def incident_id(
    environment: str,
    leading: Finding,
    deployment: Deployment | None,
    start: datetime,
    end: datetime | None = None,
) -> str:
    """From the subject and the deployment; without one from the minute it began, or from a chosen window."""
    if deployment is not None:
        revisions = (
            deployment.from_revision or deployment.from_version,
            deployment.to_revision or deployment.to_version,
        )
        when = (deployment.service, *revisions)
    elif end is not None:
        when = (str(to_ns(start)), str(to_ns(end)))
    else:
        when = (str(to_ns(start) // 60_000_000_000),)
    text = "\n".join((environment, leading.service, leading.operation, leading.kind, *when))
    return "inc-" + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _ceil_us(time_ns: int) -> int:
    return -(-time_ns // 1000) * 1000
