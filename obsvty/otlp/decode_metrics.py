"""Parsed metric requests into the `metrics` table: one row a point, all five kinds of metric in one set of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from obsvty.otlp.flatten import (
    attribute_map,
    build,
    int64,
    int64_lists,
    list_of,
    map_rows,
    nanoseconds,
    optional_hex_text,
    optional_text,
    parents,
    timestamps,
)
from obsvty.otlp.resources import Scopes
from obsvty.store.schema import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
TEMPORALITIES: Final = (None, "delta", "cumulative")


def flatten(batch: pa.RecordBatch) -> dict[str, pa.Table]:
    """What ptars made of metric requests, as `metrics` and `resources`."""
    scopes = Scopes(batch, "scope_metrics", "metrics")
    metrics = scopes.rows
    scope_of_metric = parents(scopes.row_list)
    metadata = attribute_map(cast("pa.ListArray", metrics.field("metadata")))
    tables: list[pa.Table] = []
    for kind in KINDS:
        data = cast("pa.StructArray", metrics.field(kind))
        lists = cast("pa.ListArray", data.field("data_points"))
        points = cast("pa.StructArray", lists.values)
        if len(points) == 0:
            continue
        metric_of = parents(lists)
        rows = pa.array(metric_of)
        columns = _point_columns(kind, points)
        for name in ("description", "unit"):
            columns[name] = optional_text(metrics.field(name)).take(rows)
        columns["name"] = metrics.field("name").take(rows)
        columns["kind"] = pa.repeat(pa.scalar(kind), len(points))
        columns["metadata"] = map_rows(metadata, metric_of)
        if kind in ("sum", "histogram", "exponential_histogram"):
            columns["temporality"] = _temporality(data.field("aggregation_temporality")).take(rows)
        if kind == "sum":
            columns["is_monotonic"] = data.field("is_monotonic").take(rows)
        columns |= scopes.columns(scope_of_metric[metric_of])
        tables.append(build(METRICS, columns, len(points)))
    return {
        "metrics": pa.concat_tables(tables) if tables else METRICS.empty_table(),
        "resources": scopes.resources,
    }


def _point_columns(kind: str, points: pa.StructArray) -> dict[str, pa.Array]:
    field = cast("Callable[[str], pa.Array]", points.field)
    time = nanoseconds(field("time_unix_nano"))
    columns = {
        "time": timestamps(time),
        "time_ns": time,
        "start_time": timestamps(nanoseconds(field("start_time_unix_nano"))),
        "attributes": attribute_map(cast("pa.ListArray", field("attributes"))),
        "flags": field("flags"),
    }
    if kind in ("gauge", "sum"):
        columns["value"], columns["value_int"] = _number(points)
    else:
        columns["count"] = int64(field("count"))
        columns["sum"] = field("sum")
    if kind in ("histogram", "exponential_histogram"):
        columns["min"], columns["max"] = field("min"), field("max")
    if kind == "histogram":
        columns["bucket_counts"] = int64_lists(cast("pa.ListArray", field("bucket_counts")))
        bounds = cast("pa.ListArray", field("explicit_bounds"))
        columns["explicit_bounds"] = list_of(bounds, bounds.values, pa.list_(pa.float64()))
    if kind == "exponential_histogram":
        columns["scale"] = field("scale")
        columns["zero_count"] = int64(field("zero_count"))
        columns["zero_threshold"] = field("zero_threshold")
        for side in ("positive", "negative"):
            buckets = cast("pa.StructArray", field(side))
            present = buckets.is_valid()
            columns[f"{side}_offset"] = pc.if_else(
                present, buckets.field("offset"), pa.scalar(None, pa.int32())
            )
            counts = int64_lists(cast("pa.ListArray", buckets.field("bucket_counts")))
            columns[f"{side}_bucket_counts"] = pc.if_else(present, counts, pa.scalar(None, counts.type))
    if kind == "summary":
        columns["quantile_values"] = _quantiles(cast("pa.ListArray", field("quantile_values")))
    else:
        columns["exemplars"] = _exemplars(cast("pa.ListArray", field("exemplars")))
    return columns


def _number(points: pa.StructArray) -> tuple[pa.Array, pa.Array]:
    """The value as a double whatever it was sent as, and as the integer where it was one."""
    integer = points.field("as_int")
    return pc.coalesce(points.field("as_double"), pc.cast(integer, pa.float64(), safe=False)), integer


def _temporality(codes: pa.Array) -> pa.Array:
    known = np.asarray(codes)
    return pa.array(TEMPORALITIES, pa.string()).take(pa.array(np.where((known > 0) & (known < 3), known, 0)))


def _quantiles(lists: pa.ListArray) -> pa.Array:
    kind = METRICS.field("quantile_values").type
    values = cast("pa.StructArray", lists.values)
    rows = pa.StructArray.from_arrays(
        [values.field("quantile"), values.field("value")], fields=list(kind.value_type)
    )
    return list_of(lists, rows, kind)


def _exemplars(lists: pa.ListArray) -> pa.Array:
    kind = METRICS.field("exemplars").type
    exemplars = cast("pa.StructArray", lists.values)
    value, value_int = _number(exemplars)
    rows = pa.StructArray.from_arrays(
        [
            timestamps(nanoseconds(exemplars.field("time_unix_nano"))),
            value,
            value_int,
            optional_hex_text(cast("pa.BinaryArray", exemplars.field("trace_id")), 16),
            optional_hex_text(cast("pa.BinaryArray", exemplars.field("span_id")), 8),
            attribute_map(cast("pa.ListArray", exemplars.field("filtered_attributes"))),
        ],
        fields=list(kind.value_type),
    )
    return list_of(lists, rows, kind)
