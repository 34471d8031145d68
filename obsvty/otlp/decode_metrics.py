"""Parsed metric requests into the `metrics` table: one row a point, all five kinds of metric in one set of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from obsvty.otlp.columns import column, compute, repeat, struct_lists
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
    from obsvty.otlp.columns import Column

KINDS: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
TEMPORALITIES: Final = (None, "delta", "cumulative")


def flatten(batch: pa.RecordBatch) -> dict[str, pa.Table]:
    """What ptars made of metric requests, as `metrics` and `resources`."""
    scopes = Scopes(batch, "scope_metrics", "metrics")
    metrics = scopes.rows
    scope_of_metric = parents(scopes.row_list)
    metadata = attribute_map(metrics.field("metadata"))
    tables: list[pa.Table] = []
    for kind in KINDS:
        data = metrics.field(kind)
        lists = data.field("data_points")
        points = lists.values
        if len(points) == 0:
            continue
        metric_of = parents(lists)
        rows = column(metric_of)
        columns = _point_columns(kind, points)
        for name in ("description", "unit"):
            columns[name] = optional_text(metrics.field(name)).take(rows)
        columns["name"] = metrics.field("name").take(rows)
        columns["kind"] = repeat(kind, len(points))
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


def _point_columns(kind: str, points: Column) -> dict[str, Column]:
    field = points.field
    time = nanoseconds(field("time_unix_nano"))
    columns = {
        "time": timestamps(time),
        "time_ns": time,
        "start_time": timestamps(nanoseconds(field("start_time_unix_nano"))),
        "attributes": attribute_map(field("attributes")),
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
        columns["bucket_counts"] = int64_lists(field("bucket_counts"))
        bounds = field("explicit_bounds")
        columns["explicit_bounds"] = list_of(bounds, bounds.values, pa.list_(pa.float64()))
    if kind == "exponential_histogram":
        columns["scale"] = field("scale")
        columns["zero_count"] = int64(field("zero_count"))
        columns["zero_threshold"] = field("zero_threshold")
        for side in ("positive", "negative"):
            buckets = field(side)
            present = buckets.is_valid()
            columns[f"{side}_offset"] = compute.if_else(
                present, buckets.field("offset"), pa.scalar(None, pa.int32())
            )
            counts = int64_lists(buckets.field("bucket_counts"))
            columns[f"{side}_bucket_counts"] = compute.if_else(present, counts, pa.scalar(None, counts.type))
    if kind == "summary":
        columns["quantile_values"] = _quantiles(field("quantile_values"))
    else:
        columns["exemplars"] = _exemplars(field("exemplars"))
    return columns


def _number(points: Column) -> tuple[Column, Column]:
    """The value as a double whatever it was sent as, and as the integer where it was one."""
    integer = points.field("as_int")
    return compute.coalesce(
        points.field("as_double"), compute.cast(integer, pa.float64(), safe=False)
    ), integer


def _temporality(codes: Column) -> Column:
    known = np.asarray(codes, np.int32)
    return column(TEMPORALITIES, pa.string()).take(column(np.where((known > 0) & (known < 3), known, 0)))


def _quantiles(lists: Column) -> Column:
    kind = METRICS.field("quantile_values").type
    return struct_lists(lists, kind, [lists.values.field("quantile"), lists.values.field("value")])


def _exemplars(lists: Column) -> Column:
    exemplars = lists.values
    value, value_int = _number(exemplars)
    return struct_lists(
        lists,
        METRICS.field("exemplars").type,
        [
            timestamps(nanoseconds(exemplars.field("time_unix_nano"))),
            value,
            value_int,
            optional_hex_text(exemplars.field("trace_id"), 16),
            optional_hex_text(exemplars.field("span_id"), 8),
            attribute_map(exemplars.field("filtered_attributes")),
        ],
    )
