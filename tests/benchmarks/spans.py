"""The same kind of spans as `payload.py`, straight as Arrow tables: 10 million in a minute of CPU."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from payload import AGENTS, METHODS, ROUTES, SERVICES, STACK, START_NS

from obsvty.store.schema import ATTRIBUTES, RESOURCES, TRACES

STEP_NS = 3_600_000  # a million spans an hour
_HEX = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype="<u2")
_RESOURCES = 16
_SPANS_A_TRACE = 8
USERS = 50_000


def spans(first: int, rows: int) -> dict[str, pa.Table]:
    """Spans number `first` to `first + rows` in order of arrival, as a decoder returns them.

    Args:
        first: a multiple of 8 (a trace); decides the ids and values, and the time.
        rows: as many spans; a multiple of 8.
    """
    rng = np.random.default_rng(first)
    number = np.arange(rows)
    traces = rows // _SPANS_A_TRACE
    trace_of = number // _SPANS_A_TRACE
    span_ids = _hex(rng, rows, 8)
    start_ns = START_NS + (first + trace_of * _SPANS_A_TRACE) * STEP_NS + rng.integers(0, 2_000_000_000, rows)
    duration_ns = rng.lognormal(16.5, 1.2, rows).astype(np.int64)
    route, method = rng.integers(0, len(ROUTES), rows), rng.integers(0, len(METHODS), rows)
    failed = rng.random(rows) < 0.03
    status = np.where(failed, 500, np.array([200, 200, 200, 201, 204, 404])[rng.integers(0, 6, rows)])
    resource = rng.integers(0, _RESOURCES, rows)
    routes, methods = _pick(ROUTES, route), _pick(METHODS, method)
    names = [f"{m} {r}" for m in METHODS for r in ROUTES]
    values = [
        methods,
        routes,
        _pick(
            [f"{r.split('{')[0]}{i}" for r in ROUTES for i in range(2000)],
            route * 2000 + rng.integers(0, 2000, rows),
        ),
        pa.array(status).cast(pa.string()),
        _pick(["shop.internal"], number * 0),
        _pick(["8080"], number * 0),
        _pick(AGENTS, rng.integers(0, len(AGENTS), rows)),
        _pick(["1.1"], number * 0),
        _pick(_addresses(), rng.integers(0, len(_addresses()), rows)),
        _pick(_users(), rng.integers(0, USERS, rows)),
        pa.array(rng.random(rows) * 500).cast(pa.string()),
        _pick(["true", "false"], (rng.random(rows) > 0.6).astype(np.int64)),
    ]
    root = number % _SPANS_A_TRACE == 0
    parents = span_ids.take(pa.array(trace_of * _SPANS_A_TRACE, mask=root))
    columns: dict[str, pa.Array] = {
        "trace_id": _hex(rng, traces, 16).take(pa.array(trace_of)),
        "span_id": span_ids,
        "parent_span_id": parents,
        "name": _pick(names, method * len(ROUTES) + route),
        "kind": pa.array(rng.integers(1, 4, rows).astype(np.int8)),
        "start_time": pa.array(start_ns).cast(pa.timestamp("ns")),
        "start_ns": pa.array(start_ns),
        "duration_ns": pa.array(duration_ns),
        "status_code": pa.array(np.where(failed, 2, 0).astype(np.int8)),
        "status_message": _pick(["", "connection timeout"], failed.astype(np.int64)),
        "scope_name": _pick(["opentelemetry.instrumentation.fastapi"], number * 0),
        "scope_version": _pick(["0.66b2"], number * 0),
        "scope_attributes": pa.MapArray.from_arrays(
            pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string()), pa.array([], pa.string())
        ),
        "http_method": methods,
        "http_route": routes,
        "http_status": pa.array(status.astype(np.int32)),
        "url_host": _pick(["shop.internal:8080"], number * 0),
        "url_path": values[2],
        "attributes": _maps(list(_KEYS), values, rows),
        "events": _events(rng, start_ns, start_ns + duration_ns, failed),
        "links": _links(rng, rows),
        "flags": pa.array(np.full(rows, 0x101, np.uint32)),
    }
    for name in ("dropped_attributes_count", "dropped_events_count", "dropped_links_count"):
        columns[name] = pa.array(np.zeros(rows, np.uint32))
    for name in (
        "service_name",
        "service_namespace",
        "service_version",
        "deployment_env",
        "vcs_revision",
        "resource_id",
    ):
        columns[name] = _pick([resource[name] for resource in _resources()], resource)
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in TRACES]
    return {"traces": pa.Table.from_arrays(arrays, schema=TRACES), "resources": _resource_table()}


_KEYS = (
    "http.request.method",
    "http.route",
    "url.path",
    "http.response.status_code",
    "server.address",
    "server.port",
    "user_agent.original",
    "network.protocol.version",
    "client.address",
    "enduser.id",
    "app.cart.total",
    "app.cache.hit",
)


@cache
def _resources() -> list[dict[str, str]]:
    return [
        {
            "service_name": SERVICES[i % len(SERVICES)],
            "service_namespace": "shop",
            "service_version": f"1.{i % 5}.{i % 9}",
            "deployment_env": "prod",
            "vcs_revision": f"{i:040x}",
            "resource_id": f"{i:016x}",
        }
        for i in range(_RESOURCES)
    ]


@cache
def _resource_table() -> pa.Table:
    rows = [
        {
            "resource_id": resource["resource_id"],
            "attributes": [
                ("service.name", resource["service_name"]),
                ("service.version", resource["service_version"]),
            ],
            "dropped_attributes_count": 0,
        }
        for resource in _resources()
    ]
    return pa.Table.from_pylist(rows, schema=RESOURCES)


@cache
def _users() -> list[str]:
    return [f"user-{i}" for i in range(USERS)]


@cache
def _addresses() -> list[str]:
    return [f"10.{i % 251}.{i % 241}.{i % 239}" for i in range(1 << 18)]


def _pick(values: list[str] | tuple[str, ...], rows: np.ndarray) -> pa.Array:
    return _texts(tuple(values)).take(pa.array(rows))


@cache
def _texts(values: tuple[str, ...]) -> pa.Array:
    return pa.array(values, pa.string())


def _hex(rng: np.random.Generator, rows: int, width: int) -> pa.Array:
    text = _HEX[np.frombuffer(rng.bytes(rows * width), np.uint8)]
    offsets = np.arange(rows + 1, dtype=np.int32) * (2 * width)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def _maps(keys: list[str], values: list[pa.Array], rows: int) -> pa.Array:
    """One map a row, with the same keys in each."""
    width = len(keys)
    key = pa.array(keys, pa.string()).take(pa.array(np.tile(np.arange(width), rows)))
    # the values of a row lie side by side
    order = (np.arange(width)[None, :] * rows + np.arange(rows)[:, None]).ravel()
    item = pa.concat_arrays(values).take(pa.array(order))
    return pa.MapArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), key, item)


def _events(
    rng: np.random.Generator, start_ns: np.ndarray, end_ns: np.ndarray, failed: np.ndarray
) -> pa.Array:
    rows = len(start_ns)
    errors, even = np.flatnonzero(failed), np.arange(0, rows, 2)
    messages = [f"connection timeout after {i}s" for i in range(30)]
    parts = [
        (
            errors,
            end_ns[errors],
            "exception",
            {
                "exception.type": _pick(["psycopg.OperationalError"], errors * 0),
                "exception.message": _pick(messages, rng.integers(0, 30, len(errors))),
                "exception.stacktrace": _pick([STACK], errors * 0),
            },
        ),
        (
            np.arange(rows),
            start_ns + 1_000,
            "cache.lookup",
            {
                "cache.key": _pick([f"k:{i}" for i in range(10_000)], rng.integers(0, 10_000, rows)),
                "cache.hit": _pick(["true"], np.zeros(rows, np.int64)),
            },
        ),
        (
            even,
            start_ns[even] + 2_000,
            "db.pool.acquire",
            {
                "pool.wait_ms": _pick([str(i) for i in range(100)], rng.integers(0, 100, len(even))),
                "pool.name": _pick(["primary"], even * 0),
            },
        ),
    ]
    owner = np.concatenate([part[0] for part in parts])
    times = np.concatenate([part[1] for part in parts])
    names = np.repeat(np.arange(3), [len(part[0]) for part in parts])
    attributes = pa.concat_arrays(
        [_maps(list(part[3]), list(part[3].values()), len(part[0])) for part in parts]
    )
    order = np.argsort(owner, kind="stable")
    kind = TRACES.field("events").type
    structs = pa.StructArray.from_arrays(
        [
            pa.array(times[order]).cast(pa.timestamp("ns")),
            _pick([part[2] for part in parts], names[order]),
            attributes.take(pa.array(order)),
            pa.array(np.zeros(len(order), np.uint32)),
        ],
        fields=list(kind.value_type),
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=rows))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), structs).cast(kind)


def _links(rng: np.random.Generator, rows: int) -> pa.Array:
    linked = (np.arange(rows) % 16 == 0).astype(np.int32)
    count = int(linked.sum())
    kind = TRACES.field("links").type
    structs = pa.StructArray.from_arrays(
        [
            _hex(rng, count, 16),
            _hex(rng, count, 8),
            pa.nulls(count, pa.string()),
            _maps(["link.kind"], [_pick(["follows"], np.zeros(count, np.int64))], count).cast(ATTRIBUTES),
            pa.array(np.zeros(count, np.uint32)),
            pa.array(np.zeros(count, np.uint32)),
        ],
        fields=list(kind.value_type),
    )
    offsets = np.concatenate([[0], np.cumsum(linked)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), structs).cast(kind)
