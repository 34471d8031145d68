"""Operations that became slower and stayed slower."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from obsvty.detect.requests import Requests, Telemetry, read_telemetry
from obsvty.detect.statistics import rank_test
from obsvty.detect.steps import Level, Measure, Step, find_steps
from obsvty.model import Finding, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np
    from numpy.typing import NDArray

MIN_RATIO: Final = 1.2
MIN_RATIO_ALONE: Final = 1.3
MIN_EFFECT_MS: Final = 3.0


def find_latency_steps(
    traces: ir.Table,
    *,
    window: Window | None = None,
    min_ratio: float = MIN_RATIO,
    min_effect_ms: float = MIN_EFFECT_MS,
) -> list[Finding]:
    """Operations whose median latency rose and stayed risen, at deployments (a more sensitive test) and without one.

    Args:
        traces: the canonical table; requests are its entry spans.
        window: the data to look at; all of it without one.
        min_ratio: smallest ratio of the medians to report; without a deployment at least 1.3.
        min_effect_ms: smallest difference of the medians to report, in milliseconds.

    Returns:
        Findings with medians in milliseconds, oldest change first. `change_at` is the start of the first slow request.
    """
    telemetry = read_telemetry(traces, window=window)
    steps = latency_steps(telemetry, min_ratio=min_ratio, min_effect_ms=min_effect_ms)
    return [step.finding for step in steps]


def latency_steps(
    telemetry: Telemetry, *, min_ratio: float = MIN_RATIO, min_effect_ms: float = MIN_EFFECT_MS
) -> list[Step]:
    """`find_latency_steps` on data that is read already, with what the grouping needs."""
    return find_steps(telemetry, latency_measure(min_ratio=min_ratio, min_effect_ms=min_effect_ms))


def latency_measure(*, min_ratio: float = MIN_RATIO, min_effect_ms: float = MIN_EFFECT_MS) -> Measure:
    """Medians in milliseconds, compared by ranks."""

    def compare(before: NDArray[np.float64], after: NDArray[np.float64], alone: bool) -> Level | None:
        import numpy as np

        low, high = float(np.median(before)), float(np.median(after))
        ratio = max(min_ratio, MIN_RATIO_ALONE) if alone else min_ratio
        if high < low * ratio or high - low < min_effect_ms:
            return None
        return Level(before=low, after=high, p_value=rank_test(before, after))

    def weights(values: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
        import numpy as np

        return np.where(values > math.sqrt(max(level.before, 1e-3) * level.after), 1.0, -1.0)

    return Measure(
        kind="latency",
        unit="ms",
        cost=1.0,
        values=lambda requests: requests.ms,
        compare=compare,
        patience=24.0,  # requests: by chance once in 1e5 when two thirds of them are slow
        weights=weights,
        sentence=_sentence,
    )


def _sentence(requests: Requests, level: Level, before: int, after: int) -> str:
    ratio = level.after / max(level.before, 1e-3)
    return (
        f"{requests.operation} ({requests.service}): p50 {level.before:.0f} -> {level.after:.0f} ms (x{ratio:.1f}), "
        f"{before} requests before and {after} after"
    )
