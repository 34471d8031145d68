"""From clues to the commit: for an incident, and for one span."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsvty.detect.deployments import find_deployments
from obsvty.errors import RepositoryError, RepositoryMissing, UnknownTrace
from obsvty.evidence.clues import Clues, gather_incident_clues, gather_span_clues
from obsvty.evidence.documents import document_words, find_documents
from obsvty.evidence.ranges import choose_range
from obsvty.evidence.suspects import rank_suspects
from obsvty.model import Attribution, Deployment, Document, Incident, LogChange, OperationDiff

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from obsvty.ports import GitProvider


@dataclass(frozen=True, kw_only=True)
class Why:
    """What the repository says about an incident."""

    attribution: Attribution
    clues: Clues
    documents: tuple[Document, ...] = ()
    problem: RepositoryError | None = None


def attribute_incident(
    traces: ir.Table,
    logs: ir.Table,
    incident: Incident,
    *,
    git: GitProvider | None,
    path: str,
    diff: OperationDiff | None,
    log_changes: tuple[LogChange, ...],
) -> Why:
    """Suspects of an incident, and what the repository's own documents say; without a repository, why there are none.

    Candidates are the commits of the deployment with which the incident began. Without a deployment no commit is
    looked for, unless an exception shows code: then the last commits of what runs are the candidates.
    """
    clues = gather_incident_clues(traces, logs, incident=incident, diff=diff, log_changes=log_changes)
    deployment = incident.deployment
    if git is None:
        return Why(attribution=_none("no repository was found", deployment), clues=clues)
    if deployment is None and not clues.exceptions:
        return Why(attribution=_none("nothing was deployed when it began", None), clues=clues)
    running = "" if deployment else _running_revision(traces, incident)
    try:
        span = choose_range(git, deployment, head=running)
        attribution = rank_suspects(
            git, clues, base=span.base, head=span.head, base_reason=span.reason, path=path
        )
        words = document_words(clues, next(iter(attribution.suspects), None))
        documents = tuple(find_documents(git, span.head, words)) if span.head else ()
    except RepositoryError as problem:
        missing = isinstance(problem, RepositoryMissing)
        said = "no repository was found" if missing else problem.message
        return Why(attribution=_none(said, deployment), clues=clues, problem=problem)
    return Why(attribution=attribution, clues=clues, documents=documents)


def attribute_span(
    traces: ir.Table,
    logs: ir.Table,
    git: GitProvider,
    trace_id: str,
    span_id: str | None = None,
    *,
    base: str = "",
    path: str = "",
) -> Attribution:
    """Suspects of one trace, or of one span with what ran below it.

    Args:
        traces: the canonical table.
        logs: the canonical table.
        git: the repository.
        trace_id: of a stored trace.
        span_id: one span of it.
        base: last good revision; default: what ran before, as the deployments in telemetry show.
        path: the service's folder in a monorepo.

    Raises:
        UnknownTrace: it is not stored. RepositoryMissing: there is no repository. RevisionUnknown: `base` is not in it.
    """
    trace_id, span_id = trace_id.lower(), span_id.lower() if span_id else None
    clues = gather_span_clues(traces, logs, trace_id, span_id)
    revision, version = _revision_of(traces, trace_id, clues.service)
    deployment = next(
        (
            d
            for d in reversed(find_deployments(traces))
            if d.service == clues.service
            and ((revision and d.to_revision == revision) or (not revision and d.to_version == version))
            and (d.from_revision or d.from_version)
        ),
        None,
    )
    span = choose_range(git, deployment, base=base, head=revision or version)
    return rank_suspects(git, clues, base=span.base, head=span.head, base_reason=span.reason, path=path)


def find_broken_span(traces: ir.Table) -> tuple[str, str | None]:
    """Trace and span to ask about when only telemetry is given: the deepest failing span, else the slowest trace.

    Raises:
        UnknownTrace: there is no span.
    """
    failed = traces.filter((traces.status_code == 2) | (traces.events.length() > 0))
    for spans in (failed, traces):
        rows = (
            spans.order_by(spans.duration_ns.desc(), spans.span_id)
            .select("trace_id")
            .limit(1)
            .to_pyarrow()
            .to_pylist()
        )
        if rows:
            return str(rows[0]["trace_id"]), None
    raise UnknownTrace("The file holds no span.", hint="Give a file of traces.")


def _none(reason: str, deployment: Deployment | None) -> Attribution:
    return Attribution(
        suspects=(),
        candidates=0,
        base=deployment.from_revision if deployment else "",
        head=deployment.to_revision if deployment else "",
        base_reason="deployment in telemetry" if deployment else "",
        none_probability=1.0,
        abstained=reason,
    )


def _running_revision(traces: ir.Table, incident: Incident) -> str:
    """The revision (else version) that most spans of the service said in the incident's window."""
    window = incident.window
    spans = traces.filter(
        traces.service_name == incident.service,
        traces.start_ns >= window.start_ns,
        traces.start_ns < window.end_ns,
    )
    return _most_frequent(spans)


def _revision_of(traces: ir.Table, trace_id: str, service: str) -> tuple[str, str]:
    rows = (
        traces.filter(traces.trace_id == trace_id, traces.service_name == service)
        .select("vcs_revision", "service_version")
        .limit(1)
        .to_pyarrow()
        .to_pylist()
    )
    return (rows[0]["vcs_revision"] or "", rows[0]["service_version"] or "") if rows else ("", "")


def _most_frequent(spans: ir.Table) -> str:
    rows = (
        spans.group_by(revision=spans.vcs_revision.fill_null(spans.service_version))
        .agg(n=spans.count())
        .filter(lambda t: t.revision.notnull())
        .order_by(lambda t: t.n.desc(), "revision")
        .limit(1)
        .to_pyarrow()
        .to_pylist()
    )
    return str(rows[0]["revision"]) if rows else ""
