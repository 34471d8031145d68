"""The one-screen verdict: the same words on the terminal, in the alert and on the first lines of the report."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime

from obsvty.model import CodeLocation, EdgeChange, Investigation, Suspect

_WIDTH = 11  # of the label column


@dataclass(frozen=True, kw_only=True)
class VerdictScreen:
    """Labelled lines; continuation lines have an empty label. Raw text: it passes the gate before it leaves."""

    rows: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n".join(f"{label:<{_WIDTH}}{text}".rstrip() for label, text in self.rows)

    def wrapped(self, width: int) -> str:
        """The same for a screen of `width` columns; lines that run on keep the column of the text."""
        lines: list[str] = []
        for label, text in self.rows:
            parts = textwrap.wrap(
                text, max(width - _WIDTH, 40), break_long_words=False, break_on_hyphens=False
            )
            lines += [f"{label if i == 0 else '':<{_WIDTH}}{part}" for i, part in enumerate(parts or [""])]
        return "\n".join(line.rstrip() for line in lines)

    def line(self, label: str) -> str:
        """Text of the first row with that label; "" when there is none."""
        return next((text for name, text in self.rows if name == label), "")


def verdict_screen(inv: Investigation) -> VerdictScreen:
    """The verdict of an investigation, at most 14 lines, every number from the investigation."""
    rows = [("INCIDENT", _incident(inv))]
    if inv.verdict == "no_incident":
        rows += [("CHECKED", text) for text in inv.ruled_out[:1]]
        return VerdictScreen(rows=(*rows, ("EGRESS", _egress(inv))))
    if inv.deployment is not None:
        d = inv.deployment
        versions = f"{d.from_version or '?'} -> {d.to_version or '?'}"
        revisions = f" ({d.from_revision[:7]} -> {d.to_revision[:7]})" if d.to_revision else ""
        rows.append(("CHANGE", f"deploy {versions}{revisions} at {_clock(d.at)}"))
    rows += _suspects(inv)
    if inv.insight.cause and inv.insight.tokens:
        rows.append(("WHY", f"{inv.insight.cause}  [{' '.join(inv.insight.citations)}]"))
    if inv.insight.suggestion:
        rows.append(("FIX", _fix(inv)))
    if inv.ruled_out:
        rows.append(("RULED OUT", " · ".join(inv.ruled_out)))
    rows.append(("EGRESS", _egress(inv)))
    return VerdictScreen(rows=tuple(rows))


def headline(inv: Investigation) -> str:
    """`POST /checkout 3.7x slower: shop`: what the reader feels, in one line."""
    lead = inv.findings[0] if inv.findings else None
    if lead is None:
        return inv.summary
    name = f"{lead.operation or lead.service}"
    if lead.kind == "latency" and lead.before > 0:
        return f"{name} {lead.after / lead.before:.1f}x slower: {lead.service}"
    if lead.kind == "errors":
        return f"{name} fails {lead.after:.1f} % of requests: {lead.service}"
    return f"{name}: {lead.kind.replace('_', ' ')} changed: {lead.service}"


def _incident(inv: Investigation) -> str:
    lead = inv.findings[0] if inv.findings else None
    if lead is None:
        return inv.summary
    change = f"{lead.before:.0f} -> {lead.after:.0f} {lead.unit}"
    if lead.kind == "latency":
        change = f"p50 {change}"
    if lead.before > 0 and lead.kind in ("latency", "throughput"):
        change += f" (x{lead.after / lead.before:.1f})"
    since = f"since {_clock(inv.start)} UTC" if inv.start else ""
    until = f" until {_clock(inv.end)} UTC" if inv.end else ""
    share = f"{inv.impact.share_of_requests:.0%}".replace("%", " %")
    return (
        f"{lead.operation} ({lead.service})  {change} {since}{until} · "
        f"{share} of requests affected, {inv.impact.requests} requests"
    )


def _suspects(inv: Investigation) -> list[tuple[str, str]]:
    if not inv.suspects:
        why = inv.attribution.abstained if inv.attribution else "no repository was found"
        return [("SUSPECT", f"no commit explains this: {why}"), *_places(inv)]
    first = inv.suspects[0]
    others = "   ".join(
        f"{s.commit.revision[:7]} {s.probability:.2f}" for s in inv.suspects[1:2] if s.probability >= 0.005
    )
    rows = [
        (
            "SUSPECT",
            f'{first.commit.revision[:7]} "{first.commit.subject}" · {first.commit.author}'
            f"      {first.probability:.2f}" + (f"   next: {others}" if others else ""),
        )
    ]
    place = _place_of(first, inv.code)
    explained = _explained(inv)
    cited = f"[{' '.join(first.evidence)}]" if first.evidence else ""
    line = "   ".join(x for x in (place, explained, cited) if x)
    return [*rows, ("", line)] if line else rows


def _fix(inv: Investigation) -> str:
    insight = inv.insight
    read = [e.id for e in inv.evidence if e.kind == "document" and e.id in insight.citations]
    cited = f"   [{' '.join(read)}]" if read else ""
    note = f"   ({insight.engine} engine: {insight.note})" if insight.note else ""
    return f"{insight.suggestion}{cited}{note}"


def _place_of(suspect: Suspect, code: tuple[CodeLocation, ...]) -> str:
    """The first line of the suspect's that telemetry named, else where its best hunk begins."""
    for hunk in suspect.hunks:
        for seen in code:
            if seen.file.endswith(hunk.file) and hunk.start <= seen.line <= hunk.end:
                return f"{hunk.file}:{seen.line}"
    return f"{suspect.hunks[0].file}:{suspect.hunks[0].start}" if suspect.hunks else ""


