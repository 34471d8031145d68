"""The statistics that the detectors share: ranks, exact small-sample tests, and a scan for a shifted segment.

All tests are one-sided: more, slower, worse. No test assumes a distribution of latencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

EXACT_SIZE: Final = 20
"""Up to this many values a side the rank test counts permutations: at 8 against 8 the normal approximation
says 4e-4 for a complete separation whose probability is 8e-5."""
_EXACT_TERMS: Final = 20_000


def normal_tail(z: float) -> float:
    """P(Z >= z) of a standard normal."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties get their mean."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts, dtype=np.float64)
    return (last - (counts - 1) / 2)[inverse]


def rank_test(before: Floats, after: Floats) -> float:
    """The p-value of "`after` is not larger than `before`" (Mann-Whitney, ties corrected)."""
    import numpy as np

    n0, n1 = len(before), len(after)
    if n0 == 0 or n1 == 0:
        return 1.0
    ranks = average_ranks(np.concatenate([before, after]))
    u = float(ranks[n0:].sum()) - n1 * (n1 + 1) / 2
    n = n0 + n1
    if max(n0, n1) <= EXACT_SIZE and len(np.unique(ranks)) == n:
        return _exact_rank_tail(n0, n1, round(u))
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    variance = n0 * n1 / 12 * (n + 1 - float((ties**3 - ties).sum()) / (n * (n - 1)))
    if variance <= 0:
        return 1.0
    return normal_tail((u - n0 * n1 / 2 - 0.5) / math.sqrt(variance))


def _exact_rank_tail(n0: int, n1: int, u: int) -> float:
    """P(U >= u) without ties: counts of subsets by their rank sum."""
    ways = [[0] * (n0 * n1 + 1) for _ in range(n1 + 1)]
    ways[0][0] = 1
    for value in range(
        n0 + n1
    ):  # each pooled value joins `after` or does not; it beats the `before` values below it
        for chosen in range(min(value, n1 - 1), -1, -1):
            gain = value - chosen
            if gain > n0:
                continue
            row, following = ways[chosen], ways[chosen + 1]
            for total in range(n0 * n1 - gain + 1):
                if row[total]:
                    following[total + gain] += row[total]
    return sum(ways[n1][max(u, 0) :]) / math.comb(n0 + n1, n1)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def share_test(bad_before: int, n_before: int, bad_after: int, n_after: int) -> float:
    """The p-value of "the share did not rise" (Fisher's exact test; a normal approximation where that is long)."""
    if n_before == 0 or n_after == 0 or bad_after == 0:
        return 1.0
    bad, n = bad_before + bad_after, n_before + n_after
    top = min(bad, n_after)
    if top - bad_after > _EXACT_TERMS:
        expected = bad * n_after / n
        variance = expected * (1 - bad / n) * n_before / (n - 1)
        return normal_tail((bad_after - 0.5 - expected) / math.sqrt(variance)) if variance > 0 else 1.0
    total = _log_choose(n, n_after)
    terms = (
        math.exp(_log_choose(bad, k) + _log_choose(n - bad, n_after - k) - total)
        for k in range(bad_after, top + 1)
        if n_after - k <= n - bad
    )
    return min(1.0, math.fsum(terms))


def rate_test(count_before: int, exposure_before: float, count_after: int, exposure_after: float) -> float:
    """The p-value of "the rate did not rise" for counts over exposures (time or requests), as a binomial split."""
    if count_after == 0 or exposure_before <= 0 or exposure_after <= 0:
        return 1.0
    n, share = count_before + count_after, exposure_after / (exposure_before + exposure_after)
    if count_before > _EXACT_TERMS:
        return normal_tail((count_after - 0.5 - n * share) / math.sqrt(n * share * (1 - share)))
    log_a, log_b = math.log(share), math.log1p(-share)
    terms = (math.exp(_log_choose(n, k) + k * log_a + (n - k) * log_b) for k in range(count_after, n + 1))
    return min(1.0, math.fsum(terms))


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Values `[start, end)` that are higher than the rest."""

    start: int
    end: int
    p_value: float  # corrected for the number of segments looked at


def scan_segment(values: Floats, *, min_size: int) -> Segment | None:
    """The run of values that stands out most above all others, by its standardized rank sum.

    Looks at every start for lengths of powers of two and at every suffix (a change that stays), then moves
    both ends to where the statistic is largest. `values` are in time order; None when there are fewer than `2
    * min_size`.
    """
    import numpy as np

    n = len(values)
    if n < 2 * min_size:
        return None
    ranks = average_ranks(values)
    deviation = float(ranks.std())
    if deviation <= 0:
        return None
    total = np.concatenate([[0.0], np.cumsum((ranks - ranks.mean()) / deviation)])
    scale = (n - 1) / n

    def z(start: Ints | int, end: Ints | int) -> Floats:
        length = np.asarray(end) - np.asarray(start)
        spread = np.sqrt(np.maximum(length * (n - length) / n / scale, 1e-9))
        return np.where((length >= min_size) & (length < n), (total[end] - total[start]) / spread, -np.inf)

    starts = np.arange(0, n - min_size + 1)
    suffix = z(starts, n)
    best = (float(suffix.max()), int(suffix.argmax()), n)
    length, looked_at = min_size, n
    while length <= n // 2:
        begin = np.arange(0, n - length + 1)
        score = z(begin, begin + length)
        candidate = (float(score.max()), int(score.argmax()), int(score.argmax()) + length)
        best = max(best, candidate, key=lambda found: found[0])
        looked_at += n
        length *= 2
    for _ in range(4):
        _, start, end = best
        by_start = z(np.arange(0, end), end)
        start = int(by_start.argmax())
        ends = np.arange(start + 1, n + 1)
        by_end = z(start, ends)
        moved = (float(by_end.max()), start, int(ends[by_end.argmax()]))
        if moved[0] <= best[0]:
            break
        best = moved
    return Segment(start=best[1], end=best[2], p_value=min(1.0, normal_tail(best[0]) * looked_at))


def find_run(weights: Floats, *, patience: float) -> tuple[int, int, int]:
    """The first run of values with weights above 0, and how far the evidence for its end reaches.

    Weights are above 0 inside a run and below 0 outside. A run begins at the lowest sum from which the sum then rises
    by `patience`, and ends at the highest from which it falls by as much; where it never does, the extremes count.

    Returns:
        Begin and end of the run, and the number of values up to where the sum had fallen far enough.
    """
    import numpy as np

    total = np.concatenate([[0.0], np.cumsum(weights)])
    risen = total - np.minimum.accumulate(total) >= patience
    top = int(risen.argmax()) if risen.any() else int(total.argmax())
    first = int(total[: top + 1].argmin())
    fallen = np.maximum.accumulate(total[first:]) - total[first:] >= patience
    seen = first + int(fallen.argmax()) if fallen.any() else len(weights)
    return first, first + int(total[first : seen + 1].argmax()), seen
