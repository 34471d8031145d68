"""Nested `AnyValue`s as JSON text: the rare cells (arrays, key-value lists) that Arrow cannot hold as one column."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    from obsvty.model import JsonValue


def array_text(body: bytes) -> str:
    """A serialized `ArrayValue` as JSON text."""
    from opentelemetry.proto.common.v1.common_pb2 import ArrayValue

    return _dump([json_value(item) for item in ArrayValue.FromString(body).values])


def kvlist_text(body: bytes) -> str:
    """A serialized `KeyValueList` as JSON text; of doubled keys the first counts."""
    from opentelemetry.proto.common.v1.common_pb2 import KeyValueList

    return _dump(_object(KeyValueList.FromString(body).values))


def json_value(value: AnyValue) -> JsonValue:
    """Any value as JSON would hold it: bytes as hex, non-finite doubles by their OTLP/JSON names, unset as null."""
    which = value.WhichOneof("value")
    if which == "array_value":
        return [json_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _object(value.kvlist_value.values)
    if which == "bytes_value":
        return value.bytes_value.hex()
    if which == "double_value":
        return finite_or_name(value.double_value)
    if which is None or which == "string_value_strindex":
        return None
    return cast("JsonValue", getattr(value, which))


def finite_or_name(number: float) -> float | str:
    """The number, or `NaN`, `Infinity`, `-Infinity`, which are no JSON numbers."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _object(pairs: Iterable[KeyValue]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for pair in pairs:
        if pair.key not in found:
            found[pair.key] = json_value(pair.value)
    return found


def _dump(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