def _explained(inv: Investigation) -> str:
    """`3 new calls to 127.0.0.1:9090/issuer/{bin,avs,velocity} explain 366 of 370 ms`."""
    diff = inv.operation_diff
    if diff is None:
        return ""
    new = [e for e in diff.edges if e.kind == "new"]
    grown = new or [e for e in diff.edges if e.kind in ("slower", "more_calls")][:1]
    if not grown:
        return ""
    ms = sum(e.delta_ms for e in grown)
    what = (
        f"{_count(new)} to {_fold([e.edge for e in new])} explain"
        if new
        else f"{grown[0].edge} ({grown[0].kind.replace('_', ' ')}) explains"
    )
    return f"{what} {ms:.0f} of {diff.delta_ms:.0f} ms"


def _count(new: list[EdgeChange]) -> str:
    calls = sum(e.calls_after for e in new)
    return f"{calls:.0f} new call{'s' if round(calls) != 1 else ''} a request"


def _fold(edges: list[str]) -> str:
    """`POST host/issuer/bin`, `POST host/issuer/avs` -> `POST host/issuer/{bin,avs}`."""
    heads = {e.rsplit("/", 1)[0] for e in edges if "/" in e}
    if len(edges) > 1 and len(heads) == 1 and all("/" in e for e in edges):
        return f"{heads.pop()}/{{{','.join(e.rsplit('/', 1)[1] for e in edges)}}}"
    return ", ".join(edges)


def _places(inv: Investigation) -> list[tuple[str, str]]:
    explained = _explained(inv)
    rows = [("WHERE", f"{p.service}: {p.operation} (+{p.explains_ms:.0f} ms)") for p in inv.localization[:1]]
    return [*rows, ("", explained)] if explained else rows


def _egress(inv: Investigation) -> str:
    left = f"{_size(inv.egress.bytes)} left this machine."
    if not inv.egress.would_send_bytes:
        return left
    values = sum(inv.egress.redactions.values())
    return (
        f"{left}  With a model: {_size(inv.egress.would_send_bytes)} would, {values} values redacted.   "
        f"obsvty context {inv.incident_id}"
        if not inv.egress.bytes
        else f"{left}  {values} values redacted.   obsvty egress list"
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes} bytes" if size_bytes < 1000 else f"{size_bytes / 1000:.1f} kB"


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%H:%M:%S")
