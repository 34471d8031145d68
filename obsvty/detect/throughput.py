"""Operations that suddenly get many more, or many fewer, requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obsvty.detect.requests import Requests, Telemetry, read_telemetry
from obsvty.detect.statistics import scan_segment
from obsvty.model import Finding, Window, from_ns

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np
    from numpy.typing import NDArray

MIN_RATIO: Final = 3.0
"""Traffic doubles every morning; a step worth a word is larger."""
BUCKETS: Final = 60
MIN_BUCKETS: Final = 5
MIN_REQUESTS: Final = 20
STEP_P: Final = 1e-5
_MIN_BUCKET_NS: Final = 1_000_000_000


def find_throughput_steps(
    traces: ir.Table, *, window: Window | None = None, min_ratio: float = MIN_RATIO
) -> list[Finding]:
    """Operations whose requests per minute rose or fell by a large factor and stayed there.

    Times in which no service sent anything are left out, so that a pause of the whole telemetry is no fall.

    Returns:
        Findings in requests per minute, oldest change first.
    """
    return throughput_steps(read_telemetry(traces, window=window), min_ratio=min_ratio)


def throughput_steps(telemetry: Telemetry, *, min_ratio: float = MIN_RATIO) -> list[Finding]:
    """`find_throughput_steps` on data that is read already."""
    import numpy as np

    length = telemetry.end_ns - telemetry.start_ns
    bucket_ns = max(_MIN_BUCKET_NS, length // BUCKETS)
    edges = np.arange(telemetry.start_ns, telemetry.end_ns + bucket_ns, bucket_ns)
    if len(edges) < 2 * MIN_BUCKETS:
        return []
    counts = [np.histogram(one.start_ns, edges)[0] for one in telemetry.operations]
    active = np.flatnonzero(np.sum(counts, axis=0) > 0)
    if len(active) > 1:
        active = active[:-1]  # the last bucket is cut off
    findings: list[Finding] = []
    for requests, count in zip(telemetry.operations, counts, strict=True):
        finding = _step(requests, count[active].astype(np.float64), edges[active], bucket_ns, min_ratio)
        if finding is not None:
            findings.append(finding)
    return sorted(findings, key=lambda f: (f.change_at, f.service, f.operation))


def _step(
    requests: Requests,
    count: NDArray[np.float64],
    begin_ns: NDArray[np.int64],
    bucket_ns: int,
    min_ratio: float,
) -> Finding | None:
    for direction in (1.0, -1.0):
        segment = scan_segment(direction * count, min_size=MIN_BUCKETS)
        if segment is None or segment.p_value > STEP_P or segment.start < MIN_BUCKETS:
            continue
        before, after = count[: segment.start], count[segment.start : segment.end]
        low, high = sorted([float(before.mean()), float(after.mean())])
        if (before.sum() + after.sum()) < MIN_REQUESTS or high < max(low, 0.1) * min_ratio:
            continue
        if (after.mean() > before.mean()) != (direction > 0):
            continue
        per_minute = 60e9 / bucket_ns
        rates = float(before.mean()) * per_minute, float(after.mean()) * per_minute
        return Finding(
            kind="throughput",
            service=requests.service,
            operation=requests.operation,
            before=rates[0],
            after=rates[1],
            unit="/min",
            change_at=from_ns(int(begin_ns[segment.start])),
            count_before=int(before.sum()),
            count_after=int(after.sum()),
            p_value=segment.p_value,
            ended_at=from_ns(int(begin_ns[segment.end])) if segment.end < len(count) else None,
            text=f"{requests.operation} ({requests.service}): {rates[0]:.0f} -> {rates[1]:.0f} requests/min",
        )
    return None
