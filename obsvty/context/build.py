"""An investigation as bounded text, the most useful part first, and as facts for an engine without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsvty.context.tokens import count_tokens
from obsvty.model import (
    EdgeChange,
    Hunk,
    Investigation,
    JsonValue,
    LogChange,
    OperationDiff,
    Suspect,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

BUDGET_TOKENS = 4000
_EDGES = 12  # edges of the operation that are told; the rest are the ones that changed least
_HUNK_LINES = 36  # of each suspect's best hunks; a whole refactoring would drown the three lines that matter
_HUNK_SUSPECTS = 2


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the context; sections stand in order of use, and a budget cuts from the end."""

    title: str
    lines: tuple[str, ...]


def build_context(investigation: Investigation, *, budget_tokens: int = BUDGET_TOKENS) -> str:
    """The context of one incident as raw text; only the gate makes of it something that may leave.

    Two calls with equal investigations give equal bytes. What the budget cuts is said in the last line.
    """
    return render(list(_sections(investigation)), budget_tokens=budget_tokens)


def render(sections: Sequence[Section], *, budget_tokens: int) -> str:
    """Sections as text within a budget: whole sections first, then as many lines of the next one as fit."""
    text, cut = "", 0
    for section in sections:
        block = "\n".join([f"## {section.title}", *section.lines]) + "\n\n"
        if not cut and count_tokens(text + block) <= budget_tokens:
            text += block
            continue
        kept = [f"## {section.title}"]
        if not cut:
            for line in section.lines:
                if count_tokens(text + "\n".join([*kept, line])) > budget_tokens:
                    break
                kept.append(line)
            if len(kept) > 1:
                text += "\n".join(kept) + "\n\n"
        cut += len(section.lines) - (len(kept) - 1)
    if cut:
        text += f"({cut} lines left out to stay within {budget_tokens} tokens.)\n"
    return text


def _sections(inv: Investigation) -> Iterable[Section]:
    yield Section(title="Verdict", lines=tuple(_verdict(inv)))
    if inv.suspects:
        yield Section(
            title="Suspect commits, best first", lines=tuple(x for s in inv.suspects[:5] for x in _suspect(s))
        )
    elif inv.attribution is not None and inv.attribution.abstained:
        yield Section(title="Suspect commits", lines=(f"None is named: {inv.attribution.abstained}",))
    if inv.evidence:
        yield Section(title="Evidence", lines=tuple(f"[{e.id}] {e.text}" for e in inv.evidence))
    if inv.operation_diff is not None:
        yield Section(
            title="One request of the operation, before and after", lines=tuple(_diff(inv.operation_diff))
        )
    if inv.log_changes:
        yield Section(title="Log templates that changed", lines=tuple(_log(c) for c in inv.log_changes[:8]))
    hunks = tuple(x for s in inv.suspects[:_HUNK_SUSPECTS] for x in _hunks(s))
    if hunks:
        yield Section(title="What the suspects changed", lines=hunks)
    if inv.documents:
        yield Section(
            title="What the repository's own documents say",
            lines=tuple(f"{d.path} ({d.title}): {' '.join(d.excerpt.split())}" for d in inv.documents[:2]),
        )
    if inv.ruled_out:
        yield Section(title="Ruled out", lines=tuple(f"- {x}" for x in inv.ruled_out))


def _verdict(inv: Investigation) -> Iterable[str]:
    yield f"incident {inv.incident_id}: {inv.summary}"
    yield f"verdict {inv.verdict}, confidence {inv.confidence:.2f}"
    if inv.start is not None:
        end = f" to {rfc3339(inv.end)}" if inv.end else ", still going on"
        yield f"since {rfc3339(inv.start)}{end}"
    yield (
        f"impact: {inv.impact.requests} requests, {inv.impact.errors} errors, "
        f"{inv.impact.share_of_requests:.0%} of the operation's requests affected"
    )
    if inv.deployment is not None:
        d = inv.deployment
        yield (
            f"deployment of {d.service}: {d.from_version or '?'} ({d.from_revision[:12] or 'unknown'}) -> "
            f"{d.to_version or '?'} ({d.to_revision[:12] or 'unknown'}) at {rfc3339(d.at)}"
        )


def _suspect(suspect: Suspect) -> Iterable[str]:
    c = suspect.commit
    yield (
        f'{suspect.rank}. {c.revision} "{c.subject}" by {c.author}, {rfc3339(c.time)}, '
        f"probability {suspect.probability:.2f}"
    )
    for reason in suspect.reasons if suspect.rank > 1 else ():  # the first one's are in its evidence
        yield f"   - {reason}"
    places = ", ".join(h.place for h in suspect.hunks[:4])
    if places:
        yield f"   lines {places} [{' '.join(suspect.evidence)}]"


