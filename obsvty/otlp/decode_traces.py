"""Parsed trace requests into the `traces` table."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc

from obsvty.otlp.flatten import (
    attribute_map,
    build,
    hex_text,
    list_of,
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
    from collections.abc import Callable


def flatten(batch: pa.RecordBatch) -> dict[str, pa.Table]:
    """What ptars made of trace requests, as `traces` and `resources`."""
    scopes = Scopes(batch, "scope_spans", "spans")
    spans = scopes.rows
    field = cast("Callable[[str], pa.Array]", spans.field)
    attribute_lists = cast("pa.ListArray", field("attributes"))
    attributes = attribute_map(attribute_lists)
    status = cast("pa.StructArray", field("status"))
    start = nanoseconds(field("start_time_unix_nano"))
    end = nanoseconds(field("end_time_unix_nano"))
    kinds = small_int(field("kind"))
    columns = {
        "trace_id": hex_text(cast("pa.BinaryArray", field("trace_id"))),
        "span_id": hex_text(cast("pa.BinaryArray", field("span_id"))),
        "parent_span_id": optional_hex_text(cast("pa.BinaryArray", field("parent_span_id")), 8),
        "trace_state": optional_text(field("trace_state")),
        "name": field("name"),
        "kind": kinds,
        "start_time": timestamps(start),
        "start_ns": start,
        "duration_ns": pc.subtract(end, start),  # NULL when either is; both are < 2^63, so it cannot wrap
        "status_code": small_int(pc.fill_null(status.field("code"), 0)),
        "status_message": pc.fill_null(status.field("message"), ""),
        "attributes": attributes,
        "events": _events(cast("pa.ListArray", field("events"))),
        "links": _links(cast("pa.ListArray", field("links"))),
    }
    for name in ("flags", "dropped_attributes_count", "dropped_events_count", "dropped_links_count"):
        columns[name] = field(name)
    columns |= scopes.columns(parents(scopes.row_list))
    columns |= span_columns(Attributes(attributes, parents(attribute_lists)), kinds)
    return {"traces": build(TRACES, columns, len(spans)), "resources": scopes.resources}


def _events(lists: pa.ListArray) -> pa.Array:
    events = cast("pa.StructArray", lists.values)
    kind = TRACES.field("events").type
    rows = pa.StructArray.from_arrays(
        [
            timestamps(nanoseconds(events.field("time_unix_nano"))),
            events.field("name"),
            attribute_map(cast("pa.ListArray", events.field("attributes"))),
            events.field("dropped_attributes_count"),
        ],
        fields=list(kind.value_type),
    )
    return list_of(lists, rows, kind)


def _links(lists: pa.ListArray) -> pa.Array:
    links = cast("pa.StructArray", lists.values)
    kind = TRACES.field("links").type
    rows = pa.StructArray.from_arrays(
        [
            hex_text(cast("pa.BinaryArray", links.field("trace_id"))),
            hex_text(cast("pa.BinaryArray", links.field("span_id"))),
            optional_text(links.field("trace_state")),
            attribute_map(cast("pa.ListArray", links.field("attributes"))),
            links.field("flags"),
            links.field("dropped_attributes_count"),
        ],
        fields=list(kind.value_type),
    )
    return list_of(lists, rows, kind)
