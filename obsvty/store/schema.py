"""The canonical tables as Arrow schemas: what otlp/ produces, segments hold and readers see.

One row a span, a log record, a metric point. `kind` and `status_code` of spans and `severity_number` of logs are
OTLP's own integers. Attribute values are text: numbers and booleans as JSON writes them, arrays and maps as JSON text,
bytes as hex; a key whose value is unset is NULL. Promoted columns take old and new semantic-convention names;
`attributes` stay as sent.
"""

from typing import Final

import pyarrow as pa

from obsvty.model import Signal

ATTRIBUTES: Final = pa.map_(pa.string(), pa.string())
TIME: Final = pa.timestamp("ns")  # UTC, without a zone: TIMESTAMP_NS in DuckDB

_RESOURCE: Final = [
    ("service_name", pa.string()),
    ("service_namespace", pa.string()),
    ("service_version", pa.string()),
    ("service_instance_id", pa.string()),
    ("deployment_env", pa.string()),
    ("vcs_revision", pa.string()),
    ("resource_id", pa.string()),  # 16 hex digits: blake2b-8 of the sorted attributes
    ("resource_schema_url", pa.string()),
    ("scope_name", pa.string()),
    ("scope_version", pa.string()),
    ("scope_attributes", ATTRIBUTES),
    ("scope_dropped_attributes_count", pa.uint32()),
    ("scope_schema_url", pa.string()),
]
_CODE: Final = [
    ("code_file", pa.string()),
    ("code_line", pa.int32()),
    ("code_function", pa.string()),
]

TRACES: Final = pa.schema(
    [
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),  # NULL for a root
        ("trace_state", pa.string()),
        ("name", pa.string()),
        ("kind", pa.int8()),  # 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer
        ("start_time", TIME),
        ("start_ns", pa.int64()),
        ("duration_ns", pa.int64()),
        ("status_code", pa.int8()),  # 0 unset, 1 ok, 2 error
        ("status_message", pa.string()),
        *_RESOURCE,
        ("http_method", pa.string()),
        ("http_route", pa.string()),
        ("http_status", pa.int32()),
        ("url_host", pa.string()),  # host or host:port of the URL, or server.address[:server.port]
        ("url_path", pa.string()),
        ("db_system", pa.string()),
        ("db_statement", pa.string()),
        *_CODE,
        ("attributes", ATTRIBUTES),
        (
            "events",
            pa.list_(
                pa.struct(
                    [
                        ("time", TIME),
                        ("name", pa.string()),
                        ("attributes", ATTRIBUTES),
                        ("dropped_attributes_count", pa.uint32()),
                    ]
                )
            ),
        ),
        (
            "links",
            pa.list_(
                pa.struct(
                    [
                        ("trace_id", pa.string()),
                        ("span_id", pa.string()),
                        ("trace_state", pa.string()),
                        ("attributes", ATTRIBUTES),
                        ("flags", pa.uint32()),
                        ("dropped_attributes_count", pa.uint32()),
                    ]
                )
            ),
        ),
        ("flags", pa.uint32()),
        ("dropped_attributes_count", pa.uint32()),
        ("dropped_events_count", pa.uint32()),
        ("dropped_links_count", pa.uint32()),
    ]
)

LOGS: Final = pa.schema(
    [
        ("time", TIME),  # observed_time where the record has no time of its own
        ("time_ns", pa.int64()),
        ("observed_time", TIME),
        ("severity_number", pa.int32()),
        ("severity_text", pa.string()),
        ("body", pa.string()),
        ("trace_id", pa.string()),  # NULL outside a span
        ("span_id", pa.string()),
        ("event_name", pa.string()),
        *_RESOURCE,
        *_CODE,
        ("attributes", ATTRIBUTES),
        ("flags", pa.uint32()),
        ("dropped_attributes_count", pa.uint32()),
    ]
)

METRICS: Final = pa.schema(
    [
        ("time", TIME),
        ("time_ns", pa.int64()),
        ("start_time", TIME),
        ("name", pa.string()),
        ("description", pa.string()),
        ("kind", pa.string()),  # gauge, sum, histogram, exponential_histogram, summary
        ("unit", pa.string()),
        ("temporality", pa.string()),  # delta, cumulative, or NULL
        ("is_monotonic", pa.bool_()),
        ("value", pa.float64()),  # gauge and sum
        ("value_int", pa.int64()),  # the same, where it was sent as an integer
        ("count", pa.int64()),
        ("sum", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("bucket_counts", pa.list_(pa.int64())),
        ("explicit_bounds", pa.list_(pa.float64())),
        ("scale", pa.int32()),
        ("zero_count", pa.int64()),
        ("zero_threshold", pa.float64()),
        ("positive_offset", pa.int32()),
        ("positive_bucket_counts", pa.list_(pa.int64())),
        ("negative_offset", pa.int32()),
        ("negative_bucket_counts", pa.list_(pa.int64())),
        (
            "quantile_values",
            pa.list_(pa.struct([("quantile", pa.float64()), ("value", pa.float64())])),
        ),
        (
            "exemplars",
            pa.list_(
                pa.struct(
                    [
                        ("time", TIME),
                        ("value", pa.float64()),
                        ("value_int", pa.int64()),
                        ("trace_id", pa.string()),
                        ("span_id", pa.string()),
                        ("attributes", ATTRIBUTES),
                    ]
                )
            ),
        ),
        *_RESOURCE,
        ("attributes", ATTRIBUTES),
        ("metadata", ATTRIBUTES),
        ("flags", pa.uint32()),
    ]
)

RESOURCES: Final = pa.schema(
    [
        ("resource_id", pa.string()),
        ("attributes", ATTRIBUTES),
        ("dropped_attributes_count", pa.uint32()),
    ]
)

TABLES: Final[dict[str, pa.Schema]] = {
    "traces": TRACES,
    "logs": LOGS,
    "metrics": METRICS,
    "resources": RESOURCES,
}
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "logs", "metrics")
