"""Steps: how a detector splits one operation's requests into before and after, at deployments and without them.

A detector brings a `Measure` (what is compared, and what counts as a change); this module brings the windows,
the multiple tests, the demand that a change stays, and the end of a change that went away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from obsvty.detect.requests import Requests, Telemetry, changes_of
from obsvty.detect.statistics import find_run, scan_segment
from obsvty.model import Deployment, Finding, FindingKind, Window, from_ns, to_ns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECOND_NS: Final = 1_000_000_000
BASELINE_NS: Final = 3600 * SECOND_NS
"""At most the last hour before a change is its baseline: longer ones carry the daily season into the
comparison."""
AFTER_NS: Final = (120 * SECOND_NS, 300 * SECOND_NS, 900 * SECOND_NS, 3600 * SECOND_NS)
"""After a deployment the first 2, 5, 15 and 60 minutes are tested, so that a change is seen both soon and
when small."""
MIN_SAMPLES: Final = 8
DEPLOY_P: Final = 2e-4
SCAN_P: Final = 1e-5
RETURN_P: Final = 1e-3
"""Without a deployment the bar is higher: most changes begin with one, and minute noise makes requests depend
on each other."""
MAX_SEGMENTS: Final = 300
PERSIST_SHARE: Final = 0.15
PERSIST_AT_DEPLOY_NS: Final = (5 * SECOND_NS, 90 * SECOND_NS)
PERSIST_ALONE_NS: Final = (10 * SECOND_NS, 240 * SECOND_NS)
"""How long a change must last: a share of its baseline between these bounds. One-minute pauses and
three-minute cron jobs are normal in an hour of data; in a minute of data ten seconds are all there is."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """Before and after of one comparison, and how sure it is."""

    before: float
    after: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a detector compares.

    `values` are one number per request, larger is worse. `compare` tests two samples and returns None where
    the effect is too small to matter, whatever its significance; `alone` asks for the stricter effect wanted
    without a deployment. `weights` turns requests into evidence for (above 0) or against (below 0) "changed";
    so much evidence as `patience` begins and ends a change.
    """

    kind: FindingKind
    unit: str
    cost: float  # of one unit on one request, in milliseconds of waiting
    values: Callable[[Requests], NDArray[np.float64]]
    compare: Callable[[NDArray[np.float64], NDArray[np.float64], bool], Level | None]
    patience: float
    weights: Callable[[NDArray[np.float64], Level], NDArray[np.float64]]
    sentence: Callable[[Requests, Level, int, int], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """A finding with what the grouping needs to know about it."""

    finding: Finding
    requests: Requests
    deployment: Deployment | None
    impact: float  # how much people felt it, in milliseconds over all requests


def find_steps(telemetry: Telemetry, measure: Measure) -> list[Step]:
    """Changes of a measure that stayed, at deployments and without; sorted by time, service and operation."""
    steps: list[Step] = []
    for requests in telemetry.operations:
        if len(requests.ms) < 2 * MIN_SAMPLES:
            continue
        steps += _steps_of(telemetry, requests, measure)
    return sorted(steps, key=_order)


def _order(step: Step) -> tuple[int, str, str, str]:
    finding = step.finding
    return (to_ns(finding.change_at), finding.service, finding.operation, step.requests.environment)


def _steps_of(telemetry: Telemetry, requests: Requests, measure: Measure) -> Iterable[Step]:
    values = measure.values(requests)
    found: list[tuple[int, int, Step]] = []  # [first, end) of the requests each step explains
    for deployment in changes_of(telemetry, requests):
        step = _step_at(telemetry, requests, values, measure, deployment)
        if step and not any(step[0] < end and first < step[1] for first, end, _ in found):
            found.append(step)
    free, low = list[tuple[int, int]](), 0
    for first, end, _ in sorted(found, key=lambda one: one[0]):
        free.append((low, first))
        low = end
    free.append((low, len(values)))
    alone = [step for low, high in free for step in _scan(requests, values, measure, low, high)]
    return [step for _, _, step in found] + alone


def _step_at(
    telemetry: Telemetry,
    requests: Requests,
    values: NDArray[np.float64],
    measure: Measure,
    deployment: Deployment,
) -> tuple[int, int, Step] | None:
    """The change that a deployment brought to an operation, with the requests it covers."""
    import numpy as np

    at = to_ns(deployment.at)
    siblings = [
        to_ns(d.at)
        for d in telemetry.deployments
        if (d.service, d.environment) == (deployment.service, deployment.environment)
    ]
    following = min((t for t in siblings if t > at), default=telemetry.end_ns)
    before = _baseline(requests, values, at, [t for t in siblings if t < at])
    split = int(requests.start_ns.searchsorted(at))
    rest = np.arange(split, len(values))
    if deployment.service == requests.service:
        # two revisions may be alive: only the new one's requests are "after"
        release = telemetry.releases.index((deployment.to_version, deployment.to_revision))
        started = requests.start_ns[split:]
        rest = rest[(requests.release[split:] == release) | (started >= following)]
    if len(before) < MIN_SAMPLES or len(rest) < MIN_SAMPLES:
        return None
    baseline_ns = at - int(requests.start_ns[before[0]])
    need_ns = _persistence(baseline_ns, PERSIST_AT_DEPLOY_NS)
    ends = sorted({min(at + length, following, telemetry.end_ns) for length in AFTER_NS})
    for end_ns in ends:
        after = rest[requests.start_ns[rest] < end_ns]
        if len(after) < MIN_SAMPLES or (end_ns < following and end_ns - at < need_ns):
            continue
        level = measure.compare(values[before], values[after], False)  # noqa: FBT003
        if level is None or level.p_value * len(ends) > DEPLOY_P:
            continue
        step = _confirm(requests, values, measure, before, rest, level, deployment, need_ns)
        if step is not None:
            return step
    return None


def _scan(
    requests: Requests, values: NDArray[np.float64], measure: Measure, low: int, high: int
) -> list[Step]:
    """Changes in `values[low:high]` without a deployment: the most outstanding segment, then both sides of it."""
    steps: list[Step] = []
    todo = [(low, high)]
    for _ in range(MAX_SEGMENTS):
        if not todo:
            break
        low, high = todo.pop()
        segment = scan_segment(values[low:high], min_size=MIN_SAMPLES)
        if segment is None or segment.p_value > SCAN_P:
            continue
        first, end = low + segment.start, low + segment.end
        todo += [(end, high), (low, first)]
        step = _step_alone(requests, values, measure, low, first, end, high)
        if step is not None:
            steps.append(step)
    return steps


def _step_alone(
    requests: Requests,
    values: NDArray[np.float64],
    measure: Measure,
    low: int,
    first: int,
    end: int,
    high: int,
) -> Step | None:
    """The change that begins at `first`, if it is large, unusual and lasting."""
    import numpy as np

    before = np.arange(low, first)
    if len(before) >= MIN_SAMPLES:
        before = before[requests.start_ns[before] >= requests.start_ns[first] - BASELINE_NS]
    if len(before) < MIN_SAMPLES:
        return None
    level = measure.compare(values[before], values[first:end], True)  # noqa: FBT003
    looked_at = (high - low) * max(1, (high - low).bit_length() - 3)
    if level is None or level.p_value * looked_at > SCAN_P or _usual(requests, values, before, level):
        return None
    need_ns = _persistence(int(requests.start_ns[first] - requests.start_ns[before[0]]), PERSIST_ALONE_NS)
    found = _confirm(requests, values, measure, before, np.arange(first, high), level, None, need_ns)
    return found[2] if found else None


def _baseline(
    requests: Requests, values: NDArray[np.float64], at: int, earlier: list[int]
) -> NDArray[np.int64]:
    """Indices of the requests before `at`: those of the previous revision, or of older ones too when they are few."""
    import numpy as np

    split = int(requests.start_ns.searchsorted(at))
    indices = np.arange(split)[requests.start_ns[:split] >= at - BASELINE_NS]
    for begin in sorted(earlier, reverse=True):
        recent = indices[requests.start_ns[indices] >= begin]
        if len(recent) >= 2 * MIN_SAMPLES:
            return recent
    return indices[: len(values)]


def _confirm(
    requests: Requests,
    values: NDArray[np.float64],
    measure: Measure,
    before: NDArray[np.int64],
    rest: NDArray[np.int64],
    level: Level,
    deployment: Deployment | None,
    need_ns: int,
) -> tuple[int, int, Step] | None:
    """The step with its real begin and end, or None when it did not last."""
    weights = measure.weights(values[rest], level)
    first, end, seen = find_run(weights, patience=measure.patience)
    changed, back = rest[first:end], rest[end:seen]
    returned = len(back) >= MIN_SAMPLES
    if returned:
        level_back = measure.compare(values[back], values[changed], False)  # noqa: FBT003
        returned = level_back is not None and level_back.p_value <= RETURN_P
    if not returned:
        end = len(rest)
        changed = rest[first:]
    final = measure.compare(values[before], values[changed], deployment is None)
    if final is None or len(changed) < MIN_SAMPLES:
        return None
    start_ns = int(requests.start_ns[changed[0]])
    last_ns = int(requests.start_ns[rest[end] if returned else changed[-1]])
    # what is still on when data ends gets the benefit of the doubt at a deployment: 3 a.m. cannot wait for certainty
    shortest_ns = need_ns if deployment is None or returned else min(need_ns, PERSIST_AT_DEPLOY_NS[0])
    if last_ns - start_ns < shortest_ns:
        return None
    finding = Finding(
        kind=measure.kind,
        service=requests.service,
        operation=requests.operation,
        before=final.before,
        after=final.after,
        unit=measure.unit,
        change_at=from_ns(start_ns),
        count_before=len(before),
        count_after=len(changed),
        p_value=min(final.p_value, 1.0),
        ended_at=from_ns(last_ns) if returned else None,
        text=measure.sentence(requests, final, len(before), len(changed)),
    )
    impact = measure.cost * (final.after - final.before) * len(changed)
    step = Step(finding=finding, requests=requests, deployment=deployment, impact=impact)
    return int(changed[0]), int(changed[-1]) + 1, step


def _usual(requests: Requests, values: NDArray[np.float64], before: NDArray[np.int64], level: Level) -> bool:
    """Whether one in ten pieces of the baseline was about as high: then the "change" is this operation's habit."""
    import numpy as np

    start = requests.start_ns[before]
    length = _persistence(int(start[-1] - start[0]), PERSIST_ALONE_NS)
    pieces = np.split(values[before], start.searchsorted(np.arange(start[0] + length, start[-1], length)))
    usual = [
        float(np.mean(p)) if level.after <= 100 and level.before < 1 else float(np.median(p))
        for p in pieces
        if len(p) >= 5
    ]
    return len(usual) >= 5 and float(np.quantile(usual, 0.9)) > level.before + 0.8 * (
        level.after - level.before
    )


def _persistence(baseline_ns: int, bounds: tuple[int, int]) -> int:
    return max(bounds[0], min(bounds[1], int(baseline_ns * PERSIST_SHARE)))


def compare_windows(
    telemetry: Telemetry, measure: Measure, *, baseline: Window, window: Window, max_p: float
) -> list[Step]:
    """The operations whose measure is worse in one given window than in another; no scan, and no demand to last.

    Args:
        telemetry: read over both windows.
        measure: what is compared.
        baseline: before.
        window: after.
        max_p: largest p-value to report.
    """
    steps: list[Step] = []
    for requests in telemetry.operations:
        before = requests.between(baseline.start_ns, baseline.end_ns)
        after = requests.between(window.start_ns, window.end_ns)
        values = measure.values(requests)
        if before.stop == before.start or after.stop == after.start:
            continue
        level = measure.compare(values[before], values[after], False)  # noqa: FBT003
        if level is None or level.p_value > max_p:
            continue
        first = after.start + int((measure.weights(values[after], level) > 0).argmax())
        counts = before.stop - before.start, after.stop - after.start
        finding = Finding(
            kind=measure.kind,
            service=requests.service,
            operation=requests.operation,
            before=level.before,
            after=level.after,
            unit=measure.unit,
            change_at=from_ns(int(requests.start_ns[first])),
            count_before=counts[0],
            count_after=counts[1],
            p_value=level.p_value,
            text=measure.sentence(requests, level, *counts),
        )
        impact = measure.cost * (level.after - level.before) * counts[1]
        steps.append(Step(finding=finding, requests=requests, deployment=None, impact=impact))
    return sorted(steps, key=_order)
