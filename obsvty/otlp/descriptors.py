"""Wire-compatible, non-recursive copies of the OTLP messages, made from the official descriptors at first use.

`ptars` turns a recursive message into one opaque binary column. Only `AnyValue` is recursive, through its
array and its key-value list: declared as `bytes` (the same wire type), they become binary cells and
everything else flat columns. Enums are declared as `int32`, so that a number newer than our descriptors
survives. Because the copies are made from the installed `opentelemetry-proto`, a field that OTLP adds is
parsed without a change here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from obsvty.model import Signal

RECURSIVE: Final = frozenset({"ArrayValue", "KeyValueList"})
# *_strindex belong to the profiles signal ("treat as absent" elsewhere); entity references repeat resource
# attributes' keys
LEFT_OUT: Final = frozenset(
    {"AnyValue.string_value_strindex", "KeyValue.key_strindex", "Resource.entity_refs"}
)
# What a check of ids needs, and nothing else: unknown fields are skipped, not decoded
_IDS_ONLY: Final = frozenset(
    {
        "ExportTraceServiceRequest.resource_spans",
        "ResourceSpans.scope_spans",
        "ScopeSpans.spans",
        "Span.trace_id",
        "Span.span_id",
    }
)


class Handler(Protocol):
    """The part of a ptars message handler that is used."""

    def list_to_record_batch(self, values: Sequence[bytes]) -> pa.RecordBatch:
        """One row a request; nested messages become struct and list columns."""
        ...


@cache
def request_class(signal: Signal) -> type[Message]:
    """The official request message of a signal, for upb."""
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return ExportTraceServiceRequest
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        return ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return ExportMetricsServiceRequest


@cache
def flat_descriptor(signal: Signal) -> Descriptor:
    """The request of a signal with `AnyValue`'s two recursive fields as bytes."""
    return _copy(_descriptor(signal), f"obsvty.flat.{signal}", only=None)


@cache
def handler(signal: Signal) -> Handler:
    """A ptars handler for `flat_descriptor`; parsing many requests in one call makes one Arrow batch."""
    return _handler(flat_descriptor(signal))


@cache
def span_ids_handler() -> Handler:
    """A ptars handler that reads trace and span ids and skips the rest."""
    return _handler(_copy(_descriptor("traces"), "obsvty.flat.span_ids", only=_IDS_ONLY))


def _descriptor(signal: Signal) -> Descriptor:
    return cast("Descriptor", request_class(signal).DESCRIPTOR)  # upb's own class has the same interface


def _handler(descriptor: Descriptor) -> Handler:
    import ptars

    return cast("Handler", ptars.HandlerPool([descriptor.file]).get_for_message(descriptor))


def _copy(root: Descriptor, package: str, *, only: frozenset[str] | None) -> Descriptor:
    """`root` and every message under it in one flat package."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    seen: set[str] = set()

    def add(message: Descriptor) -> None:
        if message.name in seen:
            return
        seen.add(message.name)
        copy = file.message_type.add(name=message.name)
        oneofs: dict[str, int] = {}
        children: list[Descriptor] = []
        for field in message.fields:
            name = f"{message.name}.{field.name}"
            if name in LEFT_OUT or (only is not None and name not in only):
                continue
            new = copy.field.add(name=field.name, number=field.number)
            new.label = field_type.LABEL_REPEATED if field.is_repeated else field_type.LABEL_OPTIONAL
            if field.message_type is not None and field.message_type.name in RECURSIVE:
                new.type = field_type.TYPE_BYTES
            elif field.message_type is not None:
                new.type = field_type.TYPE_MESSAGE
                new.type_name = f".{package}.{field.message_type.name}"
                children.append(field.message_type)
            elif field.enum_type is not None:
                new.type = field_type.TYPE_INT32
            else:
                new.type = cast("descriptor_pb2.FieldDescriptorProto.Type.ValueType", field.type)
            if field.containing_oneof is not None:  # also proto3 `optional`, which is a oneof of one field
                oneof = field.containing_oneof.name
                if oneof not in oneofs:
                    oneofs[oneof] = len(oneofs)
                    copy.oneof_decl.add(name=oneof)
                new.oneof_index = oneofs[oneof]
                new.proto3_optional = oneof.startswith("_")
        for child in children:
            add(child)

    add(root)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindMessageTypeByName(f"{package}.{root.name}")
