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
LONG_NS: Final = 24 * BASELINE_NS
PIECE_NS: Final = 12 * BASELINE_NS
MARGIN_NS: Final = 3 * BASELINE_NS // 2
"""More than a day of data is looked at in pieces of twelve hours that overlap by three."""
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
        window: the data to look at, baseline included; all of it without one (in pieces, when it is more than a
            day). A loop that looks again and again should bound it.
        ignore_services: services that never raise a finding.

    Returns:
        Incidents, oldest first. Ids are deterministic: the same change has the same id in every window that
        shows it.
    """
    if window is not None:
        return _detect(traces, logs, window, ignore_services)
    reach = _reach(traces)
    if reach is None or reach.end_ns - reach.start_ns <= LONG_NS:
        return _detect(traces, logs, None, ignore_services)
    return _detect_in_pieces(traces, logs, reach, ignore_services)


def _detect(
    traces: ir.Table, logs: ir.Table | None, window: Window | None, ignore_services: Collection[str]
) -> list[Incident]:
    telemetry = read_telemetry(traces, window=window, ignore_services=ignore_services)
    if not telemetry.operations:
        return []
    steps = latency_steps(telemetry) + error_steps(telemetry)
    groups = _group(steps, telemetry)
    if not groups and not any(d.from_version or d.from_revision for d in telemetry.deployments):
        return []
    exceptions = read_exceptions(traces, logs, Window.of_ns(telemetry.start_ns, _ceil_us(telemetry.done_ns)))
    exceptions = [one for one in exceptions if one.service not in ignore_services]
    incidents = [_incident(group, telemetry, exceptions) for group in groups]
    incidents += _exception_incidents(telemetry, exceptions, incidents)
    return _in_order(incidents)


def _reach(traces: ir.Table) -> Window | None:
    """From the first to behind the last span start; None without spans."""
    row = (
        traces.aggregate(first=traces.start_ns.min(), last=traces.start_ns.max()).to_pyarrow().to_pylist()[0]
    )
    if row["first"] is None:
        return None
    return Window.of_ns(int(row["first"]), _ceil_us(int(row["last"]) + 1))


def _detect_in_pieces(
    traces: ir.Table, logs: ir.Table | None, reach: Window, ignore_services: Collection[str]
) -> list[Incident]:
    """Days of data in overlapping pieces, so that memory does not grow with the store.

    A piece answers for the changes in its middle, which it sees with at least `MARGIN_NS` before and after.
    """
    found: list[Incident] = []
    begin = reach.start_ns
    while begin < reach.end_ns:
        piece = Window.of_ns(begin, min(begin + PIECE_NS, reach.end_ns))
        last = piece.end_ns == reach.end_ns
        low = begin if begin == reach.start_ns else begin + MARGIN_NS
        high = piece.end_ns if last else piece.end_ns - MARGIN_NS
        for incident in _detect(traces, logs, piece, ignore_services):
            if not low <= to_ns(incident.start) < high:
                continue
            if incident.end is None and not last:  # it outlasts its piece: look on
                longer = Window(start=incident.baseline.start, end=from_ns(begin + 2 * PIECE_NS))
                later = _detect(traces, logs, longer, ignore_services)
                incident = next((i for i in later if i.id == incident.id), incident)  # noqa: PLW2901
            found.append(incident)
        if last:
            break
        begin = piece.end_ns - 2 * MARGIN_NS
    return _in_order(found)


def _in_order(incidents: Iterable[Incident]) -> list[Incident]:
    """Oldest first; a revision that was deployed twice and broke twice makes two incidents with two ids."""
    seen: dict[str, int] = {}
    told: list[Incident] = []
    for incident in sorted(incidents, key=lambda i: (i.start, i.id)):
        times = seen[incident.id] = seen.get(incident.id, 0) + 1
        told.append(incident if times == 1 else replace(incident, id=_hashed(f"{incident.id} {times}")))
    return told


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
    """Stable as data arrives.

    From the leading service and the revisions of the deployment: which operation leads may change while the
    first minutes come in. Without a deployment from the operation and the minute it began, or a chosen window.
    """
    if deployment is not None:
        revisions = (
            deployment.from_revision or deployment.from_version,
            deployment.to_revision or deployment.to_version,
        )
        return _hashed("\n".join((environment, leading.service, deployment.service, *revisions)))
    minute = str(to_ns(start) // 60_000_000_000)
    when = minute if end is None else f"{to_ns(start)} {to_ns(end)}"
    return _hashed("\n".join((environment, leading.service, leading.operation, leading.kind, when)))


def _hashed(text: str) -> str:
    return "inc-" + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _ceil_us(time_ns: int) -> int:
    return -(-time_ns // 1000) * 1000
