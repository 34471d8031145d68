"""OTLP/JSON into the same request as protobuf bytes.

OTLP's JSON is not protobuf's: ids are hex instead of base64, enums are numbers (names are taken as well),
unknown fields are ignored, and keys are lowerCamelCase only. Hence an own walk, driven by the official
descriptors, over what orjson parsed.
"""

from __future__ import annotations

import base64
import binascii
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from obsvty.errors import OtlpError
from obsvty.otlp.descriptors import request_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

    from obsvty.model import Signal

    Scalar: TypeAlias = "bool | int | float | str | bytes"

TOP_KEYS: Final[dict[str, Signal]] = {
    "resourceSpans": "traces",
    "resourceLogs": "logs",
    "resourceMetrics": "metrics",
}
_HEX_FIELDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
_LEFT_OUT: Final = frozenset({"string_value_strindex", "key_strindex"})  # of the profiles signal only
_HINT: Final = "The OTLP specification's examples/*.json show the form."
_MAX_DEPTH: Final = 100  # messages in messages; what upb accepts when it reads the bytes again


def json_to_request(signal: Signal, body: bytes) -> bytes:
    """One OTLP/JSON export request as a serialized protobuf request.

    Args:
        signal: which message the JSON is.
        body: UTF-8 JSON text of one object.

    Raises:
        OtlpError: it is not JSON, or a known field holds what it cannot hold. Names the field, never its value.
    """
    return object_to_request(signal, load_object(body))


def load_object(body: bytes) -> Mapping[str, object]:
    """JSON text of one object.

    Raises:
        OtlpError: it is not JSON, or not an object. Says the line and column.
    """
    import orjson

    try:
        value = cast("object", orjson.loads(body))
    except orjson.JSONDecodeError as exc:
        raise OtlpError(
            f"This is not JSON (line {exc.lineno}, column {exc.colno}).",
            hint="Send one OTLP/JSON object, in UTF-8.",
        ) from exc
    if not isinstance(value, dict):
        raise OtlpError(
            "OTLP/JSON is an object.", hint="Its key is resourceSpans, resourceLogs or resourceMetrics."
        )
    return cast("Mapping[str, object]", value)


def signals_of(value: Mapping[str, object]) -> list[Signal]:
    """The signals whose top key the object has; empty when it is not OTLP."""
    return [signal for key, signal in TOP_KEYS.items() if key in value]


def object_to_request(signal: Signal, value: Mapping[str, object]) -> bytes:
    """A parsed OTLP/JSON object as a serialized protobuf request.

    Raises:
        OtlpError: a known field holds what it cannot hold.
    """
    message = request_class(signal)()
    _fill(message, value, 1)
    return message.SerializeToString()


class _Field:
    """How one field is read: under which name it is set, and what its JSON becomes."""

    __slots__ = ("is_message", "name", "repeated", "scalar")

    def __init__(self, field: FieldDescriptor) -> None:
        self.name = field.name
        self.repeated = field.is_repeated
        self.is_message = field.message_type is not None
        self.scalar = _reader(field)


@cache
def _fields(message: Descriptor) -> dict[str, _Field]:
    return {field.json_name: _Field(field) for field in message.fields if field.name not in _LEFT_OUT}


def _fill(message: Message, value: object, depth: int) -> None:
    if not isinstance(value, dict):
        raise OtlpError(f"{message.DESCRIPTOR.name} must be a JSON object.", hint=_HINT)
    if depth > _MAX_DEPTH:
        raise OtlpError("The values are nested too deeply.", hint=f"At most {_MAX_DEPTH} levels.")
    fields = _fields(message.DESCRIPTOR)
    for key, item in cast("dict[str, object]", value).items():
        field = fields.get(key)
        if field is None or item is None:
            continue
        if field.repeated:
            _fill_list(message, field, key, item, depth)
        elif field.is_message:
            child = cast("Message", getattr(message, field.name))
            child.SetInParent()  # an empty object is there, unlike none
            _fill(child, item, depth + 1)
        else:
            setattr(message, field.name, _read(message, field, key, item))


def _fill_list(message: Message, field: _Field, key: str, value: object, depth: int) -> None:
    if not isinstance(value, list):
        raise OtlpError(f"{message.DESCRIPTOR.name}.{key} must be a JSON array.", hint=_HINT)
    items = cast("list[object]", value)
    target = getattr(message, field.name)
    if field.is_message:
        add = cast("Callable[[], Message]", target.add)
        for item in items:
            _fill(add(), item, depth + 1)
    else:
        target.extend([_read(message, field, key, item) for item in items])


def _read(message: Message, field: _Field, key: str, value: object) -> Scalar:
    try:
        return field.scalar(value)
    except (ValueError, TypeError, OverflowError) as exc:
        raise OtlpError(
            f"{message.DESCRIPTOR.name}.{key} holds a value of the wrong kind.", hint=_HINT
        ) from exc


def _reader(field: FieldDescriptor) -> Callable[[object], Scalar]:
    """What turns this field's JSON into what protobuf takes; raises ValueError or TypeError on anything else."""
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.type == field.TYPE_BYTES:
        return _read_hex if field.name in _HEX_FIELDS else _read_base64
    if field.type == field.TYPE_STRING:
        return _read_text
    if field.type == field.TYPE_BOOL:
        return _read_bool
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return _read_double
    signed = field.type in (
        field.TYPE_INT64, field.TYPE_SINT64, field.TYPE_SFIXED64,
        field.TYPE_INT32, field.TYPE_SINT32, field.TYPE_SFIXED32,
    )  # fmt: skip
    bits = 64 if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)

    def read(value: object) -> int:
        number = _read_int(value)
        if not low <= number < high:
            raise ValueError(field.name)
        return number

    return read


def _enum_reader(enum: EnumDescriptor) -> Callable[[object], int]:
    numbers = {name: value.number for name, value in enum.values_by_name.items()}

    def read(value: object) -> int:
        if isinstance(value, str) and value in numbers:
            return numbers[value]
        number = _read_int(value)
        if not -(2**31) <= number < 2**31:
            raise ValueError(enum.name)
        return number

    return read


def _read_int(value: object) -> int:
    """Numbers and their decimal text; `1.0` is a whole number too, as other languages write it."""
    if isinstance(value, bool):
        raise TypeError("bool")
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise TypeError("integer")


def _read_double(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, str))
        or (isinstance(value, str) and "_" in value)
    ):
        raise TypeError("double")
    return float(value)  # also "NaN", "Infinity", "-Infinity"


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("string")
    return value


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("bool")
    return value


def _read_hex(value: object) -> bytes:
    return binascii.unhexlify(_read_text(value))


def _read_base64(value: object) -> bytes:
    text = _read_text(value).replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
