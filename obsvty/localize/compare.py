"""What differs between two windows: attributes, operations, instances, revisions."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypedDict, cast

from obsvty.model import AttributeDifference, Window
from obsvty.operations import is_entry, operation_name

if TYPE_CHECKING:
    import ibis.expr.types as ir

RENAMED: Final = {
    "http.method": "http.request.method",
    "http.status_code": "http.response.status_code",
    "http.url": "url.full",
    "http.target": "url.path",
    "http.scheme": "url.scheme",
    "http.user_agent": "user_agent.original",
    "http.client_ip": "client.address",
    "http.flavor": "network.protocol.version",
    "http.host": "server.address",
    "http.server_name": "server.address",
    "net.host.name": "server.address",
    "net.host.port": "server.port",
    "net.peer.ip": "network.peer.address",
    "net.sock.peer.addr": "network.peer.address",
    "db.system": "db.system.name",
    "db.statement": "db.query.text",
    "db.operation": "db.operation.name",
    "db.name": "db.namespace",
    "db.redis.database_index": "db.namespace",
    "db.sql.table": "db.collection.name",
    "db.mongodb.collection": "db.collection.name",
    "rpc.system": "rpc.system.name",
    "messaging.operation": "messaging.operation.type",
    "messaging.kafka.consumer.group": "messaging.consumer.group.name",
    "peer.service": "service.peer.name",
    "code.filepath": "code.file.path",
    "code.lineno": "code.line.number",
    "code.function": "code.function.name",
}
"""Old to new names: an SDK upgrade between the windows renames attributes, and that is no difference."""
PROMOTED: Final = {
    "service.version": "service_version",
    "vcs.ref.head.revision": "vcs_revision",
    "service.instance.id": "service_instance_id",
    "http.response.status_code": "http_status",
}
MAX_VALUES: Final = 50
MIN_SPANS: Final = 5
LIMIT: Final = 50
MAX_COUNTED: Final = 20_000


class _Count(TypedDict):
    k: str
    v: str
    n_in: int
    n: int


def compare(
    traces: ir.Table,
    *,
    baseline: Window,
    window: Window,
    service: str | None = None,
    operation: str | None = None,
    limit: int = LIMIT,
) -> list[AttributeDifference]:
    """Attribute values whose share of requests differs between the baseline and the window, largest effect first.

    Looks at entry spans: their attributes, and service, operation, instance, version, revision and HTTP
    status. Keys with more than 50 values on more than a fifth of the requests (ids, URLs) are skipped; old
    and new semantic-convention names count as one key; an attribute that only one of the windows has at all is
    reported once and not per value.

    Args:
        traces: the canonical table.
        baseline: outside.
        window: inside.
        service: only its requests.
        operation: only requests of this templated name.
        limit: at most so many differences.
    """
    inside = (traces.start_ns >= window.start_ns) & (traces.start_ns < window.end_ns)
    outside = (traces.start_ns >= baseline.start_ns) & (traces.start_ns < baseline.end_ns)
    spans = traces.filter((inside | outside) & is_entry(traces))
    if service is not None:
        spans = spans.filter(spans.service_name == service)
    spans = spans.mutate(
        operation=operation_name(spans),
        inside=(spans.start_ns >= window.start_ns) & (spans.start_ns < window.end_ns),
    )
    if operation is not None:
        spans = spans.filter(spans.operation == operation)
    totals = spans.group_by("inside").agg(n=spans.count()).to_pyarrow().to_pylist()
    total = {bool(row["inside"]): int(row["n"]) for row in totals}
    total_in, total_out = total.get(True, 0), total.get(False, 0)
    if not total_in or not total_out:
        return []
    counts = _value_counts(spans)
    found: list[AttributeDifference] = []
    for key, values in sorted(counts.items()):
        if len(values) > MAX_VALUES and len(values) > 0.2 * min(total_in, total_out):
            continue
        one_sided = not any(n for n, _ in values.values()) or not any(n for _, n in values.values())
        of_key: list[AttributeDifference] = []
        for value, (n_in, n_out) in sorted(values.items()):
            if max(n_in, n_out) < MIN_SPANS:
                continue
            share_in, share_out = min(1.0, n_in / total_in), min(1.0, n_out / total_out)
            effect = (share_in - share_out) * _weight(share_in, total_in, share_out, total_out)
            if abs(effect) < 0.01:
                continue
            of_key.append(
                AttributeDifference(
                    key=key,
                    value=value,
                    count_inside=n_in,
                    count_outside=n_out,
                    share_inside=share_in,
                    share_outside=share_out,
                    effect=effect,
                )
            )
        of_key.sort(key=_order)
        found += of_key[:1] if one_sided and key not in PROMOTED else of_key
    return sorted(found, key=_order)[:limit]


def _order(difference: AttributeDifference) -> tuple[float, str, str]:
    return (-abs(difference.effect), difference.key, difference.value)


def _value_counts(spans: ir.Table) -> dict[str, dict[str, tuple[int, int]]]:
    """(inside, outside) counts by key and value, old names under their new ones."""
    counts: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    promoted = {"service": "service_name", "operation": "operation", **PROMOTED}
    for key, column in promoted.items():
        one = spans.filter(spans[column].notnull()).select("inside", v=spans[column].cast("string"))
        for row in _counted(one):
            counts[key][row["v"]] = (int(row["n_in"]), int(row["n"]) - int(row["n_in"]))
    pairs = spans.select(
        "span_id", "inside", k=spans.attributes.keys().unnest(), v=spans.attributes.values().unnest()
    ).filter(lambda t: t.v.notnull())
    key = pairs.k.cases(*RENAMED.items(), else_=pairs.k)
    pairs = pairs.mutate(k=key).filter(lambda t: t.k.notin(list(PROMOTED))).distinct()
    few = pairs.group_by("k").agg(values=lambda t: t.v.nunique()).filter(lambda t: t["values"] <= 2000)
    kept = pairs.semi_join(few, "k")
    for row in _counted(kept, "k"):
        counts[row["k"]][row["v"]] = (int(row["n_in"]), int(row["n"]) - int(row["n_in"]))
    return counts


def _counted(table: ir.Table, *keys: str) -> list[_Count]:
    """Rows per value: inside, and in all."""
    grouped = table.group_by([*keys, "v"]).agg(
        n_in=lambda t: t.inside.cast("int64").sum(), n=lambda t: t.count()
    )
    return cast("list[_Count]", grouped.order_by([*keys, "v"]).limit(MAX_COUNTED).to_pyarrow().to_pylist())


def _weight(share_in: float, n_in: int, share_out: float, n_out: int) -> float:
    """From 0 (chance) to 1 (certain): how far the difference is beyond its own noise."""
    pooled = (share_in * n_in + share_out * n_out) / (n_in + n_out)
    noise = math.sqrt(pooled * (1 - pooled) * (1 / n_in + 1 / n_out))
    z = abs(share_in - share_out) / noise if noise > 0 else 0.0
    return min(1.0, max(0.0, (z - 2) / 4))