def _edge(edge: EdgeChange) -> str:
    return (
        f"{edge.kind:12} {edge.calls_before:.2f} -> {edge.calls_after:.2f} calls  "
        f"{edge.ms_before:.1f} -> {edge.ms_after:.1f} ms ({edge.delta_ms:+.1f})  {edge.edge}"
    )


def _diff(diff: OperationDiff) -> Iterable[str]:
    yield (
        f"{diff.service} {diff.operation}: mean {diff.ms_before:.1f} -> {diff.ms_after:.1f} ms "
        f"({diff.requests_before} and {diff.requests_after} requests); calls and milliseconds per request:"
    )
    for edge in diff.edges[:_EDGES]:
        yield _edge(edge)


def _hunks(suspect: Suspect) -> Iterable[str]:
    lines: list[str] = []
    for hunk in suspect.hunks:
        lines += [f"{suspect.commit.revision[:12]} {hunk.file}", *hunk.text.splitlines()]
    yield from lines[:_HUNK_LINES]
    if len(lines) > _HUNK_LINES:
        yield f"({len(lines) - _HUNK_LINES} more lines of {suspect.commit.revision[:12]})"


def _log(change: LogChange) -> str:
    counts = f"{change.count_before} -> {change.count_after}"
    sample = f"   e.g. {change.sample}" if change.sample else ""
    return f"{counts}  {change.severity} {change.service}: {change.template}{sample}"


def _hunk(hunk: Hunk) -> JsonValue:
    return {"file": hunk.file, "start": hunk.start, "end": hunk.end}


def build_facts(inv: Investigation) -> dict[str, JsonValue]:
    """The same content as data, for an engine that writes from facts; every string in it is still raw."""
    diff, deployment = inv.operation_diff, inv.deployment
    told = inv.to_dict()
    first = inv.findings[0] if inv.findings else None
    return {
        "incident": {
            "id": inv.incident_id,
            "service": first.service if first else "",
            "operation": first.operation if first else "",
            "start": rfc3339(inv.start) if inv.start else "",
            "end": rfc3339(inv.end) if inv.end else "",
            "headline": inv.summary,
        },
        "verdict": inv.verdict,
        "confidence": round(inv.confidence, 2),
        "findings": [
            {
                "id": f.id,
                "kind": f.kind,
                "service": f.service,
                "operation": f.operation,
                "before": round(f.before, 1),
                "after": round(f.after, 1),
                "unit": f.unit,
                "text": f.text,
            }
            for f in inv.findings
        ],
        "deployment": deployment
        and {
            "service": deployment.service,
            "from": deployment.from_revision,
            "to": deployment.to_revision,
            "from_version": deployment.from_version,
            "to_version": deployment.to_version,
            "at": rfc3339(deployment.at),
        },
        "localization": told["localization"],
        "diff": diff
        and {
            "requests_before": diff.requests_before,
            "requests_after": diff.requests_after,
            "ms_before": round(diff.ms_before, 1),
            "ms_after": round(diff.ms_after, 1),
            "edges": [
                {
                    "edge": e.edge,
                    "kind": e.kind,
                    "calls_before": round(e.calls_before, 2),
                    "calls_after": round(e.calls_after, 2),
                    "delta_ms": round(e.delta_ms, 1),
                }
                for e in diff.edges[:_EDGES]
            ],
        },
        "suspects": [
            {
                "rank": s.rank,
                "revision": s.commit.revision,
                "short": s.commit.revision[:7],
                "subject": s.commit.subject,
                "author": s.commit.author,
                "probability": round(s.probability, 2),
                "reasons": list(s.reasons),
                "hunks": [_hunk(h) for h in s.hunks[:4]],
                "evidence": list(s.evidence),
            }
            for s in inv.suspects[:5]
        ],
        "abstained": inv.attribution.abstained if inv.attribution else "",
        "documents": [
            {
                "path": d.path,
                "title": d.title,
                "excerpt": d.excerpt,
                "evidence": next(
                    (e.id for e in inv.evidence if e.kind == "document" and e.refs.get("path") == d.path), ""
                ),
            }
            for d in inv.documents[:2]
        ],
        "ruled_out": list(inv.ruled_out),
        "log_changes": [
            {
                "template": c.template,
                "count_before": c.count_before,
                "count_after": c.count_after,
                "severity": c.severity,
            }
            for c in inv.log_changes[:8]
        ],
        "evidence": [{"id": e.id, "kind": e.kind, "text": e.text} for e in inv.evidence],
        "impact": told["impact"],
    }
