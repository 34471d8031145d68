"""Operations that fail more often, and exceptions that are new or more frequent."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from obsvty.detect.requests import Requests, Telemetry, in_window, read_telemetry
from obsvty.detect.statistics import rate_test, share_test
from obsvty.detect.steps import Level, Measure, Step, find_steps
from obsvty.model import Finding, Window, from_ns
from obsvty.operations import operation_name

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np
    from numpy.typing import NDArray

MIN_RATIO: Final = 2.0
MIN_EFFECT_PERCENT: Final = 0.5
MIN_FAILURES: Final = 3
MIN_EXCEPTION_RATIO: Final = 3.0
EXCEPTION_P: Final = 1e-4


def find_error_steps(
    traces: ir.Table, *, window: Window | None = None, min_effect_percent: float = MIN_EFFECT_PERCENT
) -> list[Finding]:
    """Operations whose share of failed requests rose and stayed risen.

    A request failed when its entry span has the status error or an HTTP status of 500 or more.

    Returns:
        Findings in percent of requests, oldest change first; `change_at` is the start of the first failed request.
    """
    telemetry = read_telemetry(traces, window=window)
    return [step.finding for step in error_steps(telemetry, min_effect_percent=min_effect_percent)]


def error_steps(telemetry: Telemetry, *, min_effect_percent: float = MIN_EFFECT_PERCENT) -> list[Step]:
    """`find_error_steps` on data that is read already, with what the grouping needs."""
    return find_steps(telemetry, error_measure(min_effect_percent=min_effect_percent))


def error_measure(*, min_effect_percent: float = MIN_EFFECT_PERCENT) -> Measure:
    """Failed requests in percent, compared by an exact test."""

    def compare(before: NDArray[np.float64], after: NDArray[np.float64], alone: bool) -> Level | None:  # noqa: ARG001
        bad_before, bad_after = int(before.sum()), int(after.sum())
        low, high = 100 * bad_before / len(before), 100 * bad_after / len(after)
        if bad_after < MIN_FAILURES or high < low * MIN_RATIO or high - low < min_effect_percent:
            return None
        return Level(
            before=low, after=high, p_value=share_test(bad_before, len(before), bad_after, len(after))
        )

    def weights(values: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
        import numpy as np

        low, high = (min(max(percent / 100, 1e-4), 1 - 1e-4) for percent in (level.before, level.after))
        return np.where(values > 0, math.log(high / low), math.log((1 - high) / (1 - low)))

    def values(requests: Requests) -> NDArray[np.float64]:
        import numpy as np

        return requests.failed.astype(np.float64)

    return Measure(
        kind="errors",
        unit="%",
        cost=50.0,  # a failed request is felt like five seconds of waiting
        values=values,
        compare=compare,
        patience=12.0,  # of log likelihood: a factor of 160,000
        weights=weights,
        sentence=_sentence,
    )


def _sentence(requests: Requests, level: Level, before: int, after: int) -> str:
    return (
        f"{requests.operation} ({requests.service}): failed requests {level.before:.1f} -> {level.after:.1f} %, "
        f"{before} requests before and {after} after"
    )


def find_exceptions(
    traces: ir.Table, *, baseline: Window, window: Window, logs: ir.Table | None = None
) -> list[Finding]:
    """Exception types that are new in the window, or at least three times as frequent per minute as in the baseline.

    Exceptions are span events named `exception` and, with `logs`, log records with `exception.type`; the same
    type on the same span counts once.

    Returns:
        Findings with counts per minute, most frequent first. `operation` is the span that recorded most of them,
        and the sentence names the type.
    """
    both = Window(start=min(baseline.start, window.start), end=max(baseline.end, window.end))
    return compare_exceptions(read_exceptions(traces, logs, both), baseline=baseline, window=window)


@dataclass(frozen=True, kw_only=True, eq=False)
class Exceptions:
    """Every time at which a service raised a type, sorted."""

    service: str
    environment: str
    operation: str
    type: str
    at_ns: NDArray[np.int64]

    def between(self, window: Window) -> NDArray[np.int64]:
        """Those that happened in the window."""
        low, high = self.at_ns.searchsorted([window.start_ns, window.end_ns])
        return self.at_ns[low:high]


def compare_exceptions(seen: Iterable[Exceptions], *, baseline: Window, window: Window) -> list[Finding]:
    """`find_exceptions` on data that is read already."""
    minutes_before, minutes_after = _minutes(baseline), _minutes(window)
    findings: list[Finding] = []
    for one in seen:
        times = one.between(window)
        before, after = len(one.between(baseline)), len(times)
        rate_before, rate_after = before / minutes_before, after / minutes_after
        if after < MIN_FAILURES or rate_after < MIN_EXCEPTION_RATIO * rate_before:
            continue
        p_value = rate_test(before, minutes_before, after, minutes_after)
        if before and p_value > EXCEPTION_P:
            continue
        how = f"{rate_after / rate_before:.1f} times as often" if before else "new"
        findings.append(
            Finding(
                kind="exception",
                service=one.service,
                operation=one.operation,
                before=rate_before,
                after=rate_after,
                unit="/min",
                change_at=from_ns(int(times[0])),
                count_before=before,
                count_after=after,
                p_value=p_value,
                text=f"{one.type} in {one.operation} ({one.service}): {how}, {before} before and {after} after",
            )
        )
    return sorted(findings, key=lambda f: (-f.count_after, f.service, f.operation, f.text))


def _minutes(window: Window) -> float:
    return max((window.end_ns - window.start_ns) / 60e9, 1e-9)


def read_exceptions(
    traces: ir.Table, logs: ir.Table | None = None, window: Window | None = None
) -> list[Exceptions]:
    """All exceptions of a window by service, environment and type, sorted by those."""
    import numpy as np

    seen = _span_exceptions(in_window(traces, window))
    if logs is not None:
        seen = seen.union(_logged_exceptions(logs, window))
    rows = (
        seen.group_by(["service", "environment", "type", "place"])
        .agg(at_ns=seen.at_ns.min(), operation=seen.operation.max().fill_null(""))
        .group_by(["service", "environment", "type", "operation"])
        .agg(at_ns=lambda t: t.at_ns.collect(order_by=[t.at_ns]))
        .order_by(["service", "environment", "type", "operation"])
        .to_pyarrow()
        .to_pylist()
    )
    by_type: dict[tuple[str, str, str], dict[str, list[int]]] = defaultdict(dict)
    for row in rows:
        by_type[row["service"], row["environment"], row["type"]][row["operation"]] = row["at_ns"]
    return [
        Exceptions(
            service=service,
            environment=environment,
            operation=min(times, key=lambda name: (not name, -len(times[name]), name)),
            type=type_,
            at_ns=np.sort(np.concatenate([np.asarray(t, dtype=np.int64) for t in times.values()])),
        )
        for (service, environment, type_), times in by_type.items()
    ]


def _span_exceptions(traces: ir.Table) -> ir.Table:
    import ibis

    events = traces.filter((traces.events.length() > 0) & traces.service_name.notnull()).select(
        service=lambda t: t.service_name,
        environment=lambda t: t.deployment_env.fill_null(""),
        operation=operation_name,
        place=lambda t: t.trace_id + t.span_id,
        at_ns=lambda t: t.start_ns,
        event=lambda t: t.events.unnest(),
    )
    unknown = ibis.literal("exception")
    return events.filter(events.event["name"] == "exception").select(
        "service",
        "environment",
        "operation",
        "place",
        "at_ns",
        type=lambda t: t.event["attributes"].get("exception.type", unknown).fill_null(unknown),
    )


def _logged_exceptions(logs: ir.Table, window: Window | None) -> ir.Table:
    import ibis

    if window is not None:
        logs = logs.filter((logs.time_ns >= window.start_ns) & (logs.time_ns < window.end_ns))
    records = logs.mutate(type=logs.attributes.get("exception.type", ibis.null(str)))
    return records.filter(records.type.notnull() & records.service_name.notnull()).select(
        service=lambda t: t.service_name,
        environment=lambda t: t.deployment_env.fill_null(""),
        operation=ibis.null(str),
        place=lambda t: ibis.coalesce(t.trace_id + t.span_id, t.time_ns.cast("string")),
        at_ns=lambda t: t.time_ns,
        type=lambda t: t.type,
    )
