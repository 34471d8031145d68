"""Parsed log requests into the `logs` table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obsvty.otlp.columns import compute
from obsvty.otlp.flatten import (
    attribute_map,
    build,
    nanoseconds,
    optional_hex_text,
    optional_text,
    parents,
    timestamps,
    value_text,
)
from obsvty.otlp.normalize import Attributes, code_columns
from obsvty.otlp.resources import Scopes
from obsvty.store.schema import LOGS

if TYPE_CHECKING:
    import pyarrow as pa


def flatten(batch: pa.RecordBatch) -> dict[str, pa.Table]:
    """What ptars made of log requests, as `logs` and `resources`."""
    scopes = Scopes(batch, "scope_logs", "log_records")
    records = scopes.rows
    field = records.field
    attribute_lists = field("attributes")
    attributes = attribute_map(attribute_lists)
    observed = nanoseconds(field("observed_time_unix_nano"))
    time = compute.coalesce(nanoseconds(field("time_unix_nano")), observed)
    columns = {
        "time": timestamps(time),
        "time_ns": time,
        "observed_time": timestamps(observed),
        "severity_number": field("severity_number"),
        "severity_text": optional_text(field("severity_text")),
        "body": value_text(field("body")),
        "trace_id": optional_hex_text(field("trace_id"), 16),
        "span_id": optional_hex_text(field("span_id"), 8),
        "event_name": optional_text(field("event_name")),
        "attributes": attributes,
        "flags": field("flags"),
        "dropped_attributes_count": field("dropped_attributes_count"),
    }
    columns |= scopes.columns(parents(scopes.row_list))
    columns |= code_columns(Attributes(attributes, parents(attribute_lists)))
    return {"logs": build(LOGS, columns, len(records)), "resources": scopes.resources}
