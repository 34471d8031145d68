"""The whole story of an incident, in reading order: where, since when, why, how to fix it, and what left the house."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from obsvty.attribute import Why, attribute_incident
from obsvty.context import build_context, build_facts
from obsvty.detect.log_templates import find_log_changes
from obsvty.errors import EngineError, RepositoryError, TooFewPoints
from obsvty.evidence.catalog import number_evidence
from obsvty.insight.ask import write_insight
from obsvty.localize.classify import classify_verdict, ruled_out
from obsvty.localize.impact import measure_impact, traffic_ratio
from obsvty.localize.locate import edge_failures, edge_services, locate, locate_across
from obsvty.localize.operation_diff import operation_diff
from obsvty.model import (
    EgressSummary,
    Impact,
    Incident,
    Insight,
    Investigation,
    Location,
    LogChange,
    OperationDiff,
    Verdict,
    rfc3339,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from obsvty.ports import GitProvider, LLMEngine
    from obsvty.privacy import Gate, SanitizedContext

log = logging.getLogger(__name__)

NO_REPOSITORY = 0.6  # how much of the rules' confidence is left when no commit could be looked at


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What an investigation works with; all of it is chosen by the caller."""

    gate: Gate
    engine: LLMEngine
    offline: LLMEngine  # writes the insight when `engine` does not answer
    git: GitProvider | None = None
    repository: str = ""  # how people call the repository; "" when there is none
    path: str = ""  # folder of a monorepo that the service is built from


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An investigation, and what it went on without."""

    investigation: Investigation
    problems: tuple[EngineError | RepositoryError, ...] = ()


def investigate(
    traces: ir.Table,
    logs: ir.Table,
    incident: Incident,
    tools: Tools,
    *,
    progress: Callable[[str], None] = log.debug,
) -> Outcome:
    """Where, why, and how to fix it.

    Args:
        traces: the canonical table.
        logs: the canonical table.
        incident: what detection found.
        tools: gate, engine, repository.
        progress: told each step's name as it begins.

    Returns:
        The investigation. A missing repository or an engine that does not answer is a problem beside it, not a
        failure: the answer still says where, and the offline engine writes it.
    """
    progress("Localizing")
    where = _localize(traces, logs, incident)
    progress("Finding the commit")
    why = attribute_incident(
        traces,
        logs,
        incident,
        git=tools.git,
        path=tools.path,
        diff=where.diff,
        log_changes=where.log_changes,
    )
    told = _tell(incident, where, why, tools)
    progress("Writing the insight")
    told, engine_problem = _explain(told, tools)
    problems = tuple(p for p in (why.problem, engine_problem) if p is not None)
    return Outcome(investigation=told, problems=problems)


# ---- where


@dataclass(frozen=True, kw_only=True)
class _Where:
    """What the telemetry alone says."""

    diff: OperationDiff | None
    places: tuple[Location, ...]
    log_changes: tuple[LogChange, ...]
    impact: Impact
    verdict: Verdict
    confidence: float
    reason: str
    ruled_out: tuple[str, ...]


def _localize(traces: ir.Table, logs: ir.Table, incident: Incident) -> _Where:
    service, operation = incident.service, incident.operation
    before, after = incident.baseline, incident.window
    try:
        diff = operation_diff(traces, service=service, operation=operation, before=before, after=after)
    except TooFewPoints:
        diff = None  # a new operation: there is no before to compare with
    across = locate_across(traces, service=service, operation=operation, before=before, after=after)
    callees = edge_services(traces, service=service, operation=operation, window=after)
    log_changes = tuple(find_log_changes(logs, baseline=before, window=after))
    ratio = traffic_ratio(traces, incident)
    judged = classify_verdict(
        incident,
        diff,
        traffic_ratio=ratio,
        callees=callees,
        locations=across,
        log_changes=log_changes,
        edge_failures=edge_failures(traces, service=service, operation=operation, before=before, after=after),
    )
    return _Where(
        diff=diff,
        places=tuple(across or (locate(diff) if diff else ())),
        log_changes=log_changes,
        impact=measure_impact(traces, incident),
        verdict=judged.verdict,
        confidence=judged.confidence,
        reason=judged.reason,
        ruled_out=tuple(
            ruled_out(incident, diff, traffic_ratio=ratio, callees=callees, log_changes=log_changes)
        ),
    )


# ---- why


def _tell(incident: Incident, where: _Where, why: Why, tools: Tools) -> Investigation:
    """Put both together; evidence gets its numbers here, and the commit may raise or lower the confidence."""
    attribution = why.attribution
    catalog = number_evidence(
        findings=incident.findings,
        deployment=incident.deployment,
        diff=where.diff,
        places=where.places,
        suspects=attribution.suspects,
        code=why.clues.code,
        log_changes=where.log_changes,
        documents=why.documents,
    )
    verdict, confidence = _with_commit(where, why)
    told = Investigation(
        incident_id=incident.id,
        verdict=verdict,
        confidence=confidence,
        summary="",
        start=incident.start,
        end=incident.end,
        baseline=incident.baseline,
        window=incident.window,
        impact=where.impact,
        findings=incident.findings,
        localization=catalog.places,
        deployment=incident.deployment,
        suspects=catalog.suspects,
        ruled_out=where.ruled_out,
        evidence=catalog.evidence,
        insight=Insight(engine="", cause="", suggestion="", citations=()),
        egress=EgressSummary(),
        attribution=replace(attribution, suspects=catalog.suspects),
        operation_diff=where.diff,
        log_changes=where.log_changes,
        code=why.clues.code,
        documents=why.documents,
        repository=tools.repository if tools.git is not None and why.problem is None else "",
    )
    return replace(told, summary=_summary(told, where.reason))


def _with_commit(where: _Where, why: Why) -> tuple[Verdict, float]:
    """The rules' verdict, weighed with what the repository says.

    A named commit supports `code_change` as far as it is likely. A deployment in which no commit explains the change
    is no longer a code change for sure: `inconclusive`. Without a repository nothing contradicts the rules, but nothing
    supports them either.
    """
    if where.verdict != "code_change":
        return where.verdict, where.confidence
    if why.attribution.suspects:
        return "code_change", where.confidence * (0.5 + 0.5 * why.attribution.suspects[0].probability)
    if not why.attribution.candidates:
        return "code_change", where.confidence * NO_REPOSITORY
    return "inconclusive", where.confidence * (1 - why.attribution.none_probability)


def _summary(told: Investigation, reason: str) -> str:
    lead = told.findings[0]
    change = f"{lead.before:.0f} -> {lead.after:.0f} {lead.unit}"
    since = f"since {rfc3339(told.start)}" if told.start else ""
    sentence = f"{lead.service} {lead.operation}: {lead.kind} {change} {since}; {reason}."
    if told.suspects:
        first = told.suspects[0]
        return f'{sentence} Most likely {first.commit.revision[:12]} "{first.commit.subject}".'
    if told.attribution is not None and told.attribution.abstained:
        return f"{sentence} No commit is named: {told.attribution.abstained}"
    return sentence


# ---- in words


def _explain(told: Investigation, tools: Tools) -> tuple[Investigation, EngineError | None]:
    context = tools.gate.context(build_context(told), build_facts(told))
    evidence = [e.id for e in told.evidence]
    revisions = [s.commit.revision for s in told.suspects]
    problem = None
    try:
        insight = write_insight(tools.engine, tools.gate, context, evidence_ids=evidence, revisions=revisions)
    except EngineError as exc:
        problem = exc
        insight = write_insight(
            tools.offline, tools.gate, context, evidence_ids=evidence, revisions=revisions
        )
        insight = replace(insight, note="the configured model did not answer; written without one")
    return replace(told, insight=insight, egress=summarize_egress(tools.gate, context)), problem


def summarize_egress(gate: Gate, context: SanitizedContext) -> EgressSummary:
    """What left for the gate's incident so far, and what the context would weigh if a model were asked."""
    left = gate.ledger.summary(gate.incident_id)
    return EgressSummary(
        entries=left.entries,
        bytes=left.bytes,
        redactions=dict(context.redactions),
        would_send_bytes=len(context.text.encode()),
    )


# ---- nothing


def nothing_found(traces: ir.Table) -> Investigation:
    """The answer when nothing is wrong, with what was looked at."""
    row = (
        traces.aggregate(
            spans=traces.count(), services=traces.service_name.nunique(), names=traces.name.nunique()
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    looked = f"{row['spans']} spans of {row['services']} services, {row['names']} operations"
    return Investigation(
        incident_id="",
        verdict="no_incident",
        confidence=1.0 if row["spans"] else 0.0,
        summary="no incident: nothing in the stored telemetry changed for the worse"
        if row["spans"]
        else "no incident: nothing is stored yet",
        start=None,
        end=None,
        baseline=None,
        window=None,
        impact=Impact(requests=0, errors=0, share_of_requests=0.0),
        findings=(),
        localization=(),
        deployment=None,
        suspects=(),
        ruled_out=(looked,),
        evidence=(),
        insight=Insight(engine="offline", cause="", suggestion="", citations=(), note="no model was asked"),
        egress=EgressSummary(),
    )
