"""Arrow steps that the three decoders share. They work on whole child arrays, with no object a span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pyarrow as pa

from obsvty.otlp.columns import (
    column,
    compute,
    list_column,
    map_column,
    memory,
    nulls,
    numpy_of,
    string_column,
    table,
)
from obsvty.otlp.values import array_text, kvlist_text
from obsvty.store.schema import ATTRIBUTES, TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from obsvty.otlp.columns import Column

_MAX_INT64: Final = pa.scalar(2**63 - 1, pa.uint64())
_NO_INT64: Final = pa.scalar(None, pa.int64())
_NO_UINT64: Final = pa.scalar(None, pa.uint64())
_NO_TEXT: Final = pa.scalar(None, pa.string())
_HEX_PAIRS: Final = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype="<u2")


def hex_text(ids: Column) -> Column:
    """Bytes of any width as lower-case hex; 8 ns an id, where `bytes.hex` a row is 150."""
    if len(ids) == 0:
        return column([], pa.string())
    _, offsets_buffer, data = ids.buffers()
    offsets = numpy_of(offsets_buffer, np.int32)[ids.offset : ids.offset + len(ids) + 1].astype(np.int64)
    content = numpy_of(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return string_column(
        len(ids),
        memory(((offsets - offsets[0]) * 2).astype(np.int32)),
        memory(_HEX_PAIRS[content[offsets[0] : offsets[-1]]]),
    )


def optional_hex_text(ids: Column, width: int) -> Column:
    """Like `hex_text`, with NULL for what OTLP calls no valid id: of another width (also empty), or all zeroes."""
    text = hex_text(ids)
    zero = "00" * width
    absent = compute.or_(compute.not_equal(compute.binary_length(text), len(zero)), compute.equal(text, zero))
    return compute.if_else(absent, _NO_TEXT, text)


def optional_text(text: Column) -> Column:
    """NULL for proto3's unset text, which is indistinguishable from an empty one."""
    return compute.if_else(compute.equal(text, ""), _NO_TEXT, text)


def int64(numbers: Column) -> Column:
    """uint64 as int64; NULL from 2^63 on, which would turn negative."""
    if compute.any(compute.greater(numbers, _MAX_INT64)).as_py():
        numbers = compute.if_else(compute.greater(numbers, _MAX_INT64), _NO_UINT64, numbers)
    return compute.cast(numbers, pa.int64())


def nanoseconds(times: Column, *, zero_is_unknown: bool = True) -> Column:
    """Unix nanoseconds (uint64) as int64; NULL where unknown (0) or beyond what TIMESTAMP_NS holds."""
    whole = int64(times)
    return compute.if_else(compute.equal(whole, 0), _NO_INT64, whole) if zero_is_unknown else whole


def timestamps(nanos: Column) -> Column:
    """int64 nanoseconds as TIMESTAMP_NS."""
    return compute.cast(nanos, TIME)


def small_int(numbers: Column) -> Column:
    """int32 as int8; values that no enum of OTLP has (outside 0..127) become 0, "unspecified"."""
    known = compute.and_(compute.greater_equal(numbers, 0), compute.less_equal(numbers, 127))
    return compute.cast(compute.if_else(known, numbers, pa.scalar(0, pa.int32())), pa.int8())


def value_text(values: Column) -> Column:
    """`AnyValue` cells as text: numbers and booleans as JSON, bytes as hex, arrays and maps as JSON, unset NULL.

    Only cells that hold an array, a map or bytes pass through Python (a third of the spans with one array:
    5.3 -> 7.3 us).
    """
    text = values.field("string_value")
    if not text.null_count:
        return text
    for name in ("int_value", "double_value", "bool_value"):
        cells = values.field(name)
        if cells.null_count < len(cells):
            text = compute.coalesce(
                text, double_text(cells) if name == "double_value" else compute.cast(cells, pa.string())
            )
    for name, make in (
        ("array_value", array_text),
        ("kvlist_value", kvlist_text),
        ("bytes_value", bytes.hex),
    ):
        cells = values.field(name)
        if cells.null_count < len(cells):
            made = [make(cell) for cell in cast("list[bytes]", cells.drop_null().to_pylist())]
            text = compute.replace_with_mask(text, cells.is_valid(), column(made, pa.string()))
    return text


def double_text(numbers: Column) -> Column:
    """Doubles as the shortest text that reads back to the same number; NaN and infinities as OTLP/JSON names them."""
    text = compute.cast(numbers, pa.string())
    if compute.all(compute.is_finite(numbers)).as_py() is False:
        text = compute.if_else(compute.is_nan(numbers), "NaN", text)
        text = compute.if_else(compute.equal(numbers, float("inf")), "Infinity", text)
        text = compute.if_else(compute.equal(numbers, float("-inf")), "-Infinity", text)
    return text


def attribute_map(attributes: Column) -> Column:
    """list<KeyValue> as MAP(text, text). Doubled keys are kept; a look-up gives the first."""
    entries = attributes.values
    return map_column(attributes.offsets, entries.field("key"), value_text(entries.field("value")))


def map_rows(maps: Column, rows: NDArray[np.int64]) -> Column:
    """`maps` repeated by row number; nearly always all empty (scopes, metadata), which costs nothing."""
    if len(maps.keys) == 0:
        return empty_maps(len(rows))
    return compute.fill_null(maps.take(column(rows)), pa.scalar([], ATTRIBUTES))


def empty_maps(rows: int) -> Column:
    """As many empty maps as rows."""
    nothing = column([], pa.string())
    return map_column(column(np.zeros(rows + 1, np.int32)), nothing, nothing)


def parents(lists: Column) -> NDArray[np.int64]:
    """For each child value, the row of the list it is in."""
    return np.asarray(compute.list_parent_indices(lists)).astype(np.int64, copy=False)


def list_of(lists: Column, values: Column, kind: pa.DataType) -> Column:
    """`values` in the same lists as before, as `kind`."""
    return list_column(lists.offsets, values).cast(kind)


def int64_lists(lists: Column) -> Column:
    """list<uint64> as list<int64>; NULL cells from 2^63 on."""
    return list_column(lists.offsets, int64(lists.values))


def build(schema: pa.Schema, columns: dict[str, Column], rows: int) -> pa.Table:
    """A table of exactly `schema`; columns that are not given are NULL."""
    arrays: Sequence[Column] = [
        columns[field.name] if field.name in columns else nulls(rows, field.type) for field in schema
    ]
    return table(
        [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema
    )
