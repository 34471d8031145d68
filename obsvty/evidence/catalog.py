"""Numbers the facts of an incident: E1, E2 ... are what the insight cites and what people can look up again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from obsvty.model import (
    CodeLocation,
    Deployment,
    Document,
    Evidence,
    Finding,
    Location,
    LogChange,
    OperationDiff,
    Suspect,
    rfc3339,
)

_CHANGED = ("new", "vanished", "slower", "more_calls")
_EDGES = 6
_LOGS = 4


@dataclass
class _Numbering:
    """Hands out E1, E2 ... in the order in which the story is told."""

    items: list[Evidence] = field(default_factory=list[Evidence])

    def add(self, kind: str, text: str, **refs: str | float) -> str:
        number = f"E{len(self.items) + 1}"
        self.items.append(Evidence(id=number, kind=kind, text=text, refs=refs))
        return number


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything with its evidence ids filled in."""

    evidence: tuple[Evidence, ...]
    places: tuple[Location, ...]
    suspects: tuple[Suspect, ...]


def number_evidence(
    *,
    findings: tuple[Finding, ...],
    deployment: Deployment | None,
    diff: OperationDiff | None,
    places: tuple[Location, ...],
    suspects: tuple[Suspect, ...],
    code: tuple[CodeLocation, ...],
    log_changes: tuple[LogChange, ...],
    documents: tuple[Document, ...],
) -> Catalog:
    """One numbered fact for each thing the story rests on; equal input gives equal numbers."""
    facts = _Numbering()
    for f in findings:
        facts.add("finding", _finding(f), finding=f.id, service=f.service, operation=f.operation)
    if deployment is not None:
        facts.add("deployment", _deployment(deployment), revision=deployment.to_revision)
    by_edge: dict[str, str] = {}
    if diff is not None:
        by_edge = _edges(facts, diff)
    placed = tuple(
        replace(place, evidence=tuple(x for x in (by_edge.get(place.operation),) if x) or place.evidence)
        for place in places
    )
    seen = _code(facts, code)
    for c in log_changes[:_LOGS]:
        facts.add(
            "log_template",
            f"log template of {c.service} went from {c.count_before} to {c.count_after}: {c.template}",
            service=c.service,
        )
    cited = tuple([*by_edge.values()][:1] + seen[:1])
    ranked = tuple(
        replace(suspect, evidence=(*_suspect(facts, suspect), *(cited if suspect.rank == 1 else ())))
        for suspect in suspects[:5]
    )
    for d in documents[:2]:
        facts.add(
            "document",
            f"{d.path} ({d.title}) at {d.revision[:7]}: {' '.join(d.excerpt.split())[:400]}",
            path=d.path,
            revision=d.revision,
        )
    return Catalog(evidence=tuple(facts.items), places=placed, suspects=ranked + tuple(suspects[5:]))


def _finding(f: Finding) -> str:
    return (
        f"{f.kind} of {f.service} {f.operation}: {f.before:.1f} -> {f.after:.1f} {f.unit} "
        f"from {rfc3339(f.change_at)} ({f.count_before} requests before, {f.count_after} after)"
    )


def _deployment(d: Deployment) -> str:
    return (
        f"{d.service} was deployed at {rfc3339(d.at)}: version {d.from_version or '?'} -> {d.to_version or '?'}, "
        f"revision {d.from_revision[:12] or 'unknown'} -> {d.to_revision[:12] or 'unknown'}"
    )


def _edges(facts: _Numbering, diff: OperationDiff) -> dict[str, str]:
    """New calls of one request are one fact with their sum; every other changed edge is a fact of its own."""
    numbers: dict[str, str] = {}
    new = [e for e in diff.edges if e.kind == "new" and e.edge != "self"]
    if new:
        ms = sum(e.delta_ms for e in new)
        listed = "; ".join(
            f"{e.edge} ({e.calls_after:.2f} calls, {e.delta_ms:.1f} ms)"
            for e in sorted(new, key=lambda e: (-e.delta_ms, e.edge))
        )
        number = facts.add(
            "new_calls",
            f"{len(new)} new outgoing calls in one request explain {ms:.0f} of {diff.delta_ms:.0f} extra ms: {listed}",
            trace_id=diff.example_trace_after,
            calls=len(new),
            explains_ms=round(ms, 1),
        )
        numbers.update((e.edge, number) for e in new)
    rest = [e for e in diff.edges if e.kind in _CHANGED and e.edge not in numbers]
    for e in rest[:_EDGES]:
        numbers[e.edge] = facts.add(
            "edge",
            f"{e.edge}: {e.calls_before:.2f} -> {e.calls_after:.2f} calls, "
            f"{e.ms_before:.1f} -> {e.ms_after:.1f} ms per request ({e.delta_ms:+.1f} ms)",
            edge=e.edge,
            trace_id=diff.example_trace_after,
        )
    return numbers


def _code(facts: _Numbering, code: tuple[CodeLocation, ...]) -> list[str]:
    return [
        facts.add(
            "code",
            f"{c.file}{f':{c.line}' if c.line else ''}{f' ({c.function})' if c.function else ''} "
            f"was seen in {c.count} {c.source}{'s' if c.count != 1 else ''} inside the affected requests",
            file=c.file,
            line=c.line,
        )
        for c in code[:4]
    ]


def _suspect(facts: _Numbering, suspect: Suspect) -> tuple[str, ...]:
    c = suspect.commit
    places = ", ".join(h.place for h in suspect.hunks[:3])
    number = facts.add(
        "commit",
        f'{c.revision[:12]} "{c.subject}" by {c.author} at {rfc3339(c.time)} wrote {places or "no source lines"}'
        + (f"; {'; '.join(suspect.reasons)}" if suspect.rank == 1 else ""),
        revision=c.revision,
        file=suspect.hunks[0].file if suspect.hunks else "",
        line=suspect.hunks[0].start if suspect.hunks else 0,
    )
    return (number,)
