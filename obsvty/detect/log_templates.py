"""Log templates (the constant part of like records) and which of them appeared, vanished, rose or fell."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from obsvty.detect.statistics import rate_test
from obsvty.model import LogChange, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir

HOLE: Final = "<*>"
SIMILARITY: Final = 0.5
MAX_BODIES: Final = 50_000
MAX_TOKENS: Final = 60
MAX_CLUSTERS_PER_LEAF: Final = 200
MIN_RATIO: Final = 2.0
CHANGE_P: Final = 1e-3
BORN_P: Final = 0.05
_SAMPLE_CHARS: Final = 2000
_MASKS: Final = (
    re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"),
    re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    re.compile(
        r"\b[0-9]{1,4}[-/][0-9A-Za-z]{1,3}[-/][0-9]{1,4}[T: ]?"
        r"[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]+)?(?:Z|[+-][0-9:]{4,5})?"
    ),
    re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]+)?\b"),
    re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b"),
    re.compile(r"(?<![A-Za-z_<])[-+]?[0-9]+(?:[.,:][0-9]+)*(?=[A-Za-z]{0,2}\b|\W|$)"),
)
_HOLES: Final = re.compile(r"<\*>(?:[.,:/-]?<\*>)+")
_SEVERITIES: Final = ((21, "FATAL"), (17, "ERROR"), (13, "WARN"), (9, "INFO"), (5, "DEBUG"), (1, "TRACE"))


@dataclass(eq=False)
class _Cluster:
    tokens: list[str]
    id: int


@dataclass(eq=False)
class TemplateMiner:
    """A small Drain: records group by length and first word, then join the most similar template of their group.

    Numbers, ids, addresses and times become holes before the comparison. The order of `add` matters; add
    sorted bodies for results that are equal between runs.
    """

    similarity: float = SIMILARITY
    clusters: list[_Cluster] = field(default_factory=list["_Cluster"])
    _leaves: dict[tuple[int, str], list[_Cluster]] = field(default_factory=lambda: defaultdict(list))

    def add(self, body: str) -> int:
        """The template's number for a record's body (its first line); the template may still get more holes."""
        tokens = mask(body).split()[:MAX_TOKENS] or [HOLE]
        head = HOLE if HOLE in tokens[0] else tokens[0]
        leaf = self._leaves[len(tokens), head]
        best, best_score = None, -1.0
        for cluster in leaf:
            score = _similarity(cluster.tokens, tokens)
            if score > best_score:
                best, best_score = cluster, score
        if best is None or (best_score < self.similarity and len(leaf) < MAX_CLUSTERS_PER_LEAF):
            best = _Cluster(tokens=tokens, id=len(self.clusters))
            self.clusters.append(best)
            leaf.append(best)
        else:
            best.tokens = [a if a == b else HOLE for a, b in zip(best.tokens, tokens, strict=True)]
        return best.id

    def template(self, number: int) -> str:
        """The text of a template, holes as `<*>`."""
        return " ".join(self.clusters[number].tokens)


def mask(body: str) -> str:
    """The first line of a body with ids, numbers, addresses and times as holes."""
    line = body.strip().partition("\n")[0]
    for pattern in _MASKS:
        line = pattern.sub(HOLE, line)
    return _HOLES.sub(HOLE, line)


def _similarity(template: list[str], tokens: list[str]) -> float:
    """Share of words that are equal; holes in both count half, so that many holes do not swallow everything."""
    same = 0.0
    for a, b in zip(template, tokens, strict=True):
        if a == b:
            same += 0.5 if a == HOLE else 1.0
    words = sum(1.0 if token != HOLE else 0.5 for token in tokens)
    return same / words


@dataclass(eq=False)
class _Counts:
    before: int = 0
    after: int = 0
    sample: str = ""
    severities: Counter[int] = field(default_factory=Counter[int])


def find_log_changes(
    logs: ir.Table, *, baseline: Window, window: Window, service: str | None = None
) -> list[LogChange]:
    """Templates that were born, died, rose or fell between the baseline and the window.

    Rates are per minute between the first and the last record of each window, by service. A born or dead
    template needs p < 0.05 (five records at equal lengths), two records if it is an error; a change of rate a
    factor of 2 and p < 0.001.

    Args:
        logs: the canonical table.
        baseline: before.
        window: after.
        service: only its records.

    Returns:
        Errors first, then born and dead ones, then the largest changes; `sample` is one raw body, if possible of the
        window.
    """
    changes: list[LogChange] = []
    for name, rows in _read_bodies(logs, baseline, window, service).items():
        miner = TemplateMiner()
        counts: dict[int, _Counts] = defaultdict(_Counts)
        for row in rows:
            count = counts[miner.add(row.body)]
            if not count.sample or (row.after and not count.after):
                count.sample = row.body
            count.before += row.before
            count.after += row.after
            count.severities[row.severity] += row.before + row.after
        span_before = _minutes(min(r.first_before for r in rows), max(r.last_before for r in rows), baseline)
        span_after = _minutes(min(r.first_after for r in rows), max(r.last_after for r in rows), window)
        for number, count in counts.items():
            severity = max(count.severities, key=lambda s: (count.severities[s], s))
            if _changed(count, span_before, span_after, is_error=severity >= 17):
                changes.append(
                    LogChange(
                        template=miner.template(number),
                        service=name,
                        severity=_severity_text(severity),
                        count_before=count.before,
                        count_after=count.after,
                        sample=count.sample[:_SAMPLE_CHARS],
                    )
                )
    return sorted(changes, key=_rank)


def _changed(count: _Counts, span_before: float, span_after: float, *, is_error: bool) -> bool:
    before, after = (count.before, span_before), (count.after, span_after)
    low, high = sorted([before, after], key=lambda one: one[0] / one[1])
    p_value = rate_test(low[0], low[1], high[0], high[1])
    if low[0] == 0:
        return p_value < BORN_P or (is_error and high[0] >= 2 and high is after)
    return p_value < CHANGE_P and high[0] / high[1] >= MIN_RATIO * low[0] / low[1]


def _rank(change: LogChange) -> tuple[bool, bool, int, str, str]:
    return (
        change.severity not in ("ERROR", "FATAL"),
        min(change.count_before, change.count_after) > 0,
        -abs(change.count_after - change.count_before),
        change.service,
        change.template,
    )


@dataclass(frozen=True, kw_only=True)
class _Body:
    body: str
    severity: int
    before: int
    after: int
    first_before: int
    last_before: int
    first_after: int
    last_after: int


def _read_bodies(
    logs: ir.Table, baseline: Window, window: Window, service: str | None
) -> dict[str, list[_Body]]:
    """Distinct bodies with their counts in both windows, by service; the most frequent when there are very many."""
    import ibis

    inside = (logs.time_ns >= window.start_ns) & (logs.time_ns < window.end_ns)
    outside = (logs.time_ns >= baseline.start_ns) & (logs.time_ns < baseline.end_ns)
    records = logs.mutate(inside=inside, outside=outside).filter(inside | outside)
    records = records.filter(records.service_name.notnull() & records.body.notnull())
    if service is not None:
        records = records.filter(records.service_name == service)
    never = ibis.null("int64")
    rows = (
        records.group_by(["service_name", "body", "severity_number"])
        .agg(
            before=records.outside.cast("int64").sum(),
            after=records.inside.cast("int64").sum(),
            n=records.count(),
            first_before=records.outside.ifelse(records.time_ns, never).min(),
            last_before=records.outside.ifelse(records.time_ns, never).max(),
            first_after=records.inside.ifelse(records.time_ns, never).min(),
            last_after=records.inside.ifelse(records.time_ns, never).max(),
        )
        .order_by([ibis.desc("n"), "service_name", "body", "severity_number"])
        .limit(MAX_BODIES)
        .to_pyarrow()
        .to_pylist()
    )
    found: dict[str, list[_Body]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["service_name"], r["body"], r["severity_number"] or 0)):
        found[row["service_name"]].append(
            _Body(
                body=row["body"],
                severity=int(row["severity_number"] or 0),
                before=int(row["before"]),
                after=int(row["after"]),
                first_before=int(row["first_before"] or baseline.end_ns),
                last_before=int(row["last_before"] or baseline.start_ns),
                first_after=int(row["first_after"] or window.end_ns),
                last_after=int(row["last_after"] or window.start_ns),
            )
        )
    return found


def _minutes(first_ns: int, last_ns: int, window: Window) -> float:
    """Between the first and last record; the whole window when it has fewer than two."""
    length = last_ns - first_ns if last_ns > first_ns else window.end_ns - window.start_ns
    return max(length / 60e9, 1 / 60)


def _severity_text(number: int) -> str:
    return next((text for least, text in _SEVERITIES if number >= least), "")
