"""Which blocks a value is shown as: the verdict first, then what supports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from obsvty.model import (
    Attribution,
    Deployment,
    EgressSummary,
    Finding,
    Incident,
    Insight,
    Investigation,
    OperationDiff,
    ServiceMap,
    Suspect,
    rfc3339,
)
from obsvty.notebook.blocks import Block, Diff, Fields, Grid, Para, Title
from obsvty.privacy import LedgerEntry, SanitizedContext

_TONES: Final = {"no_incident": "good", "inconclusive": "warn"}
_DIFF_LINES: Final = 60  # of the leading suspect's hunks; the rest is said, not shown


def investigation(inv: Investigation) -> list[Block]:
    """The verdict as one screen."""
    leading = inv.findings[0] if inv.findings else None
    name = f"{leading.operation} ({leading.service})" if leading else inv.incident_id
    verdict = inv.verdict.replace("_", " ")
    chip = f"{verdict} · {inv.confidence:.0%} sure" if inv.confidence else verdict
    rows: list[tuple[str, str]] = [("Incident", inv.incident_id)]
    if leading:
        rows.append(
            ("What", f"{finding(leading)} · {inv.impact.requests:,} requests, {inv.impact.errors:,} errors")
        )
    if inv.deployment:
        rows.append(("Change", deploy_line(inv.deployment)))
    if inv.suspects:
        first = inv.suspects[0]
        rows.append(
            ("Suspect", f"{first.commit.revision[:8]} {first.commit.subject} · {first.commit.author}")
        )
        rows.extend(("", reason) for reason in first.reasons[:3])
    if inv.insight.suggestion:
        rows.append(("Fix", f"{inv.insight.suggestion} ({engine(inv.insight)})"))
    rows.extend(("Ruled out" if i == 0 else "", text) for i, text in enumerate(inv.ruled_out))
    rows.append(("Egress", egress(inv.egress)))
    blocks: list[Block] = [Title(name, chip, _TONES.get(inv.verdict, "bad"))]
    if inv.summary:
        blocks.append(Para(inv.summary))
    blocks.append(Fields(rows))
    if inv.suspects:
        blocks += [suspects(inv.suspects), *hunks(inv.suspects[0])]
    return blocks


def incident(value: Incident) -> list[Block]:
    """What was found, as a table."""
    rows = [("Since", rfc3339(value.start)), ("Status", value.status)]
    if value.deployment:
        rows.append(("Change", deploy_line(value.deployment)))
    grid = Grid(
        ("id", "kind", "service", "operation", "before", "after", "unit", "at"),
        [
            (f.id, f.kind, f.service, f.operation, _n(f.before), _n(f.after), f.unit, rfc3339(f.change_at))
            for f in value.findings
        ],
        frozenset(("before", "after")),
    )
    tone = "bad" if value.status == "open" else "good"
    return [Title(f"{value.operation} ({value.service})", value.id, tone), Fields(rows), grid]


def attribution(value: Attribution) -> list[Block]:
    """Ranked commits, or why none is named."""
    span = f"{value.base[:8] or 'the beginning'}..{value.head[:8] or 'unknown'}"
    fields = Fields([("Candidates", f"{value.candidates} commits in {span}"), ("Base", value.base_reason)])
    if not value.suspects:
        return [Title("No commit is named", "abstained", "warn"), Para(value.abstained), fields]
    first = value.suspects[0]
    title = Title(f"{first.commit.revision[:8]} {first.commit.subject}", f"{first.probability:.0%}", "bad")
    return [title, fields, suspects(value.suspects), *hunks(first)]


def suspect(value: Suspect) -> list[Block]:
    """One commit: who, when, why, which lines."""
    commit = value.commit
    rows = [("Author", commit.author), ("Time", rfc3339(commit.time)), ("Revision", commit.revision)]
    rows.extend(("Because" if i == 0 else "", reason) for i, reason in enumerate(value.reasons))
    return [Title(commit.subject, f"{value.probability:.0%}", "bad"), Fields(rows), *hunks(value)]


def suspects(values: Sequence[Suspect]) -> Grid:
    """The ranked table."""
    return Grid(
        ("rank", "commit", "subject", "author", "probability"),
        [
            (
                str(s.rank or i),
                s.commit.revision[:8],
                s.commit.subject,
                s.commit.author,
                f"{s.probability:.2f}",
            )
            for i, s in enumerate(values[:8], 1)
        ],
        frozenset(("rank", "probability")),
        f"{len(values) - 8} more" if len(values) > 8 else "",
    )


def hunks(value: Suspect) -> list[Block]:
    """The suspect's lines, as the diff shows them; at most 60."""
    blocks: list[Block] = []
    left = _DIFF_LINES
    for hunk in value.hunks:
        lines = hunk.text.splitlines()
        if not lines or left <= 0:
            continue
        blocks.append(Diff(f"{hunk.file}:{hunk.start}-{hunk.end}", "\n".join(lines[:left])))
        left -= len(lines)
    return blocks


