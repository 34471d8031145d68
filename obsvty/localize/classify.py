"""The verdict by rules, and what was ruled out, with the numbers that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from obsvty.localize.locate import origin_of
from obsvty.localize.request_trees import SELF
from obsvty.model import Deployment, EdgeChange, Incident, Location, LogChange, OperationDiff, Verdict

STRONG_TRAFFIC: Final = 2.0
CALM_TRAFFIC: Final = (0.67, 1.5)
MAIN_SHARE: Final = 0.5
SOME_SHARE: Final = 0.25
ERROR_SEVERITIES: Final = ("ERROR", "FATAL")


class Classification(NamedTuple):
    """A verdict, how sure the rules are of it (0 to 1), and why, in one sentence."""

    verdict: Verdict
    confidence: float
    reason: str


def classify_verdict(
    incident: Incident,
    diff: OperationDiff | None,
    *,
    traffic_ratio: float = 1.0,
    callees: Mapping[str, str] | None = None,
    locations: Sequence[Location] = (),
    log_changes: Sequence[LogChange] = (),
    edge_failures: Mapping[str, tuple[float, float]] | None = None,
) -> Classification:
    """Which kind of cause an incident has, from what changed with it.

    The first rule that holds decides. With a deployment:

    1. Calls that are new, gone, more or fewer explain a quarter of the added time (any, if requests fail):
       `code_change`, 0.9.
    2. A service below was deployed, and half of the added time is spent in it: `code_change`, 0.8.
    3. More failures, new exceptions or new error logs: `code_change`, 0.75.
    4. Traffic is twice as high or more, and calls are the same: `traffic`, 0.5.
    5. Own code explains a quarter of the added time: `code_change`, 0.75.
    6. Only the moment fits: `code_change`, 0.5.

    Without one:

    7. Traffic is twice as high or more, and no call is new: `traffic`, 0.75.
    8. Changed calls explain half of the added time, so behavior changed without new code: `configuration`, 0.6.
    9. Slower calls to something else (another service, a database, a host that sends no telemetry) explain half
       of the added time, or calls to it fail: `dependency`, 0.8.
    10. Own code takes longer: `infrastructure`, 0.7 on one instance of several, else 0.5.
    11. Otherwise `inconclusive`, 0.3.

    Args:
        incident: with its deployment, if it began with one.
        diff: of the leading operation; None when it could not be made.
        traffic_ratio: requests per minute after over before.
        callees: which edges another instrumented service answers (`edge_services`).
        locations: from `locate_across`; they tell own code from code of services below.
        log_changes: templates that changed with the incident.
        edge_failures: from `edge_failures`; share of requests with a failed call, before and after.
    """
    seen = _Signs.of(incident, diff, locations, log_changes)
    if incident.deployment is not None:
        return _with_deployment(incident, incident.deployment, seen, traffic_ratio)
    nothing = "nothing was deployed"
    if traffic_ratio >= STRONG_TRAFFIC and not any(e.kind == "new" for e in seen.structure):
        return Classification("traffic", 0.75, f"traffic is {traffic_ratio:.1f} times as high, and {nothing}")
    if seen.structure and seen.share(seen.structure) >= MAIN_SHARE:
        return Classification("configuration", 0.6, f"{nothing}, yet {_calls_sentence(seen.structure)}")
    callee = _slow_callee(incident, diff, callees or {}, locations)
    callee = callee or (_failing_callee(edge_failures or {}, callees or {}) if seen.fails else "")
    if callee:
        return Classification("dependency", 0.8, f"{nothing}, and {callee}")
    if seen.own:
        if any(place.service == incident.service and place.instance for place in locations):
            return Classification("infrastructure", 0.7, f"{nothing}, and one instance alone is slower")
        return Classification("infrastructure", 0.5, f"{nothing}, and the same code takes longer")
    return Classification("inconclusive", 0.3, f"{nothing}, and no call, traffic or code path stands out")


@dataclass(frozen=True, kw_only=True)
class _Signs:
    """What the rules look at."""

    delta_ms: float
    structure: tuple[EdgeChange, ...]
    own: tuple[EdgeChange, ...]
    fails: bool
    spent_below: frozenset[str]  # services below in which half of the added time is spent

    @classmethod
    def of(
        cls,
        incident: Incident,
        diff: OperationDiff | None,
        locations: Sequence[Location],
        log_changes: Sequence[LogChange],
    ) -> _Signs:
        edges = diff.edges if diff else ()
        spent: dict[str, float] = {}
        for place in locations:
            if place.service != incident.service:
                spent[place.service] = spent.get(place.service, 0.0) + place.score
        return cls(
            delta_ms=diff.delta_ms if diff else 0.0,
            structure=tuple(e for e in edges if e.kind in ("new", "vanished", "more_calls", "fewer_calls")),
            own=tuple(e for e in edges if e.edge == SELF and e.kind == "slower"),
            fails=any(f.kind in ("errors", "exception") for f in incident.findings)
            or any(c.severity in ERROR_SEVERITIES and c.count_before == 0 for c in log_changes),
            spent_below=frozenset(name for name, share in spent.items() if share >= MAIN_SHARE),
        )

    def share(self, edges: Sequence[EdgeChange]) -> float:
        """Share of the added time that the edges explain."""
        return sum(e.delta_ms for e in edges) / self.delta_ms if self.delta_ms > 0 else 0.0


def _with_deployment(
    incident: Incident, deployment: Deployment, seen: _Signs, traffic_ratio: float
) -> Classification:
    where = f"{deployment.service} was deployed when it began"
    if seen.structure and (seen.fails or seen.share(seen.structure) >= SOME_SHARE):
        return Classification("code_change", 0.9, f"{where}, and {_calls_sentence(seen.structure)}")
    if deployment.service != incident.service and deployment.service in seen.spent_below:
        return Classification("code_change", 0.8, f"{where}, and the added time is spent there")
    if seen.fails:
        return Classification("code_change", 0.75, f"{where}, and requests fail that did not before")
    if traffic_ratio >= STRONG_TRAFFIC:
        return Classification(
            "traffic", 0.5, f"traffic is {traffic_ratio:.1f} times as high, and calls are the same"
        )
    if seen.share(seen.own) >= SOME_SHARE:
        return Classification("code_change", 0.75, f"{where}, and its own code takes longer")
    return Classification("code_change", 0.5, f"{where}, although it makes the same calls as before")


def ruled_out(
    incident: Incident,
    diff: OperationDiff | None,
    *,
    traffic_ratio: float = 1.0,
    callees: Mapping[str, str] | None = None,
    log_changes: Sequence[LogChange] = (),
) -> list[str]:
    """What did not change, with numbers: `traffic +4 %`, `payments +0.9 ms`, `no new errors`. Most telling first."""
    found: list[str] = []
    if CALM_TRAFFIC[0] <= traffic_ratio <= CALM_TRAFFIC[1]:
        found.append(f"traffic {100 * (traffic_ratio - 1):+.0f} %")
    callees = callees or {}
    if diff is not None:
        unchanged = [e for e in diff.edges if e.kind == "same" and e.edge in callees]
        by_service: dict[str, list[EdgeChange]] = {}
        for edge in unchanged:
            by_service.setdefault(callees[edge.edge], []).append(edge)
        changed = {callees[e.edge] for e in diff.edges if e.kind != "same" and e.edge in callees}
        ranked = sorted(
            ((sum(e.ms_after for e in group), name, group) for name, group in by_service.items()),
            key=lambda row: (-row[0], row[1]),
        )
        found += [
            f"{name} {sum(e.delta_ms for e in group):+.1f} ms"
            for _, name, group in ranked[:3]
            if name not in changed
        ]
        own = next((e for e in diff.edges if e.edge == SELF and e.kind == "same"), None)
        if own is not None:
            found.append(f"own code {own.delta_ms:+.1f} ms")
    errors = any(f.kind in ("errors", "exception") for f in incident.findings)
    logged = any(c.severity in ERROR_SEVERITIES and c.count_after > c.count_before for c in log_changes)
    if not errors and not logged:
        found.append("no new errors")
    if incident.deployment is None:
        found.append("no deployment")
    return found


def _calls_sentence(structure: Sequence[EdgeChange]) -> str:
    words = {"new": "new", "vanished": "gone", "more_calls": "more frequent", "fewer_calls": "less frequent"}
    counts = {kind: sum(e.kind == kind for e in structure) for kind in words}
    parts = [f"{n} {'call is' if n == 1 else 'calls are'} {words[kind]}" for kind, n in counts.items() if n]
    return " and ".join(parts)


def _slow_callee(
    incident: Incident, diff: OperationDiff | None, callees: Mapping[str, str], locations: Sequence[Location]
) -> str:
    """A sentence on the callee that explains most of the added time; empty when none does."""
    if diff is None or diff.delta_ms <= 0:
        return ""
    slower = [e for e in diff.edges if origin_of(e) == "dependency" and e.delta_ms > 0]
    explained = sum(e.delta_ms for e in slower)
    if not slower or explained < MAIN_SHARE * diff.delta_ms:
        return ""
    top = slower[0]
    place = next((p for p in locations if p.service != incident.service), None)
    inner = f", inside {place.service}" if place is not None and top.edge in callees else ""
    kind = f"calls to {callees[top.edge]}" if top.edge in callees else "calls to something outside"
    return f"{kind} explain {explained:.0f} of {diff.delta_ms:.0f} ms{inner}"


def _failing_callee(edge_failures: Mapping[str, tuple[float, float]], callees: Mapping[str, str]) -> str:
    """A sentence on the edge whose failures rose most; empty when none rose by five percent of the requests."""
    risen = {edge: after - before for edge, (before, after) in edge_failures.items()}
    worst = min(risen, key=lambda edge: (-risen[edge], edge), default="")
    if not worst or risen[worst] < 0.05:
        return ""
    before, after = edge_failures[worst]
    target = callees.get(worst, "something outside")
    return f"failed calls to {target} rose from {100 * before:.1f} to {100 * after:.1f} % of requests"
