"""Every field of OTLP has a home: setting it changes the tables. A field that OTLP adds fails here until it has one."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from obsvty.model import Signal
from obsvty.otlp import decode_slow
from obsvty.otlp.decode import decode
from obsvty.otlp.descriptors import LEFT_OUT, flat_descriptor, request_class
from obsvty.store.schema import SIGNALS

Path = tuple[FieldDescriptor, ...]
RECURSIVE = {"AnyValue.array_value", "AnyValue.kvlist_value"}


def name(field: FieldDescriptor) -> str:
    return f"{field.containing_type.name}.{field.name}"


def leaves(message: Descriptor, path: Path = ()) -> Iterator[Path]:
    for field in message.fields:
        if name(field) in LEFT_OUT:
            continue
        if field.message_type is None or name(field) in RECURSIVE:
            yield (*path, field)
        else:
            yield from leaves(field.message_type, (*path, field))


def build(signal: Signal, path: Path, *, with_leaf: bool) -> bytes:
    request = request_class(signal)()
    message: Message = request
    for field in path[:-1]:
        child = getattr(message, field.name)
        if field.is_repeated:
            message = child.add()
            if name(field) == "Span.attributes":
                message.key = "k"
        else:
            child.SetInParent()
            message = child
    if with_leaf:
        set_leaf(message, path[-1])
    ensure_row(request, signal)
    return request.SerializeToString()


def set_leaf(message: Message, leaf: FieldDescriptor) -> None:
    if leaf.message_type is not None:
        getattr(message, leaf.name).values.add()
    elif leaf.is_repeated:
        getattr(message, leaf.name).append(1)
    else:
        kinds = {FieldDescriptor.CPPTYPE_STRING: "x", FieldDescriptor.CPPTYPE_BOOL: True}
        width = 16 if leaf.name == "trace_id" else 8
        value = b"\1" * width if leaf.type == FieldDescriptor.TYPE_BYTES else kinds.get(leaf.cpp_type, 1)
        setattr(message, leaf.name, value)


def ensure_row(request: Message, signal: Signal) -> None:
    """A resource, a scope and a record for fields that lie outside of records, or beside the points of a metric."""
    lists = {"traces": "spans", "logs": "log_records", "metrics": "metrics"}
    record = {"traces": "spans", "logs": "logs", "metrics": "metrics"}[signal]
    groups = getattr(request, f"resource_{record}")
    group = groups[0] if groups else groups.add()
    scopes = getattr(group, f"scope_{record}")
    scope = scopes[0] if scopes else scopes.add()
    rows = getattr(scope, lists[signal])
    row = rows[0] if rows else rows.add()
    if signal == "metrics":
        data = getattr(row, row.WhichOneof("data") or "gauge")
        if not data.data_points:
            data.data_points.add()
    if signal == "traces" and path_sets_duration(row):
        row.start_time_unix_nano = row.start_time_unix_nano or 1


def path_sets_duration(span: Message) -> bool:
    return bool(span.end_time_unix_nano)


ALL = [(signal, path) for signal in SIGNALS for path in leaves(request_class(signal).DESCRIPTOR)]


@pytest.mark.parametrize(
    ("signal", "path"),
    ALL,
    ids=[f"{signal}-{'.'.join(field.name for field in path)}" for signal, path in ALL],
)
def test_setting_a_field_changes_the_tables(signal: Signal, path: Path) -> None:
    bare, full = (build(signal, path, with_leaf=with_leaf) for with_leaf in (False, True))
    before, after = decode(signal, [bare]), decode(signal, [full])
    assert any(not before[table].equals(after[table]) for table in before)
    plain = decode_slow.decode(signal, [full])
    assert all(after[table].equals(plain[table]) for table in after)


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_flat_copy_holds_every_field_under_its_number(signal: Signal) -> None:
    flat = flat_descriptor(signal).file.message_types_by_name
    seen: set[str] = set()

    def walk(message: Descriptor) -> None:
        if message.name in seen or message.name not in flat:
            return
        seen.add(message.name)
        copied = {field.name: field.number for field in flat[message.name].fields}
        assert copied == {f.name: f.number for f in message.fields if name(f) not in LEFT_OUT}
        for field in message.fields:
            if field.message_type is not None:
                walk(field.message_type)

    walk(request_class(signal).DESCRIPTOR)
    assert seen == set(flat)
