"""Segments: immutable Parquet files in the canonical schema, written once and merged into larger ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from obsvty.store.files import file_checksum, put_in_place
from obsvty.store.manifest import SegmentFile
from obsvty.store.schema import TABLES

# Dictionaries pay where values repeat; on ids and stack traces they only cost time. zstd, because the codec
# hardly matters for speed: nested columns do.
_DICTIONARY: Final = [
    "name",
    "kind",
    "unit",
    "description",
    "temporality",
    "severity_text",
    "event_name",
    "status_message",
    "trace_state",
    "service_name",
    "service_namespace",
    "service_version",
    "service_instance_id",
    "deployment_env",
    "vcs_revision",
    "resource_id",
    "resource_schema_url",
    "scope_name",
    "scope_version",
    "scope_schema_url",
    "http_method",
    "http_route",
    "http_status",
    "url_host",
    "url_path",
    "db_system",
    "db_statement",
    "code_file",
    "code_function",
    "attributes.key_value.key",
    "scope_attributes.key_value.key",
    "scope_attributes.key_value.value",
    "events.list.element.name",
    "events.list.element.attributes.key_value.key",
]
_STATISTICS: Final = {
    "traces": ["start_time", "start_ns", "trace_id", "service_name"],
    "logs": ["time", "time_ns", "trace_id", "service_name"],
    "metrics": ["time", "time_ns", "name", "service_name"],
    "resources": ["resource_id"],
}
_TIME: Final = {"traces": "start_ns", "logs": "time_ns", "metrics": "time_ns"}
# DuckDB reads row groups in parallel; its own are 122,880 rows
_GROUP_ROWS: Final = 128 * 1024


def conform(name: str, table: pa.Table) -> pa.Table:
    """`table` in the canonical schema of table `name`: columns in order, missing ones NULL, unknown ones left out.

    Raises:
        pa.ArrowInvalid: a column cannot be cast.
        KeyError: there is no table of that name.
    """
    schema = TABLES[name]
    if table.schema.equals(schema):
        return table
    columns: list[pa.ChunkedArray[pa.Scalar[pa.DataType]] | pa.Array[pa.Scalar[pa.DataType]]] = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name)
            columns.append(column if column.type.equals(field.type) else column.cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def write_segment(
    root: Path,
    stem: str,
    name: str,
    tables: Iterable[pa.Table],
    *,
    logs: tuple[int, int],
    came_ns: tuple[int, int],
    level: int = 0,
) -> SegmentFile | None:
    """Write tables of the canonical schema to `seg/<stem>.<name>.parquet`, durably; None when there are no rows.

    Args:
        root: the data folder.
        stem: begin of the file's name.
        name: which table.
        tables: its rows.
        logs: first and last log that the rows came in with.
        came_ns: when the first and the last rows came in.
        level: how often they were merged.

    Raises:
        OSError: nothing was put in place.
    """
    final = root / "seg" / f"{stem}.{name}.parquet"
    temporary = final.with_name(final.name + ".tmp")
    rows, low, high = 0, 0, 0
    with pq.ParquetWriter(
        temporary,
        TABLES[name],
        compression="zstd",
        use_dictionary=_dictionary_of(name),  # pyright: ignore[reportArgumentType] # the stubs know only bool
        write_statistics=_STATISTICS[name],  # pyright: ignore[reportArgumentType]
    ) as writer:
        for table in _groups(tables):
            writer.write_table(table, row_group_size=_GROUP_ROWS)
            span = _time_span(name, table)
            low, high = (min(low, span[0]), max(high, span[1])) if rows else span
            rows += table.num_rows
    if not rows:
        temporary.unlink()
        return None
    size_bytes = temporary.stat().st_size
    checksum = file_checksum(temporary)
    put_in_place(temporary, final)
    return SegmentFile(
        path=f"seg/{final.name}",
        table=name,
        rows=rows,
        size_bytes=size_bytes,
        min_ns=low,
        max_ns=high,
        level=level,
        checksum=checksum,
        first_log=logs[0],
        last_log=logs[1],
        came_from_ns=came_ns[0],
        came_to_ns=came_ns[1],
    )


def merge_segments(root: Path, stem: str, files: Sequence[SegmentFile]) -> SegmentFile | None:
    """One file with the rows of `files` (all of one table), in their order. Resources are kept once an id."""
    name = files[0].table
    tables = (table for file in files for table in _row_groups(root, file))
    if name == "resources":
        tables = iter([_distinct(pa.concat_tables(tables))])
    return write_segment(
        root,
        stem,
        name,
        tables,
        logs=(min(file.first_log for file in files), max(file.last_log for file in files)),
        level=files[0].level + 1,
        came_ns=(min(file.came_from_ns for file in files), max(file.came_to_ns for file in files)),
    )


def _row_groups(root: Path, file: SegmentFile) -> Iterator[pa.Table]:
    """One at a time: a whole file of 64 MB is more than 1 GB as Arrow."""
    with pq.ParquetFile(root / file.path) as parquet:
        for group in range(parquet.num_row_groups):
            # one thread: the other core belongs to the receiver
            yield conform(file.table, parquet.read_row_group(group, use_threads=False))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables together, so that a merged file has few row groups."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.concat_tables(waiting)


def _dictionary_of(name: str) -> list[str]:
    columns = set(TABLES[name].names)
    return [path for path in _DICTIONARY if path.partition(".")[0] in columns]


def _time_span(name: str, table: pa.Table) -> tuple[int, int]:
    column = _TIME.get(name)
    if column is None:
        return 0, 0
    times = table.column(column)
    return cast("int", pc.min(times).as_py() or 0), cast("int", pc.max(times).as_py() or 0)


def _distinct(table: pa.Table) -> pa.Table:
    seen: set[str] = set()
    keep: list[int] = []
    for row, resource_id in enumerate(cast("list[str]", table.column("resource_id").to_pylist())):
        if resource_id not in seen:
            seen.add(resource_id)
            keep.append(row)
    return table.take(keep)
