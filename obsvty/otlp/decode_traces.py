"""Parsed trace requests into the `traces` table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from obsvty.otlp.columns import compute, struct_lists
from obsvty.otlp.flatten import (
    attribute_map,
    build,
    hex_text,
    nanoseconds,
    optional_hex_text,
    optional_text,
    parents,
    small_int,
    timestamps,
)
from obsvty.otlp.normalize import Attributes, span_columns
from obsvty.otlp.resources import Scopes
from obsvty.store.schema import TRACES

if TYPE_CHECKING:
    from obsvty.otlp.columns import Column


def flatten(batch: pa.RecordBatch) -> dict[str, pa.Table]:
    """What ptars made of trace requests, as `traces` and `resources`."""
    scopes = Scopes(batch, "scope_spans", "spans")
    spans = scopes.rows
    field = spans.field
    attribute_lists = field("attributes")
    attributes = attribute_map(attribute_lists)
    status = field("status")
    start = nanoseconds(field("start_time_unix_nano"))
    end = nanoseconds(field("end_time_unix_nano"))
    kinds = small_int(field("kind"))
    columns = {
        "trace_id": hex_text(field("trace_id")),
        "span_id": hex_text(field("span_id")),
        "parent_span_id": optional_hex_text(field("parent_span_id"), 8),
        "trace_state": optional_text(field("trace_state")),
        "name": field("name"),
        "kind": kinds,
        "start_time": timestamps(start),
        "start_ns": start,
        "duration_ns": compute.subtract(
            end, start
        ),  # NULL when either is; both are < 2^63, so it cannot wrap
        "status_code": small_int(compute.fill_null(status.field("code"), 0)),
        "status_message": compute.fill_null(status.field("message"), ""),
        "attributes": attributes,
        "events": _events(field("events")),
        "links": _links(field("links")),
    }
    for name in ("flags", "dropped_attributes_count", "dropped_events_count", "dropped_links_count"):
        columns[name] = field(name)
    columns |= scopes.columns(parents(scopes.row_list))
    columns |= span_columns(Attributes(attributes, parents(attribute_lists)), kinds)
    return {"traces": build(TRACES, columns, len(spans)), "resources": scopes.resources}


def _events(lists: Column) -> Column:
    events = lists.values
    return struct_lists(
        lists,
        TRACES.field("events").type,
        [
            timestamps(nanoseconds(events.field("time_unix_nano"))),
            events.field("name"),
            attribute_map(events.field("attributes")),
            events.field("dropped_attributes_count"),
        ],
    )


def _links(lists: Column) -> Column:
    links = lists.values
    return struct_lists(
        lists,
        TRACES.field("links").type,
        [
            hex_text(links.field("trace_id")),
            hex_text(links.field("span_id")),
            optional_text(links.field("trace_state")),
            attribute_map(links.field("attributes")),
            links.field("flags"),
            links.field("dropped_attributes_count"),
        ],
    )