def operation_diff(value: OperationDiff) -> list[Block]:
    """What one request does now that it did not do before."""
    grid = Grid(
        ("call", "made by", "change", "calls before", "calls after", "ms before", "ms after", "added ms"),
        [
            (
                edge.edge,
                edge.service,
                edge.kind.replace("_", " "),
                _n(edge.calls_before),
                _n(edge.calls_after),
                _n(edge.ms_before),
                _n(edge.ms_after),
                f"{edge.delta_ms:+.1f}",
            )
            for edge in value.edges
        ],
        frozenset(("calls before", "calls after", "ms before", "ms after", "added ms")),
        f"means per request, of {value.requests_before} requests before and {value.requests_after} after",
    )
    title = f"{value.operation} ({value.service}): {value.ms_before:.0f} -> {value.ms_after:.0f} ms"
    return [Title(title, f"{value.delta_ms:+.0f} ms", "bad" if value.delta_ms > 0 else "good"), grid]


def service_map(value: ServiceMap) -> list[Block]:
    """Who calls whom."""
    grid = Grid(
        ("from", "to", "kind", "calls", "errors", "p50 ms", "p95 ms"),
        [
            (e.source, e.target, e.target_kind, f"{e.calls:,}", f"{e.errors:,}", _n(e.p50_ms), _n(e.p95_ms))
            for e in value.edges
        ],
        frozenset(("calls", "errors", "p50 ms", "p95 ms")),
    )
    return [Title(f"{len(value.services)} services: {', '.join(value.services)}"), grid]


def deployment(value: Deployment) -> list[Block]:
    """One line."""
    return [Title(f"{value.service}: {deploy_line(value)}")]


def insight(value: Insight) -> list[Block]:
    """The answer with its citations."""
    blocks: list[Block] = [Para(value.cause, "Cause"), Para(value.suggestion, "Fix")]
    cited = " ".join(f"[{c}]" for c in value.citations)
    return [
        *blocks,
        Fields([("Evidence", cited), ("Engine", engine(value)), ("Struck", str(len(value.struck)))]),
    ]


def context(value: SanitizedContext) -> list[Block]:
    """The exact text that a model would get."""
    redacted = ", ".join(f"{kind} {n}" for kind, n in sorted(value.redactions.items())) or "nothing"
    return [
        Title("What a model would get", f"{len(value.text.encode()):,} bytes", "info"),
        Fields([("Redacted", redacted)]),
        Diff("context", value.text),
    ]


def ledger(entries: Sequence[LedgerEntry]) -> list[Block]:
    """What left this machine, row by row."""
    if not entries:
        return [Para("Nothing has left this machine.")]
    rows = [
        (
            str(e.sequence),
            rfc3339(e.time),
            e.sink,
            e.destination,
            e.decision,
            f"{e.size_bytes:,}",
            e.sha256[:12],
        )
        for e in entries
    ]
    return [
        Grid(
            ("no", "time", "sink", "destination", "decision", "bytes", "sha256"),
            rows,
            frozenset(("no", "bytes")),
        )
    ]


def finding(value: Finding) -> str:
    """`p50 134 -> 493 ms (x3.7) since ...`."""
    factor = f" (x{value.after / value.before:.1f})" if value.before > 0 else ""
    return f"{value.kind} {_n(value.before)} -> {_n(value.after)} {value.unit}{factor} since {rfc3339(value.change_at)}"


def deploy_line(value: Deployment) -> str:
    """`1.4.0 -> 1.5.0 (7831108 -> 3580ae3) at ...`."""
    before = value.from_version or value.from_revision[:7] or "nothing"
    after = value.to_version or value.to_revision[:7] or "unknown"
    revisions = f" ({value.from_revision[:7]} -> {value.to_revision[:7]})" if value.from_revision else ""
    return f"deploy {before} -> {after}{revisions} at {rfc3339(value.at)}"


def engine(value: Insight) -> str:
    """Who wrote it."""
    return value.note or f"{value.engine} engine, {value.tokens:,} tokens"


def egress(value: EgressSummary) -> str:
    """What left, in a sentence."""
    total = sum(value.redactions.values())
    would = (
        f" A model would get {value.would_send_bytes:,} bytes, {total} values redacted."
        if value.would_send_bytes
        else ""
    )
    return f"{value.bytes:,} bytes left this machine in {value.entries} entries.{would}"


def _n(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
